//! `/proc/net/dev`: counters of the interfaces of the reader's network namespace.

use std::fmt;

use super::Content;
use crate::bytes::{decimal, lines, words};
use crate::counter::since;

/// Name of an interface: at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Name([u8; 16]);

impl Name {
    /// A name; `None` when it is empty or longer than the kernel's names.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut name = [0; 16];
        name.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (!bytes.is_empty() && bytes.len() < name.len() && !bytes.contains(&0)).then_some(Self(name))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Counters of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets that arrived and were dropped. `/proc/net/dev` adds those that the device had no room for.
    pub rx_dropped: u64,
    /// Packets that the device had no room for; `None` where they are part of `rx_dropped`.
    pub rx_missed: Option<u64>,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets not sent for an error.
    pub tx_errors: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
}

impl InterfaceCounters {
    /// Counts since `then`; `None` when a counter was set back.
    pub fn since(&self, then: &Self) -> Option<Self> {
        Some(Self {
            rx_packets: since(self.rx_packets, then.rx_packets)?,
            rx_bytes: since(self.rx_bytes, then.rx_bytes)?,
            rx_errors: since(self.rx_errors, then.rx_errors)?,
            rx_dropped: since(self.rx_dropped, then.rx_dropped)?,
            rx_missed: match (self.rx_missed, then.rx_missed) {
                (Some(now), Some(then)) => Some(since(now, then)?),
                _ => None,
            },
            tx_packets: since(self.tx_packets, then.tx_packets)?,
            tx_bytes: since(self.tx_bytes, then.tx_bytes)?,
            tx_errors: since(self.tx_errors, then.tx_errors)?,
            tx_dropped: since(self.tx_dropped, then.tx_dropped)?,
        })
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    /// The interfaces, in the kernel's order.
    pub list: Vec<(Name, InterfaceCounters)>,
}

impl Interfaces {
    /// Counters of an interface.
    pub fn get(&self, name: Name) -> Option<&InterfaceCounters> {
        self.list.iter().find(|(known, _)| *known == name).map(|(_, counters)| counters)
    }
}

impl Content for Interfaces {
    const PATH: &'static str = "proc/net/dev";

    fn parse(&mut self, bytes: &[u8], _before: Option<&Self>) -> Result<(), &'static str> {
        const EXPECTED: &str =
            "expected two lines of titles, and a name with sixteen numbers for each interface";
        self.list.clear();
        let mut lines = lines(bytes);
        if lines.by_ref().take(2).filter(|line| line.contains(&b'|')).count() < 2 {
            return Err(EXPECTED);
        }
        for line in lines {
            // A name may contain colons, and the numbers may follow without a space.
            let colon = line.iter().rposition(|byte| *byte == b':').ok_or(EXPECTED)?;
            let name = line.get(..colon).and_then(|name| Name::new(name.trim_ascii())).ok_or(EXPECTED)?;
            let mut numbers = [0; 16];
            let mut words = words(line.get(colon + 1..).unwrap_or_default());
            for number in &mut numbers {
                *number = words.next().and_then(decimal).ok_or(EXPECTED)?;
            }
            let [
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                _,
                _,
                _,
                _,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
                ..,
            ] = numbers;
            let rx_missed = None;
            self.list.push((
                name,
                InterfaceCounters {
                    rx_packets,
                    rx_bytes,
                    rx_errors,
                    rx_dropped,
                    rx_missed,
                    tx_packets,
                    tx_bytes,
                    tx_errors,
                    tx_dropped,
                },
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_and_aliases_are_read() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n    lo:  10  1 0 0 0 0 0 0  20 2 0 0 0 0 0 0\n\
                    eth0:1:999999 7 1 2 0 0 0 0 30 3 4 5 0 0 0 0\n";
        let mut interfaces = Interfaces::default();
        interfaces.parse(text.as_bytes(), None).unwrap();
        let counters = interfaces.get(Name::new(b"eth0:1").unwrap()).unwrap();
        assert_eq!(
            (counters.rx_bytes, counters.rx_packets, counters.rx_errors, counters.rx_dropped),
            (999_999, 7, 1, 2)
        );
        assert_eq!(
            (counters.tx_bytes, counters.tx_packets, counters.tx_errors, counters.tx_dropped),
            (30, 3, 4, 5)
        );
        assert_eq!(interfaces.list[0].0.to_string(), "lo");
        let again = InterfaceCounters { rx_packets: 2, ..*counters };
        assert_eq!(again.since(counters), None, "the interface was made again");
    }

    #[test]
    fn another_form_is_refused() {
        for bad in [
            "",
            "lo: 1 2 3\n",
            "|\n|\nlo: 1 2\n",
            "|\n|\nlo 1 2\n",
            "|\n|\n: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        ] {
            assert!(Interfaces::default().parse(bad.as_bytes(), None).is_err(), "{bad:?}");
        }
        assert!(Name::new(b"0123456789abcdef").is_none());
    }
}
