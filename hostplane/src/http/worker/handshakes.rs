//! Handshakes of TLS: after a connection is made, and before its first request.

use linerate_agent::host::monotonic_ns;
use linerate_http::tls::fault::{Fault, FaultKind};

use super::super::transport::{End, Transport};
use super::Worker;
use super::connections::{Kind, State};
use super::requests::READS;

impl<T: Transport> Worker<T> {
    /// Goes on with a handshake as far as the peer's part of it has come.
    pub(super) fn shake_hands(&mut self, at: usize) {
        for _ in 0..READS {
            let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.state == State::Handshaking) else {
                return;
            };
            let Some(socket) = &mut slot.socket else { return };
            // A socket that cannot be written to can be read from, and tells there why.
            let _ = socket.flush(&mut self.wire);
            let got = socket.recv(&mut self.rooms, &mut self.wire);
            let now = monotonic_ns();
            if let Some(end) = got.end {
                slot.hung_up = true;
                let fault = match end {
                    End::Fault => socket.fault().unwrap_or_else(Fault::closed),
                    End::Broken(errno) => Fault::new(
                        FaultKind::Closed,
                        format!(
                            "the connection broke within the TLS handshake: {}",
                            std::io::Error::from(errno)
                        ),
                    ),
                    End::Closed | End::Truncated => Fault::closed(),
                };
                return self.cannot_connect(at, Kind::Tls(fault.kind), &fault, now);
            }
            let Some(session) = socket.session() else { return };
            if !session.is_handshaking() {
                let resumed = session.is_resumed();
                self.tally.tls.agreed.get_or_insert_with(|| session.agreed());
                self.tally.times.handshake.record(now.wrapping_sub(slot.connect_ns).cast_signed());
                self.counts.handshakes += 1;
                self.counts.resumed += u64::from(resumed);
                let generation = slot.generation;
                self.established(at, now);
                if got.bytes > 0 && self.h2.is_some() {
                    self.take_frames(at, got.bytes);
                } else if got.bytes > 0 {
                    self.said_first(at, generation, now);
                }
                return;
            }
            if got.drained {
                return;
            }
        }
        self.come_back(at);
    }

    /// The server spoke before it was asked.
    fn said_first(&mut self, at: usize, generation: u32, now: u64) {
        let Some(slot) = self.slots.get(at).filter(|slot| slot.generation == generation) else { return };
        match slot.state {
            State::Busy => {
                self.counts.unsolicited += 1;
                self.fail(at, Kind::ClosedEarly, now);
            }
            State::Idle => {
                self.counts.unsolicited += 1;
                self.close(at);
            }
            _ => {}
        }
    }
}
