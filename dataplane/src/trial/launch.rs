//! Launch of a trial's loops.

use std::sync::Arc;

use super::active::Active;
use super::answering::Answering;
use super::error::TrialError;
use super::jobs::{Jobs, ReceiveOutcome, Reflected};
use super::link_watch::LinkWatch;
use super::plan::{Plans, Prepared};
use super::port_setup::PortSetup;
use super::port_watch::PortWatch;
use crate::dpdk::clock::TickClock;
use crate::dpdk::counter::SOURCE;
use crate::dpdk::error::DpdkError;
use crate::dpdk::id::LcoreId;
use crate::dpdk::queue::RxQueue;
use linerate_agent::cpu_time::{Looks, ThreadTime};
use linerate_measure::calibration::ClockEvent;
use linerate_measure::loops::counters::{ReceiveBlock, TransmitBlock};
use linerate_measure::loops::queue::{Clock, ReceiveQueue, RoundRobin};
use linerate_measure::loops::receive::receive;
use linerate_measure::loops::reflect::reflect;
use linerate_measure::loops::stop::Signal;
use linerate_measure::loops::transmit::transmit;
use linerate_wire::time::Absences;

/// Most bursts discarded before a trial: frames that wait in the receive queues belong to no trial.
const FLUSH_BURSTS: usize = 4096;

