//! Loss of every trial.

use super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::model::{Block, Section};
use super::super::number::{count, things};
use super::super::source::Source;
use linerate_results::summary::TrialSummary;

/// Ratio of the largest to the smallest loss from which the axis is logarithmic.
const WIDE: f64 = 50.0;
/// Most trials that are named on the axis.
const MOST_NAMES: usize = 16;

pub(super) fn section(source: &Source) -> Option<Section> {
    let trials: Vec<&TrialSummary> = source.summary.matrix_trials().collect();
    if trials.is_empty() {
        return None;
    }
    let sent: u64 = trials.iter().map(|trial| trial.sent_packets).fold(0, u64::saturating_add);
    let lost: u64 = trials.iter().map(|trial| trial.lost_packets).fold(0, u64::saturating_add);
    let lossy = trials.iter().filter(|trial| trial.lost_packets > 0).count();
    let text = if lost == 0 {
        format!("None of {} packets sent was lost.", count(sent))
    } else {
        let (lost, sent) = (count(lost), count(sent));
        format!("{lost} of {sent} packets were lost, in {lossy} of {}.", things(trials.len(), "trial"))
    };
    let mut blocks = vec![Block::Text(text)];
    if lost > 0 {
        blocks.push(Block::Charts(vec![chart(source)?]));
    }
    Some(Section { id: "loss", title: "Loss", blocks })
}

fn chart(source: &Source) -> Option<Chart> {
    let points: Vec<(f64, f64)> = source
        .trials()
        .map(|trial| (trial.number, trial.figures.lost_packets, trial.figures.sent_packets))
        .filter(|(_, lost, _)| *lost > 0)
        .map(|(number, lost, sent)| (number as f64 - 1.0, 100.0 * lost as f64 / sent as f64))
        .collect();
    let (low, high) = range(points.iter().map(|point| point.1))?;
    let label = "lost, % of sent packets";
    let y = if high / low > WIDE { Axis::log(label, low / 2.0, high) } else { Axis::from_zero(label, high) };
    let numbers: Vec<String> = source.trials().map(|trial| trial.number.to_string()).collect();
    Some(Chart {
        title: "Loss by trial".to_owned(),
        x: Axis::of_things("trial", &numbers, MOST_NAMES),
        y,
        series: vec![Series::new("loss", Mark::Bars, points)],
        note: Some("Trials without a bar lost nothing.".to_owned()),
    })
}
