//! Progress of a run: a live view on a terminal, text lines elsewhere, events for programs.

mod lines;
mod pace;
mod readings;
mod screen;

use std::cell::RefCell;
use std::io::{IsTerminal, stderr, stdout};
use std::time::Instant;

use linerate_wire::sample::Sample;
use linerate_wire::streams::bit_rate;
use linerate_wire::trial::Role;

use self::lines::{JsonLines, Lines};
use self::readings::Readings;
use self::screen::Screen;
use super::words::{microseconds, missed_load, mpps};
use linerate_experiment::http::HttpTrial;
use linerate_experiment::plan::Trial;
use linerate_experiment::search::SearchState;
use linerate_experiment::streams::{Connection, StreamsTrial};
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::{TrialFailure, TrialSummary};
use linerate_runner::events::{BenchmarkProgress, HttpReading, Reading, SearchProgress, StreamsReading};
use linerate_runner::run::observer::{NoObserver, Observer, WatchedPath};
use linerate_search::classify::LoadClass;

/// Most pairs with a line of their own, so that the view does not fill a terminal or a log.
const MOST_PAIRS: usize = 16;

/// Text on how many pairs have no line; `None` when all have one.
fn hidden(pairs: &[WatchedPath]) -> Option<String> {
    let hidden = pairs.len().saturating_sub(MOST_PAIRS);
    (hidden > 0).then(|| format!("and {hidden} more pairs"))
}

/// Shows progress. `title` names the trial: `[2/6] profile_…`.
trait View {
    fn phase(&mut self, text: &str);
    fn trial_began(&mut self, title: &str, number: usize, of: usize, trial: &Trial, pairs: &[WatchedPath]);
    fn reading(&mut self, title: &str, reading: &Reading);
    fn trial_ended(&mut self, title: &str, result: &TrialSummary);
    fn trial_failed(&mut self, title: &str, failure: &TrialFailure);
    fn search_advanced(&mut self, progress: &SearchProgress);
    fn streams_reading(&mut self, title: &str, reading: &StreamsReading);
    fn streams_ended(&mut self, title: &str, result: &StreamsTrialSummary);
    fn http_reading(&mut self, title: &str, reading: &HttpReading);
    fn http_ended(&mut self, title: &str, result: &HttpTrialSummary);
    fn end(&mut self) {}
}

/// The observer that fits standard output and standard error.
pub(super) fn observer(quiet: bool, as_json: bool) -> Box<dyn Observer> {
    if quiet {
        return Box::new(NoObserver);
    }
    let mut views: Vec<Box<dyn View>> = Vec::new();
    // Events and a live view would garble each other on one terminal.
    if stderr().is_terminal() && !(as_json && stdout().is_terminal()) {
        views.push(Box::new(Screen::new()));
    } else if !as_json {
        views.push(Box::new(Lines::default()));
    }
    if as_json {
        views.push(Box::new(JsonLines::default()));
    }
    Box::new(Progress(RefCell::new(State {
        views,
        title: String::new(),
        sending_since: Instant::now(),
        readings: Readings::default(),
    })))
}

/// Turns samples into readings and passes them to a view.
struct Progress(RefCell<State>);

struct State {
    views: Vec<Box<dyn View>>,
    title: String,
    sending_since: Instant,
    readings: Readings,
}

impl State {
    fn show(&mut self, mut show: impl FnMut(&mut dyn View, &str)) {
        for view in &mut self.views {
            show(view.as_mut(), &self.title);
        }
    }
}

impl Observer for Progress {
    fn phase(&self, text: &str) {
        self.0.borrow_mut().show(|view, _| view.phase(text));
    }

    fn trial_began(&self, number: usize, of: usize, trial: &Trial, pairs: &[WatchedPath]) {
        let mut state = self.0.borrow_mut();
        state.title = title(number, of, trial);
        state.sending_since = Instant::now();
        state.readings = Readings::new(number, of, trial, pairs);
        state.show(|view, title| view.trial_began(title, number, of, trial, pairs));
    }

    fn sending_began(&self) {
        self.0.borrow_mut().sending_since = Instant::now();
    }

    fn sample(&self, pair: &str, role: Role, sample: &Sample) {
        let mut state = self.0.borrow_mut();
        let at_s = state.sending_since.elapsed().as_secs_f64();
        if let Some(reading) = state.readings.sample(pair, role, sample, at_s) {
            state.show(|view, title| view.reading(title, &reading));
        }
    }

