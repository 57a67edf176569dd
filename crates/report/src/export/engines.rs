//! Trials of all engines as one table.

use super::cells::Table;
use linerate_results::engines::rows;
use linerate_results::summary::Summary;

/// The table, in the experiment's directory.
pub(super) const FILE: &str = "engines.csv";

const COLUMNS: [&str; 21] = [
    "exp_id",
    "engine",
    "profile",
    "frame_size",
    "flows",
    "cores",
    "sending_cores",
    "repeat",
    "intended_pps",
    "offered_pps",
    "received_pps",
    "sent_packets",
    "received_packets",
    "lost_packets",
    "agents_cpu_s",
    "working_cpu_s",
    "softirq_cpu_s",
    "verdict",
    "lost_in",
    "evidence",
    "host_setting",
];

/// A row for each trial; `None` in experiments that do not compare engines. What is not known is empty, and so is the
/// intended load of trials as fast as possible.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(super) fn table(summary: &Summary) -> Result<Option<Vec<u8>>, csv::Error> {
    let rows = rows(summary);
    if rows.is_empty() {
        return Ok(None);
    }
    let mut writer = Table::new();
    writer.row(COLUMNS)?;
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let float = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for row in &rows {
        let figures = row.figures;
        let losses = figures.losses.iter();
        let places: Vec<String> =
            losses.clone().map(|part| format!("{} {}", part.packets, part.place.words())).collect();
        let evidence: Vec<&str> = losses.map(|part| part.evidence.as_str()).collect();
        writer.row([
            summary.experiment.id.clone(),
            figures.engine.to_string(),
            figures.profile.clone(),
            row.frame_size().label(),
            row.flows.to_string(),
            figures.cores.to_string(),
            row.senders.map(|senders| senders.to_string()).unwrap_or_default(),
            row.repeat.to_string(),
            float(row.intended_pps),
            float(row.offered_pps),
            float(row.received_pps),
            number(row.sent),
            number(row.received),
            number(row.lost),
            float(figures.agents_cpu_s),
            float(figures.working_cpu_s),
            float(figures.softirq_cpu_s),
            row.limit.to_string(),
            places.join("; "),
            evidence.join("; "),
            row.host_setting.unwrap_or_default().to_owned(),
        ])?;
    }
    writer.finish().map(Some)
}
