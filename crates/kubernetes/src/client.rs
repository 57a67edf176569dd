//! Client of the API server: every response has a time limit, and the Retry-After of a busy server is passed
//! to the caller.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use kube::client::{ClientBuilder, DynBody};
use kube::core::Status;
use kube::core::response::StatusDetails;
use kube::{Client, Config};
use tokio::time::timeout;
use tower::BoxError;
use tower::util::MapFutureLayer;

/// Time limit for the start of a response. The response to a watch starts at once and has no time limit.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Largest number of warnings that a process prints.
const MOST_WARNINGS: usize = 100;
/// Largest length of an error text in bytes.
const MOST_TEXT_BYTES: usize = 4096;

/// A client with this configuration.
///
/// # Errors
/// When the configuration's certificates or credentials are invalid.
pub(super) fn client(mut config: Config) -> kube::Result<Client> {
    // The library's own retries are not logged and obey any Retry-After; `retry` replaces them.
    config.default_retry = false;
    let layer = MapFutureLayer::new(in_time);
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}

type Answer = Response<Box<DynBody>>;

async fn in_time<F>(answer: F) -> Result<Answer, BoxError>
where
    F: Future<Output = Result<Answer, BoxError>>,
{
    let answer = timeout(ANSWER_TIME, answer)
        .await
        .map_err(|_| format!("no answer within {} s", ANSWER_TIME.as_secs()))??;
    warnings(&answer).filter(|warning| is_news(warning)).for_each(|warning| {
        tracing::warn!("the API server warns: {warning}");
    });
    match seconds(&answer) {
        Some(seconds) => with_time(answer, seconds).await,
        None => Ok(answer),
    }
}

/// The server's warnings: the texts of the headers `Warning: 299 - "text"`.
fn warnings(answer: &Answer) -> impl Iterator<Item = String> {
    answer.headers().get_all(header::WARNING).iter().filter_map(|value| {
        let (_, quoted) = value.to_str().ok()?.split_once('"')?;
        let text = quoted.rsplit_once('"').map_or(quoted, |(text, _)| text);
        Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
    })
}

/// True for a warning that was not printed yet: the server repeats each warning for every pod.
fn is_news(warning: &str) -> bool {
    static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    printed.len() < MOST_WARNINGS && printed.insert(warning.to_owned())
}

/// Retry-After of a busy server, in seconds.
fn seconds(answer: &Answer) -> Option<u32> {
    let is_busy = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    answer.headers().get(header::RETRY_AFTER).filter(|_| is_busy)?.to_str().ok()?.parse().ok()
}

/// Copies the header's time into the body, because callers only see the body of an error.
async fn with_time(answer: Answer, seconds: u32) -> Result<Answer, BoxError> {
    let (mut parts, body) = answer.into_parts();
    let bytes = timeout(ANSWER_TIME, body.collect()).await??.to_bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_TEXT_BYTES)]);
    let mut status = serde_json::from_slice(&bytes).unwrap_or_else(|_| Status {
        message: text.trim().to_owned(),
        code: parts.status.as_u16(),
        ..Status::default()
    });
    let details = StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    };
    status.details.get_or_insert(details).retry_after_seconds = seconds;
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = Full::from(serde_json::to_vec(&status)?).map_err(|never| match never {});
    Ok(Response::from_parts(parts, Box::new(body)))
}
