//! A trial whose loops run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use hugepage_check::cpu_limit::Throttled;
use linerate_wire::counters::{PortCounters, ReceiveCounters, Sample, TransmitCounters};
use linerate_wire::report::{Ended, Part, TrialReport};
use linerate_wire::time::{ClockReading, TrialClock, WorkerTime};

use super::answering::Answering;
use super::bench::{Bench, Order, TrialError};
use super::link_watch::LinkWatch;
use super::port_watch::PortWatch;
use super::report::{
    Planned, disagreements, missed_load, receive_report, reflect_report, spread_note, transmit_report,
    unchecked_note,
};
use crate::dpdk::clock::TickClock;
use crate::dpdk::lcore::{Job, JobPanicked, LcoreId};
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::host::monotonic_ns;
use linerate_measure::analysis::Analysis;
use linerate_measure::flow_table::FlowTable;
use linerate_measure::loops::counters::{ReceiveBlock, TransmitBlock};
use linerate_measure::loops::queue::{Clock, QueueFrames};
use linerate_measure::loops::reflect::ReflectOutcome;
use linerate_measure::loops::stop::Signal;
use linerate_measure::loops::transmit::TransmitOutcome;

/// Drivers may update their statistics late; they get this long to agree with ours.
const STATISTICS_SETTLE: Duration = Duration::from_millis(200);
const STATISTICS_POLL: Duration = Duration::from_millis(5);

/// A transmitting job gives back its queue; its counters can be read meanwhile.
pub(super) type TransmitJob = (Job<(TxQueue, TransmitOutcome, WorkerTime)>, Arc<TransmitBlock>);
/// What a transmitting job has left behind.
type SentJob = (LcoreId, Result<(TransmitOutcome, WorkerTime), JobPanicked>, Arc<TransmitBlock>);
/// A receiving job likewise.
pub(super) type ReceiveJob = (Job<ReceiveOutcome>, Arc<ReceiveBlock>);

/// What a receiving loop leaves behind.
#[derive(Debug)]
pub(super) struct ReceiveOutcome {
    pub(super) queues: Vec<RxQueue>,
    pub(super) analysis: Analysis,
    /// Share of the time, 0…1, in which there was nothing to receive.
    pub(super) headroom: f64,
    pub(super) time: WorkerTime,
}

/// A reflecting job gives back its queues.
pub(super) type ReflectJob = (Job<Reflected>, (Arc<ReceiveBlock>, Arc<TransmitBlock>));

/// What a reflecting loop leaves behind.
#[derive(Debug)]
pub(super) struct Reflected {
    pub(super) queues: Vec<RxQueue>,
    pub(super) tx: TxQueue,
    pub(super) outcome: ReflectOutcome,
    pub(super) time: WorkerTime,
}

/// The loops of a trial.
#[derive(Debug)]
pub(super) struct Jobs {
    pub(super) transmit: Vec<TransmitJob>,
    /// Those that have ended and given back their queues, in the same order.
    sent: Vec<SentJob>,
    pub(super) intended_pps: Option<f64>,
    pub(super) planned: Planned,
    pub(super) receive: Vec<ReceiveJob>,
    pub(super) reflect: Vec<ReflectJob>,
    /// Frames per receive queue, by the queues' numbers, for each lcore that has some.
    pub(super) queues: Vec<(Vec<u16>, QueueFrames)>,
}

/// What a trial leaves behind.
#[derive(Debug)]
pub struct Finished {
    /// Its account.
    pub report: TrialReport,
    /// Every flow; `None` on one that did not examine what it received.
    pub flows: Option<FlowTable>,
}

impl Jobs {
    pub(super) fn new(intended_pps: Option<f64>) -> Self {
        Self {
            transmit: Vec::new(),
            sent: Vec::new(),
            intended_pps,
            planned: Planned::default(),
            receive: Vec::new(),
            reflect: Vec::new(),
            queues: Vec::new(),
        }
    }

    fn sending_is_over(&self) -> bool {
        self.transmit.iter().all(|(job, _)| job.is_finished())
    }

    fn all_are_over(&self) -> bool {
        self.sending_is_over()
            && self.receive.iter().all(|(job, _)| job.is_finished())
            && self.reflect.iter().all(|(job, _)| job.is_finished())
    }

    fn received(&self) -> Option<ReceiveCounters> {
        let blocks = self.receive.iter().map(|(_, block)| block);
        let blocks = blocks.chain(self.reflect.iter().map(|(_, (block, _))| block));
        (!self.receive.is_empty() || !self.reflect.is_empty()).then(|| blocks.map(|block| block.read()).sum())
    }

