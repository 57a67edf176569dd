//! Benchmarks of a document that follow a search.

use std::fmt;
use std::str::FromStr;

use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::share::Share;
use crate::name::Name;
use crate::ranged::{Ranged, SpanIn};

const DAY_MS: u64 = 24 * 3_600_000;
const MINUTE_MS: u64 = 60_000;
/// Longest burst that can be asked for, in frames.
const LONGEST_BURST: u64 = 1 << 40;

/// A benchmark that follows each search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FollowUp {
    /// Delays at shares of what was found (RFC 2544, section 26.2).
    Latency(LatencySection),
    /// Loss at the highest load and below it, until two trials in a row lose nothing (RFC 2544, section 26.3).
    LossCurve(LossCurveSection),
    /// The longest burst without loss (RFC 2544, section 26.4, and RFC 9004).
    BackToBack(BackToBackSection),
    /// How long losses go on after an overload (RFC 2544, section 26.5).
    Recovery(RecoverySection),
    /// A service's loads against its acceptance criteria (ITU-T Y.1564).
    Service(ServiceSection),
    /// A long trial at one load, with the times of its losses.
    Soak(SoakSection),
}

impl FollowUp {
    /// Its name in documents and results.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::LossCurve(_) => "lossCurve",
            Self::BackToBack(_) => "backToBack",
            Self::Recovery(_) => "recovery",
            Self::Service(_) => "service",
            Self::Soak(_) => "soak",
        }
    }

    /// The throughput that it is based on; `None` where it needs none.
    pub fn throughput(&self) -> Option<&Throughput> {
        match self {
            Self::Latency(section) => Some(&section.of),
            Self::BackToBack(section) => Some(&section.of),
            Self::Recovery(section) => Some(&section.of),
            Self::Soak(section) => Some(&section.of),
            Self::LossCurve(_) | Self::Service(_) => None,
        }
    }
}

/// The load that a benchmark is based on: what was found for a goal, such as `ndr`, or a load such as `1mpps`.
/// `first` is the first goal of the search.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Throughput {
    /// The first goal of the search.
    #[default]
    First,
    /// The goal of this name.
    Goal(String),
    /// A load.
    Load(Rate),
}

impl FromStr for Throughput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "first" {
            return Ok(Self::First);
        }
        match text.parse::<Rate>() {
            Ok(Rate::Max) => Err("'max' is no throughput; name a goal or a load such as 1mpps".to_owned()),
            Ok(rate) => Ok(Self::Load(rate)),
            Err(_) => Name::try_from(text.to_owned())
                .map(|name| Self::Goal(name.as_str().to_owned()))
                .map_err(|_| format!("'{text}' is neither the name of a goal nor a load such as 1mpps")),
        }
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Goal(name) => f.write_str(name),
            Self::Load(rate) => rate.fmt(f),
        }
    }
}

impl TryFrom<String> for Throughput {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Throughput> for String {
    fn from(throughput: Throughput) -> String {
        throughput.to_string()
    }
}

/// Delays at shares of a throughput.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LatencySection {
    /// The load of 100 %.
    pub of: Throughput,
    /// Shares of it, in the order in which they are measured.
    pub at: Vec<Share>,
    /// Duration of each trial; RFC 2544 has 120 s.
    pub duration: SpanIn<1, DAY_MS>,
    /// Trials at each share; RFC 2544 has 20.
    pub repeats: Ranged<1, 1000>,
}

impl Default for LatencySection {
    fn default() -> Self {
        let shares = linerate_search::methods::USUAL_SHARES_PPB;
        Self {
            of: Throughput::default(),
            at: shares.map(Share::of_ppb).to_vec(),
            duration: SpanIn::of_millis::<10_000>(),
            repeats: Ranged::of::<1>(),
        }
    }
}

/// Loss at the highest load and below it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LossCurveSection {
    /// Distance of the loads, as a share of the highest: from 0.1 % to 10 %.
    pub step: Share,
    /// Duration of each trial; RFC 2544 has 60 s.
    pub duration: SpanIn<1, DAY_MS>,
}

impl Default for LossCurveSection {
    fn default() -> Self {
        Self { step: Share::of_ppb(linerate_search::PPB / 10), duration: SpanIn::of_millis::<MINUTE_MS>() }
    }
}