impl PortSetup<'_> {
    /// Measures the clock up to now. Returns notes: a counter that changed since this port's last
    /// measurement, even if another caller detected it, or a wrong frequency from DPDK.
    pub(super) fn recalibrate(&mut self) -> Vec<String> {
        let before = std::mem::replace(&mut self.clock_events, self.eal.recalibrate());
        let rate = self.tick_rate();
        self.clock = TickClock::new(self.eal, self.clock.idle());
        let changed = self.clock_events.since(&before).map(|event| match event {
            ClockEvent::Changed { before, now } => format!(
                "the counter {SOURCE} ran at {} Hz before and now runs at {} Hz: times of this trial are not exact",
                before.measured_hz, now.measured_hz
            ),
            ClockEvent::SetBack { from, to } => format!(
                "the counter {SOURCE} was set back from {from} to {to}: its frequency was not measured, the earlier one ({} Hz) is used, and \
                 times of this trial are wrong",
                rate.measured_hz
            ),
        });
        let wrong_frequency = rate.differs_from_stated().then(|| {
            format!("DPDK states a wrong frequency of the counter {SOURCE}, which is not used: {rate}")
        });
        changed.into_iter().chain(wrong_frequency).collect()
    }

    /// Launches the loops: a receiver counts from now on, a transmitter waits for the start.
    ///
    /// # Errors
    /// When statistics cannot be read or an lcore is busy.
    pub fn arm(&mut self, prepared: Prepared) -> Result<Active, TrialError> {
        self.answer_requests(None);
        if let Some(answering) = &mut self.answering {
            answering.begin();
        }
        for queue in self.rx.iter_mut().filter(|_| !self.port.reads_file()) {
            let mut burst = Default::default();
            for _ in 0..FLUSH_BURSTS {
                if queue.receive(&mut burst) == 0 {
                    break;
                }
            }
        }
        let watch = PortWatch::new(self.port.counters().ok());
        let interface = self.port_info().ok().and_then(|info| info.interface);
        let link = LinkWatch::new(interface.map(|interface| interface.name));
        self.before = self.port.extended_counters();
        let Prepared { order, plans } = prepared;
        let mut jobs = Jobs::new(plans.intended_pps);
        let signals = [Signal::default(), Signal::default()];
        let mut lcores = self.config.lcores.clone().into_iter();
        if let Err(error) = self.launch(plans, &signals, &mut lcores, &mut jobs) {
            // Loops already launched must be signalled to end before their jobs are dropped, since dropping
            // waits for them.
            signals.iter().for_each(Signal::stop);
            return Err(error.into());
        }
        Ok(Active::new(order, signals, jobs, (watch, link), (self.clock, self.quota.throttled())))
    }

    fn launch(
        &mut self,
        plans: Plans,
        [sending, receiving]: &[Signal; 2],
        lcores: &mut impl Iterator<Item = LcoreId>,
        jobs: &mut Jobs,
    ) -> Result<(), DpdkError> {
        jobs.planned = plans.planned;
        for (plan, lcore) in plans.transmit.into_iter().zip(&mut *lcores) {
            let mut queue = self.tx.remove(0);
            let block = Arc::<TransmitBlock>::default();
            let (clock, signal, published) = (self.clock, sending.clone(), block.clone());
            let job = self.eal.launch(lcore, move || {
                // The kernel's accounting of the worker begins with the trial, without the wait for it.
                while signal.is_silent() {
                    signal.send_waiting(&mut queue);
                    clock.relax();
                }
                let time = ThreadTime::now();
                let outcome = transmit(&mut queue, &clock, plan, &signal, &published);
                let time = time.until_now(lcore.0, looks(clock, outcome.longest_gap, None));
                (queue, outcome, time)
            })?;
            jobs.transmit.push((job, block));
        }
        // Every queue is served, even when there are more queues than lcores.
        let loops = plans.receive.len();
        let mut shares: Vec<Vec<RxQueue>> = plans.receive.iter().map(|_| Vec::new()).collect();
        if loops > 0 {
            self.rx.drain(..).enumerate().for_each(|(i, queue)| shares[i % loops].push(queue));
        }
        for ((mut analysis, share), lcore) in plans.receive.into_iter().zip(shares).zip(&mut *lcores) {
            let block = Arc::<ReceiveBlock>::default();
            let (clock, signal, published) = (self.clock, receiving.clone(), block.clone());
            let mut queues = served(share, jobs);
            let job = self.eal.launch(lcore, move || {
                let time = ThreadTime::now();
                let busy = receive(&mut queues, &clock, &mut analysis, &signal, &published);
                let time = time.until_now(lcore.0, looks(clock, busy.longest_gap, Some(busy.absences)));
                ReceiveOutcome { queues: queues.into_queues(), analysis, headroom: busy.headroom, time }
            })?;
            jobs.receive.push((job, block));
        }
        let loops = plans.reflectors;
        let mut shares: Vec<Vec<RxQueue>> = (0..loops).map(|_| Vec::new()).collect();
        if loops > 0 {
            self.rx.drain(..).enumerate().for_each(|(i, queue)| shares[i % loops].push(queue));
        }
        for (share, lcore) in shares.into_iter().zip(lcores) {
            let mut tx = self.tx.remove(0);
            let mut queues = served(share, jobs);
            let blocks = (Arc::<ReceiveBlock>::default(), Arc::<TransmitBlock>::default());
            let (clock, signal, published) = (self.clock, receiving.clone(), blocks.clone());
            let mailbox = self.answering.as_ref().map(Answering::mailbox);
            let job = self.eal.launch(lcore, move || {
                let time = ThreadTime::now();
                let blocks = (&*published.0, &*published.1);
                let outcome = reflect(&mut queues, &mut tx, &clock, &signal, blocks, mailbox.as_ref());
                let time = time.until_now(lcore.0, looks(clock, outcome.longest_gap, Some(outcome.absences)));
                Reflected { queues: queues.into_queues(), tx, outcome, time }
            })?;
            jobs.reflect.push((job, blocks));
        }
        Ok(())
    }
}

fn looks(clock: TickClock, longest_gap: u64, absences: Option<Absences>) -> Looks {
    Looks { longest_gap_s: clock.seconds(longest_gap), absences }
}

/// Queues of one lcore; their frame counts are published during the trial.
fn served(queues: Vec<RxQueue>, jobs: &mut Jobs) -> RoundRobin<RxQueue> {
    let indexes = queues.iter().map(RxQueue::index).collect();
    let queues = RoundRobin::new(queues);
    jobs.queues.push((indexes, queues.frames()));
    queues
}
