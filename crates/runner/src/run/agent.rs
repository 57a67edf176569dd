//! An agent of a run: endpoint and session together.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use linerate_traffic::mac::MacAddr;
use linerate_wire::engine::FrameEngine;
use linerate_wire::message::{Acknowledge, Command, Stop};
use linerate_wire::network::NextHop;
use linerate_wire::port::PortInfo;
use linerate_wire::state::AgentState;
use linerate_wire::streams::StreamsEngine;

use super::Ending;
use crate::platform::{AgentEndpoint, ExitWatch, Token};
use crate::session::{ANSWER_TIME, Dialer, Session, SessionError, WORK_TIME};
use linerate_results::store::environment::{AgentEnvironment, PodPlace, words_without_secrets};
use linerate_results::streams::StreamsAgentInfo;
use linerate_results::summary::AgentInfo;

/// Time limit for a process to be reported as ended after its connection has closed.
const EXIT_TIME: Duration = Duration::from_secs(2);
/// Time limit for an agent to release its previous controller.
const BUSY_TIME: Duration = Duration::from_secs(15);
/// Pause between attempts to connect. It grows with each attempt, and a jitter makes it different for each
/// agent.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

fn pauses() -> impl Iterator<Item = Duration> {
    // The jitter adds up to 100 % of the pause.
    let pauses =
        ExponentialBuilder::default().with_min_delay(SHORTEST_PAUSE / 2).with_max_delay(LONGEST_PAUSE / 2);
    pauses.without_max_times().with_jitter().build()
}

/// Why an agent cannot be reached.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// This agent only; others may be reachable.
    Failed(String),
    /// The API server refuses port-forwards; its message.
    Forbidden(String),
}

impl Unreachable {
    fn by(error: &SessionError) -> Self {
        match error.fault.is_forbidden() {
            true => Self::Forbidden(error.to_string()),
            false => Self::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(reason) | Self::Forbidden(reason)) = self;
        f.write_str(reason)
    }
}

impl From<Unreachable> for Ending {
    fn from(unreachable: Unreachable) -> Self {
        match unreachable {
            Unreachable::Failed(reason) => Ending::Failed(reason),
            Unreachable::Forbidden(reason) => Ending::Refused(reason),
        }
    }
}

/// A connected agent with an engine of kind `E`.
#[derive(Debug)]
pub(super) struct Agent<E = Box<FrameEngine>> {
    /// The connection.
    pub(super) session: Session,
    engine: E,
    node: String,
    address: Option<IpAddr>,
    pod: Option<PodPlace>,
    dialer: Dialer,
    token: Token,
    command_line: Vec<String>,
    exit: ExitWatch,
}

/// A kind of engine that trials need.
pub(super) trait EngineKind: Sized {
    /// The engine of the agent.
    ///
    /// # Errors
    /// When the agent has an engine of another kind.
    fn of(session: &Session) -> Result<Self, Unreachable>;
}

impl EngineKind for Box<FrameEngine> {
    fn of(session: &Session) -> Result<Self, Unreachable> {
        let welcome = session.welcome();
        let engine = welcome.engine.frames().cloned().map(Box::new);
        engine.ok_or_else(|| {
            let (name, program) = (session.agent(), &welcome.agent);
            Unreachable::Failed(format!(
                "{name} ({program}) moves streams, and the experiment's traffic is frames; start it with linerate-dataplane"
            ))
        })
    }
}

impl EngineKind for Box<StreamsEngine> {
    fn of(session: &Session) -> Result<Self, Unreachable> {
        let welcome = session.welcome();
        let engine = welcome.engine.streams().cloned().map(Box::new);
        engine.ok_or_else(|| {
            let (name, program) = (session.agent(), &welcome.agent);
            Unreachable::Failed(format!(
                "{name} ({program}) moves frames, and the experiment's traffic is streams; start it with linerate-hostplane"
            ))
        })
    }
}

impl<E: EngineKind> Agent<E> {
    /// Connects to an agent that listens.
    ///
    /// # Errors
    /// The reason, in a text that names the agent.
    pub(super) async fn connect(endpoint: AgentEndpoint, keep_alive: Duration) -> Result<Self, Unreachable> {
        let AgentEndpoint { name, node, address, pod, dialer, token, command_line, mut exit } = endpoint;
        let begun = Instant::now();
        let mut pauses = pauses();
        loop {
            let error = match Session::connect(&name, &dialer, token.reveal(), keep_alive).await {
                Ok(session) => {
                    let engine = E::of(&session)?;
                    let agent =
                        Self { session, engine, node, address, pod, dialer, token, command_line, exit };
                    return agent.idle().await;
                }
                Err(error) if error.fault.is_forbidden() => return Err(Unreachable::by(&error)),
                Err(error) => error,
            };
            // A pod runs before its agent listens, and an agent may not have noticed yet that its previous
            // controller has gone.
            let time_limit = match &error.fault {
                fault if fault.is_broken_connection() => dialer.time_limit(),
                fault if fault.is_busy() => dialer.time_limit().min(BUSY_TIME),
                _ => Duration::ZERO,
            };
            let may_come = time_limit > begun.elapsed();
            if !may_come || exit.within(pauses.next().unwrap_or(SHORTEST_PAUSE)).await.is_some() {
                return Err(Unreachable::Failed(cause(&error, exit).await));
            }
            tracing::debug!(%error, "not yet connected; once more");
        }
    }

