//! One turn of a receiving stream.

use linerate_agent::host::monotonic_ns;
use linerate_measure::arrival::Arrival;
use linerate_measure::gap_log::GapLog;
use linerate_measure::histogram::TickHistogram;
use linerate_measure::losses::SendTime;
use linerate_measure::order::FlowState;
use linerate_wire::streams::{StreamEnd, StreamsSpec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::counters::StreamCounters;
use super::dialect::Head;
use super::header::Header;
use super::report::{broken, closed_early};
use super::worker::Group;
use super::{EndPlan, Stream};
use crate::sys::batch::{BATCH, Batch};

/// Largest message of several datagrams that the kernel delivers at once.
const GRO_BYTES: usize = 65_536;
/// Messages of that size per call.
const GRO_MESSAGES: usize = 16;
/// Weight of the newest difference in the interarrival jitter (RFC 3550, section 6.4.1).
const JITTER_SHARE: f64 = 16.0;

/// Outcome of a turn.
#[derive(Debug)]
pub(super) enum Heard {
    /// There may be more to read.
    More,
    /// Nothing more at present.
    Nothing,
    /// The stream has ended.
    End(StreamEnd),
}

/// State of a receiving TCP stream.
#[derive(Debug)]
pub(super) struct TcpReceiver {
    flags: RecvFlags,
}

impl TcpReceiver {
    /// A receiver that discards the bytes in the kernel when `skip_copy`.
    pub(super) fn new(skip_copy: bool) -> Self {
        let skip = if skip_copy { RecvFlags::TRUNC } else { RecvFlags::empty() };
        Self { flags: RecvFlags::DONTWAIT | skip }
    }

    /// Reads once. `hung_up`: the peer has closed its side, of which no further event tells.
    pub(super) fn read(
        &mut self,
        stream: &Stream,
        counts: &mut StreamCounters,
        room: &mut [u8],
        hung_up: bool,
    ) -> Heard {
        let size = room.len();
        match recv(&stream.socket, room, self.flags) {
            Ok((_, 0)) => Heard::End(StreamEnd::complete()),
            Ok((_, bytes)) => {
                counts.bytes += bytes as u64;
                counts.calls += 1;
                counts.arrived(monotonic_ns());
                // Fewer bytes than asked for: the buffer is empty, and an event tells of the next ones.
                if bytes < size && !hung_up { Heard::Nothing } else { Heard::More }
            }
            Err(Errno::AGAIN) => Heard::Nothing,
            Err(Errno::INTR) => Heard::More,
            Err(errno) => Heard::End(broken(errno)),
        }
    }
}

/// Reads what comes back to the sender of a TCP stream: nothing but the end. `drained`: the sender has written
/// everything and closed its side.
pub(super) fn listen(stream: &Stream, counts: &mut StreamCounters, drained: bool) -> Heard {
    let mut room = [0; 4096];
    match recv(&stream.socket, &mut room, RecvFlags::DONTWAIT) {
        Ok((_, 0)) if drained => Heard::End(StreamEnd::complete()),
        Ok((_, 0)) => Heard::End(closed_early()),
        Ok((_, bytes)) => {
            counts.foreign += bytes as u64;
            Heard::More
        }
        Err(Errno::AGAIN) => Heard::Nothing,
        Err(Errno::INTR) => Heard::More,
        Err(errno) => Heard::End(broken(errno)),
    }
}

/// True when a datagram belongs to the set-up. One that asks for the stream again is answered: the first answer
/// was lost.
pub(super) fn answer_header(stream: &Stream, plan: &EndPlan, datagram: &[u8]) -> bool {
    let Some(header) = Header::from_bytes(datagram).filter(|header| header.name() == plan.id.name) else {
        return false;
    };
    if !header.answer {
        let _ = send(&stream.socket, &header.answered(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
    true
}

/// What all UDP streams of a trial at one worker have received, beyond each stream's counters.
#[derive(Debug, Default)]
pub(crate) struct ReceiverParts {
    pub(crate) delays: TickHistogram,
    /// First copies too late to be told from duplicates.
    pub(crate) beyond_memory: u64,
    /// Extents of reordered datagrams (RFC 4737): their number, sum and largest.
    pub(crate) extents: (u64, u64, u32),
}

/// Room for the datagrams of one call.
#[derive(Debug)]
pub(super) struct DatagramRoom {
    batch: Batch,
    bytes: Box<[u8]>,
    stride: usize,
    messages: usize,
}

impl DatagramRoom {
    fn new(spec: &StreamsSpec) -> Self {
        // A byte more than a datagram has shows those that are longer.
        let datagram = (spec.block_bytes as usize + 1).next_multiple_of(64);
        let (stride, messages) = if spec.sockets.gro { (GRO_BYTES, GRO_MESSAGES) } else { (datagram, BATCH) };
        Self { batch: Batch::new(), bytes: vec![0; stride * messages].into_boxed_slice(), stride, messages }
    }
}

/// State of a receiving UDP stream.
#[derive(Debug, Default)]
pub(crate) struct UdpReceiver {
    pub(crate) flow: FlowState,
    pub(crate) jitter_ns: f64,
    transit_ns: Option<i64>,
}

impl UdpReceiver {
    /// Reads one batch. `flow_id` names the stream in the worker's log, which keeps the gaps of ended streams: no
    /// other stream of the worker has it, nor had it.
    pub(super) fn read(
        &mut self,
        stream: &Stream,
        counts: &mut StreamCounters,
        group: &mut Group,
        log: &mut GapLog,
        flow_id: u32,
    ) -> Heard {
        let Group { plan, room, received, peer_ahead_ns, .. } = group;
        let room = room.get_or_insert_with(|| DatagramRoom::new(&plan.spec));
        let DatagramRoom { batch, bytes, stride, messages } = room;
        let count = match batch.receive(&stream.socket, bytes, *stride, *messages) {
            Ok(count) => count,
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN) => Heard::Nothing,
                    // An error that the path reported of something sent from here; what arrives still counts.
                    Some(Errno::INTR | Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) => {
                        Heard::More
                    }
                    errno => Heard::End(broken(errno.unwrap_or(Errno::IO))),
                };
            }
        };
        let now_ns = monotonic_ns();
        // On the sender's clock, as the probes' times are.
        let sender_ns = now_ns.wrapping_add_signed(*peer_ahead_ns);
        let expected = plan.spec.block_bytes as usize;
        counts.calls += 1;
        let before = counts.datagrams;
        for index in 0..count {
            let message = batch.received(index, bytes, *stride);
            let each = message.segment.unwrap_or(message.bytes.len()).max(1);
            for datagram in message.bytes.chunks(each) {
                let whole = datagram.len() == expected && !message.cut;
                let name = (plan.id.tag, stream.number);
                let head = whole.then(|| plan.dialect.read(datagram, name, sender_ns)).flatten();
                match head {
                    Some(head) => {
                        let times = (sender_ns, plan.dialect.tells_delays());
                        self.observe(head, times, counts, received, log, flow_id);
                    }
                    None if answer_header(stream, plan, datagram) => {}
                    None => counts.foreign += 1,
                }
            }
        }
        let arrived = counts.datagrams - before;
        counts.bytes += arrived * expected as u64;
        if arrived > 0 {
            counts.arrived(now_ns);
        }
        counts.jitter_ns = self.jitter_ns as u64;
        counts.missing = self.flow.next().saturating_sub(self.flow.received());
        if count < *messages { Heard::Nothing } else { Heard::More }
    }

    fn observe(
        &mut self,
        Head { sequence, transit_ns }: Head,
        (sender_ns, tells_delays): (u64, bool),
        counts: &mut StreamCounters,
        parts: &mut ReceiverParts,
        log: &mut GapLog,
        flow_id: u32,
    ) {
        let delay_ns = if tells_delays { transit_ns } else { 0 };
        match self.flow.arrive(sequence, flow_id, SendTime::new(sender_ns, delay_ns), log) {
            Arrival::InOrder => {}
            Arrival::Duplicate => {
                counts.duplicates += 1;
                return;
            }
            Arrival::Reordered { extent } => {
                counts.reordered += 1;
                let (known, sum, most) = &mut parts.extents;
                *known += 1;
                *sum += u64::from(extent);
                *most = (*most).max(extent);
            }
            Arrival::BeyondMemory => {
                counts.reordered += 1;
                parts.beyond_memory += 1;
            }
        }
        counts.datagrams += 1;
        if tells_delays {
            counts.delay_sum_ns = counts.delay_sum_ns.saturating_add(delay_ns.max(0) as u64);
            self.flow.record_delay(delay_ns.max(0) as u64);
            parts.delays.record(delay_ns);
        }
        if let Some(before) = self.transit_ns.replace(transit_ns) {
            let difference = transit_ns.wrapping_sub(before).unsigned_abs() as f64;
            self.jitter_ns += (difference - self.jitter_ns) / JITTER_SHARE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3550, appendix A.8, in its own integer form for comparison.
    #[test]
    fn jitter_is_that_of_the_standard() {
        let (mut receiver, mut log) = (UdpReceiver::default(), GapLog::default());
        let (mut counts, mut parts) = (StreamCounters::default(), ReceiverParts::default());
        let (mut expected, mut last) = (0f64, None::<i64>);
        for sequence in 0..1000u32 {
            let sent = u64::from(sequence) * 1_000_000;
            let delay = 500_000 + u64::from(sequence.wrapping_mul(2_654_435_761) >> 12);
            let head = Head { sequence, transit_ns: delay as i64 };
            receiver.observe(head, (sent + delay, true), &mut counts, &mut parts, &mut log, 0);
            if let Some(last) = last.replace(delay as i64) {
                expected += ((delay as i64 - last).abs() as f64 - expected) / 16.0;
            }
        }
        assert!((receiver.jitter_ns - expected).abs() < 1e-6 && expected > 1000.0, "{expected}");
        assert_eq!((counts.datagrams, receiver.flow.received()), (1000, 1000));
        // A second copy changes no figure of the first.
        let head = Head { sequence: 3, transit_ns: 1 << 30 };
        receiver.observe(head, (1 << 30, true), &mut counts, &mut parts, &mut log, 0);
        assert_eq!((counts.datagrams, counts.duplicates), (1000, 1));
    }

    /// The log of a worker keeps the gaps of ended streams; a new stream reads none of them.
    #[test]
    fn a_stream_on_a_used_log_counts_as_one_on_a_new_log() {
        let mut log = GapLog::default();
        for flow_id in 1..=4 {
            let (mut receiver, mut counts) = (UdpReceiver::default(), StreamCounters::default());
            let mut parts = ReceiverParts::default();
            // Blocks of 32 that arrive with their even numbers first: each odd one opens a gap and fills it.
            let blocks = (0..1024u32).step_by(32);
            let order = blocks.flat_map(|block| {
                (block..block + 32).step_by(2).chain((block + 1..block + 32).step_by(2).rev())
            });
            for sequence in order {
                let head = Head { sequence, transit_ns: 1000 };
                let now_ns = u64::from(sequence) * 1000;
                receiver.observe(head, (now_ns, true), &mut counts, &mut parts, &mut log, flow_id);
            }
            // The last number opens no gap.
            assert_eq!((counts.datagrams, counts.duplicates), (1024, 0), "stream {flow_id}");
            assert_eq!(receiver.flow.received(), receiver.flow.next(), "stream {flow_id}");
            assert!(receiver.flow.largest_extent() <= 32, "stream {flow_id}");
        }
    }
}
