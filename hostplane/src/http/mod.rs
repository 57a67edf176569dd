//! HTTP load: requests to a server or balancer, closed or open loop, and a backend that answers them.
//!
//! A [`trial::HttpTrial`] has worker threads, each with an epoll set and connections of its own. In a closed loop
//! each connection sends a request when its last one was answered. In an open loop requests are due at the
//! times of a schedule, whatever connections do; a request that finds none free waits in a bounded queue, or is
//! skipped and counted.
//!
//! For an engine: [`trial::HttpTrial::arm`] makes the connections, [`trial::HttpTrial::is_ready`] tells when that
//! is done, [`trial::HttpTrial::start_at`] begins, [`trial::HttpTrial::sample`] reads counters at any time,
//! [`trial::HttpTrial::is_over`] tells the end, [`trial::HttpTrial::finish`] gathers what was measured. None of
//! them blocks but the last, which waits for threads that have ended.

pub(crate) mod backend;
pub(crate) mod counters;
mod deadlines;
pub(crate) mod outcome;
pub(crate) mod result;
mod schedule;
pub(crate) mod spec;
mod tally;
pub(crate) mod text;
pub(crate) mod tls;
mod transport;
pub(crate) mod trial;
pub(crate) mod verdict;
mod worker;
