//! Requests of each trial over time, from the samples of its clients.

use std::collections::BTreeMap;

use super::super::super::chart::{Axis, Chart, Mark, Series};
use super::super::super::model::{Block, Group};
use super::super::super::source::Source;
use super::{Names, tone};
use crate::http::Timeline;

/// Trials whose details are shown open.
const OPEN: usize = 8;

pub(super) fn blocks(source: &Source, names: &Names<'_>) -> Vec<Block> {
    let trials = &source.summary.http;
    let shown: BTreeMap<usize, &Timeline> = source.http.iter().map(|(index, one)| (*index, one)).collect();
    let mut blocks: Vec<Block> = shown
        .into_iter()
        .map(|(index, timeline)| {
            let trial = &trials[index];
            Block::Group(Group {
                title: names.name(trial),
                badge: trial.verdict.kind.to_string(),
                tone: tone(trial.verdict.kind),
                open: trials.len() <= OPEN || !trial.complete,
                blocks: vec![Block::Charts(vec![chart(timeline)])],
            })
        })
        .collect();
    if !source.unread.is_empty() {
        blocks.push(Block::Text(format!("Files that could not be read: {}.", source.unread.join("; "))));
    }
    blocks
}

fn chart(timeline: &Timeline) -> Chart {
    let series: Vec<Series> = [
        ("answered", timeline.per_second(|one| one.answered)),
        ("failed", timeline.per_second(|one| one.failed)),
        ("skipped", timeline.per_second(|one| one.skipped)),
    ]
    .into_iter()
    .filter(|(name, points)| *name == "answered" || points.iter().any(|(_, rate)| *rate > 0.0))
    .map(|(name, points)| Series::new(name, Mark::Line, points))
    .collect();
    let points = || series.iter().flat_map(|one| one.points.iter());
    let highest = points().map(|(_, rate)| *rate).fold(1.0, f64::max);
    Chart {
        title: "Requests over time".to_owned(),
        x: Axis::from_zero("time since the start of sending, s", timeline.end_s()),
        y: Axis::from_zero("requests per second", highest * 1.02),
        series,
        note: None,
    }
}
