//! Reader of an interface's queues: the kernel's statistics where it has them, the driver's beside.

use std::io;
use std::sync::Arc;

use super::{Plan, QueueCounters, QueueOrigin, Queues};
use crate::NotKnown;
use crate::clock::monotonic_ns;
use crate::netlink::queue_stats::QueueStats;

/// Names are read again after this time: queues may be changed and their counters be as many as before.
const NAMES_HOLD_NS: u64 = 60_000_000_000;

/// A driver's own statistics. The system call behind it is not safe code, and lives where such code may.
pub trait DriverStatistics {
    /// Names of the statistics, in their order.
    ///
    /// # Errors
    /// The kernel's reason; drivers without statistics have one.
    fn names(&mut self) -> io::Result<Vec<String>>;

    /// Values of the statistics. A driver whose queues were changed has others than before.
    ///
    /// # Errors
    /// The kernel's reason.
    fn values(&mut self, values: &mut Vec<u64>) -> io::Result<()>;
}

/// Reads the counters of an interface's queues.
pub struct QueueReader {
    kernel: Result<QueueStats, NotKnown>,
    driver: Option<Box<dyn DriverStatistics>>,
    plan: Option<Plan>,
    /// When the names were read.
    named_ns: u64,
    values: Vec<u64>,
    /// The values of the reading before.
    before: Vec<u64>,
}

impl std::fmt::Debug for QueueReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueReader")
            .field("kernel", &self.kernel)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl QueueReader {
    /// A reader for the interface with this index, and its driver's statistics.
    pub fn new(interface: u32, driver: Option<Box<dyn DriverStatistics>>) -> Self {
        let kernel = QueueStats::open(interface)
            .map_err(|error| NotKnown::Other(format!("netdev qstats of this kernel: {error}")));
        Self { kernel, driver, plan: None, named_ns: 0, values: Vec::new(), before: Vec::new() }
    }

    /// Reads all counters. A driver may ask its firmware for them: once a second is often enough.
    ///
    /// # Errors
    /// The reasons of both sources.
    pub fn read(&mut self) -> Result<Queues, NotKnown> {
        let mut of_kernel = Vec::new();
        let kernel = match &mut self.kernel {
            Ok(statistics) => statistics
                .read(&mut of_kernel)
                .map_err(|error| NotKnown::Other(format!("netdev qstats of this interface: {error}"))),
            Err(reason) => Err(reason.clone()),
        };
        let (mut queues, mut values) = (Vec::new(), Vec::new());
        let driver = self.of_driver(&mut queues, &mut values);
        let names = match &driver {
            Ok(names) => Arc::clone(names),
            Err(_) => Arc::new([]),
        };
        let origin = match (of_kernel.is_empty(), queues.is_empty()) {
            (false, true) => QueueOrigin::Kernel,
            (true, false) => QueueOrigin::Driver,
            (false, false) => QueueOrigin::Both,
            (true, true) if values.is_empty() => return Err(nothing(kernel.err(), driver.err())),
            // What the driver counts for the whole device.
            (true, true) => QueueOrigin::Driver,
        };
        for queue in &mut of_kernel {
            let same =
                |other: &&QueueCounters| (other.direction, other.queue) == (queue.direction, queue.queue);
            if let Some(other) = queues.iter().find(same) {
                queue.complete(other);
            }
        }
        let queues = if of_kernel.is_empty() { queues } else { of_kernel };
        Ok(Queues { origin, queues, names, values })
    }

    /// The driver's values, and the names of those that are no queue's.
    fn of_driver(
        &mut self,
        queues: &mut Vec<QueueCounters>,
        others: &mut Vec<u64>,
    ) -> Result<Arc<[String]>, NotKnown> {
        let reason = |error: io::Error| NotKnown::Other(format!("ethtool -S: {error}"));
        let driver =
            self.driver.as_mut().ok_or_else(|| NotKnown::Other("ethtool -S: not asked".to_owned()))?;
        std::mem::swap(&mut self.values, &mut self.before);
        driver.values(&mut self.values).map_err(reason)?;
        let now_ns = monotonic_ns();
        let went_back = self.values.iter().zip(&self.before).any(|(now, before)| now < before);
        let holds = !went_back && now_ns.saturating_sub(self.named_ns) < NAMES_HOLD_NS;
        let plan = match &mut self.plan {
            Some(plan) if plan.len() == self.values.len() && holds => plan,
            // At first, and when the driver's queues were, or may have been, changed.
            plan => {
                self.named_ns = now_ns;
                plan.insert(Plan::new(&driver.names().map_err(reason)?, &self.values))
            }
        };
        if plan.len() != self.values.len() {
            return Err(NotKnown::Other("ethtool -S: the driver's queues are being changed".to_owned()));
        }
        plan.apply(&self.values, queues, others);
        Ok(Arc::clone(plan.others()))
    }
}

