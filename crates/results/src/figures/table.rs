//! The figures of a trial as a table. A figure is one row; workbooks, comparisons and printed tables read it.

use linerate_wire::report::LatencySummary;

use crate::summary::TrialSummary;

/// A figure of a trial of frames.
#[derive(Debug)]
pub struct FrameFigure {
    /// Its name in commands, files and workbooks.
    pub name: &'static str,
    /// Its heading in tables, without unit.
    pub heading: &'static str,
    /// Unit of its values.
    pub unit: FrameUnit,
    /// Description for help texts, without full stop.
    pub help: &'static str,
    /// Its value in a trial; `None` when the trial has none, such as a delay without a common clock.
    pub of: fn(&TrialSummary) -> Option<f64>,
    /// True when workbooks have a column of it.
    pub is_column: bool,
    /// How it is compared; `None` where it is not.
    pub compared: Option<ComparisonRule>,
}

/// Unit of a figure of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameUnit {
    /// A plain number; the heading names what is counted.
    Number,
    /// Packets.
    Packets,
    /// Packets per second.
    PacketsPerSecond,
    /// A share of packets, 0…1.
    Share,
    /// Seconds.
    Seconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// How a figure is compared.
#[derive(Debug, Clone, Copy)]
pub struct ComparisonRule {
    /// True when a larger value is better.
    pub more_is_better: bool,
    /// Smallest difference that the measurement of this value resolves.
    pub resolution: fn(&TrialSummary, f64) -> f64,
}

/// All figures, in the order of workbooks and comparisons.
pub const FIGURES: &[FrameFigure] = &[
    figure("repeat", "repeat", FrameUnit::Number, "Which time the profile was run", |t| {
        Some(t.repeat.into())
    })
    .column(),
    figure("flows", "flows", FrameUnit::Number, "Flows of the profile", |t| Some(t.flows.into())).column(),
    rate("intended_pps", "intended", "Intended packets per second", |t| t.intended_pps).column(),
    rate("offered_pps", "offered", "Packets per second that the transmitting port accepted", |t| {
        Some(t.offered_pps)
    })
    .column()
    .more_is_better(per_trial),
    rate("received_pps", "received", "Packets per second received", |t| Some(t.received_pps))
        .column()
        .more_is_better(per_trial),
    packets("sent_packets", "sent", "Packets that the transmitting port accepted", |t| count(t.sent_packets)),
    packets("received_packets", "received", "Packets received, each counted once", |t| {
        count(t.received_packets)
    }),
    packets("lost_packets", "lost", "Packets sent that did not arrive", |t| count(t.lost_packets)),
    share("lost_ratio", "loss", "Share of the packets sent that did not arrive", |t| {
        ratio(t.lost_packets, t.sent_packets)
    })
    .less_is_better(|t, _| 1.0 / t.sent_packets as f64),
    packets("duplicate_packets", "duplicates", "Further copies of packets already received", |t| {
        count(t.duplicate_packets)
    }),
    packets(
        "reordered_packets",
        "reordered",
        "Packets that arrived after a later one of their flow (RFC 4737)",
        |t| count(t.reordering.packets),
    ),
    share(
        "reordered_ratio",
        "reordered",
        "Share of the packets received that arrived after a later one of their flow (RFC 4737)",
        |t| ratio(t.reordering.packets, t.received_packets),
    )
    .less_is_better(|t, _| 1.0 / t.received_packets as f64),
    figure("duration_s", "duration", FrameUnit::Seconds, "Time of sending", |t| Some(t.duration_s)).column(),
    time(
        "latency_mean",
        "mean",
        "Mean one-way delay, or round-trip time in a round trip, in nanoseconds",
        |t| delay(t, |delay| delay.mean),
    )
    .less_is_better(nanosecond),
    time("latency_p50", "p50", "Median of the same", |t| delay(t, |delay| delay.p50)).less_is_better(bucket),
    time("latency_p90", "p90", "90th percentile of the same", |t| delay(t, |delay| delay.p90))
        .less_is_better(bucket),
    time("latency_p99", "p99", "99th percentile of the same", |t| delay(t, |delay| delay.p99))
        .less_is_better(bucket),
    time("latency_p999", "p99.9", "99.9th percentile of the same", |t| delay(t, |delay| delay.p999))
        .less_is_better(bucket),
    time("latency_max", "max", "Largest of the same", |t| delay(t, |delay| delay.max))
        .less_is_better(nanosecond),
    time("latency_min_ns", "min", "Smallest one-way delay", |t| one_way(t, |delay| delay.min)).column(),
    time("latency_p50_ns", "p50", "Median one-way delay", |t| one_way(t, |delay| delay.p50)).column(),
    time("latency_p90_ns", "p90", "90th percentile of one-way delays", |t| one_way(t, |delay| delay.p90))
        .column(),
    time("latency_p99_ns", "p99", "99th percentile of one-way delays", |t| one_way(t, |delay| delay.p99))
        .column(),
    time("latency_p999_ns", "p99.9", "99.9th percentile of one-way delays", |t| {
        one_way(t, |delay| delay.p999)
    })
    .column(),
    time("latency_max_ns", "max", "Largest one-way delay", |t| one_way(t, |delay| delay.max)).column(),
    time("round_trip_min_ns", "min", "Smallest round-trip time", |t| round_trip(t, |time| time.min)).column(),
    time("round_trip_p50_ns", "p50", "Median round-trip time", |t| round_trip(t, |time| time.p50)).column(),
    time("round_trip_p90_ns", "p90", "90th percentile of round-trip times", |t| {
        round_trip(t, |time| time.p90)
    })
    .column(),
    time("round_trip_p99_ns", "p99", "99th percentile of round-trip times", |t| {
        round_trip(t, |time| time.p99)
    })
    .column(),
    time("round_trip_p999_ns", "p99.9", "99.9th percentile of round-trip times", |t| {
        round_trip(t, |time| time.p999)
    })
    .column(),
    time("round_trip_max_ns", "max", "Largest round-trip time", |t| round_trip(t, |time| time.max)).column(),
    packets("reflector_received_packets", "reflector received", "Packets that arrived at the far end", |t| {
        count(t.reflector?.received_packets)
    }),
    packets("reflector_sent_packets", "reflector sent", "Packets that the far end sent back", |t| {
        count(t.reflector?.sent_packets)
    }),
    packets(
        "reflector_dropped_packets",
        "reflector dropped",
        "Packets that the far end's port did not take",
        |t| count(t.reflector?.dropped_packets),
    ),
];

