//! A port with addresses but without a kernel interface: its answers and its neighbour table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::Receiver;

use ipnet::IpNet;
use linerate_traffic::mac::MacAddr;

use linerate_measure::mailbox::{Caught, Mailbox};
use linerate_measure::neighbour::{Meaning, RequestKind, interpret};

/// Most entries of the neighbour table: a network's traffic must not fill memory.
const MOST_NEIGHBOURS: usize = 1024;

/// Answers for a port's addresses, and its neighbour table.
#[derive(Debug)]
pub(super) struct Answering {
    mac: MacAddr,
    addresses: Vec<IpNet>,
    mailbox: Mailbox,
    caught: Receiver<Caught>,
    neighbours: HashMap<IpAddr, MacAddr>,
    answered: Answered,
    /// Number and bytes of frames that this thread, rather than an lcore, sent.
    sent: (u64, u64),
}

/// Number of answered requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answered {
    pub(super) arp: u64,
    pub(super) solicitations: u64,
    pub(super) pings: u64,
}

impl Answering {
    pub(super) fn new(mac: MacAddr, addresses: Vec<IpNet>) -> Self {
        let (mailbox, caught) = Mailbox::new();
        let (neighbours, answered) = (HashMap::new(), Answered::default());
        Self { mac, addresses, mailbox, caught, neighbours, answered, sent: (0, 0) }
    }

    pub(super) fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Mailbox for frames that are not test traffic, for the receiving lcores.
    pub(super) fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Processes a frame, and returns the answer to it.
    pub(super) fn answer_to(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match interpret(frame, self.mac, &self.addresses) {
            Meaning::Nothing => None,
            Meaning::Neighbour(ip, mac) => {
                self.add_neighbour(ip, mac);
                None
            }
            Meaning::Request { answer, kind, requester } => {
                if let Some((ip, mac)) = requester {
                    self.add_neighbour(ip, mac);
                }
                *match kind {
                    RequestKind::Arp => &mut self.answered.arp,
                    RequestKind::Solicitation => &mut self.answered.solicitations,
                    RequestKind::Ping => &mut self.answered.pings,
                } += 1;
                Some(answer)
            }
        }
    }

    /// Processes the frames in the mailbox, and returns the answers.
    pub(super) fn answers_to_caught(&mut self) -> Vec<Vec<u8>> {
        let caught: Vec<Caught> = self.caught.try_iter().collect();
        caught.iter().filter_map(|frame| self.answer_to(frame.bytes())).collect()
    }

    fn add_neighbour(&mut self, ip: IpAddr, mac: MacAddr) {
        if self.neighbours.len() < MOST_NEIGHBOURS || self.neighbours.contains_key(&ip) {
            self.neighbours.insert(ip, mac);
        }
    }

    /// Ethernet address of a neighbour, if known.
    pub(super) fn neighbour(&self, ip: IpAddr) -> Option<MacAddr> {
        self.neighbours.get(&ip).copied()
    }

    /// Removes a neighbour, so that it is requested again.
    pub(super) fn forget(&mut self, ip: IpAddr) {
        self.neighbours.remove(&ip);
    }

    /// Resets the counters.
    pub(super) fn begin(&mut self) {
        (self.answered, self.sent) = (Answered::default(), (0, 0));
    }

    /// Counts a frame that this thread sent.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.sent = (self.sent.0 + 1, self.sent.1 + bytes as u64);
    }

    /// Number and bytes of frames that this thread sent since the reset.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.sent
    }

    /// The answers since the reset, in one sentence; `None` when there were none.
    pub(super) fn note(&self) -> Option<String> {
        let Answered { arp, solicitations, pings } = self.answered;
        let parts: Vec<String> =
            [(arp, "ARP requests"), (solicitations, "neighbour solicitations"), (pings, "pings")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
        (!parts.is_empty()).then(|| {
            format!(
                "the port answered {} for its addresses; the answers are not among the packets sent",
                parts.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_measure::neighbour::request;

    #[test]
    fn requests_are_answered_and_counted_and_give_the_requesters_address() {
        let (here, there) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut answering = Answering::new(here, vec!["10.0.0.1/24".parse().unwrap()]);
        assert_eq!(answering.note(), None);
        let asked = request(there, ip("10.0.0.2"), ip("10.0.0.1")).unwrap();
        answering.mailbox().put(&asked);
        answering.mailbox().put(&[0; 2000]);
        assert_eq!(answering.answers_to_caught().len(), 1);
        assert!(answering.answers_to_caught().is_empty());
        assert_eq!(answering.neighbour(ip("10.0.0.2")), Some(there));
        assert!(answering.note().unwrap().contains("answered 1 ARP requests"));
        answering.begin();
        assert_eq!(answering.note(), None);
        for _ in 0..1000 {
            answering.mailbox().put(&asked);
        }
        assert!(answering.answers_to_caught().len() < 1000, "what does not fit is dropped, not waited for");
    }
}