    /// Frames per receive queue, queue 0 first.
    fn queue_frames(&self) -> Vec<u64> {
        let lcores = self.queues.iter();
        let mut queues: Vec<(u16, u64)> = lcores
            .flat_map(|(indexes, frames)| indexes.iter().copied().zip(frames.iter()))
            .map(|(index, frames)| (index, frames.load(Ordering::Relaxed)))
            .collect();
        queues.sort_unstable();
        queues.into_iter().map(|(_, frames)| frames).collect()
    }

    /// The counters of lcores that send of themselves, in the order of the report.
    fn senders(&self) -> impl Iterator<Item = &TransmitBlock> {
        let sent = self.sent.iter().map(|(_, _, block)| &**block);
        sent.chain(self.transmit.iter().map(|(_, block)| &**block))
    }

    /// Packets sent by each of them.
    fn sent_per_lcore(&self) -> Vec<u64> {
        self.senders().map(|block| block.read().packets).collect()
    }

    fn sent(&self) -> Option<TransmitCounters> {
        let blocks = self.senders().chain(self.reflect.iter().map(|(_, (_, block))| &**block));
        let mut blocks = blocks.map(TransmitBlock::read).peekable();
        blocks.peek().is_some().then(|| blocks.sum())
    }

    /// Waits for the lcores that send of themselves, and gives their queues back to the bench.
    fn join_senders(&mut self, bench: &mut Bench<'_>) {
        for (job, block) in self.transmit.drain(..) {
            let lcore = job.lcore();
            let left = job.join().map(|(queue, outcome, time)| {
                bench.tx.insert(self.sent.len().min(bench.tx.len()), queue);
                (outcome, time)
            });
            self.sent.push((lcore, left, block));
        }
    }
}

/// Whose packets a trial receives, and how many each lcore of the sender sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sender {
    /// Somebody who did not tell what was sent.
    #[default]
    Unknown,
    /// The peer; packets per TX lcore, in the order of its report.
    Peer(Vec<u64>),
    /// The port itself: its packets come back.
    Itself,
}

/// A trial whose loops are launched. Dropping it stops them.
#[derive(Debug)]
pub struct Active {
    order: Order,
    sender: Sender,
    /// To those that send.
    sending: Signal,
    /// To the others.
    receiving: Signal,
    jobs: Option<Jobs>,
    watch: PortWatch,
    link: LinkWatch,
    clock: TickClock,
    started: ClockReading,
    /// What the CPU quota had done before.
    throttled: Vec<Throttled>,
}

/// When the counter will show, or showed, `ticks`, on the raw monotonic clock.
fn monotonic_ns_at(reading: ClockReading, ticks: u64, tick_hz: u64) -> u64 {
    let later = i128::from(ticks) - i128::from(reading.ticks);
    let later_ns = later * 1_000_000_000 / i128::from(tick_hz.max(1));
    u64::try_from(i128::from(reading.raw_ns) + later_ns).unwrap_or(0)
}

/// What the counter will show at an instant of the raw monotonic clock; now when that has passed.
fn ticks_at(reading: ClockReading, monotonic_ns: u64, tick_hz: u64) -> u64 {
    let later_ns = u128::from(monotonic_ns.saturating_sub(reading.raw_ns));
    let ticks = later_ns * u128::from(tick_hz) / 1_000_000_000;
    reading.ticks.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
}

impl Active {
    pub(super) fn new(
        order: Order,
        [sending, receiving]: [Signal; 2],
        jobs: Jobs,
        watch: PortWatch,
        (clock, throttled): (TickClock, Vec<Throttled>),
    ) -> Self {
        let started = clock.reading();
        Self {
            order,
            sender: Sender::Unknown,
            sending,
            receiving,
            jobs: Some(jobs),
            watch,
            link: LinkWatch::default(),
            clock,
            started,
            throttled,
        }
    }

    /// Lets a transmitter send.
    pub fn start(&mut self) {
        self.start_at(0);
    }

    /// Lets a transmitter send from that instant of the raw monotonic clock on; at once when it has passed.
    pub fn start_at(&mut self, monotonic_ns: u64) {
        self.started = self.clock.reading();
        self.sending.go_at(ticks_at(self.started, monotonic_ns, self.clock.tick_hz()));
    }

