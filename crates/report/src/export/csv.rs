//! Samples as CSV: the older kits' lines of `key=value`, and tables with a header.

use std::time::SystemTime;

use super::place::instant;
use super::series::{Column, PORT_KEYS, RATE_KEYS, TIME_KEY, values};

/// The transmitter's rates as `YYYY-MM-DDTHH:MM:SS,key=value,…`, one line per sample.
pub(super) fn rate_stats(columns: &[Column], start: SystemTime) -> String {
    lines(columns, start, &RATE_KEYS)
}

/// The port's counters in the same form, with their names without prefix.
pub(super) fn port_stats(columns: &[Column], start: SystemTime) -> String {
    lines(columns, start, &PORT_KEYS)
}

fn lines(columns: &[Column], start: SystemTime, keys: &[&str]) -> String {
    let mut text = String::new();
    for (sample, at_ns) in values(columns, TIME_KEY).iter().enumerate() {
        text.push_str(&instant(start, *at_ns));
        for key in keys {
            let value = values(columns, key).get(sample).copied().unwrap_or(0);
            text.push_str(&format!(",{}={value}", key.trim_start_matches("port_")));
        }
        text.push('\n');
    }
    text
}

/// A table with a header: every column, one row per sample.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(super) fn table(columns: &[Column]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|column| column.name.as_ref()))?;
    for sample in 0..columns.first().map_or(0, |column| column.values.len()) {
        writer.write_record(columns.iter().map(|column| column.values[sample].to_string()))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
