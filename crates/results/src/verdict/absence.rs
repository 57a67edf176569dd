//! Losses that a receiver's absence from its queues can explain.

use std::fmt;

use linerate_wire::time::WorkerTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Packets that any ring in common use holds while its reader is away; most hold 1024 or more.
const RING_HOLDS: f64 = 512.0;
/// A transmitter that was held up sends at most so much faster than its load until it has caught up.
const CATCHING_UP: f64 = 1.1;

/// A receiving or reflecting lcore that was away from its queues for so long that they, or those of the device
/// before them, can have overflowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Absence {
    /// DPDK's number of the lcore; of several, the one whose absence can have cost most.
    pub lcore: u32,
    /// Seconds of its absences while packets arrived.
    pub away_s: f64,
    /// The longest of them in seconds.
    pub longest_s: f64,
    /// Most packets that can have been lost meanwhile.
    pub packets: u64,
}

/// The sending of a trial, as far as its packets may coincide with an absence.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// Packets sent.
    pub sent: u64,
    /// Seconds of sending.
    pub duration_s: f64,
    /// Share of them, 0…1, in which the sender had no CPU: all packets were sent in the others.
    pub waiting_share: f64,
}

impl Absence {
    /// The absence that can have cost most; `None` when rings in common use bridge them all, or none is known.
    pub fn among(receivers: &[WorkerTime], sending: Sending) -> Option<Self> {
        let all = receivers.iter().filter_map(|receiver| Self::of(receiver, sending));
        all.max_by_key(|absence| absence.packets)
    }

    fn of(receiver: &WorkerTime, sending: Sending) -> Option<Self> {
        let away_s = receiver.away_s.filter(|away_s| *away_s > 0.0)?;
        let sending_s = sending.duration_s * (1.0 - sending.waiting_share);
        let sent = sending.sent as f64;
        // A sender that had no CPU to speak of sent everything at once.
        let arriving_pps = if sending_s > 0.0 { CATCHING_UP * sent / sending_s } else { f64::INFINITY };
        let packets = (arriving_pps * away_s).min(sent) as u64;
        (arriving_pps * receiver.longest_gap_s > RING_HOLDS && packets > 0).then_some(Self {
            lcore: receiver.lcore,
            away_s,
            longest_s: receiver.longest_gap_s,
            packets,
        })
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lcore, away_s, longest_s, packets } = self;
        write!(
            f,
            "receiving lcore {lcore} did not look at its queues for {away_s:.3} s, up to {:.1} ms at a time, in which \
             {packets} packets can have been lost",
            1e3 * longest_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_counts_when_rings_cannot_bridge_it() {
        let receiver = |away_s, longest_gap_s| WorkerTime {
            lcore: 2,
            elapsed_s: 2.0,
            away_s,
            longest_gap_s,
            ..WorkerTime::default()
        };
        let sending = Sending { sent: 2_000_000, duration_s: 2.0, waiting_share: 0.0 };
        let shared = Sending { waiting_share: 0.5, ..sending };
        let slow = Sending { sent: 2_000, ..sending };
        for (name, time, sending, packets) in [
            ("not known", receiver(None, 0.004), sending, None),
            ("never away", receiver(Some(0.0), 0.004), sending, None),
            ("bridged", receiver(Some(0.2), 0.0004), sending, None),
            ("too long for a ring", receiver(Some(0.2), 0.004), sending, Some(220_000)),
            ("few packets", receiver(Some(0.2), 0.004), slow, None),
            ("all sent within half of the time", receiver(Some(0.2), 0.004), shared, Some(440_000)),
            ("sender and receiver took turns", receiver(Some(1.0), 0.004), shared, Some(2_000_000)),
            (
                "sender without a CPU",
                receiver(Some(0.1), 0.004),
                Sending { waiting_share: 1.0, ..sending },
                Some(2_000_000),
            ),
        ] {
            let absence = Absence::among(&[WorkerTime::default(), time], sending);
            assert_eq!(absence.map(|absence| absence.packets), packets, "{name}");
        }
    }
}
