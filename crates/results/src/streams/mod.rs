//! Results of trials of streams: from both ends' reports to figures of each connection and of the trial.

mod agent;
mod connection;
mod distribution;
mod figures;
mod record;
mod trial;

pub use agent::{StreamsAgentInfo, StreamsInterface};
pub use connection::{BoundedDelay, ConnectionSummary, RttSummary};
pub use distribution::Spread;
pub(crate) use distribution::together;
pub(crate) use figures::figure;
pub use figures::{CONNECTION_FIGURES, Figure, STREAMS_FIGURES, StreamsUnit};
pub use record::{AgentPart, ConnectionEnds, STREAMS_TRIAL_SCHEMA, SampleLine, StreamsTrialRecord};
pub use trial::{AgentCpu, LostAgent, MOST_NAMED, StreamsTrialContext, StreamsTrialSummary, worst_first};
