//! An agent: its trial, the trial's state, and the handling of requests.

use std::time::{Duration, Instant};

use hugepage_check::root::Root;
use linerate_measure::drain::Drainer;
use linerate_wire::host::HostInfo;
use linerate_wire::message::{
    Acknowledge, ClockInfo, Command, ErrorCode, Event, FlowRows, FlowsFrom, MAX_FLOW_ROWS,
    MAX_START_AHEAD_MS, NextHopTo, Outcome, PROTOCOL_VERSION, Pong, Start, Stop, TrialFailed, Welcome,
    WireError,
};
use linerate_wire::report::Ended;
use linerate_wire::sample::Sample;
use linerate_wire::state::{AgentState, Step};
use linerate_wire::trial::{RoleSpec, TrialSpec, Work};

use crate::cpu_time::Quota;
use crate::engine::{Engine, Finished, TickCounter};
use crate::host::{boot_id, monotonic_ns};
use crate::host_watch::HostWatch;
use crate::refusal::{failed, refused, validate};

/// Time that workers have to end: more than an engine takes to close its connections, and less than a
/// controller waits for an answer.
const WORKERS_END: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(25) };
/// Time for which the agent waits for them at once; most end at their next look.
const WORKERS_END_AT_ONCE: Duration = Duration::from_millis(20);

/// A trial with its number, in its current state.
enum TrialState<E: Engine> {
    None,
    Prepared(u32, E::Prepared),
    /// Armed, or running when `started`.
    Active(Box<ActiveTrial<E>>),
    Finished(Box<Finished>),
    /// Given up, because its workers did not end. They still hold the engine's queues.
    Stuck(Box<ActiveTrial<E>>),
}

/// A trial whose workers are launched.
struct ActiveTrial<E: Engine> {
    trial: u32,
    active: E::Active,
    started: bool,
    next_sample_ns: u64,
    drainer: Option<Drainer>,
    host: HostWatch,
    /// True when the controller was notified that all packets are sent.
    told_sent: bool,
    /// Since when its workers have been told to end, and why.
    ending: Option<(Instant, Ended)>,
}

/// The answer to a request: immediate, or at the end of the trial.
pub(crate) enum Answer {
    Now(Outcome),
    /// The stop has a drain: the answer is the state after the drain.
    WhenFinished,
}

/// Description of an agent and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The program and its version, such as `linerate-dataplane 0.1.0`.
    pub program: String,
    /// The machine's state before the engine started.
    pub host: HostInfo,
}

/// An engine, and the trial on it.
pub struct Agent<E: Engine> {
    engine: E,
    identity: Identity,
    trial: TrialState<E>,
    quota: Quota,
    sample_interval_ns: u64,
    /// True when the controller will fetch all flows of the trial.
    all_flows: bool,
    /// True when the peer sends to this agent while this one sends.
    is_exchange: bool,
    /// True when the trial's report has the node's interrupts.
    interrupts: bool,
    /// The orphan time in force: the trial's, or the agent's own without a trial.
    orphan_ms: u32,
    own_orphan_ms: u32,
}

impl<E: Engine> Agent<E> {
    /// An agent without a trial. A controller may be silent for `orphan_ms` until a trial sets its own limit.
    pub fn new(engine: E, identity: Identity, orphan_ms: u32) -> Self {
        Self {
            engine,
            identity,
            trial: TrialState::None,
            quota: Quota::find(),
            sample_interval_ns: 1_000_000_000,
            all_flows: false,
            is_exchange: false,
            interrupts: false,
            orphan_ms,
            own_orphan_ms: orphan_ms,
        }
    }

    /// Discards the trial and returns the engine.
    pub fn into_engine(self) -> E {
        self.engine
    }

    /// The state of the trial.
    pub fn state(&self) -> AgentState {
        match &self.trial {
            TrialState::None => AgentState::Idle,
            TrialState::Prepared(..) => AgentState::Prepared,
            TrialState::Active(trial) if !trial.started => AgentState::Armed,
            TrialState::Active(_) | TrialState::Stuck(_) => AgentState::Running,
            TrialState::Finished(_) => AgentState::Finished,
        }
    }

    /// Longest allowed silence of a controller, in milliseconds.
    pub fn orphan_ms(&self) -> u32 {
        if matches!(self.trial, TrialState::None) { self.own_orphan_ms } else { self.orphan_ms }
    }

