//! Responses on streams.

use super::hpack::{BadBlock, decode};
use crate::response::{Bad, Expected, Name, NamedBy, Response};

/// What the header block of a response says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) status: u16,
    length: Option<u64>,
    name: Name,
}

/// The last header block and its meaning.
#[derive(Debug, Clone, Default)]
pub struct BlockCache {
    bytes: Vec<u8>,
    head: Option<Head>,
}

/// Longest block that is remembered.
const MOST_CACHED_BYTES: usize = 2048;

/// A request under way.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Number that its user gave it.
    pub(super) place: u32,
    /// Bytes of its body that were sent, and that may be.
    pub(super) sent: usize,
    pub(super) window: i64,
    head: Option<Head>,
    body_bytes: u64,
    /// Bytes that came since the peer was last told that it may send more.
    pub(super) unacknowledged: u32,
}

impl Stream {
    pub(super) fn new(id: u32, place: u32, window: i64) -> Self {
        Self { id, place, sent: 0, window, head: None, body_bytes: 0, unacknowledged: 0 }
    }

    /// Takes a header block: of an interim response, of the one that counts, or after its body.
    pub(super) fn headers(
        &mut self,
        block: &[u8],
        last: bool,
        expected: &Expected,
        cache: &mut BlockCache,
    ) -> Result<(), Bad> {
        if self.head.is_some() {
            return if last && decode(block, |_, _| Ok(())).is_ok() { Ok(()) } else { Err(Bad::Malformed) };
        }
        let head = match cache.head {
            Some(head) if cache.bytes == block => head,
            _ => read(block, expected, cache)?,
        };
        if head.status >= 200 {
            self.head = Some(head);
            return Ok(());
        }
        if last { Err(Bad::Malformed) } else { Ok(()) }
    }

    /// Takes a part of the body.
    pub(super) fn data(&mut self, content: &[u8], expected: &Expected) -> Result<(), Bad> {
        let head = self.head.as_mut().ok_or(Bad::Malformed)?;
        self.body_bytes += content.len() as u64;
        if self.body_bytes > expected.most_body_bytes {
            return Err(Bad::TooLarge);
        }
        if expected.named_by == NamedBy::Body {
            head.name.add(content);
        }
        Ok(())
    }

    /// The response is whole: it, and the name of its backend.
    pub(super) fn end(self, expected: &Expected) -> Result<(Response, Name), Bad> {
        let head = self.head.ok_or(Bad::Malformed)?;
        // RFC 9113, section 8.1.1.
        let empty = expected.head || head.status == 204 || head.status == 304;
        let lies = head.length.is_some_and(|length| length != self.body_bytes);
        if lies && !(empty && self.body_bytes == 0) {
            return Err(Bad::Malformed);
        }
        let response = Response { status: head.status, keep_alive: true, body_bytes: self.body_bytes };
        Ok((response, head.name))
    }
}

#[inline(never)]
fn read(block: &[u8], expected: &Expected, cache: &mut BlockCache) -> Result<Head, Bad> {
    let (mut status, mut length, mut name, mut named) = (None, None, Name::EMPTY, false);
    let mut regular = false;
    let wanted = if let NamedBy::Header(wanted) = &expected.named_by { wanted.as_str() } else { "" };
    let meaning = decode(block, |field, value| {
        if field.first() == Some(&b':') {
            let digits = std::str::from_utf8(value).ok().filter(|digits| digits.len() == 3);
            let code = digits.and_then(|digits| digits.parse::<u16>().ok());
            if regular || field != b":status" || status.is_some() || code.is_none() {
                return Err(BadBlock);
            }
            status = code;
            return Ok(());
        }
        regular = true;
        // RFC 9113, section 8.2.
        if field.is_empty() || field.iter().any(|byte| byte.is_ascii_uppercase() || *byte <= b' ') {
            return Err(BadBlock);
        }
        match field {
            b"connection" | b"transfer-encoding" | b"upgrade" => return Err(BadBlock),
            b"content-length" => {
                let digits = std::str::from_utf8(value).ok();
                let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let value: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(BadBlock)?;
                if length.is_some_and(|earlier| earlier != value) {
                    return Err(BadBlock);
                }
                length = Some(value);
            }
            _ => {}
        }
        if !named && !wanted.is_empty() && field.eq_ignore_ascii_case(wanted.as_bytes()) {
            named = true;
            name.add(value);
        }
        Ok(())
    });
    meaning.map_err(|BadBlock| Bad::Malformed)?;
    // Nobody asked for another protocol.
    let status = status.filter(|status| *status >= 100 && *status != 101).ok_or(Bad::Malformed)?;
    if length.is_some_and(|length| length > expected.most_body_bytes) && !expected.head {
        return Err(Bad::TooLarge);
    }
    let head = Head { status, length, name };
    if block.len() <= MOST_CACHED_BYTES {
        cache.bytes.clear();
        cache.bytes.extend_from_slice(block);
        cache.head = Some(head);
    }
    Ok(head)
}
