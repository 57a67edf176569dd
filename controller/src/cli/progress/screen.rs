//! The live view on a terminal: a bar for the experiment, and below it a line per pair.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use linerate_logging::terminal::{escaped, escaped_line};

use super::pace::Pace;
use super::{
    MOST_PAIRS, View, failure_line, hidden, http_phrase, http_result_line, phrase, result_line, search_line,
    streams_phrase, streams_result_line,
};
use linerate_experiment::plan::Trial;
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::{TrialFailure, TrialSummary};
use linerate_runner::events::{HttpReading, Reading, SearchProgress, StreamsReading};
use linerate_runner::run::observer::WatchedPath;

/// Time between updates of the view.
const REFRESH: Duration = Duration::from_secs(1);
/// Steps of the bar per trial.
const STEPS: u64 = 1000;
const BAR: &str = "{prefix} {bar:24.cyan} {elapsed} {msg}";
const PAIR: &str = "  {prefix:.bold} {msg}";

/// The live view.
pub(super) struct Screen {
    all: MultiProgress,
    bar: ProgressBar,
    pairs: BTreeMap<String, PairLine>,
    /// Position of the bar at the beginning of the trial.
    position: u64,
    expected: Option<Duration>,
}

struct PairLine {
    bar: ProgressBar,
    pace: Pace,
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Screen {
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = all.add(styled(ProgressBar::new(STEPS), BAR));
        bar.enable_steady_tick(REFRESH);
        Self { all, bar, pairs: BTreeMap::new(), position: 0, expected: None }
    }

    fn say(&self, line: &str) {
        // If the terminal refuses the line, the error cannot be printed either.
        let _ = self.all.println(escaped(line));
    }

    fn clear_pairs(&mut self) {
        for (_, line) in std::mem::take(&mut self.pairs) {
            line.bar.finish_and_clear();
            self.all.remove(&line.bar);
        }
    }
}

impl View for Screen {
    fn phase(&mut self, text: &str) {
        self.clear_pairs();
        self.bar.set_message(escaped_line(text));
    }

    fn trial_began(&mut self, title: &str, number: usize, of: usize, trial: &Trial, pairs: &[WatchedPath]) {
        self.position = (number as u64 - 1) * STEPS;
        self.expected = trial.expected_duration;
        self.bar.set_length(of as u64 * STEPS);
        self.bar.set_position(self.position);
        self.bar.set_prefix(escaped_line(title));
        self.bar.set_message(hidden(pairs).unwrap_or_default());
        self.clear_pairs();
        for pair in pairs.iter().take(MOST_PAIRS) {
            let bar = self.all.add(styled(ProgressBar::new(1), PAIR).with_prefix(escaped_line(&pair.name)));
            bar.tick();
            self.pairs.insert(pair.name.clone(), PairLine { bar, pace: Pace::default() });
        }
    }

    fn reading(&mut self, _: &str, reading: &Reading) {
        if let Some(expected) = self.expected.filter(|expected| !expected.is_zero()) {
            let share = (reading.at_s / expected.as_secs_f64()).clamp(0.0, 1.0);
            self.bar.set_position(self.position + (share * STEPS as f64) as u64);
        }
        let Some(line) = self.pairs.get_mut(&reading.pair) else { return };
        if line.pace.is_due(Instant::now()) {
            line.bar.set_message(phrase(reading));
        }
    }

    fn trial_ended(&mut self, title: &str, result: &TrialSummary) {
        // The line on the search says it.
        if result.search.is_none() {
            self.say(&result_line(title, result));
        }
    }

    fn trial_failed(&mut self, title: &str, failure: &TrialFailure) {
        self.say(&failure_line(title, failure));
    }

    fn streams_reading(&mut self, title: &str, reading: &StreamsReading) {
        self.bar.set_length(reading.planned_trials as u64 * STEPS);
        self.bar.set_position((reading.number as u64).saturating_sub(1) * STEPS);
        self.bar.set_prefix(escaped_line(title));
        self.bar.set_message(format!("{:.1} s: {}", reading.at_s, streams_phrase(reading)));
    }

    fn streams_ended(&mut self, title: &str, result: &StreamsTrialSummary) {
        self.say(&streams_result_line(title, result));
    }

    fn http_reading(&mut self, title: &str, reading: &HttpReading) {
        self.bar.set_length(reading.planned_trials as u64 * STEPS);
        self.bar.set_position((reading.number as u64).saturating_sub(1) * STEPS);
        self.bar.set_prefix(escaped_line(title));
        self.bar.set_message(format!("{:.1} s: {}", reading.at_s, http_phrase(reading)));
    }

    fn http_ended(&mut self, title: &str, result: &HttpTrialSummary) {
        self.say(&http_result_line(title, result));
    }

    fn search_advanced(&mut self, progress: &SearchProgress) {
        self.say(&search_line(progress));
    }

    fn end(&mut self) {
        self.clear_pairs();
        self.bar.finish_and_clear();
    }
}
