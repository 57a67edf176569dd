//! What all connections of a trial moved over time, from the agents' samples.
//!
//! Agents sample at instants of their own. What an agent moved between two of its samples is spread evenly over that
//! time, so that intervals add up to the counts.

use std::collections::HashMap;

use linerate_results::streams::{SampleLine, StreamsTrialRecord};
use linerate_wire::streams::Protocol;

/// Most intervals; a longer trial has wider ones.
const MOST_INTERVALS: usize = 150;
/// Most connections that have a series of their own.
const MOST_CONNECTIONS: usize = 6;

/// Amounts in equal intervals from the start to the end of sending.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intervals {
    width_s: f64,
    amounts: Vec<f64>,
}

impl Intervals {
    fn new(width_s: f64, count: usize) -> Self {
        Self { width_s, amounts: vec![0.0; count] }
    }

    /// Spreads `amount` evenly over the time; what lies beyond the last interval is left out.
    fn add(&mut self, from_s: f64, to_s: f64, amount: f64) {
        if to_s <= from_s || amount <= 0.0 {
            return;
        }
        let first = (from_s / self.width_s).max(0.0) as usize;
        for (index, sum) in self.amounts.iter_mut().enumerate().skip(first) {
            let begin = index as f64 * self.width_s;
            let overlap = to_s.min(begin + self.width_s) - from_s.max(begin);
            if overlap <= 0.0 {
                break;
            }
            *sum += amount * overlap / (to_s - from_s);
        }
    }

    /// Mean per second of each interval, as steps from its begin to its end, divided by `unit`.
    pub(crate) fn per_second(&self, unit: f64) -> Vec<(f64, f64)> {
        let step = |(index, amount): (usize, &f64)| {
            let (from, to) = (index as f64 * self.width_s, (index + 1) as f64 * self.width_s);
            [(from, amount / self.width_s / unit), (to, amount / self.width_s / unit)]
        };
        self.amounts.iter().enumerate().flat_map(step).collect()
    }

    /// Sum of all intervals.
    pub(crate) fn total(&self) -> f64 {
        self.amounts.iter().sum()
    }
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Cumulative counts of an agent at a sample.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    at_s: f64,
    sent: u64,
    received: u64,
    harmed: u64,
}

/// What all connections moved over time.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    /// Seconds of sending.
    pub(crate) duration_s: f64,
    /// Bytes sent.
    pub(crate) sent: Intervals,
    /// Bytes received.
    pub(crate) received: Intervals,
    /// TCP: segments sent again; UDP: datagrams that were missing before the last one received.
    pub(crate) harmed: Intervals,
    /// Bytes that each connection received, by name; empty for more than a few connections.
    pub(crate) connections: Vec<(String, Intervals)>,
    is_tcp: bool,
    before: HashMap<String, Counts>,
    received_before: HashMap<u32, (f64, u64)>,
    samples: usize,
}

/// Readers of a timeline are alike when their intervals are.
impl PartialEq for Timeline {
    fn eq(&self, other: &Self) -> bool {
        (&self.sent, &self.received, &self.harmed, &self.connections)
            == (&other.sent, &other.received, &other.harmed, &other.connections)
    }
}

impl Timeline {
    /// An empty timeline of a trial that sent for `duration_s`.
    pub(crate) fn new(record: &StreamsTrialRecord, duration_s: f64) -> Self {
        let interval_s = if record.sample_interval_s > 0.0 { record.sample_interval_s } else { 1.0 };
        let count = (duration_s / interval_s).round().clamp(1.0, MOST_INTERVALS as f64) as usize;
        let none = || Intervals::new((duration_s / count as f64).max(1e-9), count);
        let few = (2..=MOST_CONNECTIONS).contains(&record.connections.len());
        let own = record.connections.iter().filter(|_| few);
        Self {
            duration_s,
            sent: none(),
            received: none(),
            harmed: none(),
            connections: own.map(|one| (one.connection.clone(), none())).collect(),
            is_tcp: record.spec.protocol == Protocol::Tcp,
            before: HashMap::new(),
            received_before: HashMap::new(),
            samples: 0,
        }
    }

