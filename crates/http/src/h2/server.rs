//! HTTP/2 of a server that gives every request the same answer (RFC 9113), without I/O.

use std::collections::BTreeMap;

use super::connection::NO_ERROR;
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADER_BYTES, HEADER_TABLE_SIZE,
    HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, MOST_WINDOW,
    PING, PREFACE, PUSH_PROMISE, RST_STREAM, SETTINGS, TooLong, WINDOW_UPDATE, number, put, put_head,
};
use super::hpack::{decode, known, put_number, put_text};
use crate::response::{Bad, MOST_HEAD_BYTES};

/// Window of a connection and of a stream before anything is said of it.
const USUAL_WINDOW: i64 = 65_535;
/// Requests of a connection that a client may have under way at the same time.
const MOST_STREAMS: u32 = 65_536;
/// Bytes that wait to be sent from which on no part of a body is added.
const MOST_WAITING_BYTES: usize = 64 * 1024;
/// Bytes of requests' bodies that may have come before the client is told that it may send as many again.
const TOLD_AFTER: u32 = 1 << 30;
/// Code of an error (RFC 9113, section 7): the server does not work on the request.
const REFUSED_STREAM: u32 = 7;

/// Whether a connection begins with HTTP/2; `None`: so few bytes do not tell.
pub fn begins(bytes: &[u8]) -> Option<bool> {
    let compared = bytes.len().min(PREFACE.len());
    if bytes[..compared] != PREFACE[..compared] {
        return Some(false);
    }
    (compared == PREFACE.len()).then_some(true)
}

/// Bytes with which a connection of HTTP/2 begins.
pub const PREFACE_BYTES: usize = PREFACE.len();

/// The answer to every request, encoded once.
#[derive(Debug, Clone)]
pub struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer with these fields, whose names are in lower case.
    pub fn new(status: u16, fields: &[(&str, &str)], body: Vec<u8>) -> Self {
        let mut head = Vec::new();
        let status = status.to_string();
        for (name, value) in std::iter::once((":status", status.as_str())).chain(fields.iter().copied()) {
            match known(name, value.as_bytes()) {
                Some((index, true)) => put_number(&mut head, 0x80, 7, index),
                Some((index, false)) => {
                    put_number(&mut head, 0, 4, index);
                    put_text(&mut head, value.as_bytes());
                }
                None => {
                    head.push(0);
                    put_text(&mut head, name.as_bytes());
                    put_text(&mut head, value.as_bytes());
                }
            }
        }
        Self { head, body }
    }
}

/// A request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Number of its stream.
    stream: u32,
    /// True for `HEAD`.
    head: bool,
    /// Bytes of a body that the client takes beyond the first window of every stream, which may change.
    window: i64,
}

/// A header block that comes in pieces.
#[derive(Debug)]
struct Pieces {
    stream: u32,
    last: bool,
    bytes: Vec<u8>,
    counted: usize,
}

/// An answer whose body has not been sent whole.
#[derive(Debug)]
struct Waiting {
    sent: usize,
    /// As of its request.
    window: i64,
}

/// A server's end of a connection, behind the bytes with which it begins.
#[derive(Debug)]
pub struct ServerConnection {
    out: Vec<u8>,
    has_settings: bool,
    goes_away: bool,
    pieces: Option<Pieces>,
    last_stream: u32,
    /// Requests that are not whole; those that are held back.
    open: BTreeMap<u32, Asked>,
    held: BTreeMap<u32, Asked>,
    waiting: BTreeMap<u32, Waiting>,
    /// Some of those that wait may have room: windows have grown, or there was no room in what is to be sent. Otherwise nobody looks for one, because
    /// there may be many.
    may_go_on: bool,
    window: i64,
    first_window: i64,
    most_payload: usize,
    unacknowledged: u32,
    answered: u64,
    /// The last header block, and whether it is that of a `HEAD`.
    block: (Vec<u8>, bool),
}