    /// True when the engine needs frequent calls of [`Engine::background_work`], even without a trial.
    pub fn has_background_work(&self) -> bool {
        self.engine.has_background_work()
    }

    /// True while a trial is armed or running.
    pub fn is_active(&self) -> bool {
        matches!(self.trial, TrialState::Active(_))
    }

    /// True while the trial needs frequent calls of `look`.
    pub(crate) fn needs_looks(&self) -> bool {
        matches!(&self.trial, TrialState::Active(trial) if self.engine.needs_looks(&trial.active))
    }

    /// The welcome for an authenticated controller.
    pub(crate) fn welcome(&self) -> Result<Welcome, WireError> {
        let TickCounter { source, rate, invariant } = self.engine.counter();
        Ok(Welcome {
            protocol: PROTOCOL_VERSION,
            agent: self.identity.program.clone(),
            state: self.state(),
            waiting: match &self.trial {
                TrialState::Finished(finished) => Some(finished.report.trial),
                _ => None,
            },
            clock: ClockInfo {
                boot_id: boot_id(),
                source,
                tick_hz: rate.measured_hz,
                rate: Some(rate),
                invariant,
                now_ns: monotonic_ns(),
            },
            host: Some(self.identity.host.clone()),
            engine: self.engine.describe()?,
        })
    }

    /// Executes a request.
    pub(crate) fn handle(&mut self, command: Command) -> Result<Answer, WireError> {
        match command {
            Command::Hello(_) => Err(refused("hello comes once, at the beginning".into())),
            Command::Ping => {
                let ready = self.engine.is_ready()?;
                Ok(Answer::Now(Outcome::Pong(Pong { now_ns: monotonic_ns(), state: self.state(), ready })))
            }
            Command::Preflight => {
                let report = hugepage_check::run(&Root::host(), self.engine.requirements());
                serde_json::to_value(report)
                    .map(|report| Answer::Now(Outcome::Preflight(report)))
                    .map_err(|error| failed(&error))
            }
            Command::NextHop(NextHopTo { to }) if self.state() == AgentState::Idle => {
                Ok(Answer::Now(Outcome::NextHop(self.engine.next_hop(to)?)))
            }
            Command::NextHop(_) => {
                let message = format!("nexthop: the agent is {}, and not idle", self.state());
                Err(WireError { code: ErrorCode::IllegalStep, message })
            }
            Command::Prepare(spec) => self.prepare(&spec),
            Command::Arm => self.arm(),
            Command::Start(start) => self.start(start),
            Command::Stop(stop) => self.stop(stop),
            Command::Report => {
                self.check(Step::Report)?;
                match &self.trial {
                    TrialState::Finished(finished) => {
                        Ok(Answer::Now(Outcome::Report(Box::new(finished.report.clone()))))
                    }
                    _ => self.now(),
                }
            }
            Command::Flows(from) => self.flows(from),
            Command::Acknowledge(Acknowledge { trial }) => {
                self.check(Step::Acknowledge)?;
                match &self.trial {
                    TrialState::Finished(finished) if finished.report.trial != trial => Err(refused(
                        format!("the report that waits is of trial {}, not {trial}", finished.report.trial),
                    )),
                    _ => {
                        self.trial = TrialState::None;
                        self.now()
                    }
                }
            }
            // The server exits after this reply; an unacknowledged report is dropped.
            Command::Shutdown => self.now(),
        }
    }

    /// Rows of the finished trial's flows.
    fn flows(&self, FlowsFrom { first }: FlowsFrom) -> Result<Answer, WireError> {
        self.check(Step::Report)?;
        let flows = match &self.trial {
            TrialState::Finished(finished) => finished.flows.as_ref(),
            _ => None,
        };
        let flows = flows.ok_or_else(|| {
            refused("the trial's flows were not kept: its receiver was not prepared with all_flows".into())
        })?;
        let asked = first..first.saturating_add(MAX_FLOW_ROWS);
        Ok(Answer::Now(Outcome::Flows(FlowRows { first, rows: asked.map_while(flows).collect() })))
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
        self.trial = TrialState::Prepared(spec.trial, self.engine.prepare(spec.trial, &spec.work)?);
        self.sample_interval_ns = u64::from(spec.sample_interval_ms) * 1_000_000;
        self.orphan_ms = spec.orphan_ms;
        self.interrupts = spec.interrupts;
        self.is_exchange =
            matches!(&spec.work, Work::Frames(frames) if matches!(frames.role, RoleSpec::Exchange(..)));
        self.all_flows = match &spec.work {
            Work::Frames(frames) => frames.all_flows(),
            Work::Streams(_) | Work::Http(_) | Work::Diagnosis(_) | Work::Watch(_) => false,
        };
        self.now()
    }

