//! The figures of trials of streams, and of their connections, as tables. A figure is one row; workbooks, comparisons,
//! matrices and printed tables read it.

use super::connection::ConnectionSummary;
use super::distribution::Spread;
use super::trial::StreamsTrialSummary;

/// A figure of `T`.
#[derive(Debug)]
pub struct Figure<T> {
    /// Its name in commands, files and workbooks.
    pub name: &'static str,
    /// Its heading in tables, without unit.
    pub heading: &'static str,
    /// Unit of its values.
    pub unit: StreamsUnit,
    /// Description for help texts, without full stop.
    pub help: &'static str,
    /// Its value; `None` when there is none.
    pub of: fn(&T) -> Option<f64>,
    /// Whether a larger value is better; `None` for figures that are neither.
    pub more_is_better: Option<bool>,
    /// True when reports draw it as a matrix of senders and receivers.
    pub is_matrix: bool,
}

/// Unit of a figure of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamsUnit {
    /// A plain number; the heading names what is counted.
    Number,
    /// Bits of payload per second.
    BitsPerSecond,
    /// Bytes of payload.
    Bytes,
    /// Datagrams.
    Datagrams,
    /// Segments.
    Segments,
    /// A share, 0…1.
    Share,
    /// A probability, 0…1.
    Probability,
    /// Seconds.
    Seconds,
    /// CPU seconds per gigabit of payload.
    SecondsPerGigabit,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Requests.
    Requests,
    /// Requests per second.
    RequestsPerSecond,
}

impl<T> Figure<T> {
    pub(crate) const fn more_is_better(mut self) -> Self {
        self.more_is_better = Some(true);
        self
    }

    pub(crate) const fn less_is_better(mut self) -> Self {
        self.more_is_better = Some(false);
        self
    }

    const fn matrix(mut self) -> Self {
        self.is_matrix = true;
        self
    }
}

/// A figure that is neither better nor worse when it is larger.
pub(crate) const fn figure<T>(
    name: &'static str,
    heading: &'static str,
    unit: StreamsUnit,
    help: &'static str,
    of: fn(&T) -> Option<f64>,
) -> Figure<T> {
    Figure { name, heading, unit, help, of, more_is_better: None, is_matrix: false }
}

use StreamsUnit::{
    BitsPerSecond, Bytes, Datagrams, Microseconds, Nanoseconds, Number, Seconds, SecondsPerGigabit, Segments,
    Share,
};

type Trial = StreamsTrialSummary;
type Connection = ConnectionSummary;

