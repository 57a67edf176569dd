//! One turn of a sending stream.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;

use linerate_agent::host::monotonic_ns;
use linerate_traffic::probe::Probe;
use linerate_wire::streams::{StreamEnd, StreamEndKind, StreamsSpec};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendFlags, recv, recvmsg, send};

use super::Stream;
use super::budget::Grant;
use super::counters::StreamCounters;
use super::dialect::Dialect;
use super::header::HEADER_BYTES;
use super::receiving::answer_header;
use super::report::broken;
use super::worker::{FromWorker, Group, noise};
use crate::sys::batch::{BATCH, Batch, Messages};
use crate::sys::sockopt;

/// Most bytes that a stream takes from a budget with a rate at once.
const QUANTUM_BYTES: u64 = 65_536;
/// Pause after the kernel refused a datagram, in nanoseconds.
const REFUSED_PAUSE_NS: u64 = 100_000;

/// Outcome of a turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// The stream may go on.
    More,
    /// The socket is full; an event will tell when it is not.
    Full,
    /// Nothing is due before that time of the raw monotonic clock, in nanoseconds.
    Wait(u64),
    /// The trial's bytes have been sent.
    Exhausted,
    /// The stream has ended.
    Ended(StreamEnd),
}

/// Writes one block to a TCP connection, as far as the budget and the socket admit.
pub(super) fn send_stream(
    stream: &Stream,
    counts: &mut StreamCounters,
    group: &Group,
    payload: &[u8],
) -> Turn {
    let budget = &group.plan.budget;
    let block = u64::from(group.plan.spec.block_bytes);
    let granted = if budget.is_unlimited() {
        block
    } else {
        match budget.take(group.elapsed_ns(monotonic_ns()), block.min(QUANTUM_BYTES)) {
            Grant::Units(bytes) => bytes,
            Grant::Wait(elapsed_ns) => return Turn::Wait(group.after_start(elapsed_ns)),
            Grant::Exhausted => return Turn::Exhausted,
        }
    };
    let bytes = payload.get(..granted as usize).unwrap_or(payload);
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match send(&stream.socket, bytes, flags) {
        Ok(written) => {
            counts.bytes += written as u64;
            counts.calls += 1;
            budget.give_back(granted - written as u64);
            if written < bytes.len() {
                counts.full += 1;
                Turn::Full
            } else {
                Turn::More
            }
        }
        Err(errno) => {
            budget.give_back(granted);
            match errno {
                Errno::AGAIN => {
                    counts.full += 1;
                    Turn::Full
                }
                Errno::INTR => Turn::More,
                other => Turn::Ended(broken(other)),
            }
        }
    }
}

/// State of a sending UDP stream.
#[derive(Debug, Default)]
pub(super) struct UdpSender {
    /// Reason of the first refusal, which has been reported.
    told: Option<Errno>,
}

/// Datagrams of a trial, ready to be sent but for their probes.
#[derive(Debug)]
pub(super) struct DatagramsOut {
    batch: Batch,
    bytes: Box<[u8]>,
    datagram_bytes: usize,
    /// Datagrams that the kernel cuts from one message.
    per_message: usize,
    messages: usize,
}

impl DatagramsOut {
    pub(super) fn new(spec: &StreamsSpec) -> Self {
        let datagram_bytes = spec.block_bytes as usize;
        let per_message = usize::from(spec.sockets.gso.unwrap_or(1)).max(1);
        let messages = (BATCH / per_message).max(1);
        let bytes = noise(datagram_bytes * per_message * messages);
        Self { batch: Batch::new(), bytes, datagram_bytes, per_message, messages }
    }

    fn capacity(&self) -> usize {
        self.per_message * self.messages
    }

    /// Writes the heads of the next `count` datagrams; the first one has this number.
    fn write_heads(&mut self, count: usize, dialect: Dialect, first: Probe, number: u64) {
        let rooms = self.bytes.chunks_exact_mut(self.datagram_bytes).take(count);
        for (number, room) in (number..).zip(rooms) {
            dialect.write(room, Probe { sequence: number as u32, ..first }, number);
        }
    }

    /// Sends the first `count` datagrams; returns how many the kernel took.
    fn send(&mut self, stream: &Stream, count: usize) -> io::Result<usize> {
        let (each, per_message) = (self.datagram_bytes, self.per_message);
        let messages = Messages { bytes: &self.bytes, stride: each * per_message };
        let lengths = (0..count.div_ceil(per_message))
            .map(|message| each * per_message.min(count - message * per_message));
        let taken = self.batch.send(&stream.socket, messages, lengths)?;
        Ok((taken * per_message).min(count))
    }
}

