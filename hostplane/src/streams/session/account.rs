//! The account of one end, read from its streams when they have ended.

use linerate_agent::host::monotonic_ns;
use linerate_wire::report::FlowDelay;
use linerate_wire::streams::{
    Protocol, ReceivedStream, ReceivingReport, SendingEnd, SendingReport, SentStream, StreamEnd,
};

use super::{Attached, Session};
use crate::streams::receiving::ReceiverParts;
use crate::streams::tcp_info::tcp_info;
use crate::sys::sockopt;

impl Session {
    pub(super) fn sending_report(&self, ended: impl Fn(&Attached) -> StreamEnd) -> SendingReport {
        let start_ns = self.start_ns().unwrap_or(0);
        let last = self.sending_ends.iter().max_by_key(|(_, at_ns)| *at_ns);
        let (end, end_ns) = last.copied().unwrap_or((SendingEnd::Stopped, monotonic_ns()));
        let elapsed_ns = end_ns.saturating_sub(start_ns);
        let senders = self.streams.values().filter(|attached| attached.stream.sends);
        let streams: Vec<SentStream> =
            senders.map(|attached| self.sent_stream(attached, ended(attached))).collect();
        let units: u64 = match self.plan.spec.protocol {
            Protocol::Tcp => streams.iter().map(|stream| stream.bytes).sum(),
            Protocol::Udp => streams.iter().map(|stream| stream.datagrams + stream.refused).sum(),
        };
        // Before the end, forgiven debts only; at the end of a duration, also what was due by then.
        let due = self.plan.budget.due(elapsed_ns).filter(|_| end == SendingEnd::Duration);
        let forgone = due.map_or(self.plan.budget.forgiven(), |due| due.saturating_sub(units));
        SendingReport { duration_s: elapsed_ns as f64 / 1e9, ended: end, forgone, streams }
    }

    fn sent_stream(&self, attached: &Attached, end: StreamEnd) -> SentStream {
        let (stream, counts) = (&attached.stream, attached.counts());
        let tcp = tcp_info(&stream.socket).ok().filter(|_| self.is_tcp());
        let acked = tcp.and_then(|info| info.bytes_acked);
        // A connection's first end has its SYN and its header acknowledged, too.
        let besides = if self.connects { self.plan.dialect.preamble_bytes() + 1 } else { 0 };
        SentStream {
            stream: stream.number,
            local: attached.addresses.0,
            peer: attached.addresses.1,
            bytes: counts.bytes,
            acked_bytes: acked.map(|acked| acked.saturating_sub(besides).min(counts.bytes)),
            datagrams: counts.datagrams,
            calls: counts.calls,
            full: counts.full,
            full_s: self.full_s.get(&stream.number).copied().unwrap_or(0.0),
            refused: counts.refused,
            foreign_bytes: counts.foreign,
            buffer_bytes: rustix::net::sockopt::socket_send_buffer_size(&stream.socket)
                .ok()
                .map(|bytes| bytes as u64),
            incoming_cpu: sockopt::incoming_cpu(&stream.socket).ok().flatten(),
            congestion: rustix::net::sockopt::tcp_congestion(&stream.socket).ok().filter(|_| self.is_tcp()),
            tcp,
            end,
        }
    }

    pub(super) fn receiving_report(&self, ended: impl Fn(&Attached) -> StreamEnd) -> ReceivingReport {
        let (sum, _) = self.received();
        let parts = self.left.iter().map(|left| &left.received);
        let parts = parts.fold(ReceiverParts::default(), |mut sum, part| {
            sum.delays.merge(&part.delays);
            sum.beyond_memory += part.beyond_memory;
            let ((known, total, most), (other, more, longest)) = (sum.extents, part.extents);
            sum.extents = (known + other, total + more, most.max(longest));
            sum
        });
        let (extents, total, longest) = parts.extents;
        let start_ns = self.start_ns().unwrap_or(0);
        let since_start = |ns: u64| (ns > 0).then(|| ns.saturating_sub(start_ns) as f64 / 1e9);
        let receivers = self.streams.values().filter(|attached| !attached.stream.sends);
        ReceivingReport {
            duration_s: since_start(sum.last_ns),
            first_s: since_start(sum.first_ns),
            // Delays are in nanoseconds already.
            latency: parts.delays.read_delays(1_000_000_000).filter(|_| self.plan.dialect.tells_delays()),
            beyond_memory: parts.beyond_memory,
            extents: (extents, total as f64 / extents.max(1) as f64, longest),
            streams: receivers.map(|attached| self.received_stream(attached, ended(attached))).collect(),
        }
    }

    fn received_stream(&self, attached: &Attached, end: StreamEnd) -> ReceivedStream {
        let (stream, counts) = (&attached.stream, attached.counts());
        let tcp = tcp_info(&stream.socket).ok().filter(|_| self.is_tcp());
        let udp = self.udp.get(&stream.number);
        let delays = udp.and_then(|udp| udp.flow.delays()).filter(|_| self.plan.dialect.tells_delays());
        let besides = if self.connects { 0 } else { self.plan.dialect.preamble_bytes() };
        let in_kernel = tcp.and_then(|info| info.bytes_received).map(|bytes| {
            let bytes = bytes.saturating_sub(besides);
            // The peer's FIN counts as a byte.
            if end.is_complete() { bytes.min(counts.bytes) } else { bytes }
        });
        let drops = self.drops(stream).zip(attached.drops_before);
        ReceivedStream {
            stream: stream.number,
            local: attached.addresses.0,
            peer: attached.addresses.1,
            bytes: counts.bytes,
            kernel_bytes: in_kernel,
            datagrams: counts.datagrams,
            calls: counts.calls,
            duplicates: counts.duplicates,
            reordered: counts.reordered,
            largest_extent: udp.map_or(0, |udp| udp.flow.largest_extent()),
            missing: counts.missing,
            foreign: counts.foreign,
            socket_drops: drops.map(|(now, before)| now.wrapping_sub(before).into()),
            jitter_ns: udp.map(|udp| udp.jitter_ns),
            delay_ns: delays.map(|(min, mean, max)| FlowDelay { min, mean, max }),
            buffer_bytes: rustix::net::sockopt::socket_recv_buffer_size(&stream.socket)
                .ok()
                .map(|bytes| bytes as u64),
            incoming_cpu: sockopt::incoming_cpu(&stream.socket).ok().flatten(),
            tcp,
            end,
        }
    }
}
