//! Both ends for clients and servers of iperf3: the streams are this program's, the conversation is iperf3's.
//!
//! [`link`] is the control connection, [`plan`] turns parameters into trials and back, [`server`] and [`client`]
//! are the two ends, [`account`] compares this end's counts with what the other end says, and [`form`] and
//! [`text`] show them, as iperf3's JSON and for people.

pub(crate) mod account;
pub(crate) mod client;
pub(crate) mod form;
mod link;
mod omitted;
pub(crate) mod outcome;
mod plan;
pub(crate) mod server;
pub(crate) mod text;

use std::time::Duration;

/// Time for each step of a conversation.
const STEP_TIME: Duration = Duration::from_secs(10);
/// Time for the other end's results: it may be busy.
const RESULTS_TIME: Duration = Duration::from_secs(30);
/// Time between two looks at streams that are ending.
const LOOK_TIME: Duration = Duration::from_millis(5);
/// Most samples that are kept; of a longer test, the oldest are left out.
const MOST_SAMPLES: usize = 36_000;
