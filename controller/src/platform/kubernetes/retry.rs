//! Requests to an API server that may be busy or restarting.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::error::is_transient;

/// Attempts after the first one; with these delays they go on for about half a minute.
const RETRIES: usize = 7;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(8);

/// Repeats a request that fails for a reason that may pass, with growing delays of random length.
///
/// # Errors
/// The last failure, or the first that will not pass.
pub(super) async fn steadily<T, F: Future<Output = kube::Result<T>>>(
    request: impl FnMut() -> F,
) -> kube::Result<T> {
    let delays = ExponentialBuilder::default()
        .with_min_delay(SHORTEST)
        .with_max_delay(LONGEST)
        .with_max_times(RETRIES)
        .with_jitter();
    request
        .retry(delays)
        .when(is_transient)
        .notify(|error, delay| {
            tracing::warn!(%error, delay_ms = delay.as_millis(), "the API server did not do it; once more");
        })
        .await
}
