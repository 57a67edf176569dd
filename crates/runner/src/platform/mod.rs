//! Platforms: a platform starts agents, reports where they listen, and ends all of them.

pub mod balancer;
pub mod binary;
pub mod buffers;
pub mod cpus;
pub mod launch;
pub mod local;
pub mod local_kernel;
pub mod memory;
mod namespaces;
pub mod process;
mod start;
mod tuners;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

pub use process::{Exit, ExitWatch};
pub use tuners::may_tune;

use linerate_experiment::host_settings::HostSetting;
use linerate_results::host_setting::HostSettingValue;
use linerate_results::store::environment::PodPlace;

use crate::session::Dialer;

/// Starts and ends agents.
pub trait Platform {
    /// Starts every agent of the topology and waits until all run; returns them group by group. Passes each
    /// reason for a delay to `say`.
    ///
    /// # Errors
    /// The reason of the first agent that did not start. [`Platform::stop`] then ends the agents that did.
    fn start(
        &mut self,
        say: &dyn Fn(&str),
    ) -> impl Future<Output = Result<Vec<Vec<AgentEndpoint>>, PlatformError>>;

    /// Restarts all agents of one group, whatever their state. `number` is the group's place in the topology.
    ///
    /// # Errors
    /// Why they did not start.
    fn restart(
        &mut self,
        number: usize,
        say: &dyn Fn(&str),
    ) -> impl Future<Output = Result<Vec<AgentEndpoint>, PlatformError>>;

    /// Starts an agent in the network of each node on which agents run, and waits until each runs or will not: they watch
    /// what agents in pods do not see. None where the experiment asks for none, and where agents see their hosts.
    /// [`Platform::stop`] ends them with the others.
    fn watch_nodes(&mut self, _say: &dyn Fn(&str)) -> impl Future<Output = Vec<NodeWatcher>> {
        std::future::ready(Vec::new())
    }

    /// Puts a setting of the agents' hosts in force in place of the one before it; `None`: as they were before the run.
    /// Agents run then. Returns what was read back; `None` when nothing had to be changed. [`Platform::stop`] restores
    /// everything.
    ///
    /// # Errors
    /// Why it is not in force.
    fn tune(
        &mut self,
        setting: Option<&HostSetting>,
    ) -> impl Future<Output = Result<Option<Vec<HostSettingValue>>, PlatformError>> {
        let changes = setting.is_some_and(HostSetting::changes);
        async move {
            match changes {
                true => Err(PlatformError::HostSetting(
                    "settings of hosts are changed on platform local only".to_owned(),
                )),
                false => Ok(None),
            }
        }
    }

    /// Looks whether the setting of hosts was in force all the time until now.
    ///
    /// # Errors
    /// Why it may not have been: the trial is none under it.
    fn still_tuned(&mut self) -> Result<(), PlatformError> {
        Ok(())
    }

    /// True when the agents stay after the run.
    fn keeps(&self) -> bool {
        false
    }

    /// Ends every agent in bounded time, whatever its state. Agents that were `asked` to shut down get a
    /// moment to do so.
    fn stop(&mut self, asked: bool) -> impl Future<Output = ()>;
}

/// The agent that watches a node.
#[derive(Debug)]
pub struct NodeWatcher {
    /// Name of the node.
    pub node: String,
    /// Where it listens, or why it does not run.
    pub agent: Result<AgentEndpoint, String>,
}

/// An agent that listens.
#[derive(Debug)]
pub struct AgentEndpoint {
    /// Its name, such as `tx0`.
    pub name: String,
    /// The host it runs on.
    pub node: String,
    /// Where other agents reach it, as the platform knows; `None`: at the addresses of its interfaces.
    pub address: Option<IpAddr>,
    /// The pod it runs in; `None` outside of a cluster.
    pub pod: Option<PodPlace>,
    /// Opens connections to it.
    pub dialer: Dialer,
    /// Token that it demands.
    pub token: Token,
    /// How it was started.
    pub command_line: Vec<String>,
    /// Reports when and how it ended.
    pub exit: ExitWatch,
}

/// A shared secret. It is never shown or stored.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new random token.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, PlatformError> {
        random_hex(32).map(Self)
    }

    /// An empty token, for manifests that are only shown.
    pub fn none() -> Self {
        Self(String::new())
    }

    /// A token that was made earlier.
    pub fn known(token: String) -> Self {
        Self(token)
    }

    /// The secret.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Random bytes as hexadecimal digits, two per byte.
///
/// # Errors
/// When the system gives no random bytes.
pub fn random_hex(bytes: usize) -> Result<String, PlatformError> {
    random_bytes(bytes).map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Random bytes.
///
/// # Errors
/// When the system gives none.
pub fn random_bytes(count: usize) -> Result<Vec<u8>, PlatformError> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).map_err(|error| PlatformError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Why agents cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The program was not found.
    #[error(transparent)]
    Binary(#[from] binary::NotFound),
    /// Not enough hugepages.
    #[error(transparent)]
    Memory(#[from] memory::TooLittle),
    /// Too little packet memory for the buffers.
    #[error(transparent)]
    Buffers(#[from] buffers::TooFewMegabytes),
    /// Reason of another platform.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// A frame does not fit the platform's ports.
    #[error(
        "frames of {size} bytes are too large for platform local, whose memif ports carry {most} at most; leave them out with --filter or in the document"
    )]
    FrameTooLarge {
        /// Requested frame size, check sequence included.
        size: u32,
        /// Largest frame possible.
        most: u32,
    },
    /// The document's network cannot be had here: field, reason, remedy.
    #[error("{0}")]
    Network(String),
    /// A setting of hosts is not in force, or not restored: which, why, and the remedy.
    #[error("{0}")]
    HostSetting(String),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The CPUs cannot be read.
    #[error("the CPUs this program may use are not known: {0}")]
    Cpus(String),
    /// An agent's log or runtime directory cannot be created.
    #[error("cannot create {}: {reason}", path.display())]
    Log {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// An agent's program cannot be executed.
    #[error("cannot run {}: {reason}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// An agent did not start.
    #[error("{agent} did not start: {reason}\n  its log: {}", log.display())]
    NotStarted {
        /// The agent's name.
        agent: String,
        /// Its own reason, or how it ended.
        reason: String,
        /// File with its log.
        log: PathBuf,
    },
}
