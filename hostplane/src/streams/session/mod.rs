//! One end of a trial: its streams, from the first socket to the report.

mod account;
mod ending;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use linerate_wire::streams::{Protocol, SendingEnd, StreamEnd, StreamEndKind, TcpInfo, TcpPoint};

use crate::streams::counters::StreamCounters;
use crate::streams::dialect::Dialect;
use crate::streams::host::HostWatch;
use crate::streams::look::{DatagramDrain, Progress};
use crate::streams::pool::Pool;
use crate::streams::receiving::UdpReceiver;
use crate::streams::report::{EndReport, EndSample, SentCounts};
use crate::streams::socket::{canonical, fragments, peer};
use crate::streams::tcp_info::tcp_info;
use crate::streams::worker::{FromWorker, Left, Order};
use crate::streams::{EndPlan, Stream};
use crate::sys::sockopt;

/// Most streams of which a sample has each one.
pub(crate) const MOST_STREAMS_OF_SAMPLE: usize = 256;
/// Longest wait for a worker's last report: workers never block.
const LEAVE_TIME: Duration = Duration::from_secs(10);
/// Time between two looks at the kernel's accounts of streams that are ending, in nanoseconds.
const LOOK_NS: u64 = 100_000_000;

#[derive(Debug)]
struct Attached {
    stream: Arc<Stream>,
    /// Local and peer's address.
    addresses: (Option<SocketAddr>, Option<SocketAddr>),
    worker: usize,
    drops_before: Option<u32>,
    /// Bytes at the last sample.
    sampled_bytes: u64,
    end: Option<StreamEnd>,
}

impl Attached {
    fn counts(&self) -> StreamCounters {
        self.stream.counters.read()
    }
}

/// One end of a trial.
#[derive(Debug)]
pub(crate) struct Session {
    pool: Arc<Pool>,
    plan: Arc<EndPlan>,
    /// True at the end that makes the connections.
    connects: bool,
    streams: BTreeMap<u32, Attached>,
    reports: Sender<FromWorker>,
    reported: Receiver<FromWorker>,
    /// Start on this end's clock, and the other end's clock less this one's.
    started: Option<(u64, i64)>,
    host: Option<HostWatch>,
    sender_workers: BTreeSet<usize>,
    sending_ends: Vec<(SendingEnd, u64)>,
    /// What the other end sent.
    expected: Option<SentCounts>,
    drain: Option<DatagramDrain>,
    received_all: bool,
    next_look_ns: u64,
    /// Progress of the streams that this end sends, and of those that it receives, after their senders have ended.
    progress: [Option<Progress>; 2],
    notes: Vec<String>,
    /// True when the workers have been told to leave the trial.
    leaving: bool,
    left: Vec<Left>,
    /// Seconds for which each sending stream's socket was full.
    full_s: HashMap<u32, f64>,
    /// The receivers of UDP streams.
    udp: HashMap<u32, UdpReceiver>,
    placement: Placement,
}

/// The workers of a trial.
#[derive(Debug, Clone, Copy)]
enum Placement {
    /// One takes all streams.
    One(usize),
    /// This one takes the first stream, and the others follow in turn.
    Turn(usize),
}

impl Session {
    /// A session whose streams the workers take in turn.
    pub(crate) fn new(pool: Arc<Pool>, plan: EndPlan, connects: bool) -> Self {
        let streams = plan.id.directions.total_streams(plan.spec.streams);
        let placement = Placement::Turn(pool.first_worker(streams as usize));
        Self::at(placement, pool, plan, connects)
    }

    /// A session of whose streams one worker takes all.
    pub(crate) fn on_worker(worker: usize, pool: Arc<Pool>, plan: EndPlan, connects: bool) -> Self {
        Self::at(Placement::One(worker), pool, plan, connects)
    }

    fn at(placement: Placement, pool: Arc<Pool>, plan: EndPlan, connects: bool) -> Self {
        let (reports, reported) = channel();
        Self {
            pool,
            plan: Arc::new(plan),
            connects,
            streams: BTreeMap::new(),
            reports,
            reported,
            started: None,
            host: None,
            sender_workers: BTreeSet::new(),
            sending_ends: Vec::new(),
            expected: None,
            drain: None,
            received_all: false,
            next_look_ns: 0,
            progress: [None; 2],
            notes: Vec::new(),
            leaving: false,
            left: Vec::new(),
            full_s: HashMap::new(),
            udp: HashMap::new(),
            placement,
        }
    }

