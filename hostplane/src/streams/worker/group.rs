//! The streams of a trial at one worker, and what a worker is told and reports.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use linerate_agent::cpu_time::ThreadTime;
use linerate_wire::streams::{SendingEnd, StreamEnd};
use linerate_wire::time::WorkerTime;

use crate::streams::counters::StreamCounters;
use crate::streams::receiving::{DatagramRoom, ReceiverParts, TcpReceiver, UdpReceiver};
use crate::streams::sending::{DatagramsOut, UdpSender};
use crate::streams::{EndPlan, Stream};

/// What a worker is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Take over a stream of a trial.
    Attach { plan: Arc<EndPlan>, stream: Arc<Stream>, reports: Sender<FromWorker> },
    /// Begin to send at that instant. `peer_ahead_ns`: the other end's clock less this one's.
    Start { session: u64, at_ns: u64, peer_ahead_ns: i64 },
    /// End the sending of a trial.
    StopSending { session: u64 },
    /// Give a stream up.
    GiveUp { session: u64, stream: u32, end: StreamEnd },
    /// Give up all streams of a trial, and report.
    Leave { session: u64 },
}

/// What a worker reports of a trial.
#[derive(Debug)]
pub(crate) enum FromWorker {
    /// No stream of this worker sends any more.
    SendingOver { end: SendingEnd, at_ns: u64 },
    /// A stream has ended.
    StreamEnded { stream: u32, end: StreamEnd },
    /// Something worth a remark.
    Note(String),
    /// What remains when the worker leaves the trial.
    Left(Box<Left>),
}

/// A worker's part in a trial, at its end.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) time: WorkerTime,
    pub(crate) received: ReceiverParts,
    /// Per stream: seconds for which the socket was full, or the receiver's account of a UDP stream.
    pub(crate) senders: Vec<(u32, f64)>,
    pub(crate) receivers: Vec<(u32, UdpReceiver)>,
}

/// What a stream's end does.
#[derive(Debug)]
pub(super) enum Way {
    TcpSend,
    /// All is written; waits until the peer has read it and closes its side.
    TcpDrain,
    TcpReceive(TcpReceiver),
    UdpSend(UdpSender),
    UdpReceive(UdpReceiver),
    Ended,
}

#[derive(Debug)]
pub(in crate::streams) struct Slot {
    pub(super) generation: u32,
    pub(super) group: usize,
    pub(super) stream: Arc<Stream>,
    pub(super) way: Way,
    pub(super) counts: StreamCounters,
    /// True while it stands in a queue of its kind.
    pub(super) writable: bool,
    pub(super) readable: bool,
    /// True once the peer has closed its side, or the connection failed.
    pub(super) hung_up: bool,
    pub(super) full_since: Option<u64>,
    pub(super) full_ns: u64,
}

/// The streams of one trial at this worker.
pub(in crate::streams) struct Group {
    pub(in crate::streams) plan: Arc<EndPlan>,
    pub(in crate::streams) reports: Sender<FromWorker>,
    pub(in crate::streams) start_ns: Option<u64>,
    pub(in crate::streams) peer_ahead_ns: i64,
    pub(in crate::streams) time: Option<ThreadTime>,
    /// Streams that may send, in turn.
    pub(in crate::streams) writable: VecDeque<usize>,
    /// Nothing is due before.
    pub(in crate::streams) paused_until: Option<u64>,
    pub(in crate::streams) senders: usize,
    pub(in crate::streams) sending_over: bool,
    pub(in crate::streams) out: Option<DatagramsOut>,
    pub(in crate::streams) room: Option<DatagramRoom>,
    pub(in crate::streams) received: ReceiverParts,
}

impl Group {
    pub(super) fn deadline_ns(&self) -> u64 {
        let duration_ns = self.plan.spec.duration_ms.map(|ms| ms.saturating_mul(1_000_000));
        let start = self.start_ns.unwrap_or(u64::MAX);
        duration_ns.map_or(u64::MAX, |duration| start.saturating_add(duration))
    }

    /// Time from the start to `now_ns`, at most to the deadline: what the budget goes by.
    pub(in crate::streams) fn elapsed_ns(&self, now_ns: u64) -> u64 {
        now_ns.min(self.deadline_ns()).saturating_sub(self.start_ns.unwrap_or(now_ns))
    }

    /// The instant so long after the start.
    pub(in crate::streams) fn after_start(&self, elapsed_ns: u64) -> u64 {
        self.start_ns.unwrap_or(0).saturating_add(elapsed_ns)
    }

    pub(in crate::streams) fn report(&self, message: FromWorker) {
        // A session that is gone needs no report.
        let _ = self.reports.send(message);
    }
}
