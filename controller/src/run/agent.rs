//! Agents and pairs as a run holds them: endpoint and session together.

use std::time::Duration;

use linerate_protocol::mac::MacAddr;
use linerate_protocol::message::Welcome;

use crate::clock::{ClockVerdict, compare};
use crate::platform::{AgentEndpoint, ExitWatch, PairEndpoints};
use crate::session::{Session, SessionError};
use crate::summary::AgentInfo;

/// Time for a process whose connection has gone to be known as ended.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// A connected agent.
#[derive(Debug)]
pub(super) struct Agent {
    /// The connection.
    pub(super) session: Session,
    node: String,
    command_line: Vec<String>,
    exit: ExitWatch,
}

impl Agent {
    /// Connects to an agent that listens.
    ///
    /// # Errors
    /// Why not, in words that name the agent.
    pub(super) async fn connect(endpoint: AgentEndpoint, keep_alive: Duration) -> Result<Self, String> {
        let AgentEndpoint { name, node, dialer, token, command_line, exit } = endpoint;
        match Session::connect(&name, &dialer, token.reveal(), keep_alive).await {
            Ok(session) => Ok(Self { session, node, command_line, exit }),
            Err(error) => Err(cause(&error, exit).await),
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.session.agent()
    }

    /// Ethernet address of its port.
    pub(super) fn mac(&self) -> MacAddr {
        self.session.welcome().port.mac
    }

    /// Tells the end of its process, where `error` is of this agent and comes from that.
    pub(super) async fn cause(&self, error: &SessionError) -> String {
        cause(error, self.exit.clone()).await
    }

    fn info(&self) -> AgentInfo {
        let Welcome { port, clock, lcores, no_huge, .. } = self.session.welcome();
        AgentInfo {
            name: self.name().to_owned(),
            node: self.node.clone(),
            command_line: self.command_line.clone(),
            device: port.device.clone(),
            driver: port.driver.clone(),
            mac: port.mac,
            numa_node: port.numa_node,
            link_bps: port.link_bps,
            lcores: lcores.clone(),
            hugepages: !no_huge,
            tick_hz: clock.tick_hz,
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

/// Two connected agents.
#[derive(Debug)]
pub(super) struct Pair {
    /// Its name, such as `tx0-rx0`.
    pub(super) name: String,
    /// The transmitter in trials.
    pub(super) tx: Agent,
    /// The receiver in trials.
    pub(super) rx: Agent,
    /// Whether their times can be compared.
    pub(super) clock: ClockVerdict,
}

impl Pair {
    /// Connects to both ends.
    ///
    /// # Errors
    /// Why not, in words that name the agent.
    pub(super) async fn connect(endpoints: PairEndpoints, keep_alive: Duration) -> Result<Self, String> {
        let tx = Agent::connect(endpoints.tx, keep_alive).await?;
        let rx = Agent::connect(endpoints.rx, keep_alive).await?;
        let clock = compare(&tx.session.welcome().clock, &rx.session.welcome().clock);
        Ok(Self { name: format!("{}-{}", tx.name(), rx.name()), tx, rx, clock })
    }

    /// Both ends, for the summary.
    pub(super) fn info(&self) -> [AgentInfo; 2] {
        [self.tx.info(), self.rx.info()]
    }
}