    /// True when this end sends a stream.
    pub(crate) fn sends(&self, number: u32) -> bool {
        self.plan.sends_stream(number)
    }

    /// Hands a connected socket to a worker.
    pub(crate) fn attach(&mut self, number: u32, socket: OwnedFd) {
        let sends = self.plan.sends_stream(number);
        let addresses = addresses(&socket);
        if let Some(peer) = addresses.1.filter(|_| sends && self.sender_workers.is_empty()) {
            self.notes.extend(fragments(peer, &self.plan.spec));
        }
        let stream = Stream::new(number, sends, socket);
        let worker = match self.placement {
            Placement::One(worker) => worker,
            Placement::Turn(first) => self.pool.in_turn(first + number as usize),
        };
        if sends {
            self.sender_workers.insert(worker);
        }
        let drops_before = self.drops(&stream);
        let order = Order::Attach {
            plan: Arc::clone(&self.plan),
            stream: Arc::clone(&stream),
            reports: self.reports.clone(),
        };
        let attached = Attached { stream, addresses, worker, drops_before, sampled_bytes: 0, end: None };
        self.streams.insert(number, attached);
        self.pool.order(worker, order);
        if let Some((at_ns, peer_ahead_ns)) = self.started {
            let session = self.plan.id.session;
            self.pool.order(worker, Order::Start { session, at_ns, peer_ahead_ns });
        }
    }

    fn is_tcp(&self) -> bool {
        self.plan.spec.protocol == Protocol::Tcp
    }

    fn drops(&self, stream: &Stream) -> Option<u32> {
        if stream.sends || self.is_tcp() { None } else { sockopt::socket_drops(&stream.socket).ok() }
    }

    fn workers(&self) -> BTreeSet<usize> {
        self.streams.values().map(|attached| attached.worker).collect()
    }

    fn order_all(&self, order: impl Fn() -> Order) {
        self.workers().into_iter().for_each(|worker| self.pool.order(worker, order()));
    }

    /// Measures the CPU time of this process and its host from now on.
    pub(crate) fn watch_host(&mut self) {
        self.host = Some(HostWatch::begin());
    }

    /// Starts the senders at an instant of the raw monotonic clock. `peer_ahead_ns`: the other end's clock less
    /// this one's.
    pub(crate) fn start(&mut self, at_ns: u64, peer_ahead_ns: i64) {
        self.started = Some((at_ns, peer_ahead_ns));
        let session = self.plan.id.session;
        self.order_all(|| Order::Start { session, at_ns, peer_ahead_ns });
    }

    /// Ends the sending of this end.
    pub(crate) fn stop_sending(&self) {
        let session = self.plan.id.session;
        self.order_all(|| Order::StopSending { session });
    }

    /// Takes note of what the other end sent: everything that is still to come has been sent.
    pub(crate) fn expect(&mut self, counts: SentCounts) {
        self.read_reports();
        if !self.is_tcp() {
            let now_ns = monotonic_ns();
            let (received, _) = self.received();
            let sent: u64 = counts.datagrams.iter().sum();
            let longest_ns = received.delay_sum_ns / received.datagrams.max(1) * 2;
            let elapsed_ns = now_ns.saturating_sub(self.start_ns().unwrap_or(now_ns));
            self.drain = Some(DatagramDrain::new(sent, longest_ns, elapsed_ns / sent.max(1), now_ns));
        }
        self.expected = Some(counts);
    }

    fn start_ns(&self) -> Option<u64> {
        self.started.map(|(at_ns, _)| at_ns)
    }

    /// Waits for nothing more: datagrams that are there count, connections end when they make no progress.
    pub(crate) fn end_receiving(&mut self) {
        self.received_all = true;
        self.expected.get_or_insert_default();
    }

    /// First copies and duplicates of datagrams that have arrived.
    pub(crate) fn received_datagrams(&self) -> (u64, u64) {
        let (sum, _) = self.received();
        (sum.datagrams, sum.duplicates)
    }

