//! `profile import`: profiles from Pktgen Lua scripts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use linerate_protocol::profile::{Profile, ProfileDocument};
use serde_json::{Value, json};

use super::ImportArgs;
use crate::cli::Ending;
use crate::cli::output::{print, report_error, say};
use crate::pktgen::{self, Imported, LARGEST_SCRIPT_BYTES, Limits};
use crate::profile::{file_in, to_yaml, write};

/// What became of a script.
type Outcome = (PathBuf, anyhow::Result<Vec<(Imported, Option<PathBuf>)>>);

pub(super) fn import(args: &ImportArgs) -> anyhow::Result<Ending> {
    let outcomes: Vec<Outcome> = args
        .files
        .iter()
        .map(|file| (file.clone(), read(file).map(|all| placed(all, args.out.as_deref()))))
        .collect();
    write_all(&outcomes, args.force)?;
    if args.json {
        let all: Vec<Value> = outcomes.iter().map(|(script, outcome)| object(script, outcome)).collect();
        print(&serde_json::to_string(&all)?)?;
    } else {
        for (script, outcome) in &outcomes {
            tell(script, outcome)?;
        }
    }
    let all_right = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
    Ok(if all_right { Ending::Done } else { Ending::Failed })
}

fn read(path: &Path) -> anyhow::Result<Vec<Imported>> {
    let named = || path.display().to_string();
    let mut script = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_SCRIPT_BYTES + 1).read_to_end(&mut script))
        .with_context(named)?;
    anyhow::ensure!(
        script.len() as u64 <= LARGEST_SCRIPT_BYTES,
        "{}: more than {LARGEST_SCRIPT_BYTES} bytes are too many for a script of profiles",
        named()
    );
    pktgen::import(&script, Limits::default()).with_context(named)
}

/// Where each profile goes: the ports of one script apart, because they may send the same.
fn placed(imported: Vec<Imported>, out: Option<&Path>) -> Vec<(Imported, Option<PathBuf>)> {
    let several = imported.len() > 1;
    let file = |one: &Imported| {
        let directory = out?;
        let directory =
            if several { directory.join(format!("port{}", one.port)) } else { directory.to_owned() };
        Some(file_in(&directory, &one.profile))
    };
    imported
        .into_iter()
        .map(|one| {
            let file = file(&one);
            (one, file)
        })
        .collect()
}

/// Scripts of one meaning share a file.
fn write_all(outcomes: &[Outcome], force: bool) -> anyhow::Result<()> {
    let mut files: BTreeMap<PathBuf, &Profile> = BTreeMap::new();
    for (one, file) in outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).flatten() {
        if let Some(file) = file {
            files.insert(file.clone(), &one.profile);
        }
    }
    write(&files.into_iter().collect::<Vec<_>>(), force)?;
    Ok(())
}

fn object(script: &Path, outcome: &anyhow::Result<Vec<(Imported, Option<PathBuf>)>>) -> Value {
    match outcome {
        Ok(all) => {
            let profiles: Vec<Value> = all
                .iter()
                .map(|(one, file)| {
                    json!({
                        "port": one.port, "name": one.profile.name(), "file": file, "notes": one.notes,
                        "document": ProfileDocument::from(&one.profile),
                    })
                })
                .collect();
            json!({ "script": script, "profiles": profiles })
        }
        Err(error) => json!({ "script": script, "error": format!("{error:#}") }),
    }
}

fn tell(script: &Path, outcome: &anyhow::Result<Vec<(Imported, Option<PathBuf>)>>) -> anyhow::Result<()> {
    let all = match outcome {
        Ok(all) => all,
        Err(error) => {
            report_error(error);
            return Ok(());
        }
    };
    for (one, file) in all {
        let said = match file {
            Some(file) => format!("{} port {}: wrote {}", script.display(), one.port, file.display()),
            None => {
                format!(
                    "---\n# {} port {}\n{}",
                    script.display(),
                    one.port,
                    to_yaml(&one.profile)?.trim_end()
                )
            }
        };
        print(&said)?;
        for note in &one.notes {
            say(&format!("note: {} port {}: {note}", script.display(), one.port));
        }
    }
    Ok(())
}
