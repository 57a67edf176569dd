//! Back-to-back frames (RFC 2544, section 26.4, updated by RFC 9004): the longest burst at the smallest gap that
//! a system forwards without loss, and the time that its buffer holds.
//!
//! The length is found by binary search over levels a step apart (ETSI GS NFV-TST 009, 12.3.2), with or without
//! loss verification (12.3.3): a burst with loss is sent again, and passes when one of the tries loses nothing.
//! The whole search is repeated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Deviation, MethodError, MethodTrial, SECOND_NS, TrialLoad, TrialOutcome, check, seconds};
use crate::PPB;

/// Searches that RFC 2544 asks for.
const RFC2544_SEARCHES: u32 = 50;
/// Longest burst, in seconds, that RFC 9004 wants to be possible.
const LONGEST_BURST_S: f64 = 30.0;
/// Time for a buffer to empty after a burst (RFC 9004).
const WAIT_NS: u64 = 2 * SECOND_NS;
/// Share of the largest burst, in parts per billion, from which a result says nothing: ours, the RFC has no number.
const NEAR_LARGEST_PPB: u64 = PPB / 100 * 95;

/// What to search for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackToBackSpec {
    /// Frames per second at the smallest gap of the link, for the frame size.
    pub theoretical_pps: f64,
    /// True when a trial as fast as possible measured that, because the link does not report its speed.
    #[serde(default)]
    pub is_measured: bool,
    /// True when frames have several sizes; rates are those of their mean then.
    #[serde(default)]
    pub is_mix: bool,
    /// Throughput of the system for the same frame size, direction and flows, in frames per second.
    pub throughput_pps: u64,
    /// Shortest burst in frames.
    pub min_burst: u64,
    /// Longest burst in frames.
    pub max_burst: u64,
    /// Distance of the lengths that are tried, in frames: lengths are `min_burst` and multiples of this above it.
    pub step: u64,
    /// Loss verification; `None`: one loss decides.
    pub verification: Option<LossVerification>,
    /// Whole searches.
    pub searches: u32,
    /// Time without traffic before each burst in nanoseconds, for buffers to empty.
    pub wait_ns: u64,
}

/// Loss verification of ETSI GS NFV-TST 009.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LossVerification {
    /// Most tries of a burst, max(r): at least 2.
    pub max_tries: u32,
    /// Lost frames, z, from which a burst is not tried again; null: always tried again.
    pub hopeless: Option<u64>,
}

/// Binary searches in progress.
#[derive(Debug, Clone)]
pub struct BackToBack {
    spec: BackToBackSpec,
    found: Vec<BurstSearch>,
    current: Halving,
    trials: u32,
    not_gapless: u32,
    not_sent: u32,
    by_tester: u32,
}

/// One search in progress.
#[derive(Debug, Clone)]
struct Halving {
    /// Levels that are left: from `left` to below `right`.
    left: u64,
    right: u64,
    /// The largest level that passed.
    passed: Option<u64>,
    /// Failed tries at the present level.
    tries: u32,
    bursts: u32,
}

/// Result of one search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BurstSearch {
    /// Longest burst without loss, in frames; null when the shortest one lost some.
    pub frames: Option<u64>,
    /// Bursts that were sent.
    pub bursts: u32,
}

/// What the result is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BurstStatus {
    /// The result stands.
    Valid,
    /// The system forwards frames of this size at the rate of the link, so no burst fills its buffer.
    NotApplicable,
    /// A result is near the longest burst, so that limits it.
    NearLargestBurst,
    /// A search found no burst without loss.
    NoBurst,
    /// Bursts did not leave whole, or not at the smallest gap.
    NotBackToBack,
    /// Frames were lost in the tester.
    TesterLimited,
    /// There are fewer searches than asked for.
    Unfinished,
}

