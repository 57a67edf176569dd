//! A trial's samples as columns of whole numbers, under the names that older kits gave them and under our own.
//!
//! The one place where rates are computed: a counter's difference divided by the true time between two samples. Whatever shows samples to
//! others takes its columns from here, so that all files say the same.

use std::borrow::Cow;

use linerate_protocol::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_protocol::frame::{FCS_BYTES, WIRE_OVERHEAD_BYTES};

use crate::store::record::{TimedSample, TrialRecord};

/// Preamble, start delimiter and gap between frames, in bytes.
const GAP_BYTES: u64 = WIRE_OVERHEAD_BYTES as u64;
const NS_PER_S: i128 = 1_000_000_000;

/// A name and one value per sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The key in npz, CSV and Parquet files.
    pub name: Cow<'static, str>,
    /// One value per sample, in the samples' order.
    pub values: Vec<i64>,
}

/// The instants of a trial's samples at one end, in nanoseconds.
pub const TIME_KEY: &str = "time_ns";

/// The transmitter's rates per second, in the order of the old rate table. `mbits_*` are of layer 2, frame check sequence included.
pub const RATE_KEYS: [&str; 12] = [
    "mbits_tx",
    "pkts_tx",
    "obytes",
    "opackets",
    "imissed",
    "oerrors",
    "rx_nombuf",
    "pkts_rx",
    "mbits_rx",
    "ipackets",
    "ibytes",
    "ierrors",
];

/// A port's counters, cumulative, in the order of the old table of counters.
pub const PORT_KEYS: [&str; 8] = [
    "port_ipackets",
    "port_opackets",
    "port_ibytes",
    "port_obytes",
    "port_ierrors",
    "port_oerrors",
    "port_rx_nombuf",
    "port_imissed",
];

/// The receiver's keys that older kits have.
pub const RECEIVE_KEYS: [&str; 9] = [
    "rx_pps",
    "tx_pps",
    "rx_bytes",
    "tx_bytes",
    "rx_packets",
    "tx_packets",
    "rx_errors",
    "rx_missed",
    "rx_nombuf",
];

/// The transmitter's samples: [`TIME_KEY`], [`RATE_KEYS`], [`PORT_KEYS`] and Linerate's own counters; of a round trip, also what came back,
/// under the names that a receiver's counters have.
pub fn transmitter(record: &TrialRecord) -> Vec<Column> {
    let end = End::new(&record.samples.tx, 0);
    let mut columns = vec![end.time()];
    columns.extend(RATE_KEYS.map(|name| Column { name: name.into(), values: end.rate(name) }));
    columns.extend(end.port());
    let wire_bits =
        |point: &Point| frame_bytes(point.port.tx_bytes, point.port.tx_packets, GAP_BYTES).saturating_mul(8);
    columns.extend([
        Column { name: "tx_l1_bps".into(), values: end.per_second(wire_bits) },
        end.total("tx_packets", |point| point.tx.packets),
        end.total("tx_bytes", |point| point.tx.bytes),
        end.total("tx_queue_full", |point| point.tx.queue_full),
        end.total("tx_no_mbuf", |point| point.tx.no_mbuf),
    ]);
    if is_round_trip(record) {
        columns.extend(end.received());
        columns.extend(queues(&record.samples.tx));
    }
    columns
}

