//! Progress on standard error: a bar on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use linerate_protocol::counters::Sample;
use linerate_protocol::trial::Role;

use super::output::say;
use super::rates::Rates;
use crate::plan::Trial;
use crate::run::observer::{Nobody, Observer};
use crate::summary::{TrialFailure, TrialSummary};

/// Least time between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
const TEMPLATE: &str = "{prefix} {bar:24} {elapsed} {msg}";

/// What suits standard error.
pub(super) fn observer(quiet: bool) -> Box<dyn Observer> {
    if quiet {
        Box::new(Nobody)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines { state: RefCell::new(State::new()) })
    }
}

struct State {
    prefix: String,
    began: Instant,
    last_line: Instant,
    rates: Rates,
}

impl State {
    fn new() -> Self {
        Self {
            prefix: String::new(),
            began: Instant::now(),
            last_line: Instant::now(),
            rates: Rates::default(),
        }
    }

    fn begin(&mut self, number: usize, of: usize, trial: &Trial) {
        *self = Self { prefix: format!("[{number}/{of}] {}", trial.directory()), ..Self::new() };
    }
}

fn result_line(prefix: &str, result: &TrialSummary) -> String {
    format!(
        "{prefix} {}: sent {} received {} lost {}, {}",
        result.pair, result.sent_packets, result.received_packets, result.lost_packets, result.verdict.kind
    )
}

fn failure_line(prefix: &str, failure: &TrialFailure) -> String {
    format!("{prefix} {}: not finished: {}", failure.pair, failure.reason)
}

struct Lines {
    state: RefCell<State>,
}

impl Observer for Lines {
    fn phase(&self, text: &str) {
        say(text);
    }

    fn trial_began(&self, number: usize, of: usize, trial: &Trial) {
        self.state.borrow_mut().begin(number, of, trial);
    }

    fn sample(&self, agent: &str, role: Role, sample: &Sample) {
        let mut state = self.state.borrow_mut();
        state.rates.add(agent, role, sample);
        if state.last_line.elapsed() >= LINE_EVERY {
            state.last_line = Instant::now();
            say(&format!(
                "{} {:.0} s {}",
                state.prefix,
                state.began.elapsed().as_secs_f64(),
                state.rates.phrase()
            ));
        }
    }

    fn trial_ended(&self, result: &TrialSummary) {
        say(&result_line(&self.state.borrow().prefix, result));
    }

    fn trial_failed(&self, failure: &TrialFailure) {
        say(&failure_line(&self.state.borrow().prefix, failure));
    }
}

struct Bar {
    bar: ProgressBar,
    state: RefCell<State>,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Self { bar, state: RefCell::new(State::new()) }
    }
}

impl Observer for Bar {
    fn phase(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn trial_began(&self, number: usize, of: usize, trial: &Trial) {
        let mut state = self.state.borrow_mut();
        state.begin(number, of, trial);
        self.bar.set_prefix(state.prefix.clone());
        self.bar.set_message("");
        self.bar.set_length(trial.expected_duration.map_or(0, |duration| duration.as_millis() as u64));
        self.bar.reset();
    }

    fn sample(&self, agent: &str, role: Role, sample: &Sample) {
        let mut state = self.state.borrow_mut();
        state.rates.add(agent, role, sample);
        self.bar.set_message(state.rates.phrase());
        self.bar.set_position(state.began.elapsed().as_millis() as u64);
    }

    fn trial_ended(&self, result: &TrialSummary) {
        self.bar.println(result_line(&self.state.borrow().prefix, result));
    }

    fn trial_failed(&self, failure: &TrialFailure) {
        self.bar.println(failure_line(&self.state.borrow().prefix, failure));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
