//! Evenness of receive queues over time: totals do not show a queue that is slow for a while.

use super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::model::Block;
use super::super::source::{Source, Trial};
use super::rates::{counted, steps};

/// Most queues with a line of their own; of more, the least and the most loaded one of each interval are
/// drawn.
const MOST_QUEUES: usize = 6;

pub(super) fn blocks(_: &Source, trial: &Trial<'_>) -> Vec<Block> {
    chart(trial).map(|chart| Block::Charts(vec![chart])).into_iter().collect()
}

fn chart(trial: &Trial<'_>) -> Option<Chart> {
    let samples = &trial.record?.samples;
    let samples = if trial.figures.direction.is_round_trip() { &samples.tx } else { &samples.rx };
    let queues = samples.iter().map(|sample| sample.queue_frames.len()).max().filter(|queues| *queues > 1)?;
    let end_s = trial.figures.duration_s;
    let lines: Vec<Vec<(f64, f64)>> = (0..queues)
        .map(|queue| steps(&counted(samples, end_s, |sample| sample.queue_frames.get(queue).copied())))
        .collect();
    let series: Vec<Series> = if queues <= MOST_QUEUES {
        let named = |(queue, line)| Series::new(format!("RX queue {queue}"), Mark::Line, line);
        lines.into_iter().enumerate().map(named).collect()
    } else {
        let over = |name: &str, pick: fn(&mut dyn Iterator<Item = f64>) -> f64| {
            let points = (0..lines[0].len())
                .map(|at| (lines[0][at].0, pick(&mut lines.iter().filter_map(|line| Some(line.get(at)?.1)))))
                .collect();
            Series::new(name, Mark::Line, points)
        };
        vec![
            over("most loaded", |rates| rates.fold(0.0, f64::max)),
            over("least loaded", |rates| rates.fold(f64::INFINITY, f64::min)),
        ]
    };
    let series: Vec<Series> = series.into_iter().filter(|series| !series.points.is_empty()).collect();
    let (_, highest) = range(series.iter().flat_map(|series| series.points.iter().map(|point| point.1)))?;
    Some(Chart {
        title: "Frames by RX queue over time".to_owned(),
        x: Axis::from_zero("time since the start of sending, s", end_s),
        y: Axis::from_zero("Mpps", highest * 1.02),
        series,
        note: (queues > MOST_QUEUES)
            .then(|| format!("The most and the least loaded of {queues} queues, interval by interval.")),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use linerate_results::fixtures::summary;
    use linerate_results::fixtures::{rx, tx, with_clock};
    use linerate_results::store::record::{Samples, TimedSample, TrialRecord};
    use linerate_results::summary::{Status, Summary};

    /// Two seconds with a sample a second; each queue receives a million frames per second more than the
    /// previous one.
    fn drawn(queues: u64) -> Option<Chart> {
        let figures = with_clock(true, &tx(1000), &rx(1000)).unwrap();
        let sample = |second: i64| TimedSample {
            at_ns: second * 1_000_000_000,
            transmit: None,
            receive: None,
            queue_frames: (0..queues).map(|queue| 1_000_000 * (queue + 1) * second as u64).collect(),
            port: None,
            host: None,
        };
        let samples = Samples { tx: vec![], rx: vec![sample(1), sample(2)] };
        let record = TrialRecord { samples, ..TrialRecord::default() };
        let summary = Summary { trials: vec![figures], ..summary(Status::Complete) };
        let records = BTreeMap::from([(0, record)]);
        let source = Source {
            summary,
            records,
            environment: None,
            streams: Default::default(),
            http: Default::default(),
            unread: vec![],
        };
        let trial = source.trials().next().unwrap();
        chart(&trial)
    }

    #[test]
    fn few_queues_have_a_line_each_and_many_their_extremes() {
        assert!(drawn(0).is_none() && drawn(1).is_none(), "one queue has nothing to be compared with");
        let chart = drawn(2).unwrap();
        assert_eq!(chart.series.len(), 2);
        assert!(chart.series[1].points.iter().all(|point| (point.1 - 2.0).abs() < 1e-9), "{chart:?}");
        let chart = drawn(16).unwrap();
        let rates: Vec<f64> = chart.series.iter().map(|series| series.points[0].1).collect();
        assert_eq!(rates, [16.0, 1.0]);
    }
}