    /// Sum of the receivers' counters, and number of receiving streams.
    fn received(&self) -> (StreamCounters, usize) {
        let receivers = self.streams.values().filter(|attached| !attached.stream.sends);
        receivers.fold((StreamCounters::default(), 0), |(sum, number), attached| {
            let counts = attached.counts();
            let sum = StreamCounters {
                bytes: sum.bytes + counts.bytes,
                datagrams: sum.datagrams + counts.datagrams,
                calls: sum.calls + counts.calls,
                duplicates: sum.duplicates + counts.duplicates,
                reordered: sum.reordered + counts.reordered,
                missing: sum.missing + counts.missing,
                foreign: sum.foreign + counts.foreign,
                delay_sum_ns: sum.delay_sum_ns.saturating_add(counts.delay_sum_ns),
                jitter_ns: sum.jitter_ns.max(counts.jitter_ns),
                first_ns: [sum.first_ns, counts.first_ns].into_iter().filter(|ns| *ns > 0).min().unwrap_or(0),
                last_ns: sum.last_ns.max(counts.last_ns),
                ..sum
            };
            (sum, number + 1)
        })
    }

    fn read_reports(&mut self) {
        while let Ok(report) = self.reported.try_recv() {
            self.take(report);
        }
    }

    fn take(&mut self, report: FromWorker) {
        match report {
            FromWorker::SendingOver { end, at_ns } => self.sending_ends.push((end, at_ns)),
            FromWorker::StreamEnded { stream, end } => {
                if let Some(attached) = self.streams.get_mut(&stream) {
                    attached.end.get_or_insert(end);
                }
            }
            FromWorker::Note(note) => self.notes.push(note),
            FromWorker::Left(mut left) => {
                self.full_s.extend(left.senders.drain(..));
                self.udp.extend(left.receivers.drain(..));
                self.left.push(*left);
            }
        }
    }

    /// Attends to the end of the trial. Must be called every few milliseconds.
    pub(crate) fn look(&mut self) {
        self.read_reports();
        let now_ns = monotonic_ns();
        if let Some(drain) = &mut self.drain
            && !self.received_all
        {
            let receivers = self.streams.values().filter(|attached| !attached.stream.sends);
            let (packets, duplicates) = receivers.fold((0, 0), |(packets, duplicates), attached| {
                let counts = attached.counts();
                (packets + counts.datagrams, duplicates + counts.duplicates)
            });
            self.received_all = drain.is_over(now_ns, packets, duplicates).is_some();
        }
        if self.is_tcp() && now_ns >= self.next_look_ns {
            self.next_look_ns = now_ns + LOOK_NS;
            self.give_up_stalled(now_ns);
        }
    }

    /// True when no stream of this end sends any more. What was written may still be on its way.
    pub(crate) fn sending_is_over(&self) -> bool {
        self.sending_ends.len() >= self.sender_workers.len()
    }

