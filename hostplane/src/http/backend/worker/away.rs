//! A thread whose backend goes away and comes back.

use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use rustix::net::sockopt;

use super::{RETURN_AGAIN_NS, Worker};
use crate::http::transport::Transport;

impl<T: Transport> Worker<T> {
    /// Goes away and comes back when it is time.
    pub(super) fn leave_or_return(&mut self) {
        let planned = self.absence.planned();
        if planned.is_none() && !self.is_away {
            return;
        }
        let now = monotonic_ns();
        let away = planned.is_some_and(|(from, until)| from <= now && now < until);
        match (self.is_away, away) {
            (false, true) => self.leave(now),
            (true, false) if now >= self.return_again_ns => self.come_back(),
            _ => {}
        }
    }

    /// Closes the listening sockets and resets the connections, as the kernel does of a process that is killed.
    fn leave(&mut self, now: u64) {
        self.is_away = true;
        self.awaits_request = false;
        if !self.absence.keeps_listening() {
            self.listeners.clear();
            self.resting_until = 0;
        }
        let mut cut = 0;
        if !self.absence.keeps_connections() {
            for at in 0..self.connections.len() {
                let Some(connection) = self.connections[at].as_ref() else { continue };
                let within = connection.is_within() || !connection.unsent.is_empty();
                self.counts.broken += u64::from(within);
                let _ = sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
                self.close(at as u32);
                cut += 1;
            }
        }
        self.absence.left(now, cut);
    }

    fn come_back(&mut self) {
        match self.listeners.is_empty().then(|| self.place.listeners()) {
            // They were kept.
            None => {}
            Some(Ok(listeners)) => {
                self.listeners = listeners;
                self.listen_again();
            }
            Some(Err(error)) => {
                if self.return_again_ns == 0 {
                    tracing::warn!(%error, "the backend cannot come back yet");
                }
                self.return_again_ns = monotonic_ns() + RETURN_AGAIN_NS;
                return;
            }
        }
        self.is_away = false;
        self.return_again_ns = 0;
        self.awaits_request = true;
        self.returned_generation = self.generation;
        self.absence.returned(monotonic_ns());
    }
}
