//! Requests, built once and sent many times.

use http::{HeaderName, HeaderValue, Method};

use crate::target::Target;

/// Most bytes of a request's body.
pub const MOST_BODY_BYTES: usize = 16 << 20;

/// A request as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    method: Method,
    tls: bool,
    path: String,
    /// Fields but those of the connection, and where the body begins.
    fields: Vec<(String, Vec<u8>)>,
    body_at: usize,
}

/// Parts of a request that are chosen.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// Names and values.
    pub headers: &'a [(String, String)],
    /// Content, at most [`MOST_BODY_BYTES`].
    pub body: &'a [u8],
    /// False: the request asks for the connection's end.
    pub keep_alive: bool,
    /// Value of `User-Agent` without a header of that name.
    pub user_agent: &'a str,
}

/// Error: a request that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a token of RFC 9110, or one that changes what a connection is.
    #[error("method '{0}' cannot be sent: give one such as GET, HEAD, POST, PUT, DELETE")]
    Method(String),
    /// Not a name and value.
    #[error("header '{0}' is not a name and a value such as 'Accept: text/html'")]
    Header(String),
    /// A header that this program computes.
    #[error("header '{0}' is computed; {1}")]
    Computed(String, &'static str),
    /// Too many bytes.
    #[error("a body of {0} bytes is too large: at most {MOST_BODY_BYTES}")]
    Body(usize),
}

/// Splits `Name: value`.
///
/// # Errors
/// Text without a colon.
pub fn header(text: &str) -> Result<(String, String), RequestError> {
    let (name, value) = text.split_once(':').ok_or_else(|| RequestError::Header(text.to_owned()))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Request {
    /// Builds a request.
    ///
    /// # Errors
    /// The part that cannot be sent.
    pub fn new(target: &Target, parts: &Parts<'_>) -> Result<Self, RequestError> {
        let refused = || RequestError::Method(parts.method.to_owned());
        let method = Method::from_bytes(parts.method.as_bytes()).map_err(|_| refused())?;
        if method == Method::CONNECT {
            return Err(refused());
        }
        if parts.body.len() > MOST_BODY_BYTES {
            return Err(RequestError::Body(parts.body.len()));
        }
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, value: &[u8]| fields.push((name.to_owned(), value.to_vec()));
        let has = |wanted: &str| parts.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            add("Host", target.authority().as_bytes());
        }
        if !has("user-agent") {
            add("User-Agent", parts.user_agent.as_bytes());
        }
        if !has("accept") {
            add("Accept", b"*/*");
        }
        for (name, value) in parts.headers {
            let wrong = || RequestError::Header(format!("{name}: {value}"));
            let valid = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let remedy = match valid.as_str() {
                "connection" | "keep-alive" => Some("connections stay open unless --no-keepalive is given"),
                "content-length" | "transfer-encoding" => Some("it follows from the body"),
                "upgrade" => Some("HTTP/2 is asked for with --http2"),
                _ => None,
            };
            if let Some(remedy) = remedy {
                return Err(RequestError::Computed(name.clone(), remedy));
            }
            let content = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
            add(name, content.as_bytes());
        }
        if !parts.body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            add("Content-Length", parts.body.len().to_string().as_bytes());
        }
        let mut bytes = format!("{method} {} HTTP/1.1\r\n", target.path).into_bytes();
        for (name, value) in &fields {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !parts.keep_alive {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        let body_at = bytes.len();
        bytes.extend_from_slice(parts.body);
        Ok(Self { bytes, method, tls: target.tls, path: target.path.clone(), fields, body_at })
    }

    /// Such as `GET`.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// True when it is for an `https` URL.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Names and values of its fields, but for those that are the connection's.
    pub fn fields(&self) -> &[(String, Vec<u8>)] {
        &self.fields
    }

    /// Its content.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// The whole request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True for `HEAD`, whose responses have no body.
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(parts: &Parts<'_>) -> Result<String, RequestError> {
        let target: Target = "http://h:81/p?q".parse().unwrap();
        Request::new(&target, parts).map(|request| String::from_utf8(request.bytes).unwrap())
    }

    const GET: Parts<'_> =
        Parts { method: "GET", headers: &[], body: b"", keep_alive: true, user_agent: "linerate/0" };

    #[test]
    fn requests_have_what_servers_need() {
        assert_eq!(
            built(&GET).unwrap(),
            "GET /p?q HTTP/1.1\r\nHost: h:81\r\nUser-Agent: linerate/0\r\nAccept: */*\r\n\r\n"
        );
        let headers = ["Host: other", "user-agent: me", "X-A:b"].map(|text| header(text).unwrap());
        let post = Parts { method: "POST", headers: &headers, body: b"hello", keep_alive: false, ..GET };
        assert_eq!(
            built(&post).unwrap(),
            "POST /p?q HTTP/1.1\r\nAccept: */*\r\nHost: other\r\nuser-agent: me\r\nX-A: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        );
        assert!(built(&Parts { method: "PUT", ..GET }).unwrap().contains("Content-Length: 0"));
    }

    #[test]
    fn refusals_name_the_part() {
        let with = |name: &str, value: &str| {
            let headers = [(name.to_owned(), value.to_owned())];
            built(&Parts { headers: &headers, ..GET }).unwrap_err().to_string()
        };
        assert!(with("a b", "c").contains("'a b: c'"));
        assert!(with("a", "b\r\nc: d").contains("is not a name and a value"));
        assert!(with("Connection", "close").contains("--no-keepalive"));
        assert!(with("content-length", "5").contains("follows from the body"));
        for method in ["CONNECT", "GE T", ""] {
            let error = built(&Parts { method, ..GET }).unwrap_err().to_string();
            assert!(error.contains(&format!("'{method}'")), "{error}");
        }
        assert!(header("no colon").is_err());
    }
}
