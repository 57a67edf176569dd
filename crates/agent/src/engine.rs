//! What serving a controller needs of whatever moves the traffic.

use std::net::IpAddr;

use hugepage_check::requirements::Requirements;
use linerate_wire::counters::{ReceiveCounters, Sample};
use linerate_wire::message::Sent;
use linerate_wire::network::{NextHop, PortNetwork};
use linerate_wire::port::PortInfo;
use linerate_wire::report::{Ended, FlowRow, TrialReport};
use linerate_wire::time::TickRate;
use linerate_wire::trial::TrialSpec;

/// Moves the traffic of trials, one after the other, on the port that it holds.
///
/// The agent calls the methods in this order: [`prepare`](Self::prepare), [`arm`](Self::arm), [`start_at`](Self::start_at);
/// then [`tend`](Self::tend) and [`look`](Self::look) every few milliseconds, [`sample`](Self::sample) at the controller's interval; at
/// the end [`stop`](Self::stop), [`sample`](Self::sample) once [`is_over`](Self::is_over), and [`finish`](Self::finish). A trial may be
/// given up after any of these. All methods are called on one thread; except for [`next_hop`](Self::next_hop), none waits for the network.
///
/// Traffic runs on threads of the engine's own: it must not stand still when the agent's thread does.
pub trait Engine {
    /// A trial whose plans are made and whose memory is allocated. Dropping it gives it up.
    type Prepared;
    /// A trial whose workers are launched. Dropping it ends them.
    type Active;

    /// The engine and its port as they are now.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when the port does not answer.
    fn describe(&self) -> Result<EngineInfo, EngineError>;

    /// The counter that the engine's times are read from.
    fn counter(&self) -> Counter;

    /// True when traffic can flow: the port's link is up.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when the port does not answer.
    fn is_ready(&self) -> Result<bool, EngineError>;

    /// What the engine needs of the machine: the answer to a preflight request is checked against it.
    fn requirements(&self) -> &Requirements;

    /// Finds the next hop on the way to an address. It may take seconds.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when there is no way there, or the next hop does not answer.
    fn next_hop(&mut self, to: IpAddr) -> Result<NextHop, EngineError>;

    /// Makes the plans of a trial and allocates its memory. The agent has checked what can be checked without a port.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when the trial cannot be run as asked, [`EngineError::Failed`] when the engine is broken.
    fn prepare(&mut self, trial: &TrialSpec) -> Result<Self::Prepared, EngineError>;

    /// Launches the workers: a receiver counts from now on, a transmitter waits for its start.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when a worker cannot be launched.
    fn arm(&mut self, prepared: Self::Prepared) -> Result<Self::Active, EngineError>;

    /// Lets those that send begin at that instant of [`monotonic_ns`](crate::host::monotonic_ns); at once when it has passed.
    fn start_at(&mut self, active: &mut Self::Active, at_ns: u64);

    /// True when [`tend`](Self::tend) is to be called often also while no trial runs.
    fn wants_tending(&self) -> bool {
        false
    }

    /// Does what must be done often, such as answering for the port's addresses. `None`: no trial is armed or runs.
    fn tend(&mut self, _active: Option<&mut Self::Active>) {}

    /// Looks at what may change while a trial runs, such as the link. `now_ns` is [`monotonic_ns`](crate::host::monotonic_ns).
    fn look(&mut self, _active: &mut Self::Active, _now_ns: u64) {}

    /// All counters of the trial now, cumulative since it was armed.
    fn sample(&mut self, active: &mut Self::Active) -> Sample;

    /// What has been received so far, for the drain; `None` of a trial that has nothing to wait for: one that only sends, or
    /// does not know what to expect.
    fn received(&self, active: &Self::Active) -> Option<ReceiveCounters>;

    /// What was sent, once everything was, of a trial that goes on receiving. `None` before that, and of any other trial: its end says so.
    fn sending_is_over(&self, active: &Self::Active) -> Option<Sent>;

    /// Tells a receiver how many packets each worker of the sender sent, so that its report has what each flow lost.
    fn expect(&mut self, active: &mut Self::Active, sent_per_lcore: Vec<u64>);

    /// Lets the workers end as soon as they can. It does not wait for them.
    fn stop(&mut self, active: &mut Self::Active);

    /// True when all workers have ended: by their limits, or because they were told to stop.
    fn is_over(&self, active: &Self::Active) -> bool;

    /// Ends what still runs, and accounts for everything. `ended` is the reason, unless a transmitter reached its limits before.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when a worker failed: there is no account.
    fn finish(&mut self, active: Self::Active, ended: Ended) -> Result<Finished, EngineError>;
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// Version of DPDK.
    pub dpdk: String,
    /// Its port.
    pub port: PortInfo,
    /// Worker lcores, in the order of use.
    pub lcores: Vec<u32>,
    /// True when packet memory is not in hugepages.
    pub no_huge: bool,
    /// The port's addresses, and who answers for them; absent where it has none.
    pub network: Option<PortNetwork>,
}

/// The counter that times of packets are read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    /// Its name, such as `tsc`.
    pub source: String,
    /// Its frequency, told and measured.
    pub rate: TickRate,
    /// True when it runs at one rate on all CPUs, whatever their power state.
    pub invariant: bool,
}

/// What a trial leaves behind.
pub struct Finished {
    /// Its account. The agent adds the time of the last arrival.
    pub report: TrialReport,
    /// Reads the account of one flow by its number, where the trial's receiver kept them; `None` beyond the last flow.
    pub flows: Option<FlowReader>,
}

/// Reads the account of one flow.
pub type FlowReader = Box<dyn Fn(u32) -> Option<FlowRow>>;

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finished").field("report", &self.report).finish_non_exhaustive()
    }
}

/// Why an engine did not do as asked. Each text names the thing, the reason and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It cannot be as asked; asked differently, it may.
    #[error("{0}")]
    Refused(String),
    /// The port or a worker failed.
    #[error("{0}")]
    Failed(String),
}

impl EngineError {
    /// A refusal for this reason.
    pub fn refused(reason: &impl std::fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }

    /// A failure for this reason.
    pub fn failed(reason: &impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}
