//! A port's addresses: answers to requests, and next hops.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linerate_wire::network::{NextHop, PortNetwork};

use super::port_setup::PortSetup;
use crate::dpdk::burst::RxBurst;
use crate::network::{HopError, RETRY, TIME_LIMIT};
use linerate_measure::loops::own_frames::OwnFrames;
use linerate_measure::loops::queue::{ReceiveQueue, ReceivedBurst};
use linerate_measure::loops::stop::Signal;
use linerate_measure::neighbour::request;

/// Most bursts processed per call.
const MOST_BURSTS: usize = 64;
/// Polling interval while waiting for an answer.
const LOOK: Duration = Duration::from_millis(1);

impl PortSetup<'_> {
    /// The port's addresses and their resolver; `None` for a port without addresses.
    pub fn network(&self) -> Option<PortNetwork> {
        self.network.reported()
    }

    /// True when the port answers for its addresses itself, and so needs frequent calls of [`Self::answer_requests`].
    pub fn answers(&self) -> bool {
        self.answering.is_some()
    }

    /// Answers the requests for the port's addresses since the last call. Lcores own their queues: the frames
    /// that they receive arrive through the mailbox, and answers are sent by the lcores through `signal`.
    /// Frames from a file contain no requests, and are left for a trial.
    pub fn answer_requests(&mut self, signal: Option<&Signal>) {
        let Some(answering) = &mut self.answering else { return };
        let mut answers = answering.answers_to_caught();
        let mut burst = RxBurst::default();
        for queue in self.rx.iter_mut().filter(|_| !self.port.reads_file()) {
            for _ in 0..MOST_BURSTS {
                if queue.receive(&mut burst) == 0 {
                    break;
                }
                answers.extend(burst.frames().filter_map(|frame| answering.answer_to(frame.bytes)));
            }
        }
        for answer in answers {
            self.send_own(answer, signal);
        }
    }

    fn send_own(&mut self, frame: Vec<u8>, signal: Option<&Signal>) {
        match (self.tx.first_mut(), signal) {
            (Some(queue), _) => {
                if !queue.send_own(&frame) {
                    tracing::debug!("the port did not take a frame of its own");
                } else if let Some(answering) = &mut self.answering {
                    answering.count_sent(frame.len());
                }
            }
            (None, Some(signal)) => signal.send(frame),
            (None, None) => {}
        }
    }

    /// Sends the frames left waiting by lcores that have ended.
    pub(super) fn send_left(&mut self, signal: &Signal) {
        if let Some(queue) = self.tx.first_mut().filter(|_| signal.has_frames()) {
            signal.send_waiting(queue);
        }
    }

    /// Finds the next hop towards an address: through the kernel for a port on a kernel interface, otherwise
    /// by requests on the port. Takes at most `TIME_LIMIT`.
    ///
    /// # Errors
    /// When there is no route, or the next hop does not answer.
    pub fn next_hop(&mut self, to: IpAddr) -> Result<NextHop, HopError> {
        if let Some(found) = self.network.by_kernel(to) {
            return found;
        }
        let (gateway, source) = self.network.route_to(to)?;
        if self.network.addresses().iter().any(|network| network.addr() == to) {
            return Ok(NextHop { to, source: Some(source), gateway: None, mac: None });
        }
        let hop = gateway.unwrap_or(to);
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        let mut times = 0;
        if let Some(answering) = &mut self.answering {
            answering.forget(hop);
        }
        while began.elapsed() < TIME_LIMIT {
            let mac = self.answering.as_ref().and_then(|answering| answering.neighbour(hop));
            if mac.is_some() {
                return Ok(NextHop { to, source: Some(source), gateway, mac });
            }
            if asked.is_none_or(|asked| asked.elapsed() >= RETRY) {
                asked = Some(Instant::now());
                times += 1;
                let asks = self.answering.as_ref().and_then(|own| request(own.mac(), source, hop));
                if let Some(asks) = asks {
                    self.send_own(asks, None);
                }
            }
            self.answer_requests(None);
            sleep(LOOK);
        }
        let protocol = if hop.is_ipv4() { "ARP requests" } else { "neighbour solicitations" };
        Err(HopError::Silent {
            hop,
            interface: self.port_info().map_or_else(|_| "the port".to_owned(), |info| info.device),
            state: format!("{times} {protocol} from {source} were not answered"),
            after_s: TIME_LIMIT.as_secs_f64(),
        })
    }
}
