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

    /// Answers a request that was held back.
    pub(super) fn release(&mut self, stream: u32, responses: &Responses) {
        let Some(h2) = &mut self.h2 else { return };
        if let Some(asked) = h2.release(stream) {
            self.unsent_responses += h2.answer(asked, &responses.answer);
            h2.take_out(&mut self.unsent);
        }
    }
}

impl<T: Transport> Worker<T> {
    /// Sends parts of bodies for which there is room now. True when there were some.
    pub(super) fn send_streams(&mut self, at: u32) -> bool {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return false;
        };
        let Some(h2) = &mut connection.h2 else { return false };
        connection.unsent_responses += h2.send_bodies(&self.responses.answer);
        h2.take_out(&mut connection.unsent);
        !connection.unsent.is_empty()
    }

    /// Takes frames of a connection. `None` when it is over; false when there is nothing more to take or to send.
    pub(super) fn take_frames(&mut self, at: u32) -> Option<bool> {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return Some(false);
        };
        let worn = connection.socket.is_worn();
        let Some(h2) = &mut connection.h2 else { return Some(false) };
        let Ok(taken) = h2.read(&connection.kept, &mut self.asked) else {
            self.asked.clear();
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
        for asked in self.asked.drain(..) {
            self.counts.requests += 1;
            match self.config.delay {
                Some(delay) => {
                    let due = monotonic_ns() + nanoseconds(delay);
                    connection.delayed += 1;
                    self.delayed.push_back((due, at, connection.generation, Request::Stream(asked.stream)));
                    h2.hold(asked);
                }
                None => connection.unsent_responses += h2.answer(asked, &self.responses.answer),
            }
        }
        h2.take_out(&mut connection.unsent);
        Some(taken > 0 || !connection.unsent.is_empty())
    }
}
