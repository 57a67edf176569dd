//! Progress as text lines on standard error, or as JSON events on standard output.

use std::collections::BTreeMap;
use std::time::Instant;

use super::pace::Pace;
use super::{
    MOST_PAIRS, View, failure_line, hidden, http_phrase, http_result_line, phrase, result_line, search_line,
    streams_phrase, streams_result_line,
};
use crate::cli::output::{print, say};
use linerate_experiment::plan::Trial;
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::{TrialFailure, TrialSummary};
use linerate_runner::events::{Event, HttpReading, Phase, Reading, SearchProgress, StreamsReading};
use linerate_runner::run::observer::WatchedPath;

/// Prints text lines, about one per second and pair.
#[derive(Debug, Default)]
pub(super) struct Lines {
    paces: BTreeMap<String, Pace>,
}

impl View for Lines {
    fn phase(&mut self, text: &str) {
        say(text);
    }

    fn trial_began(&mut self, title: &str, _: usize, _: usize, _: &Trial, pairs: &[WatchedPath]) {
        let shown = pairs.iter().take(MOST_PAIRS);
        self.paces = shown.map(|pair| (pair.name.clone(), Pace::default())).collect();
        if let Some(others) = hidden(pairs) {
            say(&format!("{title}: lines of {MOST_PAIRS} pairs follow, {others}"));
        }
    }

    fn reading(&mut self, title: &str, reading: &Reading) {
        let pace = self.paces.get_mut(&reading.pair);
        if !pace.is_some_and(|pace| pace.is_due(Instant::now())) {
            return;
        }
        say(&format!("{title} {} {:.1} s: {}", reading.pair, reading.at_s, phrase(reading)));
    }

    fn trial_ended(&mut self, title: &str, result: &TrialSummary) {
        // The line on the search says it.
        if result.search.is_none() {
            say(&result_line(title, result));
        }
    }

    fn trial_failed(&mut self, title: &str, failure: &TrialFailure) {
        say(&failure_line(title, failure));
    }

    fn streams_reading(&mut self, title: &str, reading: &StreamsReading) {
        if self.paces.entry(String::new()).or_default().is_due(Instant::now()) {
            say(&format!("{title} {:.1} s: {}", reading.at_s, streams_phrase(reading)));
        }
    }

    fn streams_ended(&mut self, title: &str, result: &StreamsTrialSummary) {
        say(&streams_result_line(title, result));
    }

    fn http_reading(&mut self, title: &str, reading: &HttpReading) {
        if self.paces.entry(String::new()).or_default().is_due(Instant::now()) {
            say(&format!("{title} {:.1} s: {}", reading.at_s, http_phrase(reading)));
        }
    }

    fn http_ended(&mut self, title: &str, result: &HttpTrialSummary) {
        say(&http_result_line(title, result));
    }

    fn search_advanced(&mut self, progress: &SearchProgress) {
        say(&search_line(progress));
    }
}

/// Prints events.
#[derive(Debug, Default)]
pub(super) struct JsonLines {
    has_warned: bool,
}

impl JsonLines {
    fn tell(&mut self, event: &Event) {
        let printed = serde_json::to_string(event).map_err(anyhow::Error::from);
        let printed = printed.and_then(|line| Ok(print(&line)?));
        if let Err(error) = printed
            && !std::mem::replace(&mut self.has_warned, true)
        {
            // The run continues: its summary is also in a file.
            tracing::warn!(%error, "an event could not be printed; the next ones are tried without a warning");
        }
    }
}

impl View for JsonLines {
    fn phase(&mut self, text: &str) {
        self.tell(&Event::Phase(Phase { text: text.to_owned() }));
    }

    fn trial_began(&mut self, _: &str, _: usize, _: usize, _: &Trial, _: &[WatchedPath]) {}

    fn reading(&mut self, _: &str, reading: &Reading) {
        self.tell(&Event::Sample(Box::new(reading.clone())));
    }

    fn trial_ended(&mut self, _: &str, result: &TrialSummary) {
        self.tell(&Event::Trial(Box::new(result.clone())));
    }

    fn trial_failed(&mut self, _: &str, failure: &TrialFailure) {
        self.tell(&Event::Failure(Box::new(failure.clone())));
    }

    fn streams_reading(&mut self, _: &str, reading: &StreamsReading) {
        self.tell(&Event::StreamsSample(Box::new(reading.clone())));
    }

    fn streams_ended(&mut self, _: &str, result: &StreamsTrialSummary) {
        self.tell(&Event::StreamsTrial(Box::new(result.clone())));
    }

    fn http_reading(&mut self, _: &str, reading: &HttpReading) {
        self.tell(&Event::HttpSample(Box::new(reading.clone())));
    }

    fn http_ended(&mut self, _: &str, result: &HttpTrialSummary) {
        self.tell(&Event::HttpTrial(Box::new(result.clone())));
    }

    fn search_advanced(&mut self, progress: &SearchProgress) {
        self.tell(&Event::Search(Box::new(progress.clone())));
    }
}
