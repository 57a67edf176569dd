//! Delays of a path, measured by the warm-up.

use std::time::Duration;

use linerate_wire::report::Latency;

use linerate_results::summary::DelayBasis;

/// Delay of packets on their way to an agent. Zero: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PathTimes {
    /// Largest delay in nanoseconds, or an upper bound of it.
    pub(super) delay_ns: u64,
    /// Largest delay minus smallest delay, in nanoseconds.
    pub(super) variation_ns: u64,
}

impl PathTimes {
    /// The times of a path, and the measurement that they are based on.
    ///
    /// `latency` is the receiver's measurement; it is used if `clocks_compare` and no delay is negative.
    /// Otherwise the delay is taken from `receipt`: the time from the start to the last arrival, less the
    /// sending time, on the receiver's clock. It includes the time of the control messages, so it is an upper
    /// bound of the delay.
    pub(super) fn learnt(
        latency: Option<&Latency>,
        clocks_compare: bool,
        receipt: Duration,
    ) -> (Self, DelayBasis) {
        match latency.filter(|latency| clocks_compare && latency.negative == 0) {
            Some(Latency { summary, variation, .. }) => {
                (Self { delay_ns: summary.max, variation_ns: variation.max }, DelayBasis::Clock)
            }
            None => {
                let delay_ns = u64::try_from(receipt.as_nanos()).unwrap_or(u64::MAX);
                (Self { delay_ns, variation_ns: 0 }, DelayBasis::Receipt)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use linerate_wire::report::LatencySummary;

    use super::*;

    #[test]
    fn delays_are_taken_from_clocks_that_compare_or_from_the_receipt() {
        let times = |max| LatencySummary { max, ..LatencySummary::default() };
        let latency = Latency { summary: times(150_000_000), variation: times(20_000), ..Latency::default() };
        let receipt = Duration::from_millis(160);
        let measured = PathTimes { delay_ns: 150_000_000, variation_ns: 20_000 };
        let bound = PathTimes { delay_ns: 160_000_000, variation_ns: 0 };
        let learnt = |latency: &Latency, compare| PathTimes::learnt(Some(latency), compare, receipt);
        assert_eq!(learnt(&latency, true), (measured, DelayBasis::Clock));
        assert_eq!(learnt(&latency, false), (bound, DelayBasis::Receipt));
        assert_eq!(learnt(&Latency { negative: 1, ..latency }, true), (bound, DelayBasis::Receipt));
        assert_eq!(PathTimes::learnt(None, true, receipt), (bound, DelayBasis::Receipt));
    }
}
