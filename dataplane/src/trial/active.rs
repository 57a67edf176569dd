//! A trial whose loops run.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linerate_protocol::counters::{PortCounters, ReceiveCounters, Sample, TransmitCounters};
use linerate_protocol::report::{Ended, TrialReport};
use linerate_protocol::trial::Role;

use super::bench::{Bench, Order, TrialError};
use super::port_watch::PortWatch;
use super::report::{disagreements, receive_report, spread_note, transmit_report};
use crate::core::analysis::Analysis;
use crate::dpdk::lcore::Job;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::host::monotonic_ns;
use crate::loops::counters::{ReceiveBlock, TransmitBlock};
use crate::loops::stop::Signal;
use crate::loops::transmit::TransmitOutcome;

/// Drivers may update their statistics late; they get this long to agree with ours.
const STATISTICS_SETTLE: Duration = Duration::from_millis(200);
const STATISTICS_POLL: Duration = Duration::from_millis(5);

/// A transmitting job gives back its queue; its counters can be read meanwhile.
pub(super) type TransmitJob = (Job<(TxQueue, TransmitOutcome)>, Arc<TransmitBlock>);
/// A receiving job likewise.
pub(super) type ReceiveJob = (Job<ReceiveOutcome>, Arc<ReceiveBlock>);

/// What a receiving loop leaves behind.
#[derive(Debug)]
pub(super) struct ReceiveOutcome {
    pub(super) queues: Vec<RxQueue>,
    /// Frames from each of them, by the queue's number.
    pub(super) frames: Vec<(u16, u64)>,
    pub(super) analysis: Analysis,
    /// Share of the time, 0…1, in which there was nothing to receive.
    pub(super) headroom: f64,
}

#[derive(Debug)]
pub(super) struct Transmitting {
    pub(super) jobs: Vec<TransmitJob>,
    pub(super) intended_pps: Option<f64>,
}

#[derive(Debug)]
pub(super) enum Jobs {
    Transmit(Transmitting),
    Receive(Vec<ReceiveJob>),
}

/// A trial whose loops are launched. Dropping it stops them.
#[derive(Debug)]
pub struct Active {
    order: Order,
    signal: Signal,
    jobs: Option<Jobs>,
    watch: PortWatch,
    started_ns: u64,
}

impl Active {
    pub(super) fn new(order: Order, signal: Signal, jobs: Jobs, watch: PortWatch) -> Self {
        Self { order, signal, jobs: Some(jobs), watch, started_ns: monotonic_ns() }
    }

    /// Lets a transmitter send.
    pub fn start(&mut self) {
        self.started_ns = monotonic_ns();
        self.signal.go();
    }

    /// Lets the loops end at their next turn.
    pub fn stop(&self) {
        self.signal.stop();
    }

    /// The trial's name.
    pub fn trial(&self) -> u32 {
        self.order.trial
    }

    /// True when all loops have ended: a transmitter's by its limits or the stop, a receiver's by the stop.
    pub fn is_finished(&self) -> bool {
        match &self.jobs {
            Some(Jobs::Transmit(transmitting)) => transmitting.jobs.iter().all(|(job, _)| job.is_finished()),
            Some(Jobs::Receive(jobs)) => jobs.iter().all(|(job, _)| job.is_finished()),
            None => true,
        }
    }

    /// True for a trial that receives.
    pub fn is_receiver(&self) -> bool {
        matches!(self.jobs, Some(Jobs::Receive(_)))
    }

    /// What has been received so far; zeros on a transmitter.
    pub fn received(&self) -> ReceiveCounters {
        match &self.jobs {
            Some(Jobs::Receive(jobs)) => jobs.iter().map(|(_, block)| block.read()).sum(),
            _ => ReceiveCounters::default(),
        }
    }

    fn sent(&self) -> Option<TransmitCounters> {
        match &self.jobs {
            Some(Jobs::Transmit(transmitting)) => {
                Some(transmitting.jobs.iter().map(|(_, block)| block.read()).sum())
            }
            _ => None,
        }
    }

    /// All counters now.
    pub fn sample(&mut self, bench: &Bench<'_>) -> Sample {
        let transmit = self.sent();
        Sample {
            trial: self.order.trial,
            at_ns: monotonic_ns(),
            receive: transmit.is_none().then(|| self.received()),
            transmit,
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
    pub fn finish(mut self, bench: &mut Bench<'_>, ended: Ended) -> Result<TrialReport, TrialError> {
        self.signal.stop();
        let mut report = TrialReport {
            trial: self.order.trial,
            role: Role::Tx,
            ended,
            started_ns: self.started_ns,
            ended_ns: 0,
            transmit: None,
            receive: None,
            port: None,
            disagreements: Vec::new(),
            notes: Vec::new(),
            lcores: Vec::new(),
        };
        match self.jobs.take() {
            Some(Jobs::Transmit(Transmitting { jobs, intended_pps })) => {
                let mut outcomes = Vec::new();
                for (job, _) in jobs {
                    report.lcores.push(job.lcore().0);
                    let (queue, outcome) = job.join()?;
                    bench.tx.insert(outcomes.len(), queue);
                    outcomes.push(outcome);
                }
                let limits: Option<Vec<Ended>> = outcomes.iter().map(|outcome| outcome.limit).collect();
                report.ended = limits.and_then(|limits| limits.last().copied()).unwrap_or(ended);
                report.transmit = Some(transmit_report(&outcomes, intended_pps, bench.tick_hz()));
            }
            Some(Jobs::Receive(jobs)) => {
                report.role = Role::Rx;
                let mut outcomes = Vec::new();
                for (job, _) in jobs {
                    report.lcores.push(job.lcore().0);
                    let mut outcome = job.join()?;
                    bench.rx.append(&mut outcome.queues);
                    outcomes.push(outcome);
                }
                bench.rx.sort_by_key(RxQueue::index);
                report.notes.extend(spread_note(bench.rx.len(), bench.port.spread()));
                report.receive = receive_report(outcomes, bench.tick_hz());
            }
            None => {}
        }
        report.ended_ns = monotonic_ns();
        let began = Instant::now();
        loop {
            report.port = self.port_counters(bench);
            if let Some(trouble) = self.watch.trouble() {
                report.disagreements = vec![trouble];
                return Ok(report);
            }
            report.disagreements = disagreements(&report);
            if report.disagreements.is_empty() || began.elapsed() >= STATISTICS_SETTLE {
                return Ok(report);
            }
            sleep(STATISTICS_POLL);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // The jobs' own drop waits for them, so they must have been told to end.
        self.signal.stop();
    }
}
