//! Interface between the agent and the engine that sends and receives traffic.

use std::net::IpAddr;

use hugepage_check::requirements::Requirements;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::engine::EngineInfo;
use linerate_wire::message::Sent;
use linerate_wire::network::NextHop;
use linerate_wire::report::{Ended, FlowRow, Report};
use linerate_wire::sample::Measures;
use linerate_wire::time::{SendingTimes, TickRate};
use linerate_wire::trial::Work;

/// Engine that runs the traffic of one trial after another on its port.
///
/// The agent calls the methods in this order: [`prepare`](Self::prepare), [`arm`](Self::arm),
/// [`start_at`](Self::start_at); then [`background_work`](Self::background_work) and [`look`](Self::look) every few milliseconds where
/// [`needs_looks`](Self::needs_looks) says so, [`sample`](Self::sample) at the controller's interval; at the end [`stop`](Self::stop),
/// [`sample`](Self::sample) once [`is_over`](Self::is_over), and [`finish`](Self::finish). The agent may
/// discard a trial after any of these. It calls all methods on one thread; except for
/// [`next_hop`](Self::next_hop), none waits for the network.
///
/// Traffic runs on the engine's own threads, so a blocked agent thread does not stop it.
pub trait Engine {
    /// A planned trial with its memory allocated. Dropping it discards the trial.
    type Prepared;
    /// A trial with its workers launched. Dropping it ends them.
    type Active;

    /// The present state of the engine and its port.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when the port does not respond.
    fn describe(&self) -> Result<EngineInfo, EngineError>;

    /// The counter from which the engine reads times.
    fn counter(&self) -> TickCounter;

    /// True when the port's link is up.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when the port does not respond.
    fn is_ready(&self) -> Result<bool, EngineError>;

    /// The engine's requirements for the machine; a preflight request checks them.
    fn requirements(&self) -> &Requirements;

    /// Finds the next hop towards an address. It may take seconds.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when there is no route, or the next hop does not answer.
    fn next_hop(&mut self, to: IpAddr) -> Result<NextHop, EngineError>;

    /// Plans the trial of this number and allocates its memory. The agent has made all checks that do not need
    /// a port.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when the work cannot be done as specified, or is of another engine's kind;
    /// [`EngineError::Failed`] when the engine is broken.
    fn prepare(&mut self, trial: u32, work: &Work) -> Result<Self::Prepared, EngineError>;

    /// Launches the workers: a receiver counts from now on, a transmitter waits for its start.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when a worker cannot be launched.
    fn arm(&mut self, prepared: Self::Prepared) -> Result<Self::Active, EngineError>;

    /// Starts the senders at that instant of [`monotonic_ns`](crate::host::monotonic_ns); at once when it has
    /// passed.
    fn start_at(&mut self, active: &mut Self::Active, at_ns: u64);

    /// True when [`background_work`](Self::background_work) must be called often, even while no trial runs.
    fn has_background_work(&self) -> bool {
        false
    }

    /// Frequent work, such as answering for the port's addresses. `None`: no trial is armed or running.
    fn background_work(&mut self, _active: Option<&mut Self::Active>) {}

    /// True when [`look`](Self::look) must be called often during this trial. If false, the agent looks ten times a second, and its samples are
    /// late by as much; requests are handled at once in any case.
    fn needs_looks(&self, _active: &Self::Active) -> bool {
        true
    }

    /// Monitors state that may change during a trial, such as the link. `now_ns` is
    /// [`monotonic_ns`](crate::host::monotonic_ns).
    fn look(&mut self, _active: &mut Self::Active, _now_ns: u64) {}

    /// Measures of the trial, cumulative since it was armed.
    fn sample(&mut self, active: &mut Self::Active) -> Measures;

    /// Receive counters so far, for the drain; `None` for a trial without a drain: it only sends, or does not
    /// know what to expect.
    fn received(&self, active: &Self::Active) -> Option<ReceiveCounters>;

    /// Sent packets of a trial that goes on receiving, once it has sent all of them. `None` before that, and
    /// for any other trial, whose end implies it.
    fn sending_is_over(&self, active: &Self::Active) -> Option<Sent>;

    /// Gives a receiver the number of packets that each worker of the sender sent, so that its report has
    /// each flow's loss, and the time of sending, so that it has the times of losses.
    fn expect(&mut self, active: &mut Self::Active, sent_per_lcore: Vec<u64>, sending: Option<SendingTimes>);

    /// Ends the workers as soon as possible, without waiting for them.
    fn stop(&mut self, active: &mut Self::Active);

    /// True when all workers have ended, by their limits or by [`stop`](Self::stop).
    fn is_over(&self, active: &Self::Active) -> bool;

    /// Ends the remaining workers and returns the results. `ended` is the reason, unless a transmitter
    /// reached its limits before.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when a worker failed: there are no results.
    fn finish(&mut self, active: Self::Active, ended: Ended) -> Result<Finished, EngineError>;
}

/// Counter from which the times of packets are read.
#[derive(Debug, Clone, PartialEq)]
pub struct TickCounter {
    /// Name, such as `tsc`.
    pub source: String,
    /// Nominal and measured frequency.
    pub rate: TickRate,
    /// True when the counter runs at one rate on all CPUs, whatever their power state.
    pub invariant: bool,
}

/// Results of a trial.
pub struct Finished {
    /// The report. The agent adds the time of the last arrival.
    pub report: Report,
    /// Reader of one flow's results by its number, if the trial's receiver kept them; `None` beyond the last
    /// flow.
    pub flows: Option<FlowReader>,
}

/// Reader of one flow's results.
pub type FlowReader = Box<dyn Fn(u32) -> Option<FlowRow>>;

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finished").field("report", &self.report).finish_non_exhaustive()
    }
}

/// Error of an engine. Each text names the thing, the reason and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The request is not possible; a changed one may be.
    #[error("{0}")]
    Refused(String),
    /// The port or a worker failed.
    #[error("{0}")]
    Failed(String),
}

impl EngineError {
    /// A refusal with this reason.
    pub fn refused(reason: &impl std::fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }

    /// A failure with this reason.
    pub fn failed(reason: &impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}
