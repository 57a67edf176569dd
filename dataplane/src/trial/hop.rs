//! A port's addresses: answers to requests, and next hops.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linerate_wire::network::{NextHop, PortNetwork};

use super::port_setup::PortSetup;
use crate::dpdk::burst::RxBurst;
use crate::network::kernel::KernelSearch;
use crate::network::{HopError, RETRY, TIME_LIMIT};
use linerate_measure::loops::own_frames::OwnFrames;
use linerate_measure::loops::queue::{ReceiveQueue, ReceivedBurst};
use linerate_measure::loops::stop::Signal;
use linerate_measure::neighbour::request;

/// Most bursts processed per call.
const MOST_BURSTS: usize = 64;
/// Polling interval while waiting for an answer.
const LOOK: Duration = Duration::from_millis(1);

/// Search for a next hop, which [`PortSetup::look_for_hop`] advances.
#[derive(Debug)]
pub(crate) enum HopSearch {
    /// An address of the port itself.
    Found(NextHop),
    /// The kernel resolves it.
    Kernel(KernelSearch),
    /// The port sends requests.
    Port(Requests),
}

/// Requests of a port for an Ethernet address.
#[derive(Debug)]
pub(crate) struct Requests {
    hop: IpAddr,
    source: IpAddr,
    /// The next hop, without its Ethernet address.
    next: NextHop,
    began: Instant,
    asked: Option<Instant>,
    times: u32,
}

impl HopSearch {
    /// Interval at which to look.
    pub(crate) fn interval(&self) -> Duration {
        match self {
            HopSearch::Kernel(_) => KernelSearch::LOOK,
            HopSearch::Found(_) | HopSearch::Port(_) => LOOK,
        }
    }
}

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

    /// Finds the next hop towards an address, and blocks meanwhile, at most `TIME_LIMIT`.
    ///
    /// # Errors
    /// When there is no route, or the next hop does not answer.
    pub fn next_hop(&mut self, to: IpAddr) -> Result<NextHop, HopError> {
        let mut search = self.search_hop(to)?;
        loop {
            if let Some(hop) = self.look_for_hop(&mut search)? {
                return Ok(hop);
            }
            sleep(search.interval());
        }
    }

    /// Begins a search for the next hop towards an address: through the kernel for a port on a kernel interface,
    /// otherwise by requests on the port.
    ///
    /// # Errors
    /// When there is no route.
    pub(crate) fn search_hop(&mut self, to: IpAddr) -> Result<HopSearch, HopError> {
        if let Some(search) = self.network.by_kernel(to) {
            return Ok(HopSearch::Kernel(search?));
        }
        let (gateway, source) = self.network.route_to(to)?;
        let is_own = self.network.addresses().iter().any(|network| network.addr() == to);
        let next = NextHop { to, source: Some(source), gateway: gateway.filter(|_| !is_own), mac: None };
        if is_own {
            return Ok(HopSearch::Found(next));
        }
        let hop = gateway.unwrap_or(to);
        if let Some(answering) = &mut self.answering {
            answering.forget(hop);
        }
        Ok(HopSearch::Port(Requests { hop, source, next, began: Instant::now(), asked: None, times: 0 }))
    }

    /// The next hop as soon as it is known. Must be called at [`HopSearch::interval`]; the search ends within
    /// `TIME_LIMIT`.
    ///
    /// # Errors
    /// When the next hop does not answer.
    pub(crate) fn look_for_hop(&mut self, search: &mut HopSearch) -> Result<Option<NextHop>, HopError> {
        let requests = match search {
            HopSearch::Found(next) => return Ok(Some(*next)),
            HopSearch::Kernel(search) => return search.look(),
            HopSearch::Port(requests) => requests,
        };
        let Requests { hop, source, next, .. } = *requests;
        self.answer_requests(None);
        let mac = self.answering.as_ref().and_then(|answering| answering.neighbour(hop));
        if mac.is_some() {
            return Ok(Some(NextHop { mac, ..next }));
        }
        if requests.began.elapsed() >= TIME_LIMIT {
            let protocol = if hop.is_ipv4() { "ARP requests" } else { "neighbour solicitations" };
            return Err(HopError::Silent {
                hop,
                interface: self.port_info().map_or_else(|_| "the port".to_owned(), |info| info.device),
                state: format!("{} {protocol} from {source} were not answered", requests.times),
                after_s: TIME_LIMIT.as_secs_f64(),
            });
        }
        if requests.asked.is_none_or(|asked| asked.elapsed() >= RETRY) {
            requests.asked = Some(Instant::now());
            requests.times += 1;
            let asks = self.answering.as_ref().and_then(|own| request(own.mac(), source, hop));
            if let Some(asks) = asks {
                self.send_own(asks, None);
            }
        }
        Ok(None)
    }
}
