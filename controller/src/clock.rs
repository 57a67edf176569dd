//! Whether two agents' times can be compared. Pure.

use linerate_protocol::message::ClockInfo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether one-way times between a transmitter and a receiver are valid, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockVerdict {
    /// True when delays are valid and samples of both ends are on one time axis.
    pub one_way_valid: bool,
    /// One sentence.
    pub reason: String,
    /// The counter that probes carry.
    pub source: String,
}

/// Compares two agents' clocks.
pub fn compare(tx: &ClockInfo, rx: &ClockInfo) -> ClockVerdict {
    let verdict =
        |one_way_valid, reason: String| ClockVerdict { one_way_valid, reason, source: tx.source.clone() };
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
        let unknown = clock("", "tsc", true);
        assert!(!compare(&unknown, &unknown).one_way_valid);
    }
}
