//! A trial as its user sees it.

use super::outcome::{HttpOutcome, HttpSample};
use super::spec::{HttpError, HttpSpec};

/// A trial whose workers run. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct HttpTrial {}

impl HttpTrial {
    /// Starts the workers, which make their connections, and wait.
    ///
    /// # Errors
    /// What is asked for cannot be, or there are no resources for it.
    pub(crate) fn arm(_spec: &HttpSpec) -> Result<Self, HttpError> {
        Err(HttpError::Tls("not built".to_owned()))
    }

    /// True when every connection was made, or could not be made. Without keep-alive there are none to make.
    pub(crate) fn is_ready(&self) -> bool {
        false
    }

    /// Has the first request sent at this time, in nanoseconds of the raw monotonic clock; the past: at once.
    pub(crate) fn start_at(&self, _start_ns: u64) {}

    /// Ends the sending. Requests under way are still waited for.
    pub(crate) fn stop(&self) {}

    /// Ends the waiting for requests under way, too.
    pub(crate) fn abort(&self) {}

    /// Counters of all workers now.
    pub(crate) fn sample(&self) -> HttpSample {
        HttpSample::default()
    }

    /// True when all workers have ended.
    pub(crate) fn is_over(&self) -> bool {
        false
    }

    /// Waits for the workers' end and gathers what they measured.
    pub(crate) fn finish(self) -> HttpOutcome {
        unreachable!("not built")
    }
}
