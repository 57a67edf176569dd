//! Softirqs of every CPU in trials under settings of hosts, as a table.

use super::cells::Table;
use linerate_results::host_setting::points;
use linerate_results::summary::Summary;

/// The table, in the experiment's directory.
pub(super) const FILE: &str = "host_settings.csv";

const COLUMNS: [&str; 11] = [
    "exp_id",
    "host_setting",
    "profile",
    "repeat",
    "rate",
    "unit",
    "cpu",
    "softirq_percent",
    "net_rx_per_s",
    "net_tx_per_s",
    "busiest_cpu_share",
];

/// A row for each CPU of each trial; `None` where the document has no settings of hosts. What is not known is empty.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(super) fn table(summary: &Summary) -> Result<Option<Vec<u8>>, csv::Error> {
    let points = points(summary);
    if points.is_empty() {
        return Ok(None);
    }
    let mut writer = Table::new();
    writer.row(COLUMNS)?;
    let float = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for point in &points {
        let setting = point.setting;
        for cpu in &setting.cpus {
            writer.row([
                summary.experiment.id.clone(),
                setting.name.clone(),
                point.profile.to_owned(),
                point.repeat.to_string(),
                float(point.rate),
                point.unit.to_owned(),
                cpu.cpu.to_string(),
                float(cpu.share.map(|share| 100.0 * share)),
                float(setting.per_second(cpu.net_rx)),
                float(setting.per_second(cpu.net_tx)),
                float(setting.busiest_share()),
            ])?;
        }
    }
    writer.finish().map(Some)
}
