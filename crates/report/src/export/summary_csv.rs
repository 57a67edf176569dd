//! Table of all experiments' trials, in the form of the older kits.

use super::cells::Table;
use super::search;
use super::series::{SeriesColumn, counting, transmitter, values};
use linerate_results::store::record::TrialRecord;
use linerate_results::store::{Recorded, StoreError};
use linerate_results::summary::{Summary, TrialSummary};

/// File name, beside the experiments' directories.
pub(super) const FILE: &str = "summary_all_experiments.csv";

const COLUMNS: [&str; 13] = [
    "exp_id",
    "pod_pair",
    "pkt_size",
    "percent_rate",
    "num_flows",
    "tx_mpps",
    "rx_mpps",
    "max_tx_mpps",
    "max_rx_mpps",
    "tx_packets",
    "rx_packets",
    "tx_bytes",
    "rx_bytes",
];

/// Why the table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SummaryCsvError {
    /// A trial cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table cannot be written.
    #[error("cannot write the table of experiments: {0}")]
    Csv(#[from] csv::Error),
}

/// The table, one row per trial and pair.
///
/// # Errors
/// When a trial cannot be read.
pub(super) fn summary_csv(experiments: &[Recorded]) -> Result<Vec<u8>, SummaryCsvError> {
    let mut writer = Table::new();
    let has_searches = experiments.iter().any(|recorded| search::has_searches(&recorded.summary));
    let more = if has_searches { &search::COLUMNS[..] } else { &[] };
    writer.row(COLUMNS.iter().chain(more))?;
    for recorded in experiments {
        for (trial, record) in recorded.summary.trials.iter().zip(recorded.trials()) {
            let place = search::Place::of(trial).map(|place| place.texts()).unwrap_or_default();
            let place = place.into_iter().take(more.len());
            writer.row(row(&recorded.summary, trial, &record?).into_iter().chain(place))?;
        }
    }
    Ok(writer.finish()?)
}

fn row(summary: &Summary, trial: &TrialSummary, record: &TrialRecord) -> [String; 13] {
    let (tx, rx) = (transmitter(record), counting(record));
    let most = |columns: &[SeriesColumn], key: &str| values(columns, key).iter().copied().max().unwrap_or(0);
    let mpps = |pps: f64| format!("{:.6}", pps / 1e6);
    [
        summary.experiment.id.clone(),
        trial.pair.clone(),
        trial.frame_size.label(),
        summary.percent_of_line_rate(trial).map_or_else(String::new, |percent| percent.to_string()),
        trial.flows.to_string(),
        mpps(trial.offered_pps),
        mpps(trial.received_pps),
        mpps(most(&tx, "pkts_tx") as f64),
        mpps(most(&rx, "rx_pps") as f64),
        trial.sent_packets.to_string(),
        trial.received_packets.to_string(),
        most(&tx, "port_obytes").to_string(),
        most(&rx, "rx_bytes").to_string(),
    ]
}
