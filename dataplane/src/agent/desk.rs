//! What an agent's messages mean: the trial it holds, and where that stands.

use hugepage_check::requirements::Requirements;
use hugepage_check::root::Root;
use linerate_wire::host::HostInfo;
use linerate_wire::message::{
    Acknowledge, ClockInfo, Command, ErrorCode, Event, FlowRows, FlowsFrom, MAX_FLOW_ROWS,
    MAX_START_AHEAD_MS, NextHopTo, Outcome, PROTOCOL_VERSION, Pong, Sent, Start, TrialFailed, Welcome,
    WireError,
};
use linerate_wire::report::{Ended, FlowRow, Part};
use linerate_wire::state::{AgentState, Step};
use linerate_wire::trial::{RoleSpec, TrialSpec};

use super::refusal::{failed, refused, trial_error, validate};
use crate::dpdk::clock::SOURCE;
use crate::dpdk::eal;
use crate::host::{boot_id, invariant_counter, monotonic_ns};
use crate::trial::{Active, Bench, Finished, Order, Prepared, Sender};
use linerate_measure::drain::Drainer;

/// A trial, as far as it has come.
#[derive(Debug)]
enum Holding {
    Nothing,
    Prepared(Box<Prepared>),
    Active(Box<Live>),
    /// With every flow where those were asked for.
    Finished(Box<Finished>),
}

/// A trial whose loops are launched: armed, or running when `started`.
#[derive(Debug)]
struct Live {
    active: Active,
    started: bool,
    next_sample_ns: u64,
    drainer: Option<Drainer>,
    /// In an exchange: the controller was told that everything was sent.
    told_sent: bool,
}

/// The answer to a request, now or when the trial has ended.
pub(super) enum Answer {
    Now(Outcome),
    /// The stop has a drain: its answer is the state after it.
    WhenFinished,
}

/// The bench, and the trial on it.
#[derive(Debug)]
pub struct Desk<'e> {
    bench: Bench<'e>,
    holding: Holding,
    sample_interval_ns: u64,
    /// Whether the trial's flows will be asked for.
    all_flows: bool,
    /// The orphan time in force: the trial's, or without one the agent's own.
    orphan_ms: u32,
    own_orphan_ms: u32,
    no_huge: bool,
    /// What the agent's own EAL options need of the machine.
    requirements: Requirements,
    /// The machine as it was before EAL started.
    host: HostInfo,
}

impl<'e> Desk<'e> {
    /// A desk with nothing on it. `orphan_ms` holds until a trial brings its own.
    pub fn new(
        bench: Bench<'e>,
        orphan_ms: u32,
        no_huge: bool,
        requirements: Requirements,
        host: HostInfo,
    ) -> Self {
        Self {
            bench,
            holding: Holding::Nothing,
            sample_interval_ns: 1_000_000_000,
            all_flows: false,
            orphan_ms,
            own_orphan_ms: orphan_ms,
            no_huge,
            requirements,
            host,
        }
    }

