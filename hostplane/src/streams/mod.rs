//! One end of a trial's streams: worker threads, their sockets, and what they count.
//!
//! A [`pool::Pool`] has worker threads, each with an epoll set of its own. A [`session::Session`] is one end of a
//! trial: it distributes sockets over the workers, starts and stops them, takes samples, and ends with a
//! report. Workers own the state of their streams; all that is shared with other threads are the streams'
//! padded counters and the budget of the load.

pub(crate) mod budget;
pub(crate) mod counters;
pub(crate) mod dialect;
pub(crate) mod header;
pub(crate) mod host;
mod look;
pub(crate) mod pool;
mod receiving;
pub(crate) mod report;
mod sending;
pub(crate) mod session;
pub(crate) mod socket;
pub(crate) mod tcp_info;
mod worker;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use linerate_wire::streams::{Protocol, StreamKey, StreamsSpec};

use self::budget::{Budget, Pace};
use self::counters::StreamBlock;
use self::dialect::Dialect;
use crate::spec::{Direction, Directions};

/// Which end of which trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndId {
    /// Number of the trial and path in this process.
    pub(crate) session: u64,
    /// Key and path in the headers of the streams.
    pub(crate) name: (StreamKey, u32),
    /// Tag in the probes of datagrams.
    pub(crate) tag: u16,
    /// Directions in which streams send.
    pub(crate) directions: Directions,
    /// Direction in which this end sends; it receives in the other one.
    pub(crate) sends: Direction,
}

/// One end of a trial as its workers see it.
#[derive(Debug)]
pub(crate) struct EndPlan {
    pub(crate) id: EndId,
    /// The streams of each direction.
    pub(crate) spec: StreamsSpec,
    /// Load of the streams that this end sends.
    pub(crate) budget: Budget,
    /// How streams begin and end.
    pub(crate) dialect: Dialect,
}

impl EndPlan {
    /// The plan of an end. `ceiling` is the highest load that ceilings admit, in packets per second.
    pub(crate) fn new(id: EndId, spec: StreamsSpec, ceiling: Option<f64>) -> Self {
        let total = match spec.protocol {
            Protocol::Tcp => spec.bytes,
            Protocol::Udp => spec.datagrams(),
        };
        let budget = Budget::new(pace(&spec, ceiling).as_ref(), total);
        Self { id, spec, budget, dialect: Dialect::Own }
    }

    /// The same plan for streams of another program.
    pub(crate) fn speaking(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// True when senders let receivers on their CPU run: TCP as fast as it goes.
    pub(crate) fn yields(&self) -> bool {
        self.spec.protocol == Protocol::Tcp && !self.budget.has_rate()
    }

    /// True when this end sends a stream.
    pub(crate) fn sends_stream(&self, number: u32) -> bool {
        self.id.directions.direction_of(number, self.spec.streams) == Some(self.id.sends)
    }
}

/// The load of a direction in the units of its budget.
fn pace(spec: &StreamsSpec, ceiling: Option<f64>) -> Option<Pace> {
    match spec.protocol {
        Protocol::Tcp => {
            let segment =
                f64::from(spec.sockets.mss.unwrap_or(1448)).min(f64::from(spec.block_bytes)).max(2.0);
            Some(Pace {
                units_per_second: spec.load.bits_per_second(0)? / 8.0,
                unit_group: segment,
                call_units: f64::from(spec.block_bytes.min(65_536)),
                ceiling: ceiling.map(|packets| packets * segment),
            })
        }
        Protocol::Udp => Some(Pace {
            units_per_second: spec.load.datagrams_per_second(spec.block_bytes)?,
            unit_group: 1.0,
            call_units: f64::from(spec.sockets.gso.unwrap_or(1)),
            ceiling,
        }),
    }
}

/// One end of one stream: what its worker and the sampler share.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Number in the trial.
    pub(crate) number: u32,
    /// True at the sending end.
    pub(crate) sends: bool,
    pub(crate) socket: OwnedFd,
    pub(crate) counters: StreamBlock,
}

impl Stream {
    pub(crate) fn new(number: u32, sends: bool, socket: OwnedFd) -> Arc<Self> {
        Arc::new(Self { number, sends, socket, counters: StreamBlock::default() })
    }
}

/// Raises this process's limit of open files as far as the user may; returns the limit in force. `None`: no
/// limit.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let highest = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, highest).is_err() {
        return limit.current;
    }
    limit.maximum
}
