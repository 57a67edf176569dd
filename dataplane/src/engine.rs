//! DPDK as the engine of an agent.

use std::net::IpAddr;

use hugepage_check::requirements::Requirements;
use linerate_agent::engine::{Engine, EngineError, Finished, FlowReader, TickCounter};
use linerate_agent::host::invariant_counter;
use linerate_measure::flow_table::FlowTable;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::engine::{EngineInfo, FrameEngine};
use linerate_wire::message::Sent;
use linerate_wire::network::NextHop;
use linerate_wire::report::{Ended, FlowRow, Part, ReportDetail};
use linerate_wire::sample::Measures;
use linerate_wire::time::SendingTimes;
use linerate_wire::trial::Work;

use crate::dpdk::counter::SOURCE;
use crate::dpdk::eal;
use crate::trial::{self, Active, Order, PortSetup, Prepared, Sender, TrialError};

/// Engine of an agent on a DPDK port and its lcores.
#[derive(Debug)]
pub struct DpdkEngine<'e> {
    setup: PortSetup<'e>,
    no_huge: bool,
    requirements: Requirements,
}

impl<'e> DpdkEngine<'e> {
    /// An engine on this port. `no_huge`: packet memory is not in hugepages. `requirements`: the machine's
    /// properties that EAL's options require.
    pub fn new(setup: PortSetup<'e>, no_huge: bool, requirements: Requirements) -> Self {
        Self { setup, no_huge, requirements }
    }

    /// Returns the port.
    pub fn into_setup(self) -> PortSetup<'e> {
        self.setup
    }
}

impl Engine for DpdkEngine<'_> {
    type Prepared = Prepared;
    type Active = Active;

    fn describe(&self) -> Result<EngineInfo, EngineError> {
        Ok(EngineInfo::Frames(Box::new(FrameEngine {
            dpdk: eal::version(),
            port: self.setup.port_info().map_err(|error| EngineError::failed(&error))?,
            lcores: self.setup.lcores().iter().map(|lcore| lcore.0).collect(),
            no_huge: self.no_huge,
            network: self.setup.network(),
        })))
    }

    fn counter(&self) -> TickCounter {
        TickCounter { source: SOURCE.into(), rate: self.setup.tick_rate(), invariant: invariant_counter() }
    }

    fn is_ready(&self) -> Result<bool, EngineError> {
        self.setup.port_info().map(|port| port.link_up).map_err(|error| EngineError::failed(&error))
    }

    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn next_hop(&mut self, to: IpAddr) -> Result<NextHop, EngineError> {
        self.setup.next_hop(to).map_err(|error| EngineError::refused(&error))
    }

    fn prepare(&mut self, trial: u32, work: &Work) -> Result<Prepared, EngineError> {
        let Work::Frames(work) = work else {
            return Err(EngineError::Refused("this agent moves frames, and the work is of streams".into()));
        };
        Ok(self.setup.prepare(Order::new(trial, work))?)
    }

    fn arm(&mut self, prepared: Prepared) -> Result<Active, EngineError> {
        Ok(self.setup.arm(prepared)?)
    }

    fn start_at(&mut self, active: &mut Active, at_ns: u64) {
        active.start_at(at_ns);
    }

    fn has_background_work(&self) -> bool {
        self.setup.answers()
    }

    fn background_work(&mut self, active: Option<&mut Active>) {
        match active {
            Some(active) => active.answer_requests(&mut self.setup),
            None => self.setup.answer_requests(None),
        }
    }

    fn look(&mut self, active: &mut Active, now_ns: u64) {
        active.look_at_link(&self.setup, now_ns);
    }

    fn sample(&mut self, active: &mut Active) -> Measures {
        Measures::Frames(Box::new(active.sample(&self.setup)))
    }

    fn received(&self, active: &Active) -> Option<ReceiveCounters> {
        // A sender receives nothing, and a reflector does not know what to expect.
        matches!(active.part(), Part::Rx | Part::Exchange).then(|| active.received())
    }

    fn sending_is_over(&self, active: &Active) -> Option<Sent> {
        (active.part() == Part::Exchange && active.sending_is_over()).then(|| Sent {
            trial: active.trial(),
            packets: active.sent().packets,
            packets_per_lcore: active.sent_per_lcore(),
            sending: Some(active.sending_so_far(&self.setup)),
        })
    }

    fn expect(&mut self, active: &mut Active, sent_per_lcore: Vec<u64>, sending: Option<SendingTimes>) {
        active.receives_from(Sender::Peer(sent_per_lcore, sending));
    }

    fn stop(&mut self, active: &mut Active) {
        active.stop();
    }

    fn is_over(&self, active: &Active) -> bool {
        active.is_finished()
    }

    fn finish(&mut self, active: Active, ended: Ended) -> Result<Finished, EngineError> {
        let trial::Finished { report, flows } = active.finish(&mut self.setup, ended)?;
        let row = |flows: FlowTable| -> FlowReader {
            Box::new(move |flow| flows.report(flow).map(|flow| FlowRow::from(&flow)))
        };
        let report = report.map(|frames| ReportDetail::Frames(Box::new(frames)));
        Ok(Finished { report, flows: flows.map(row) })
    }
}

impl From<TrialError> for EngineError {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Rate(_)
            | TrialError::Unsafe(_)
            | TrialError::FrameTooLarge(_)
            | TrialError::TooFewLcores
            | TrialError::LeftQueues(_)
            | TrialError::NoReflector => Self::refused(&error),
            TrialError::Dpdk(_) | TrialError::Panicked(_) | TrialError::QueueLost => Self::failed(&error),
        }
    }
}
