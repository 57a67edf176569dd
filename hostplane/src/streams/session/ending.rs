//! The end of TCP streams: when they are given up, and when they are taken for ended.

use linerate_wire::streams::{StreamEnd, StreamEndKind};

use super::Session;
use crate::streams::look::{Progress, STALLED_NS};
use crate::streams::tcp_info::tcp_info;
use crate::streams::worker::Order;

impl Session {
    /// Gives up the streams of a direction whose sender has ended when none of them makes progress: on a slow path, each
    /// may have to wait for the others.
    pub(super) fn give_up_stalled(&mut self, now_ns: u64) {
        let (sending_over, all_sent) = (self.sending_is_over(), self.expected.is_some());
        // A peer that does not tell the end of a stream has nothing to acknowledge.
        if sending_over && self.plan.dialect.answers_the_end() {
            let reason = "nothing more was acknowledged and read for";
            self.look_at_direction(now_ns, true, reason, "after the last write");
        }
        if all_sent {
            self.look_at_direction(now_ns, false, "nothing more arrived for", "after the sender had ended");
        }
    }

    fn look_at_direction(&mut self, now_ns: u64, sends: bool, what: &str, when: &str) {
        let open = || {
            let of_direction = self.streams.iter().filter(|(_, attached)| attached.stream.sends == sends);
            of_direction.filter(|(_, attached)| attached.end.is_none())
        };
        let bytes = |attached: &super::Attached| {
            if sends {
                tcp_info(&attached.stream.socket).ok().and_then(|info| info.bytes_acked).unwrap_or(0)
            } else {
                attached.counts().bytes
            }
        };
        let state = open().fold((0, 0), |(number, sum), (_, attached)| (number + 1, sum + bytes(attached)));
        let progress = self.progress[usize::from(sends)].get_or_insert(Progress::new(now_ns));
        if !progress.is_stalled(now_ns, state) {
            return;
        }
        // The order is given once.
        *progress = Progress::new(now_ns);
        let reason = format!("{what} {} s {when}", STALLED_NS / 1_000_000_000);
        for (number, attached) in open() {
            let end = StreamEnd::because(StreamEndKind::Stalled, reason.clone());
            let order = Order::GiveUp { session: self.plan.id.session, stream: *number, end };
            self.pool.order(attached.worker, order);
        }
    }

    /// Takes the TCP streams for ended that this end sends and whose bytes are all acknowledged: their peer may close
    /// them as it likes.
    pub(crate) fn settle_acknowledged(&mut self) {
        self.read_reports();
        if self.unacknowledged() > 0 {
            return;
        }
        for attached in self.streams.values_mut().filter(|attached| attached.stream.sends) {
            attached.end.get_or_insert_with(StreamEnd::complete);
        }
    }

    /// Bytes of payload that the peer's kernel has not acknowledged yet, over all TCP streams that this end sends.
    pub(crate) fn unacknowledged(&self) -> u64 {
        let besides = if self.connects { self.plan.dialect.preamble_bytes() + 1 } else { 0 };
        let senders =
            self.streams.values().filter(|attached| attached.stream.sends && attached.end.is_none());
        let unacknowledged = senders.filter_map(|attached| {
            let acked = tcp_info(&attached.stream.socket).ok()?.bytes_acked?.saturating_sub(besides);
            Some(attached.counts().bytes.saturating_sub(acked))
        });
        unacknowledged.sum()
    }
}
