//! A backend that is away for a time: nobody listens at its port, and connections are reset, as of a process that was killed; or it
//! says that it is not ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use linerate_wire::http::{AbsenceKind, AbsenceReport};

use super::{Backend, Shown};

/// No such instant.
const NEVER: u64 = u64::MAX;

/// What the threads of a backend know and tell of its absence. Instants are nanoseconds of the raw monotonic clock.
#[derive(Debug)]
pub(super) struct Absence {
    from_ns: AtomicU64,
    until_ns: AtomicU64,
    keeps_connections: AtomicBool,
    /// It accepts connections all the same.
    keeps_listening: AtomicBool,
    /// When the first thread left, when the last one was back, and when the first request came then.
    left_ns: AtomicU64,
    returned_ns: AtomicU64,
    first_request_ns: AtomicU64,
    cut_connections: AtomicU64,
    /// When the last connection was accepted meanwhile.
    last_connection_ns: AtomicU64,
}

impl Default for Absence {
    fn default() -> Self {
        let never = || AtomicU64::new(NEVER);
        Self {
            from_ns: never(),
            until_ns: never(),
            keeps_connections: AtomicBool::new(false),
            keeps_listening: AtomicBool::new(false),
            left_ns: never(),
            returned_ns: AtomicU64::new(0),
            first_request_ns: never(),
            cut_connections: AtomicU64::new(0),
            last_connection_ns: AtomicU64::new(0),
        }
    }
}

impl Absence {
    /// Beginning and end; `None` when none is planned.
    #[inline]
    pub(super) fn planned(&self) -> Option<(u64, u64)> {
        let from = self.from_ns.load(Ordering::Acquire);
        (from != NEVER).then(|| (from, self.until_ns.load(Ordering::Relaxed)))
    }

    pub(super) fn keeps_connections(&self) -> bool {
        self.keeps_connections.load(Ordering::Relaxed)
    }

    pub(super) fn keeps_listening(&self) -> bool {
        self.keeps_listening.load(Ordering::Relaxed)
    }

    /// A connection was accepted although the backend is away.
    pub(super) fn connected(&self, now: u64) {
        self.last_connection_ns.fetch_max(now, Ordering::Relaxed);
    }

    /// A thread left, and cut so many connections.
    pub(super) fn left(&self, now: u64, cut: u64) {
        self.left_ns.fetch_min(now, Ordering::Relaxed);
        self.cut_connections.fetch_add(cut, Ordering::Relaxed);
    }

    pub(super) fn returned(&self, now: u64) {
        self.returned_ns.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn first_request(&self, now: u64) {
        self.first_request_ns.fetch_min(now, Ordering::Relaxed);
    }
}

/// An absence of a backend. Dropping it brings the backend back.
#[derive(Debug)]
pub(crate) struct PlannedAbsence {
    absence: Arc<Absence>,
    threads: Vec<Arc<Shown>>,
}

/// Whether a backend is there, for others to ask.
#[derive(Debug, Clone)]
pub(crate) struct Presence(Arc<Absence>);

impl Presence {
    /// True unless it is away at this instant.
    pub(crate) fn is_ready(&self, now: u64) -> bool {
        self.0.planned().is_none_or(|(from, until)| now < from || until <= now)
    }
}

impl Backend {
    /// Whether it is there.
    pub(crate) fn presence(&self) -> Presence {
        Presence(Arc::clone(&self.absence))
    }

    /// Has the backend go away from one instant until another.
    pub(crate) fn be_away(&self, from_ns: u64, until_ns: u64, kind: AbsenceKind) -> PlannedAbsence {
        let absence = &self.absence;
        absence.left_ns.store(NEVER, Ordering::Relaxed);
        absence.returned_ns.store(0, Ordering::Relaxed);
        absence.first_request_ns.store(NEVER, Ordering::Relaxed);
        absence.cut_connections.store(0, Ordering::Relaxed);
        absence.last_connection_ns.store(0, Ordering::Relaxed);
        absence.keeps_connections.store(kind != AbsenceKind::Killed, Ordering::Relaxed);
        absence.keeps_listening.store(kind == AbsenceKind::NotReady, Ordering::Relaxed);
        absence.until_ns.store(until_ns, Ordering::Relaxed);
        absence.from_ns.store(from_ns.min(NEVER - 1), Ordering::Release);
        self.shown.iter().for_each(|shown| shown.wake());
        PlannedAbsence { absence: Arc::clone(absence), threads: self.shown.clone() }
    }
}

impl PlannedAbsence {
    /// What was seen of it, in nanoseconds since `started_ns`.
    pub(crate) fn report(&self, started_ns: u64) -> AbsenceReport {
        let since = |instant: &AtomicU64| match instant.load(Ordering::Relaxed) {
            0 | NEVER => None,
            ns => Some(ns.saturating_sub(started_ns)),
        };
        let Absence { left_ns, returned_ns, first_request_ns, cut_connections, last_connection_ns, .. } =
            &*self.absence;
        AbsenceReport {
            left_ns: since(left_ns),
            returned_ns: since(returned_ns),
            first_request_ns: since(first_request_ns),
            cut_connections: cut_connections.load(Ordering::Relaxed),
            last_connection_ns: since(last_connection_ns),
        }
    }
}

impl Drop for PlannedAbsence {
    fn drop(&mut self) {
        self.absence.from_ns.store(NEVER, Ordering::Release);
        self.threads.iter().for_each(|shown| shown.wake());
    }
}
