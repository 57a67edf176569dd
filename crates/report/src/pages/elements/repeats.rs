//! Repeats of the same profile on the same pair: mean, standard deviation, confidence interval.

use super::super::model::{Block, Cell, Column, Row, Section, Table};
use super::super::number::{heading, of_unit, things};
use super::super::source::Source;
use crate::compare::{Metric, group};
use crate::grouping::by_key;
use linerate_results::figures::table::{FrameFigure, FrameUnit};
use linerate_results::summary::TrialSummary;

const CONFIDENCE: f64 = 0.95;
const METRICS: [(Metric, &FrameFigure); 4] = [
    (Metric::named("offered_pps"), FrameFigure::named("offered_pps")),
    (Metric::named("received_pps"), FrameFigure::named("received_pps")),
    (Metric::named("lost_ratio"), FrameFigure::named("lost_ratio")),
    (Metric::named("latency_p99"), FrameFigure::named("latency_p99")),
];

pub(super) fn section(source: &Source) -> Option<Section> {
    let mut repeated = by_key(source.summary.matrix_trials(), |trial| (&trial.profile, &trial.pair));
    repeated.retain(|trials| trials.len() > 1);
    if repeated.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("profile", "profile"),
        Column::words("pair", "pair"),
        Column::words("metric", "metric"),
        Column::numbers("repeats", "repeats"),
        Column::numbers("mean", "mean"),
        Column::numbers("standard_deviation", "standard deviation"),
        Column::numbers("lower", "95 % from"),
        Column::numbers("upper", "to"),
    ];
    let metrics = METRICS.map(|(metric, figure)| {
        let title = heading(figure);
        let is_delay = figure.unit == FrameUnit::Nanoseconds;
        (metric, figure.unit, if is_delay { format!("{} {title}", source.delay_name()) } else { title })
    });
    let rows: Vec<Row> = repeated.iter().flat_map(|trials| rows(trials, &metrics)).collect();
    let text = "Mean, standard deviation (n − 1) and Student's 95 % confidence interval of the mean. The interval allows for what rounding \
                hides; to judge one experiment by another, see linerate results compare."
        .to_owned();
    let table = Table { caption: things(repeated.len(), "repeated profile"), columns, rows };
    Some(Section { id: "repeats", title: "Repeats", blocks: vec![Block::Table(table), Block::Text(text)] })
}

fn rows(trials: &[&TrialSummary], metrics: &[(Metric, FrameUnit, String)]) -> Vec<Row> {
    let TrialSummary { profile, pair, .. } = trials[0];
    let row = |(metric, unit, title): &(Metric, FrameUnit, String)| {
        let group = group(trials, metric)?;
        let interval = group.interval(CONFIDENCE);
        let show = |value: Option<f64>| -> Cell {
            value.map_or("-".to_owned(), |value| of_unit(*unit, value)).into()
        };
        // The interval is cut at 0, and for shares at 1.
        let most = if *unit == FrameUnit::Share { 1.0 } else { f64::INFINITY };
        let lower = interval.map(|interval| interval.lower.max(0.0));
        let upper = interval.map(|interval| interval.upper.min(most));
        Some(Row {
            key: format!("{pair}/{profile}/{metric}"),
            cells: vec![
                profile.clone().into(),
                pair.clone().into(),
                title.clone().into(),
                group.repeats.to_string().into(),
                show(Some(group.mean)),
                show(group.standard_deviation),
                show(lower),
                show(upper),
            ],
        })
    };
    metrics.iter().filter_map(row).collect()
}
