//! What the kernel counts by netlink: an interface's counters, and its queues' statistics.

pub mod link;
pub mod queue_stats;
pub mod queues;
