//! Counters for Prometheus, and the HTTP server that both programs give them out by.
//!
//! [`Traffic`] turns agents' samples into counters; [`Listener`] serves a registry at `/metrics`, in OpenMetrics or in the older text
//! form, as the scraper prefers.

mod listener;
mod text;
mod traffic;

pub use listener::{Exposure, Listener, MetricsError};
pub use text::{Form, render};
pub use traffic::Traffic;
