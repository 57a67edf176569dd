//! What a worker waits for.

use std::mem::MaybeUninit;

use linerate_agent::host::monotonic_ns;
use rustix::event::epoll::{self, Event};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec};

use super::super::transport::Transport;
use super::{NO_START, ORDERS, Phase, TIMER, Worker};

/// Time before a request is due in which a worker with a CPU of its own no longer sleeps: longer than waking up
/// takes.
const SPIN_NS: u64 = 50_000;
const POLL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl<T: Transport> Worker<T> {
    /// Waits for events, or for the time of the next thing to do, and handles them.
    pub(super) fn wait(&mut self, busy: bool, events: &mut Vec<Event>) {
        let asleep_ns = monotonic_ns();
        self.longest_gap_ns = self.longest_gap_ns.max(asleep_ns.saturating_sub(self.awake_ns));
        let exact = self.next_exact_ns();
        let coarse = self.next_coarse_ns();
        let spinning = !busy && self.spins && exact.saturating_sub(asleep_ns) <= SPIN_NS;
        let timeout = if busy || spinning || exact.min(coarse) <= asleep_ns {
            Some(POLL)
        } else {
            self.set_timer(exact.saturating_sub(if self.spins { SPIN_NS } else { 0 }), asleep_ns);
            time_limit(coarse, asleep_ns)
        };
        events.clear();
        let spare: &mut [MaybeUninit<Event>] = events.spare_capacity_mut();
        let ready = epoll::wait(&self.epoll, spare, timeout.as_ref()).map_or(&mut [][..], |(ready, _)| ready);
        let awake_ns = monotonic_ns();
        self.awake_ns = awake_ns;
        if spinning && ready.is_empty() {
            self.spun_ns += awake_ns.saturating_sub(asleep_ns);
        }
        for event in ready {
            let (data, flags) = (event.data.u64(), event.flags);
            match data {
                ORDERS => {
                    let _ = rustix::io::read(&self.shown.wake, &mut [0; 8]);
                }
                // Its clock is steered and the worker's is not: it may be early, and is to be set again then.
                TIMER => self.timer_ns = 0,
                _ => self.note(data, flags),
            }
        }
    }

    /// Has the timer wake this worker at a time. The timer is exact to microseconds; epoll's own time limit has
    /// milliseconds on old kernels.
    pub(super) fn set_timer(&mut self, wake_ns: u64, now_ns: u64) {
        if wake_ns == self.timer_ns || wake_ns >= NO_START - SPIN_NS {
            return;
        }
        self.timer_ns = wake_ns;
        let ns = wake_ns.saturating_sub(now_ns).max(1);
        let once = Itimerspec { it_interval: POLL, it_value: timespec(ns) };
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }

    /// The next time that matters to the microsecond.
    fn next_exact_ns(&self) -> u64 {
        match self.phase {
            Phase::Arming | Phase::Armed => self.start_ns,
            Phase::Sending if !self.pending.is_empty() && !self.free.is_empty() => {
                self.due_ns.min(self.next_allowed_ns)
            }
            Phase::Sending => self.due_ns,
            Phase::Draining => u64::MAX,
        }
    }

    /// The next time at which something is to be looked at.
    fn next_coarse_ns(&self) -> u64 {
        let places = self.h2.as_ref().map(|h2| &h2.deadlines);
        let limits =
            [&self.deadlines, &self.closing].into_iter().chain(places).filter_map(|limits| limits.next_ns());
        let limits = limits.min().unwrap_or(u64::MAX);
        match self.phase {
            Phase::Arming | Phase::Armed => limits,
            Phase::Sending => {
                let rests = self.resting.peek().map_or(u64::MAX, |(until, _)| until.0);
                limits.min(rests).min(self.end_ns)
            }
            Phase::Draining => limits.min(self.drain_ns),
        }
    }
}

/// Time limit of epoll, which rounds it up; `None`: none.
fn time_limit(next_ns: u64, now_ns: u64) -> Option<Timespec> {
    // The kernel takes milliseconds as a signed number of 32 bits.
    (next_ns != u64::MAX).then(|| timespec(next_ns.saturating_sub(now_ns).clamp(1, 1_000_000_000_000)))
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}