impl ServerConnection {
    /// A connection whose first bytes are to be sent.
    pub fn new() -> Self {
        let mut out = Vec::new();
        let settings = [
            // Then a header block means the same at any time.
            (HEADER_TABLE_SIZE, 0),
            (MAX_CONCURRENT_STREAMS, MOST_STREAMS),
            (INITIAL_WINDOW_SIZE, MOST_WINDOW),
            (MAX_HEADER_LIST_SIZE, MOST_HEAD_BYTES as u32),
        ];
        put_head(&mut out, settings.len() * 6, SETTINGS, 0, 0);
        for (name, value) in settings {
            out.extend_from_slice(&name.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        put(&mut out, WINDOW_UPDATE, 0, 0, &(MOST_WINDOW - USUAL_WINDOW as u32).to_be_bytes());
        Self {
            out,
            has_settings: false,
            goes_away: false,
            pieces: None,
            last_stream: 0,
            open: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            may_go_on: false,
            window: USUAL_WINDOW,
            first_window: USUAL_WINDOW,
            most_payload: 16_384,
            unacknowledged: 0,
            answered: 0,
            block: (Vec::new(), false),
        }
    }

    /// True when no request is on its way in or out.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.held.is_empty() && self.waiting.is_empty() && self.pieces.is_none()
    }

    /// Adds the bytes that are to be sent to others.
    pub fn take_out(&mut self, to: &mut Vec<u8>) {
        to.append(&mut self.out);
    }

    /// Tells the client to send no further request on this connection.
    pub fn go_away(&mut self) {
        if !std::mem::replace(&mut self.goes_away, true) {
            let payload = [self.last_stream.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
            put(&mut self.out, GOAWAY, 0, 0, &payload);
        }
    }

    /// Takes whole frames of the client, and adds the numbers of the streams whose requests are whole then. They are answered
    /// at once, or, without an answer, held back until [`ServerConnection::release`]. Returns the number of bytes taken.
    ///
    /// # Errors
    /// The reason for which nothing more can be read on this connection.
    pub fn read(
        &mut self,
        bytes: &[u8],
        answer: Option<&Answer>,
        requests: &mut Vec<u32>,
    ) -> Result<usize, Bad> {
        let mut rest = bytes;
        while let Some((frame, behind)) = Frame::first(rest).map_err(|TooLong| Bad::Malformed)? {
            if let Some(asked) = self.frame(frame)? {
                requests.push(asked.stream);
                // Before the next frame is read, which may be about its window.
                match answer {
                    Some(answer) => self.answer(asked, answer),
                    None => drop(self.held.insert(asked.stream, asked)),
                }
            }
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Answers that became whole in what is to be sent, since the last call.
    pub fn take_answered(&mut self) -> u64 {
        std::mem::take(&mut self.answered)
    }

    fn answer(&mut self, asked: Asked, answer: &Answer) {
        let empty = asked.head || answer.body.is_empty();
        let end = if empty { END_STREAM } else { 0 };
        put(&mut self.out, HEADERS, END_HEADERS | end, asked.stream, &answer.head);
        if empty {
            self.answered += 1;
            return;
        }
        let mut one = Waiting { sent: 0, window: asked.window };
        if !self.send_body(asked.stream, &mut one, answer) {
            self.may_go_on |= self.out.len() >= MOST_WAITING_BYTES;
            self.waiting.insert(asked.stream, one);
        }
    }

    /// Answers a request that was held back, unless the client gave it up.
    pub fn release(&mut self, stream: u32, answer: &Answer) {
        if let Some(asked) = self.held.remove(&stream) {
            self.answer(asked, answer);
        }
    }

    /// Adds parts of bodies as far as windows permit.
    pub fn send_bodies(&mut self, answer: &Answer) {
        if !self.may_go_on || self.window <= 0 || self.out.len() >= MOST_WAITING_BYTES {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|stream, one| !self.send_body(*stream, one, answer));
        self.waiting = waiting;
        self.may_go_on = self.out.len() >= MOST_WAITING_BYTES;
    }

    /// Adds parts of a body as far as windows permit. True when it is whole then.
    fn send_body(&mut self, stream: u32, one: &mut Waiting, answer: &Answer) -> bool {
        while self.out.len() < MOST_WAITING_BYTES {
            let may = self.window.min(self.first_window + one.window).min(self.most_payload as i64);
            let part = (answer.body.len() - one.sent).min(usize::try_from(may).unwrap_or(0));
            if part == 0 {
                return false;
            }
            let content = &answer.body[one.sent..one.sent + part];
            one.sent += part;
            one.window -= part as i64;
            self.window -= part as i64;
            let last = one.sent == answer.body.len();
            put(&mut self.out, DATA, if last { END_STREAM } else { 0 }, stream, content);
            if last {
                self.answered += 1;
                return true;
            }
        }
        false
    }

    /// Takes a frame; returns the request that is whole with it.
    fn frame(&mut self, frame: Frame<'_>) -> Result<Option<Asked>, Bad> {
        // The first frame of a client are its settings (RFC 9113, section 3.4).
        if !self.has_settings && (frame.kind != SETTINGS || frame.has(ACK)) {
            return Err(Bad::Malformed);
        }
        if self.pieces.is_some() != (frame.kind == CONTINUATION) {
            return Err(Bad::Malformed);
        }
        match frame.kind {
            HEADERS => {
                let block = frame.content().ok_or(Bad::Malformed)?;
                let last = frame.has(END_STREAM);
                if frame.has(END_HEADERS) {
                    return self.headers(frame.stream, block, last);
                }
                let (bytes, counted) = (block.to_vec(), HEADER_BYTES + block.len());
                self.pieces = Some(Pieces { stream: frame.stream, last, bytes, counted });
            }
            CONTINUATION => {
                let pieces = self.pieces.as_mut().filter(|pieces| pieces.stream == frame.stream);
                let pieces = pieces.ok_or(Bad::Malformed)?;
                pieces.counted += HEADER_BYTES + frame.payload.len();
                if pieces.counted > MOST_HEAD_BYTES {
                    return Err(Bad::TooLarge);
                }
                pieces.bytes.extend_from_slice(frame.payload);
                if frame.has(END_HEADERS)
                    && let Some(Pieces { stream, last, bytes, .. }) = self.pieces.take()
                {
                    return self.headers(stream, &bytes, last);
                }
            }
            DATA => {
                self.check(frame.stream)?;
                frame.content().ok_or(Bad::Malformed)?;
                self.unacknowledged += frame.payload.len() as u32;
                if self.unacknowledged >= TOLD_AFTER {
                    let more = std::mem::take(&mut self.unacknowledged);
                    put(&mut self.out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
                }
                if frame.has(END_STREAM) {
                    return Ok(self.open.remove(&frame.stream));
                }
            }
            RST_STREAM => {
                if frame.payload.len() != 4 {
                    return Err(Bad::Malformed);
                }
                self.check(frame.stream)?;
                self.open.remove(&frame.stream);
                self.held.remove(&frame.stream);
                self.waiting.remove(&frame.stream);
            }
            SETTINGS => self.settings(frame)?,
            PUSH_PROMISE => return Err(Bad::Malformed),
            PING => {
                if frame.payload.len() != 8 || frame.stream != 0 {
                    return Err(Bad::Malformed);
                }
                if !frame.has(ACK) {
                    put(&mut self.out, PING, ACK, 0, frame.payload);
                }
            }
            WINDOW_UPDATE => self.window_update(frame)?,
            // A client that goes away closes the connection; priorities and extensions are of no use here.
            _ => {}
        }
        Ok(None)
    }

    /// Checks that a stream is one that the client has opened.
    fn check(&self, stream: u32) -> Result<(), Bad> {
        if stream % 2 == 1 && stream <= self.last_stream { Ok(()) } else { Err(Bad::Malformed) }
    }

    fn headers(&mut self, stream: u32, block: &[u8], last: bool) -> Result<Option<Asked>, Bad> {
        if stream <= self.last_stream {
            // Fields behind the body end the request.
            self.check(stream)?;
            if !last {
                return Err(Bad::Malformed);
            }
            return Ok(self.open.remove(&stream));
        }
        if stream.is_multiple_of(2) {
            return Err(Bad::Malformed);
        }
        self.last_stream = stream;
        if self.goes_away {
            // The client was told that nobody works on it, and sends it elsewhere (RFC 9113, section 6.8).
            return Ok(None);
        }
        let under_way = self.open.len() + self.held.len() + self.waiting.len();
        if under_way >= MOST_STREAMS as usize {
            put(&mut self.out, RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes());
            return Ok(None);
        }
        let asked = Asked { stream, head: self.is_head(block), window: 0 };
        if last {
            return Ok(Some(asked));
        }
        self.open.insert(stream, asked);
        Ok(None)
    }

    /// True for a `HEAD`. A block that relies on a table, which a client may have before it knows that there is none, is taken for
    /// another method's: the answer is the same.
    fn is_head(&mut self, block: &[u8]) -> bool {
        if self.block.0 != block {
            let mut head = false;
            let read = decode(block, |field, value| {
                head |= field == b":method" && value == b"HEAD";
                Ok(())
            });
            self.block.0.clear();
            self.block.0.extend_from_slice(block);
            self.block.1 = read.is_ok() && head;
        }
        self.block.1
    }

    fn settings(&mut self, frame: Frame<'_>) -> Result<(), Bad> {
        let odd = !frame.payload.len().is_multiple_of(6) || frame.has(ACK) && !frame.payload.is_empty();
        if frame.stream != 0 || odd {
            return Err(Bad::Malformed);
        }
        if frame.has(ACK) {
            return Ok(());
        }
        for setting in frame.payload.chunks_exact(6) {
            let (name, value) = setting.split_at(2);
            let name = u16::from_be_bytes([name[0], name[1]]);
            let value = number(value).unwrap_or(0);
            match name {
                INITIAL_WINDOW_SIZE => {
                    if value > MOST_WINDOW {
                        return Err(Bad::Malformed);
                    }
                    self.first_window = i64::from(value);
                    self.may_go_on = true;
                }
                MAX_FRAME_SIZE => {
                    if !(16_384..1 << 24).contains(&value) {
                        return Err(Bad::Malformed);
                    }
                    self.most_payload = value as usize;
                }
                _ => {}
            }
        }
        self.has_settings = true;
        put(&mut self.out, SETTINGS, ACK, 0, &[]);
        Ok(())
    }

    fn window_update(&mut self, frame: Frame<'_>) -> Result<(), Bad> {
        let more = number(frame.payload).filter(|_| frame.payload.len() == 4).ok_or(Bad::Malformed)?;
        let more = i64::from(more & MOST_WINDOW);
        let (first, window) = if frame.stream == 0 {
            (0, Some(&mut self.window))
        } else {
            self.check(frame.stream)?;
            let asked = match self.open.get_mut(&frame.stream) {
                Some(open) => Some(open),
                None => self.held.get_mut(&frame.stream),
            };
            let window = match asked {
                Some(asked) => Some(&mut asked.window),
                None => self.waiting.get_mut(&frame.stream).map(|one| &mut one.window),
            };
            (self.first_window, window)
        };
        if let Some(window) = window {
            *window += more;
            if more == 0 || first + *window > i64::from(MOST_WINDOW) {
                return Err(Bad::Malformed);
            }
            self.may_go_on = true;
        }
        Ok(())
    }
}

impl Default for ServerConnection {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
