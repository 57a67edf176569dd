//! A trial's samples as columns of whole numbers, under the names of older kits and Linerate's own.
//!
//! This is the only place that computes rates: a counter's difference divided by the true time between two
//! samples. All exports and reports take their columns from here, so that their values agree.
//!
//! Rows cover exactly the time in which packets were sent or arrived (`export/window.rs`), so that the
//! time-weighted mean of a rate is that of the trial.

use std::borrow::Cow;

use linerate_traffic::frame::{FCS_BYTES, WIRE_OVERHEAD_BYTES};
use linerate_wire::counters::{Counter, PortCounters, ReceiveCounters, TransmitCounters};

use super::window::{Window, rows};
use linerate_results::store::record::{TimedSample, TrialRecord};

/// Preamble, start delimiter and gap between frames, in bytes.
const GAP_BYTES: u64 = WIRE_OVERHEAD_BYTES as u64;
const NS_PER_S: i128 = 1_000_000_000;

/// A name and one value per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesColumn {
    /// The key in npz, CSV and Parquet files.
    pub name: Cow<'static, str>,
    /// One value per row, in chronological order.
    pub values: Vec<i64>,
    /// Nanoseconds that each value of a rate covers; empty for columns other than rates.
    pub spans_ns: Vec<i64>,
}

impl SeriesColumn {
    /// A column other than a rate.
    pub(super) fn named(name: impl Into<Cow<'static, str>>, values: Vec<i64>) -> Self {
        Self::counts(name, values)
    }

    fn counts(name: impl Into<Cow<'static, str>>, values: Vec<i64>) -> Self {
        Self { name: name.into(), values, spans_ns: Vec::new() }
    }

    /// Time-weighted mean of a rate; `None` for columns other than rates, or if no time is covered.
    pub fn mean(&self) -> Option<f64> {
        let total_ns: i128 = self.spans_ns.iter().copied().map(i128::from).sum();
        let weighed = self.values.iter().zip(&self.spans_ns).map(|(rate, span)| *rate as f64 * *span as f64);
        (total_ns > 0).then(|| weighed.sum::<f64>() / total_ns as f64)
    }
}

/// Name of the column with the end time of each row, in nanoseconds: rates are those since the previous row.
pub use linerate_results::validate::TIME_KEY;
/// Name of the column with the read time of each row's counters, in nanoseconds. It equals the end time
/// except in the last row, whose counters were read after the drain.
pub const READ_KEY: &str = "read_ns";

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

/// Columns of what only the port counts. Where it was reset during the trial, they are not known, and left out.
const PORT_ALONE: [&str; 6] = ["imissed", "oerrors", "rx_nombuf", "ierrors", "rx_errors", "rx_missed"];
/// Counters of the port that Linerate's own stand for then.
const PORT_OURS: [&str; 4] = ["port_ipackets", "port_opackets", "port_ibytes", "port_obytes"];

/// Keys of the receiver in older kits.
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

/// Columns of the packets that came back in a round trip.
const RETURNED_KEYS: [&str; 6] =
    ["rx_packets", "rx_bytes", "rx_frames", "rx_duplicates", "rx_out_of_order", "rx_delay_sum_ns"];

/// The transmitter's rows: [`TIME_KEY`], [`READ_KEY`], [`RATE_KEYS`], [`PORT_KEYS`] and Linerate's own
/// counters; for a round trip also the packets that came back, under the names of a receiver's counters.
pub fn transmitter(record: &TrialRecord) -> Vec<SeriesColumn> {
    let sending = Window::of_sending(record);
    let end = End::new(&record.samples.tx, sending);
    let mut columns = end.times().to_vec();
    columns.extend(RATE_KEYS.into_iter().filter(|name| end.knows(name)).map(|name| end.rate(name)));
    columns.extend(end.port());
    let wire_bits =
        |point: &Point| frame_bytes(point.port.tx_bytes, point.port.tx_packets, GAP_BYTES).saturating_mul(8);
    columns.push(end.per_second("tx_l1_bps", wire_bits));
    end.add_totals(&mut columns, &TransmitCounters::TABLE, |point| &point.tx);
    if is_round_trip(record) {
        let times = record.result.as_ref().and_then(|result| result.round_trip_ns);
        columns.extend(End { window: sending.later(times), ..end }.received());
        columns.extend(queues(&record.samples.tx, sending));
    }
    columns
}

