//! Requests, as a backend reads them.

use httparse::{EMPTY_HEADER, Status};

use crate::body::{BadChunk, Body, Framing, connection, framing};
use crate::response::{Bad, MOST_HEAD_BYTES, MOST_HEADERS};

/// A whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// True for `HEAD`.
    pub head: bool,
    /// True when another request may follow on the connection.
    pub keep_alive: bool,
}

/// A request that is being read; afterwards, the next one.
#[derive(Debug, Clone, Default)]
pub struct RequestReader {
    reading: Option<(Incoming, Body)>,
}

impl RequestReader {
    /// Takes what belongs to the request. Returns the number of bytes taken, and the request when it is whole;
    /// the other bytes are to be given again, with more behind them.
    ///
    /// # Errors
    /// The reason for which nothing more can be read on this connection.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Incoming>), Bad> {
        let mut at = 0;
        if self.reading.is_none() {
            let mut headers = [EMPTY_HEADER; MOST_HEADERS];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&bytes[..bytes.len().min(MOST_HEAD_BYTES)]) {
                Ok(Status::Complete(length)) => at = length,
                Ok(Status::Partial) if bytes.len() >= MOST_HEAD_BYTES => return Err(Bad::TooLarge),
                Ok(Status::Partial) => return Ok((0, None)),
                Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLarge),
                Err(_) => return Err(Bad::Malformed),
            }
            let asked = framing(request.headers).map_err(|BadChunk| Bad::Malformed)?;
            let keep_alive = connection(request.headers).persists(request.version.unwrap_or(0));
            let incoming = Incoming { head: request.method == Some("HEAD"), keep_alive };
            self.reading = Some((incoming, Body::new(asked.unwrap_or(Framing::Empty))));
        }
        let Some((incoming, body)) = &mut self.reading else { return Ok((at, None)) };
        let taken = body.take(&bytes[at..], |_| {}).map_err(|BadChunk| Bad::Malformed)?;
        at += taken.consumed;
        let incoming = *incoming;
        if !taken.complete {
            return Ok((at, None));
        }
        self.reading = None;
        Ok((at, Some(incoming)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other() {
        let bytes = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nPOST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD / HTTP/1.0\r\n\r\n";
        for size in 1..bytes.len() {
            let (mut reader, mut waiting, mut seen) = (RequestReader::default(), Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                waiting.extend_from_slice(piece);
                loop {
                    let (taken, request) = reader.read(&waiting).unwrap();
                    waiting.drain(..taken);
                    match request {
                        Some(request) => seen.push((request.head, request.keep_alive)),
                        None => break,
                    }
                }
            }
            assert_eq!(seen, [(false, true), (false, true), (true, false)], "in pieces of {size}");
            assert!(waiting.is_empty());
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        assert_eq!(RequestReader::default().read(b"\x16\x03\x01\x02"), Err(Bad::Malformed));
        let endless = [&b"GET / HTTP/1.1\r\nX: "[..], &vec![b'a'; MOST_HEAD_BYTES]].concat();
        assert_eq!(RequestReader::default().read(&endless), Err(Bad::TooLarge));
        let both = b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(RequestReader::default().read(both), Err(Bad::Malformed));
    }
}