    fn sending_ended(&self, pair: &str) {
        self.0.borrow_mut().readings.sending_ended(pair);
    }

    fn trial_ended(&self, result: &TrialSummary) {
        self.0.borrow_mut().show(|view, title| view.trial_ended(title, result));
    }

    fn trial_failed(&self, failure: &TrialFailure) {
        self.0.borrow_mut().show(|view, title| view.trial_failed(title, failure));
    }

    fn streams_trial_began(&self, trial: &StreamsTrial, of: usize, connections: &[Connection]) {
        let mut state = self.0.borrow_mut();
        state.title = format!("[{}/{of}] {}", trial.number, trial.directory());
        let plural = if connections.len() == 1 { "" } else { "s" };
        let text = format!("{}: opening {} connection{plural}", state.title, connections.len());
        state.show(|view, _| view.phase(&text));
    }

    fn streams_reading(&self, reading: &StreamsReading) {
        self.0.borrow_mut().show(|view, title| view.streams_reading(title, reading));
    }

    fn streams_trial_ended(&self, result: &StreamsTrialSummary) {
        self.0.borrow_mut().show(|view, title| view.streams_ended(title, result));
    }

    fn http_trial_began(&self, trial: &HttpTrial, of: usize) {
        let mut state = self.0.borrow_mut();
        state.title = format!("[{}/{of}] {}", trial.number, trial.directory());
        let text = format!("{}: probing {}", state.title, trial.profile.target);
        state.show(|view, _| view.phase(&text));
    }

    fn http_reading(&self, reading: &HttpReading) {
        self.0.borrow_mut().show(|view, title| view.http_reading(title, reading));
    }

    fn http_trial_ended(&self, result: &HttpTrialSummary) {
        self.0.borrow_mut().show(|view, title| view.http_ended(title, result));
    }

    fn search_advanced(&self, state: &SearchState) {
        let progress = SearchProgress::of(state);
        self.0.borrow_mut().show(|view, _| view.search_advanced(&progress));
    }

    fn end(&self) {
        self.0.borrow_mut().show(|view, _| view.end());
    }
}

/// A reading as a phrase.
fn phrase(reading: &Reading) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<u64>| or_dash(value.map(|number| number.to_string()));
    let (name, mean) = match reading.round_trip {
        true => ("round trip", reading.round_trip_mean_ns),
        false => ("delay", reading.delay_mean_ns),
    };
    let delay = format!("{name} {}", or_dash(mean.map(microseconds)));
    // A single queue has all received frames.
    let queues = match &reading.rx_queue_pps[..] {
        [] | [_] => String::new(),
        queues => {
            let loads: Vec<String> = queues.iter().map(|pps| mpps(*pps)).collect();
            format!(", queues {} Mpps", loads.join(" "))
        }
    };
    format!(
        "intended {} offered {} received {} Mpps, {} {}, {delay} µs, queue full {}, missed {}, no buffer {}{queues}",
        reading.intended_pps.map_or("max".to_owned(), mpps),
        or_dash(reading.offered_pps.map(mpps)),
        or_dash(reading.received_pps.map(mpps)),
        if reading.sending { "in flight or lost" } else { "lost so far" },
        reading.lost_packets,
        reading.queue_full,
        number(reading.rx_missed),
        number(reading.rx_nombuf),
    )
}

/// A reading of streams as a phrase.
fn streams_phrase(reading: &StreamsReading) -> String {
    let rate = |bps: Option<f64>| bps.map_or("-".to_owned(), bit_rate);
    let StreamsReading { connections, connections_alive, .. } = reading;
    let retransmits = reading.retransmits.map(|count| format!(", retransmits {count}"));
    let missing = reading.missing_datagrams.map(|count| format!(", missing datagrams {count}"));
    format!(
        "{connections_alive} of {connections} connections alive, offered {} received {}{}{}",
        rate(reading.offered_bps),
        rate(reading.received_bps),
        retransmits.unwrap_or_default(),
        missing.unwrap_or_default(),
    )
}

fn streams_result_line(title: &str, result: &StreamsTrialSummary) -> String {
    let rate = |bps: Option<f64>| bps.map_or("-".to_owned(), bit_rate);
    let whole = if result.complete { "" } else { ", not complete" };
    let lost = result.lost_datagrams.map_or_else(String::new, |lost| format!(", lost {lost} datagrams"));
    format!(
        "{title}: {} of {} connections alive, offered {} received {}{lost}, {}{whole}",
        result.connections_alive,
        result.connections,
        rate(result.offered_bps),
        rate(result.received_bps),
        result.verdict.kind
    )
}

