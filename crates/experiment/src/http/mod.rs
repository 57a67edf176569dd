//! Experiments of HTTP requests to load balancers and servers: document and trials.

mod plan;
mod profile;
mod protocol;
mod search;
mod section;
mod target;

pub use plan::{HttpPlan, HttpTrial, HttpTrialView, HttpView};
pub use profile::HttpProfile;
pub use protocol::HttpProtocol;
pub use search::{HttpOutcome, HttpSearchPlace, HttpSearchSection, HttpSearches};
pub use section::{ArrivalKind, ChurnSection, GateSection, HttpSection, RequestRate};
pub use target::{HttpTarget, IpvsScheduler, Url};