    fn arm(&mut self) -> Result<Answer, WireError> {
        self.check(Step::Arm)?;
        if let TrialState::Prepared(trial, prepared) = std::mem::replace(&mut self.trial, TrialState::None) {
            let active = ActiveTrial {
                trial,
                active: self.engine.arm(prepared)?,
                started: false,
                next_sample_ns: u64::MAX,
                drainer: None,
                host: HostWatch::begin(&self.quota, self.interrupts),
                told_sent: false,
                ending: None,
            };
            self.trial = TrialState::Active(Box::new(active));
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
        if let TrialState::Active(trial) = &mut self.trial {
            match at_ns {
                // Whoever sends to this agent begins later, but in an exchange.
                None if !self.is_exchange => trial.host.start_now(),
                _ => trial.host.start_at(begin_ns),
            }
            self.engine.start_at(&mut trial.active, begin_ns);
            trial.started = true;
            trial.next_sample_ns = begin_ns + self.sample_interval_ns;
        }
        self.now()
    }

    fn stop(&mut self, Stop { drain, sent_per_lcore, sending }: Stop) -> Result<Answer, WireError> {
        let drainer = drain.map(|drain| Drainer::new(drain, monotonic_ns()));
        self.check(Step::Stop)?;
        match &mut self.trial {
            TrialState::Prepared(..) => self.trial = TrialState::None,
            TrialState::Active(trial) if !trial.started => self.abandon()?,
            TrialState::Active(trial) => {
                if !sent_per_lcore.is_empty() {
                    self.engine.expect(&mut trial.active, sent_per_lcore, sending);
                }
                trial.drainer = drainer.filter(|_| self.engine.received(&trial.active).is_some());
                if trial.drainer.is_none() && trial.ending.is_none() {
                    self.engine.stop(&mut trial.active);
                    trial.ending = Some((Instant::now(), Ended::Stopped));
                }
                return Ok(Answer::WhenFinished);
            }
            TrialState::Stuck(_) => return Err(failed(&STUCK)),
            TrialState::None | TrialState::Finished(_) => {}
        }
        self.now()
    }

    /// Ends workers that were not started; they produce no report.
    fn abandon(&mut self) -> Result<(), WireError> {
        if let TrialState::Active(trial) = std::mem::replace(&mut self.trial, TrialState::None) {
            self.engine.finish(trial.active, Ended::Stopped)?;
        }
        Ok(())
    }

    /// Handles a controller's silence beyond the orphan time: a running trial ends and keeps its report; any
    /// other trial is discarded.
    pub(crate) fn orphaned(&mut self) -> Vec<Event> {
        match &self.trial {
            TrialState::Active(trial) if trial.started => self.finish(Ended::Orphaned),
            TrialState::Active(_) | TrialState::Prepared(..) => {
                if let Err(error) = self.abandon() {
                    tracing::error!(%error, "the abandoned trial ended badly");
                }
                self.trial = TrialState::None;
                Vec::new()
            }
            TrialState::None | TrialState::Finished(_) => Vec::new(),
            TrialState::Stuck(_) => self.look(),
        }
    }

    /// Monitors the running trial: takes a sample when one is due, and detects the end.
    pub(crate) fn look(&mut self) -> Vec<Event> {
        let trial = match &mut self.trial {
            TrialState::Active(trial) => trial,
            TrialState::Stuck(_) => {
                self.look_at_stuck();
                return Vec::new();
            }
            TrialState::None | TrialState::Prepared(..) | TrialState::Finished(_) => {
                self.engine.background_work(None);
                return Vec::new();
            }
        };
        self.engine.background_work(Some(&mut trial.active));
        if !trial.started {
            return Vec::new();
        }
        let now = monotonic_ns();
        trial.host.look(now);
        self.engine.look(&mut trial.active, now);
        let is_over = self.engine.is_over(&trial.active);
        // An engine may wait for its last packets as well: the reason is that they came.
        if trial.ending.is_none()
            && let Some(drainer) = &mut trial.drainer
        {
            let received = self.engine.received(&trial.active).unwrap_or_default();
            if let Some(ended) = drainer.look(now, &received) {
                return self.finish(ended);
            }
        }
        if is_over || trial.ending.is_some_and(|(since, _)| since.elapsed() >= WORKERS_END) {
            return self.finish(Ended::Stopped);
        }
        if !trial.told_sent
            && let Some(sent) = self.engine.sending_is_over(&trial.active)
        {
            trial.told_sent = true;
            return vec![Event::Sent(sent)];
        }
        if now < trial.next_sample_ns {
            return Vec::new();
        }
        // A late look does not shift the sampling grid; missed intervals are skipped.
        let missed = (now - trial.next_sample_ns) / self.sample_interval_ns;
        trial.next_sample_ns += (missed + 1) * self.sample_interval_ns;
        vec![sample(&mut self.engine, trial)]
    }

    /// Gives up a trial whose workers do not end; the agent cannot run another one before they have.
    fn give_up(&mut self) -> Vec<Event> {
        let TrialState::Active(trial) = std::mem::replace(&mut self.trial, TrialState::None) else {
            return Vec::new();
        };
        let number = trial.trial;
        tracing::error!(trial = number, "{STUCK}");
        self.trial = TrialState::Stuck(trial);
        vec![Event::Failed(TrialFailed { trial: number, message: STUCK.to_owned() })]
    }

    /// Discards a trial that was given up once its workers have ended after all.
    fn look_at_stuck(&mut self) {
        let TrialState::Stuck(trial) = &mut self.trial else { return };
        if !self.engine.is_over(&trial.active) {
            return self.engine.background_work(Some(&mut trial.active));
        }
        if let TrialState::Stuck(trial) = std::mem::replace(&mut self.trial, TrialState::None)
            && let Err(error) = self.engine.finish(trial.active, Ended::Stopped)
        {
            tracing::error!(%error, "the trial that was given up ended badly");
        }
    }

    /// Ends the workers. Once they have ended, takes the final sample and keeps the report. Workers that are
    /// inside a call which does not return get [`WORKERS_END`], during which the agent goes on serving; then the
    /// trial is given up.
    fn finish(&mut self, ended: Ended) -> Vec<Event> {
        let TrialState::Active(trial) = &mut self.trial else { return Vec::new() };
        let (since, ended) = *trial.ending.get_or_insert_with(|| {
            self.engine.stop(&mut trial.active);
            (Instant::now(), ended)
        });
        while !self.engine.is_over(&trial.active) && since.elapsed() < WORKERS_END_AT_ONCE {
            std::thread::yield_now();
        }
        if !self.engine.is_over(&trial.active) {
            return if since.elapsed() < WORKERS_END { Vec::new() } else { self.give_up() };
        }
        let TrialState::Active(trial) = std::mem::replace(&mut self.trial, TrialState::None) else {
            return Vec::new();
        };
        let mut trial = *trial;
        let host = trial.host.report();
        let last = sample(&mut self.engine, &mut trial);
        let ActiveTrial { trial, active, drainer, .. } = trial;
        match self.engine.finish(active, ended) {
            Ok(Finished { mut report, flows }) => {
                report.last_arrival_ns =
                    drainer.map(|drainer| drainer.last_arrival_ns().saturating_sub(report.started_ns));
                report.host = host;
                let flows = flows.filter(|_| self.all_flows);
                self.trial = TrialState::Finished(Box::new(Finished { report, flows }));
                vec![last, Event::Finished(Acknowledge { trial })]
            }
            Err(error) => {
                tracing::error!(trial, %error, "the trial failed");
                vec![last, Event::Failed(TrialFailed { trial, message: error.to_string() })]
            }
        }
    }
}

/// Why a trial is given up.
const STUCK: &str = "the trial's workers did not end after they were told to: a slow path still drains what was \
    sent, or a call of the port's driver or of the kernel does not return; check the path's rate, the port's link and \
    its queueing discipline, send less, or end this agent with SIGKILL";

/// What engine and agent measure now.
fn sample<E: Engine>(engine: &mut E, trial: &mut ActiveTrial<E>) -> Event {
    let at_ns = monotonic_ns();
    let measures = engine.sample(&mut trial.active);
    Event::Sample(Box::new(Sample { trial: trial.trial, at_ns, measures, host: Some(trial.host.sample()) }))
}
