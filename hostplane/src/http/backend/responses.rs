//! Responses of a backend, encoded once.

use linerate_http::h2::server::Answer;
use linerate_http::incoming::Incoming;

use super::BackendConfig;

/// Responses as they are sent.
pub(super) struct Responses {
    keep: Vec<u8>,
    close: Vec<u8>,
    body_bytes: usize,
    /// By HTTP/2.
    pub(super) answer: Answer,
}

impl Responses {
    pub(super) fn new(config: &BackendConfig) -> Self {
        let body = match config.body_bytes {
            Some(bytes) => vec![b'x'; bytes as usize],
            None => config.name.as_bytes().to_vec(),
        };
        let reason = http::StatusCode::from_u16(config.status).ok().and_then(|code| code.canonical_reason());
        let by = config.body_bytes.map_or(String::new(), |_| format!("X-Backend: {}\r\n", config.name));
        let empty = config.status == 204 || config.status == 304;
        let head = |end: &str| {
            let length = if empty { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let reason = reason.unwrap_or("Unknown");
            let mut bytes = format!(
                "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain\r\n{by}{length}{end}\r\n",
                config.status
            )
            .into_bytes();
            if !empty {
                bytes.extend_from_slice(&body);
            }
            bytes
        };
        let body_bytes = if empty { 0 } else { body.len() };
        let (keep, close) = (head(""), head("Connection: close\r\n"));
        let length = body.len().to_string();
        let mut fields = vec![("content-type", "text/plain")];
        if config.body_bytes.is_some() {
            fields.push(("x-backend", config.name.as_str()));
        }
        if !empty {
            fields.push(("content-length", length.as_str()));
        }
        let answer = Answer::new(config.status, &fields, if empty { Vec::new() } else { body.clone() });
        Self { keep, close, body_bytes, answer }
    }

    /// Bytes of the longest one.
    pub(super) fn bytes(&self) -> usize {
        self.close.len()
    }

    /// By HTTP/1.1.
    pub(super) fn to(&self, request: Incoming) -> &[u8] {
        let whole = if request.keep_alive { &self.keep } else { &self.close };
        if request.head { &whole[..whole.len() - self.body_bytes] } else { whole }
    }
}
