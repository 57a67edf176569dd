//! What the threads of both ends hand over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use linerate_measure::histogram::TickHistogram;

pub(crate) use super::answer::{Answered, answer};

/// What all streams of a trial share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// True when no further request is to become due.
    pub(crate) stop: AtomicBool,
    /// True when responses are not waited for any more: the server has ended, or the user does not wait.
    pub(crate) cut: AtomicBool,
    /// Requests that are due from this instant on count as sent under load; `u64::MAX`: not yet.
    pub(crate) load_from_ns: AtomicU64,
    /// End of the load beside the requests, from which on none is due; `u64::MAX`: not known.
    pub(crate) load_until_ns: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            load_from_ns: AtomicU64::new(u64::MAX),
            load_until_ns: AtomicU64::new(u64::MAX),
        }
    }
}

/// Counts and times of the requests of a phase. requests = responses + lost + unknown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    /// Not answered in time, or not at all.
    pub(crate) lost: u64,
    /// Under way when the stream was broken off: whether they were answered is not known.
    pub(crate) unknown: u64,
    /// From the time at which a request was due to the call that has received its response; empty without a rate.
    pub(crate) corrected: TickHistogram,
    /// From the call that sends to the call that has received.
    pub(crate) application: TickHistogram,
    /// From the request's departure from this kernel to the response's arrival in it.
    pub(crate) kernel: TickHistogram,
    /// Time for a connection to be made.
    pub(crate) connect: TickHistogram,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.responses += other.responses;
        self.lost += other.lost;
        self.unknown += other.unknown;
        self.corrected.merge(&other.corrected);
        self.application.merge(&other.application);
        self.kernel.merge(&other.kernel);
        self.connect.merge(&other.connect);
    }

    /// Counts a response that was there at `answered_ns`, and its times.
    pub(super) fn record_answer(&mut self, answered_ns: u64, sent_ns: u64, due_ns: Option<u64>) {
        let since = |ns: u64| answered_ns.wrapping_sub(ns).cast_signed();
        self.responses += 1;
        self.application.record(since(sent_ns));
        // What left late because an earlier one took long has waited, too.
        if let Some(due_ns) = due_ns {
            self.corrected.record(since(due_ns));
        }
    }
}

/// When a request was due (without a rate: sent), with respect to the load beside it. None is due after a load whose
/// end is known beforehand: what a stall keeps back until then is of the load, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Loaded,
}

/// A stream's account.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamTally {
    /// Before a load began; all requests where there is none.
    pub(crate) idle: Tally,
    pub(crate) loaded: Tally,
    /// Responses that came after their request counted as lost.
    pub(crate) late: u64,
    /// Further copies of responses, and responses later than what is remembered of lost requests.
    pub(crate) duplicates: u64,
    /// Datagrams that answer no request of this stream.
    pub(crate) foreign: u64,
    /// Requests that were due and never sent.
    pub(crate) forgone: u64,
    /// Largest delay of a request against its schedule.
    pub(crate) slip_ns: u64,
    /// From the first request to the last response.
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
    /// Why the stream ended early.
    pub(crate) failure: Option<String>,
}

impl StreamTally {
    pub(super) fn phase(&mut self, phase: Phase) -> &mut Tally {
        match phase {
            Phase::Idle => &mut self.idle,
            Phase::Loaded => &mut self.loaded,
        }
    }
}

impl Shared {
    pub(super) fn phase(&self, due_ns: u64) -> Phase {
        if due_ns < self.load_from_ns.load(Ordering::Relaxed) { Phase::Idle } else { Phase::Loaded }
    }
}
