//! What can go wrong between the controller and an agent.

use linerate_traffic::span::Span;
use linerate_wire::message::{ErrorCode, MAX_LINE_BYTES, WireError};

/// Something went wrong with an agent.
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
    /// No connection.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The way to the agent is refused for good.
    #[error("{0}")]
    Forbidden(String),
    /// The agent speaks another version.
    #[error(
        "the agent speaks another version of the protocol ({0}); use linerate and linerate-dataplane of one version"
    )]
    Version(String),
    /// The agent said no; the session goes on.
    #[error("{method} was refused: {error}")]
    Refused {
        /// The request.
        method: &'static str,
        /// Its reason.
        error: WireError,
    },
    /// A line that is no message.
    #[error("the agent sent a line that is no message ({0})")]
    Malformed(String),
    /// A line without end.
    #[error("the agent sent a line of more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// An answer of another kind.
    #[error("the agent answered {method} with something else")]
    Unexpected {
        /// The request.
        method: &'static str,
    },
    /// More events than anyone can want.
    #[error("the agent sends events faster than they are read")]
    Flood,
    /// No answer in time.
    #[error("no answer to {method} within {limit}")]
    Silent {
        /// The request.
        method: &'static str,
        /// How long was waited.
        limit: Span,
    },
    /// The agent took this controller for gone.
    #[error(
        "the agent had heard nothing from the controller for longer than the orphan time and let it go (was linerate suspended? trial.orphan sets the time)"
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
    /// True when there is no connection, or no longer: another one may do.
    pub fn is_broken_connection(&self) -> bool {
        matches!(self, Fault::Connect { .. } | Fault::Closed | Fault::Io(_) | Fault::Silent { .. })
    }

    /// True when the way to the agent is refused, which no other attempt changes.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Fault::Forbidden(_))
    }

    /// True when the agent has another controller.
    pub fn is_busy(&self) -> bool {
        matches!(self, Fault::Refused { error, .. } if error.code == ErrorCode::Busy)
    }

    /// True when the session is still good: the agent only refused one request.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Fault::Refused { .. })
    }
}
