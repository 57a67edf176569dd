//! Losses that a receiver's absence from its queues can explain.

use std::fmt;

use linerate_wire::time::WorkerTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Packets that any ring in common use holds while its reader is away; most hold 1024 or more.
const RING_HOLDS: f64 = 512.0;
/// A transmitter that was held up sends at most so much faster than its load until it has caught up.
const CATCHING_UP: f64 = 1.1;

/// Receiving or reflecting lcores that were away from their queues for so long that rings can have overflowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Absence {
    /// DPDK's number of the lcore; of several, the one whose absences can have cost most.
    pub lcore: u32,
    /// Seconds of those absences of it that a ring cannot bridge.
    pub away_s: f64,
    /// Length that the longest of them reached, in seconds.
    pub longest_s: f64,
    /// Most packets that can have been lost meanwhile, by all lcores.
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
    /// The absences that can have cost packets; `None` when rings in common use bridge them all, or none is known.
    /// Each receiver stands with its share of the packets, 0…1.
    pub fn among(receivers: &[(WorkerTime, f64)], sending: Sending) -> Option<Self> {
        let all: Vec<Self> =
            receivers.iter().filter_map(|(time, share)| Self::of(time, *share, sending)).collect();
        let packets = all.iter().map(|one| one.packets).fold(0, u64::saturating_add).min(sending.sent);
        let worst = all.into_iter().max_by_key(|absence| absence.packets)?;
        Some(Self { packets, ..worst })
    }

    fn of(receiver: &WorkerTime, share: f64, sending: Sending) -> Option<Self> {
        let sending_s = sending.duration_s * (1.0 - sending.waiting_share);
        let sent = sending.sent as f64 * share;
        // A sender that had no CPU to speak of sent everything at once.
        let arriving_pps = if sending_s > 0.0 { CATCHING_UP * sent / sending_s } else { f64::INFINITY };
        let absences = receiver.absences?;
        let long = absences
            .by_length()
            .filter(|(_, most_s, sum_s)| *sum_s > 0.0 && arriving_pps * most_s > RING_HOLDS);
        let (away_s, longest_s) = long
            .fold((0.0, 0.0), |(away_s, longest_s): (f64, f64), (least_s, _, sum_s)| {
                (away_s + sum_s, longest_s.max(least_s))
            });
        let packets = (arriving_pps * away_s).min(sent) as u64;
        (away_s > 0.0 && packets > 0).then_some(Self { lcore: receiver.lcore, away_s, longest_s, packets })
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lcore, away_s, longest_s, packets } = self;
        write!(
            f,
            "lcore {lcore} did not look at its receive queues for {away_s:.3} s, {:.1} ms or more at a time, in which \
             {packets} packets can have been lost",
            1e3 * longest_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_wire::time::{ABSENCE_LENGTHS, Absences};

    /// Absences of 0.1 ms and of 3.2 ms.
    fn receiver(short_s: f64, long_s: f64) -> WorkerTime {
        let mut by_length_s = [0.0; ABSENCE_LENGTHS];
        (by_length_s[0], by_length_s[5]) = (short_s, long_s);
        let absences = Some(Absences { shortest_s: 1e-4, by_length_s });
        WorkerTime { lcore: 2, elapsed_s: 2.0, absences, ..WorkerTime::default() }
    }

    #[test]
    fn an_absence_counts_when_rings_cannot_bridge_it() {
        let sending = Sending { sent: 2_000_000, duration_s: 2.0, waiting_share: 0.0 };
        let shared = Sending { waiting_share: 0.5, ..sending };
        let slow = Sending { sent: 2_000, ..sending };
        for (name, time, sending, packets) in [
            ("not known", WorkerTime::default(), sending, None),
            ("never away", receiver(0.0, 0.0), sending, None),
            ("bridged", receiver(0.2, 0.0), sending, None),
            ("too long for a ring, and some bridged", receiver(0.2, 0.2), sending, Some(220_000)),
            ("few packets", receiver(0.0, 0.2), slow, None),
            ("all sent within half of the time", receiver(0.0, 0.2), shared, Some(440_000)),
            ("sender and receiver took turns", receiver(0.0, 1.0), shared, Some(2_000_000)),
            (
                "sender without a CPU",
                receiver(0.0, 0.1),
                Sending { waiting_share: 1.0, ..sending },
                Some(2_000_000),
            ),
        ] {
            let absence = Absence::among(&[(WorkerTime::default(), 0.0), (time, 1.0)], sending);
            assert_eq!(absence.map(|absence| absence.packets), packets, "{name}");
        }
        let both =
            Absence::among(&[(receiver(0.0, 0.2), 0.25), (receiver(0.0, 0.1), 0.75)], sending).unwrap();
        assert_eq!((both.packets, both.away_s), (55_000 + 82_500, 0.1));
        let all = Sending { sent: u64::MAX, ..sending };
        let both = Absence::among(&[(receiver(0.0, 2.0), 1.0), (receiver(0.0, 2.0), 1.0)], all).unwrap();
        assert_eq!(both.packets, u64::MAX);
    }
}
