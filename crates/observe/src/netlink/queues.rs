//! Which NAPI instance serves a queue, and which interrupt that has: generic netlink family `netdev`, requests
//! `queue-get` and `napi-get` (Linux 6.8, kernel `Documentation/netlink/specs/netdev.yaml`).

use std::io;

use linerate_netlink::generic::{self, HEADER_BYTES};
use linerate_netlink::message::{attribute, put, unsigned};

use crate::queues::Direction;

const QUEUE_GET: u8 = 10;
const QUEUE_ID: u16 = 1;
const QUEUE_INTERFACE: u16 = 2;
const QUEUE_TYPE: u16 = 3;
const QUEUE_NAPI: u16 = 4;
const NAPI_GET: u8 = 11;
const NAPI_INTERFACE: u16 = 1;
const NAPI_ID: u16 = 2;
const NAPI_IRQ: u16 = 3;

/// A queue and its NAPI instance. Null: the driver does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Received or sent.
    pub direction: Direction,
    /// Number of the queue.
    pub queue: u32,
    /// Id of the NAPI instance.
    pub napi: Option<u32>,
}

/// A NAPI instance and its interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Napi {
    /// Its id.
    pub id: u32,
    /// Number of its interrupt; null when the driver does not tell.
    pub irq: Option<u32>,
}

/// The queues and the NAPI instances of an interface.
///
/// # Errors
/// The kernel's reason; kernels before 6.8 have no such requests.
pub fn read(interface: u32) -> io::Result<(Vec<Queue>, Vec<Napi>)> {
    let (mut socket, family) = generic::open(b"netdev\0")?;
    let request = |command: u8, attribute: u16| {
        let mut request = vec![command, 1, 0, 0];
        put(&mut request, attribute, &interface.to_ne_bytes());
        request
    };
    let (mut queues, mut instances) = (Vec::new(), Vec::new());
    socket.list(family, &request(QUEUE_GET, QUEUE_INTERFACE), &mut queues, queue)?;
    socket.list(family, &request(NAPI_GET, NAPI_INTERFACE), &mut instances, napi)?;
    Ok((queues, instances))
}

fn number(body: &[u8], kind: u16) -> Option<u32> {
    unsigned(attribute(body, HEADER_BYTES, kind)?)?.try_into().ok()
}

/// One queue of the answer.
pub fn queue(body: &[u8]) -> Option<Queue> {
    let direction = match number(body, QUEUE_TYPE)? {
        0 => Direction::Rx,
        1 => Direction::Tx,
        _ => return None,
    };
    Some(Queue { direction, queue: number(body, QUEUE_ID)?, napi: number(body, QUEUE_NAPI) })
}

/// One NAPI instance of the answer.
pub fn napi(body: &[u8]) -> Option<Napi> {
    Some(Napi { id: number(body, NAPI_ID)?, irq: number(body, NAPI_IRQ) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_and_instances_are_read_and_damage_is_not() {
        let mut body = vec![0; HEADER_BYTES];
        for (kind, value) in [(QUEUE_ID, 3u32), (QUEUE_TYPE, 1), (QUEUE_NAPI, 8193)] {
            put(&mut body, kind, &value.to_ne_bytes());
        }
        assert_eq!(queue(&body), Some(Queue { direction: Direction::Tx, queue: 3, napi: Some(8193) }));
        for length in 0..body.len() {
            let _ = (queue(&body[..length]), napi(&body[..length]));
        }
        let mut body = vec![0; HEADER_BYTES];
        put(&mut body, NAPI_ID, &8193u32.to_ne_bytes());
        assert_eq!(napi(&body), Some(Napi { id: 8193, irq: None }));
        put(&mut body, NAPI_IRQ, &38u32.to_ne_bytes());
        assert_eq!(napi(&body), Some(Napi { id: 8193, irq: Some(38) }));
        assert_eq!(queue(&body), None);
    }

    #[test]
    fn the_kernel_answers_or_has_no_such_request() {
        // The loopback interface has queues without instances that have interrupts.
        if let Ok((_, instances)) = read(1) {
            assert!(instances.iter().all(|napi| napi.irq.is_none()), "{instances:?}");
        }
        assert!(read(u32::MAX).is_err());
    }
}