/// The receiver's rows: [`TIME_KEY`], [`READ_KEY`], [`RECEIVE_KEYS`], [`PORT_KEYS`] and Linerate's own
/// counters.
///
/// `rx_packets` counts first copies of the trial's packets, so the largest `port_opackets` minus the largest
/// `rx_packets` is the loss. In a round trip this end is the far one; the loss on the way back appears at
/// [`transmitter`].
pub fn receiver(record: &TrialRecord) -> Vec<SeriesColumn> {
    let receipt = Window::of_receipt(record);
    let end = End::new(&record.samples.rx, receipt);
    let mut columns = end.times().to_vec();
    columns.extend([
        end.per_second("rx_pps", |point| point.rx.packets),
        end.per_second("tx_pps", |point| point.port.tx_packets),
        end.total("rx_bytes", |point| point.rx.bytes),
        end.total("tx_bytes", |point| point.port.tx_bytes),
        end.total("rx_packets", |point| point.rx.packets),
        end.total("tx_packets", |point| point.port.tx_packets),
        end.total("rx_errors", |point| point.port.rx_errors),
        end.total("rx_missed", |point| point.port.rx_missed),
        end.total("rx_nombuf", |point| point.port.rx_nombuf),
    ]);
    columns.retain(|column| end.knows(&column.name));
    columns.extend(end.port());
    let bits = |gap| move |point: &Point| frame_bytes(point.rx.bytes, point.rx.frames, gap).saturating_mul(8);
    columns.extend([end.per_second("rx_l2_bps", bits(0)), end.per_second("rx_l1_bps", bits(GAP_BYTES))]);
    end.add_totals(&mut columns, &ReceiveCounters::TABLE, |point| &point.rx);
    columns.extend(queues(&record.samples.rx, receipt));
    columns
}

/// Key of a receive queue's frames.
pub fn queue_key(queue: usize) -> String {
    format!("rx_queue_{queue}_frames")
}

/// True for the keys that [`queue_key`] returns.
pub fn is_queue_key(key: &str) -> bool {
    let number = key.strip_prefix("rx_queue_").and_then(|rest| rest.strip_suffix("_frames"));
    number.is_some_and(|number| number.parse::<u16>().is_ok())
}

/// Frames of each receive queue, if there are several.
fn queues(samples: &[TimedSample], window: Window) -> Vec<SeriesColumn> {
    let rows = rows(samples, window);
    let count = samples.iter().map(|sample| sample.queue_frames.len()).max().unwrap_or(0);
    let queues = (0..count).filter(|_| count > 1);
    let column = |queue| {
        let frames = |row: &usize| {
            let frames = samples[*row].queue_frames.get(queue).copied().unwrap_or(0);
            i64::try_from(frames).unwrap_or(i64::MAX)
        };
        SeriesColumn::counts(queue_key(queue), rows.iter().map(frames).collect())
    };
    queues.map(column).collect()
}

/// Samples of the end that counts arrivals: in a round trip, the transmitter.
pub fn counting(record: &TrialRecord) -> Vec<SeriesColumn> {
    if is_round_trip(record) { transmitter(record) } else { receiver(record) }
}

fn is_round_trip(record: &TrialRecord) -> bool {
    record.result.as_ref().is_some_and(|result| result.direction.is_round_trip())
}

/// Bytes on layer 2, with the frame check sequence that the byte counters leave out, and with `gap` more
/// bytes a frame for layer 1.
fn frame_bytes(bytes: u64, frames: u64, gap: u64) -> u64 {
    bytes.saturating_add(frames.saturating_mul(u64::from(FCS_BYTES) + gap))
}

/// All counters at one instant; counters that the end does not have are 0.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    at_ns: i64,
    tx: TransmitCounters,
    rx: ReceiveCounters,
    port: PortCounters,
}

/// One end's rows.
struct End {
    window: Window,
    /// True when the port's own counters cover the whole trial.
    has_port: bool,
    points: Vec<Point>,
}

