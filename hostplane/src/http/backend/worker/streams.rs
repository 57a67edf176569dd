//! Connections of HTTP/2 of a backend.

use linerate_agent::host::monotonic_ns;
use linerate_http::h2::server::{PREFACE_BYTES, begins};

use super::{Connection, Request, Responses, Worker, nanoseconds};
use crate::http::transport::Transport;

impl<T> Connection<T> {
    /// Whether the peer speaks HTTP/2; `None`: it has not said enough.
    pub(super) fn is_http2(&mut self) -> Option<bool> {
        if self.is_new {
            let begins = begins(&self.kept)?;
            self.is_new = false;
            if begins {
                self.kept.drain(..PREFACE_BYTES);
                self.h2 = Some(Box::default());
            }
        }
        Some(self.h2.is_some())
    }

    /// Answers a request that was held back. The answer leaves when what is unsent has left, so that the bound of what waits holds.
    pub(super) fn release(&mut self, stream: u32, responses: &Responses) {
        if let Some(h2) = &mut self.h2 {
            h2.release(stream, &responses.answer);
        }
    }

    /// Takes what HTTP/2 has to send.
    fn take_out(&mut self) {
        let Some(h2) = &mut self.h2 else { return };
        self.unsent_responses += h2.take_answered();
        h2.take_out(&mut self.unsent);
    }
}

impl<T: Transport> Worker<T> {
    /// Sends parts of bodies for which there is room now. True when there were some.
    pub(super) fn send_streams(&mut self, at: u32) -> bool {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return false;
        };
        let Some(h2) = &mut connection.h2 else { return false };
        h2.send_bodies(&self.responses.answer);
        connection.take_out();
        !connection.unsent.is_empty()
    }

    /// Takes frames of a connection. `None` when it is over; false when there is nothing more to take or to send.
    pub(super) fn take_frames(&mut self, at: u32) -> Option<bool> {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return Some(false);
        };
        let worn = connection.socket.is_worn();
        let Some(h2) = &mut connection.h2 else { return Some(false) };
        let at_once = Some(&self.responses.answer).filter(|_| self.config.delay.is_none());
        let Ok(taken) = h2.read(&connection.kept, at_once, &mut self.asked) else {
            // Those before it were read; their answers do not leave any more.
            self.counts.requests += self.asked.drain(..).count() as u64;
            self.counts.malformed += 1;
            return None;
        };
        connection.kept.drain(..taken);
        if worn {
            h2.go_away();
        }
        let later = connection.generation.wrapping_sub(self.returned_generation);
        if self.awaits_request && later.cast_signed() > 0 && !self.asked.is_empty() {
            self.awaits_request = false;
            self.absence.first_request(monotonic_ns());
        }
        self.counts.requests += self.asked.len() as u64;
        for stream in self.asked.drain(..) {
            if let Some(delay) = self.config.delay {
                let due = monotonic_ns() + nanoseconds(delay);
                connection.delayed += 1;
                self.delayed.push_back((due, at, connection.generation, Request::Stream(stream)));
            }
        }
        connection.take_out();
        Some(taken > 0 || !connection.unsent.is_empty())
    }
}
