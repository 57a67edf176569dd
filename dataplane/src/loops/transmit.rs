//! The transmitting loop.

use std::hint::spin_loop;

use linerate_protocol::counters::TransmitCounters;

use super::counters::TransmitBlock;
use super::queue::{Clock, FrameBurst, TransmitQueue};
use super::stop::Signal;
use crate::core::flows::{FrameWriter, restamp};
use crate::core::pacer::Pacer;

/// One transmitting lcore's part of a trial.
#[derive(Debug)]
pub struct TransmitPlan {
    /// Its flows.
    pub writer: FrameWriter,
    /// Its load in packets per second; `None`: as fast as the port takes it.
    pub pps: Option<f64>,
    /// Sending ends after this long, in ticks; `None`: no limit.
    pub duration_ticks: Option<u64>,
    /// Sending ends after this many packets; `None`: no limit.
    pub packets: Option<u64>,
    /// Packets handed to the port at once.
    pub burst: usize,
}

/// What a transmitting loop leaves behind.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransmitOutcome {
    /// Totals.
    pub counters: TransmitCounters,
    /// Ticks when sending began.
    pub began: u64,
    /// Ticks when sending ended.
    pub ended: u64,
    /// Packets given up after long stalls.
    pub forgone: u64,
    /// Packets built but never accepted.
    pub unsent: u64,
    /// True when the end came from the limits, not from the signal.
    pub complete: bool,
}

/// Sends until a limit or the signal ends it. Packets the port does not accept are offered again, with a new send time, before any new
/// ones are built; each attempt looks at the signal and the clock, so a full queue cannot hold the loop.
pub fn transmit<Q: TransmitQueue>(
    queue: &mut Q,
    clock: &impl Clock,
    mut plan: TransmitPlan,
    signal: &Signal,
    published: &TransmitBlock,
) -> TransmitOutcome {
    while signal.waiting() {
        spin_loop();
    }
    let began = clock.ticks();
    let deadline = plan.duration_ticks.map_or(u64::MAX, |ticks| began.saturating_add(ticks));
    let mut pacer = plan.pps.map(|pps| Pacer::new(pps, clock.tick_hz(), began));
    let mut to_build = plan.packets.unwrap_or(u64::MAX);
    let mut totals = TransmitCounters::default();
    let frame_bytes = u64::from(queue.frame_bytes());
    let mut burst = Q::Burst::default();

    let (ended, complete) = loop {
        let now = clock.ticks();
        if now >= deadline {
            break (deadline, true);
        }
        if signal.stopped() {
            break (now, false);
        }
        if burst.is_empty() {
            let due = pacer.as_mut().map_or(plan.burst as u64, |pacer| pacer.due(now)).min(plan.burst as u64);
            if due == 0 {
                spin_loop();
                continue;
            }
            // The last packet's interval is waited out, so that N packets at R per second take N/R seconds.
            if to_build == 0 {
                break (now, true);
            }
            let built = queue.allocate(&mut burst, due.min(to_build) as usize);
            if built == 0 {
                totals.no_mbuf += 1;
                continue;
            }
            for head in burst.heads() {
                plan.writer.write(head, now);
            }
            to_build -= built as u64;
            if let Some(pacer) = &mut pacer {
                pacer.took(built as u64);
            }
        } else {
            for head in burst.heads() {
                restamp(head, now);
            }
        }
        let accepted = queue.transmit(&mut burst) as u64;
        totals.packets += accepted;
        totals.bytes += accepted * frame_bytes;
        totals.queue_full += u64::from(!burst.is_empty());
        published.publish(&totals);
    };
    published.publish(&totals);
    let forgone = pacer.map_or(0, |pacer| pacer.forgone());
    TransmitOutcome { counters: totals, began, ended, forgone, unsent: burst.len() as u64, complete }
}
