//! Which request goes to which connection, and when.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use linerate_agent::cpu_time::ThreadTime;
use linerate_agent::host::monotonic_ns;

use super::super::transport::Transport;
use super::connections::{Asked, State};
use super::{Phase, Worker};

/// Requests that are sent before the worker looks at events again.
const AT_ONCE: usize = 64;
/// Requests that become due, sent or not, before it does: more than any rate brings meanwhile.
const DUE_AT_ONCE: usize = 16_384;
/// Time after the end of sending in which requests that were due before it are still sent, in nanoseconds.
const LAST_NS: u64 = 1_000_000;

impl<T: Transport> Worker<T> {
    /// Begins to send.
    pub(super) fn begin_sending(&mut self, now: u64) {
        self.phase = Phase::Sending;
        self.sending = Some(ThreadTime::now());
        (self.spun_ns, self.longest_gap_ns) = (0, 0);
        self.end_ns = self
            .spec
            .duration_ms
            .map_or(u64::MAX, |ms| self.start_ns.saturating_add(ms.saturating_mul(1_000_000)));
        if self.schedule.is_some() {
            self.next_due();
        }
        if let Some(each) = self.h2.as_ref().map(|h2| h2.each) {
            // Connections take turns, as with HTTP/1.1.
            for number in 0..each {
                (0..self.slots.len()).for_each(|at| self.vacate(at * each + number, now));
            }
            return;
        }
        for at in 0..self.slots.len() {
            // A connection that is being made takes a request when it is there.
            if !matches!(self.slots[at].state, State::Connecting | State::Handshaking) {
                self.vacate(at, now);
            }
        }
    }

    /// Ends the sending at a time; responses are awaited.
    pub(super) fn end_sending(&mut self, at_ns: u64, now: u64) {
        // What was due before the end counts, also when this worker comes late.
        while self.due_ns < at_ns && monotonic_ns() < at_ns.saturating_add(LAST_NS) {
            self.release(at_ns.saturating_sub(1));
        }
        self.phase = Phase::Draining;
        self.used = Some(self.used_until_now());
        while self.due_ns < at_ns {
            self.counts.intended += 1;
            self.counts.skipped_at_end += 1;
            self.next_due();
        }
        self.end_ns = at_ns;
        self.sending_ended_ns = at_ns;
        self.drain_ns = now.saturating_add(self.spec.timeout_ms.saturating_mul(1_000_000));
        self.counts.skipped_at_end += self.pending.len() as u64;
        self.pending.clear();
        self.counts.waiting = 0;
    }

    /// The time of the next request of the schedule.
    fn next_due(&mut self) {
        let next = self.schedule.as_mut().and_then(super::WorkerSchedule::next_ns);
        let begins_ns = self.start_ns.saturating_add(self.spec.offset_ns);
        self.due_ns = next.map_or(u64::MAX, |ns| begins_ns.saturating_add(ns));
        if self.due_ns >= self.end_ns {
            self.due_ns = u64::MAX;
        }
    }

    /// True when further requests may become due.
    pub(super) fn has_more(&self) -> bool {
        match self.schedule {
            Some(_) => self.due_ns != u64::MAX || self.spec.requests.is_none() && self.end_ns != u64::MAX,
            None => self.spec.requests.is_none() || self.orders.requests_left.load(Ordering::Relaxed) > 0,
        }
    }

    /// Sends requests that are due, or has them wait: so many that events have their turn, too.
    #[inline]
    pub(super) fn release(&mut self, now: u64) {
        // A connection that cannot be made is free again: it is not tried again before other things are done.
        let mut can_connect = self.dispatch(now);
        let mut begun = 0;
        for _ in 0..DUE_AT_ONCE {
            if self.due_ns > now || begun == AT_ONCE {
                return;
            }
            let intended = self.due_ns;
            self.next_due();
            self.counts.intended += 1;
            if self.pending.is_empty()
                && can_connect
                && now >= self.next_allowed_ns
                && let Some(at) = self.free.pop_front()
            {
                begun += 1;
                can_connect = self.begin(at as usize, intended);
            } else if self.pending.len() < self.most_pending {
                self.pending.push_back(intended);
                self.counts.queued += 1;
                self.counts.waiting += 1;
            } else {
                self.counts.skipped_full += 1;
            }
        }
    }

    /// True when a request waits and could be sent.
    pub(super) fn may_dispatch(&self, now: u64) -> bool {
        !self.pending.is_empty() && !self.free.is_empty() && now >= self.next_allowed_ns
    }

    /// Sends requests that wait. False when a connection could not be made.
    fn dispatch(&mut self, now: u64) -> bool {
        for _ in 0..AT_ONCE {
            if !self.may_dispatch(now) {
                break;
            }
            if let (Some(intended), Some(at)) = (self.pending.pop_front(), self.free.pop_front()) {
                self.counts.waiting -= 1;
                if !self.begin(at as usize, intended) {
                    return false;
                }
            }
        }
        true
    }

    /// A connection has no request any more: it gets the next one, or waits for it.
    pub(super) fn vacate(&mut self, at: usize, now: u64) {
        if self.phase != Phase::Sending || self.h2.as_mut().is_some_and(|h2| !h2.admits(at)) {
            return;
        }
        if self.schedule.is_some() {
            self.free.push_back(at as u32);
            return;
        }
        let rest = self.rest_until(at, now);
        if rest > now {
            self.resting.push((Reverse(rest), at as u32));
        } else if self.take_ticket() {
            self.counts.intended += 1;
            self.begin(at, now);
        }
    }

    /// Gives connections whose rest is over a request.
    pub(super) fn end_rests(&mut self, now: u64) {
        while let Some((Reverse(until), at)) = self.resting.peek().copied() {
            if until > now {
                return;
            }
            self.resting.pop();
            if self.h2.as_mut().is_some_and(|h2| !h2.admits(at as usize)) {
                continue;
            }
            if self.take_ticket() {
                self.counts.intended += 1;
                self.begin(at as usize, now);
            }
        }
    }

    /// True when a closed loop has another request.
    fn take_ticket(&self) -> bool {
        if self.spec.requests.is_none() {
            return true;
        }
        let left = &self.orders.requests_left;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Gives a connection a request. False when the connection could not be made at once.
    fn begin(&mut self, at: usize, intended_ns: u64) -> bool {
        let now = monotonic_ns();
        self.counts.sent += 1;
        self.counts.busy += 1;
        if self.spacing_ns > 0 {
            self.next_allowed_ns = now.saturating_add(self.spacing_ns);
        }
        if self.schedule.is_some() {
            self.tally.times.send_error.record(now.wrapping_sub(intended_ns).cast_signed());
        }
        let asked = Asked { intended_ns, written_ns: 0, first_byte_ns: 0, sent: 0 };
        if self.h2.is_some() {
            return self.begin_place(at, asked, now);
        }
        self.deadlines.set(at, now);
        let Some(slot) = self.slots.get_mut(at) else { return true };
        slot.asked = Some(asked);
        if slot.state == State::Idle {
            slot.state = State::Busy;
            self.write(at);
            true
        } else {
            self.connect(at, now)
        }
    }
}