/// Result for one frame size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackToBackConclusion {
    /// What the result is worth.
    pub status: BurstStatus,
    /// Frames per second at the smallest gap of the link.
    pub theoretical_pps: f64,
    /// True when a trial as fast as possible measured that, because the link does not report its speed.
    pub theoretical_is_measured: bool,
    /// Throughput in frames per second.
    pub throughput_pps: u64,
    /// The searches, in order.
    pub searches: Vec<BurstSearch>,
    /// Mean of their longest bursts, in frames; null without one.
    pub mean_frames: Option<f64>,
    /// The shortest of them.
    pub min_frames: Option<u64>,
    /// The longest of them.
    pub max_frames: Option<u64>,
    /// Their standard deviation; null with fewer than two.
    pub sd_frames: Option<f64>,
    /// Implied buffer time in seconds: mean burst at the theoretical rate (RFC 9004).
    pub implied_buffer_s: Option<f64>,
    /// Corrected buffer time in seconds: without what was forwarded during the burst (RFC 9004).
    pub corrected_buffer_s: Option<f64>,
    /// Frames that the buffer holds, by the corrected time.
    pub corrected_buffer_frames: Option<f64>,
    /// Smallest step of the burst length, in frames.
    pub step_frames: u64,
    /// Longest burst that could be tried, in frames.
    pub largest_burst_frames: u64,
    /// Loss verification; null: one loss decided.
    pub verification: Option<LossVerification>,
    /// How the trials deviate from the standard.
    pub deviations: Vec<Deviation>,
}