/// Percentiles are upper bounds of histogram buckets of this relative width.
const BUCKET_WIDTH: f64 = 0.01;

/// How a trial gives the value of a figure.
type Value = fn(&TrialSummary) -> Option<f64>;

const fn figure(
    name: &'static str,
    heading: &'static str,
    unit: FrameUnit,
    help: &'static str,
    of: Value,
) -> FrameFigure {
    FrameFigure { name, heading, unit, help, of, is_column: false, compared: None }
}

const fn rate(name: &'static str, heading: &'static str, help: &'static str, of: Value) -> FrameFigure {
    figure(name, heading, FrameUnit::PacketsPerSecond, help, of)
}

const fn share(name: &'static str, heading: &'static str, help: &'static str, of: Value) -> FrameFigure {
    figure(name, heading, FrameUnit::Share, help, of)
}

const fn time(name: &'static str, heading: &'static str, help: &'static str, of: Value) -> FrameFigure {
    figure(name, heading, FrameUnit::Nanoseconds, help, of)
}

/// Packets, with a column in workbooks.
const fn packets(name: &'static str, heading: &'static str, help: &'static str, of: Value) -> FrameFigure {
    figure(name, heading, FrameUnit::Packets, help, of).column()
}

impl FrameFigure {
    /// The same with a column in workbooks.
    const fn column(self) -> Self {
        Self { is_column: true, ..self }
    }

    /// The same compared, larger values being better.
    const fn more_is_better(self, resolution: fn(&TrialSummary, f64) -> f64) -> Self {
        Self { compared: Some(ComparisonRule { more_is_better: true, resolution }), ..self }
    }

    /// The same compared, smaller values being better.
    const fn less_is_better(self, resolution: fn(&TrialSummary, f64) -> f64) -> Self {
        Self { compared: Some(ComparisonRule { more_is_better: false, resolution }), ..self }
    }

    /// The figure with this name. For constants: a wrong name does not compile.
    ///
    /// # Panics
    /// Outside of constants, when no figure has this name.
    pub const fn named(name: &str) -> &'static Self {
        &FIGURES[Self::place(name)]
    }

    /// Place in [`FIGURES`] of the figure with this name; beyond the last one when there is none.
    pub const fn place(name: &str) -> usize {
        let mut index = 0;
        while index < FIGURES.len() && !is_same(FIGURES[index].name.as_bytes(), name.as_bytes()) {
            index += 1;
        }
        index
    }
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn one_way(trial: &TrialSummary, of: fn(&LatencySummary) -> u64) -> Option<f64> {
    count(of(trial.latency_ns.as_ref()?))
}

fn round_trip(trial: &TrialSummary, of: fn(&LatencySummary) -> u64) -> Option<f64> {
    count(of(trial.round_trip_ns.as_ref()?))
}

/// Of the one-way delay, or of the round-trip time in a round trip.
fn delay(trial: &TrialSummary, of: fn(&LatencySummary) -> u64) -> Option<f64> {
    one_way(trial, of).or_else(|| round_trip(trial, of))
}

/// A packet more or less in the trial.
fn per_trial(trial: &TrialSummary, _: f64) -> f64 {
    1.0 / trial.duration_s
}

fn nanosecond(_: &TrialSummary, _: f64) -> f64 {
    1.0
}

fn bucket(_: &TrialSummary, value: f64) -> f64 {
    (BUCKET_WIDTH * value).max(1.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_figure_has_a_name_of_its_own_by_which_it_is_found() {
        let names: BTreeSet<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), FIGURES.len());
        for (index, figure) in FIGURES.iter().enumerate() {
            assert_eq!(FrameFigure::place(figure.name), index);
            assert!(!figure.help.ends_with('.') && !figure.heading.is_empty(), "{figure:?}");
        }
        assert_eq!(FrameFigure::place("latency"), FIGURES.len());
    }
}
