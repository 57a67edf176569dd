//! Samples as CSV: the older kits' lines of `key=value`, and tables with a header.

use super::cells::Table;
use std::time::SystemTime;

use linerate_wire::loss::LossTimeline;

use super::place::instant;
use super::series::{PORT_KEYS, RATE_KEYS, SeriesColumn, TIME_KEY, values};

/// The transmitter's rates as `YYYY-MM-DDTHH:MM:SS,key=value,…`, one line per sample.
pub(super) fn rate_stats(columns: &[SeriesColumn], start: SystemTime) -> String {
    lines(columns, start, &RATE_KEYS)
}

/// The port's counters in the same form, with their names without prefix.
pub(super) fn port_stats(columns: &[SeriesColumn], start: SystemTime) -> String {
    lines(columns, start, &PORT_KEYS)
}

fn lines(columns: &[SeriesColumn], start: SystemTime, keys: &[&str]) -> String {
    let mut text = String::new();
    for (sample, at_ns) in values(columns, TIME_KEY).iter().enumerate() {
        text.push_str(&instant(start, *at_ns));
        for key in keys {
            // What is not known is left out.
            if let Some(value) = values(columns, key).get(sample) {
                text.push_str(&format!(",{}={value}", key.trim_start_matches("port_")));
            }
        }
        text.push('\n');
    }
    text
}

/// Name of the table of lost packets.
pub(super) const LOSSES_FILE: &str = "losses.csv";

/// When packets were lost, one row per interval with losses. Packets without a known time have a last row
/// without times.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(super) fn losses(timeline: &LossTimeline) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Table::new();
    writer.row(["from_ns", "to_ns", "lost_packets"])?;
    for (interval, packets) in &timeline.intervals {
        let edge = |interval: u64| interval.saturating_mul(timeline.interval_ns).to_string();
        writer.row([edge(*interval), edge(interval.saturating_add(1)), packets.to_string()])?;
    }
    if timeline.unplaced_packets > 0 {
        writer.row(["", "", &timeline.unplaced_packets.to_string()])?;
    }
    writer.finish()
}

/// A table with a header: every column, one row per sample.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(super) fn table(columns: &[SeriesColumn]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Table::new();
    writer.row(columns.iter().map(|column| column.name.as_ref()))?;
    for sample in 0..columns.first().map_or(0, |column| column.values.len()) {
        writer.row(columns.iter().map(|column| column.values[sample].to_string()))?;
    }
    writer.finish()
}