/// Figures of a trial, in the order of workbooks and comparisons.
pub const STREAMS_FIGURES: &[Figure<Trial>] = &[
    figure("repeat", "repeat", Number, "Which time the profile was run", |t: &Trial| Some(t.repeat.into())),
    figure("parallel", "streams", Number, "Streams of a connection", |t: &Trial| Some(t.parallel.into())),
    figure("connections", "connections", Number, "Connections that the trial loads", |t: &Trial| {
        Some(t.connections.into())
    }),
    figure(
        "connections_alive",
        "alive",
        Number,
        "Connections of which bytes still arrived at the end of sending",
        |t: &Trial| Some(t.connections_alive.into()),
    )
    .more_is_better(),
    figure(
        "intended_bps",
        "intended",
        BitsPerSecond,
        "Intended payload of all connections per second",
        |t: &Trial| t.intended_bps,
    ),
    figure(
        "offered_bps",
        "offered",
        BitsPerSecond,
        "Payload per second that the senders' kernels accepted",
        |t: &Trial| t.offered_bps,
    )
    .more_is_better(),
    figure(
        "received_bps",
        "received",
        BitsPerSecond,
        "Payload per second that the receivers read",
        |t: &Trial| t.received_bps,
    )
    .more_is_better(),
    figure(
        "connection_received_bps_min",
        "slowest",
        BitsPerSecond,
        "Received payload per second of the slowest connection",
        |t: &Trial| t.connection_received_bps.map(|spread| spread.min),
    )
    .more_is_better(),
    figure("written_bytes", "written", Bytes, "Payload that the senders' kernels accepted", |t: &Trial| {
        count(t.written_bytes)
    }),
    figure(
        "acked_bytes",
        "acknowledged",
        Bytes,
        "Payload that the receivers' kernels acknowledged",
        |t: &Trial| count(t.acked_bytes),
    ),
    figure("received_bytes", "received", Bytes, "Payload that the receivers read", |t: &Trial| {
        count(t.received_bytes)
    }),
    figure("retransmits", "retransmits", Segments, "TCP segments sent again", |t: &Trial| {
        count(t.retransmits)
    })
    .less_is_better(),
    figure(
        "retransmit_ratio",
        "retransmits",
        Share,
        "Share of the TCP segments with payload that were sent again",
        |t: &Trial| t.retransmit_share,
    )
    .less_is_better(),
    figure(
        "rtt_us",
        "RTT",
        Microseconds,
        "Smoothed round-trip time at the end, mean of the connections",
        |t: &Trial| mean(t.rtt_us),
    )
    .less_is_better(),
    figure(
        "sent_datagrams",
        "sent",
        Datagrams,
        "Datagrams that the senders' kernels accepted",
        |t: &Trial| count(t.sent_datagrams),
    ),
    figure(
        "received_datagrams",
        "received",
        Datagrams,
        "Datagrams received, each counted once",
        |t: &Trial| count(t.received_datagrams),
    ),
    figure("lost_datagrams", "lost", Datagrams, "Datagrams sent that did not arrive", |t: &Trial| {
        count(t.lost_datagrams)
    }),
    figure("lost_ratio", "loss", Share, "Share of the datagrams sent that did not arrive", |t: &Trial| {
        t.loss_share()
    })
    .less_is_better(),
    figure(
        "refused_datagrams",
        "refused",
        Datagrams,
        "Datagrams that senders' kernels refused",
        |t: &Trial| count(t.refused_datagrams),
    ),
    figure("duplicate_datagrams", "duplicates", Datagrams, "Further copies of datagrams", |t: &Trial| {
        count(t.duplicate_datagrams)
    }),
    figure(
        "reordered_datagrams",
        "reordered",
        Datagrams,
        "Datagrams that arrived after a later one of their stream (RFC 4737)",
        |t: &Trial| count(t.reordered_datagrams),
    ),
    figure(
        "jitter_ns",
        "jitter",
        Nanoseconds,
        "Interarrival jitter (RFC 3550), mean of the connections",
        |t: &Trial| mean(t.jitter_ns),
    )
    .less_is_better(),
    figure("delay_mean_ns", "delay mean", Nanoseconds, "Mean one-way delay of datagrams", |t: &Trial| {
        t.delay_ns.map(|delay| delay.mean as f64)
    })
    .less_is_better(),
    figure("delay_p50_ns", "delay p50", Nanoseconds, "Median one-way delay of datagrams", |t: &Trial| {
        t.delay_ns.map(|delay| delay.p50 as f64)
    })
    .less_is_better(),
    figure(
        "delay_p99_ns",
        "delay p99",
        Nanoseconds,
        "99th percentile of one-way delays of datagrams",
        |t: &Trial| t.delay_ns.map(|delay| delay.p99 as f64),
    )
    .less_is_better(),
    figure(
        "delay_p999_ns",
        "delay p99.9",
        Nanoseconds,
        "99.9th percentile of one-way delays of datagrams",
        |t: &Trial| t.delay_ns.map(|delay| delay.p999 as f64),
    )
    .less_is_better(),
    figure("delay_max_ns", "delay max", Nanoseconds, "Largest one-way delay of datagrams", |t: &Trial| {
        t.delay_ns.map(|delay| delay.max as f64)
    })
    .less_is_better(),
    figure(
        "sender_cpu_s_per_gbit",
        "CPU of senders",
        SecondsPerGigabit,
        "CPU seconds of agents that only send, per gigabit",
        |t: &Trial| t.sender_cpu_s_per_gbit,
    )
    .less_is_better(),
    figure(
        "receiver_cpu_s_per_gbit",
        "CPU of receivers",
        SecondsPerGigabit,
        "CPU seconds of agents that only receive, per gigabit",
        |t: &Trial| t.receiver_cpu_s_per_gbit,
    )
    .less_is_better(),
    figure(
        "cpu_s_per_gbit",
        "CPU",
        SecondsPerGigabit,
        "CPU seconds of all agents per gigabit received",
        |t: &Trial| t.cpu_s_per_gbit,
    )
    .less_is_better(),
    figure("duration_s", "duration", Seconds, "Time of sending", |t: &Trial| Some(t.duration_s)),
];