    /// True when every stream of this end has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.sending_is_over()
            && self.streams.values().all(|attached| {
                attached.end.is_some() || !attached.stream.sends && !self.is_tcp() && self.received_all
            })
    }

    /// What this end has sent.
    pub(crate) fn sent_counts(&self) -> SentCounts {
        let senders = || self.streams.values().filter(|attached| attached.stream.sends);
        let datagrams = senders().filter(|_| !self.is_tcp()).map(|attached| attached.counts().datagrams);
        SentCounts {
            bytes: senders().map(|attached| attached.counts().bytes).collect(),
            datagrams: datagrams.collect(),
        }
    }

    /// The counters of each stream at this instant, in the order of their numbers.
    pub(crate) fn stream_counts(&self) -> Vec<(u32, StreamCounters)> {
        self.streams.iter().map(|(number, attached)| (*number, attached.counts())).collect()
    }

    /// Measures until now, at the end of interval `index`.
    pub(crate) fn sample(&mut self, index: u32) -> EndSample {
        self.read_reports();
        let now_ns = monotonic_ns();
        let mut sample = EndSample {
            index,
            at_ns: now_ns.saturating_sub(self.start_ns().unwrap_or(now_ns)),
            cpu_ns: self.host.as_ref().map_or(0, HostWatch::cpu_ns),
            throttled_ns: self.host.as_ref().and_then(HostWatch::throttled_ns),
            ..EndSample::default()
        };
        let each = self.streams.len() <= MOST_STREAMS_OF_SAMPLE;
        let tcp = self.is_tcp();
        for (number, attached) in &mut self.streams {
            let counts = attached.counts();
            if attached.stream.sends {
                let sent = sample.sent.get_or_insert_default();
                sent.bytes += counts.bytes;
                sent.datagrams += counts.datagrams;
                let info = Some(&attached.stream.socket).filter(|_| tcp).and_then(|fd| tcp_info(fd).ok());
                if let Some(info) = info {
                    *sent.retransmits.get_or_insert(0) += u64::from(info.retransmits);
                    if each {
                        sent.streams.push(point(*number, counts.bytes, &info));
                    }
                }
            } else {
                let received = sample.received.get_or_insert_default();
                received.bytes += counts.bytes;
                received.datagrams += counts.datagrams;
                received.duplicates += counts.duplicates;
                received.reordered += counts.reordered;
                received.missing += counts.missing;
                received.delay_sum_ns = received.delay_sum_ns.saturating_add(counts.delay_sum_ns);
                received.jitter_ns = received.jitter_ns.max(counts.jitter_ns);
                received.alive += u32::from(counts.bytes != attached.sampled_bytes);
                if each {
                    received.stream_bytes.push(counts.bytes);
                }
            }
            attached.sampled_bytes = counts.bytes;
        }
        sample
    }

    /// Ends all streams, whatever their state, and returns the account. `unfinished` is the reason for which
    /// streams that have not ended are given up; with iperf3's streams it is empty after an end in order.
    pub(crate) fn finish(mut self, unfinished: &str) -> EndReport {
        let (cpu, throttling) = self.host.as_ref().map(HostWatch::read).unwrap_or_default();
        let session = self.plan.id.session;
        let workers = self.workers();
        self.read_reports();
        self.leaving = true;
        self.order_all(|| Order::Leave { session });
        while self.left.len() < workers.len() {
            match self.reported.recv_timeout(LEAVE_TIME) {
                Ok(report) => self.take(report),
                Err(_) => {
                    self.notes.push("a worker did not report; its part is missing".to_owned());
                    break;
                }
            }
        }
        let told = self.plan.dialect != Dialect::Own && unfinished.is_empty();
        let ended = |attached: &Attached| match (&attached.end, attached.stream.sends || self.is_tcp()) {
            (Some(end), _) => end.clone(),
            (None, false) if self.received_all => StreamEnd::complete(),
            // The control connection told the end.
            (None, _) if told => StreamEnd::complete(),
            (None, _) => StreamEnd::because(StreamEndKind::GivenUp, unfinished),
        };
        let sending = self.streams.values().any(|attached| attached.stream.sends);
        let receiving = self.streams.values().any(|attached| !attached.stream.sends);
        EndReport {
            sending: sending.then(|| self.sending_report(ended)),
            receiving: receiving.then(|| self.receiving_report(ended)),
            workers: self.left.iter().map(|left| left.time).collect(),
            throttling,
            cpu,
            notes: self.notes.clone(),
        }
    }
}

impl Drop for Session {
    /// A trial that is given up before its end leaves no stream at a worker.
    fn drop(&mut self) {
        let session = self.plan.id.session;
        if !self.leaving {
            self.order_all(|| Order::Leave { session });
        }
    }
}

/// Local and peer's address of a socket.
fn addresses(socket: &OwnedFd) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let local = rustix::net::getsockname(socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
    (local.map(canonical), peer(socket))
}

/// One sending TCP stream, of which the kernel took `bytes`.
pub(crate) fn point(stream: u32, bytes: u64, info: &TcpInfo) -> TcpPoint {
    TcpPoint {
        stream,
        bytes,
        retransmits: info.retransmits,
        rtt_us: info.rtt_us,
        rttvar_us: info.rttvar_us,
        cwnd_bytes: u64::from(info.cwnd_segments) * u64::from(info.mss),
        delivery_rate: info.delivery_rate,
        busy_us: info.busy_us,
        window_limited_us: info.window_limited_us,
        buffer_limited_us: info.buffer_limited_us,
    }
}
