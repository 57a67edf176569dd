//! Trials of HTTP as tables: trials, backends and samples; and requests per second by number of backends.

use super::cells::Table;
use std::collections::BTreeMap;

use linerate_results::http::{HTTP_FIGURES, HttpSampleLine, HttpTrialSummary};
use linerate_results::store::{Recorded, StoreError};
use linerate_results::summary::Summary;

/// Table of all trials, in the experiment's directory.
pub(super) const TRIALS_FILE: &str = "http_trials.csv";
/// Table of the backends of all trials, in the experiment's directory.
pub(super) const BACKENDS_FILE: &str = "http_backends.csv";
/// Table of a trial's samples, beside its record.
pub(super) const SAMPLES_FILE: &str = "samples.csv";

/// The trials of an experiment: what in words, then every figure.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(super) fn trials(summary: &Summary) -> Result<Vec<u8>, csv::Error> {
    let words = [
        "exp_id",
        "profile",
        "target",
        "rate",
        "complete",
        "latency_basis",
        "verdict",
        "evidence",
        "protocol",
    ];
    let mut writer = Table::new();
    writer.row(words.into_iter().chain(HTTP_FIGURES.iter().map(|figure| figure.name)))?;
    for trial in &summary.http {
        let words = [
            summary.experiment.id.clone(),
            trial.profile.clone(),
            trial.target.clone(),
            trial.rate.clone(),
            trial.complete.to_string(),
            match trial.intended_per_s {
                Some(_) => "corrected".to_owned(),
                None => "service".to_owned(),
            },
            trial.verdict.kind.to_string(),
            trial.verdict.evidence.clone(),
            trial.protocol.to_string(),
        ];
        let figures = HTTP_FIGURES.iter().map(|figure| known((figure.of)(trial)));
        writer.row(words.into_iter().chain(figures))?;
    }
    writer.finish()
}

/// The backends of all trials.
///
/// # Errors
/// As of [`trials`].
pub(super) fn backends(summary: &Summary) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Table::new();
    let columns =
        ["exp_id", "profile", "repeat", "backend", "answers", "requests", "answered", "connections"];
    writer.row(columns)?;
    for trial in &summary.http {
        for (name, share) in &trial.by_backend {
            writer.row([
                summary.experiment.id.clone(),
                trial.profile.clone(),
                trial.repeat.to_string(),
                name.clone(),
                share.answers.to_string(),
                known(share.requests),
                known(share.answered),
                known(share.connections),
            ])?;
        }
    }
    writer.finish()
}

/// The samples of a trial: counts are cumulative since the start.
///
/// # Errors
/// When they cannot be read.
pub(super) fn samples(
    recorded: &Recorded,
    trial: &HttpTrialSummary,
) -> Result<Result<Vec<u8>, csv::Error>, StoreError> {
    let mut rows: Vec<HttpSampleLine> = Vec::new();
    recorded.samples(&trial.samples_file, |line| rows.push(line))?;
    Ok(sample_table(&rows))
}

fn sample_table(rows: &[HttpSampleLine]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Table::new();
    let columns = ["at_ns", "agent", "intended", "sent", "skipped", "answered", "failed", "served"];
    writer.row(columns)?;
    for row in rows {
        let load = row.load;
        writer.row([
            row.at_ns.to_string(),
            row.agent.clone(),
            known(load.map(|load| load.intended)),
            known(load.map(|load| load.sent)),
            known(load.map(|load| load.skipped)),
            known(load.map(|load| load.answered)),
            known(load.map(|load| load.failed)),
            known(row.served),
        ])?;
    }
    writer.finish()
}

/// Requests per second by number of backends: a file for each target, number of connections, rate and repeat, with the
/// columns `# of pods` and `Req/sec`. What is not known is left out.
///
/// # Errors
/// As of [`trials`].
pub(super) fn by_backends(summary: &Summary) -> Result<Vec<(String, Vec<u8>)>, csv::Error> {
    let mut curves: BTreeMap<String, Vec<(u32, f64)>> = BTreeMap::new();
    for trial in summary.http.iter().filter(|trial| trial.backends > 0 && trial.search.is_none()) {
        let Some(rate) = trial.requests_per_s else { continue };
        let of_backends = format!("_{}_backends", trial.backends);
        let curve = format!("{}_try_{}.csv", trial.profile.replace(&of_backends, ""), trial.repeat);
        curves.entry(curve).or_default().push((trial.backends, rate));
    }
    let table = |(name, points): (String, Vec<(u32, f64)>)| {
        // The heading is in quotes, the numbers are not.
        let mut text = String::from("\"# of pods\",\"Req/sec\"\n");
        for (backends, rate) in points {
            text.push_str(&format!("{backends},{rate:.2}\n"));
        }
        Ok((format!("http/{name}"), text.into_bytes()))
    };
    curves.into_iter().map(table).collect()
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}
