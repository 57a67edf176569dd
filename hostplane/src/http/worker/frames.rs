//! What servers of HTTP/2 say, and what follows from it for requests and connections.

use linerate_agent::host::monotonic_ns;
use linerate_http::h2::connection::{Event, REFUSED_STREAM};
use linerate_http::response::{Bad, NamedBy};
use rustix::io::Errno;

use super::super::tally::Failure;
use super::super::transport::{End, Transport};
use super::Worker;
use super::connections::{Kind, State};
use super::multiplexed::Multiplexed;

impl<T: Transport> Worker<T> {
    /// Takes bytes that were read. False when the connection is given up for them.
    pub(super) fn take_frames(&mut self, at: usize, bytes: usize) -> bool {
        let now = monotonic_ns();
        self.counts.read_bytes += bytes as u64;
        let Some(h2) = &mut self.h2 else { return false };
        let Some(link) = h2.links.get_mut(at) else { return false };
        let mut events = std::mem::take(&mut h2.events);
        link.heard_ns = now;
        let fresh = self.rooms.plain.get(..bytes).unwrap_or_default();
        let read = link.connection.read(fresh, &h2.blocks, &self.expected, &mut h2.cache, &mut events);
        h2.mark(at);
        // What the connection permits is known once for all that was read.
        if events.iter().any(|event| matches!(event, Event::Limit)) {
            self.limit_changed(at, now);
        }
        for event in events.drain(..) {
            self.handle(at, event, now);
        }
        if let Some(h2) = &mut self.h2 {
            h2.events = events;
        }
        if let Err(bad) = read {
            let kind = if bad == Bad::TooLarge { Kind::TooLarge } else { Kind::Malformed };
            self.link_failed(at, kind, "what came is not HTTP/2, or breaks its rules", now);
            return false;
        }
        self.go_on_link(at, now);
        true
    }

