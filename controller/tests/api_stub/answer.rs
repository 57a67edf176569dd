//! Responses of the API server.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub type Answer = Response<BoxBody<Bytes, std::io::Error>>;

pub fn text(code: u16, kind: &str, text: impl Into<Bytes>) -> Answer {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
    answer
}

pub fn object(code: u16, value: &Value) -> Answer {
    text(code, "application/json", serde_json::to_vec(value).unwrap())
}

/// A `Status` object.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

pub fn error(code: u16, reason: &str, message: &str) -> Answer {
    object(code, &status(code, reason, message))
}

pub fn busy(seconds: u64) -> Answer {
    let mut answer = text(429, "text/plain", "Too many requests, please try again later.\n");
    answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    answer
}

/// A streamed body; an error in the stream cuts the connection.
pub fn pieces(from: mpsc::Receiver<std::io::Result<Bytes>>) -> Answer {
    let frames = futures_util::stream::unfold(from, |mut from| async {
        let piece = from.recv().await?;
        Some((piece.map(Frame::data), from))
    });
    let mut answer = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    answer.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    answer
}

/// The error of a cut connection.
pub fn cut() -> std::io::Error {
    std::io::Error::other("cut on purpose")
}
