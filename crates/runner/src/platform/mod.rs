//! Where agents run. A platform starts them, says where they listen, and sees to it that none is left.

pub mod binary;
pub mod buffers;
pub mod cpus;
pub mod launch;
pub mod local;
pub mod memory;
pub mod process;

use std::fmt;
use std::path::PathBuf;

pub use process::{Exit, ExitWatch};

use linerate_results::store::environment::PodPlace;

use crate::session::Dialer;

/// Starts agents, and ends them.
pub trait Platform {
    /// Starts every agent of the topology and waits until they run; returns them group by group. `say` is told what keeps them from it.
    ///
    /// # Errors
    /// The first agent that did not start, with its own reason. Those that did are then ended by [`Platform::stop`].
    fn start(
        &mut self,
        say: &dyn Fn(&str),
    ) -> impl Future<Output = Result<Vec<Vec<AgentEndpoint>>, PlatformError>>;

    /// Starts all agents of one group anew, whatever became of them. `number` is the group's place in the topology.
    ///
    /// # Errors
    /// Why they did not start.
    fn restart(
        &mut self,
        number: usize,
        say: &dyn Fn(&str),
    ) -> impl Future<Output = Result<Vec<AgentEndpoint>, PlatformError>>;

    /// True when the agents are meant to stay after the run.
    fn keeps(&self) -> bool {
        false
    }

    /// Ends every agent in bounded time, whatever its state. Agents that were `asked` to shut down get a moment to do so.
    fn stop(&mut self, asked: bool) -> impl Future<Output = ()>;
}

/// An agent that listens.
#[derive(Debug)]
pub struct AgentEndpoint {
    /// Its name, such as `tx0`.
    pub name: String,
    /// The host it runs on.
    pub node: String,
    /// The pod it runs in; none outside of a cluster.
    pub pod: Option<PodPlace>,
    /// How it is reached.
    pub dialer: Dialer,
    /// What it wants to be shown.
    pub token: Token,
    /// How it was started.
    pub command_line: Vec<String>,
    /// Tells when and how it ended.
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

    /// A token that is none, for manifests that are only shown.
    pub fn none() -> Self {
        Self(String::new())
    }

    /// A token that was made before.
    pub fn known(token: String) -> Self {
        Self(token)
    }

    /// The secret itself.
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

/// Agents cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// No program to start.
    #[error(transparent)]
    Binary(#[from] binary::NotFound),
    /// Not enough hugepages.
    #[error(transparent)]
    Memory(#[from] memory::TooLittle),
    /// Too little packet memory for the buffers.
    #[error(transparent)]
    Buffers(#[from] buffers::TooFewMegabytes),
    /// Another platform's own reason.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// A frame does not fit the platform's ports.
    #[error(
        "frames of {size} bytes are too large for platform local, whose memif ports carry {most} at most; leave them out with --filter or in the document"
    )]
    FrameTooLarge {
        /// Largest frame asked for, check sequence included.
        size: u32,
        /// Largest frame possible.
        most: u32,
    },
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The CPUs are not known.
    #[error("the CPUs this program may use are not known: {0}")]
    Cpus(String),
    /// An agent's log, or the directory for what it leaves behind, cannot be made.
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
        /// Where it wrote the rest.
        log: PathBuf,
    },
}
