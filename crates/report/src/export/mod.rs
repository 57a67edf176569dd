//! Exports of recorded trials: the older kits' files under their names, and tables in newer formats.
//!
//! Exports read only the store's types. Files are written atomically to the places that the older kits gave
//! them, beside the trial's own file or below another directory.

mod cells;
mod csv;
mod engines;
mod host_settings;
mod http;
mod logs;
mod metadata;
mod monitor;
mod npz;
mod parquet;
mod place;
pub(crate) mod search;
pub mod series;
mod streams;
mod summary_csv;
#[cfg(test)]
pub(crate) mod tests;
mod window;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::place::{ends, npz_name, started_at};
use self::series::{receiver, transmitter};
use self::streams::tables;
use crate::pages::source::Source;
use crate::pages::{report, workbook};
use linerate_results::store::atomic::replace_file;
use linerate_results::store::enclosed::Enclosed;
use linerate_results::store::error::at;
use linerate_results::store::inner_path::InnerPath;
use linerate_results::store::lock::alone;
use linerate_results::store::manifest::Manifest;
use linerate_results::store::record::TrialRecord;
use linerate_results::store::{self, MOST_JSON_BYTES, Recorded, StoreError};
use linerate_results::streams::SampleLine;
use linerate_results::summary::Summary;

/// A format of exported trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// Samples for numpy, one file per end
    Npz,
    /// Samples as CSV: lines of key=value, and tables with a header
    Csv,
    /// `metadata.txt`: the settings of a trial
    Metadata,
    /// Logs of the receiver's statistics and of the warm-up
    Logs,
    /// `summary_all_experiments.csv`: one row per trial of all experiments
    Summary,
    /// A workbook with the trials
    Xlsx,
    /// All samples of an experiment as one table
    Parquet,
    /// Trials of streams as `iperf3 --json` shows them, one line per connection
    Iperf3Json,
    /// Trials of streams as the documents and the table of k8s-netperf
    #[value(name = "k8s-netperf")]
    K8sNetperf,
    /// Trials of streams as data of perfdash
    Perfdash,
    /// The 14 columns of an older kit's monitor, a file for each end in `PAIR/metrics`
    Monitor,
    /// Trials of HTTP as `"# of pods","Req/sec"`, a file for each target, load and repeat
    PodsCsv,
    /// All formats
    All,
}

impl ExportFormat {
    const EVERY: [ExportFormat; 12] = [
        ExportFormat::Npz,
        ExportFormat::Csv,
        ExportFormat::Metadata,
        ExportFormat::Logs,
        ExportFormat::Summary,
        ExportFormat::Xlsx,
        ExportFormat::Parquet,
        ExportFormat::Iperf3Json,
        ExportFormat::K8sNetperf,
        ExportFormat::Perfdash,
        ExportFormat::Monitor,
        ExportFormat::PodsCsv,
    ];
}

