//! A connection: many requests on their way at the same time.

use std::collections::VecDeque;

use super::blocks::{Blocks, USUAL_TABLE_BYTES};
use super::frame::{
    CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE, MOST_WINDOW, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    put, put_head,
};
use super::receive::Pieces;
use super::stream::Stream;
use crate::response::{Bad, MOST_HEAD_BYTES, Name, Response};

/// Window of a connection and of a stream before anything is said of it.
const USUAL_WINDOW: i64 = 65_535;
/// Bytes that wait to be sent from which on no further request, or part of a body, is added.
const MOST_WAITING_BYTES: usize = 64 * 1024;
/// Codes of errors (RFC 9113, section 7).
pub(super) const NO_ERROR: u32 = 0;
pub(super) const CANCEL: u32 = 8;
/// Code of a stream that the server did not begin to work on.
pub const REFUSED_STREAM: u32 = 7;

/// What became of a request, or of the connection.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// The response to a request has begun.
    Began {
        /// The request's number.
        place: u32,
    },
    /// The response is whole.
    Response {
        /// The request's number.
        place: u32,
        /// The response.
        response: Response,
        /// Name of the backend.
        name: Name,
    },
    /// The response is none.
    Failed {
        /// The request's number.
        place: u32,
        /// Why.
        why: Bad,
    },
    /// The server reset the request's stream.
    Reset {
        /// The request's number.
        place: u32,
        /// Its reason, such as [`REFUSED_STREAM`].
        code: u32,
    },
    /// The server said that it did not work on the request, and will not (GOAWAY).
    Returned {
        /// The request's number.
        place: u32,
    },
    /// The server closes the connection: no further request may be sent.
    GoAway {
        /// Its reason; 0: in order.
        code: u32,
        /// The server had not said so before.
        first: bool,
    },
    /// The number of requests that may be under way is known, or has changed.
    Limit,
}

/// A client's end of a connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) out: Vec<u8>,
    /// Bytes of a frame that is not whole.
    pub(super) kept: Vec<u8>,
    /// Requests under way, by number of their streams.
    pub(super) streams: VecDeque<Stream>,
    pub(super) next_id: u32,
    pub(super) pieces: Option<Pieces>,
    pub(super) most_streams: u32,
    pub(super) has_settings: bool,
    pub(super) goes_away: bool,
    pub(super) window: i64,
    pub(super) first_window: i64,
    pub(super) most_payload: usize,
    pub(super) unacknowledged: u32,
    /// Whether the server remembers this request's fields, and whether it is to forget its table first.
    pub(super) remembers: bool,
    pub(super) is_literal: bool,
    pub(super) forgets: bool,
    /// Bytes of answers that wait to be sent.
    pub(super) answers: usize,
    /// Bytes of a request's body.
    pub(super) body_bytes: usize,
}

impl Connection {
    /// A connection whose first bytes are to be sent.
    pub fn new() -> Self {
        let mut out = PREFACE.to_vec();
        let settings = [
            (HEADER_TABLE_SIZE, 0),
            (ENABLE_PUSH, 0),
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
            kept: Vec::new(),
            streams: VecDeque::new(),
            next_id: 1,
            pieces: None,
            most_streams: u32::MAX,
            has_settings: false,
            goes_away: false,
            window: USUAL_WINDOW,
            first_window: USUAL_WINDOW,
            most_payload: 16_384,
            unacknowledged: 0,
            remembers: false,
            is_literal: false,
            forgets: false,
            answers: 0,
            body_bytes: 0,
        }
    }

    /// Bytes that are to be sent.
    pub fn out(&self) -> &[u8] {
        &self.out
    }

    /// So many of them were sent.
    pub fn sent(&mut self, bytes: usize, request: &Blocks) {
        self.out.drain(..bytes.min(self.out.len()));
        self.answers = self.answers.min(self.out.len());
        if !request.body.is_empty() {
            self.send_bodies(request);
        }
    }

    /// True once the server has said what it permits.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// Requests under way.
    pub fn under_way(&self) -> usize {
        self.streams.len()
    }

    /// Requests that the server permits at the same time.
    pub fn most_streams(&self) -> u32 {
        self.most_streams
    }

    /// True when no further request can be sent: the server said so, or the numbers of streams are used up.
    pub fn is_closing(&self) -> bool {
        self.goes_away || self.next_id > MOST_WINDOW
    }

    /// Has no further request sent on this connection.
    pub fn retire(&mut self) {
        self.goes_away = true;
    }

    /// True when another request may be sent now: the server permits it, and takes what is sent.
    pub fn may_open(&self) -> bool {
        !self.is_closing()
            && self.streams.len() < self.most_streams as usize
            && self.out.len() <= MOST_WAITING_BYTES
    }

    /// Sends a request. False: [`Connection::may_open`] is.
    pub fn open(&mut self, place: u32, request: &Blocks) -> bool {
        if !self.may_open() {
            return false;
        }
        let id = self.next_id;
        self.next_id += 2;
        if !self.remembers && request.table_bytes > USUAL_TABLE_BYTES {
            self.is_literal = true;
        }
        let block = match (self.is_literal, self.remembers) {
            (true, _) => &request.literal,
            (false, true) => &request.again,
            (false, false) => &request.first,
        };
        self.remembers = true;
        self.body_bytes = request.body.len();
        let end = if request.body.is_empty() { END_STREAM } else { 0 };
        let update: &[u8] = if std::mem::take(&mut self.forgets) { &[0x20] } else { &[] };
        let length = update.len() + block.len();
        let mut kind = HEADERS;
        if length <= self.most_payload {
            put_head(&mut self.out, length, kind, end | END_HEADERS, id);
            self.out.extend_from_slice(update);
            self.out.extend_from_slice(block);
        } else {
            let whole = [update, block].concat();
            let pieces = whole.len().div_ceil(self.most_payload);
            for (number, piece) in whole.chunks(self.most_payload).enumerate() {
                let last = if number + 1 == pieces { END_HEADERS } else { 0 };
                let flags = if kind == HEADERS { end | last } else { last };
                put(&mut self.out, kind, flags, id, piece);
                kind = CONTINUATION;
            }
        }
        self.streams.push_back(Stream::new(id, place, self.first_window));
        if !request.body.is_empty() {
            self.send_bodies(request);
        }
        true
    }

    /// Gives up a request.
    pub fn cancel(&mut self, place: u32) {
        if let Some(at) = self.streams.iter().position(|stream| stream.place == place) {
            self.reset(at, CANCEL);
        }
    }

    pub(super) fn reset(&mut self, at: usize, code: u32) {
        let Some(stream) = self.streams.remove(at) else { return };
        self.answer(RST_STREAM, 0, stream.id, &code.to_be_bytes());
    }

    /// Adds parts of bodies as far as windows permit.
    pub(super) fn send_bodies(&mut self, request: &Blocks) {
        for stream in &mut self.streams {
            while stream.sent < request.body.len() && self.out.len() < MOST_WAITING_BYTES {
                let may = self.window.min(stream.window).min(self.most_payload as i64);
                let part = (request.body.len() - stream.sent).min(usize::try_from(may).unwrap_or(0));
                if part == 0 {
                    break;
                }
                let content = &request.body[stream.sent..stream.sent + part];
                stream.sent += part;
                stream.window -= part as i64;
                self.window -= part as i64;
                let end = if stream.sent == request.body.len() { END_STREAM } else { 0 };
                put(&mut self.out, DATA, end, stream.id, content);
            }
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}