/// The receiver's samples: [`TIME_KEY`], [`RECEIVE_KEYS`], [`PORT_KEYS`] and Linerate's own counters.
///
/// `rx_packets` are first copies of the trial's packets, so that the largest `port_opackets` less the largest `rx_packets` is the loss. Of a
/// round trip, this end is the far one: what is lost on the way back is lost to [`transmitter`].
pub fn receiver(record: &TrialRecord) -> Vec<Column> {
    let end = End::new(&record.samples.rx, receiver_start_ns(record));
    let mut columns = vec![
        end.time(),
        Column { name: "rx_pps".into(), values: end.per_second(|point| point.rx.packets) },
        Column { name: "tx_pps".into(), values: end.per_second(|point| point.port.tx_packets) },
        end.total("rx_bytes", |point| point.rx.bytes),
        end.total("tx_bytes", |point| point.port.tx_bytes),
        end.total("rx_packets", |point| point.rx.packets),
        end.total("tx_packets", |point| point.port.tx_packets),
        end.total("rx_errors", |point| point.port.rx_errors),
        end.total("rx_missed", |point| point.port.rx_missed),
        end.total("rx_nombuf", |point| point.port.rx_nombuf),
    ];
    columns.extend(end.port());
    let bits = |gap| move |point: &Point| frame_bytes(point.rx.bytes, point.rx.frames, gap).saturating_mul(8);
    columns.extend([
        Column { name: "rx_l2_bps".into(), values: end.per_second(bits(0)) },
        Column { name: "rx_l1_bps".into(), values: end.per_second(bits(GAP_BYTES)) },
        end.total("rx_frames", |point| point.rx.frames),
        end.total("rx_duplicates", |point| point.rx.duplicates),
        end.total("rx_out_of_order", |point| point.rx.out_of_order),
        end.total("rx_stale", |point| point.rx.stale),
        end.total("rx_bad_probes", |point| point.rx.bad_probes),
        end.total("rx_bad_checksums", |point| point.rx.bad_checksums),
        end.total("rx_foreign", |point| point.rx.foreign),
        end.total("rx_delay_sum_ns", |point| point.rx.delay_sum_ns),
    ]);
    columns.extend(queues(&record.samples.rx));
    columns
}

/// The key of a receive queue's frames.
pub fn queue_key(queue: usize) -> String {
    format!("rx_queue_{queue}_frames")
}

/// True of what [`queue_key`] makes.
pub fn is_queue_key(key: &str) -> bool {
    let number = key.strip_prefix("rx_queue_").and_then(|rest| rest.strip_suffix("_frames"));
    number.is_some_and(|number| number.parse::<u16>().is_ok())
}

/// Frames of each receive queue, where there are several.
fn queues(samples: &[TimedSample]) -> impl Iterator<Item = Column> {
    let count = samples.iter().map(|sample| sample.queue_frames.len()).max().unwrap_or(0);
    (0..count).filter(move |_| count > 1).map(|queue| {
        let frames = |sample: &TimedSample| {
            let frames = sample.queue_frames.get(queue).copied().unwrap_or(0);
            i64::try_from(frames).unwrap_or(i64::MAX)
        };
        Column { name: queue_key(queue).into(), values: samples.iter().map(frames).collect() }
    })
}

/// The samples of the end that counts what arrives: in a round trip, that is the transmitter.
pub fn counting(record: &TrialRecord) -> Vec<Column> {
    if is_round_trip(record) { transmitter(record) } else { receiver(record) }
}

fn is_round_trip(record: &TrialRecord) -> bool {
    record.result.as_ref().is_some_and(|result| result.direction.is_round_trip())
}

/// When the receiver began to count, on the axis of the samples.
fn receiver_start_ns(record: &TrialRecord) -> i64 {
    match (&record.tx, &record.rx, &record.result) {
        (Some(tx), Some(rx), Some(result)) if result.clock.one_way_valid => {
            rx.started_ns.wrapping_sub(tx.started_ns) as i64
        }
        _ => 0,
    }
}

/// Bytes as layer 2 has them, with the frame check sequence that the counters of bytes leave out, and `gap` bytes more a frame for layer 1.
fn frame_bytes(bytes: u64, frames: u64, gap: u64) -> u64 {
    bytes.saturating_add(frames.saturating_mul(u64::from(FCS_BYTES) + gap))
}

/// All counters at one instant; those that the end does not have are 0.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    at_ns: i64,
    tx: TransmitCounters,
    rx: ReceiveCounters,
    port: PortCounters,
}

/// One end's samples, and the instant at which all counters were 0.
struct End {
    start_ns: i64,
    points: Vec<Point>,
}

