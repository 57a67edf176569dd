//! Metrics of a comparison: figures of a trial, their better direction, and their resolution.

use clap::ValueEnum;
use linerate_wire::report::LatencySummary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use linerate_results::summary::TrialSummary;

/// Percentiles are upper bounds of histogram buckets of this relative width.
const BUCKET_WIDTH: f64 = 0.01;

/// A figure of a trial.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Metric {
    /// Packets per second that the transmitting port accepted.
    OfferedPps,
    /// Packets per second received.
    ReceivedPps,
    /// Share of the packets sent that did not arrive.
    LostRatio,
    /// Share of the packets received that arrived after a later one of their flow (RFC 4737).
    ReorderedRatio,
    /// Mean one-way delay, or round-trip time in a round trip, in nanoseconds.
    LatencyMean,
    /// Median of the same.
    LatencyP50,
    /// 90th percentile of the same.
    LatencyP90,
    /// 99th percentile of the same.
    LatencyP99,
    /// 99.9th percentile of the same.
    LatencyP999,
    /// Largest of the same.
    LatencyMax,
}

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Packets per second; more is better.
    PacketsPerSecond,
    /// Share of packets, 0…1; less is better.
    Share,
    /// Nanoseconds; less is better.
    Nanoseconds,
}

/// A metric of one trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub(super) value: f64,
    /// Smallest difference that the measurement resolves.
    pub(super) resolution: f64,
}

impl Metric {
    /// Metrics that are compared by default.
    pub const DEFAULT: [Metric; 3] = [Metric::ReceivedPps, Metric::LostRatio, Metric::LatencyP99];

    /// Its unit.
    pub fn unit(self) -> Unit {
        match self {
            Metric::OfferedPps | Metric::ReceivedPps => Unit::PacketsPerSecond,
            Metric::LostRatio | Metric::ReorderedRatio => Unit::Share,
            Metric::LatencyMean
            | Metric::LatencyP50
            | Metric::LatencyP90
            | Metric::LatencyP99
            | Metric::LatencyP999
            | Metric::LatencyMax => Unit::Nanoseconds,
        }
    }

    /// True when a larger value is better.
    pub fn more_is_better(self) -> bool {
        self.unit() == Unit::PacketsPerSecond
    }

    /// Its value in a trial; `None` when the trial has none, such as a delay without a common clock.
    pub(super) fn of(self, trial: &TrialSummary) -> Option<Measured> {
        let rate = |value| Measured { value, resolution: 1.0 / trial.duration_s };
        let share = |part: u64, whole: u64| {
            (whole > 0)
                .then(|| Measured { value: part as f64 / whole as f64, resolution: 1.0 / whole as f64 })
        };
        let delay = |figure: fn(&LatencySummary) -> u64, width: f64| {
            let measured = trial.latency_ns.as_ref().or(trial.round_trip_ns.as_ref())?;
            let value = figure(measured) as f64;
            Some(Measured { value, resolution: (width * value).max(1.0) })
        };
        let measured = match self {
            Metric::OfferedPps => Some(rate(trial.offered_pps)),
            Metric::ReceivedPps => Some(rate(trial.received_pps)),
            Metric::LostRatio => share(trial.lost_packets, trial.sent_packets),
            Metric::ReorderedRatio => share(trial.reordering.packets, trial.received_packets),
            Metric::LatencyMean => delay(|latency| latency.mean, 0.0),
            Metric::LatencyP50 => delay(|latency| latency.p50, BUCKET_WIDTH),
            Metric::LatencyP90 => delay(|latency| latency.p90, BUCKET_WIDTH),
            Metric::LatencyP99 => delay(|latency| latency.p99, BUCKET_WIDTH),
            Metric::LatencyP999 => delay(|latency| latency.p999, BUCKET_WIDTH),
            Metric::LatencyMax => delay(|latency| latency.max, 0.0),
        };
        measured.filter(|measured| measured.value.is_finite() && measured.resolution.is_finite())
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Metric::OfferedPps => "offered_pps",
            Metric::ReceivedPps => "received_pps",
            Metric::LostRatio => "lost_ratio",
            Metric::ReorderedRatio => "reordered_ratio",
            Metric::LatencyMean => "latency_mean",
            Metric::LatencyP50 => "latency_p50",
            Metric::LatencyP90 => "latency_p90",
            Metric::LatencyP99 => "latency_p99",
            Metric::LatencyP999 => "latency_p999",
            Metric::LatencyMax => "latency_max",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::{rx, tx, with_clock};

    #[test]
    fn a_metric_has_one_name() {
        for metric in Metric::value_variants() {
            let name = metric.to_string();
            assert_eq!(Metric::from_str(&name, false), Ok(*metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), name);
        }
    }

    #[test]
    fn values_come_with_what_the_measurement_can_show() {
        let trial = with_clock(true, &tx(1000), &rx(990)).unwrap();
        let of = |metric: Metric| metric.of(&trial).map(|measured| (measured.value, measured.resolution));
        assert_eq!(of(Metric::ReceivedPps), Some((495.0, 0.5)));
        assert_eq!(of(Metric::LostRatio), Some((0.01, 0.001)));
        assert_eq!(of(Metric::LatencyP99), Some((0.0, 1.0)));
        let without_clock = with_clock(false, &tx(1000), &rx(990)).unwrap();
        assert_eq!(Metric::LatencyP99.of(&without_clock), None);
        let nothing_sent = with_clock(true, &tx(0), &rx(0)).unwrap();
        assert_eq!(Metric::LostRatio.of(&nothing_sent), None);
    }
}
