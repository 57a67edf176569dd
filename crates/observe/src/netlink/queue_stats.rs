//! The kernel's own statistics of queues: generic netlink family `netdev`, request `qstats-get` (Linux 6.10,
//! kernel `Documentation/netlink/specs/netdev.yaml`). Drivers that have them leave them out of `ethtool -S`.

use std::io;

use linerate_netlink::Socket;
use linerate_netlink::generic::{self, HEADER_BYTES};
use linerate_netlink::message::{attribute, put, unsigned};

use crate::queues::{Direction, Field, QueueCounters};

const QSTATS_GET: u8 = 12;
const INTERFACE: u16 = 1;
const QUEUE_TYPE: u16 = 2;
const QUEUE: u16 = 3;
const SCOPE: u16 = 4;
const SCOPE_QUEUE: u32 = 1;
/// Counters and what they are in the normal form. Overruns and rate limits are parts of the drops.
const FIELDS: [(u16, Field); 9] = [
    (8, Field::Packets),
    (9, Field::Bytes),
    (10, Field::Packets),
    (11, Field::Bytes),
    (12, Field::AllocFail),
    (13, Field::Drops),
    (24, Field::Drops),
    (33, Field::Full),
    (34, Field::Wake),
];

/// A generic netlink socket that asks for one interface's queues.
#[derive(Debug)]
pub struct QueueStats {
    socket: Socket,
    family: u16,
    request: Vec<u8>,
}

impl QueueStats {
    /// Opens the socket and finds the family.
    ///
    /// # Errors
    /// The kernel's reason; kernels before 6.10 have no such request, older ones no such family.
    pub fn open(interface: u32) -> io::Result<Self> {
        let (socket, family) = generic::open(b"netdev\0")?;
        let mut request = vec![QSTATS_GET, 1, 0, 0];
        put(&mut request, INTERFACE, &interface.to_ne_bytes());
        put(&mut request, SCOPE, &SCOPE_QUEUE.to_ne_bytes());
        Ok(Self { socket, family, request })
    }

    /// The queues' counters; none when the driver has no such statistics.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn read(&mut self, queues: &mut Vec<QueueCounters>) -> io::Result<()> {
        let Self { socket, family, request } = self;
        socket.list(*family, request, queues, parse)?;
        queues.sort_unstable_by_key(|queue| (queue.direction, queue.queue));
        Ok(())
    }
}

/// One queue of the answer.
pub fn parse(body: &[u8]) -> Option<QueueCounters> {
    let number = |kind: u16| attribute(body, HEADER_BYTES, kind).and_then(unsigned);
    let direction = match number(QUEUE_TYPE)? {
        0 => Direction::Rx,
        1 => Direction::Tx,
        _ => return None,
    };
    let mut counters = QueueCounters::new(direction, number(QUEUE)?.try_into().ok()?);
    for (kind, field) in FIELDS {
        if let Some(value) = number(kind) {
            counters.add(field, value);
        }
    }
    Some(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_read_and_damage_is_not() {
        let mut body = vec![0; HEADER_BYTES];
        put(&mut body, QUEUE_TYPE, &1u32.to_ne_bytes());
        put(&mut body, QUEUE, &5u32.to_ne_bytes());
        put(&mut body, 10, &7u32.to_ne_bytes());
        put(&mut body, 11, &(1u64 << 40).to_ne_bytes());
        put(&mut body, 33, &3u32.to_ne_bytes());
        let queue = parse(&body).unwrap();
        assert_eq!((queue.direction, queue.queue), (Direction::Tx, 5));
        assert_eq!(
            (queue.packets, queue.bytes, queue.full, queue.drops),
            (Some(7), Some(1 << 40), Some(3), None)
        );
        for length in 0..body.len() {
            let _ = parse(&body[..length]);
        }
    }

    #[test]
    fn the_kernel_answers_or_has_no_such_family() {
        let mut queues = vec![QueueCounters::new(Direction::Rx, 9)];
        if let Ok(mut statistics) = QueueStats::open(1) {
            // The loopback interface has no queue statistics.
            let _ = statistics.read(&mut queues);
            assert!(queues.is_empty(), "{queues:?}");
        }
    }
}
