//! What this end counted beside what the other end says. Pure.
//!
//! This end's counts decide: for what it sends, the bytes and datagrams that its kernel accepted (and that the
//! peer's kernel acknowledged), for what it receives, what its program read. The peer's figures stand beside
//! them, and each disagreement is told, with its cause where iperf3's way of counting is the cause.

mod exchange;
mod foreign;

use linerate_wire::streams::Protocol;
use serde::Serialize;

pub(crate) use self::exchange::{Claims, OwnStream, Telling, claims, results};
use self::foreign::{Foreign, compare};
use super::outcome::{Outcome, Role};
use crate::control::program;
use crate::result::interval::Interval;
use crate::result::verdict::{Verdict, VerdictKind};
use crate::result::{Accounts, DirectionResult, End, end, of_direction, rtt_of, told as reasons};
use crate::spec::{Direction, TrialSpec};
use crate::streams::counters::StreamCounters;

/// A remark on results of UDP without omitted_packets.
const OLD_RESULTS: &str = "the peer's results lack omitted_packets (iperf3 before 3.13): newer clients of iperf3 show the losses at such \
     a server as 0";

/// A test's result at this end.
#[derive(Debug, Serialize)]
pub(crate) struct TestResult {
    pub(crate) program: String,
    /// Which end this is: `client` or `server`.
    pub(crate) role: &'static str,
    /// Start of the test by this end's calendar, in seconds since 1970.
    pub(crate) began_unix_s: f64,
    /// True when every stream ended in order, and the peer told its results.
    pub(crate) complete: bool,
    /// True when a signal of this end ended it.
    pub(crate) interrupted: bool,
    /// Why the account is not complete, each in one sentence.
    pub(crate) failures: Vec<String>,
    /// Where the peer's figures are others than this end's, each in one sentence.
    pub(crate) disagreements: Vec<String>,
    pub(crate) remarks: Vec<String>,
    pub(crate) peer: Peer,
    pub(crate) trial: TrialSpec,
    /// Seconds at the beginning that the peer does not count, and this end does.
    pub(crate) omit_s: u64,
    /// Each stream's counters at their end; absent when they did not pass.
    #[serde(skip)]
    pub(crate) omitted: Option<Vec<(u32, StreamCounters)>>,
    /// This end.
    pub(crate) own: End,
    /// Forward first.
    pub(crate) directions: Vec<Compared>,
    pub(crate) intervals: Vec<Interval>,
    /// Oldest intervals that were left out.
    pub(crate) intervals_left_out: u64,
}

/// The other end: iperf3, or a program that speaks like it.
#[derive(Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) address: std::net::SocketAddr,
    /// Version of a client; null for servers, which do not tell it.
    pub(crate) version: Option<String>,
    /// CPU time of its program, as it says, in per cent of one CPU; null without its results.
    pub(crate) cpu_percent: Option<f64>,
}

/// A direction: this end's figures, with the peer's counts where only the peer has them, and all that the peer
/// says.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    #[serde(flatten)]
    pub(crate) figures: DirectionResult,
    /// What the peer says; null without its results.
    pub(crate) foreign: Option<Foreign>,
}

impl TestResult {
    /// The result of a test.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let (mut disagreements, mut remarks) = (Vec::new(), outcome.remarks.clone());
        remarks.extend(outcome.own.notes.iter().cloned());
        let told = outcome.foreign.as_ref().map(|foreign| foreign.streams.as_slice()).unwrap_or_default();
        let old = told.iter().any(|stream| stream.omitted.is_none());
        if outcome.spec.each.protocol == Protocol::Udp && old {
            remarks.push(OLD_RESULTS.to_owned());
        }
        let each = outcome.spec.directions.each().iter();
        let directions: Vec<Compared> = each
            .map(|direction| {
                let mut figures = of_own(outcome, *direction);
                let compared = compare(outcome, *direction, &mut figures);
                disagreements.extend(compared.disagreements);
                remarks.extend(compared.remarks);
                figures.verdict = verdict(outcome, *direction, &figures);
                Compared { figures, foreign: compared.foreign }
            })
            .collect();
        let streams = || directions.iter().flat_map(|direction| &direction.figures.streams);
        let mut failures: Vec<String> = outcome.failure.iter().cloned().collect();
        failures.extend(reasons(streams()));
        Self {
            program: program(),
            role: match outcome.role {
                Role::Client => "client",
                Role::Server => "server",
            },
            began_unix_s: outcome.began_unix_s,
            complete: outcome.failure.is_none() && streams().all(|stream| stream.complete),
            interrupted: outcome.interrupted,
            failures,
            disagreements,
            remarks,
            peer: Peer {
                address: outcome.ends.peer,
                version: outcome.ends.peer_version.clone(),
                cpu_percent: outcome.foreign.as_ref().map(|foreign| foreign.cpu[0]),
            },
            trial: outcome.spec.clone(),
            omit_s: outcome.omit_s,
            omitted: outcome.omitted.clone(),
            own: end(Some(&outcome.own), outcome.ends.local, None),
            directions,
            intervals: outcome.recording.intervals(outcome.role, &outcome.spec),
            intervals_left_out: outcome.recording.left_out,
        }
    }
}

fn accounts(outcome: &Outcome) -> Accounts<'_> {
    let own = Some(&outcome.own);
    let (client, server) = match outcome.role {
        Role::Client => (own, None),
        Role::Server => (None, own),
    };
    Accounts { spec: &outcome.spec, client, server, clock: None }
}

/// A direction's figures as far as this end knows them.
fn of_own(outcome: &Outcome, direction: Direction) -> DirectionResult {
    let rtt_us = rtt_of(outcome.recording.samples.iter().filter_map(|sample| sample.sent.as_ref()));
    of_direction(&accounts(outcome), direction, rtt_us.filter(|_| outcome.role.sends() == direction))
}

/// The verdict: of what this end sends as usual, of what it receives as far as its counts carry one.
fn verdict(outcome: &Outcome, direction: Direction, figures: &DirectionResult) -> Verdict {
    let unknown = |evidence: &str| Verdict { kind: VerdictKind::Unknown, evidence: evidence.to_owned() };
    let sends = outcome.role.sends() == direction;
    if !sends && outcome.spec.each.protocol == Protocol::Tcp {
        return unknown("the sender is iperf3, whose kernel's account is not known here");
    }
    let verdict = crate::result::judge_direction(&accounts(outcome), direction, figures);
    match verdict.kind {
        VerdictKind::ApplicationLimited | VerdictKind::SendBufferLimited | VerdictKind::CpuLimited
            if !sends =>
        {
            unknown("less than intended was sent; the sender is iperf3, and why is not known here")
        }
        _ => verdict,
    }
}

#[cfg(test)]
pub(super) mod tests;