    fn handle(&mut self, at: usize, event: Event, now: u64) {
        self.forget_unwritten(at, &event);
        match event {
            Event::Began { place } => {
                let places = self.h2.as_mut().map(|h2| &mut h2.places);
                let place = places.and_then(|places| places.get_mut(place as usize));
                if let Some(asked) = place.and_then(|place| place.asked.as_mut())
                    && asked.first_byte_ns == 0
                {
                    asked.first_byte_ns = now;
                }
            }
            Event::Response { place, response, name } => {
                let Some(h2) = &mut self.h2 else { return };
                h2.deadlines.clear(place as usize);
                let Some(known) = h2.places.get_mut(place as usize) else { return };
                let Some(asked) = known.asked else { return };
                // It answers no request, for none was written.
                if asked.written_ns == 0 {
                    self.counts.unsolicited += 1;
                    return self.fail_place(place as usize, Kind::ClosedEarly, now);
                }
                known.asked = None;
                // The body of an error is a message, most often of the balancer.
                let is_name = match self.expected.named_by {
                    NamedBy::Nothing => None,
                    NamedBy::Body => Some((200..300).contains(&response.status)),
                    NamedBy::Header(_) => Some(true),
                };
                if let Some(is_name) = is_name {
                    let name = name.text().filter(|_| is_name);
                    known.last_backend = self.tally.backends.count(name, known.last_backend);
                }
                self.count_response(&asked, response, now);
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.answered = slot.answered.saturating_add(1);
                }
                self.vacate(place as usize, now);
            }
            Event::Failed { place, why } => {
                let kind = match why {
                    Bad::TooLarge => Kind::TooLarge,
                    Bad::Malformed => Kind::Malformed,
                    Bad::ClosedEarly => Kind::ClosedEarly,
                };
                self.fail_place(place as usize, kind, now);
            }
            Event::Reset { place, code } => {
                let kind = if code == REFUSED_STREAM { Kind::StreamRefused } else { Kind::StreamReset };
                self.tally.first_failure.get_or_insert_with(|| Failure {
                    words: format!("the server reset a stream: error code {code} (RFC 9113, section 7)"),
                    remedy: None,
                });
                self.fail_place(place as usize, kind, now);
            }
            Event::Returned { place } => {
                let Some(h2) = &mut self.h2 else { return };
                self.counts.returned += 1;
                if let Some(known) = h2.places.get_mut(place as usize) {
                    known.opened = false;
                    if let Some(asked) = &mut known.asked {
                        (asked.written_ns, asked.first_byte_ns) = (0, 0);
                    }
                }
                if let Some(link) = h2.links.get_mut(at) {
                    link.forget_unwritten(place, true);
                    link.waiting.push_back(place);
                }
            }
            Event::GoAway { code, first } => {
                self.counts.goaways += u64::from(first);
                if code != 0 {
                    self.tally.first_failure.get_or_insert_with(|| Failure {
                        words: format!(
                            "the server ended a connection: error code {code} (RFC 9113, section 7)"
                        ),
                        remedy: None,
                    });
                }
            }
            Event::Limit => {}
        }
    }

    /// A request that came to an end before it was written is counted when its bytes leave.
    fn forget_unwritten(&mut self, at: usize, event: &Event) {
        let (Event::Response { place, .. } | Event::Failed { place, .. } | Event::Reset { place, .. }) =
            *event
        else {
            return;
        };
        let Some(h2) = &mut self.h2 else { return };
        let asked = h2.places.get(place as usize).and_then(|place| place.asked.as_ref());
        if let Some(asked) = asked.filter(|asked| asked.written_ns == 0)
            && let Some(link) = h2.links.get_mut(at)
        {
            link.forget_unwritten(place, asked.sent > 0);
        }
    }

    /// The server said how many streams it permits.
    fn limit_changed(&mut self, at: usize, now: u64) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.state == State::Greeting {
            slot.state = State::Idle;
            self.connecting = self.connecting.saturating_sub(1);
            self.deadlines.clear(at);
            self.count_connected(at);
        }
        let Some(h2) = &mut self.h2 else { return };
        h2.is_told = true;
        let (first, each) = (at * h2.each, h2.each);
        let Some(link) = h2.links.get_mut(at) else { return };
        let most = (link.connection.most_streams() as usize).clamp(1, each);
        let before = std::mem::replace(&mut link.admitted, most);
        if most < before {
            let all = first..first + each;
            self.free.retain(|place| !all.contains(&(*place as usize)) || h2.admits(*place as usize));
        }
        for place in first + before..first + most {
            let parked = |h2: &Multiplexed| h2.places.get(place).is_some_and(|place| place.parked);
            if self.h2.as_ref().is_some_and(parked) {
                self.vacate(place, now);
            }
        }
    }

    /// Sends what waits; closes a connection that the server ends when nothing is under way any more.
    pub(super) fn go_on_link(&mut self, at: usize, now: u64) {
        let (Some(h2), Some(slot)) = (&mut self.h2, self.slots.get_mut(at)) else { return };
        let Some(link) = h2.links.get(at) else { return };
        if !matches!(slot.state, State::Idle | State::Closing) {
            return;
        }
        if !link.connection.is_closing() {
            if slot.state == State::Idle {
                h2.open_waiting(at);
            }
            return;
        }
        slot.state = State::Closing;
        if link.connection.under_way() == 0 {
            let waits = !link.waiting.is_empty();
            let served = slot.answered > 0;
            self.close(at);
            if waits && served {
                self.connect(at, now);
            } else if waits {
                // A server that returns everything would be asked again and again.
                self.fail_waiting(at, Kind::StreamRefused, now);
            }
        }
    }

    /// The peer has ended a connection.
    pub(super) fn link_ended(&mut self, at: usize, end: End) {
        let now = monotonic_ns();
        let Some(slot) = self.slots.get_mut(at) else { return };
        let (kind, words) = match slot.end_of(end) {
            End::Closed | End::Truncated => {
                let idle = self.h2.as_ref().is_some_and(|h2| h2.under_way(at).0.is_empty());
                self.counts.closed_idle += u64::from(idle && slot.state == State::Idle);
                (Kind::ClosedEarly, "the server closed it".to_owned())
            }
            End::Broken(errno) => {
                let kind = if errno == Errno::TIMEDOUT { Kind::Timeout } else { Kind::Reset };
                (kind, std::io::Error::from(errno).to_string())
            }
            End::Fault => match slot.socket.as_mut().and_then(Transport::fault) {
                Some(fault) => (Kind::Tls(fault.kind), fault.to_string()),
                None => (Kind::ClosedEarly, "TLS ended".to_owned()),
            },
        };
        self.link_failed(at, kind, &words, now);
    }

    /// A connection is of no more use: its requests have failed; those of which nothing was written, and those that
    /// wait for it, go on waiting for another.
    pub(super) fn link_failed(&mut self, at: usize, kind: Kind, words: &str, now: u64) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.hung_up = true;
        if slot.state == State::Greeting {
            let words = format!("{words}, before it began to speak HTTP/2");
            return self.cannot_connect(at, kind, &words, now);
        }
        let Some(h2) = &mut self.h2 else { return };
        let (lost, unsent) = h2.under_way(at);
        for place in unsent {
            if let (Some(known), Some(link)) = (h2.places.get_mut(place), h2.links.get_mut(at)) {
                known.opened = false;
                link.waiting.push_back(place as u32);
            }
        }
        let waits = h2.links.get(at).is_some_and(|link| !link.waiting.is_empty());
        if !lost.is_empty() || kind == Kind::Timeout {
            self.tally.first_failure.get_or_insert_with(|| Failure {
                words: format!("a connection broke: {words}"),
                remedy: if let Kind::Tls(kind) = kind { Some(kind.remedy()) } else { None },
            });
        }
        let served = slot.answered > 0;
        self.close(at);
        // A time limit passes before the next attempt, so that a server that serves nothing is not asked at once again.
        if waits && (served || kind == Kind::Timeout) {
            self.connect(at, now);
        } else if waits {
            self.fail_waiting(at, kind, now);
        }
        for place in lost {
            self.fail_place(place, kind, now);
        }
    }
}
