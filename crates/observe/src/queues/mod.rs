//! What each queue of an interface counts, in one form for all drivers.

pub mod names;
mod plan;
mod reader;

pub use self::plan::Plan;
pub use self::reader::{DriverStatistics, QueueReader};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::names::is_loss_of_device;

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

    /// Packets that the whole device lost since `then`, by the driver's names, and why not all of them are known.
    pub fn losses_since(&self, then: &Self) -> (BTreeMap<String, u64>, Option<String>) {
        let losses = self.others_since(then).filter(|(name, _)| is_loss_of_device(name));
        let losses: BTreeMap<String, u64> = losses.map(|(name, lost)| (name.to_owned(), lost)).collect();
        let mut all = self.names.iter().chain(then.names.iter()).filter(|name| is_loss_of_device(name));
        let unknown = all.find(|name| !losses.contains_key(*name));
        let unknown = unknown.map(|name| match self.renamed_since(then) {
            None => format!("{name} was set back"),
            Some(reason) => reason.to_owned(),
        });
        (losses, unknown)
    }

    /// Why none of the driver's other statistics since `then` is known; `None`: they are.
    pub fn renamed_since(&self, then: &Self) -> Option<&'static str> {
        (self.names != then.names).then_some("the driver's statistics changed their names")
    }

    /// Why counts of queues since `then` are not known; `None`: all are that were counted at both times.
    pub fn unknown_since(&self, then: &Self) -> Option<String> {
        let same = |one: &QueueCounters, other: &QueueCounters| {
            (one.direction, one.queue) == (other.direction, other.queue)
        };
        let lacks = |all: &[QueueCounters], one: &QueueCounters| !all.iter().any(|other| same(one, other));
        let is_back = |now: Option<u64>, then: Option<u64>| now < then && now.is_some();
        let back: usize = self
            .queues
            .iter()
            .filter_map(|now| Some((now, then.queues.iter().find(|then| same(now, then))?)))
            .map(|(now, then)| {
                Field::ALL.iter().filter(|field| is_back(now.get(**field), then.get(**field))).count()
            })
            .sum();
        let new = self.queues.iter().filter(|now| lacks(&then.queues, now)).count();
        let gone = then.queues.iter().filter(|then| lacks(&self.queues, then)).count();
        let parts = [
            (back, "counter was", "counters were", "set back"),
            (new, "queue is", "queues are", "new"),
            (gone, "queue is", "queues are", "gone"),
        ];
        let words = parts.into_iter().filter(|(count, ..)| *count > 0).map(|(count, one, many, what)| {
            format!("{count} {} {what}", if count == 1 { one } else { many })
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(names: &[&str], values: &[u64]) -> Queues {
        Queues {
            origin: QueueOrigin::Driver,
            queues: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn losses_of_a_device_that_are_not_known_have_a_reason() {
        let then = counted(&["rx_missed_errors", "rx_fifo_errors", "link_changes"], &[10, 7, 3]);
        let whole = counted(&["rx_missed_errors", "rx_fifo_errors", "link_changes"], &[15, 7, 0]);
        let both = [("rx_fifo_errors".to_owned(), 0), ("rx_missed_errors".to_owned(), 5)];
        assert_eq!(whole.losses_since(&then), (both.into(), None), "what counts no loss may go back");
        let reset = counted(&["rx_missed_errors", "rx_fifo_errors", "link_changes"], &[2, 8, 3]);
        let known = [("rx_fifo_errors".to_owned(), 1)];
        assert_eq!(
            reset.losses_since(&then),
            (known.into(), Some("rx_missed_errors was set back".to_owned()))
        );
        let other = counted(&["rx_missed_errors"], &[15]);
        let (known, unknown) = other.losses_since(&then);
        assert!(known.is_empty() && unknown.unwrap().contains("changed their names"));
    }

    #[test]
    fn queues_that_are_not_known_have_a_reason() {
        let queue = |queue, packets, drops| {
            let mut counters = QueueCounters::new(Direction::Rx, queue);
            (counters.packets, counters.drops) = (Some(packets), drops);
            counters
        };
        let of = |queues: &[QueueCounters]| Queues { queues: queues.to_vec(), ..counted(&[], &[]) };
        let then = of(&[queue(0, 10, Some(5)), queue(1, 10, None)]);
        for (now, expected) in [
            (vec![queue(0, 11, Some(5)), queue(1, 10, None)], None),
            (vec![queue(0, 9, Some(5)), queue(1, 10, None)], Some("1 counter was set back")),
            (vec![queue(0, 9, Some(0)), queue(1, 9, None)], Some("3 counters were set back")),
            (
                vec![queue(0, 9, Some(5)), queue(2, 1, None)],
                Some("1 counter was set back, 1 queue is new, 1 queue is gone"),
            ),
            (vec![], Some("2 queues are gone")),
        ] {
            assert_eq!(of(&now).unknown_since(&then).as_deref(), expected, "{now:?}");
        }
    }
}
