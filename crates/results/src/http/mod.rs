//! Results of trials of HTTP: from the accounts of clients and backends to figures, spread and verdict.

mod balance;
mod churn;
mod evenness;
mod figures;
mod record;
mod search;
#[cfg(test)]
mod tests;
mod trial;
mod verdict;

pub use balance::{BackendShare, Balance};
pub use churn::ChurnSummary;
pub use evenness::{Evenness, EvennessUnit};
pub use figures::HTTP_FIGURES;
pub use record::{
    AgentStarts, BackendPart, BalancerPart, ClientPart, GatePart, HTTP_TRIAL_SCHEMA, HttpSampleLine,
    HttpTrialRecord,
};
pub use search::{HttpGoalSummary, HttpSearchSpec, HttpSearchSummary};
pub use trial::{GateSummary, HttpTrialContext, HttpTrialSummary, LatencyBasis};
pub use verdict::{HttpLimit, HttpVerdict};
