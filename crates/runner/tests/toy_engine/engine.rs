//! A second engine, to show what one takes: frames as UDP datagrams on loopback. A thread sends them, a thread counts them, and the
//! "Ethernet address" of the port says which UDP port it is. No DPDK, no lcores; the same frames, pacer and account of what is received.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use hugepage_check::requirements::Requirements;
use linerate_agent::engine::{Engine, EngineError, Finished, FlowReader, TickCounter};
use linerate_agent::host::monotonic_ns;
use linerate_measure::analysis::{Analysis, Expect};
use linerate_measure::flows::{FrameWriter, Slots};
use linerate_measure::frame::{Frames, HEAD_BYTES};
use linerate_measure::loops::counters::{ReceiveBlock, TransmitBlock};
use linerate_measure::loss_timeline::SenderTimes;
use linerate_measure::pacer::{Load, Pacer};
use linerate_measure::recognise::PortVerdict;
use linerate_traffic::mac::MacAddr;
use linerate_wire::counters::{ReceiveCounters, TransmitCounters};
use linerate_wire::engine::{EngineInfo, FrameEngine};
use linerate_wire::message::Sent;
use linerate_wire::network::NextHop;
use linerate_wire::port::PortInfo;
use linerate_wire::report::{
    Ended, FlowRow, FrameReport, Part, ReceiveReport, Report, ReportDetail, TransmitReport,
};
use linerate_wire::sample::{FrameMeasures, Measures};
use linerate_wire::time::{SendingTimes, TickRate};
use linerate_wire::trial::{FrameWork, ReceiveSpec, RoleSpec, TransmitSpec, Work};

/// Ticks are nanoseconds of the raw monotonic clock.
const TICK_HZ: u64 = 1_000_000_000;

/// A UDP socket as a port.
pub(crate) struct ToyEngine {
    socket: UdpSocket,
    requirements: Requirements,
}

/// A trial whose frames can be written.
pub(crate) struct Planned {
    trial: u32,
    part: Part,
    send: Option<Sending>,
    receive: Option<Analysis>,
}

/// What the sending thread does.
struct Sending {
    writer: FrameWriter,
    load: Load,
    spec: TransmitSpec,
    to: SocketAddr,
}

/// How sending went.
struct Outcome {
    began: u64,
    ended: u64,
    limit: Option<Ended>,
}

/// A trial whose threads run.
pub(crate) struct Running {
    trial: u32,
    part: Part,
    intended_pps: Option<f64>,
    orders: Arc<Orders>,
    sender: Option<JoinHandle<Outcome>>,
    receiver: Option<JoinHandle<Analysis>>,
    sent: Arc<TransmitBlock>,
    received: Arc<ReceiveBlock>,
    sent_per_worker: Vec<u64>,
    sending: Option<SendingTimes>,
    started_ns: u64,
}

/// What the threads are told.
#[derive(Default)]
struct Orders {
    /// When to begin; 0: not yet.
    from_ns: AtomicU64,
    stop: AtomicBool,
}

/// One buffer.
struct Slot<'a>(&'a mut [u8], &'a mut usize);

impl Slots for Slot<'_> {
    fn each(self, mut write: impl FnMut(&mut [u8]) -> u16) -> usize {
        *self.1 = usize::from(write(self.0));
        1
    }
}

