//! Counters of an interface (`RTM_GETLINK`, `struct rtnl_link_stats64`), whatever namespace `/sys` belongs
//! to.

use std::io;

use linerate_netlink::Socket;
use linerate_netlink::message::{attribute, long, put};

use crate::procfs::interfaces::InterfaceCounters;

const GET_LINK: u16 = 18;
/// `struct ifinfomsg`.
const HEADER_BYTES: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;

/// A routing socket that asks for one interface.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    request: Vec<u8>,
}

impl Link {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open(interface: &str) -> io::Result<Self> {
        let mut request = vec![0; HEADER_BYTES];
        put(&mut request, IFLA_IFNAME, &[interface.as_bytes(), &[0]].concat());
        Ok(Self { socket: Socket::open(None)?, request })
    }

    /// The interface's counters.
    ///
    /// # Errors
    /// The kernel's reason, such as that there is no such interface.
    pub fn counters(&mut self) -> io::Result<InterfaceCounters> {
        let Self { socket, request } = self;
        let mut counters = None;
        socket.ask(GET_LINK, 0, request, |body| counters = parse(body))?;
        counters.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// The counters in the answer.
pub fn parse(body: &[u8]) -> Option<InterfaceCounters> {
    let statistics = attribute(body, HEADER_BYTES, IFLA_STATS64)?;
    let field = |place: usize| long(statistics, 8 * place);
    Some(InterfaceCounters {
        rx_packets: field(0)?,
        tx_packets: field(1)?,
        rx_bytes: field(2)?,
        tx_bytes: field(3)?,
        rx_errors: field(4)?,
        tx_errors: field(5)?,
        rx_dropped: field(6)?,
        tx_dropped: field(7)?,
        rx_missed: field(15),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_counted() {
        let mut link = Link::open("lo").unwrap();
        let before = link.counters().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[0; 100], socket.local_addr().unwrap()).unwrap();
        let passed = link.counters().unwrap().since(&before).unwrap();
        assert!(passed.rx_packets >= 1 && passed.rx_bytes >= 100 && passed.tx_bytes >= 100, "{passed:?}");
        assert!(passed.rx_missed.is_some());
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(Link::open("nothere0").unwrap().counters().is_err());
        assert!(Link::open("a-name-that-is-much-too-long").unwrap().counters().is_err());
    }

    #[test]
    fn fields_are_found_by_their_place() {
        let mut statistics = Vec::new();
        (1..=25u64).for_each(|value| statistics.extend(value.to_ne_bytes()));
        let mut body = vec![0; HEADER_BYTES];
        put(&mut body, IFLA_STATS64, &statistics);
        let counters = parse(&body).unwrap();
        assert_eq!(
            (counters.rx_packets, counters.tx_packets, counters.rx_dropped, counters.tx_dropped),
            (1, 2, 7, 8)
        );
        assert_eq!((counters.rx_errors, counters.tx_errors, counters.rx_missed), (5, 6, Some(16)));
        for length in 0..body.len() {
            let _ = parse(&body[..length]);
        }
    }
}
