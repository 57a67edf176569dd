//! Resumption of an experiment.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::checksum::FileSum;
use super::enclosed::Enclosed;
use super::error::at;
use super::manifest::Manifest;
use super::trial_log::{Derived, TRIAL_LOG_FILE, derive, derive_readable};
use super::{Recorded, SUMMARY_FILE, Store, StoreError, UNFINISHED, ids, lock, read_json};
use crate::planned::PlannedResult;
use crate::summary::{Aggregate, Status, Summary, TrialSummary};
use linerate_experiment::plan::Trial;
use linerate_experiment::search::SearchOutcome;
use linerate_experiment::strategy::{NextTrial, Outcomes, PathOutcome, RecordedOutcome, Strategy};

/// An experiment to resume.
#[derive(Debug)]
pub struct Earlier {
    /// Its directory, locked.
    pub store: Store,
    /// Its summary, with only those trials that are complete and readable on every pair.
    pub summary: Summary,
    /// Checksums of its files, by path relative to the summary.
    pub sums: BTreeMap<String, FileSum>,
}

/// Result of a search for an earlier run.
#[derive(Debug, Default)]
pub struct Found {
    /// The run to resume, if there is one.
    pub earlier: Option<Earlier>,
    /// Damaged or unreadable records: experiment, reason and consequence, each in one sentence.
    pub notes: Vec<String>,
}

/// The readable records of an experiment.
struct Readable {
    summary: Summary,
    /// Checksums from the log; empty for an experiment that has ended, whose manifest has them.
    sums: BTreeMap<String, FileSum>,
    /// What could not be read, with the reasons.
    damaged: Vec<String>,
}

impl Readable {
    /// Reads the experiment in `directory`; `None` when nothing is recorded there.
    ///
    /// # Errors
    /// When neither its summary nor a head of its log can be read.
    fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let written = read_json::<Summary>(directory, SUMMARY_FILE);
        let of = |summary| Self { summary, sums: BTreeMap::new(), damaged: Vec::new() };
        if let Ok(Some(ended)) = &written
            && ended.has_ended()
        {
            return Ok(Some(of(ended.clone())));
        }
        match derive_readable(directory)? {
            Some(Derived { summary, sums, damaged, .. }) => {
                let told = damaged.iter().map(|line| format!("{TRIAL_LOG_FILE}, {line}"));
                let mut damaged: Vec<String> = told.collect();
                damaged.extend(written.err().map(|error| error.to_string()));
                Ok(Some(Self { summary, sums, damaged }))
            }
            None => match (written?, derive(directory)) {
                (Some(summary), log) => {
                    let damaged = log.err().iter().map(ToString::to_string).collect();
                    Ok(Some(Self { damaged, ..of(summary) }))
                }
                (None, log) => log.map(|_| None),
            },
        }
    }

    fn is_of(&self, determinants: &str) -> bool {
        self.summary.experiment.determinants.as_deref() == Some(determinants)
    }
}

/// Id of the latest experiment below `results` with these determinants; `None` when there is none. Adds a note for
/// each experiment that cannot be read.
fn latest(results: &Path, determinants: &str, notes: &mut Vec<String>) -> Result<Option<String>, StoreError> {
    if !results.exists() {
        return Ok(None);
    }
    let mut same = Vec::new();
    for id in ids(results)? {
        match Readable::read(&results.join(&id)) {
            Ok(read) => {
                let read = read.filter(|read| read.is_of(determinants));
                same.extend(read.map(|read| (read.summary.experiment.started_at, id)));
            }
            Err(error) => notes.push(format!(
                "{id} cannot be resumed: {error}; `linerate results validate {id}` has details, `linerate results purge {id}` removes it"
            )),
        }
    }
    Ok(same.into_iter().max().map(|(_, id)| id))
}

