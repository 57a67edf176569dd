//! `/proc/net/snmp` and `/proc/net/netstat`: counters of IP, UDP and TCP of the reader's network namespace
//! (kernel `Documentation/networking/snmp_counter.rst`).

use super::Content;
use crate::bytes::{decimal, lines, words};
use crate::counter::since;

/// The counters of one file, `None` where the kernel does not list it.
type Counts<const N: usize> = [Option<u64>; N];

/// Counters of `/proc/net/snmp`: the group, and the name in it. Together they are what nstat prints.
pub const SNMP: [(&str, &str); 18] = [
    ("Ip", "InReceives"),
    ("Ip", "InDiscards"),
    ("Ip", "OutRequests"),
    ("Ip", "OutDiscards"),
    ("Ip", "OutNoRoutes"),
    ("Ip", "ReasmFails"),
    ("Tcp", "InSegs"),
    ("Tcp", "OutSegs"),
    ("Tcp", "RetransSegs"),
    ("Tcp", "InErrs"),
    ("Tcp", "OutRsts"),
    ("Udp", "InDatagrams"),
    ("Udp", "NoPorts"),
    ("Udp", "InErrors"),
    ("Udp", "OutDatagrams"),
    ("Udp", "RcvbufErrors"),
    ("Udp", "SndbufErrors"),
    ("Udp", "InCsumErrors"),
];

/// Counters of `/proc/net/netstat`.
pub const NETSTAT: [(&str, &str); 8] = [
    ("TcpExt", "ListenOverflows"),
    ("TcpExt", "ListenDrops"),
    ("TcpExt", "TCPLostRetransmit"),
    ("TcpExt", "TCPTimeouts"),
    ("TcpExt", "TCPBacklogDrop"),
    ("TcpExt", "TCPRcvQDrop"),
    ("TcpExt", "PruneCalled"),
    ("TcpExt", "TCPZeroWindowDrop"),
];

/// Counters of `/proc/net/snmp6`.
pub const SNMP6: [&str; 9] = [
    "Ip6InReceives",
    "Ip6InDiscards",
    "Ip6OutRequests",
    "Ip6OutDiscards",
    "Udp6InDatagrams",
    "Udp6InErrors",
    "Udp6OutDatagrams",
    "Udp6RcvbufErrors",
    "Udp6SndbufErrors",
];

/// `/proc/net/snmp`, by the places of [`SNMP`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snmp(pub Counts<{ SNMP.len() }>);

/// `/proc/net/netstat`, by the places of [`NETSTAT`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Netstat(pub Counts<{ NETSTAT.len() }>);

/// `/proc/net/snmp6`, by the places of [`SNMP6`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snmp6(pub Counts<{ SNMP6.len() }>);

impl Snmp {
    /// Counts of `group` and `name` since `then`.
    pub fn since(&self, then: &Self, group: &str, name: &str) -> Option<u64> {
        let place = SNMP.iter().position(|known| *known == (group, name))?;
        since(self.0[place]?, then.0[place]?)
    }
}

impl Snmp6 {
    /// Counts of `name` since `then`.
    pub fn since(&self, then: &Self, name: &str) -> Option<u64> {
        let place = SNMP6.iter().position(|known| *known == name)?;
        since(self.0[place]?, then.0[place]?)
    }
}

/// Every group has a line of names and a line of values.
fn pairs<const N: usize>(
    bytes: &[u8],
    names: &[(&str, &str); N],
    counts: &mut Counts<N>,
) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected a line of names and a line of values for each protocol";
    *counts = [None; N];
    let mut lines = lines(bytes);
    let mut any = false;
    while let Some(titles) = lines.next() {
        let values = lines.next().ok_or(EXPECTED)?;
        let (mut titles, mut values) = (words(titles), words(values));
        let group = titles.next().and_then(|word| word.strip_suffix(b":")).ok_or(EXPECTED)?;
        if values.next().and_then(|word| word.strip_suffix(b":")) != Some(group) {
            return Err(EXPECTED);
        }
        any = true;
        for (title, value) in titles.zip(values) {
            let known = |(of, name): &(&str, &str)| of.as_bytes() == group && name.as_bytes() == title;
            if let Some(place) = names.iter().position(known) {
                counts[place] = decimal(value);
            }
        }
    }
    if any { Ok(()) } else { Err(EXPECTED) }
}

impl Content for Snmp {
    const PATH: &'static str = "proc/net/snmp";

    fn parse(&mut self, bytes: &[u8], _before: Option<&Self>) -> Result<(), &'static str> {
        pairs(bytes, &SNMP, &mut self.0)
    }
}

impl Content for Netstat {
    const PATH: &'static str = "proc/net/netstat";

    fn parse(&mut self, bytes: &[u8], _before: Option<&Self>) -> Result<(), &'static str> {
        pairs(bytes, &NETSTAT, &mut self.0)
    }
}

impl Content for Snmp6 {
    const PATH: &'static str = "proc/net/snmp6";

    fn parse(&mut self, bytes: &[u8], _before: Option<&Self>) -> Result<(), &'static str> {
        const EXPECTED: &str = "expected lines of a name and a number";
        self.0 = [None; SNMP6.len()];
        let mut any = false;
        for line in lines(bytes) {
            let mut words = words(line);
            let name = words.next().unwrap_or_default();
            let value = words.next().and_then(decimal);
            any |= value.is_some();
            if let Some(place) = SNMP6.iter().position(|known| name == known.as_bytes()) {
                self.0[place] = value;
            }
        }
        if any { Ok(()) } else { Err(EXPECTED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_counters_are_found_by_group_and_name() {
        let text = "Tcp: MaxConn RetransSegs\nTcp: -1 5\nUdp: InErrors RcvbufErrors New\nUdp: 3 2 9\nUdpLite: InErrors\nUdpLite: 7\n";
        let mut snmp = Snmp::default();
        snmp.parse(text.as_bytes(), None).unwrap();
        let zero = Snmp([Some(0); SNMP.len()]);
        assert_eq!(snmp.since(&zero, "Udp", "InErrors"), Some(3));
        assert_eq!(snmp.since(&zero, "Udp", "RcvbufErrors"), Some(2));
        assert_eq!(snmp.since(&zero, "Tcp", "RetransSegs"), Some(5));
        assert_eq!(snmp.since(&zero, "Udp", "SndbufErrors"), None, "an old kernel");
        assert_eq!(zero.since(&snmp, "Udp", "InErrors"), None, "set back");
        let mut six = Snmp6::default();
        six.parse(b"Udp6RcvbufErrors \t4\n", None).unwrap();
        assert_eq!((six.0[7], six.0[0]), (Some(4), None));
        let zero = Snmp6([Some(0); SNMP6.len()]);
        assert_eq!(six.since(&zero, "Udp6RcvbufErrors"), Some(4));
        assert_eq!(six.since(&zero, "Udp6InErrors"), None, "the kernel does not list it");
        assert!(six.parse(b"masked\n", None).is_err());
    }

    #[test]
    fn another_form_is_refused() {
        for bad in ["", "Udp: InErrors\n", "Udp: InErrors\nTcp: 1\n", "Udp InErrors\nUdp 1\n"] {
            assert!(Netstat::default().parse(bad.as_bytes(), None).is_err(), "{bad:?}");
        }
    }
}
