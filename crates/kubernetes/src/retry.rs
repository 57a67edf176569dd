//! Retries of requests to an API server that may be busy or restarting.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder, Retryable};
use kube::Error;
use tokio::time::timeout;

use super::error::is_transient;

/// Time limit of a request with all attempts and delays: an API server restarts in less time.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time limit of one whole response.
const WHOLE_ANSWER_TIME: Duration = Duration::from_secs(45);
/// Longest delay, unless the server asks for a longer one.
const LONGEST: Duration = Duration::from_secs(8);
/// Upper bound of the first delay.
const FIRST: Duration = Duration::from_millis(500);

fn growing() -> ExponentialBuilder {
    // The jitter adds up to 100 % of the delay.
    let delays = ExponentialBuilder::default().with_min_delay(FIRST / 2).with_max_delay(LONGEST / 2);
    delays.without_max_times().with_jitter()
}

/// An endless series of growing delays with jitter.
pub(super) fn delays() -> ExponentialBackoff {
    growing().build()
}

/// Retries a request after transient failures, with growing delays and jitter, or after the server's
/// Retry-After.
///
/// # Errors
/// The last failure, or the first one that is not transient.
pub(super) async fn steadily<T, F: Future<Output = kube::Result<T>>>(
    mut request: impl FnMut() -> F,
) -> kube::Result<T> {
    let begun = Instant::now();
    let attempt = || {
        let answer = timeout(WHOLE_ANSWER_TIME.min(TIME_LIMIT.saturating_sub(begun.elapsed())), request());
        async move { answer.await.unwrap_or_else(|_| Err(too_late())) }
    };
    attempt
        .retry(growing())
        .when(is_transient)
        .adjust(|error, delay| within_time_limit(begun.elapsed(), named_by(error), delay?))
        .notify(|error, delay| {
            tracing::warn!(%error, delay_ms = delay.as_millis(), "the API server did not do it; once more");
        })
        .await
}

fn too_late() -> Error {
    Error::Service(format!("no whole answer within {} s", WHOLE_ANSWER_TIME.as_secs()).into())
}

/// Retry-After of a busy server.
fn named_by(error: &Error) -> Duration {
    match error {
        Error::Api(status) => {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            Duration::from_secs(seconds.into())
        }
        _ => Duration::ZERO,
    }
}

/// The delay until the next attempt; `None` when the time limit would be exceeded.
fn within_time_limit(waited: Duration, named: Duration, delay: Duration) -> Option<Duration> {
    let delay = delay.max(named);
    (waited + delay < TIME_LIMIT).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_eight_seconds_and_no_further() {
        for _ in 0..100 {
            let delays: Vec<_> = delays().take(12).collect();
            assert!(delays[0] >= Duration::from_millis(250) && delays[0] <= FIRST, "{delays:?}");
            assert!(delays.iter().all(|delay| *delay <= LONGEST), "{delays:?}");
            assert!(delays[11] >= LONGEST / 2, "{delays:?}");
        }
    }

    #[test]
    fn a_request_is_repeated_when_the_server_says_but_not_for_ever() {
        for (waited, named, delay, expected) in
            [(0, 0, 1, Some(1)), (0, 7, 1, Some(7)), (9, 2, 8, Some(8)), (55, 0, 8, None), (0, 3600, 1, None)]
        {
            let [waited, named, delay] = [waited, named, delay].map(Duration::from_secs);
            assert_eq!(
                within_time_limit(waited, named, delay),
                expected.map(Duration::from_secs),
                "{waited:?} {named:?}"
            );
        }
    }
}
