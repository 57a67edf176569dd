//! A running trial.

use std::thread::sleep;
use std::time::{Duration, Instant};

use hugepage_check::cpu_limit::Throttled;
use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::report::{Ended, FrameReport, Part, Report};
use linerate_wire::sample::FrameMeasures;
use linerate_wire::time::{ClockReading, SendingTimes, TrialClock};

use super::answering::Answering;
use super::error::TrialError;
use super::jobs::Jobs;
use super::link_watch::LinkWatch;
use super::order::Order;
use super::port_setup::PortSetup;
use super::port_watch::PortWatch;
use super::report::{
    PortReport, disagreements, late_note, missed_load, receive_report, reflect_report, spread_note,
    transmit_report,
};
use crate::dpdk::clock::TickClock;
use crate::dpdk::queue::RxQueue;
use crate::host::monotonic_ns;
use linerate_measure::flow_table::FlowTable;
use linerate_measure::loops::queue::Clock;
use linerate_measure::loops::stop::Signal;
use linerate_measure::loops::transmit::TransmitOutcome;
use linerate_measure::loss_timeline::SenderTimes;

/// Time limit for drivers that update their statistics late, until the port's counters agree with Linerate's.
const STATISTICS_SETTLE: Duration = Duration::from_millis(200);
const STATISTICS_POLL: Duration = Duration::from_millis(5);

/// Results of a trial.
#[derive(Debug)]
pub struct Finished {
    /// The report.
    pub report: PortReport,
    /// Results of every flow; `None` for a trial that did not analyse received frames.
    pub flows: Option<FlowTable>,
}

/// Sender of the packets that a trial receives, and the number of packets that each of its lcores sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sender {
    /// A sender whose packet counts are unknown.
    #[default]
    Unknown,
    /// The peer: packets per TX lcore, in the order of its report, and when it sent, if that is known.
    Peer(Vec<u64>, Option<SendingTimes>),
    /// The port itself: its packets come back.
    Itself,
}

/// A trial whose loops are launched. Dropping it stops them.
#[derive(Debug)]
pub struct Active {
    order: Order,
    sender: Sender,
    /// Signal to the sending loops.
    sending: Signal,
    /// Signal to the other loops.
    receiving: Signal,
    jobs: Option<Jobs>,
    watch: PortWatch,
    link: LinkWatch,
    clock: TickClock,
    started: ClockReading,
    /// Ticks at which sending begins.
    go: u64,
    /// Throttling counters of the CPU quota before the trial.
    throttled: Vec<Throttled>,
}

/// Instant of the raw monotonic clock at which the counter shows `ticks`.
fn monotonic_ns_at(reading: ClockReading, ticks: u64, tick_hz: u64) -> u64 {
    let later = i128::from(ticks) - i128::from(reading.ticks);
    let later_ns = later * 1_000_000_000 / i128::from(tick_hz.max(1));
    u64::try_from(i128::from(reading.raw_ns) + later_ns).unwrap_or(0)
}