/// Why an experiment cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The samples cannot be written as a Parquet table.
    #[error(transparent)]
    Table(#[from] parquet::TableError),
    /// The trials cannot be written as a summary table.
    #[error(transparent)]
    Summary(#[from] summary_csv::SummaryCsvError),
    /// A path would lie outside of the experiment's directory.
    #[error("cannot export to {0}; the results name a file that no run of linerate makes")]
    Place(String),
    /// A file cannot be converted to a format.
    #[error("cannot export {what} of {id}: {reason}")]
    Form {
        /// The format.
        what: &'static str,
        /// The experiment's id.
        id: String,
        /// The reason.
        reason: String,
    },
}

/// What an export wrote, and what it left out.
#[derive(Debug, Default)]
pub struct Exported {
    /// The written paths.
    pub written: Vec<PathBuf>,
    /// Experiments without rows in the table of all experiments: their ids, and why their summaries or trials
    /// cannot be read.
    pub left_out: Vec<(String, StoreError)>,
}

/// A file to be written: its path relative to the experiment's directory, and its content.
type File = (String, Vec<u8>);

/// Exports the experiments `ids` of `results` in `formats`, each to a directory of its id below `to`, or
/// beside its trials without `to`.
///
/// # Errors
/// When an experiment cannot be read, or a file cannot be written; files written before remain.
pub fn export(
    results: &Path,
    ids: &[String],
    formats: &[ExportFormat],
    to: Option<&Path>,
) -> Result<Exported, ExportError> {
    // What is beside the trials may be written elsewhere, too; `run` has no option for it.
    let choice = if to.is_some() { "--to" } else { "`linerate results export --to`" };
    let elsewhere = |error: StoreError| error.chosen_by(choice);
    let wanted = |format| formats.contains(&format) || formats.contains(&ExportFormat::All);
    let Exported { mut written, mut left_out } = Exported::default();
    let mut exported = Vec::new();
    for id in ids {
        let recorded = Recorded::open(results, id)?;
        let base = match to {
            None => Enclosed::experiment(results, id)?,
            Some(to) => {
                let base = to.join(id);
                fs::create_dir_all(&base).map_err(at("create", &base)).map_err(elsewhere)?;
                Enclosed::open(&base).map_err(elsewhere)?
            }
        };
        let before = written.len();
        for format in ExportFormat::EVERY.into_iter().filter(|format| wanted(*format)) {
            each_file(&recorded, format, &mut |path, bytes| {
                let path = InnerPath::parse(path).map_err(|error| ExportError::Place(error.to_string()))?;
                base.replace(&path, bytes).map_err(elsewhere)?;
                written.push(base.place(&path));
                Ok(())
            })?;
        }
        if to.is_none() {
            let _alone = alone(results)?;
            Manifest::note(&recorded.directory, &written[before..]).map_err(elsewhere)?;
        }
        exported.push(recorded);
    }
    if wanted(ExportFormat::Summary) {
        // The table of all experiments is shared; under the lock, the last writer has read the records of all
        // others.
        let _alone = to.is_none().then(|| alone(results)).transpose()?;
        if to.is_none() {
            exported.clear();
            for (id, loaded) in store::list(results)? {
                match loaded {
                    Ok(summary) => exported.push(Recorded { directory: results.join(id), summary }),
                    Err(error) => left_out.push((id, error)),
                }
            }
        }
        let (table, without_rows) = summary_csv::summary_csv(&exported, ids)?;
        left_out.extend(without_rows);
        let directory = to.unwrap_or(results);
        fs::create_dir_all(directory).map_err(at("create", directory)).map_err(elsewhere)?;
        replace_file(directory, summary_csv::FILE, &table).map_err(elsewhere)?;
        written.push(directory.join(summary_csv::FILE));
    }
    Ok(Exported { written, left_out })
}

/// Takes the rows of the removed experiments `ids` from the table of all experiments in `results`, which is replaced
/// atomically. Without a table nothing is done.
///
/// # Errors
/// When the table cannot be read or written; then it remains.
pub fn forget_removed(results: &Path, ids: &[String]) -> Result<(), ExportError> {
    let _alone = alone(results)?;
    let name = InnerPath::parse(summary_csv::FILE).map_err(|error| ExportError::Place(error.to_string()))?;
    let directory = Enclosed::open(results)?;
    let Some(table) = directory.read(&name, MOST_JSON_BYTES)? else { return Ok(()) };
    let rest = summary_csv::without_rows(&table, ids).map_err(summary_csv::SummaryCsvError::from)?;
    if let Some(rest) = rest {
        directory.replace(&name, &rest).map_err(StoreError::in_place)?;
    }
    Ok(())
}

/// Passes every file of a format to `write`, by its path relative to the experiment's directory. Memory holds
/// one trial's files at a time.
fn each_file(
    recorded: &Recorded,
    format: ExportFormat,
    write: &mut impl FnMut(&str, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let id = &recorded.summary.experiment.id;
    let form = |what: &'static str, reason: &dyn std::fmt::Display| ExportError::Form {
        what,
        id: id.clone(),
        reason: reason.to_string(),
    };
    match format {
        ExportFormat::Xlsx => {
            let report = report(&Source::without_records(recorded)?);
            let bytes = workbook(&recorded.summary, &report).map_err(|error| form("the workbook", &error))?;
            write(&format!("{id}.xlsx"), &bytes)
        }
        ExportFormat::Parquet => {
            let Summary { trials, streams: of_streams, .. } = &recorded.summary;
            if of_streams.is_empty() || !trials.is_empty() {
                write(parquet::FILE, &parquet::parquet(recorded)?)?;
            }
            if of_streams.is_empty() {
                return Ok(());
            }
            let file = if trials.is_empty() { parquet::FILE } else { streams::parquet::FILE_BESIDE_FRAMES };
            write(file, &streams::parquet::parquet(recorded)?)
        }
        ExportFormat::Iperf3Json | ExportFormat::K8sNetperf | ExportFormat::Perfdash => {
            streams_files(recorded, format, write)
        }
        ExportFormat::Npz | ExportFormat::Csv | ExportFormat::Metadata | ExportFormat::Logs => {
            for (trial, record) in recorded.summary.trials.iter().zip(recorded.trials()) {
                let directory = trial.trial.rsplit_once('/').map_or("", |(directory, _)| directory);
                let record = record?;
                let of_trial = match format {
                    ExportFormat::Npz => {
                        npz_files(recorded, &record).map_err(|error| form("npz files", &error))?
                    }
                    ExportFormat::Csv => {
                        csv_files(recorded, &record).map_err(|error| form("CSV files", &error))?
                    }
                    ExportFormat::Logs => log_files(recorded, &record),
                    _ => {
                        vec![("metadata.txt".to_owned(), metadata::metadata(recorded, &record)?.into_bytes())]
                    }
                };
                for (name, bytes) in of_trial {
                    write(&format!("{directory}/{name}"), &bytes)?;
                }
            }
            if format == ExportFormat::Csv
                && let Some(table) =
                    engines::table(&recorded.summary).map_err(|error| form("engines", &error))?
            {
                write(engines::FILE, &table)?;
            }
            if format == ExportFormat::Csv
                && let Some(table) = host_settings::table(&recorded.summary)
                    .map_err(|error| form("settings of hosts", &error))?
            {
                write(host_settings::FILE, &table)?;
            }
            streams_tables(recorded, format, write)?;
            http_tables(recorded, format, write)
        }
        ExportFormat::Monitor => {
            let mut taken = HashSet::new();
            for record in recorded.trials() {
                let record = record?;
                let start = started_at(&recorded.summary, &record);
                for (name, text) in monitor::files(&record, start, &mut taken) {
                    write(&format!("{}/metrics/{name}", record.pair), text.as_bytes())?;
                }
            }
            Ok(())
        }
        ExportFormat::PodsCsv => {
            for (path, table) in
                http::by_backends(&recorded.summary).map_err(|error| form("requests by backends", &error))?
            {
                write(&path, &table)?;
            }
            Ok(())
        }
        ExportFormat::Summary | ExportFormat::All => Ok(()),
    }
}

/// Tables of trials of HTTP; none of other experiments.
fn http_tables(
    recorded: &Recorded,
    format: ExportFormat,
    write: &mut impl FnMut(&str, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let summary = &recorded.summary;
    if summary.http.is_empty() || format != ExportFormat::Csv {
        return Ok(());
    }
    let form = |error: ::csv::Error| ExportError::Form {
        what: "tables of HTTP",
        id: summary.experiment.id.clone(),
        reason: error.to_string(),
    };
    write(http::TRIALS_FILE, &http::trials(summary).map_err(form)?)?;
    write(http::BACKENDS_FILE, &http::backends(summary).map_err(form)?)?;
    for trial in &summary.http {
        let directory = trial.trial.rsplit_once('/').map_or("", |(directory, _)| directory);
        let samples = http::samples(recorded, trial)?.map_err(form)?;
        write(&format!("{directory}/{}", http::SAMPLES_FILE), &samples)?;
    }
    Ok(())
}

/// Tables of trials of streams; none of an experiment of frames.
fn streams_tables(
    recorded: &Recorded,
    format: ExportFormat,
    write: &mut impl FnMut(&str, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let summary = &recorded.summary;
    if summary.streams.is_empty() || !matches!(format, ExportFormat::Csv | ExportFormat::Npz) {
        return Ok(());
    }
    let form = |error: &dyn std::fmt::Display| ExportError::Form {
        what: "tables of streams",
        id: summary.experiment.id.clone(),
        reason: error.to_string(),
    };
    if format == ExportFormat::Csv {
        write(tables::TRIALS_FILE, &tables::trials(summary).map_err(|error| form(&error))?)?;
    }
    for trial in &summary.streams {
        let directory = trial.trial.rsplit_once('/').map_or("", |(directory, _)| directory);
        let rows = tables::sampled(recorded, trial)?;
        if format == ExportFormat::Npz {
            for (end, name) in [("tx", "samples_tx.npz"), ("rx", "samples_rx.npz")] {
                let bytes = npz::npz(&tables::columns(&rows, end)).map_err(|error| form(&error))?;
                write(&format!("{directory}/{name}"), &bytes)?;
            }
            continue;
        }
        let record = recorded.streams_trial(&trial.trial)?;
        let connections = tables::connections(&record).map_err(|error| form(&error))?;
        write(&format!("{directory}/{}", tables::CONNECTIONS_FILE), &connections)?;
        let samples = tables::samples(&record, &rows).map_err(|error| form(&error))?;
        write(&format!("{directory}/{}", tables::SAMPLES_FILE), &samples)?;
    }
    Ok(())
}

/// Files of trials of streams; none of an experiment of frames.
fn streams_files(
    recorded: &Recorded,
    format: ExportFormat,
    write: &mut impl FnMut(&str, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let summary = &recorded.summary;
    if summary.streams.is_empty() {
        return Ok(());
    }
    match format {
        ExportFormat::K8sNetperf => {
            let table = streams::k8s_netperf_table(summary);
            let table = table.map_err(|error| ExportError::Form {
                what: "k8s-netperf's table",
                id: summary.experiment.id.clone(),
                reason: error.to_string(),
            })?;
            write("k8s-netperf.csv", &table)?;
            write("k8s-netperf.json", streams::k8s_netperf_documents(summary).to_string().as_bytes())
        }
        ExportFormat::Perfdash => {
            write("perfdash.json", streams::perfdash_data(summary).to_string().as_bytes())
        }
        _ => {
            for trial in &summary.streams {
                let record = recorded.streams_trial(&trial.trial)?;
                let directory = trial.trial.rsplit_once('/').map_or("", |(directory, _)| directory);
                let mut sent = streams::Sent::default();
                // Results without them have no intervals.
                if recorded.directory.join(&trial.samples_file).is_file() {
                    recorded.samples(&trial.samples_file, |line: SampleLine| sent.add(&line))?;
                }
                write(&format!("{directory}/iperf3.jsonl"), &streams::iperf3_lines(summary, &record, &sent))?;
            }
            Ok(())
        }
    }
}

fn npz_files(recorded: &Recorded, record: &TrialRecord) -> std::io::Result<Vec<File>> {
    let (tx, rx) = ends(&record.pair);
    let name = |agent, role| npz_name(&recorded.summary, record, agent, role);
    Ok(vec![
        (name(tx, "tx"), npz::npz(&transmitter(record))?),
        (name(rx, "rx"), npz::npz(&receiver(record))?),
    ])
}

fn csv_files(recorded: &Recorded, record: &TrialRecord) -> Result<Vec<File>, ::csv::Error> {
    let (tx, rx) = ends(&record.pair);
    let start = started_at(&recorded.summary, record);
    let (tx_columns, rx_columns) = (transmitter(record), receiver(record));
    let losses = record.loss.as_ref().map(csv::losses).transpose()?;
    let losses = losses.map(|table| (csv::LOSSES_FILE.to_owned(), table));
    Ok([
        vec![
            (format!("{tx}_port_stats.csv"), csv::port_stats(&tx_columns, start).into_bytes()),
            (format!("{tx}_port_rate_stats.csv"), csv::rate_stats(&tx_columns, start).into_bytes()),
            (format!("{tx}_samples.csv"), csv::table(&tx_columns)?),
            (format!("{rx}_samples.csv"), csv::table(&rx_columns)?),
        ],
        losses.into_iter().collect(),
    ]
    .concat())
}

fn log_files(recorded: &Recorded, record: &TrialRecord) -> Vec<File> {
    let (tx, rx) = ends(&record.pair);
    let start = started_at(&recorded.summary, record);
    let warm_up = |agent| logs::warm_up(&recorded.summary, &record.pair, agent).into_bytes();
    vec![
        (format!("{rx}_stats.log"), logs::stats(&receiver(record), start).into_bytes()),
        (format!("{rx}_warmup.log"), warm_up(rx)),
        (format!("{tx}_warmup.log"), warm_up(tx)),
    ]
}