impl Earlier {
    /// Finds the latest experiment below `results` with these determinants, and locks it. `ways` is the number
    /// of paths, each of which has a result in a trial that loads all of them.
    ///
    /// # Errors
    /// When a run uses it, or it cannot be read.
    pub fn find(
        results: &Path,
        determinants: &str,
        strategy: &dyn Strategy,
        ways: usize,
    ) -> Result<Found, StoreError> {
        let mut notes = Vec::new();
        let earlier = match latest(results, determinants, &mut notes)? {
            Some(id) => Some(Self::take_up(results, id, determinants, strategy, ways, &mut notes)?),
            None => None,
        };
        Ok(Found { earlier, notes })
    }

    /// Locks the experiment `id` and reads its records.
    fn take_up(
        results: &Path,
        id: String,
        determinants: &str,
        strategy: &dyn Strategy,
        ways: usize,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let directory = results.join(&id);
        // A symbolic link in its place may lead anywhere.
        Enclosed::experiment(results, &id)?;
        let in_use = "a run is at it right now; wait for its end, or leave --resume out";
        let refused = |reason| at("resume", &directory)(std::io::Error::other(reason));
        let lock = lock::hold(&directory).map_err(|error| match error.reason.kind() {
            ErrorKind::WouldBlock => refused(in_use),
            _ => error,
        })?;
        // Another run may have added trials before this one got the lock.
        let read = Readable::read(&directory)?.filter(|read| read.is_of(determinants));
        let Some(Readable { mut summary, mut sums, damaged }) = read else {
            return Err(refused("it was changed or removed just now; run again"));
        };
        let is_damaged = !damaged.is_empty();
        notes.extend(damaged.iter().map(|line| {
            format!("{id} is damaged: {line}; the trials that are whole are kept, the others are run again")
        }));
        clear_unfinished(&directory)?;
        match Manifest::written(&directory) {
            Ok(Some(manifest)) if manifest.complete => sums = manifest.files,
            written => {
                if let Err(error) = written {
                    notes.push(format!("{id} is damaged: {error}; a new one is written"));
                }
                if summary.has_ended() {
                    sums = derive_readable(&directory)?.map(|derived| derived.sums).unwrap_or_default();
                }
            }
        }
        let place = Recorded { directory: directory.clone(), summary: summary.clone() };
        let whole = |result: &TrialSummary| is_whole(&place, &sums, result);
        let mut recorded: HashMap<(String, u32), Vec<TrialSummary>> = HashMap::new();
        for result in std::mem::take(&mut summary.trials) {
            recorded.entry((result.profile.clone(), result.repeat)).or_default().push(result);
        }
        let label = |all: Aggregate| ((all.profile.clone(), all.repeat), all);
        let mut aggregates: HashMap<(String, u32), Aggregate> =
            std::mem::take(&mut summary.aggregates).into_iter().map(label).collect();
        let mut kept = Outcomes::default();
        kept.set_equipment(summary.experiment.equipment());
        let mut keep = |trial: &Trial, kept: &mut Outcomes| {
            // A trial is kept if all of its results are present and intact.
            let results = recorded.remove(&trial.label()).unwrap_or_default();
            let expected = if trial.path.is_some() { 1 } else { ways };
            let is_of = trial.is_of(results.iter().map(|result| (result.pair.as_str(), result.search)));
            if results.len() != expected || !is_of || !results.iter().all(&whole) {
                return false;
            }
            kept.add(trial, RecordedOutcome::Measured(results.iter().map(PathOutcome::from).collect()));
            // A trial that was no evidence ended its search.
            let ended = strategy.search_of(trial, kept).and_then(|search| search.ended);
            if matches!(ended, Some(SearchOutcome::Failed(_))) {
                kept.remove(trial);
                return false;
            }
            // The aggregate's line may be the damaged one; its start spread is lost.
            let again = || Aggregate::of(&results, None).filter(|_| is_damaged);
            summary.aggregates.extend(aggregates.remove(&trial.label()).or_else(again));
            summary.trials.extend(results);
            true
        };
        for trial in strategy.foreseen() {
            keep(trial, &mut kept);
        }
        // Trials that depend on outcomes are chosen again, up to the first that is not kept.
        while strategy.foreseen().is_empty()
            && let NextTrial::Run(trial) = strategy.next(&kept)
            && keep(&trial, &mut kept)
        {}
        summary.http.retain(|result| result.is_complete() && is_whole_of_planned(&place, &sums, result));
        summary.streams.retain(|result| result.is_complete() && is_whole_of_planned(&place, &sums, result));
        let store = Store { directory, id, resumed: true, _lock: lock };
        Ok(Self { store, summary, sums })
    }