/// The longest burst without loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BackToBackSection {
    /// Throughput: what is forwarded during a burst.
    pub of: Throughput,
    /// Shortest burst in frames.
    pub min: Ranged<1, LONGEST_BURST>,
    /// Longest burst in frames. Left out: 30 s at the rate of the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Ranged<2, LONGEST_BURST>>,
    /// Distance of the lengths that are tried, in frames.
    pub step: Ranged<1, LONGEST_BURST>,
    /// Most times that a burst with loss is tried: 1 is without loss verification.
    pub tries: Ranged<1, 1000>,
    /// Whole searches; RFC 2544 has 50.
    pub searches: Ranged<1, 1000>,
    /// Time without traffic before each burst, for the buffers to empty; RFC 9004 has at least 2 s.
    pub wait: SpanIn<0, MINUTE_MS>,
}

impl Default for BackToBackSection {
    fn default() -> Self {
        Self {
            of: Throughput::default(),
            min: Ranged::of::<1>(),
            max: None,
            step: Ranged::of::<1>(),
            tries: Ranged::of::<2>(),
            searches: Ranged::of::<50>(),
            wait: SpanIn::of_millis::<2_000>(),
        }
    }
}

/// How long losses go on after an overload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RecoverySection {
    /// Throughput: the overload is 110 % of it.
    pub of: Throughput,
    /// Duration of the overload; RFC 2544 has 60 s.
    pub overload: SpanIn<1, DAY_MS>,
    /// Duration of half the load after it.
    pub after: SpanIn<1, DAY_MS>,
    /// Trials.
    pub repeats: Ranged<1, 1000>,
}

impl Default for RecoverySection {
    fn default() -> Self {
        Self {
            of: Throughput::default(),
            overload: SpanIn::of_millis::<MINUTE_MS>(),
            after: SpanIn::of_millis::<10_000>(),
            repeats: Ranged::of::<1>(),
        }
    }
}

/// A long trial at one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SoakSection {
    /// The load of 100 %.
    pub of: Throughput,
    /// Share of it.
    pub at: Share,
    /// Duration of the trial.
    pub duration: SpanIn<1, { 30 * DAY_MS }>,
}

impl Default for SoakSection {
    fn default() -> Self {
        Self {
            of: Throughput::default(),
            at: Share::of_ppb(linerate_search::PPB),
            duration: SpanIn::of_millis::<{ 10 * MINUTE_MS }>(),
        }
    }
}

/// A service and its acceptance criteria.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSection {
    /// Committed information rate (CIR).
    pub cir: Rate,
    /// Excess information rate (EIR); left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eir: Option<Rate>,
    /// Steps of the configuration test, as shares of the committed rate.
    #[serde(default = "usual_steps")]
    pub steps: Vec<Share>,
    /// True when the network must police above both rates.
    #[serde(default)]
    pub policing: bool,
    /// Duration of a configuration step: 1 s to 60 s in the recommendation.
    #[serde(default = "usual_step_duration")]
    pub step_duration: SpanIn<1, DAY_MS>,
    /// Duration of the performance test: 15 min, 2 h or 24 h in the recommendation; `0s` for none.
    #[serde(default = "usual_performance")]
    pub performance: SpanIn<0, { 30 * DAY_MS }>,
    /// Largest mean delay (FTD), such as `5ms`; left out: no criterion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Largest delay variation (FDV): 99.9th percentile of the delay less the smallest; left out: no criterion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<Span>,
    /// Largest loss (FLR).
    #[serde(default = "no_loss")]
    pub loss: Share,
    /// Share by which the received rate may exceed the policed one.
    #[serde(default = "usual_tolerance")]
    pub tolerance: Share,
}

fn usual_steps() -> Vec<Share> {
    linerate_search::methods::USUAL_STEPS_PPB.map(Share::of_ppb).to_vec()
}

fn usual_step_duration() -> SpanIn<1, DAY_MS> {
    SpanIn::of_millis::<10_000>()
}

fn usual_performance() -> SpanIn<0, { 30 * DAY_MS }> {
    SpanIn::of_millis::<{ 15 * MINUTE_MS }>()
}

fn no_loss() -> Share {
    Share::of_ppb(0)
}

fn usual_tolerance() -> Share {
    Share::of_ppb(linerate_search::PPB / 100)
}
