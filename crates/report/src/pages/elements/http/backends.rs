//! Requests per second against the number of backends, and the spread over them.

use std::collections::BTreeMap;

use linerate_experiment::http::HttpProtocol;
use linerate_results::http::{BackendShare, HttpTrialSummary};

use super::super::super::chart::{Axis, Chart, Mark, Series};
use super::super::super::model::{Block, Column, Row, Table};
use super::super::super::number::{count, percent, things};
use super::Names;

/// Most rows of the table of backends; exports have all.
const MOST_ROWS: usize = 200;

pub(super) fn blocks(trials: &[HttpTrialSummary], names: &Names<'_>) -> Vec<Block> {
    let mut blocks: Vec<Block> =
        scaling(trials).into_iter().map(|chart| Block::Charts(vec![chart])).collect();
    blocks.extend(spread(trials, names));
    blocks
}

/// A curve for each target, number of connections, rate and setting of hosts, through the means of the repeats.
fn scaling(trials: &[HttpTrialSummary]) -> Option<Chart> {
    let mut curves: BTreeMap<String, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.backends > 0 && trial.search.is_none()) {
        let Some(rate) = trial.requests_per_s else { continue };
        let under = trial.host_setting.as_ref().map(|setting| format!(", {}", setting.name));
        let by = match (trial.protocol, trial.streams) {
            (HttpProtocol::Http, _) => String::new(),
            (protocol, None) => format!(" by {protocol}"),
            (protocol, Some(streams)) => format!(" by {protocol} with {streams} streams"),
        };
        let curve = format!(
            "{}{by}, {} connections, rate {}{}",
            trial.target,
            trial.connections,
            trial.rate,
            under.unwrap_or_default()
        );
        curves.entry(curve).or_default().entry(trial.backends).or_default().push(rate);
    }
    curves.retain(|_, points| points.len() > 1);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let series: Vec<Series> = curves
        .iter()
        .map(|(name, points)| {
            let points = points.iter().map(|(backends, rates)| (f64::from(*backends), mean(rates)));
            Series::new(name, Mark::Line, points.collect())
        })
        .collect();
    let all = || series.iter().flat_map(|one| one.points.iter().copied());
    let (most, highest) =
        (all().map(|(x, _)| x).fold(0.0, f64::max), all().map(|(_, y)| y).fold(0.0, f64::max));
    (!series.is_empty()).then(|| Chart {
        title: "Requests per second against the number of backends".to_owned(),
        x: Axis::from_zero("backends", most),
        y: Axis::from_zero("requests per second", highest * 1.02),
        series,
        note: None,
    })
}

/// Answers of every backend in every trial with several.
fn spread(trials: &[HttpTrialSummary], names: &Names<'_>) -> Option<Block> {
    let columns = vec![
        Column::words("trial", "trial"),
        Column::words("backend", "backend"),
        Column::numbers("answers", "answers received"),
        Column::numbers("answered", "answers written"),
        Column::numbers("connections", "connections"),
        Column::numbers("share", "share %"),
    ];
    let number = |value: Option<u64>| value.map_or("-".to_owned(), count);
    let row = |trial: &HttpTrialSummary, backend: &str, share: &BackendShare| Row {
        key: format!("{}/{backend}", trial.trial),
        cells: vec![
            names.name(trial).into(),
            backend.to_owned().into(),
            count(share.answers).into(),
            number(share.answered).into(),
            number(share.connections).into(),
            percent(share.answers as f64 / trial.requests.answered.max(1) as f64).into(),
        ],
    };
    let several = || trials.iter().filter(|trial| trial.by_backend.len() > 1);
    let all = several().map(|trial| trial.by_backend.len()).sum::<usize>();
    let rows =
        several().flat_map(|trial| trial.by_backend.iter().map(move |(name, share)| (trial, name, share)));
    let rows: Vec<Row> = rows.take(MOST_ROWS).map(|(trial, name, share)| row(trial, name, share)).collect();
    let caption = match all {
        few @ ..=MOST_ROWS => format!("Spread over {}", things(few, "backend")),
        many => format!("Spread over the first {MOST_ROWS} of {}", things(many, "backend")),
    };
    (!rows.is_empty()).then_some(Block::Table(Table { caption, columns, rows }))
}
