//! What a search knows of a trial.

use serde::{Deserialize, Serialize};

use crate::PPB;

/// What limited a trial, other than the system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TesterLimit {
    /// The generator did not send what was asked.
    Generator,
    /// The generator's port did not take what was asked, or lost what it had taken.
    Port,
    /// The tester's receiver dropped packets, was away from its queues, or could not tell first copies from duplicates.
    Receiver,
}

impl TesterLimit {
    /// What it is, in words.
    pub fn name(self) -> &'static str {
        match self {
            TesterLimit::Generator => "generator",
            TesterLimit::Port => "port",
            TesterLimit::Receiver => "receiver",
        }
    }
}

/// Counts of a trial, and what else is known of its paths' loss. `sent = received + lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Intended load in packets per second.
    pub load_pps: u64,
    /// Intended duration in nanoseconds.
    pub duration_ns: u64,
    /// Effective duration in nanoseconds, which weighs the trial (RFC 9971).
    pub effective_ns: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets sent and not received, or not known to be received because copies of others may stand for them.
    pub lost: u64,
    /// Of those, packets that the tester lost itself, can have caused to be lost, or received too late to tell: not known to be the
    /// path's loss.
    pub receiver_lost: u64,
    /// Packets intended and not sent, when the offered load missed the intended one; otherwise 0.
    pub unsent: u64,
    /// The part of the tester that limited the trial, if one did.
    pub limit: Option<TesterLimit>,
    /// Greatest loss of a path itself, where that is another path than the one that was counted; `None` where it is that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_elsewhere: Option<Loss>,
}

/// Loss as two counts; compared without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Packets lost.
    pub lost: u64,
    /// Of so many.
    pub all: u64,
}

impl Loss {
    /// True when the ratio is above `goal_ppb` parts per billion. Nothing of nothing is no loss.
    pub fn exceeds(self, goal_ppb: u64) -> bool {
        u128::from(self.lost) * u128::from(PPB) > u128::from(goal_ppb) * u128::from(self.all)
    }

    /// Order of two ratios.
    pub fn compare(self, other: Self) -> std::cmp::Ordering {
        let scaled = |one: Self, other: Self| u128::from(one.lost) * u128::from(other.all.max(1));
        scaled(self, other).cmp(&scaled(other, self))
    }

    /// The ratio, 0…1; 0 when there was nothing to lose.
    pub fn ratio(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.lost as f64 / self.all as f64 }
    }
}

impl Measurement {
    /// Loss by which the next load is chosen: packets that were not sent count as lost, so that the search
    /// goes down when the tester cannot offer the load.
    pub fn selection_loss(&self) -> Loss {
        Loss {
            lost: self.lost.saturating_add(self.unsent).min(self.sent.saturating_add(self.unsent)),
            all: self.sent.saturating_add(self.unsent),
        }
    }

    /// Loss of the path: of the packets sent, without those that the tester's receiver dropped.
    pub fn path_loss(&self) -> Loss {
        let counted =
            Loss { lost: self.lost.saturating_sub(self.receiver_lost).min(self.sent), all: self.sent };
        self.loss_elsewhere.unwrap_or(counted)
    }

    /// True when packets were lost, and the tester's receiver explains them all.
    pub fn is_receivers_loss(&self) -> bool {
        self.receiver_lost > 0 && self.receiver_lost >= self.lost && self.loss_elsewhere.is_none()
    }

    /// True when the trial has high loss for a goal of `goal_ppb`. A trial whose load was not offered is never
    /// evidence that the load is carried.
    pub fn is_high_loss(&self, goal_ppb: u64) -> bool {
        self.unsent > 0 || self.selection_loss().exceeds(goal_ppb)
    }

    /// True when the path itself lost too much.
    pub fn is_witnessed(&self, goal_ppb: u64) -> bool {
        self.path_loss().exceeds(goal_ppb)
    }

    /// Rate that arrived, in packets per second: the load without the selection loss.
    pub fn forwarding_pps(&self) -> u64 {
        let Loss { lost, all } = self.selection_loss();
        if all == 0 {
            return self.load_pps;
        }
        (u128::from(self.load_pps) * u128::from(all - lost) / u128::from(all)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(sent: u64, lost: u64, unsent: u64, limit: Option<TesterLimit>) -> Measurement {
        let receiver_lost = if limit == Some(TesterLimit::Receiver) { lost } else { 0 };
        let (duration_ns, effective_ns) = (PPB, PPB);
        let loss_elsewhere = None;
        Measurement {
            load_pps: 1_000,
            duration_ns,
            effective_ns,
            sent,
            lost,
            receiver_lost,
            unsent,
            limit,
            loss_elsewhere,
        }
    }

    #[test]
    fn loss_equal_to_the_goal_is_low() {
        assert!(!trial(1_000, 5, 0, None).is_high_loss(PPB / 200));
        assert!(trial(1_000, 6, 0, None).is_high_loss(PPB / 200));
        assert!(!trial(0, 0, 0, None).is_high_loss(0));
    }

    #[test]
    fn what_the_tester_failed_to_do_is_not_the_paths_loss() {
        let short = trial(900, 0, 100, Some(TesterLimit::Generator));
        assert!(short.is_high_loss(PPB / 2) && !short.is_witnessed(0));
        assert_eq!(short.forwarding_pps(), 900);
        assert!(trial(900, 1, 100, Some(TesterLimit::Generator)).is_witnessed(0));
        assert!(!trial(1_000, 10, 0, Some(TesterLimit::Receiver)).is_witnessed(0));
    }
}
