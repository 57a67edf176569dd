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

/// Ids of experiments without rows, with the reasons.
type LeftOut = Vec<(String, StoreError)>;

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

/// The table, one row per trial and pair; and the ids of the experiments without rows, because a trial of theirs cannot be
/// read, with the reasons.
///
/// # Errors
/// When the table cannot be written, or a trial of the experiments `ids` cannot be read.
pub(super) fn summary_csv(
    experiments: &[Recorded],
    ids: &[String],
) -> Result<(Vec<u8>, LeftOut), SummaryCsvError> {
    let (mut whole, mut left_out) = (Vec::new(), LeftOut::new());
    for recorded in experiments {
        let id = &recorded.summary.experiment.id;
        match rows(recorded) {
            Ok(rows) => whole.push((recorded, rows)),
            Err(error) if ids.contains(id) => return Err(error.into()),
            Err(error) => left_out.push((id.clone(), error)),
        }
    }
    let mut writer = Table::new();
    let has_searches = whole.iter().any(|(recorded, _)| search::has_searches(&recorded.summary));
    let more = if has_searches { &search::COLUMNS[..] } else { &[] };
    writer.row(COLUMNS.iter().chain(more))?;
    for (recorded, rows) in whole {
        for (trial, row) in recorded.summary.trials.iter().zip(rows) {
            let place = search::Place::of(trial).map(|place| place.texts()).unwrap_or_default();
            writer.row(row.into_iter().chain(place.into_iter().take(more.len())))?;
        }
    }
    Ok((writer.finish()?, left_out))
}

/// The table without the rows of the experiments `ids`; `None` when it has no such rows, or is no table of
/// experiments.
///
/// # Errors
/// When it cannot be read or written, which does not happen in memory.
pub(super) fn without_rows(table: &[u8], ids: &[String]) -> Result<Option<Vec<u8>>, csv::Error> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(table);
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let mut is_changed = false;
    for (index, row) in reader.byte_records().enumerate() {
        let row = row?;
        let first = row.get(0).unwrap_or_default();
        match index {
            0 if first != COLUMNS[0].as_bytes() => return Ok(None),
            1.. if ids.iter().any(|id| id.as_bytes() == first) => is_changed = true,
            _ => writer.write_byte_record(&row)?,
        }
    }
    let rest = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(is_changed.then_some(rest))
}

/// The rows of an experiment's trials.
fn rows(recorded: &Recorded) -> Result<Vec<[String; 13]>, StoreError> {
    let Recorded { summary, .. } = recorded;
    let trials = summary.trials.iter().zip(recorded.trials());
    trials.map(|(trial, record)| Ok(row(summary, trial, &record?))).collect()
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
