//! Orders: streams come to a worker, start, and leave it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Sender, TryRecvError};
use std::time::Duration;

use linerate_agent::cpu_time::{Looks, ThreadTime};
use linerate_agent::host::monotonic_ns;
use linerate_wire::streams::{Protocol, SendingEnd, StreamEnd, StreamEndKind, StreamsSpec};
use linerate_wire::time::WorkerTime;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::group::{Group, Slot, Way};
use super::{FromWorker, Left, Order, Worker, noise};
use crate::streams::counters::StreamCounters;
use crate::streams::receiving::{Heard, ReceiverParts, TcpReceiver, UdpReceiver};
use crate::streams::sending::{DatagramsOut, UdpSender};
use crate::streams::{EndPlan, Stream};

/// Most calls that read the rest of a stream: a receive buffer has fewer bytes than these take.
const MOST_READS: u32 = 4096;

impl Worker {
    /// False when the pool is gone.
    pub(super) fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Attach { plan, stream, reports } => self.attach(&plan, stream, &reports),
            Order::Start { session, at_ns, peer_ahead_ns } => {
                if let Some(group) = self.group(session).and_then(|at| self.groups[at].as_mut()) {
                    group.start_ns = Some(at_ns);
                    group.peer_ahead_ns = peer_ahead_ns;
                    group.time.get_or_insert_with(ThreadTime::now);
                }
            }
            Order::StopSending { session } => {
                if let Some(at) = self.group(session) {
                    self.end_sending(at, SendingEnd::Stopped, monotonic_ns());
                }
            }
            Order::GiveUp { session, stream, end } => {
                let Some(at) = self.group(session) else { return };
                let found = self.slots.iter().position(|slot| {
                    slot.as_ref().is_some_and(|slot| slot.group == at && slot.stream.number == stream)
                });
                if let Some(index) = found {
                    // What still waits in the receive buffer has arrived.
                    let end = self.read_rest(index).unwrap_or(end);
                    if let Some(slot) = self.slots[index].as_ref().filter(|_| !end.is_complete()) {
                        break_off(&slot.stream);
                    }
                    self.end_stream(index, end);
                }
            }
            Order::Leave { session } => {
                if let Some(at) = self.group(session) {
                    self.leave(at);
                }
            }
        }
    }

    /// Reads what a receiving TCP stream has in its kernel; the end of the stream when that is reached.
    fn read_rest(&mut self, index: usize) -> Option<StreamEnd> {
        let slot = self.slots.get_mut(index).and_then(Option::as_mut)?;
        let Way::TcpReceive(receiver) = &mut slot.way else { return None };
        let mut end = None;
        for _ in 0..MOST_READS {
            match receiver.read(&slot.stream, &mut slot.counts, &mut self.room, true) {
                Heard::More => {}
                Heard::Nothing => break,
                Heard::End(reached) => {
                    end = Some(reached);
                    break;
                }
            }
        }
        slot.stream.counters.publish(&slot.counts);
        end
    }

    fn group(&self, session: u64) -> Option<usize> {
        self.groups
            .iter()
            .position(|group| group.as_ref().is_some_and(|group| group.plan.id.session == session))
    }

    fn attach(&mut self, plan: &Arc<EndPlan>, stream: Arc<Stream>, reports: &Sender<FromWorker>) {
        let at = self.group(plan.id.session).unwrap_or_else(|| self.open_group(plan, reports));
        let spec = &plan.spec;
        let (way, flags) = way_of(spec, stream.sends);
        if stream.sends && spec.protocol == Protocol::Tcp && self.payload.len() < spec.block_bytes as usize {
            self.payload = noise(spec.block_bytes as usize);
        }
        let index = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        let data = index as u64 | u64::from(self.generation) << 32;
        let added = epoll::add(&self.epoll, stream.socket.as_fd(), EventData::new_u64(data), flags);
        let sends = stream.sends;
        self.slots[index] = Some(Slot {
            generation: self.generation,
            group: at,
            stream,
            way,
            counts: StreamCounters::default(),
            writable: false,
            readable: false,
            hung_up: false,
            full_since: None,
            full_ns: 0,
        });
        let mut too_late = false;
        if let Some(group) = self.groups[at].as_mut()
            && sends
        {
            group.senders += 1;
            too_late = group.sending_over;
            if group.out.is_none() && spec.protocol == Protocol::Udp {
                group.out = Some(DatagramsOut::new(spec));
            }
        }
        if too_late {
            // It carries nothing, and its peer is told so.
            self.end_sender(index, monotonic_ns());
        }
        if let Err(errno) = added {
            self.end_stream(
                index,
                StreamEnd::because(StreamEndKind::Failed, format!("epoll does not take the socket: {errno}")),
            );
        }
    }

    fn open_group(&mut self, plan: &Arc<EndPlan>, reports: &Sender<FromWorker>) -> usize {
        let at = self.groups.iter().position(Option::is_none).unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.groups[at] = Some(Group {
            plan: Arc::clone(plan),
            reports: reports.clone(),
            start_ns: None,
            peer_ahead_ns: 0,
            time: None,
            writable: std::collections::VecDeque::new(),
            paused_until: None,
            senders: 0,
            sending_over: false,
            out: None,
            room: None,
            received: ReceiverParts::default(),
        });
        at
    }

    fn leave(&mut self, at: usize) {
        let Some(mut group) = self.groups[at].take() else { return };
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for place in &mut self.slots {
            let Some(mut slot) = place.take_if(|slot| slot.group == at) else { continue };
            let _ = epoll::delete(&self.epoll, slot.stream.socket.as_fd());
            // What still waits in the receive buffer has arrived.
            if let Way::UdpReceive(receiver) = &mut slot.way {
                let log = self.log.get_or_insert_default();
                let (stream, counts, flow_id) = (&slot.stream, &mut slot.counts, slot.generation);
                while let Heard::More = receiver.read(stream, counts, &mut group, log, flow_id) {}
                slot.stream.counters.publish(&slot.counts);
            }
            match slot.way {
                Way::UdpReceive(receiver) => receivers.push((slot.stream.number, receiver)),
                // What the kernel still holds of an unfinished connection goes with it.
                Way::TcpSend | Way::TcpDrain | Way::TcpReceive(_) => break_off(&slot.stream),
                _ => {}
            }
            if slot.stream.sends {
                senders.push((slot.stream.number, slot.full_ns as f64 / 1e9));
            }
        }
        self.readable.retain(|index| self.slots.get(*index).is_some_and(Option::is_some));
        let time = group
            .time
            .take()
            .map_or_else(WorkerTime::default, |time| time.until_now(self.index, Looks::default()));
        let received = std::mem::take(&mut group.received);
        group.report(FromWorker::Left(Box::new(Left { time, received, senders, receivers })));
    }
}

/// Has the kernel discard what it holds of a connection when the socket is closed, and reset it: nothing of it
/// stays behind.
fn break_off(stream: &Stream) {
    let _ = rustix::net::sockopt::set_socket_linger(&stream.socket, Some(Duration::ZERO));
}

fn way_of(spec: &StreamsSpec, sends: bool) -> (Way, EventFlags) {
    let (input, output) = (EventFlags::IN | EventFlags::ET, EventFlags::OUT | EventFlags::ET);
    match (spec.protocol, sends) {
        (Protocol::Tcp, true) => (Way::TcpSend, input | output | EventFlags::RDHUP),
        (Protocol::Tcp, false) => {
            (Way::TcpReceive(TcpReceiver::new(spec.sockets.skip_copy)), input | EventFlags::RDHUP)
        }
        (Protocol::Udp, true) => (Way::UdpSend(UdpSender::default()), input | output),
        (Protocol::Udp, false) => (Way::UdpReceive(UdpReceiver::default()), input),
    }
}
