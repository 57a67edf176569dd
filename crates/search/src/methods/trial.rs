//! Trials of methods: what is asked for, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measurement::{Loss, TesterLimit};

/// A trial that a method asks for. Loads in packets per second of each sender in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum TrialLoad {
    /// One load for a time.
    Steady {
        /// Load in packets per second.
        pps: u64,
        /// Duration in nanoseconds.
        duration_ns: u64,
    },
    /// Packets at the smallest gap that the link allows.
    Burst {
        /// Number of packets.
        packets: u64,
    },
    /// One load, and from an instant on another.
    Step {
        /// First load in packets per second.
        first_pps: u64,
        /// Its duration in nanoseconds: the instant of the step.
        first_ns: u64,
        /// Second load in packets per second.
        then_pps: u64,
        /// Its duration in nanoseconds.
        then_ns: u64,
    },
}

impl TrialLoad {
    /// Duration in nanoseconds; 0 for a burst, whose rate the link sets.
    pub fn duration_ns(self) -> u64 {
        match self {
            Self::Steady { duration_ns, .. } => duration_ns,
            Self::Burst { .. } => 0,
            Self::Step { first_ns, then_ns, .. } => first_ns.saturating_add(then_ns),
        }
    }
}

/// A trial of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MethodTrial {
    /// Number of the trial in the method, from 1.
    pub number: u32,
    /// What is sent.
    pub load: TrialLoad,
}

/// Outcome of a trial. `sent = received + lost`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TrialOutcome {
    /// Packets sent.
    pub sent: u64,
    /// Packets sent and not received.
    pub lost: u64,
    /// Of those, packets that the tester lost itself, or received too late to tell: not known to be the path's loss.
    pub receiver_lost: u64,
    /// Packets intended and not sent, when the offered load missed the intended one; otherwise 0.
    pub unsent: u64,
    /// Duration of sending in nanoseconds.
    pub sending_ns: u64,
    /// The part of the tester that limited the trial, if one did.
    pub limit: Option<TesterLimit>,
    /// False when packets of a burst did not leave at the smallest gap; `None` when that is not known.
    pub is_gapless: Option<bool>,
    /// Delays of all packets received; `None` when nothing arrived, or the clocks cannot be compared.
    pub delays: Option<Delays>,
    /// Times of the losses; `None` when nothing was lost, or no time is known.
    pub losses: Option<LossSpan>,
    /// Rates of the paths; `None` for a single path, whose counts those above are.
    pub paths: Option<PathRates>,
}

/// Packets per second of sending on the paths of a trial, rounded down. Loads are those of one sender, so these are the
/// rates to compare with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRates {
    /// Received, on the path that received least.
    pub received_pps: u64,
    /// Forwarded, by the path that forwarded least: what the tester's receiver dropped is among it.
    pub least_pps: u64,
    /// The same of the path that forwarded most.
    pub most_pps: u64,
    /// Received, on the path that received most.
    pub most_received_pps: u64,
}

impl TrialOutcome {
    /// Loss of the path: of the packets sent, without those that the tester's receiver dropped.
    pub fn loss(&self) -> Loss {
        Loss { lost: self.lost.saturating_sub(self.receiver_lost).min(self.sent), all: self.sent }
    }

    /// True when every packet that was intended was sent and arrived.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.unsent == 0 && self.sent > 0
    }

    /// Rates of the trial's counts as those of one path.
    pub fn rates(&self) -> PathRates {
        let forwarded_pps = self.per_second(self.sent - self.loss().lost);
        let received_pps = self.per_second(self.sent.saturating_sub(self.lost));
        PathRates {
            received_pps,
            least_pps: forwarded_pps,
            most_pps: forwarded_pps,
            most_received_pps: received_pps,
        }
    }

    fn per_second(&self, packets: u64) -> u64 {
        let pps = u128::from(packets) * 1_000_000_000 / u128::from(self.sending_ns.max(1));
        u64::try_from(pps).unwrap_or(u64::MAX)
    }
}

/// Delays of a trial's packets in nanoseconds: of all packets, not of tagged ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Delays {
    /// Smallest.
    pub min: u64,
    /// Arithmetic mean.
    pub mean: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

impl Delays {
    /// Figure by figure, what `pick` takes from all trials; `None` without trials.
    pub(super) fn of_all(trials: &[Self], pick: impl Fn(&[u64]) -> u64) -> Option<Self> {
        if trials.is_empty() {
            return None;
        }
        let figure = |of: fn(&Self) -> u64| {
            let mut all: Vec<u64> = trials.iter().map(of).collect();
            all.sort_unstable();
            pick(&all)
        };
        Some(Self {
            min: figure(|delays| delays.min),
            mean: figure(|delays| delays.mean),
            p50: figure(|delays| delays.p50),
            p90: figure(|delays| delays.p90),
            p99: figure(|delays| delays.p99),
            p999: figure(|delays| delays.p999),
            max: figure(|delays| delays.max),
        })
    }
}

/// When packets of a trial were lost, in nanoseconds since the start of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LossSpan {
    /// When the first lost packet with a known time was sent; null without such packets.
    pub first_ns: Option<u64>,
    /// When the last one was sent; null without such packets.
    pub last_ns: Option<u64>,
    /// Lost packets without a known time.
    pub unplaced: u64,
    /// Intervals in which packets were lost.
    pub intervals: u64,
    /// Width of an interval.
    pub interval_ns: u64,
    /// How finely times are known.
    pub resolution_ns: u64,
}
