//! The reflecting loop: it sends received test frames back.

use linerate_wire::counters::{ReceiveCounters, TransmitCounters};
use linerate_wire::report::ForeignFrames;
use linerate_wire::time::Absences;

use super::absence::AbsenceLog;
use super::counters::{ReceiveBlock, TransmitBlock};
use super::own_frames::OwnFrames;
use super::queue::{Clock, ForwardQueue, ReceiveQueue, TurnableBurst};
use super::stop::Signal;
use super::transmit::IdleTime;
use crate::mailbox::Mailbox;
use crate::recognise::Foreign;
use crate::reflect::turn_round;

/// Seconds after which frames that the port does not accept are dropped: a longer wait would add the
/// reflector's own delay to the measurement.
const TIME_LIMIT_S: f64 = 1e-3;

/// Results of a reflecting loop.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReflectOutcome {
    /// Frames received; `packets` are test frames.
    pub received: ReceiveCounters,
    /// Frames sent back.
    pub sent: TransmitCounters,
    /// Test frames that the port did not accept.
    pub dropped: u64,
    /// Foreign frames, by kind.
    pub foreign: ForeignFrames,
    /// Ticks at the start.
    pub began: u64,
    /// Ticks at the end.
    pub ended: u64,
    /// Longest time between two polls without a frame, in ticks.
    pub longest_gap: u64,
    /// Time between the first frame and the last in which it neither looked at its queues nor waited for its port.
    pub absences: Absences,
}

/// Sends test frames back until the stop signal; counts and drops other frames.
pub fn reflect<R, T>(
    rx: &mut R,
    tx: &mut T,
    clock: &impl Clock,
    signal: &Signal,
    published: (&ReceiveBlock, &TransmitBlock),
    mailbox: Option<&Mailbox>,
) -> ReflectOutcome
where
    R: ReceiveQueue,
    R::Burst: TurnableBurst,
    T: ForwardQueue<Burst = R::Burst> + OwnFrames,
{
    let time_limit = (clock.tick_hz() as f64 * TIME_LIMIT_S) as u64;
    let mut outcome = ReflectOutcome { began: clock.ticks(), ..ReflectOutcome::default() };
    let ReflectOutcome { received, sent, dropped, foreign, .. } = &mut outcome;
    let mut burst = R::Burst::default();
    // When reception came to rest, and whether sent buffers were reclaimed since.
    let mut rest_since = None;
    let mut reclaimed = true;
    let mut idle = IdleTime::new(clock);
    let mut absence = AbsenceLog::new(clock);
    loop {
        let stopped = signal.stopped();
        if signal.has_frames() {
            signal.send_waiting(tx);
        }
        let arrived = rx.receive(&mut burst) as u64;
        if arrived == 0 {
            if stopped {
                break;
            }
            let now = clock.ticks();
            idle.look(now);
            absence.look(now);
            if !reclaimed && now.saturating_sub(*rest_since.get_or_insert(now)) > time_limit {
                // Reception may have stopped because no buffer is free.
                tx.reclaim();
                reclaimed = true;
            }
            clock.relax();
            continue;
        }
        (rest_since, reclaimed) = (None, false);
        let arrived_at = clock.ticks();
        idle.end(arrived_at);
        absence.look(arrived_at);
        absence.arrived();
        received.frames += arrived;
        received.bytes += burst.bytes();
        burst.retain(|frame| {
            let ours = turn_round(frame);
            if !ours {
                Foreign::of(frame).count(foreign);
                if let Some(mailbox) = mailbox {
                    mailbox.put(frame);
                }
            }
            ours
        });
        let mut waiting = burst.len() as u64;
        received.packets += waiting;
        received.foreign += arrived - waiting;
        let deadline = arrived_at + time_limit;
        loop {
            let offered_bytes = burst.bytes();
            let accepted = tx.forward(&mut burst) as u64;
            sent.packets += accepted;
            sent.bytes += offered_bytes - burst.bytes();
            waiting -= accepted;
            if waiting == 0 {
                break;
            }
            sent.queue_full += 1;
            let now = clock.ticks();
            absence.look(now);
            if stopped || now > deadline {
                *dropped += waiting;
                break;
            }
        }
        published.0.publish(received);
        published.1.publish(sent);
    }
    published.0.publish(received);
    published.1.publish(sent);
    outcome.ended = clock.ticks();
    (outcome.longest_gap, outcome.absences) = (idle.longest, absence.absences());
    outcome
}