impl End {
    fn new(samples: &[TimedSample], start_ns: i64) -> Self {
        // A port that was reset during the trial has no counters of its own for part of it: then Linerate's stand in for all of it.
        let whole = samples.iter().all(|sample| sample.port.is_some());
        let point = |sample: &TimedSample| {
            let (tx, rx) = (sample.transmit.unwrap_or_default(), sample.receive.unwrap_or_default());
            let counted = PortCounters {
                tx_packets: tx.packets,
                tx_bytes: tx.bytes,
                rx_packets: rx.frames,
                rx_bytes: rx.bytes,
                ..PortCounters::default()
            };
            let port = sample.port.filter(|_| whole).unwrap_or(counted);
            Point { at_ns: sample.at_ns, tx, rx, port }
        };
        Self { start_ns, points: samples.iter().map(point).collect() }
    }

    fn time(&self) -> Column {
        Column { name: TIME_KEY.into(), values: self.points.iter().map(|point| point.at_ns).collect() }
    }

    fn total(&self, name: &'static str, counter: impl Fn(&Point) -> u64) -> Column {
        let whole = |point: &Point| i64::try_from(counter(point)).unwrap_or(i64::MAX);
        Column { name: name.into(), values: self.points.iter().map(whole).collect() }
    }

    /// Rounded to the nearest whole number; 0 where no time has passed or the counter went back.
    fn per_second(&self, counter: impl Fn(&Point) -> u64) -> Vec<i64> {
        let mut earlier = Point { at_ns: self.start_ns, ..Point::default() };
        let rate = |point: &Point| {
            let counted = i128::from(counter(point).saturating_sub(counter(&earlier)));
            let elapsed_ns = i128::from(point.at_ns) - i128::from(earlier.at_ns);
            earlier = *point;
            if elapsed_ns <= 0 {
                return 0;
            }
            i64::try_from((counted * NS_PER_S + elapsed_ns / 2) / elapsed_ns).unwrap_or(i64::MAX)
        };
        self.points.iter().map(rate).collect()
    }

    /// What came back of a round trip.
    fn received(&self) -> [Column; 7] {
        [
            Column { name: "rx_pps".into(), values: self.per_second(|point| point.rx.packets) },
            self.total("rx_packets", |point| point.rx.packets),
            self.total("rx_bytes", |point| point.rx.bytes),
            self.total("rx_frames", |point| point.rx.frames),
            self.total("rx_duplicates", |point| point.rx.duplicates),
            self.total("rx_out_of_order", |point| point.rx.out_of_order),
            self.total("rx_delay_sum_ns", |point| point.rx.delay_sum_ns),
        ]
    }

    fn port(&self) -> [Column; 8] {
        PORT_KEYS.map(|name| self.total(name, |point| counter(&point.port, &name["port_".len()..])))
    }

    fn rate(&self, name: &str) -> Vec<i64> {
        let megabits =
            |bits: Vec<i64>| bits.into_iter().map(|bps| bps.saturating_add(500_000) / 1_000_000).collect();
        match name {
            "mbits_tx" => megabits(self.per_second(|point| {
                frame_bytes(point.port.tx_bytes, point.port.tx_packets, 0).saturating_mul(8)
            })),
            "mbits_rx" => megabits(self.per_second(|point| {
                frame_bytes(point.port.rx_bytes, point.port.rx_packets, 0).saturating_mul(8)
            })),
            "pkts_tx" => self.per_second(|point| point.port.tx_packets),
            "pkts_rx" => self.per_second(|point| point.port.rx_packets),
            other => self.per_second(|point| counter(&point.port, other)),
        }
    }
}

/// A port's counter by the name that it has in the old tables.
fn counter(port: &PortCounters, name: &str) -> u64 {
    match name {
        "ipackets" => port.rx_packets,
        "opackets" => port.tx_packets,
        "ibytes" => port.rx_bytes,
        "obytes" => port.tx_bytes,
        "ierrors" => port.rx_errors,
        "oerrors" => port.tx_errors,
        "rx_nombuf" => port.rx_nombuf,
        "imissed" => port.rx_missed,
        _ => 0,
    }
}

/// The values of the column with this name; empty when there is none.
pub fn values<'c>(columns: &'c [Column], name: &str) -> &'c [i64] {
    columns.iter().find(|column| column.name == name).map_or(&[], |column| &column.values)
}
