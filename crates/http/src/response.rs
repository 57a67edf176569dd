//! Responses, read as they come.

use httparse::{EMPTY_HEADER, ParserConfig, Status};

use crate::body::{BadChunk, Body, Framing, connection, framing};

/// Most bytes of a head: status line and headers.
pub const MOST_HEAD_BYTES: usize = 64 * 1024;
/// Most headers of a message.
pub(crate) const MOST_HEADERS: usize = 128;
/// Longest name of a backend, in bytes.
pub const MOST_NAME_BYTES: usize = 64;
/// Heads are looked at before they are complete as long as they are short: garbage is told at once.
const EARLY_BYTES: usize = 2048;

/// Why a response is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Not HTTP/1.1.
    Malformed,
    /// A head or a body beyond its limit.
    TooLarge,
    /// The connection ended within it.
    ClosedEarly,
}

/// What tells backends apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBy {
    /// The body.
    Body,
    /// A header of this name.
    Header(String),
    /// Nothing.
    Nothing,
}

/// What all responses of a trial have in common.
#[derive(Debug, Clone)]
pub struct Expected {
    /// True when the requests are `HEAD`.
    pub head: bool,
    /// Largest body.
    pub most_body_bytes: u64,
    /// What names the backend.
    pub named_by: NamedBy,
}

/// A whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// True when the connection may be used again.
    pub keep_alive: bool,
    /// Bytes of the body, without chunk framing.
    pub body_bytes: u64,
}

/// How far a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes were taken. The others are to be given again, with more behind them.
    Partial(usize),
    /// So many bytes were the response's last ones.
    Whole(usize, Response),
}

/// A short text that names a backend, held in place.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    bytes: [u8; MOST_NAME_BYTES],
    length: u8,
    too_long: bool,
}

impl Name {
    pub(crate) const EMPTY: Self = Self { bytes: [0; MOST_NAME_BYTES], length: 0, too_long: false };

    #[inline]
    pub(crate) fn add(&mut self, part: &[u8]) {
        let at = usize::from(self.length);
        match self.bytes.get_mut(at..at + part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                self.length += part.len() as u8;
            }
            None => self.too_long = true,
        }
    }

    /// The text; `None` when it is empty, too long or not printable ASCII.
    pub fn text(&self) -> Option<&[u8]> {
        let text = self.bytes.get(..usize::from(self.length))?.trim_ascii();
        let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        (!self.too_long && !text.is_empty() && text.iter().all(printable)).then_some(text)
    }
}

/// What a head says.
#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    persists: bool,
    framing: Framing,
    name: Name,
}

/// The last head and its meaning. Heads of one server are mostly the same to the byte for a second, the
/// resolution of `Date`; comparing costs a tenth of parsing.
#[derive(Debug, Clone, Default)]
pub struct HeadCache {
    bytes: Vec<u8>,
    head: Option<Head>,
}

/// Longest head that is remembered.
const MOST_CACHED_BYTES: usize = 2048;

#[derive(Debug, Clone, Copy)]
struct Reading {
    head: Head,
    body: Body,
    body_bytes: u64,
}

/// A response that is being read; afterwards, the next one.
#[derive(Debug, Clone, Default)]
pub struct ResponseReader {
    reading: Option<Reading>,
    /// Bytes of the head in which no head was found.
    looked_at: usize,
    name: Option<Name>,
}

impl ResponseReader {
    /// Takes what belongs to the response.
    ///
    /// # Errors
    /// The reason for which nothing more can be read on this connection.
    #[inline]
    pub fn read(
        &mut self,
        bytes: &[u8],
        expected: &Expected,
        cache: &mut HeadCache,
    ) -> Result<Progress, Bad> {
        let mut at = 0;
        loop {
            if let Some(reading) = &mut self.reading {
                let named = expected.named_by == NamedBy::Body;
                let (name, body_bytes) = (&mut reading.head.name, &mut reading.body_bytes);
                let taken = reading.body.take(&bytes[at..], |content| {
                    *body_bytes += content.len() as u64;
                    if named {
                        name.add(content);
                    }
                });
                let taken = taken.map_err(|BadChunk| Bad::Malformed)?;
                if reading.body_bytes > expected.most_body_bytes {
                    return Err(Bad::TooLarge);
                }
                at += taken.consumed;
                return Ok(if taken.complete {
                    Progress::Whole(at, self.finish(true))
                } else {
                    Progress::Partial(at)
                });
            }
            let rest = &bytes[at..];
            let Some((length, head)) = self.head(rest, expected, cache)? else {
                return Ok(Progress::Partial(at));
            };
            at += length;
            self.looked_at = 0;
            // Interim responses come before the one that counts (RFC 9110, section 15.2).
            if head.status < 200 {
                continue;
            }
            if let Framing::Length(length) = head.framing
                && length > expected.most_body_bytes
            {
                return Err(Bad::TooLarge);
            }
            self.reading = Some(Reading { head, body: Body::new(head.framing), body_bytes: 0 });
        }
    }

