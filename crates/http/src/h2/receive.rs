//! What a server says on a connection.

use super::blocks::{Blocks, USUAL_TABLE_BYTES};
use super::connection::{CANCEL, Connection, Event, NO_ERROR};
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADER_BYTES, HEADER_TABLE_SIZE,
    HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MOST_WINDOW, PING, PUSH_PROMISE,
    RST_STREAM, SETTINGS, TooLong, WINDOW_UPDATE, number, put,
};
use super::stream::BlockCache;
use crate::response::{Bad, Expected, MOST_HEAD_BYTES};

/// Bytes that may have come before the peer is told that it may send as many again.
const TOLD_AFTER: u32 = 1 << 30;
/// Bytes of answers that wait while the peer goes on asking, and does not read: then it is given up.
const MOST_ANSWER_BYTES: usize = 1 << 20;
/// Capacity that is kept for frames that are not whole.
const KEPT_BYTES: usize = 32 * 1024;

/// A header block that comes in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    stream: u32,
    last: bool,
    bytes: Vec<u8>,
    /// Bytes of it and of its frames' heads.
    counted: usize,
}

impl Connection {
    /// Takes bytes of the server; tells what became of requests.
    ///
    /// # Errors
    /// The reason for which nothing more can be read on this connection.
    pub fn read(
        &mut self,
        bytes: &[u8],
        request: &Blocks,
        expected: &Expected,
        cache: &mut BlockCache,
        events: &mut Vec<Event>,
    ) -> Result<(), Bad> {
        let mut kept = std::mem::take(&mut self.kept);
        let result = if kept.is_empty() {
            let rest = self.frames(bytes, expected, cache, events);
            rest.map(|rest| kept.extend_from_slice(rest))
        } else {
            kept.extend_from_slice(bytes);
            let left = self.frames(&kept, expected, cache, events).map(<[u8]>::len);
            left.map(|left| drop(kept.drain(..kept.len() - left)))
        };
        if kept.capacity() > KEPT_BYTES {
            kept.shrink_to(if kept.is_empty() { 0 } else { KEPT_BYTES });
        }
        self.kept = kept;
        if !request.body.is_empty() {
            self.send_bodies(request);
        }
        result
    }