/// Figures of a connection, for matrices and tables of connections.
pub const CONNECTION_FIGURES: &[Figure<Connection>] = &[
    figure(
        "offered_bps",
        "offered",
        BitsPerSecond,
        "Payload per second that the sender's kernel accepted",
        |c: &Connection| c.offered_bps,
    )
    .more_is_better(),
    figure(
        "received_bps",
        "received",
        BitsPerSecond,
        "Payload per second that the receiver read",
        |c: &Connection| match c.received_bytes {
            Some(0) => Some(0.0),
            _ => c.received_bps,
        },
    )
    .more_is_better()
    .matrix(),
    figure(
        "written_bytes",
        "written",
        Bytes,
        "Payload that the sender's kernel accepted",
        |c: &Connection| count(c.written_bytes),
    ),
    figure("received_bytes", "received", Bytes, "Payload that the receiver read", |c: &Connection| {
        count(c.received_bytes)
    }),
    figure("retransmits", "retransmits", Segments, "TCP segments sent again", |c: &Connection| {
        count(c.retransmits)
    })
    .less_is_better(),
    figure(
        "retransmit_ratio",
        "retransmits",
        Share,
        "Share of the TCP segments with payload that were sent again",
        |c: &Connection| c.retransmit_share,
    )
    .less_is_better()
    .matrix(),
    figure("rtt_us", "RTT", Microseconds, "Smoothed round-trip time at the end", |c: &Connection| {
        c.rtt_us.map(|rtt| rtt.smoothed)
    })
    .less_is_better()
    .matrix(),
    figure("lost_datagrams", "lost", Datagrams, "Datagrams sent that did not arrive", |c: &Connection| {
        count(c.lost_datagrams)
    })
    .less_is_better(),
    figure(
        "lost_ratio",
        "loss",
        Share,
        "Share of the datagrams sent that did not arrive",
        |c: &Connection| {
            let sent = c.sent_datagrams.filter(|sent| *sent > 0)?;
            Some(c.lost_datagrams? as f64 / sent as f64)
        },
    )
    .less_is_better()
    .matrix(),
    figure("jitter_ns", "jitter", Nanoseconds, "Interarrival jitter (RFC 3550)", |c: &Connection| {
        c.jitter_ns
    })
    .less_is_better()
    .matrix(),
    figure(
        "delay_p50_ns",
        "delay p50",
        Nanoseconds,
        "Median one-way delay of datagrams",
        |c: &Connection| c.delay_ns.map(|delay| delay.p50 as f64),
    )
    .less_is_better()
    .matrix(),
    figure(
        "delay_p99_ns",
        "delay p99",
        Nanoseconds,
        "99th percentile of one-way delays of datagrams",
        |c: &Connection| c.delay_ns.map(|delay| delay.p99 as f64),
    )
    .less_is_better(),
];

fn count(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

fn mean(spread: Option<Spread>) -> Option<f64> {
    spread.map(|spread| spread.mean)
}
