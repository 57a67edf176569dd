//! Experiments of HTTP requests to load balancers and servers: document and trials.

mod plan;
mod profile;
mod section;
mod target;

pub use plan::{HttpPlan, HttpTrial, HttpTrialView, HttpView};
pub use profile::HttpProfile;
pub use section::{ArrivalKind, GateSection, HttpSection, RequestRate};
pub use target::{HttpTarget, IpvsScheduler, Url};
