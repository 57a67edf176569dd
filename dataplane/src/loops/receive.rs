//! The receiving loop.

use std::hint::spin_loop;

use super::counters::ReceiveBlock;
use super::queue::{Clock, ReceiveQueue, ReceivedBurst};
use super::stop::Signal;
use crate::core::analysis::Analysis;

/// Bursts still taken after the word to stop, so that traffic that never ends cannot hold the loop.
const LAST_BURSTS: u32 = 4096;

/// Takes and examines frames until the signal ends it. What has arrived by then is still taken.
pub fn receive<Q: ReceiveQueue>(
    queue: &mut Q,
    clock: &impl Clock,
    analysis: &mut Analysis,
    signal: &Signal,
    published: &ReceiveBlock,
) {
    let mut burst = Q::Burst::default();
    let mut last_bursts = LAST_BURSTS;
    loop {
        let stopped = signal.stopped();
        if queue.receive(&mut burst) > 0 {
            let now = clock.ticks();
            for frame in burst.frames() {
                analysis.observe(frame.bytes, frame.length, now);
            }
            published.publish(analysis.counters());
            last_bursts -= u32::from(stopped);
            if last_bursts == 0 {
                break;
            }
        } else if stopped {
            break;
        } else {
            spin_loop();
        }
    }
}
