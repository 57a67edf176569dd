//! What each queue of an interface counts, in one form for all drivers.

pub mod names;
mod plan;
mod reader;

pub use self::plan::Plan;
pub use self::reader::{DriverStatistics, QueueReader};

use std::fmt;
use std::sync::Arc;

/// Direction of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It receives.
    Rx,
    /// It transmits.
    Tx,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        })
    }
}

/// A counter of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Packets received or sent.
    Packets,
    /// Bytes received or sent.
    Bytes,
    /// Packets dropped.
    Drops,
    /// Times that the ring was full (transmit), or had no buffers (receive).
    Full,
    /// Times that transmission went on afterwards.
    Wake,
    /// Buffers for received packets that could not be allocated.
    AllocFail,
}

impl Field {
    /// All counters.
    pub const ALL: [Self; 6] =
        [Self::Packets, Self::Bytes, Self::Drops, Self::Full, Self::Wake, Self::AllocFail];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Drops => "drops",
            Self::Full => "full",
            Self::Wake => "wake",
            Self::AllocFail => "alloc_fail",
        }
    }
}

/// Counters of a queue since its driver set them to 0; `None`: neither kernel nor driver tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounters {
    /// Direction of the queue.
    pub direction: Direction,
    /// Number of the queue.
    pub queue: u32,
    /// See [`Field::Packets`].
    pub packets: Option<u64>,
    /// See [`Field::Bytes`].
    pub bytes: Option<u64>,
    /// See [`Field::Drops`].
    pub drops: Option<u64>,
    /// See [`Field::Full`].
    pub full: Option<u64>,
    /// See [`Field::Wake`].
    pub wake: Option<u64>,
    /// See [`Field::AllocFail`].
    pub alloc_fail: Option<u64>,
}

impl QueueCounters {
    /// A queue of which nothing is known.
    pub fn new(direction: Direction, queue: u32) -> Self {
        let unknown = None;
        Self {
            direction,
            queue,
            packets: unknown,
            bytes: unknown,
            drops: unknown,
            full: unknown,
            wake: unknown,
            alloc_fail: unknown,
        }
    }

    /// A counter.
    pub fn get(&self, field: Field) -> Option<u64> {
        match field {
            Field::Packets => self.packets,
            Field::Bytes => self.bytes,
            Field::Drops => self.drops,
            Field::Full => self.full,
            Field::Wake => self.wake,
            Field::AllocFail => self.alloc_fail,
        }
    }

    fn place(&mut self, field: Field) -> &mut Option<u64> {
        match field {
            Field::Packets => &mut self.packets,
            Field::Bytes => &mut self.bytes,
            Field::Drops => &mut self.drops,
            Field::Full => &mut self.full,
            Field::Wake => &mut self.wake,
            Field::AllocFail => &mut self.alloc_fail,
        }
    }

    /// Adds to a counter: drivers count some in parts, such as unicast and multicast packets.
    pub fn add(&mut self, field: Field, value: u64) {
        let place = self.place(field);
        *place = Some(place.unwrap_or(0).saturating_add(value));
    }

    /// Takes from `other` what is not known here.
    fn complete(&mut self, other: &Self) {
        for field in Field::ALL {
            let place = self.place(field);
            *place = place.or(other.get(field));
        }
    }

    /// Counts since `then`; a counter that was set back is not known.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        let mut passed = Self::new(self.direction, self.queue);
        for field in Field::ALL {
            *passed.place(field) =
                self.get(field).zip(then.get(field)).and_then(|(now, then)| now.checked_sub(then));
        }
        passed
    }
}

/// Where the queues' counters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueOrigin {
    /// The kernel's queue statistics (netlink).
    Kernel,
    /// The driver's own statistics (`ethtool -S`).
    Driver,
    /// Both: the kernel's, with what it lacks from the driver.
    Both,
}

impl QueueOrigin {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "netdev qstats",
            Self::Driver => "ethtool -S",
            Self::Both => "netdev qstats, ethtool -S",
        }
    }
}

/// Counters of all queues of an interface, and what else its driver counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// The source.
    pub origin: QueueOrigin,
    /// The queues, receiving ones first.
    pub queues: Vec<QueueCounters>,
    /// Names of the driver's other statistics.
    pub names: Arc<[String]>,
    /// Their values, in the same order.
    pub values: Vec<u64>,
}

impl Queues {
    /// Each queue's counts since `then`; queues that are new are left out.
    pub fn since(&self, then: &Self) -> Vec<QueueCounters> {
        let earlier = |now: &QueueCounters| {
            then.queues.iter().find(|then| (then.direction, then.queue) == (now.direction, now.queue))
        };
        self.queues.iter().filter_map(|now| Some(now.since(earlier(now)?))).collect()
    }

    /// What the driver's other statistics counted since `then`, by their names, as the driver has them.
    /// Those that were set back, or are no counters and went down, are left out.
    pub fn others_since<'a>(&'a self, then: &'a Self) -> impl Iterator<Item = (&'a str, u64)> {
        let same = self.names == then.names;
        let pairs = self.names.iter().zip(self.values.iter().zip(&then.values)).filter(move |_| same);
        pairs.filter_map(|(name, (now, then))| Some((name.as_str(), now.checked_sub(*then)?)))
    }
}
