//! `results scan`, `purge` and `backup`.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::bail;
use clap::Args;
use hugepage_check::check::shell_word;
use serde_json::json;

use super::super::output::{print, say, shown};
use super::super::{Ending, RESULTS, table};
use linerate_experiment::secrets::REMOVED;
use linerate_report::export::forget_removed;
use linerate_results::housekeeping::purge::PurgeError;
use linerate_results::housekeeping::scan::{Scan, State};
use linerate_results::housekeeping::{backup, purge, scan};
use linerate_results::store::{self, DOCUMENT_FILE};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  Missing trials of all experiments:
    linerate results scan
  Every trial of one experiment, for a program to read:
    linerate results scan 1f3c09aa --json")]
pub(in crate::cli) struct ScanArgs {
    /// Ids of experiments [default: every experiment]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  One experiment, after a confirmation:
    linerate results purge 1f3c09aa
  All incomplete experiments, without one:
    linerate results purge --incomplete --yes

Running experiments and other directories are never removed.")]
pub(in crate::cli) struct PurgeArgs {
    /// Ids of experiments
    #[arg(value_name = "ID", required_unless_present = "incomplete")]
    ids: Vec<String>,
    /// All experiments that are incomplete and not running
    #[arg(long, conflicts_with = "ids")]
    incomplete: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  All experiments, into an archive named by the time:
    linerate results backup --to /backup
  One experiment:
    linerate results backup 1f3c09aa --to 1f3c09aa.tar.gz")]
pub(in crate::cli) struct BackupArgs {
    /// Ids of experiments [default: every experiment that does not run]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Archive, or directory to write it to
    #[arg(long, value_name = "FILE|DIR", default_value = ".")]
    to: PathBuf,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn all(results: &Path) -> anyhow::Result<Vec<String>> {
    Ok(store::list(results)?.into_iter().map(|(id, _)| id).collect())
}

pub(super) fn scan(args: &ScanArgs) -> anyhow::Result<Ending> {
    let every = args.ids.is_empty();
    let ids = if every { all(&args.results)? } else { args.ids.clone() };
    let mut scans = Vec::new();
    let mut ending = Ending::Done;
    for id in &ids {
        match scan::scan(&args.results, id) {
            Ok(scan) => scans.push(scan),
            Err(error) if every => {
                say(&format!("{id}: {error}"));
                ending = Ending::Failed;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if args.json {
        print(&serde_json::to_string(&scans)?)?;
        return Ok(ending);
    }
    if ids.is_empty() {
        print(&format!("no experiments in {}", args.results.display()))?;
    }
    for scan in &scans {
        print(&format!(
            "{}: {} complete, {} incomplete, {} missing of {} trials",
            scan.id,
            scan.count(State::Complete),
            scan.count(State::Incomplete),
            scan.count(State::Missing),
            scan.trials.len()
        ))?;
        for trial in scan.trials.iter().filter(|trial| trial.state != State::Complete) {
            print(&format!("  {} {} {} repeat {}", trial.state, trial.pair, trial.profile, trial.repeat))?;
        }
        if scan.count(State::Complete) < scan.trials.len() {
            let document = args.results.join(&scan.id).join(DOCUMENT_FILE);
            print(&format!("  the rest is run by: {}", resuming(&args.results, scan)))?;
            if std::fs::read_to_string(&document).is_ok_and(|text| text.contains(REMOVED)) {
                print(
                    "  with its secrets, which are not stored, in place of [removed]: give the document that the run was started with",
                )?;
            }
        }
    }
    Ok(ending)
}

/// The command that runs the missing trials of an experiment.
fn resuming(results: &Path, scan: &Scan) -> String {
    let document = results.join(&scan.id).join(DOCUMENT_FILE);
    let mut command = format!("linerate run {}", shell_word(&document.display().to_string()));
    // A run is resumed by one with the same filter, among the experiments of the same directory.
    if let Some(filter) = &scan.filter {
        command.push_str(&format!(" --filter={}", shell_word(filter)));
    }
    if results != Path::new(RESULTS) {
        command.push_str(&format!(" --results={}", shell_word(&results.display().to_string())));
    }
    command.push_str(" --resume");
    command
}

pub(super) fn purge(args: &PurgeArgs) -> anyhow::Result<Ending> {
    let ids = if args.incomplete { purge::incomplete(&args.results)? } else { args.ids.clone() };
    // All are checked before the first one is removed.
    for id in &ids {
        purge::may_be_removed(&args.results, id)?;
    }
    if !ids.is_empty() && !args.yes && !agreed(&ids, &args.results)? {
        say("nothing was removed");
        return Ok(Ending::Failed);
    }
    // First of all, so that no row outlives its experiment when this purge is killed. An experiment may have been
    // put back since the purge that left remains of it.
    let mut forgotten = purge::unfinished(&args.results)?;
    forgotten.retain(|id| !args.results.join(id).exists());
    forgotten.extend(ids.iter().cloned());
    if !forgotten.is_empty()
        && let Err(error) = forget_removed(&args.results, &forgotten)
    {
        say(&format!("the table of all experiments still has rows of removed ones: {error}"));
    }
    purge::finish_earlier(&args.results)?;
    let mut removed = Vec::new();
    let mut printed = Ok(());
    let purged = ids.iter().try_for_each(|id| -> Result<(), PurgeError> {
        purge::purge(&args.results, id)?;
        removed.push(id.clone());
        if !args.json && printed.is_ok() {
            printed = print(&format!("removed {id}"));
        }
        Ok(())
    });
    if args.json {
        printed = print(&json!({ "removed": removed }).to_string());
    } else if ids.is_empty() {
        printed = print("nothing to remove");
    }
    purged?;
    printed?;
    Ok(Ending::Done)
}

fn agreed(ids: &[String], results: &Path) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "standard input is no terminal, so removing {} cannot be confirmed; give --yes",
            ids.join(", ")
        );
    }
    say(&format!(
        "remove {} of {} ({})? They cannot be restored. [y/N]",
        table::count(ids.len(), "experiment"),
        results.display(),
        ids.join(", ")
    ));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

pub(super) fn backup(args: &BackupArgs) -> anyhow::Result<Ending> {
    let every = args.ids.is_empty();
    let mut ids = Vec::new();
    for id in if every { all(&args.results)? } else { args.ids.clone() } {
        match purge::may_be_removed(&args.results, &id) {
            Ok(_) => ids.push(id),
            // Its files change while they are read.
            Err(PurgeError::Runs { .. }) => say(&format!("{id} still runs and is left out")),
            Err(PurgeError::Foreign { path, what }) if every => {
                say(&format!("{} is {what}; it is left out", path.display()));
            }
            Err(PurgeError::Foreign { path, what }) => {
                bail!("cannot back up {id}: {} is {what}", path.display());
            }
            Err(error) => bail!("cannot back up {id}: {error}"),
        }
    }
    if ids.is_empty() {
        bail!("there is no experiment to back up in {}", args.results.display());
    }
    let archive = if args.to.is_dir() {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        args.to.join(format!("linerate-results-{}.tar.gz", now.replace([':', '-'], "")))
    } else {
        args.to.clone()
    };
    let files = backup::backup(&args.results, &ids, &archive)?;
    if args.json {
        print(&json!({ "archive": shown(&archive), "experiments": ids, "files": files }).to_string())?;
    } else {
        print(&shown(&archive))?;
        say(&format!("{} in {}", table::count(ids.len(), "experiment"), table::count(files, "file")));
    }
    Ok(Ending::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_report::export::{ExportFormat, export};
    use linerate_results::fixtures::recorded;

    #[test]
    fn the_command_that_resumes_has_the_filter_and_the_directory_of_the_results() {
        let scan = |filter: Option<&str>| Scan {
            id: "1f3c09aa".to_owned(),
            filter: filter.map(str::to_owned),
            trials: Vec::new(),
        };
        for (results, filter, command) in [
            ("results", None, "linerate run results/1f3c09aa/experiment.yaml --resume"),
            (
                "results",
                Some("size_64B"),
                "linerate run results/1f3c09aa/experiment.yaml --filter=size_64B --resume",
            ),
            (
                "/data/my r",
                Some("it's"),
                "linerate run '/data/my r/1f3c09aa/experiment.yaml' --filter='it'\\''s' --results='/data/my r' --resume",
            ),
        ] {
            assert_eq!(resuming(Path::new(results), &scan(filter)), command);
        }
    }

    /// Arguments that remove one experiment without asking.
    fn agreed_purge(results: &Path, id: &str) -> PurgeArgs {
        let (ids, results) = (vec![id.to_owned()], results.to_owned());
        PurgeArgs { ids, incomplete: false, yes: true, results, json: true }
    }

    #[test]
    fn a_purge_takes_the_rows_of_what_it_removes_from_the_table_of_all_experiments() {
        let (results, id) = recorded();
        let table = results.path().join("summary_all_experiments.csv");
        export(results.path(), std::slice::from_ref(&id), &[ExportFormat::Summary], None).unwrap();
        assert!(std::fs::read_to_string(&table).unwrap().contains(&id));
        assert_eq!(purge(&agreed_purge(results.path(), &id)).unwrap(), Ending::Done);
        let rest = std::fs::read_to_string(&table).unwrap();
        assert!(rest.starts_with("exp_id,") && rest.lines().count() == 1, "{rest}");
    }

    #[test]
    fn a_purge_whose_table_cannot_be_changed_is_done() {
        let (results, id) = recorded();
        std::os::unix::fs::symlink("/nowhere", results.path().join("summary_all_experiments.csv")).unwrap();
        assert_eq!(purge(&agreed_purge(results.path(), &id)).unwrap(), Ending::Done);
        assert!(!results.path().join(&id).exists());
    }

    #[test]
    fn a_backup_of_everything_leaves_out_what_is_no_experiment() {
        let (results, id) = recorded();
        let foreign = results.path().join("deadbeef");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join("notes"), "").unwrap();
        let args = |ids: &[&str]| BackupArgs {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            to: results.path().join("all.tar.gz"),
            results: results.path().to_owned(),
            json: false,
        };
        assert!(backup(&args(&[])).is_ok() && args(&[]).to.is_file());
        let error = backup(&args(&[&id, "deadbeef"])).unwrap_err().to_string();
        assert!(error.starts_with("cannot back up deadbeef: ") && !error.contains("removed"), "{error}");
    }
}