/// A reading of HTTP as a phrase.
fn http_phrase(reading: &HttpReading) -> String {
    format!(
        "{} requests/s; {} sent, {} answered, {} failed, {} skipped",
        reading.requests_per_s.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
        reading.sent_requests,
        reading.answered_requests,
        reading.failed_requests,
        reading.skipped_requests,
    )
}

fn http_result_line(title: &str, result: &HttpTrialSummary) -> String {
    let whole = if result.complete { "" } else { ", not complete" };
    let p99 = result.latency_ns().map_or("-".to_owned(), |latency| microseconds(latency.p99 as f64));
    format!(
        "{title}: {} requests/s, p99 {p99} µs, {} failed, {} skipped, {}{whole}",
        result.requests_per_s.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
        result.requests.failures(),
        result.requests.skipped,
        result.verdict.kind
    )
}

/// Title of a trial; how many trials a search will have is not known.
fn title(number: usize, of: usize, trial: &Trial) -> String {
    let place = trial.directory();
    if trial.search.is_some() { format!("[{number}] {place}") } else { format!("[{number}/{of}] {place}") }
}

/// A search's progress as a line.
fn search_line(progress: &SearchProgress) -> String {
    let SearchProgress { profile, number, trials, .. } = progress;
    let pair = progress.pair.as_ref().map_or_else(String::new, |pair| format!(" of {pair}"));
    let pps = |load: u64| mpps(load as f64);
    if let Some(BenchmarkProgress { name, trials, complete, reason }) = &progress.benchmark {
        let state = match (complete, reason) {
            (true, _) => ", complete".to_owned(),
            (false, Some(reason)) => format!(", not complete: {reason}"),
            (false, None) => String::new(),
        };
        return format!("{profile} search {number}{pair}, benchmark {name}, trial {trials}{state}");
    }
    let load = match (progress.load_pps, progress.loss_ratio) {
        (None, _) => "as fast as possible".to_owned(),
        (Some(load), _) if progress.repeated => {
            format!("{} Mpps does not count and is tried again: the tester was held up", pps(load))
        }
        (Some(load), None) => format!("warm-up at {} Mpps", pps(load)),
        (Some(load), Some(loss)) => {
            let unsent = progress.unsent_packets.filter(|unsent| *unsent > 0);
            let unsent = unsent.map_or_else(String::new, |unsent| format!(", {unsent} packets not sent"));
            format!("{} Mpps lost {:.4} %{unsent}", pps(load), 100.0 * loss)
        }
    };
    let goals = progress.goals.iter().map(|goal| {
        let class = match goal.class {
            Some(LoadClass::Lower) => " met",
            Some(LoadClass::Upper) => " missed",
            Some(LoadClass::Undecided) => " undecided",
            None => "",
        };
        let bounds = match (goal.lower_bound_pps, goal.upper_bound_pps) {
            (Some(lower), Some(upper)) => {
                let width = 100.0 * (upper - lower) as f64 / upper as f64;
                format!("{} to {} Mpps, {width:.2} % wide", pps(lower), pps(upper))
            }
            (Some(lower), None) => format!("at least {} Mpps", pps(lower)),
            (None, Some(upper)) => format!("below {} Mpps", pps(upper)),
            (None, None) => "no bound".to_owned(),
        };
        format!("; {}{class}: {bounds}", goal.name)
    });
    let left = match (progress.ended, progress.likely_left_s) {
        (true, _) => ", ended".to_owned(),
        (false, Some(left)) => format!(", about {left:.0} s left"),
        (false, None) => String::new(),
    };
    format!(
        "{profile} search {number}{pair}, trial {trials}: {load}{}; {:.0} s used{left}",
        goals.collect::<String>(),
        progress.elapsed_s
    )
}

fn result_line(title: &str, result: &TrialSummary) -> String {
    let TrialSummary { pair, sent_packets, received_packets, lost_packets, verdict, .. } = result;
    let line = format!(
        "{title} {pair}: sent {sent_packets} received {received_packets} lost {lost_packets}, {}",
        verdict.kind
    );
    missed_load(result).map_or(line.clone(), |missed| format!("{line}; {missed}"))
}