impl BackToBack {
    /// Searches without trials.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn new(spec: BackToBackSpec) -> Result<Self, MethodError> {
        check(
            "back-to-back",
            &[
                (
                    spec.theoretical_pps >= 1.0 && spec.theoretical_pps.is_finite(),
                    "the rate of the link must be known",
                ),
                (spec.min_burst > 0, "the shortest burst must have a frame"),
                (spec.step > 0, "the step must be at least one frame"),
                (spec.max_burst > spec.min_burst, "the longest burst must be longer than the shortest"),
                (spec.searches > 0, "there must be a search"),
                (
                    spec.verification.is_none_or(|verification| verification.max_tries >= 2),
                    "loss verification takes at least two tries",
                ),
            ],
        )?;
        let current = Halving::new(&spec);
        Ok(Self { spec, found: Vec::new(), current, trials: 0, not_gapless: 0, not_sent: 0, by_tester: 0 })
    }

    /// What is searched for.
    pub fn spec(&self) -> &BackToBackSpec {
        &self.spec
    }

    /// True when a burst can fill the system's buffer.
    fn is_applicable(&self) -> bool {
        self.spec.throughput_pps < self.spec.theoretical_pps as u64
    }

    /// The next trial.
    pub fn next(&self) -> Option<MethodTrial> {
        let is_left = self.is_applicable() && (self.found.len() as u32) < self.spec.searches;
        let load = TrialLoad::Burst { packets: self.spec.frames(self.current.middle()) };
        is_left.then_some(MethodTrial { number: self.trials + 1, load })
    }

    /// Takes the outcome of a trial.
    pub fn record(&mut self, outcome: &TrialOutcome) {
        let Some(MethodTrial { load: TrialLoad::Burst { packets }, .. }) = self.next() else { return };
        self.trials += 1;
        self.current.bursts += 1;
        self.not_sent += u32::from(outcome.sent != packets);
        self.not_gapless += u32::from(outcome.is_gapless == Some(false));
        let lost = outcome.lost.saturating_add(packets.saturating_sub(outcome.sent));
        self.by_tester += u32::from(outcome.receiver_lost > 0);
        let tries = self.spec.verification.map_or(1, |verification| verification.max_tries);
        let hopeless = self.spec.verification.and_then(|verification| verification.hopeless);
        let level = self.current.middle();
        if lost == 0 {
            self.current.passed = Some(level);
            self.current.left = level + 1;
            self.current.tries = 0;
        } else {
            self.current.tries += 1;
            if self.current.tries < tries && hopeless.is_none_or(|least| lost < least) {
                return;
            }
            self.current.right = level;
            self.current.tries = 0;
        }
        if self.current.left >= self.current.right {
            let frames = self.current.passed.map(|level| self.spec.frames(level));
            self.found.push(BurstSearch { frames, bursts: self.current.bursts });
            self.current = Halving::new(&self.spec);
        }
    }

    fn status(&self) -> BurstStatus {
        let near = u128::from(self.spec.max_burst) * u128::from(NEAR_LARGEST_PPB);
        let is_near = |frames: u64| u128::from(frames) * u128::from(PPB) >= near;
        let found = || self.found.iter().map(|search| search.frames);
        match () {
            () if !self.is_applicable() => BurstStatus::NotApplicable,
            () if self.not_sent > 0 || self.not_gapless > 0 => BurstStatus::NotBackToBack,
            () if self.by_tester > 0 => BurstStatus::TesterLimited,
            () if (self.found.len() as u32) < self.spec.searches => BurstStatus::Unfinished,
            () if found().any(|frames| frames.is_none()) => BurstStatus::NoBurst,
            () if found().flatten().any(is_near) => BurstStatus::NearLargestBurst,
            () => BurstStatus::Valid,
        }
    }

    /// The result so far.
    pub fn conclusion(&self) -> BackToBackConclusion {
        let frames: Vec<u64> = self.found.iter().filter_map(|search| search.frames).collect();
        let sum: u128 = frames.iter().copied().map(u128::from).sum();
        let mean = (!frames.is_empty()).then(|| sum as f64 / frames.len() as f64);
        let sd = mean.filter(|_| frames.len() > 1).map(|mean| {
            let squares: f64 = frames.iter().map(|frames| (*frames as f64 - mean).powi(2)).sum();
            (squares / (frames.len() - 1) as f64).sqrt()
        });
        let (theoretical, throughput) = (self.spec.theoretical_pps, self.spec.throughput_pps as f64);
        let implied = mean.map(|mean| mean / theoretical);
        let left = (theoretical - throughput) / theoretical;
        BackToBackConclusion {
            status: self.status(),
            theoretical_pps: theoretical,
            theoretical_is_measured: self.spec.is_measured,
            throughput_pps: self.spec.throughput_pps,
            searches: self.found.clone(),
            mean_frames: mean,
            min_frames: frames.iter().min().copied(),
            max_frames: frames.iter().max().copied(),
            sd_frames: sd,
            implied_buffer_s: implied,
            corrected_buffer_s: implied.map(|implied| implied * left),
            corrected_buffer_frames: mean.map(|mean| mean * left),
            step_frames: self.spec.step,
            largest_burst_frames: self.spec.max_burst,
            verification: self.spec.verification,
            deviations: self.deviations(),
        }
    }

    fn deviations(&self) -> Vec<Deviation> {
        let BackToBackSpec {
            theoretical_pps,
            is_measured,
            is_mix,
            max_burst,
            searches,
            wait_ns,
            verification,
            ..
        } = &self.spec;
        let mut deviations = Vec::new();
        let mut add = |is: bool, standard: &str, text: String| {
            if is {
                deviations.push(Deviation::new(standard, text));
            }
        };
        add(
            *searches < RFC2544_SEARCHES,
            "RFC 2544, section 26.4",
            format!("at least {RFC2544_SEARCHES} searches: there are {searches}"),
        );
        add(
            *wait_ns < WAIT_NS,
            "RFC 9004, section 5.4",
            format!("at least 2 s after a burst for buffers to empty: {} were waited", seconds(*wait_ns)),
        );
        add(
            (*max_burst as f64) < LONGEST_BURST_S * theoretical_pps,
            "RFC 9004, section 5.4",
            format!(
                "the longest burst can be set to 30 s or more: it was {max_burst} frames, {}",
                seconds((*max_burst as f64 / theoretical_pps * 1e9) as u64)
            ),
        );
        add(
            *is_mix,
            "RFC 9004",
            "all frames of a burst have one size: these have several, and rates and times are those of their mean size".to_owned(),
        );
        add(
            *is_measured,
            "RFC 9004, section 5.4",
            "frames leave at the smallest gap of the media: the link does not report its speed, and they left as fast as its port took them".to_owned(),
        );
        add(
            verification.is_none(),
            "RFC 9004, section 5.4",
            "binary search with loss verification is recommended: one loss decided".to_owned(),
        );
        deviations
    }
}

impl BackToBackSpec {
    /// Number of lengths that may be tried.
    fn levels(&self) -> u64 {
        (self.max_burst - self.min_burst) / self.step + 1
    }

    /// Frames of a level.
    fn frames(&self, level: u64) -> u64 {
        self.min_burst + level * self.step
    }
}

impl Halving {
    fn new(spec: &BackToBackSpec) -> Self {
        Self { left: 0, right: spec.levels(), passed: None, tries: 0, bursts: 0 }
    }

    fn middle(&self) -> u64 {
        // The largest level is `right` less one.
        self.left + (self.right - 1 - self.left) / 2
    }
}
