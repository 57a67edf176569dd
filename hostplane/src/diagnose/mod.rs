//! Diagnosis of a path between two hosts or pods: measurements both ways, what each end sees of its host, and
//! findings in words with their evidence and remedy.

mod finding;
mod judge;
pub(crate) mod ladder;
mod port;
mod run;
mod sweep;
pub(crate) mod text;
pub(crate) mod view;

use std::net::SocketAddr;

use serde::Serialize;

use self::finding::{Finding, Severity};
use self::ladder::Ladder;
pub(crate) use self::port::PortProbe;
pub(crate) use self::run::{Plan, run};
use self::sweep::Sweep;
use self::view::HostView;
use crate::result::TrialResult;
use crate::spec::Direction;

/// What a diagnosis measured and found.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    pub(crate) program: String,
    /// Start by the client's calendar, in seconds since 1970.
    pub(crate) began_unix_s: f64,
    /// Name or address of the server, as given.
    pub(crate) to: String,
    /// Both ends before the measurements and after them.
    pub(crate) client: Both,
    /// Null when the server was not reached.
    pub(crate) server: Option<Both>,
    /// Why the server was not seen again after the measurements; null when it was, or was never reached.
    pub(crate) server_note: Option<String>,
    /// Addresses of the control connection at both ends; null when the server was not reached.
    pub(crate) addresses: Option<Addresses>,
    /// Why the server was not reached.
    pub(crate) unreachable: Option<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) sweeps: Vec<Sweep>,
    /// Null when it was not searched for.
    pub(crate) ladder: Option<Ladder>,
    pub(crate) ladder_note: Option<String>,
    pub(crate) ports: Vec<PortProbe>,
    /// The worst first.
    pub(crate) findings: Vec<Finding>,
}

/// An end before and after.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Both {
    pub(crate) before: HostView,
    /// Null when it could not be seen again.
    pub(crate) after: Option<HostView>,
}

impl Both {
    /// The newest view.
    pub(crate) fn last(&self) -> &HostView {
        self.after.as_ref().unwrap_or(&self.before)
    }
}

/// Addresses of one connection as each end sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Addresses {
    /// The client's own address, and as it arrives at the server.
    pub(crate) client: SocketAddr,
    pub(crate) client_at_server: SocketAddr,
    /// The server's address as the client calls it, and its own.
    pub(crate) server: SocketAddr,
    pub(crate) server_at_server: SocketAddr,
}

/// Name of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepKind {
    /// One TCP stream.
    Tcp,
    /// Several TCP streams.
    TcpParallel,
    /// Datagrams at a rate.
    Udp,
}

/// A measurement in one direction.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    pub(crate) direction: Direction,
    /// Null when there is none.
    pub(crate) result: Option<TrialResult>,
    /// Why there is none.
    pub(crate) reason: Option<String>,
}

impl Diagnosis {
    /// True when something does not work.
    pub(crate) fn has_fault(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Fault)
    }

    /// The result of a measurement, and its only direction.
    pub(crate) fn measured(
        &self,
        kind: StepKind,
        direction: Direction,
    ) -> Option<(&TrialResult, &crate::result::DirectionResult)> {
        let step = self.steps.iter().find(|step| step.kind == kind && step.direction == direction)?;
        let result = step.result.as_ref()?;
        Some((result, result.directions.first()?))
    }

    /// Payload per second that arrived.
    pub(crate) fn received_bps(&self, kind: StepKind, direction: Direction) -> Option<f64> {
        self.measured(kind, direction)?.1.received_bps
    }
}
