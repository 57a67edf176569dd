//! All experiments' trials in one table, as the older kits have it.

use super::place::ends;
use super::series::{Column, TIME_KEY, counting, transmitter, values};
use crate::store::record::TrialRecord;
use crate::store::{Recorded, StoreError};
use crate::summary::{Summary, TrialSummary};

/// The file, beside the experiments' directories.
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

/// The table has no row of an experiment, or cannot be written.
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
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for recorded in experiments {
        for (trial, record) in recorded.summary.trials.iter().zip(recorded.trials()) {
            writer.write_record(row(&recorded.summary, trial, &record?))?;
        }
    }
    writer.into_inner().map_err(|error| SummaryCsvError::Csv(error.into_error().into()))
}

fn row(summary: &Summary, trial: &TrialSummary, record: &TrialRecord) -> [String; 13] {
    let (tx, rx) = (transmitter(record), counting(record));
    let most = |columns: &[Column], key: &str| values(columns, key).iter().copied().max().unwrap_or(0);
    let mpps = |pps: f64| format!("{:.6}", pps / 1e6);
    [
        summary.experiment.id.clone(),
        trial.pair.clone(),
        trial.frame_size.label(),
        percent_of_line_rate(summary, trial).map_or_else(String::new, |percent| percent.to_string()),
        trial.flows.to_string(),
        mpps(trial.offered_pps),
        mpps(trial.received_pps),
        mpps(busiest(&tx, "pkts_tx") as f64),
        mpps(busiest(&rx, "rx_pps") as f64),
        trial.sent_packets.to_string(),
        trial.received_packets.to_string(),
        most(&tx, "port_obytes").to_string(),
        most(&rx, "rx_bytes").to_string(),
    ]
}

/// The highest rate between two samples. The last interval is what is left of the trial; where it is less than half of the longest, it is
/// too short to tell a rate.
fn busiest(columns: &[Column], key: &str) -> i64 {
    let times = values(columns, TIME_KEY);
    let since = |index: usize| times[index] - if index == 0 { 0 } else { times[index - 1] };
    let longest = (0..times.len()).map(since).max().unwrap_or(0);
    let rates = values(columns, key).iter().enumerate();
    rates.filter(|(index, _)| 2 * since(*index) >= longest).map(|(_, rate)| *rate).max().unwrap_or(0)
}

/// Intended load in percent of the line rate of the transmitter's link, to six digits; `None` where the link's speed is not known.
/// As fast as possible is 100 %.
pub(super) fn percent_of_line_rate(summary: &Summary, trial: &TrialSummary) -> Option<f64> {
    let Some(intended) = trial.intended_pps else { return Some(100.0) };
    let percent = 100.0 * intended / line_rate_pps(summary, trial)?;
    Some((percent * 1e6).round() / 1e6)
}

/// The most frames of this size that the transmitter's link carries, per second; `None` where its speed is not known.
pub(super) fn line_rate_pps(summary: &Summary, trial: &TrialSummary) -> Option<f64> {
    let (tx, _) = ends(&trial.pair);
    let agent = summary.experiment.agents.iter().find(|agent| agent.name == tx)?;
    agent.link_bps.filter(|bps| *bps > 0).map(|bps| trial.frame_size.line_rate_pps(bps))
}
