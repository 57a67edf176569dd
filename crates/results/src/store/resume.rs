//! Resumption of an experiment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::atomic::at;
use super::enclosed::Enclosed;
use super::manifest::{FileSum, Manifest};
use super::{Recorded, Store, StoreError, UNFINISHED, list, lock};
use crate::summary::{Status, Summary, TrialSummary};
use linerate_experiment::plan::Trial;
use linerate_experiment::strategy::{NextTrial, Outcomes, Strategy};

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

impl Earlier {
    /// The latest experiment below `results` with these determinants; `None` when there is none. `ways` is
    /// the number of results of each trial of `trials`.
    ///
    /// # Errors
    /// When a run uses it, or it cannot be read.
    pub fn find(
        results: &Path,
        determinants: &str,
        trials: &[Trial],
        ways: usize,
    ) -> Result<Option<Self>, StoreError> {
        if !results.exists() {
            return Ok(None);
        }
        let same = list(results)?.into_iter().filter_map(|(id, summary)| Some((id, summary.ok()?)));
        let same =
            same.filter(|(_, summary)| summary.experiment.determinants.as_deref() == Some(determinants));
        let Some((id, mut summary)) =
            same.max_by(|(_, a), (_, b)| a.experiment.started_at.cmp(&b.experiment.started_at))
        else {
            return Ok(None);
        };
        let directory = results.join(&id);
        // A symbolic link in its place may lead anywhere.
        Enclosed::experiment(results, &id)?;
        let lock = lock::hold(&directory).map_err(|error| match error.reason.kind() {
            std::io::ErrorKind::WouldBlock => StoreError {
                reason: std::io::Error::other(
                    "a run is at it right now; wait for its end, or leave --resume out",
                ),
                action: "resume",
                ..error
            },
            _ => error,
        })?;
        clear_unfinished(&directory)?;
        let place = Recorded { directory: directory.clone(), summary: summary.clone() };
        let manifest = Manifest::read(&directory)?;
        let whole = |result: &TrialSummary| is_whole(&place, manifest.as_ref(), result);
        let mut recorded: HashMap<(String, u32), Vec<TrialSummary>> = HashMap::new();
        for result in std::mem::take(&mut summary.trials) {
            recorded.entry((result.profile.clone(), result.repeat)).or_default().push(result);
        }
        for trial in trials {
            // A trial is kept if all of its results are present and intact.
            let results = recorded.remove(&trial.label()).unwrap_or_default();
            if results.len() == ways && results.iter().all(&whole) {
                summary.trials.extend(results);
            }
        }
        let kept: HashSet<_> =
            summary.trials.iter().map(|result| (result.profile.clone(), result.repeat)).collect();
        summary.aggregates.retain(|all| kept.contains(&(all.profile.clone(), all.repeat)));
        let sums = manifest.map(|manifest| manifest.files).unwrap_or_default();
        Ok(Some(Self { store: Store { directory, id, resumed: true, _lock: lock }, summary, sums }))
    }

    /// Outcomes of the recorded trials.
    pub fn outcomes(&self, strategy: &dyn Strategy) -> Outcomes {
        self.summary.outcomes(strategy.foreseen())
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

/// True when the trial's file agrees with the summary and with its checksum.
fn is_whole(recorded: &Recorded, manifest: Option<&Manifest>, result: &TrialSummary) -> bool {
    let same = recorded.trial(&result.trial).is_ok_and(|record| record.result.as_ref() == Some(result));
    let sum = manifest.and_then(|manifest| manifest.files.get(&result.trial));
    let unharmed = |sum: &FileSum| {
        FileSum::of_length(&recorded.directory.join(&result.trial), sum.bytes)
            .is_ok_and(|found| found == *sum)
    };
    same && sum.is_none_or(unharmed)
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