    /// Clears the desk and gives the bench back.
    pub fn into_bench(self) -> Bench<'e> {
        self.bench
    }

    /// Where the trial stands.
    pub fn state(&self) -> AgentState {
        match &self.holding {
            Holding::Nothing => AgentState::Idle,
            Holding::Prepared(_) => AgentState::Prepared,
            Holding::Active(live) if !live.started => AgentState::Armed,
            Holding::Active(_) => AgentState::Running,
            Holding::Finished(_) => AgentState::Finished,
        }
    }

    /// How long a controller may be silent, in milliseconds.
    pub fn orphan_ms(&self) -> u32 {
        if matches!(self.holding, Holding::Nothing) { self.own_orphan_ms } else { self.orphan_ms }
    }

    /// True when the port's addresses want to be tended often, also while nothing runs.
    pub fn answers(&self) -> bool {
        self.bench.answers()
    }

    /// True while loops run and the desk wants to be looked at often.
    pub fn is_active(&self) -> bool {
        matches!(self.holding, Holding::Active(_))
    }

    /// What to say to a controller that has shown its token.
    pub(super) fn welcome(&self) -> Result<Welcome, WireError> {
        Ok(Welcome {
            protocol: PROTOCOL_VERSION,
            agent: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            dpdk: eal::version(),
            state: self.state(),
            waiting: match &self.holding {
                Holding::Finished(finished) => Some(finished.report.trial),
                _ => None,
            },
            port: self.bench.port_info().map_err(|error| failed(&error))?,
            clock: ClockInfo {
                boot_id: boot_id(),
                source: SOURCE.into(),
                tick_hz: self.bench.tick_rate().measured_hz,
                rate: Some(self.bench.tick_rate()),
                invariant: invariant_counter(),
                now_ns: monotonic_ns(),
            },
            lcores: self.bench.lcores().iter().map(|lcore| lcore.0).collect(),
            no_huge: self.no_huge,
            host: Some(self.host.clone()),
            network: self.bench.network(),
        })
    }

    /// Carries out a request.
    pub(super) fn handle(&mut self, command: Command) -> Result<Answer, WireError> {
        match command {
            Command::Hello(_) => Err(refused("hello comes once, at the beginning".into())),
            Command::Ping => {
                let link_up = self.bench.port_info().map_err(|error| failed(&error))?.link_up;
                Ok(Answer::Now(Outcome::Pong(Pong { now_ns: monotonic_ns(), state: self.state(), link_up })))
            }
            Command::Preflight => {
                let report = hugepage_check::run(&Root::host(), &self.requirements);
                serde_json::to_value(report)
                    .map(|report| Answer::Now(Outcome::Preflight(report)))
                    .map_err(|error| failed(&error))
            }
            Command::NextHop(NextHopTo { to }) if self.state() == AgentState::Idle => {
                let hop = self.bench.next_hop(to).map_err(|error| refused(error.to_string()))?;
                Ok(Answer::Now(Outcome::NextHop(hop)))
            }
            Command::NextHop(_) => {
                let message = format!("nexthop: the agent is {}, and not idle", self.state());
                Err(WireError { code: ErrorCode::IllegalStep, message })
            }
            Command::Prepare(spec) => self.prepare(&spec),
            Command::Arm => self.arm(),
            Command::Start(start) => self.start(start),
            Command::Stop(stop) => {
                let drainer = stop.drain.map(|drain| Drainer::new(drain, monotonic_ns()));
                self.stop(drainer, stop.sent_per_lcore)
            }
            Command::Report => {
                self.check(Step::Report)?;
                match &self.holding {
                    Holding::Finished(finished) => {
                        Ok(Answer::Now(Outcome::Report(Box::new(finished.report.clone()))))
                    }
                    _ => self.now(),
                }
            }
            Command::Flows(from) => self.flows(from),
            Command::Acknowledge(Acknowledge { trial }) => {
                self.check(Step::Acknowledge)?;
                match &self.holding {
                    Holding::Finished(finished) if finished.report.trial != trial => Err(refused(format!(
                        "the report that waits is of trial {}, not {trial}",
                        finished.report.trial
                    ))),
                    _ => {
                        self.holding = Holding::Nothing;
                        self.now()
                    }
                }
            }
            // Whoever serves ends after the answer; what the desk holds goes with it.
            Command::Shutdown => self.now(),
        }
    }

    /// Rows of the finished trial's flows.
    fn flows(&self, FlowsFrom { first }: FlowsFrom) -> Result<Answer, WireError> {
        self.check(Step::Report)?;
        let flows = match &self.holding {
            Holding::Finished(finished) => finished.flows.as_ref(),
            _ => None,
        };
        let flows = flows.ok_or_else(|| {
            refused("the trial's flows were not kept: its receiver was not prepared with all_flows".into())
        })?;
        let asked = first..first.saturating_add(MAX_FLOW_ROWS);
        let rows = asked.map_while(|flow| flows.report(flow)).map(|flow| FlowRow::from(&flow)).collect();
        Ok(Answer::Now(Outcome::Flows(FlowRows { first, rows })))
    }

    fn now(&self) -> Result<Answer, WireError> {
        Ok(Answer::Now(Outcome::State(self.state())))
    }

    fn check(&self, step: Step) -> Result<AgentState, WireError> {
        self.state()
            .after(step)
            .map_err(|illegal| WireError { code: ErrorCode::IllegalStep, message: illegal.to_string() })
    }

    fn prepare(&mut self, spec: &TrialSpec) -> Result<Answer, WireError> {
        self.check(Step::Prepare)?;
        validate(spec)?;
        let prepared = self.bench.prepare(Order::from(spec)).map_err(|error| trial_error(&error))?;
        self.sample_interval_ns = u64::from(spec.sample_interval_ms) * 1_000_000;
        self.orphan_ms = spec.orphan_ms;
        self.all_flows = match &spec.role {
            RoleSpec::Receive(receive) | RoleSpec::Exchange(_, receive) => receive.all_flows,
            RoleSpec::Transmit(_) | RoleSpec::Reflect => false,
        };
        self.holding = Holding::Prepared(Box::new(prepared));
        self.now()
    }

    fn arm(&mut self) -> Result<Answer, WireError> {
        self.check(Step::Arm)?;
        if let Holding::Prepared(prepared) = std::mem::replace(&mut self.holding, Holding::Nothing) {
            let active = self.bench.arm(*prepared).map_err(|error| trial_error(&error))?;
            let live =
                Live { active, started: false, next_sample_ns: u64::MAX, drainer: None, told_sent: false };
            self.holding = Holding::Active(Box::new(live));
        }
        self.now()
    }

    fn start(&mut self, Start { at_ns }: Start) -> Result<Answer, WireError> {
        self.check(Step::Start)?;
        let now_ns = monotonic_ns();
        let begin_ns = at_ns.unwrap_or(now_ns).max(now_ns);
        if begin_ns - now_ns > MAX_START_AHEAD_MS * 1_000_000 {
            let ahead_ms = (begin_ns - now_ns) / 1_000_000;
            return Err(refused(format!(
                "at_ns: {begin_ns} is {ahead_ms} ms ahead of this agent's clock; at most {MAX_START_AHEAD_MS} are accepted"
            )));
        }
        if let Holding::Active(live) = &mut self.holding {
            live.active.start_at(begin_ns);
            live.started = true;
            live.next_sample_ns = begin_ns + self.sample_interval_ns;
        }
        self.now()
    }

    fn stop(&mut self, drain: Option<Drainer>, sent_per_lcore: Vec<u64>) -> Result<Answer, WireError> {
        self.check(Step::Stop)?;
        match &mut self.holding {
            Holding::Prepared(_) => self.holding = Holding::Nothing,
            Holding::Active(live) if !live.started => self.abandon()?,
            Holding::Active(live) => {
                if !sent_per_lcore.is_empty() {
                    live.active.receives_from(Sender::Peer(sent_per_lcore));
                }
                // Who only sends has nothing to drain, and who reflects does not know what to expect.
                live.drainer = drain.filter(|_| matches!(live.active.part(), Part::Rx | Part::Exchange));
                if live.drainer.is_none() {
                    live.active.stop();
                }
                return Ok(Answer::WhenFinished);
            }
            Holding::Nothing | Holding::Finished(_) => {}
        }
        self.now()
    }

    /// Ends loops that never started; there is nothing to report.
    fn abandon(&mut self) -> Result<(), WireError> {
        if let Holding::Active(live) = std::mem::replace(&mut self.holding, Holding::Nothing) {
            live.active.finish(&mut self.bench, Ended::Stopped).map_err(|error| trial_error(&error))?;
        }
        Ok(())
    }

    /// The controller has been gone for too long: whatever runs ends, a report waits, anything less is given up.
    pub(super) fn orphaned(&mut self) -> Vec<Event> {
        match &self.holding {
            Holding::Active(live) if live.started => self.finish(Ended::Orphaned),
            Holding::Active(_) | Holding::Prepared(_) => {
                if let Err(error) = self.abandon() {
                    tracing::error!(%error, "the abandoned trial ended badly");
                }
                self.holding = Holding::Nothing;
                Vec::new()
            }
            Holding::Nothing | Holding::Finished(_) => Vec::new(),
        }
    }

    /// Looks at the running trial: a sample when one is due, the end when it has come.
    pub(super) fn look(&mut self) -> Vec<Event> {
        let Holding::Active(live) = &mut self.holding else {
            self.bench.tend(None);
            return Vec::new();
        };
        live.active.tend(&mut self.bench);
        if !live.started {
            return Vec::new();
        }
        let now = monotonic_ns();
        live.active.look_at_link(&self.bench);
        if live.active.is_finished() {
            return self.finish(Ended::Stopped);
        }
        if let Some(drainer) = &mut live.drainer {
            let received = live.active.received();
            if let Some(ended) = drainer.look(now, &received) {
                return self.finish(ended);
            }
        }
        if live.active.part() == Part::Exchange && !live.told_sent && live.active.sending_is_over() {
            live.told_sent = true;
            return vec![Event::Sent(Sent {
                trial: live.active.trial(),
                packets: live.active.sent().packets,
                packets_per_lcore: live.active.sent_per_lcore(),
            })];
        }
        if now < live.next_sample_ns {
            return Vec::new();
        }
        // The grid stays where it was, whenever the look came; intervals that were missed are left out.
        let missed = (now - live.next_sample_ns) / self.sample_interval_ns;
        live.next_sample_ns += (missed + 1) * self.sample_interval_ns;
        vec![Event::Sample(Box::new(live.active.sample(&self.bench)))]
    }

    /// Ends the loops, takes the final sample, and keeps the report.
    fn finish(&mut self, ended: Ended) -> Vec<Event> {
        let Holding::Active(live) = std::mem::replace(&mut self.holding, Holding::Nothing) else {
            return Vec::new();
        };
        let Live { mut active, drainer, .. } = *live;
        active.stop();
        while !active.is_finished() {
            std::thread::yield_now();
        }
        let trial = active.trial();
        let last = Event::Sample(Box::new(active.sample(&self.bench)));
        match active.finish(&mut self.bench, ended) {
            Ok(Finished { mut report, flows }) => {
                report.last_arrival_ns =
                    drainer.map(|drainer| drainer.last_arrival_ns().saturating_sub(report.started_ns));
                let flows = flows.filter(|_| self.all_flows);
                self.holding = Holding::Finished(Box::new(Finished { report, flows }));
                vec![last, Event::Finished(Acknowledge { trial })]
            }
            Err(error) => {
                tracing::error!(trial, %error, "the trial failed");
                vec![last, Event::Failed(TrialFailed { trial, message: error.to_string() })]
            }
        }
    }
}
