//! Prometheus counters, and the HTTP server through which both programs expose them.
//!
//! [`Traffic`] turns agents' samples into counters; [`Listener`] serves a registry at `/metrics`, in
//! OpenMetrics or in the older text format, as the scraper prefers.

mod listener;
mod text;
mod traffic;

pub use listener::{Exposure, Listener, MetricsError};
pub use text::{Form, render};
pub use traffic::{Labels, Traffic};