    /// Returns the agent to idle: an agent that was kept may hold a trial of a previous controller.
    async fn idle(self) -> Result<Self, Unreachable> {
        let state = self.session.welcome().state;
        if state != AgentState::Idle {
            self.back_to_idle(state).await.map_err(|error| Unreachable::by(&error))?;
        }
        Ok(self)
    }

    /// Reconnects to a live agent if the connection is lost, and returns it to idle.
    ///
    /// # Errors
    /// When the agent has ended, or accepts no connection within `time_limit`.
    pub(super) async fn reconnect(
        &mut self,
        keep_alive: Duration,
        time_limit: Duration,
    ) -> Result<(), Unreachable> {
        // An agent has one controller at a time; if the connection is intact, this controller still holds the
        // agent.
        if let Ok(pong) = self.session.ping().await {
            return self.back_to_idle(pong.state).await.map_err(|error| Unreachable::by(&error));
        }
        let name = self.name().to_owned();
        let begun = Instant::now();
        let mut pauses = pauses();
        loop {
            if let Some(exit) = self.exit.within(pauses.next().unwrap_or(SHORTEST_PAUSE)).await {
                return Err(Unreachable::Failed(format!("{name} {exit}")));
            }
            match Session::connect(&name, &self.dialer, self.token.reveal(), keep_alive).await {
                Ok(session) => {
                    self.engine = E::of(&session)?;
                    self.session = session;
                    let state = self.session.welcome().state;
                    return self.back_to_idle(state).await.map_err(|error| Unreachable::by(&error));
                }
                Err(error) if error.fault.is_forbidden() || begun.elapsed() > time_limit => {
                    return Err(Unreachable::by(&error));
                }
                Err(error) => tracing::debug!(%error, "not yet connected again; once more"),
            }
        }
    }

    /// Ends what the agent does, without a result.
    ///
    /// # Errors
    /// When it does not reply.
    pub(super) async fn abandon(&self) -> Result<(), SessionError> {
        let state = self.session.ping().await?.state;
        self.back_to_idle(state).await
    }

    /// Abandons the agent's current trial.
    async fn back_to_idle(&self, mut state: AgentState) -> Result<(), SessionError> {
        if !matches!(state, AgentState::Idle | AgentState::Finished) {
            state = self.session.step(Command::Stop(Stop::default()), WORK_TIME).await?;
        }
        if state == AgentState::Finished {
            let trial = self.session.report().await?.trial;
            self.session.step(Command::Acknowledge(Acknowledge { trial }), ANSWER_TIME).await?;
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        self.session.agent()
    }

    /// The end of the agent's process, if it caused `error`; otherwise the text of `error`.
    pub(super) async fn cause(&self, error: &SessionError) -> String {
        cause(error, self.exit.clone()).await
    }
}

impl Agent<Box<StreamsEngine>> {
    /// What moves its streams.
    pub(super) fn streams_engine(&self) -> &StreamsEngine {
        &self.engine
    }

    /// The host it runs on.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Where other agents reach it, as its platform knows; `None`: at the addresses of its interfaces.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The agent's entry in summary and environment.
    pub(super) fn streams_info(&self) -> StreamsAgentInfo {
        let (pod, welcome) = (self.pod.as_ref(), self.session.welcome());
        StreamsAgentInfo::new(self.name(), &self.node, pod, &self.command_line, welcome, &self.engine)
    }
}

impl Agent {
    /// What moves its frames.
    pub(super) fn engine(&self) -> &FrameEngine {
        &self.engine
    }

    /// Its port.
    pub(super) fn port(&self) -> &PortInfo {
        &self.engine().port
    }

    /// Ethernet address of its port.
    pub(super) fn mac(&self) -> MacAddr {
        self.port().mac
    }

    /// Record of the agent and its host; `next_hops` are those from its port.
    pub(super) fn environment(&self, next_hops: Vec<NextHop>) -> AgentEnvironment {
        let pod = self.pod.as_ref();
        let environment = AgentEnvironment::new(
            self.name(),
            &self.node,
            pod,
            &self.command_line,
            self.session.welcome(),
            &self.engine,
        );
        AgentEnvironment { next_hops, ..environment }
    }

    /// The agent's entry in the summary.
    pub(super) fn info(&self) -> AgentInfo {
        let FrameEngine { port, lcores, no_huge, .. } = self.engine();
        let clock = &self.session.welcome().clock;
        AgentInfo {
            name: self.name().to_owned(),
            node: self.node.clone(),
            command_line: words_without_secrets(self.command_line.iter().map(String::as_str)),
            device: port.device.clone(),
            driver: port.driver.clone(),
            mac: port.mac,
            numa_node: port.numa_node,
            link_bps: port.link_bps,
            lcores: lcores.clone(),
            hugepages: !no_huge,
            tick_hz: clock.tick_hz,
            tick_rate: clock.rate,
        }
    }
}

async fn cause(error: &SessionError, mut exit: ExitWatch) -> String {
    if error.fault.is_refusal() {
        return error.to_string();
    }
    match exit.within(EXIT_TIME).await {
        Some(exit) => format!("{} {exit}", error.agent),
        None => error.to_string(),
    }
}