/// Sends as many datagrams as the budget admits, at most one batch.
pub(super) fn send_datagrams(
    stream: &Stream,
    counts: &mut StreamCounters,
    sender: &mut UdpSender,
    group: &mut Group,
) -> Turn {
    let now_ns = monotonic_ns();
    let elapsed_ns = group.elapsed_ns(now_ns);
    let Some(out) = group.out.as_mut() else { return Turn::Ended(StreamEnd::complete()) };
    let budget = &group.plan.budget;
    let granted = match budget.take(elapsed_ns, out.capacity() as u64) {
        Grant::Units(datagrams) => datagrams,
        Grant::Wait(elapsed_ns) => return Turn::Wait(group.after_start(elapsed_ns)),
        Grant::Exhausted => return Turn::Exhausted,
    };
    let first = Probe {
        tag: group.plan.id.tag,
        flow: stream.number,
        sequence: counts.datagrams as u32,
        ticks: now_ns,
    };
    out.write_heads(granted as usize, group.plan.dialect, first, counts.datagrams);
    match out.send(stream, granted as usize) {
        Ok(sent) => {
            let sent = sent as u64;
            counts.datagrams += sent;
            counts.bytes += sent * out.datagram_bytes as u64;
            counts.calls += 1;
            // A kernel that refuses a later message tells neither that nor why: it is sent again, first of all.
            budget.give_back(granted - sent);
            Turn::More
        }
        Err(error) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let message = (out.per_message as u64).min(granted);
            match errno {
                Errno::AGAIN => {
                    budget.give_back(granted);
                    counts.full += 1;
                    Turn::Full
                }
                Errno::INTR => {
                    budget.give_back(granted);
                    Turn::More
                }
                Errno::MSGSIZE | Errno::BADF => {
                    budget.give_back(granted);
                    Turn::Ended(StreamEnd::because(
                        StreamEndKind::Failed,
                        format!(
                            "the kernel refuses datagrams of {} bytes: {errno}; give a smaller --size",
                            out.datagram_bytes
                        ),
                    ))
                }
                // A device without checksum offload cannot cut messages apart.
                Errno::IO | Errno::INVAL if out.per_message > 1 => {
                    budget.give_back(granted);
                    let _ = sockopt::set_udp_segment(&stream.socket, 0);
                    out.per_message = 1;
                    // As many as the buffer holds.
                    out.messages = BATCH.min(out.bytes.len() / out.datagram_bytes.max(1)).max(1);
                    group.report(FromWorker::Note(format!(
                        "the kernel cannot cut messages into datagrams on this path ({errno}); each datagram is sent by itself"
                    )));
                    Turn::More
                }
                refusal => {
                    // The kernel dropped the first message: what was due has been spent.
                    counts.refused += message;
                    budget.give_back(granted - message);
                    if sender.told.replace(refusal).is_none() {
                        group.report(FromWorker::Note(refusal_words(stream.number, refusal)));
                    }
                    if budget.is_unlimited() { Turn::Wait(now_ns + REFUSED_PAUSE_NS) } else { Turn::More }
                }
            }
        }
    }
}

fn refusal_words(stream: u32, refusal: Errno) -> String {
    let reason = match refusal {
        Errno::NOBUFS => "a queue of this host was full",
        Errno::PERM => "a rule of this host's firewall drops them",
        Errno::CONNREFUSED => "the peer's port is closed (ICMP port unreachable)",
        Errno::HOSTUNREACH | Errno::NETUNREACH => "the path says that the peer is unreachable (ICMP)",
        _ => "see the system error",
    };
    format!("stream {stream}: the kernel refused datagrams: {refusal}; {reason}")
}

impl UdpSender {
    /// Answers datagrams of the set-up, and empties the socket's error queue: the errors were counted when a send
    /// failed.
    pub(super) fn read(stream: &Stream, group: &Group) {
        let mut room = [0; 2 * HEADER_BYTES];
        for _ in 0..BATCH {
            match recv(&stream.socket, &mut room, RecvFlags::DONTWAIT) {
                Ok((_, bytes)) => drop(answer_header(stream, &group.plan, &room[..bytes.min(room.len())])),
                Err(Errno::AGAIN) => break,
                Err(_) => {}
            }
        }
        let mut bytes = [0; 64];
        for _ in 0..BATCH {
            let mut control = [MaybeUninit::uninit(); 512];
            let mut control = RecvAncillaryBuffer::new(&mut control);
            let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
            let mut vectors = [IoSliceMut::new(&mut bytes)];
            if recvmsg(&stream.socket, &mut vectors, &mut control, flags).is_err() {
                break;
            }
        }
    }
}
