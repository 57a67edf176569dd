//! Why a trial cannot be run.

use linerate_traffic::rate::RateError;
use linerate_traffic::safety::Unsafe;
use linerate_wire::port::FrameTooLarge;

use super::left_queues::LeftQueues;
use crate::dpdk::error::DpdkError;
use crate::dpdk::lcore::JobPanicked;

/// Error: a trial cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The port or an lcore reported an error.
    #[error(transparent)]
    Dpdk(#[from] DpdkError),
    /// A job panicked.
    #[error(transparent)]
    Panicked(#[from] JobPanicked),
    /// The load cannot be applied.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// A ceiling forbids the trial.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// The frame is too large for the port's configuration.
    #[error(transparent)]
    FrameTooLarge(#[from] FrameTooLarge),
    /// An exchange needs one lcore for sending and one for counting.
    #[error(
        "sending and counting at once needs two worker lcores, and there is one; give three lcores, as in -l 0-2 (they may share CPUs: --lcores 0@0,1@0,2@1)"
    )]
    TooFewLcores,
    /// Frames would not reach the port.
    #[error(transparent)]
    LeftQueues(#[from] LeftQueues),
    /// The port was not set up to reflect frames.
    #[error("this port was not started to send frames back; start the agent with --reflector")]
    NoReflector,
    /// A queue was lost with a job that panicked or was not launched.
    #[error("a queue of the port was lost with a job that failed earlier; restart the program")]
    QueueLost,
}
