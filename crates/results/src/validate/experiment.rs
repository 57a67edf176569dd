//! Validation of an experiment: files against the manifest, trials against the summary and their own
//! arithmetic.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use linerate_wire::counters::PortCounters;

use super::{Problem, Reason, Validation, fewest_samples, flows, http, search, streams};
use crate::store::checksum::FileSum;
use crate::store::error::at;
use crate::store::manifest::{MANIFEST_FILE, Manifest, files};
use crate::store::record::{TimedSample, TrialRecord};
use crate::store::trial_log::{TRIAL_LOG_FILE, derive};
use crate::store::{DOCUMENT_FILE, SUMMARY_FILE, StoreError, read_json, read_text};
use crate::summary::{Status, Summary, TrialSummary};
use linerate_experiment::{Experiment, Overrides};

pub(super) fn check(directory: &Path, samples: Option<u64>) -> Result<Validation, StoreError> {
    fs::read_dir(directory).map_err(at("read", directory))?;
    let mut checker = Checker {
        directory,
        there: files(directory)?.into_iter().map(|(path, _)| path).collect(),
        problems: vec![],
    };
    checker.manifest();
    let written = checker.read::<Summary>(SUMMARY_FILE);
    let derived = checker.log();
    let ended = written.as_ref().is_some_and(|summary| summary.status != Status::Running);
    if let (true, Some(written), Some(derived)) = (ended, &written, &derived)
        && written != derived
    {
        checker.add(SUMMARY_FILE, Reason::Contradiction, format!("it is not what {TRIAL_LOG_FILE} says"));
    }
    // During a run, the log is ahead of the summary.
    let summary = if ended { written } else { derived.or(written) };
    if let Some(summary) = summary {
        checker.summary(&summary, samples);
    }
    Ok(Validation::new(directory, checker.there.len(), checker.problems))
}

