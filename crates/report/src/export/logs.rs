//! Human-readable logs of the receiver's statistics and the warm-up.

use std::time::SystemTime;

use super::place::instant;
use super::series::{RECEIVE_KEYS, SeriesColumn, TIME_KEY, values};
use linerate_results::summary::{Summary, WarmUp};

/// The receiver's samples, one line each.
pub(super) fn stats(columns: &[SeriesColumn], start: SystemTime) -> String {
    let mut text = String::new();
    for (sample, at_ns) in values(columns, TIME_KEY).iter().enumerate() {
        text.push_str(&instant(start, *at_ns));
        for key in RECEIVE_KEYS {
            // Counters of a port that was reset are not known.
            if let Some(value) = values(columns, key).get(sample) {
                text.push_str(&format!(" {key}: {value}"));
            }
        }
        text.push('\n');
    }
    text
}

/// Packets that `agent` sent and received before the first trial.
pub(super) fn warm_up(summary: &Summary, pair: &str, agent: &str) -> String {
    let mut text = String::new();
    let of_agent = |warm_up: &&WarmUp| warm_up.pair == pair && (warm_up.from == agent || warm_up.to == agent);
    for warm_up in summary.warm_up.iter().filter(of_agent) {
        let skipped = warm_up.skipped.as_ref().map_or_else(String::new, |why| format!(" skipped: {why}"));
        text.push_str(&format!(
            "{} -> {}: sent {} received {} attempts {} duration_s {:.6}{skipped}\n",
            warm_up.from,
            warm_up.to,
            warm_up.sent_packets,
            warm_up.received_packets,
            warm_up.attempts,
            warm_up.duration_s
        ));
    }
    text
}