    /// Outcomes of the recorded trials.
    pub fn outcomes(&self, strategy: &dyn Strategy) -> Outcomes {
        self.summary.outcomes(strategy)
    }

    /// True when no trial is left to run.
    pub fn is_measured(&self, strategy: &dyn Strategy) -> bool {
        strategy.next(&self.outcomes(strategy)) == NextTrial::Finished
    }

    /// True when it ended and no trial is left to run.
    pub fn is_complete(&self, strategy: &dyn Strategy) -> bool {
        self.summary.status == Status::Complete && self.is_measured(strategy)
    }
}

/// Status of the experiment in `directory`; `None` when nothing is recorded there.
///
/// # Errors
/// When neither its summary nor its log can be read.
pub(crate) fn status(directory: &Path) -> Result<Option<Status>, StoreError> {
    Ok(Readable::read(directory)?.map(|read| read.summary.status))
}

/// True when the trial's file agrees with the summary and with its checksum.
fn is_whole(recorded: &Recorded, sums: &BTreeMap<String, FileSum>, result: &TrialSummary) -> bool {
    let same = recorded.trial(&result.trial).is_ok_and(|record| record.result.as_ref() == Some(result));
    let unharmed = |sum: &FileSum| {
        FileSum::of_length(&recorded.directory.join(&result.trial), sum.bytes)
            .is_ok_and(|found| found == *sum)
    };
    same && sums.get(&result.trial).is_none_or(unharmed)
}

fn is_whole_of_planned<R: PlannedResult>(
    recorded: &Recorded,
    sums: &BTreeMap<String, FileSum>,
    result: &R,
) -> bool {
    let [trial, _] = result.files();
    let record = recorded.planned_trial::<R>(trial);
    let same = record.is_ok_and(|record| R::in_record(&record) == Some(result));
    let unharmed = |path: &String| {
        sums.get(path).is_none_or(|sum| {
            FileSum::of_length(&recorded.directory.join(path), sum.bytes).is_ok_and(|found| found == *sum)
        })
    };
    same && result.files().into_iter().all(unharmed)
}

