//! AF_XDP takes frames queue by queue: what arrives on a queue that no port has stays with the kernel.

use std::fmt;

use linerate_wire::port::PortInfo;

use crate::dpdk::channels::Channels;
use crate::eal_args::AF_XDP;

/// Most queues that a port takes if the user chose none: each has 6,000 buffers of its own.
const MOST_BY_DEFAULT: u16 = 8;

/// The kernel's interface of an AF_XDP port.
#[derive(Debug)]
pub(super) struct XdpInterface {
    name: String,
    channels: Channels,
    /// Queues that the port may have.
    port_queues: u16,
}

/// Error: some receive queues of the interface are not the port's, and their frames stay with the kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LeftQueues {
    interface: String,
    queues: u32,
    opened: u32,
    combined: u32,
}

impl XdpInterface {
    /// That of the port; `None` for other drivers, and where the kernel tells no queues.
    pub(super) fn of(port: &PortInfo) -> Option<Self> {
        let name = port.interface.as_ref().filter(|_| port.driver == AF_XDP)?.name.clone();
        let channels = Channels::of(&name)?;
        Some(Self { name, channels, port_queues: port.max_rx_queues })
    }

    /// Receive queues of a port whose user chose none: all, unless they are many.
    pub(super) fn default_queues(&self) -> Option<u16> {
        Some(self.port_queues).filter(|queues| (1..=MOST_BY_DEFAULT).contains(queues))
    }

    /// The error for a port that opened so many queues, if the interface has more. There is none for a user who chose the queues:
    /// frames are steered to them.
    pub(super) fn left(self, opened: usize, is_chosen: bool) -> Option<LeftQueues> {
        let Channels { receive: queues, combined } = self.channels;
        let opened = opened as u32;
        if queues <= opened {
            return None;
        }
        let left = LeftQueues { interface: self.name, queues, opened, combined };
        // The port was told of all combined queues, unless the user named some.
        if is_chosen || (combined > 0 && u32::from(self.port_queues) != combined) {
            tracing::warn!("{left}");
            return None;
        }
        Some(left)
    }
}

impl fmt::Display for LeftQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, queues, opened, combined } = self;
        write!(
            f,
            "interface {interface} has {queues} receive queues, and AF_XDP takes frames from {opened} of them: those on the others would stay \
             with the kernel and count as lost\n  remedy: "
        )?;
        match combined {
            0 => write!(f, "ethtool -L {interface} rx 1 tx 1"),
            _ => write!(f, "ethtool -L {interface} combined {opened}, or --rxq {queues}"),
        }?;
        write!(f, "; where frames are steered to the port's queues, --rxq {opened} says so")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(receive: u32, combined: u32, port_queues: u16) -> XdpInterface {
        XdpInterface { name: "eth0".to_owned(), channels: Channels { receive, combined }, port_queues }
    }

    #[test]
    fn a_port_takes_all_of_a_few_queues() {
        for (port_queues, default_queues) in [(1, Some(1)), (8, Some(8)), (9, None), (64, None)] {
            assert_eq!(interface(64, 64, port_queues).default_queues(), default_queues);
        }
    }

    #[test]
    fn queues_that_nobody_takes_are_an_error_unless_they_were_chosen() {
        let left = |(receive, combined, port_queues), opened, is_chosen| {
            interface(receive, combined, port_queues).left(opened, is_chosen)
        };
        // All are taken; the user said which.
        assert_eq!(left((4, 4, 4), 4, false), None);
        assert_eq!(left((4, 4, 2), 2, false), None);
        assert_eq!(left((64, 64, 64), 2, true), None);
        let many = left((64, 64, 64), 2, false).unwrap().to_string();
        assert!(many.contains("has 64 receive queues") && many.contains("combined 2, or --rxq 64"), "{many}");
        let veth = left((3, 0, 1), 1, false).unwrap().to_string();
        assert!(
            veth.contains("has 3 receive queues") && veth.contains("ethtool -L eth0 rx 1 tx 1;"),
            "{veth}"
        );
    }
}
