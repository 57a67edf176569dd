//! The receiving loop.

use linerate_wire::time::Absences;

use super::absence::AbsenceLog;
use super::counters::ReceiveBlock;
use super::queue::{Clock, ReceiveQueue, ReceivedBurst};
use super::stop::Signal;
use super::transmit::IdleTime;
use crate::analysis::Analysis;

/// Most bursts taken after the stop signal, so that endless traffic cannot keep the loop running.
const LAST_BURSTS: u32 = 4096;

/// Load of a receiving loop.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Busy {
    /// Share of the time, 0…1, in which polls returned no frame.
    pub headroom: f64,
    /// Longest time between two polls without a frame, in ticks.
    pub longest_gap: u64,
    /// Time between the first frame and the last in which it did not look at its queues.
    pub absences: Absences,
}

/// Receives and analyses frames until the stop signal, and then the frames that have already
/// arrived.
pub fn receive<Q: ReceiveQueue>(
    queue: &mut Q,
    clock: &impl Clock,
    analysis: &mut Analysis,
    signal: &Signal,
    published: &ReceiveBlock,
) -> Busy {
    let mut burst = Q::Burst::default();
    let mut last_bursts = LAST_BURSTS;
    let ns_per_tick = 1e9 / clock.tick_hz() as f64;
    let began = clock.ticks();
    let mut idle = IdleTime::new(clock);
    let mut absence = AbsenceLog::new(clock);
    loop {
        let stopped = signal.stopped();
        if queue.receive(&mut burst) > 0 {
            let now = clock.ticks();
            idle.end(now);
            absence.look(now);
            absence.arrived();
            for frame in burst.frames() {
                analysis.observe(frame.bytes, frame.length, frame.verdict, now);
            }
            if now >= analysis.clock_due() {
                for frame in burst.frames() {
                    analysis.follow_clock(frame.bytes, frame.length, frame.verdict, now);
                }
            }
            published.publish(&analysis.counters(ns_per_tick));
            last_bursts -= u32::from(stopped);
            if last_bursts == 0 {
                break;
            }
        } else if stopped {
            break;
        } else {
            let now = clock.ticks();
            idle.look(now);
            absence.look(now);
            clock.relax();
        }
    }
    let ended = clock.ticks();
    idle.end(ended);
    Busy {
        headroom: idle.ticks as f64 / (ended - began).max(1) as f64,
        longest_gap: idle.longest,
        absences: absence.absences(),
    }
}