/// Counter value at an instant of the raw monotonic clock; the present value for a past instant.
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
        (watch, link): (PortWatch, LinkWatch),
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
            link,
            clock,
            started,
            go: started.ticks,
            throttled,
        }
    }

    /// Starts sending.
    pub fn start(&mut self) {
        self.start_at(0);
    }

    /// Starts sending at that instant of the raw monotonic clock; at once when it has passed.
    pub fn start_at(&mut self, monotonic_ns: u64) {
        self.started = self.clock.reading();
        self.go = ticks_at(self.started, monotonic_ns, self.clock.tick_hz());
        self.sending.go_at(self.go);
    }

    /// Ends the loops at their next iteration.
    pub fn stop(&self) {
        self.sending.stop();
        self.receiving.stop();
    }

    /// Ends the sending loops at their next iteration; the others continue.
    pub fn stop_sending(&self) {
        self.sending.stop();
    }

    /// Number of the trial.
    pub fn trial(&self) -> u32 {
        self.order.trial
    }

    /// True when all loops have ended: sending loops by their limits or the stop, the others by the stop.
    pub fn is_finished(&self) -> bool {
        self.jobs.as_ref().is_none_or(Jobs::all_are_over)
    }

    /// True when all sending loops have ended.
    pub fn sending_is_over(&self) -> bool {
        self.jobs.as_ref().is_none_or(Jobs::sending_is_over)
    }

    /// The agent's part in this trial.
    pub fn part(&self) -> Part {
        self.order.task.part()
    }

    /// Answers requests for the port's addresses.
    pub fn answer_requests(&mut self, setup: &mut PortSetup<'_>) {
        if let Some(jobs) = self.jobs.as_mut().filter(|jobs| setup.answers() && jobs.sending_is_over()) {
            // This thread sends the frames that wait for ended loops, whose queues are free.
            jobs.join_senders(&mut setup.tx);
            setup.send_left(&self.sending);
        }
        // The loop with the transmit queue sends the frames that this thread cannot send.
        setup.answer_requests(Some(if self.part() == Part::Reflect {
            &self.receiving
        } else {
            &self.sending
        }));
    }

    /// Receive counters so far; zeros on a transmitter.
    pub fn received(&self) -> ReceiveCounters {
        self.jobs.as_ref().and_then(Jobs::received).unwrap_or_default()
    }

    /// Transmit counters so far; zeros on a receiver.
    pub fn sent(&self) -> TransmitCounters {
        self.jobs.as_ref().and_then(Jobs::sent).unwrap_or_default()
    }

    /// Checks the link if its interval has passed; may be called more often. `now_ns` is on the raw monotonic
    /// clock.
    pub fn look_at_link(&mut self, setup: &PortSetup<'_>, now_ns: u64) {
        if self.link.is_due(now_ns) {
            let lacks_interface = self.link.has_interface() && setup.port.lacks_interface();
            self.link.look(now_ns, setup.port.link_up(), lacks_interface);
        }
    }

    /// Packets that each lcore has sent so far, in the order of the report; empty on a receiver.
    pub fn sent_per_lcore(&self) -> Vec<u64> {
        self.jobs.as_ref().map(Jobs::sent_per_lcore).unwrap_or_default()
    }

    /// When this agent sent, if it has just ended sending.
    pub fn sending_so_far(&self, setup: &PortSetup<'_>) -> SendingTimes {
        SendingTimes { tick_hz: setup.tick_hz(), began_ticks: self.go, ended_ticks: self.clock.ticks() }
    }

    /// Sets the sender of the received packets, so that the report has each flow's loss.
    pub fn receives_from(&mut self, sender: Sender) {
        self.sender = sender;
    }

    /// All counters now.
    pub fn sample(&mut self, setup: &PortSetup<'_>) -> FrameMeasures {
        FrameMeasures {
            transmit: self.jobs.as_ref().and_then(Jobs::sent),
            receive: self.jobs.as_ref().and_then(Jobs::received),
            queue_frames: self.jobs.as_ref().map(Jobs::queue_frames).unwrap_or_default(),
            port: self.port_counters(setup),
        }
    }

    fn port_counters(&mut self, setup: &PortSetup<'_>) -> Option<PortCounters> {
        self.watch.look(setup.port.counters().ok())
    }

    /// Ends the loops, returns the queues to the port set-up, and creates the report. `ended` is the reason, unless
    /// a transmitter reached its limits.
    ///
    /// # Errors
    /// When a loop panicked.
    pub fn finish(mut self, setup: &mut PortSetup<'_>, ended: Ended) -> Result<Finished, TrialError> {
        self.stop();
        let detail = FrameReport::new(self.part());
        let mut report = Report::new(self.order.trial, ended, self.started.raw_ns, detail);
        let mut flows = None;
        if let Some(jobs) = self.jobs.take() {
            let began;
            (began, flows) = collect(jobs, (&self.sender, self.started.ticks), setup, &mut report)?;
            if let Some(ticks) = began {
                report.started_ns = monotonic_ns_at(self.started, ticks, setup.tick_hz());
            }
        }
        let (start, end) = (self.started, self.clock.reading());
        report.clock = Some(TrialClock { start, end, rate: setup.tick_rate() });
        report.throttling = setup.quota.since(&self.throttled);
        report.notes.extend(missed_load(&report));
        report.ended_ns = monotonic_ns();
        report.notes.extend(self.link.notes(report.started_ns, report.ended_ns));
        report.notes.extend(setup.answering.as_ref().and_then(Answering::note));
        let here = setup.answering.as_ref().map_or((0, 0), Answering::sent);
        let own = own_frames([self.sending.own_frames(), self.receiving.own_frames(), here]);
        let began = Instant::now();
        loop {
            report.detail.port = self.port_counters(setup);
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

/// The port's own frames and their bytes, summed.
fn own_frames(parts: [(u64, u64); 3]) -> (u64, u64) {
    parts.into_iter().fold((0, 0), |(frames, bytes), (more, more_bytes)| (frames + more, bytes + more_bytes))
}

/// Waits for the loops, returns their queues to the port set-up, and completes the report. Returns the tick at
/// which sending began, and the results of every flow.
fn collect(
    mut jobs: Jobs,
    (sender, own_start): (&Sender, u64),
    setup: &mut PortSetup<'_>,
    report: &mut PortReport,
) -> Result<(Option<u64>, Option<FlowTable>), TrialError> {
    jobs.join_senders(&mut setup.tx);
    let (sent, receive) = (std::mem::take(&mut jobs.sent), std::mem::take(&mut jobs.receive));
    let (reflect, intended_pps) = (std::mem::take(&mut jobs.reflect), jobs.intended_pps);
    let (mut sending, mut receiving, mut reflecting) =
        (Vec::<TransmitOutcome>::new(), Vec::new(), Vec::new());
    for (lcore, left, _) in sent {
        report.detail.lcores.push(lcore.0);
        let (outcome, time) = left?;
        report.workers.push(time);
        sending.push(outcome);
    }
    for (job, _) in receive {
        report.detail.lcores.push(job.lcore().0);
        let mut outcome = job.join()?;
        setup.rx.append(&mut outcome.queues);
        report.workers.push(outcome.time);
        receiving.push(outcome);
    }
    for (job, _) in reflect {
        report.detail.lcores.push(job.lcore().0);
        let mut reflected = job.join()?;
        setup.rx.append(&mut reflected.queues);
        setup.tx.insert(reflecting.len(), reflected.tx);
        report.workers.push(reflected.time);
        reflecting.push(reflected.outcome);
    }
    let queue_frames = jobs.queue_frames();
    // The loops have ended: their ticks are converted to time by the frequency measured up to now.
    report.notes.extend(setup.recalibrate());
    let tick_hz = setup.tick_hz();
    for (outcome, time) in sending.iter_mut().zip(&report.workers) {
        outcome.count_sleep(time, tick_hz);
    }
    let began = sending.iter().map(|outcome| outcome.began).min();
    let sent_until = sending.iter().map(|outcome| outcome.ended).max();
    let own_sending = began.zip(sent_until).map(|(began_ticks, ended_ticks)| SendingTimes {
        tick_hz,
        began_ticks,
        ended_ticks,
    });
    let mut flows = None;
    setup.rx.sort_by_key(RxQueue::index);
    if !sending.is_empty() {
        let limits: Option<Vec<Ended>> = sending.iter().map(|outcome| outcome.limit).collect();
        if receiving.is_empty() {
            report.ended = limits.and_then(|limits| limits.last().copied()).unwrap_or(report.ended);
        }
        let transmit = transmit_report(&sending, intended_pps, &jobs.planned, tick_hz);
        report.notes.extend(jobs.planned.notes(&transmit));
        report.notes.extend(late_note(&sending, tick_hz));
        report.detail.transmit = Some(transmit);
    }
    if !receiving.is_empty() {
        report.notes.extend(spread_note(setup.rx.len(), setup.port.spread()));
        let (sent, told) = match sender {
            Sender::Unknown => (&[][..], None),
            Sender::Peer(packets_per_lcore, sending) => (&packets_per_lcore[..], *sending),
            Sender::Itself => {
                let transmit = report.detail.transmit.as_ref();
                (transmit.map_or(&[][..], |transmit| &transmit.packets_per_lcore), own_sending)
            }
        };
        let times = SenderTimes { own_start, own_hz: tick_hz, told };
        if let Some(received) = receive_report(receiving, queue_frames, sent, &times) {
            (report.detail.receive, flows) = (Some(received.report), Some(received.flows));
            report.notes.extend(received.notes);
        }
    } else if !reflecting.is_empty() {
        let (transmit, receive) = reflect_report(&reflecting, queue_frames, tick_hz);
        (report.detail.transmit, report.detail.receive) = (Some(transmit), Some(receive));
    }
    Ok((began, flows))
}

impl Drop for Active {
    fn drop(&mut self) {
        // Dropping a job waits for its end, so the jobs must have been signalled to end.
        self.stop();
    }
}