/// Removes the unfinished files of a killed run.
fn clear_unfinished(directory: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).map_err(at("read", directory))? {
        let entry = entry.map_err(at("read", directory))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use linerate_experiment::plan::{Plan, Trial};

    use super::*;
    use crate::fixtures::{record, summary, trial};
    use crate::store::trial_log::{Head, LogRecord, ResultRecord, TrialLog};

    const SAME: &str = "the same";

    /// A trial of a plan with three repeats.
    fn trials() -> Vec<Trial> {
        matrix().trials
    }

    fn matrix() -> Plan {
        Plan { trials: (1..=3).map(|repeat| Trial { repeat, repeats: 3, ..trial() }).collect() }
    }

    /// Records a trial on two paths.
    fn recorded(store: &Store, log: &mut TrialLog, trial: &Trial) {
        let mut records = Vec::new();
        for pair in ["tx0-rx0", "tx1-rx1"] {
            let mut record = record();
            (record.pair, record.repeat, record.profile) =
                (pair.to_owned(), trial.repeat, trial.profile.name());
            let mut result = record.result.take().unwrap();
            (result.pair, result.repeat, result.profile) =
                (pair.to_owned(), trial.repeat, trial.profile.name());
            result.trial = format!("{pair}/{}/trial.json", trial.directory());
            record.result = Some(result.clone());
            let files = store.add_trial(&trial.directory(), &record, None).unwrap().files;
            let number = trial.repeat;
            records.push(LogRecord::Result(Box::new(ResultRecord { number, key: None, files, result })));
        }
        log.append(&records).unwrap();
    }

    /// A run of three trials on two paths that was killed when it had two.
    fn killed(results: &Path) -> (Store, TrialLog) {
        let store = Store::create(results).unwrap();
        let mut head = Head::of(&summary(Status::Running));
        head.experiment.id = store.id().to_owned();
        head.experiment.determinants = Some(SAME.to_owned());
        let mut log = store.begin_log(&[LogRecord::Head(Box::new(head))]).unwrap();
        trials()[..2].iter().for_each(|trial| recorded(&store, &mut log, trial));
        (store, log)
    }

    fn find(results: &Path) -> Found {
        Earlier::find(results, SAME, &matrix(), 2).unwrap()
    }

    fn repeats(earlier: &Earlier) -> Vec<u32> {
        earlier.summary.trials.iter().map(|trial| trial.repeat).collect()
    }

    #[test]
    fn a_trial_that_was_recorded_before_the_lock_was_free_is_kept() {
        let results = tempfile::tempdir().unwrap();
        let (store, mut log) = killed(results.path());
        let id = latest(results.path(), SAME, &mut Vec::new()).unwrap().unwrap();
        let refused = Earlier::find(results.path(), SAME, &matrix(), 2).unwrap_err().to_string();
        assert!(refused.contains("a run is at it right now"), "{refused}");
        recorded(&store, &mut log, &trials()[2]);
        drop((store, log));
        let take_up = |determinants| {
            Earlier::take_up(results.path(), id.clone(), determinants, &matrix(), 2, &mut Vec::new())
        };
        assert_eq!(repeats(&take_up(SAME).unwrap()), [1, 1, 2, 2, 3, 3]);
        let refused = take_up("other").unwrap_err().to_string();
        assert!(refused.contains("changed or removed just now"), "{refused}");
    }

    #[test]
    fn damage_of_the_log_costs_a_trial_and_not_the_run() {
        let results = tempfile::tempdir().unwrap();
        let (store, _) = killed(results.path());
        let path = store.directory().join(TRIAL_LOG_FILE);
        let id = store.id().to_owned();
        drop(store);
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines[2] = "{\"result\": 7}";
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let Found { earlier, notes } = find(results.path());
        assert_eq!(repeats(&earlier.unwrap()), [2, 2], "of the first trial, one path is left");
        assert!(
            notes.len() == 1 && notes[0].starts_with(&format!("{id} is damaged: trials.jsonl, line 3: ")),
            "{notes:?}"
        );
        // Without any head of the log, there is the summary that was written last.
        fs::write(&path, "nonsense\n").unwrap();
        let mut written = summary(Status::Running);
        written.experiment.determinants = Some(SAME.to_owned());
        fs::write(results.path().join(&id).join(SUMMARY_FILE), serde_json::to_vec(&written).unwrap())
            .unwrap();
        assert_eq!(find(results.path()).earlier.unwrap().store.id(), id);
        fs::remove_file(results.path().join(&id).join(SUMMARY_FILE)).unwrap();
        let Found { earlier, notes } = find(results.path());
        assert!(earlier.is_none() && notes[0].contains(&format!("{id} cannot be resumed")), "{notes:?}");
    }

    #[test]
    fn a_summary_that_cannot_be_read_is_made_up_for_by_the_log() {
        let results = tempfile::tempdir().unwrap();
        let (store, _) = killed(results.path());
        fs::write(store.summary_path(), "{").unwrap();
        drop(store);
        let Found { earlier, notes } = find(results.path());
        assert_eq!(repeats(&earlier.unwrap()), [1, 1, 2, 2]);
        assert!(notes.len() == 1 && notes[0].contains(SUMMARY_FILE), "{notes:?}");
    }
}