    /// Lets the loops end at their next turn.
    pub fn stop(&self) {
        self.sending.stop();
        self.receiving.stop();
    }

    /// Lets the loops that send end at their next turn; the others go on.
    pub fn stop_sending(&self) {
        self.sending.stop();
    }

    /// The trial's name.
    pub fn trial(&self) -> u32 {
        self.order.trial
    }

    /// True when all loops have ended: those that send by their limits or the stop, the others by the stop.
    pub fn is_finished(&self) -> bool {
        self.jobs.as_ref().is_none_or(Jobs::all_are_over)
    }

    /// True when nothing more will be sent.
    pub fn sending_is_over(&self) -> bool {
        self.jobs.as_ref().is_none_or(Jobs::sending_is_over)
    }

    /// What the agent does in this trial.
    pub fn part(&self) -> Part {
        self.order.work.part()
    }

    /// Answers what was asked of the port's addresses.
    pub fn tend(&mut self, bench: &mut Bench<'_>) {
        if let Some(jobs) = self.jobs.as_mut().filter(|jobs| bench.answers() && jobs.sending_is_over()) {
            // Nobody looks after what waits for loops that have ended, and their queues are free.
            jobs.join_senders(bench);
            bench.send_left(&self.sending);
        }
        // Whichever loop has the transmit queue sends what it cannot send itself.
        bench.tend(Some(if self.part() == Part::Reflect { &self.receiving } else { &self.sending }));
    }

    /// What has been received so far; zeros on a transmitter.
    pub fn received(&self) -> ReceiveCounters {
        self.jobs.as_ref().and_then(Jobs::received).unwrap_or_default()
    }

    /// What has been sent so far; zeros on a receiver.
    pub fn sent(&self) -> TransmitCounters {
        self.jobs.as_ref().and_then(Jobs::sent).unwrap_or_default()
    }

    /// Looks at the link, when it is time to; called more often than that while the trial runs.
    /// `now_ns` is on the raw monotonic clock.
    pub fn look_at_link(&mut self, bench: &Bench<'_>, now_ns: u64) {
        if self.link.is_due(now_ns) {
            self.link.look(now_ns, bench.port.link_up());
        }
    }

    /// What each lcore has sent so far, in the order of the report; empty on a receiver.
    pub fn sent_per_lcore(&self) -> Vec<u64> {
        self.jobs.as_ref().map(Jobs::sent_per_lcore).unwrap_or_default()
    }

    /// Tells whose packets arrive: the report then has what each flow lost of those that were sent.
    pub fn receives_from(&mut self, sender: Sender) {
        self.sender = sender;
    }

    /// All counters now.
    pub fn sample(&mut self, bench: &Bench<'_>) -> Sample {
        Sample {
            trial: self.order.trial,
            at_ns: monotonic_ns(),
            transmit: self.jobs.as_ref().and_then(Jobs::sent),
            receive: self.jobs.as_ref().and_then(Jobs::received),
            queue_frames: self.jobs.as_ref().map(Jobs::queue_frames).unwrap_or_default(),
            port: self.port_counters(bench),
        }
    }

    fn port_counters(&mut self, bench: &Bench<'_>) -> Option<PortCounters> {
        self.watch.look(bench.port.counters().ok())
    }

    /// Ends the loops, gives the queues back to the bench, and accounts for everything. `ended` says why, unless a
    /// transmitter reached its limits.
    ///
    /// # Errors
    /// When a loop panicked.
    pub fn finish(mut self, bench: &mut Bench<'_>, ended: Ended) -> Result<Finished, TrialError> {
        self.stop();
        let mut report = TrialReport {
            trial: self.order.trial,
            role: self.part(),
            ended,
            started_ns: self.started.raw_ns,
            ended_ns: 0,
            last_arrival_ns: None,
            transmit: None,
            receive: None,
            port: None,
            disagreements: Vec::new(),
            notes: Vec::new(),
            lcores: Vec::new(),
            clock: None,
            workers: Vec::new(),
            throttling: None,
        };
        let mut flows = None;
        if let Some(jobs) = self.jobs.take() {
            let began;
            (began, flows) = collect(jobs, &self.sender, bench, &mut report)?;
            if let Some(ticks) = began {
                report.started_ns = monotonic_ns_at(self.started, ticks, bench.tick_hz());
            }
        }
        let (start, end) = (self.started, self.clock.reading());
        report.clock = Some(TrialClock { start, end, rate: bench.tick_rate() });
        report.throttling = bench.quota.since(&self.throttled);
        report.notes.extend(missed_load(&report));
        report.ended_ns = monotonic_ns();
        report.notes.extend(self.link.note(report.ended_ns));
        report.notes.extend(bench.answering.as_ref().and_then(Answering::note));
        let here = bench.answering.as_ref().map_or((0, 0), Answering::sent);
        let own = own_frames([self.sending.own_frames(), self.receiving.own_frames(), here]);
        let began = Instant::now();
        loop {
            report.port = self.port_counters(bench);
            if let Some(trouble) = self.watch.trouble() {
                report.disagreements = vec![trouble];
                return Ok(Finished { report, flows });
            }
            report.disagreements = disagreements(&report, own);
            if report.disagreements.is_empty() || began.elapsed() >= STATISTICS_SETTLE {
                return Ok(Finished { report, flows });
            }
            sleep(STATISTICS_POLL);
        }
    }
}