impl ToyEngine {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Self { socket, requirements: Requirements::default() }
    }

    fn mac(&self) -> MacAddr {
        let [high, low] = self.socket.local_addr().unwrap().port().to_be_bytes();
        MacAddr([2, 0, 0, 0, high, low])
    }

    fn plan_sending(&self, tag: u16, spec: &TransmitSpec) -> Result<Sending, EngineError> {
        let frames = Frames::new(&spec.profile, self.mac(), spec.peer_mac);
        let stages = spec.profile.load(None).map_err(|error| EngineError::refused(&error))?;
        let stages = stages.ok_or_else(|| EngineError::Refused("this engine needs a rate".into()))?;
        let writer = FrameWriter::new(&spec.profile, &frames, tag, 0, 1);
        let port = u16::from_be_bytes([spec.peer_mac.0[4], spec.peer_mac.0[5]]);
        Ok(Sending {
            writer: writer.ok_or_else(|| EngineError::Refused("there are no flows".into()))?,
            load: Load::Stages { stages, burst: spec.profile.burst() },
            spec: spec.clone(),
            to: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }
}

/// Sends until a limit or the order to stop.
fn send(mut sending: Sending, socket: &UdpSocket, orders: &Orders, published: &TransmitBlock) -> Outcome {
    while !orders.stop.load(Ordering::Acquire)
        && !matches!(orders.from_ns.load(Ordering::Acquire), 1.. if monotonic_ns() >= orders.from_ns.load(Ordering::Acquire))
    {
        sleep(Duration::from_micros(100));
    }
    let began = monotonic_ns();
    let limit = sending.spec.limit;
    let deadline = limit.duration_ms.map_or(u64::MAX, |ms| began + ms * 1_000_000);
    let template = Frames::new(&sending.spec.profile, MacAddr([0; 6]), sending.spec.peer_mac).template();
    let mut room = template;
    room.resize(room.len().max(HEAD_BYTES), 0);
    let mut pacer = Pacer::new(&sending.load, TICK_HZ, began);
    let mut totals = TransmitCounters::default();
    loop {
        let now = monotonic_ns();
        if now >= deadline {
            return Outcome { began, ended: deadline, limit: Some(Ended::Duration) };
        }
        if orders.stop.load(Ordering::Acquire) {
            return Outcome { began, ended: now, limit: None };
        }
        for _ in 0..pacer.due(now) {
            if limit.packets == Some(totals.packets) {
                return Outcome { began, ended: now, limit: Some(Ended::Packets) };
            }
            let mut length = 0;
            sending.writer.write(Slot(&mut room, &mut length), monotonic_ns());
            if socket.send_to(&room[..length], sending.to).is_ok() {
                totals.packets += 1;
                totals.bytes += length as u64;
            }
            pacer.took(1);
        }
        published.publish(&totals);
        sleep(Duration::from_micros(200));
    }
}

/// Counts until the order to stop, and then what has already arrived.
fn receive(
    mut analysis: Analysis,
    socket: &UdpSocket,
    orders: &Orders,
    published: &ReceiveBlock,
) -> Analysis {
    let mut room = [0; 2048];
    loop {
        match socket.recv(&mut room) {
            Ok(length) => {
                analysis.observe(&room[..length], length as u32, PortVerdict::Unknown, monotonic_ns());
                published.publish(&analysis.counters(1.0));
            }
            Err(_) if orders.stop.load(Ordering::Acquire) => return analysis,
            Err(_) => {}
        }
    }
}

impl Engine for ToyEngine {
    type Prepared = Planned;
    type Active = Running;

    fn describe(&self) -> Result<EngineInfo, EngineError> {
        let port = PortInfo {
            port: 0,
            device: "udp".into(),
            driver: "toy".into(),
            mac: self.mac(),
            numa_node: None,
            link_bps: None,
            link_up: true,
            max_rx_queues: 1,
            max_tx_queues: 1,
            mtu: 1500,
            rx_descriptors: (1, 1),
            tx_descriptors: (1, 1),
            kernel_driver: None,
            firmware: None,
            max_mtu: None,
            interface: None,
        };
        let (dpdk, lcores, no_huge) = ("none".into(), vec![1], true);
        Ok(EngineInfo::Frames(Box::new(FrameEngine { dpdk, port, lcores, no_huge, network: None })))
    }

    fn counter(&self) -> TickCounter {
        TickCounter {
            source: "monotonic".into(),
            rate: TickRate::new(TICK_HZ, TICK_HZ, 0.0),
            invariant: true,
        }
    }

    fn is_ready(&self) -> Result<bool, EngineError> {
        Ok(true)
    }

    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn next_hop(&mut self, to: IpAddr) -> Result<NextHop, EngineError> {
        Err(EngineError::Refused(format!("{to}: this engine's port has no addresses")))
    }

    fn prepare(&mut self, trial: u32, work: &Work) -> Result<Planned, EngineError> {
        let work = work.frames().unwrap();
        let FrameWork { tag, role } = work;
        let analysis =
            |spec: &ReceiveSpec| Analysis::new(Expect::Trial { tag: work.received_tag(), flows: spec.flows });
        let (part, send, receive) = match role {
            RoleSpec::Transmit(spec) => (Part::Tx, Some(self.plan_sending(*tag, spec)?), None),
            RoleSpec::Receive(spec) => (Part::Rx, None, Some(analysis(spec))),
            RoleSpec::Exchange(spec, expect) => {
                (Part::Exchange, Some(self.plan_sending(*tag, spec)?), Some(analysis(expect)))
            }
            RoleSpec::Reflect => return Err(EngineError::Refused("this engine sends nothing back".into())),
        };
        Ok(Planned { trial, part, send, receive })
    }

    fn arm(
        &mut self,
        Planned { trial, part, send: sending, receive: analysis }: Planned,
    ) -> Result<Running, EngineError> {
        let socket = || self.socket.try_clone().map_err(|error| EngineError::failed(&error));
        let (orders, sent, received) =
            (Arc::<Orders>::default(), Arc::<TransmitBlock>::default(), Arc::<ReceiveBlock>::default());
        let seconds = |spec: &TransmitSpec| spec.limit.duration_ms.map(|ms| ms as f64 / 1e3);
        let intended_pps = sending.as_ref().map(|sending| sending.load.mean_pps(seconds(&sending.spec)));
        let mut running = Running {
            trial,
            part,
            intended_pps,
            orders: orders.clone(),
            sender: None,
            receiver: None,
            sent: sent.clone(),
            received: received.clone(),
            sent_per_worker: Vec::new(),
            sending: None,
            started_ns: monotonic_ns(),
        };
        if let Some(analysis) = analysis {
            let (socket, orders) = (socket()?, orders.clone());
            running.receiver = Some(spawn(move || receive(analysis, &socket, &orders, &received)));
        }
        if let Some(sending) = sending {
            let socket = socket()?;
            running.sender = Some(spawn(move || send(sending, &socket, &orders, &sent)));
        }
        Ok(running)
    }

    fn start_at(&mut self, active: &mut Running, at_ns: u64) {
        active.orders.from_ns.store(at_ns.max(1), Ordering::Release);
    }

    fn sample(&mut self, active: &mut Running) -> Measures {
        let received = active.receiver.is_some().then(|| active.received.read());
        let frames = FrameMeasures {
            transmit: active.sender.is_some().then(|| active.sent.read()),
            receive: received,
            queue_frames: received.iter().map(|counters| counters.frames).collect(),
            port: None,
        };
        Measures::Frames(Box::new(frames))
    }

    fn received(&self, active: &Running) -> Option<ReceiveCounters> {
        active.receiver.is_some().then(|| active.received.read())
    }

    fn sending_is_over(&self, active: &Running) -> Option<Sent> {
        let over =
            active.part == Part::Exchange && active.sender.as_ref().is_some_and(JoinHandle::is_finished);
        let packets = active.sent.read().packets;
        over.then(|| Sent { trial: active.trial, packets, packets_per_lcore: vec![packets], sending: None })
    }

    fn expect(&mut self, active: &mut Running, sent_per_lcore: Vec<u64>, sending: Option<SendingTimes>) {
        (active.sent_per_worker, active.sending) = (sent_per_lcore, sending);
    }

    fn stop(&mut self, active: &mut Running) {
        active.orders.stop.store(true, Ordering::Release);
    }

    fn is_over(&self, active: &Running) -> bool {
        active.sender.as_ref().is_none_or(JoinHandle::is_finished)
            && active.receiver.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn finish(&mut self, mut active: Running, mut ended: Ended) -> Result<Finished, EngineError> {
        self.stop(&mut active);
        let mut frames = FrameReport { lcores: vec![1], ..FrameReport::new(active.part) };
        let mut started_ns = monotonic_ns();
        if let Some(sender) = active.sender.take() {
            let outcome = sender.join().map_err(|_| EngineError::Failed("the sender panicked".into()))?;
            started_ns = outcome.began;
            ended = outcome.limit.filter(|_| active.part == Part::Tx).unwrap_or(ended);
            let counters = active.sent.read();
            let duration_s = (outcome.ended - outcome.began) as f64 / 1e9;
            frames.transmit = Some(TransmitReport {
                counters,
                intended_pps: active.intended_pps,
                offered_pps: counters.packets as f64 / duration_s,
                duration_s,
                packets_per_lcore: vec![counters.packets],
                ..TransmitReport::default()
            });
        }
        let mut flows: Option<FlowReader> = None;
        if let Some(receiver) = active.receiver.take() {
            let analysis =
                receiver.join().map_err(|_| EngineError::Failed("the receiver panicked".into()))?;
            let counters = analysis.counters(1.0);
            let mut report = ReceiveReport {
                counters,
                sequence_gaps: analysis.sequence_gaps(),
                beyond_window: analysis.beyond_memory(),
                latency: analysis.delays().read_delays(TICK_HZ),
                packets_per_lcore: vec![counters.packets],
                frames_per_queue: vec![counters.frames],
                foreign: analysis.foreign(),
                reordering: analysis.reordering(),
                ..ReceiveReport::default()
            };
            let table = analysis.into_flows(TICK_HZ);
            report.silent_flows = table.silent(&active.sent_per_worker);
            report.worst_flows = table.worst(&active.sent_per_worker);
            let times = SenderTimes { own_start: active.started_ns, own_hz: TICK_HZ, told: active.sending };
            let sent: u64 = active.sent_per_worker.iter().sum();
            let lost = sent.saturating_sub(counters.packets);
            report.loss = table.loss_timeline(lost, &active.sent_per_worker, &times);
            frames.receive = Some(report);
            flows = Some(Box::new(move |flow| table.report(flow).map(|flow| FlowRow::from(&flow))));
        }
        let detail = ReportDetail::Frames(Box::new(frames));
        let report =
            Report { ended_ns: monotonic_ns(), ..Report::new(active.trial, ended, started_ns, detail) };
        Ok(Finished { report, flows })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Release);
    }
}
