//! Rates of a trial over time.

use linerate_results::streams::StreamsTrialSummary;
use linerate_wire::streams::Protocol;

use super::super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::super::model::Block;
use crate::streams::StreamsDetail;

/// Bytes per second of a megabit per second.
const MEGABIT: f64 = 1e6 / 8.0;

pub(super) fn blocks(trial: &StreamsTrialSummary, detail: &StreamsDetail) -> Vec<Block> {
    let Some(timeline) = &detail.timeline else { return Vec::new() };
    let mut rates = vec![
        Series::new("sent", Mark::Line, timeline.sent.per_second(MEGABIT)),
        Series::new("received", Mark::Line, timeline.received.per_second(MEGABIT)),
    ];
    if let Some(intended) = trial.intended_bps {
        let level = intended / 1e6;
        rates.push(Series::new("intended", Mark::Theory, vec![(0.0, level), (timeline.duration_s, level)]));
    }
    let end_s = timeline.duration_s;
    let mut charts = vec![chart("Rate of all connections over time", "payload, Mbit/s", end_s, rates)];
    if !timeline.connections.is_empty() {
        let each = timeline.connections.iter();
        let each = each.map(|(name, received)| Series::new(name, Mark::Line, received.per_second(MEGABIT)));
        charts.push(chart(
            "Received rate of each connection over time",
            "payload, Mbit/s",
            end_s,
            each.collect(),
        ));
    }
    if timeline.harmed.total() > 0.0 {
        let (title, unit) = match trial.transport {
            Protocol::Tcp => ("Segments sent again over time", "segments per second"),
            Protocol::Udp => ("Datagrams missing over time", "datagrams per second"),
        };
        let series = Series::new(unit, Mark::Line, timeline.harmed.per_second(1.0));
        charts.push(chart(title, unit, end_s, vec![series]));
    }
    vec![Block::Charts(charts)]
}

fn chart(title: &str, unit: &str, end_s: f64, series: Vec<Series>) -> Chart {
    let points = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let highest = range(points).map_or(1.0, |(_, highest)| highest);
    Chart {
        title: title.to_owned(),
        x: Axis::from_zero("time since the start of sending, s", end_s),
        y: Axis::from_zero(unit, highest * 1.02),
        series,
        note: None,
    }
}