    /// Adds a sample; an agent's samples come in chronological order.
    pub(crate) fn add(&mut self, line: &SampleLine) {
        let at_s = line.at_ns as f64 / 1e9;
        let resent = line.sent.values().filter_map(|(.., resent)| *resent);
        let missing = line.received.values().map(|(_, _, _, _, missing, _)| *missing);
        let harmed = if self.is_tcp { sum(resent) } else { sum(missing) };
        let now = Counts {
            at_s,
            sent: sum(line.sent.values().map(|(bytes, ..)| *bytes)),
            received: sum(line.received.values().map(|(bytes, ..)| *bytes)),
            harmed,
        };
        let before = self.before.insert(line.agent.clone(), now).unwrap_or_default();
        let grown = |before: u64, now: u64| now.saturating_sub(before) as f64;
        self.sent.add(before.at_s, at_s, grown(before.sent, now.sent));
        self.received.add(before.at_s, at_s, grown(before.received, now.received));
        self.harmed.add(before.at_s, at_s, grown(before.harmed, now.harmed));
        for (number, (bytes, ..)) in &line.received {
            let Some((_, intervals)) = self.connections.get_mut(*number as usize) else { continue };
            let (then_s, then) = self.received_before.insert(*number, (at_s, *bytes)).unwrap_or_default();
            intervals.add(then_s, at_s, grown(then, *bytes));
        }
        self.samples += 1;
    }

    /// True without a sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::streams::{mesh, pair};

    #[test]
    fn intervals_add_up_to_the_counts() {
        let made = pair(Protocol::Tcp, 1, 1);
        let mut timeline = Timeline::new(&made.record, 2.0);
        assert!(timeline.is_empty());
        made.samples.iter().for_each(|line| timeline.add(line));
        assert!((timeline.sent.total() - 125e6).abs() < 1.0, "{timeline:?}");
        assert!((timeline.received.total() - 125e6).abs() < 1.0, "{timeline:?}");
        let rates = timeline.received.per_second(1e6 / 8.0);
        assert_eq!(rates.len(), 8);
        assert!(rates.iter().all(|(_, mbps)| (mbps - 500.0).abs() < 0.01), "{rates:?}");
        assert!(timeline.connections.is_empty());
    }

    #[test]
    fn samples_at_odd_instants_lose_nothing() {
        let mut intervals = Intervals::new(0.5, 4);
        intervals.add(0.0, 0.7, 70.0);
        intervals.add(0.7, 2.0, 130.0);
        // Beyond the end.
        intervals.add(2.0, 3.0, 50.0);
        intervals.add(1.9, 2.1, 20.0);
        let sums: Vec<i64> = intervals.amounts.iter().map(|amount| amount.round() as i64).collect();
        assert_eq!(sums, [50, 50, 50, 60]);
    }

    #[test]
    fn the_largest_counts_have_a_sum() {
        let made = mesh(Protocol::Udp, 3, &["net0"]);
        let mut timeline = Timeline::new(&made.record, 2.0);
        let mut line = made.samples[0].clone();
        line.sent.values_mut().for_each(|(bytes, ..)| *bytes = u64::MAX);
        line.received
            .values_mut()
            .for_each(|(bytes, _, _, _, missing, _)| (*bytes, *missing) = (u64::MAX, u64::MAX));
        timeline.add(&line);
        assert_eq!(timeline.samples, 1);
    }

    #[test]
    fn few_connections_have_series_of_their_own() {
        let made = mesh(Protocol::Udp, 3, &["net0"]);
        let mut timeline = Timeline::new(&made.record, 2.0);
        made.samples.iter().for_each(|line| timeline.add(line));
        assert_eq!(timeline.connections.len(), 6);
        assert_eq!(timeline.connections[2].1.total(), 0.0);
        // A tenth of connection 1 and all of connection 2.
        assert!((timeline.harmed.total() - 110_000.0).abs() < 10.0, "{}", timeline.harmed.total());
        let many = mesh(Protocol::Tcp, 4, &["net0"]);
        assert!(Timeline::new(&many.record, 2.0).connections.is_empty());
    }
}