    /// Takes whole frames; returns what is left.
    fn frames<'a>(
        &mut self,
        mut bytes: &'a [u8],
        expected: &Expected,
        cache: &mut BlockCache,
        events: &mut Vec<Event>,
    ) -> Result<&'a [u8], Bad> {
        while let Some((frame, rest)) = Frame::first(bytes).map_err(|TooLong| Bad::Malformed)? {
            bytes = rest;
            self.frame(frame, expected, cache, events)?;
            if self.answers > MOST_ANSWER_BYTES {
                return Err(Bad::TooLarge);
            }
        }
        Ok(bytes)
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        expected: &Expected,
        cache: &mut BlockCache,
        events: &mut Vec<Event>,
    ) -> Result<(), Bad> {
        // The first frame of a server are its settings (RFC 9113, section 3.4).
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
                    return self.headers(frame.stream, block, last, expected, cache, events);
                }
                let bytes = block.to_vec();
                let counted = HEADER_BYTES + bytes.len();
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
                    return self.headers(stream, &bytes, last, expected, cache, events);
                }
            }
            DATA => return self.data(frame, expected, events),
            RST_STREAM => {
                let code =
                    number(frame.payload).filter(|_| frame.payload.len() == 4).ok_or(Bad::Malformed)?;
                self.check(frame.stream)?;
                if let Some(stream) = self.find(frame.stream).and_then(|at| self.streams.remove(at)) {
                    events.push(Event::Reset { place: stream.place, code });
                }
            }
            SETTINGS => return self.settings(frame, events),
            // This client does not permit it.
            PUSH_PROMISE => return Err(Bad::Malformed),
            PING => {
                if frame.payload.len() != 8 || frame.stream != 0 {
                    return Err(Bad::Malformed);
                }
                if !frame.has(ACK) {
                    self.answer(PING, ACK, 0, frame.payload);
                }
            }
            GOAWAY => {
                let (last, code) = (number(frame.payload), frame.payload.get(4..).and_then(number));
                let (last, code) = last.zip(code).filter(|_| frame.stream == 0).ok_or(Bad::Malformed)?;
                let first = !std::mem::replace(&mut self.goes_away, true);
                events.push(Event::GoAway { code, first });
                let last = last & MOST_WINDOW;
                self.streams.retain(|stream| {
                    if stream.id > last {
                        events.push(Event::Returned { place: stream.place });
                    }
                    stream.id <= last
                });
            }
            WINDOW_UPDATE => {
                let more =
                    number(frame.payload).filter(|_| frame.payload.len() == 4).ok_or(Bad::Malformed)?;
                let more = i64::from(more & MOST_WINDOW);
                let window = if frame.stream == 0 {
                    Some(&mut self.window)
                } else {
                    self.check(frame.stream)?;
                    let at = self.find(frame.stream);
                    at.and_then(|at| self.streams.get_mut(at)).map(|stream| &mut stream.window)
                };
                if let Some(window) = window {
                    *window += more;
                    if more == 0 || *window > i64::from(MOST_WINDOW) {
                        return Err(Bad::Malformed);
                    }
                }
            }
            // Frames of extensions are none of this client's.
            _ => {}
        }
        Ok(())
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    /// Checks that a stream is one that this client has opened.
    fn check(&self, id: u32) -> Result<(), Bad> {
        if id % 2 == 1 && id < self.next_id { Ok(()) } else { Err(Bad::Malformed) }
    }

    fn headers(
        &mut self,
        id: u32,
        block: &[u8],
        last: bool,
        expected: &Expected,
        cache: &mut BlockCache,
        events: &mut Vec<Event>,
    ) -> Result<(), Bad> {
        self.check(id)?;
        // Of one that was given up.
        let Some(at) = self.find(id) else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        let place = stream.place;
        events.push(Event::Began { place });
        match stream.headers(block, last, expected, cache) {
            Ok(()) if last => self.end(at, expected, events),
            Ok(()) => {}
            Err(why) => self.give_up(at, why, events),
        }
        Ok(())
    }

    fn data(&mut self, frame: Frame<'_>, expected: &Expected, events: &mut Vec<Event>) -> Result<(), Bad> {
        self.check(frame.stream)?;
        let content = frame.content().ok_or(Bad::Malformed)?;
        let bytes = frame.payload.len() as u32;
        self.unacknowledged += bytes;
        if self.unacknowledged >= TOLD_AFTER {
            let more = std::mem::take(&mut self.unacknowledged);
            self.answer(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
        let Some(at) = self.find(frame.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        stream.unacknowledged += bytes;
        if stream.unacknowledged >= TOLD_AFTER {
            let more = std::mem::take(&mut stream.unacknowledged);
            put(&mut self.out, WINDOW_UPDATE, 0, frame.stream, &more.to_be_bytes());
        }
        match stream.data(content, expected) {
            Ok(()) if frame.has(END_STREAM) => self.end(at, expected, events),
            Ok(()) => {}
            Err(why) => self.give_up(at, why, events),
        }
        Ok(())
    }

    /// A response has ended.
    fn end(&mut self, at: usize, expected: &Expected, events: &mut Vec<Event>) {
        let Some(stream) = self.streams.remove(at) else { return };
        let (id, place) = (stream.id, stream.place);
        if stream.sent < self.body_bytes {
            // The response came before the end of its request (RFC 9113, section 8.1).
            self.answer(RST_STREAM, 0, id, &NO_ERROR.to_be_bytes());
        }
        events.push(match stream.end(expected) {
            Ok((response, name)) => Event::Response { place, response, name },
            Err(why) => Event::Failed { place, why },
        });
    }

    /// Adds a frame that the server caused.
    pub(super) fn answer(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.answers += HEADER_BYTES + payload.len();
        put(&mut self.out, kind, flags, stream, payload);
    }

    fn give_up(&mut self, at: usize, why: Bad, events: &mut Vec<Event>) {
        let place = self.streams.get(at).map_or(0, |stream| stream.place);
        self.reset(at, CANCEL);
        events.push(Event::Failed { place, why });
    }

    fn settings(&mut self, frame: Frame<'_>, events: &mut Vec<Event>) -> Result<(), Bad> {
        if frame.stream != 0
            || !frame.payload.len().is_multiple_of(6)
            || frame.has(ACK) && !frame.payload.is_empty()
        {
            return Err(Bad::Malformed);
        }
        if frame.has(ACK) {
            return Ok(());
        }
        for setting in frame.payload.chunks_exact(6) {
            let name = u16::from_be_bytes([setting[0], setting[1]]);
            let value = number(&setting[2..]).unwrap_or(0);
            match name {
                HEADER_TABLE_SIZE if (value as usize) < USUAL_TABLE_BYTES => {
                    // What a smaller table forgets is not worth knowing.
                    self.is_literal = true;
                    self.forgets = true;
                }
                MAX_CONCURRENT_STREAMS => self.most_streams = value,
                INITIAL_WINDOW_SIZE => {
                    if value > MOST_WINDOW {
                        return Err(Bad::Malformed);
                    }
                    let more = i64::from(value) - self.first_window;
                    self.first_window = i64::from(value);
                    for stream in &mut self.streams {
                        stream.window += more;
                    }
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
        self.answer(SETTINGS, ACK, 0, &[]);
        events.push(Event::Limit);
        Ok(())
    }
}