    /// The connection has ended. A response that ends with it is whole.
    ///
    /// # Errors
    /// When it was cut off.
    pub fn end(&mut self) -> Result<Response, Bad> {
        match &self.reading {
            Some(reading) if reading.body.ends_with_connection() => Ok(self.finish(false)),
            _ => Err(Bad::ClosedEarly),
        }
    }

    /// True when nothing of a response has been taken.
    pub fn is_idle(&self) -> bool {
        self.reading.is_none()
    }

    /// Forgets a response that is not whole.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Name of the backend that sent the last whole response; `None` when what was to name it is empty, too
    /// long or not printable ASCII.
    pub fn name(&self) -> Option<&[u8]> {
        self.name.as_ref()?.text()
    }

    #[inline]
    fn finish(&mut self, keep_alive: bool) -> Response {
        let none = Head { status: 0, persists: false, framing: Framing::Empty, name: Name::EMPTY };
        let (head, body_bytes) =
            self.reading.take().map_or((none, 0), |reading| (reading.head, reading.body_bytes));
        self.name = Some(head.name);
        Response { status: head.status, keep_alive: keep_alive && head.persists, body_bytes }
    }

    /// The head at the beginning of these bytes, with its length; `None` when it is not there yet.
    #[inline]
    fn head(
        &mut self,
        bytes: &[u8],
        expected: &Expected,
        cache: &mut HeadCache,
    ) -> Result<Option<(usize, Head)>, Bad> {
        if let Some(head) = cache.head
            && bytes.starts_with(&cache.bytes)
        {
            return Ok(Some((cache.bytes.len(), head)));
        }
        self.parse(bytes, expected, cache)
    }

    #[inline(never)]
    fn parse(
        &mut self,
        bytes: &[u8],
        expected: &Expected,
        cache: &mut HeadCache,
    ) -> Result<Option<(usize, Head)>, Bad> {
        // A long head that comes in small pieces is parsed when a line of it ends.
        let new = bytes.get(self.looked_at..).unwrap_or_default();
        if bytes.len() > EARLY_BYTES && self.looked_at > 0 && !new.contains(&b'\n') {
            self.looked_at = bytes.len();
            return if bytes.len() > MOST_HEAD_BYTES { Err(Bad::TooLarge) } else { Ok(None) };
        }
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let window = &bytes[..bytes.len().min(MOST_HEAD_BYTES)];
        let length = match ParserConfig::default().parse_response(&mut response, window) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if bytes.len() > MOST_HEAD_BYTES => return Err(Bad::TooLarge),
            Ok(Status::Partial) => {
                self.looked_at = bytes.len();
                return Ok(None);
            }
            Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLarge),
            Err(_) => return Err(Bad::Malformed),
        };
        let head = meaning(&response, expected)?;
        if length <= MOST_CACHED_BYTES {
            cache.bytes.clear();
            cache.bytes.extend_from_slice(&bytes[..length]);
            cache.head = Some(head);
        }
        Ok(Some((length, head)))
    }
}

fn meaning(response: &httparse::Response<'_, '_>, expected: &Expected) -> Result<Head, Bad> {
    let status = response.code.unwrap_or(0);
    // Nobody asked for another protocol.
    if status == 101 || status < 100 {
        return Err(Bad::Malformed);
    }
    let asked = framing(response.headers).map_err(|BadChunk| Bad::Malformed)?;
    // RFC 9112, section 6.3.
    let framing = if expected.head || status < 200 || status == 204 || status == 304 {
        Framing::Empty
    } else {
        asked.unwrap_or(Framing::UntilClose)
    };
    let mut name = Name::EMPTY;
    if let NamedBy::Header(wanted) = &expected.named_by
        && let Some(header) = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(wanted))
    {
        name.add(header.value);
    }
    let persists = connection(response.headers).persists(response.version.unwrap_or(0));
    Ok(Head { status, persists, framing, name })
}

#[cfg(test)]
mod tests;
