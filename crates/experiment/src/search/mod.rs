//! Rate search of an experiment: its section of the document, and the strategy that chooses its trials.

mod follow;
mod forecast;
mod section;
mod share;
mod state;
mod strategy;
#[cfg(test)]
mod tests;
mod then;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use follow::check as check_follow_up;
pub use follow::{FollowState, outcome};
pub use forecast::{FollowView, SearchView};
pub use section::{GoalSpec, LimitsOf, LoadLimits, SearchSection};
pub use share::Share;
pub use state::{SearchOutcome, SearchState, SearchStep, combine, is_above};
pub use strategy::Searches;
pub use then::{
    BackToBackSection, FollowUp, LatencySection, LossCurveSection, RecoverySection, ServiceSection,
    SoakSection, Throughput,
};

/// How the paths of a search count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SearchMode {
    /// All paths are loaded, and their losses are summed (RFC 9971).
    #[default]
    Together,
    /// All paths are loaded, and the one with the most loss decides: stricter than RFC 9971.
    Every,
    /// A search for each path, while the others are idle.
    Each,
}

/// Where the highest load of a search comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MaxLoadSource {
    /// Line rate of the slowest link.
    Link,
    /// A ceiling of document, environment or agent.
    Ceiling,
    /// The document names it.
    User,
    /// 99 % of what a trial as fast as possible offered.
    Measured,
}

/// Owner of a part of the set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PartOf {
    /// The tester: its limits are not the path's.
    #[default]
    Tester,
    /// The path under test: its losses count as loss.
    Path,
}

/// A trial's part in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SearchTrial {
    /// Number of the search within its profile, from 1.
    pub number: u32,
    /// Number of the trial within its search, from 1.
    pub ordinal: u32,
    /// Purpose of the trial.
    pub purpose: SearchPurpose,
    /// Intended duration in nanoseconds.
    pub intended_duration_ns: u64,
}

/// Purpose of a trial of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SearchPurpose {
    /// Finds the highest load that can be offered; not counted.
    Ceiling,
    /// Lets the path learn addresses and fill its caches; not counted.
    WarmUp,
    /// Counts.
    Search,
    /// Part of a latency measurement behind the search.
    Latency,
    /// Part of a loss curve behind the search.
    LossCurve,
    /// Part of a back-to-back measurement behind the search.
    BackToBack,
    /// Part of a measurement of recovery behind the search.
    Recovery,
    /// Part of a service activation test behind the search.
    Service,
    /// A long trial behind the search.
    Soak,
}

impl SearchPurpose {
    /// True for a trial of a benchmark that follows the search.
    pub fn follows(self) -> bool {
        !matches!(self, Self::Ceiling | Self::WarmUp | Self::Search)
    }
}