impl End {
    fn new(samples: &[TimedSample], window: Window) -> Self {
        // If a port was reset during the trial, its counters cover only a part; Linerate's own replace them
        // for the whole trial.
        let whole = samples.iter().all(|sample| sample.port.is_some());
        let point = |row: usize| {
            let sample = &samples[row];
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
        Self { window, has_port: whole, points: rows(samples, window).into_iter().map(point).collect() }
    }

    /// True unless the column is of what only the port counts, and it did not count all of it.
    fn knows(&self, column: &str) -> bool {
        self.has_port || !PORT_ALONE.contains(&column)
    }

    /// End time of row `row`: the last row ends with the window, though its counters were read later.
    fn end_ns(&self, row: usize) -> i64 {
        let read_ns = self.points[row].at_ns;
        if row + 1 == self.points.len() { read_ns.min(self.window.end_ns) } else { read_ns }
    }

    fn times(&self) -> [SeriesColumn; 2] {
        [
            SeriesColumn::counts(TIME_KEY, (0..self.points.len()).map(|row| self.end_ns(row)).collect()),
            SeriesColumn::counts(READ_KEY, self.points.iter().map(|point| point.at_ns).collect()),
        ]
    }

    fn total(&self, name: &'static str, counter: impl Fn(&Point) -> u64) -> SeriesColumn {
        let whole = |point: &Point| i64::try_from(counter(point)).unwrap_or(i64::MAX);
        SeriesColumn::counts(name, self.points.iter().map(whole).collect())
    }

    /// Rate rounded to the nearest whole number; 0 if no time has passed or the counter went back.
    fn per_second(&self, name: &'static str, counter: impl Fn(&Point) -> u64) -> SeriesColumn {
        let (mut earlier_ns, mut earlier) = (self.window.start_ns, 0);
        let (mut values, mut spans_ns) = (Vec::new(), Vec::new());
        for (row, point) in self.points.iter().enumerate() {
            let (end_ns, now) = (self.end_ns(row), counter(point));
            let counted = i128::from(now.saturating_sub(earlier));
            let elapsed_ns = i128::from(end_ns) - i128::from(earlier_ns);
            let rate = if elapsed_ns > 0 { (counted * NS_PER_S + elapsed_ns / 2) / elapsed_ns } else { 0 };
            values.push(i64::try_from(rate).unwrap_or(i64::MAX));
            spans_ns.push(i64::try_from(elapsed_ns.max(0)).unwrap_or(i64::MAX));
            (earlier_ns, earlier) = (earlier_ns.max(end_ns), now);
        }
        SeriesColumn { name: name.into(), values, spans_ns }
    }

    /// The counters of `table` with these keys.
    fn totals<T, const N: usize>(
        &self,
        keys: [&'static str; N],
        table: &[Counter<T>],
        of: fn(&Point) -> &T,
    ) -> [SeriesColumn; N] {
        keys.map(|key| {
            let count = named(table, key);
            self.total(key, |point| count(of(point)))
        })
    }

    /// Adds the counters of `table` whose keys are not among the `columns` yet.
    fn add_totals<T>(&self, columns: &mut Vec<SeriesColumn>, table: &[Counter<T>], of: fn(&Point) -> &T) {
        for counter in table {
            let Some(key) = counter.shown.column else { continue };
            if columns.iter().all(|column| column.name != key) {
                columns.push(self.total(key, |point| (counter.of)(of(point))));
            }
        }
    }

    /// Columns of the packets that came back in a round trip.
    fn received(&self) -> Vec<SeriesColumn> {
        let mut columns = vec![self.per_second("rx_pps", |point| point.rx.packets)];
        columns.extend(self.totals(RETURNED_KEYS, &ReceiveCounters::TABLE, |point| &point.rx));
        columns
    }

    fn port(&self) -> Vec<SeriesColumn> {
        let mut columns = self.totals(PORT_KEYS, &PortCounters::TABLE, |point| &point.port).to_vec();
        self.add_totals(&mut columns, &PortCounters::TABLE, |point| &point.port);
        if !self.has_port {
            columns.retain(|column| PORT_OURS.contains(&column.name.as_ref()));
        }
        columns
    }

    fn rate(&self, name: &'static str) -> SeriesColumn {
        let megabits = |mut bits: SeriesColumn| {
            bits.values.iter_mut().for_each(|bps| *bps = bps.saturating_add(500_000) / 1_000_000);
            bits
        };
        let port_bits = |bytes, frames| frame_bytes(bytes, frames, 0).saturating_mul(8);
        match name {
            "mbits_tx" => {
                megabits(self.per_second(name, |point| port_bits(point.port.tx_bytes, point.port.tx_packets)))
            }
            "mbits_rx" => {
                megabits(self.per_second(name, |point| port_bits(point.port.rx_bytes, point.port.rx_packets)))
            }
            "pkts_tx" => self.per_second(name, |point| point.port.tx_packets),
            "pkts_rx" => self.per_second(name, |point| point.port.rx_packets),
            other => {
                let count = named(&PortCounters::TABLE, &format!("port_{other}"));
                self.per_second(name, |point| count(&point.port))
            }
        }
    }
}

/// The counter with this key in exported samples.
fn named<T>(table: &[Counter<T>], key: &str) -> fn(&T) -> u64 {
    table.iter().find(|counter| counter.shown.column == Some(key)).map_or(|_| 0, |counter| counter.of)
}

/// Values of the column with this name; empty when there is none.
pub fn values<'c>(columns: &'c [SeriesColumn], name: &str) -> &'c [i64] {
    columns.iter().find(|column| column.name == name).map_or(&[], |column| &column.values)
}
