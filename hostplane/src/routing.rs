//! The kernel's routing socket (`rtnetlink(7)`): the route to an address, and the queueing disciplines of an
//! interface. Needs no privilege.

use std::io;
use std::net::IpAddr;

use linerate_netlink::Socket;
use linerate_netlink::message::{attribute, long, number};
use linerate_netlink::route::{self, MATCH_ENTRY};
use rustix::net::netdevice;
use serde::{Deserialize, Serialize};

const GET_QDISC: u16 = 38;
/// `struct tcmsg`.
const HEADER_BYTES: usize = 20;
/// Attributes of a queueing discipline.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const STATISTICS: u16 = 7;
const STATISTICS_OF_QUEUE: u16 = 3;
const TBF_PARAMETERS: u16 = 1;
const TBF_RATE_64: u16 = 4;
/// Handle of the interface itself.
const ROOT: u32 = u32::MAX;

/// What the kernel says where no entry leads.
const NO_ROUTE: [io::ErrorKind; 2] = [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable];

/// Packets whose route is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packets<'a> {
    pub(crate) to: IpAddr,
    /// Their source; `None`: the kernel's choice.
    pub(crate) from: Option<IpAddr>,
    /// The interface that their socket is bound to.
    pub(crate) through: Option<&'a str>,
}

/// A route to the other end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Route {
    /// Interface, by its name.
    pub(crate) interface: Option<String>,
    /// Router; null when the address is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// Local address of packets.
    pub(crate) source: Option<IpAddr>,
    /// MTU that the route itself sets, or that the kernel has learnt for it; null: the interface's.
    pub(crate) mtu: Option<u32>,
}

/// A queueing discipline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// Its kind, such as `fq_codel` or `tbf`.
    pub(crate) kind: String,
    /// True for the one that all packets pass first.
    pub(crate) root: bool,
    /// Bits per second to which it limits the interface; null when it does not, or is not known to.
    pub(crate) rate_bps: Option<u64>,
    /// Packets that it dropped.
    pub(crate) drops: Option<u64>,
    /// Times that it held packets back.
    pub(crate) overlimits: Option<u64>,
}

/// A socket to the kernel.
#[derive(Debug)]
pub(crate) struct Routing(Socket);

impl Routing {
    pub(crate) fn open() -> io::Result<Self> {
        Socket::open(None).map(Self)
    }

    /// The route of packets.
    pub(crate) fn route(&mut self, packets: &Packets<'_>) -> io::Result<Route> {
        let route::Route { interface, gateway, source, mtu, .. } =
            self.ask(packets, 0)?.ok_or(io::ErrorKind::InvalidData)?;
        let interface = interface.and_then(|index| netdevice::index_to_name(&self.0, index).ok());
        Ok(Route { interface, gateway, source, mtu })
    }

    /// True when an entry of the kernel's tables leads packets on their way. Without one, the kernel takes the destination of a
    /// socket that is bound to an interface to be on its link (IPv4).
    ///
    /// For IPv6 packets with a source, the kernel takes the interface of a request for a wish and may answer with an entry of
    /// another one; without a source it is as strict as for a bound socket, and leaves out rules on sources. Either will do.
    pub(crate) fn has_entry(&mut self, packets: &Packets<'_>) -> io::Result<bool> {
        let Some(entry) = self.entry(packets)? else { return Ok(false) };
        let Some(name) = packets.through.filter(|_| packets.to.is_ipv6() && packets.from.is_some()) else {
            return Ok(true);
        };
        let is_other = match entry.interface {
            Some(index) => index != netdevice::name_to_index(&self.0, name)?,
            None => false,
        };
        Ok(!is_other || self.entry(&Packets { from: None, ..*packets })?.is_some())
    }

    /// The entry that leads packets on their way.
    fn entry(&mut self, packets: &Packets<'_>) -> io::Result<Option<route::Route>> {
        match self.ask(packets, MATCH_ENTRY) {
            Err(error) if NO_ROUTE.contains(&error.kind()) => Ok(None),
            answer => answer,
        }
    }

    fn ask(&mut self, packets: &Packets<'_>, flags: u32) -> io::Result<Option<route::Route>> {
        let Packets { to, from, through } = *packets;
        let through = through.map(|name| netdevice::name_to_index(&self.0, name)).transpose()?;
        route::ask(&mut self.0, route::Packets { to, from, through }, flags)
    }

    /// The queueing disciplines of an interface.
    pub(crate) fn queues(&mut self, interface: &str) -> io::Result<Vec<Queue>> {
        let index = netdevice::name_to_index(&self.0, interface)?;
        let mut request = [0; HEADER_BYTES];
        request[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut queues = Vec::new();
        self.0.list(GET_QDISC, &request, &mut queues, |body| parse_queue(body, index))?;
        Ok(queues)
    }
}

/// A queueing discipline of the interface `index`. Kernels list those of all interfaces.
fn parse_queue(body: &[u8], index: u32) -> Option<Queue> {
    let (of, parent) = (number(body, 4)?, number(body, 12)?);
    let kind = attribute(body, HEADER_BYTES, KIND).filter(|_| of == index)?;
    let kind = String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned();
    let of_queue = attribute(body, HEADER_BYTES, STATISTICS)
        .and_then(|statistics| attribute(statistics, 0, STATISTICS_OF_QUEUE));
    // Packets and bytes that wait stand first (`struct gnet_stats_queue`).
    let statistic = |at| of_queue.and_then(|bytes| number(bytes, at)).map(u64::from);
    let rate_bps = attribute(body, HEADER_BYTES, OPTIONS).filter(|_| kind == "tbf").and_then(tbf_rate);
    Some(Queue { root: parent == ROOT, rate_bps, drops: statistic(8), overlimits: statistic(16), kind })
}

/// Bits per second of a token bucket (`struct tc_tbf_qopt`, `struct tc_ratespec`).
fn tbf_rate(options: &[u8]) -> Option<u64> {
    let long = attribute(options, 0, TBF_RATE_64).and_then(|value| long(value, 0));
    let short = attribute(options, 0, TBF_PARAMETERS).and_then(|value| number(value, 8)).map(u64::from);
    long.filter(|rate| *rate > 0).or(short).map(|bytes| bytes.saturating_mul(8))
}

#[cfg(test)]
mod tests {
    use linerate_netlink::message::put;

    use super::*;

    fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, kind, value);
        bytes
    }

    #[test]
    fn the_rate_of_a_token_bucket_is_read() {
        let mut parameters = vec![0; 36];
        parameters[8..12].copy_from_slice(&12_500_000u32.to_ne_bytes());
        let mut body = vec![0; 20];
        body[4..8].copy_from_slice(&3u32.to_ne_bytes());
        body[12..16].copy_from_slice(&ROOT.to_ne_bytes());
        body.extend(attribute_bytes(KIND, b"tbf\0"));
        body.extend(attribute_bytes(OPTIONS, &attribute_bytes(TBF_PARAMETERS, &parameters)));
        let mut queue = [0; 20];
        queue[8..12].copy_from_slice(&5u32.to_ne_bytes());
        body.extend(attribute_bytes(STATISTICS, &attribute_bytes(STATISTICS_OF_QUEUE, &queue)));
        let parsed = parse_queue(&body, 3).unwrap();
        assert_eq!((parsed.kind.as_str(), parsed.root), ("tbf", true));
        assert_eq!((parsed.rate_bps, parsed.drops), (Some(100_000_000), Some(5)));
        assert_eq!(parse_queue(&body, 4), None, "another interface");
    }
}
