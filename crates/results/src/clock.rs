//! Comparison of two agents' clocks. Pure.

use linerate_wire::message::ClockInfo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether one-way times between a transmitter and a receiver are valid, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockVerdict {
    /// True when delays are valid and samples of both ends are on one time axis.
    pub one_way_valid: bool,
    /// True when delays are those of the way there and back, read from one counter.
    #[serde(default)]
    pub round_trip_valid: bool,
    /// One sentence.
    pub reason: String,
    /// The counter that probes carry.
    pub source: String,
}

/// Verdict on a clock that both starts and ends a round trip.
pub fn alone(agent: &str, clock: &ClockInfo) -> ClockVerdict {
    let source = &clock.source;
    let reason = if clock.invariant {
        format!(
            "{agent} reads its own invariant {source} at both ends of a round trip: no clocks have to agree, and one-way delays are not known"
        )
    } else {
        format!("the {source} of {agent} may run at different rates on different CPUs")
    };
    ClockVerdict { one_way_valid: false, round_trip_valid: clock.invariant, reason, source: source.clone() }
}

/// Compares two agents' clocks.
pub fn compare(tx: &ClockInfo, rx: &ClockInfo) -> ClockVerdict {
    let verdict = |one_way_valid, reason: String| ClockVerdict {
        one_way_valid,
        round_trip_valid: false,
        reason,
        source: tx.source.clone(),
    };
    if tx.boot_id.is_empty() || tx.boot_id != rx.boot_id {
        return verdict(
            false,
            format!("not the same kernel: boot ids '{}' and '{}'", tx.boot_id, rx.boot_id),
        );
    }
    if tx.source != rx.source {
        return verdict(false, format!("different counters: {} and {}", tx.source, rx.source));
    }
    if !(tx.invariant && rx.invariant) {
        return verdict(
            false,
            format!("the {} of this machine may run at different rates on different CPUs", tx.source),
        );
    }
    verdict(
        true,
        format!("both ends read one invariant {} on the same host (boot id {})", tx.source, tx.boot_id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_invariant_counter_of_one_kernel_will_do() {
        let clock = |boot: &str, source: &str, invariant| ClockInfo {
            boot_id: boot.into(),
            source: source.into(),
            tick_hz: 1,
            rate: None,
            invariant,
            now_ns: 0,
        };
        let here = clock("a", "tsc", true);
        for (other, valid, part) in [
            (clock("a", "tsc", true), true, "same host (boot id a)"),
            (clock("b", "tsc", true), false, "boot ids 'a' and 'b'"),
            (clock("a", "tsc", false), false, "different rates"),
            (clock("a", "cntvct", true), false, "tsc and cntvct"),
        ] {
            let verdict = compare(&here, &other);
            assert_eq!(verdict.one_way_valid, valid);
            assert!(verdict.reason.contains(part), "{}", verdict.reason);
        }
        for invariant in [true, false] {
            let verdict = alone("tx0", &clock("", "tsc", invariant));
            assert_eq!((verdict.one_way_valid, verdict.round_trip_valid), (false, invariant), "{verdict:?}");
        }
        let unknown = clock("", "tsc", true);
        assert!(!compare(&unknown, &unknown).one_way_valid);
    }
}