fn failure_line(title: &str, failure: &TrialFailure) -> String {
    format!("{title} {}: not finished: {}", failure.pair, failure.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::{rx, tx, with_clock};

    fn reading() -> Reading {
        Reading {
            number: 1,
            planned_trials: 2,
            profile: "p".into(),
            repeat: 1,
            pair: "tx0-rx0".into(),
            at_s: 1.0,
            sending: true,
            intended_pps: Some(5e4),
            offered_pps: Some(49_999.0),
            received_pps: Some(5e4),
            sent_packets: 50_000,
            received_packets: 49_990,
            lost_packets: 10,
            rx_queue_pps: vec![5e4],
            delay_mean_ns: Some(1234.5),
            round_trip: false,
            round_trip_mean_ns: None,
            queue_full: 3,
            tx_no_mbuf: 0,
            rx_missed: Some(4),
            rx_nombuf: Some(0),
        }
    }

    #[test]
    fn readings_have_their_words() {
        let unknown = Reading {
            sending: false,
            intended_pps: None,
            offered_pps: None,
            received_pps: None,
            delay_mean_ns: None,
            rx_missed: None,
            rx_nombuf: None,
            ..reading()
        };
        let round_trip = Reading {
            delay_mean_ns: None,
            round_trip: true,
            round_trip_mean_ns: Some(2345.6),
            rx_queue_pps: vec![2e4, 3e4],
            ..reading()
        };
        for (reading, expected) in [
            (
                round_trip,
                "intended 0.050000 offered 0.049999 received 0.050000 Mpps, in flight or lost 10, round trip 2.3 µs, \
                 queue full 3, missed 4, no buffer 0, queues 0.020000 0.030000 Mpps",
            ),
            (
                reading(),
                "intended 0.050000 offered 0.049999 received 0.050000 Mpps, in flight or lost 10, delay 1.2 µs, \
                 queue full 3, missed 4, no buffer 0",
            ),
            (
                unknown,
                "intended max offered - received - Mpps, lost so far 10, delay - µs, queue full 3, missed -, no buffer -",
            ),
        ] {
            assert_eq!(phrase(&reading), expected);
        }
    }

    #[test]
    fn a_result_line_shows_a_missed_load() {
        for (sent, line) in [
            (1000, "[1/2] p tx0-rx0: sent 1000 received 900 lost 100, path-limited"),
            (
                950,
                "[1/2] p tx0-rx0: sent 950 received 900 lost 50, path-limited; offered 0.000475 of 0.000500 Mpps intended (-5.000 %)",
            ),
        ] {
            let result = with_clock(true, &tx(sent), &rx(900)).unwrap();
            assert_eq!(result_line("[1/2] p", &result), line);
        }
    }
    #[test]
    fn a_line_on_a_search_says_what_its_latest_trial_was() {
        let search = SearchProgress {
            profile: "p".into(),
            number: 2,
            pair: None,
            trials: 3,
            purpose: None,
            repeated: false,
            benchmark: None,
            load_pps: Some(1_500_000),
            duration_s: Some(1.0),
            loss_ratio: Some(0.01),
            unsent_packets: Some(0),
            goals: Vec::new(),
            elapsed_s: 4.0,
            likely_left_s: None,
            ended: false,
        };
        let line = |change: fn(&mut SearchProgress)| {
            let mut changed = search.clone();
            change(&mut changed);
            search_line(&changed)
        };
        assert_eq!(line(|_| {}), "p search 2, trial 3: 1.500000 Mpps lost 1.0000 %; 4 s used");
        let warm_up = line(|search| search.loss_ratio = None);
        assert_eq!(warm_up, "p search 2, trial 3: warm-up at 1.500000 Mpps; 4 s used");
        let repeated = line(|search| (search.loss_ratio, search.repeated) = (None, true));
        assert!(repeated.contains("trial 3: 1.500000 Mpps does not count and is tried again"), "{repeated}");
        let benchmark = line(|search| {
            let (name, reason) = ("recovery".to_owned(), Some("a trial failed in every attempt".to_owned()));
            search.benchmark = Some(BenchmarkProgress { name, trials: 1, complete: false, reason });
        });
        assert_eq!(
            benchmark,
            "p search 2, benchmark recovery, trial 1, not complete: a trial failed in every attempt"
        );
    }
}
