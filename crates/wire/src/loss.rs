//! When packets of a trial were lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Width of the intervals of a loss timeline, in nanoseconds.
pub const LOSS_INTERVAL_NS: u64 = 10_000_000;
/// Most intervals of a loss timeline; where losses need more, intervals are wider.
pub const MOST_LOSS_INTERVALS: usize = 8192;

/// Why a timeline with too many packets has no times.
const TOO_MANY: &str = "more packets were missing for a time than were lost: late first copies could not be told from duplicates";

/// When packets were lost, by the time at which they were sent. Packets missing in a flow were sent between
/// the ones before and behind them, and count as spread evenly between those two.
///
/// The packets of all intervals and `unplaced_packets` add up to the packets lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LossTimeline {
    /// Meaning of time zero.
    pub zero: LossZero,
    /// Width of an interval in nanoseconds: 10 ms, or 10 ms times a power of two where losses were so frequent
    /// that intervals were merged.
    pub interval_ns: u64,
    /// How far the times of losses may be off by the width of the account kept, in nanoseconds. Within a gap
    /// of several packets, that each was sent at the same distance from the next is an assumption.
    pub resolution_ns: u64,
    /// Intervals in which packets were lost: number of the interval, from 0 at time zero, and packets.
    pub intervals: Vec<(u64, u64)>,
    /// Lost packets whose time is not known: those of flows of which nothing arrived, and those that the
    /// receiver does not know when it was told nothing of the sender.
    pub unplaced_packets: u64,
    /// When the first lost packet with a known time was sent, in nanoseconds; absent without such packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<u64>,
    /// When the last lost packet with a known time was sent, in nanoseconds; absent without such packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ns: Option<u64>,
    /// Why no packet could be placed, in one sentence; absent when packets could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Meaning of zero in a loss timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LossZero {
    /// The start of sending.
    #[default]
    Sender,
    /// The start of receiving: the receiver was not told when the sender began.
    Receiver,
}

impl LossTimeline {
    /// A timeline without times, for this reason.
    pub fn unknown(zero: LossZero, lost_packets: u64, reason: impl Into<String>) -> Self {
        Self {
            zero,
            interval_ns: LOSS_INTERVAL_NS,
            unplaced_packets: lost_packets,
            reason: Some(reason.into()),
            ..Self::default()
        }
    }

    /// Packets with a known time.
    pub fn placed_packets(&self) -> u64 {
        self.intervals.iter().fold(0, |sum, (_, packets)| sum.saturating_add(*packets))
    }

    /// The same timeline of `lost_packets`: those without a known time are corrected. Without times when more
    /// packets are placed than were lost.
    #[must_use]
    pub fn of_lost(self, lost_packets: u64) -> Self {
        match lost_packets.checked_sub(self.placed_packets()) {
            Some(unplaced_packets) => Self { unplaced_packets, ..self },
            None => Self::unknown(self.zero, lost_packets, TOO_MANY),
        }
    }

    /// Nanoseconds from the first to the last lost packet with a known time.
    pub fn span_ns(&self) -> Option<u64> {
        Some(self.last_ns?.saturating_sub(self.first_ns?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unplaced_packets_are_the_rest_of_the_lost_ones() {
        let timeline = LossTimeline {
            intervals: vec![(3, 5), (4, 1)],
            first_ns: Some(30_000_000),
            last_ns: Some(41_000_000),
            ..LossTimeline::default()
        };
        assert_eq!((timeline.placed_packets(), timeline.span_ns()), (6, Some(11_000_000)));
        assert_eq!(timeline.clone().of_lost(8).unplaced_packets, 2);
        let fewer = timeline.of_lost(5);
        assert_eq!((fewer.unplaced_packets, fewer.placed_packets(), fewer.reason.is_some()), (5, 0, true));
        let unknown = LossTimeline::unknown(LossZero::Receiver, 7, "no clock");
        assert_eq!((unknown.unplaced_packets, unknown.placed_packets(), unknown.span_ns()), (7, 0, None));
    }
}