fn nothing(kernel: Option<NotKnown>, driver: Option<NotKnown>) -> NotKnown {
    let reason = |source: &str, reason: Option<NotKnown>| {
        reason.map_or(format!("{source}: no queue is counted"), |reason| reason.to_string())
    };
    NotKnown::Other(format!("{}; {}", reason("netdev qstats", kernel), reason("ethtool -S", driver)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::queues::Direction;

    /// A driver whose names and values a test changes.
    #[derive(Default)]
    struct Driver {
        names: Vec<&'static str>,
        values: Vec<u64>,
    }

    struct Fake(Rc<RefCell<Driver>>);

    impl DriverStatistics for Fake {
        fn names(&mut self) -> io::Result<Vec<String>> {
            Ok(self.0.borrow().names.iter().map(|name| (*name).to_owned()).collect())
        }
        fn values(&mut self, values: &mut Vec<u64>) -> io::Result<()> {
            values.clone_from(&self.0.borrow().values);
            Ok(())
        }
    }

    /// The loopback interface has no queue statistics of its own.
    const LOOPBACK: u32 = 1;

    #[test]
    fn names_are_read_again_when_the_number_of_values_changes() {
        let driver = Rc::new(RefCell::new(Driver::default()));
        let set = |names: &[&'static str], values: &[u64]| {
            *driver.borrow_mut() = Driver { names: names.to_vec(), values: values.to_vec() };
        };
        let mut reader = QueueReader::new(LOOPBACK, Some(Box::new(Fake(Rc::clone(&driver)))));
        set(&["rx0_packets", "link_up"], &[5, 1]);
        let one = reader.read().unwrap();
        assert_eq!((one.queues.len(), one.queues[0].packets, one.values.as_slice()), (1, Some(5), &[1][..]));
        set(&["rx0_packets", "rx1_packets", "link_up"], &[7, 9, 1]);
        let two = reader.read().unwrap();
        assert_eq!((two.queues.len(), two.queues[1].packets), (2, Some(9)));
        let passed = two.since(&one);
        assert_eq!((passed.len(), passed[0].packets), (1, Some(2)), "the new queue has no difference");
        set(&["rx0_packets", "tx0_packets", "link_up"], &[1, 2, 1]);
        let other = reader.read().unwrap();
        assert_eq!((other.queues[1].direction, other.queues[1].packets), (Direction::Tx, Some(2)));
        assert_eq!(
            other.since(&two),
            [QueueCounters::new(Direction::Rx, 0)],
            "what was set back is not known"
        );
        set(&["rx0_packets"], &[7, 9]);
        let error = reader.read().unwrap_err();
        assert!(error.to_string().contains("being changed"), "{error}");
    }

    #[test]
    fn statistics_of_the_device_are_read_without_queues() {
        let driver = Driver { names: vec!["rx_missed_errors", "rx_packets"], values: vec![3, 9] };
        let mut reader = QueueReader::new(LOOPBACK, Some(Box::new(Fake(Rc::new(RefCell::new(driver))))));
        let read = reader.read().unwrap();
        assert_eq!(
            (read.origin, read.queues.len(), read.values.as_slice()),
            (QueueOrigin::Driver, 0, &[3, 9][..])
        );
        assert_eq!(read.names.first().map(String::as_str), Some("rx_missed_errors"));
    }

    #[test]
    fn without_any_source_both_reasons_are_told() {
        let error = QueueReader::new(LOOPBACK, None).read().unwrap_err().to_string();
        assert!(error.contains("netdev qstats") && error.contains("ethtool -S"), "{error}");
    }

    #[test]
    fn what_the_kernel_lacks_comes_from_the_driver() {
        let mut queue = QueueCounters::new(Direction::Rx, 0);
        queue.add(crate::queues::Field::Packets, 3);
        let mut other = QueueCounters::new(Direction::Rx, 0);
        other.add(crate::queues::Field::Packets, 99);
        other.add(crate::queues::Field::Drops, 2);
        queue.complete(&other);
        assert_eq!((queue.packets, queue.drops, queue.full), (Some(3), Some(2), None));
    }
}