pub(super) struct Checker<'d> {
    pub(super) directory: &'d Path,
    pub(super) there: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    pub(super) fn add(&mut self, path: &str, reason: Reason, detail: impl Into<String>) {
        self.problems.push(Problem::new(path, reason, detail));
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&mut self, path: &str) -> Option<T> {
        match read_json(self.directory, path) {
            Ok(Some(value)) => return Some(value),
            Ok(None) => self.add(path, Reason::MissingFile, "it is not there"),
            Err(error) if error.reason.kind() == ErrorKind::UnexpectedEof => {
                self.add(path, Reason::Torn, error.reason.to_string());
            }
            Err(error) => self.add(path, Reason::Unreadable, error.reason.to_string()),
        }
        None
    }

    /// The summary derived from the log of the trials; older experiments have no log.
    fn log(&mut self) -> Option<Summary> {
        match derive(self.directory) {
            Ok(derived) => {
                if derived.as_ref().is_some_and(|derived| derived.torn) {
                    let detail = "its last line is cut short; its record was never acknowledged, and --resume continues after the line before";
                    self.add(TRIAL_LOG_FILE, Reason::Torn, detail);
                }
                derived.map(|derived| derived.summary)
            }
            Err(error) => {
                self.add(TRIAL_LOG_FILE, Reason::Unreadable, error.reason.to_string());
                None
            }
        }
    }

    fn manifest(&mut self) {
        if !self.directory.join(MANIFEST_FILE).exists() {
            return self.add(MANIFEST_FILE, Reason::NoManifest, "there are no checksums of the files");
        }
        if self.read::<Manifest>(MANIFEST_FILE).is_none() {
            return;
        }
        // Problems of the log are reported for the log.
        let Ok(Some(manifest)) = Manifest::read(self.directory) else { return };
        if !manifest.complete {
            self.add(
                MANIFEST_FILE,
                Reason::Unfinished,
                "the run has not ended, or was killed before it listed every file",
            );
        }
        for (path, recorded) in &manifest.files {
            self.checksum(path, recorded);
        }
        if manifest.complete {
            let unlisted: Vec<String> = self
                .there
                .iter()
                .filter(|path| is_trial(path) && !manifest.files.contains_key(*path))
                .cloned()
                .collect();
            for path in unlisted {
                self.add(&path, Reason::Unlisted, "it is not in the manifest");
            }
        }
    }

    fn checksum(&mut self, path: &str, recorded: &FileSum) {
        if !self.there.contains(path) {
            return self.add(path, Reason::MissingFile, "the manifest lists it");
        }
        match FileSum::of_length(&self.directory.join(path), recorded.bytes) {
            Ok(found) if found == *recorded => {}
            Ok(found) if found.bytes < recorded.bytes => {
                self.add(
                    path,
                    Reason::Torn,
                    format!("{} of {} bytes are there", found.bytes, recorded.bytes),
                );
            }
            Ok(found) if found.bytes > recorded.bytes => {
                let detail = format!("it has {} bytes, recorded were {}", found.bytes, recorded.bytes);
                self.add(path, Reason::WrongChecksum, detail);
            }
            Ok(found) => {
                let detail = format!("SHA-256 is {}, recorded was {}", found.sha256, recorded.sha256);
                self.add(path, Reason::WrongChecksum, detail);
            }
            Err(error) => self.add(path, Reason::Unreadable, error.to_string()),
        }
    }

    fn summary(&mut self, summary: &Summary, samples: Option<u64>) {
        if summary.status == Status::Running {
            let detail = "it states that the experiment is running: it is, or it was killed";
            self.add(SUMMARY_FILE, Reason::Unfinished, detail);
        }
        if !summary.overhead.adds_up() {
            let overhead = &summary.overhead;
            let parts = overhead.parts().map(|(part, seconds)| format!("{part} {seconds} s")).join(", ");
            let detail = format!("the overhead's total is {} s, its parts are {parts}", overhead.total_s);
            self.add(SUMMARY_FILE, Reason::Contradiction, detail);
        }
        for detail in search::contradictions(summary) {
            self.add(SUMMARY_FILE, Reason::Contradiction, detail);
        }
        let interval_s =
            self.document().map(|experiment| experiment.trial().sample_interval.get().as_secs_f64());
        for trial in &summary.streams {
            streams::check(self, trial, interval_s, samples);
        }
        for trial in &summary.http {
            http::check(self, trial, interval_s, samples);
        }
        for trial in &summary.trials {
            let path = trial.trial.as_str();
            if !self.there.contains(path) {
                self.add(path, Reason::MissingFile, "the summary names it");
            } else if let Some(record) = self.read::<TrialRecord>(path) {
                let due = interval_s.map(|interval_s| fewest_samples(trial.duration_s, interval_s));
                self.trial(path, trial, &record, samples.or(due).unwrap_or(1));
            }
        }
    }

    /// The document in force, if it can be read.
    fn document(&self) -> Option<Experiment> {
        let text = read_text(self.directory, DOCUMENT_FILE).ok()??;
        Experiment::parse(&text, DOCUMENT_FILE, &Overrides::default()).ok()
    }

    fn trial(&mut self, path: &str, trial: &TrialSummary, record: &TrialRecord, samples: u64) {
        let TrialSummary { sent_packets, received_packets, lost_packets, .. } = *trial;
        if received_packets.checked_add(lost_packets) != Some(sent_packets) {
            let detail = format!("{sent_packets} ≠ {received_packets} + {lost_packets}");
            self.add(path, Reason::Miscounted, detail);
        }
        if let Some(loss) = &record.loss
            && loss.placed_packets().checked_add(loss.unplaced_packets) != Some(lost_packets)
        {
            let detail = format!(
                "{lost_packets} lost packets ≠ {} of the intervals + {} without a time",
                loss.placed_packets(),
                loss.unplaced_packets
            );
            self.add(path, Reason::Miscounted, detail);
        }
        if let Some(detail) = trial.engine.as_ref().and_then(|engine| engine.misplaced(Some(lost_packets))) {
            self.add(path, Reason::Miscounted, detail);
        }
        if record.result.as_ref() != Some(trial) {
            self.add(path, Reason::Contradiction, "its result is not the one in the summary");
        }
        self.reports(path, trial, record);
        self.flows(trial);
        for (end, seen) in [("transmitter", &record.samples.tx), ("receiver", &record.samples.rx)] {
            if (seen.len() as u64) < samples {
                let detail = format!("{} of {samples} at the {end}", seen.len());
                self.add(path, Reason::TooFewSamples, detail);
            }
            for (index, pair) in seen.windows(2).enumerate() {
                self.step(path, end, index + 1, &pair[0], &pair[1]);
            }
        }
    }

    /// Checks that the recorded flows, if there are any, add up to the result and contain its worst flows.
    fn flows(&mut self, trial: &TrialSummary) {
        let Some(path) = trial.flows_file.as_deref() else { return };
        if !self.there.contains(path) {
            return self.add(path, Reason::MissingFile, "the summary names it");
        }
        match flows::contradictions(&self.directory.join(path), trial) {
            Ok(found) => found.into_iter().for_each(|detail| self.add(path, Reason::Contradiction, detail)),
            Err(error) => self.add(path, Reason::Unreadable, error.to_string()),
        }
    }

    /// Checks the agents' totals against the result. In a round trip, the transmitter counts the packets that
    /// come back.
    fn reports(&mut self, path: &str, trial: &TrialSummary, record: &TrialRecord) {
        let sent = record.tx.as_ref().and_then(|report| Some(report.transmit.as_ref()?.counters.packets));
        let counts = if trial.direction.is_round_trip() { &record.tx } else { &record.rx };
        let received = counts.as_ref().and_then(|report| Some(report.receive.as_ref()?.counters.packets));
        for (end, reported, stated) in
            [("transmitter", sent, trial.sent_packets), ("receiver", received, trial.received_packets)]
        {
            match reported {
                None => self.add(path, Reason::Contradiction, format!("the {end}'s report is missing")),
                Some(reported) if reported != stated => {
                    let detail = format!("the {end} reported {reported} packets, the result has {stated}");
                    self.add(path, Reason::Contradiction, detail);
                }
                Some(_) => {}
            }
        }
    }

    fn step(&mut self, path: &str, end: &str, index: usize, earlier: &TimedSample, later: &TimedSample) {
        if later.at_ns <= earlier.at_ns {
            let detail = format!(
                "sample {index} of the {end} is at {} ns, the one before at {} ns",
                later.at_ns, earlier.at_ns
            );
            self.add(path, Reason::NonMonotonicTime, detail);
        }
        let back =
            later.transmit.zip(earlier.transmit).is_some_and(|(later, earlier)| {
                later.packets < earlier.packets || later.bytes < earlier.bytes
            }) || later.receive.zip(earlier.receive).is_some_and(|(later, earlier)| {
                later.packets < earlier.packets || later.frames < earlier.frames
            }) || went_back(later.port.as_ref(), earlier.port.as_ref());
        if back {
            self.add(
                path,
                Reason::CounterWentBack,
                format!("between samples {} and {index} of the {end}", index - 1),
            );
        }
    }
}

fn went_back(later: Option<&PortCounters>, earlier: Option<&PortCounters>) -> bool {
    later.zip(earlier).is_some_and(|(later, earlier)| later.since(earlier).is_none())
}

fn is_trial(path: &str) -> bool {
    path.ends_with("/trial.json") || path.ends_with("/incomplete.json")
}
