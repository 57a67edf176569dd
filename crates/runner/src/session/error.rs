//! Errors between the controller and an agent.

use linerate_traffic::span::Span;
use linerate_wire::message::{ErrorCode, MAX_REPLY_BYTES, WireError};

/// A fault of the session with an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{agent}: {fault}")]
pub struct SessionError {
    /// The agent's name, such as `tx0`.
    pub agent: String,
    /// What went wrong.
    pub fault: Fault,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection could not be opened.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The address.
        address: String,
        /// The reason.
        reason: String,
    },
    /// The cluster refuses access to the agent; retries do not help.
    #[error("{0}")]
    Forbidden(String),
    /// The agent speaks another version.
    #[error(
        "the agent speaks another version of the protocol ({0}); use linerate and the program of the agents (linerate-dataplane, linerate-hostplane) of one version"
    )]
    Version(String),
    /// The agent refused the request; the session goes on.
    #[error("{method} was refused: {error}")]
    Refused {
        /// The request.
        method: &'static str,
        /// Its reason.
        error: WireError,
    },
    /// A line that is not a message.
    #[error("the agent sent a line that is no message ({0})")]
    Malformed(String),
    /// A line longer than the limit.
    #[error("the agent sent a line of more than {MAX_REPLY_BYTES} bytes")]
    TooLong,
    /// A reply of the wrong kind.
    #[error("the agent answered {method} with something else")]
    Unexpected {
        /// The request.
        method: &'static str,
    },
    /// The queue of unread events is full.
    #[error("the agent sends events faster than they are read")]
    Flood,
    /// No reply in time.
    #[error("no answer to {method} within {limit}")]
    Silent {
        /// The request.
        method: &'static str,
        /// Time limit that passed.
        limit: Span,
    },
    /// The agent ended the session because it had not heard from the controller.
    #[error(
        "the agent received no message from the controller for longer than the orphan time and closed the connection (was linerate suspended? trial.orphan sets the time)"
    )]
    LetGo,
    /// The connection is closed.
    #[error("the agent closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(String),
}

impl Fault {
    /// True when the connection could not be opened or has broken; another one may work.
    pub fn is_broken_connection(&self) -> bool {
        matches!(self, Fault::Connect { .. } | Fault::Closed | Fault::Io(_) | Fault::Silent { .. })
    }

    /// True when access to the agent is refused; retries do not help.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Fault::Forbidden(_))
    }

    /// True when the agent has another controller.
    pub fn is_busy(&self) -> bool {
        matches!(self, Fault::Refused { error, .. } if error.code == ErrorCode::Busy)
    }

    /// True when the session goes on: the agent refused one request only.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Fault::Refused { .. })
    }
}
