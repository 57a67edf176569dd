//! The loops of a running trial.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use linerate_wire::counters::{ReceiveCounters, TransmitCounters};
use linerate_wire::time::WorkerTime;

use super::plan::Planned;
use crate::dpdk::id::LcoreId;
use crate::dpdk::lcore::{Job, JobPanicked};
use crate::dpdk::queue::{RxQueue, TxQueue};
use linerate_measure::analysis::Analysis;
use linerate_measure::loops::counters::{ReceiveBlock, TransmitBlock};
use linerate_measure::loops::queue::QueueFrames;
use linerate_measure::loops::reflect::ReflectOutcome;
use linerate_measure::loops::transmit::TransmitOutcome;

/// A transmitting job, which returns its queue at the end, and its counters.
pub(super) type TransmitJob = (Job<(TxQueue, TransmitOutcome, WorkerTime)>, Arc<TransmitBlock>);
/// Result of a transmitting job.
pub(super) type SentJob = (LcoreId, Result<(TransmitOutcome, WorkerTime), JobPanicked>, Arc<TransmitBlock>);
/// A receiving job and its counters.
pub(super) type ReceiveJob = (Job<ReceiveOutcome>, Arc<ReceiveBlock>);

/// Result of a receiving loop.
#[derive(Debug)]
pub(super) struct ReceiveOutcome {
    pub(super) queues: Vec<RxQueue>,
    pub(super) analysis: Analysis,
    /// Share of the time, 0…1, in which polls returned no frame.
    pub(super) headroom: f64,
    pub(super) time: WorkerTime,
}

/// A reflecting job, which returns its queues at the end, and its counters.
pub(super) type ReflectJob = (Job<Reflected>, (Arc<ReceiveBlock>, Arc<TransmitBlock>));

/// Result of a reflecting loop.
#[derive(Debug)]
pub(super) struct Reflected {
    pub(super) queues: Vec<RxQueue>,
    pub(super) tx: TxQueue,
    pub(super) outcome: ReflectOutcome,
    pub(super) time: WorkerTime,
}

/// The loops of a trial.
#[derive(Debug)]
pub(super) struct Jobs {
    pub(super) transmit: Vec<TransmitJob>,
    /// Jobs that have ended and returned their queues, in the same order.
    pub(super) sent: Vec<SentJob>,
    pub(super) intended_pps: Option<f64>,
    pub(super) planned: Planned,
    pub(super) receive: Vec<ReceiveJob>,
    pub(super) reflect: Vec<ReflectJob>,
    /// Frames per receive queue, by queue number, for each lcore with receive queues.
    pub(super) queues: Vec<(Vec<u16>, QueueFrames)>,
}

impl Jobs {
    pub(super) fn new(intended_pps: Option<f64>) -> Self {
        Self {
            transmit: Vec::new(),
            sent: Vec::new(),
            intended_pps,
            planned: Planned::default(),
            receive: Vec::new(),
            reflect: Vec::new(),
            queues: Vec::new(),
        }
    }

    pub(super) fn sending_is_over(&self) -> bool {
        self.transmit.iter().all(|(job, _)| job.is_finished())
    }

    pub(super) fn all_are_over(&self) -> bool {
        self.sending_is_over()
            && self.receive.iter().all(|(job, _)| job.is_finished())
            && self.reflect.iter().all(|(job, _)| job.is_finished())
    }

    pub(super) fn received(&self) -> Option<ReceiveCounters> {
        let blocks = self.receive.iter().map(|(_, block)| block);
        let blocks = blocks.chain(self.reflect.iter().map(|(_, (block, _))| block));
        (!self.receive.is_empty() || !self.reflect.is_empty()).then(|| blocks.map(|block| block.read()).sum())
    }

    /// Frames per receive queue, queue 0 first.
    pub(super) fn queue_frames(&self) -> Vec<u64> {
        let lcores = self.queues.iter();
        let mut queues: Vec<(u16, u64)> = lcores
            .flat_map(|(indexes, frames)| indexes.iter().copied().zip(frames.iter()))
            .map(|(index, frames)| (index, frames.load(Ordering::Relaxed)))
            .collect();
        queues.sort_unstable();
        queues.into_iter().map(|(_, frames)| frames).collect()
    }

    /// Counters of the lcores that generate traffic, in the order of the report.
    fn senders(&self) -> impl Iterator<Item = &TransmitBlock> {
        let sent = self.sent.iter().map(|(_, _, block)| &**block);
        sent.chain(self.transmit.iter().map(|(_, block)| &**block))
    }

    /// Packets sent by each of these lcores.
    pub(super) fn sent_per_lcore(&self) -> Vec<u64> {
        self.senders().map(|block| block.read().packets).collect()
    }

    pub(super) fn sent(&self) -> Option<TransmitCounters> {
        let blocks = self.senders().chain(self.reflect.iter().map(|(_, (_, block))| &**block));
        let mut blocks = blocks.map(TransmitBlock::read).peekable();
        blocks.peek().is_some().then(|| blocks.sum())
    }

    /// Waits for the lcores that generate traffic, and puts their queues back into `free`.
    pub(super) fn join_senders(&mut self, free: &mut Vec<TxQueue>) {
        for (job, block) in self.transmit.drain(..) {
            let lcore = job.lcore();
            let left = job.join().map(|(queue, outcome, time)| {
                free.insert(self.sent.len().min(free.len()), queue);
                (outcome, time)
            });
            self.sent.push((lcore, left, block));
        }
    }
}