/// Frames of the port's own and their bytes, together.
fn own_frames(parts: [(u64, u64); 3]) -> (u64, u64) {
    parts.into_iter().fold((0, 0), |(frames, bytes), (more, more_bytes)| (frames + more, bytes + more_bytes))
}

/// Waits for the loops, gives their queues back to the bench, and fills the report in. What is left is the tick at which sending began, and every
/// flow.
fn collect(
    mut jobs: Jobs,
    sender: &Sender,
    bench: &mut Bench<'_>,
    report: &mut TrialReport,
) -> Result<(Option<u64>, Option<FlowTable>), TrialError> {
    jobs.join_senders(bench);
    let (sent, receive) = (std::mem::take(&mut jobs.sent), std::mem::take(&mut jobs.receive));
    let (reflect, intended_pps) = (std::mem::take(&mut jobs.reflect), jobs.intended_pps);
    let (mut sending, mut receiving, mut reflecting) = (Vec::new(), Vec::new(), Vec::new());
    for (lcore, left, _) in sent {
        report.lcores.push(lcore.0);
        let (outcome, time) = left?;
        report.workers.push(time);
        sending.push(outcome);
    }
    for (job, _) in receive {
        report.lcores.push(job.lcore().0);
        let mut outcome = job.join()?;
        bench.rx.append(&mut outcome.queues);
        report.workers.push(outcome.time);
        receiving.push(outcome);
    }
    for (job, _) in reflect {
        report.lcores.push(job.lcore().0);
        let mut reflected = job.join()?;
        bench.rx.append(&mut reflected.queues);
        bench.tx.insert(reflecting.len(), reflected.tx);
        report.workers.push(reflected.time);
        reflecting.push(reflected.outcome);
    }
    let queue_frames = jobs.queue_frames();
    // The loops have ended: what they counted in ticks becomes time by the frequency measured up to now.
    report.notes.extend(bench.recalibrate());
    let tick_hz = bench.tick_hz();
    let began = sending.iter().map(|outcome: &TransmitOutcome| outcome.began).min();
    let mut flows = None;
    bench.rx.sort_by_key(RxQueue::index);
    if !sending.is_empty() {
        let limits: Option<Vec<Ended>> = sending.iter().map(|outcome| outcome.limit).collect();
        if receiving.is_empty() {
            report.ended = limits.and_then(|limits| limits.last().copied()).unwrap_or(report.ended);
        }
        let transmit = transmit_report(&sending, intended_pps, &jobs.planned, tick_hz);
        report.notes.extend(jobs.planned.notes(&transmit));
        report.transmit = Some(transmit);
    }
    if !receiving.is_empty() {
        report.notes.extend(spread_note(bench.rx.len(), bench.port.spread()));
        let sent = match sender {
            Sender::Unknown => &[][..],
            Sender::Peer(packets_per_lcore) => packets_per_lcore,
            Sender::Itself => {
                report.transmit.as_ref().map_or(&[][..], |transmit| &transmit.packets_per_lcore)
            }
        };
        (report.receive, flows) = receive_report(receiving, queue_frames, tick_hz, sent).unzip();
        report.notes.extend(report.receive.as_ref().and_then(unchecked_note));
    } else if !reflecting.is_empty() {
        let (transmit, receive) = reflect_report(&reflecting, queue_frames, tick_hz);
        (report.transmit, report.receive) = (Some(transmit), Some(receive));
    }
    Ok((began, flows))
}

impl Drop for Active {
    fn drop(&mut self) {
        // The jobs' own drop waits for them, so they must have been told to end.
        self.stop();
    }
}
