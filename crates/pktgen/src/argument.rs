//! Arguments of a script's calls, parsed as numbers, addresses and ports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use linerate_traffic::mac::MacAddr;

/// Largest length of a value in a message, in characters.
const SHOWN: usize = 40;
/// Largest number of Pktgen's ports.
const PORTS: u16 = 256;

/// A line of the script. It is ignored in comparisons, because the same settings may come from several lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At(pub(super) Option<usize>);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Argument {
    Number(f64),
    Text(String),
    /// The named fields of a table.
    Table(BTreeMap<String, Argument>),
    /// A value of another type, with the type's name.
    Other(&'static str),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Number(number) => write!(f, "{number}"),
            Argument::Other(kind) => f.write_str(kind),
            Argument::Table(_) => f.write_str("table"),
            Argument::Text(text) if text.chars().count() > SHOWN => {
                write!(f, "\"{}…\"", text.chars().take(SHOWN).collect::<String>())
            }
            Argument::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

/// Ports of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ports {
    All,
    Listed(Vec<u16>),
}

impl Argument {
    /// The text, without surrounding blanks.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Argument::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// Parses ports: `"0"`, `0`, `"0,2"`, `"0-3"` or `"all"`.
    pub(super) fn ports(&self) -> Result<Ports, String> {
        let wrong =
            || format!("{self} is no port; give a number such as \"0\", a list such as \"0,1\", or \"all\"");
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port < PORTS);
        match self {
            Argument::Number(_) => {
                Ok(Ports::Listed(vec![self.whole("port", 0, u64::from(PORTS) - 1)? as u16]))
            }
            Argument::Text(text) if text.trim() == "all" => Ok(Ports::All),
            Argument::Text(text) => {
                let mut ports = Vec::new();
                for part in text.split(',') {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    let (first, last) = port(first).zip(port(last)).ok_or_else(wrong)?;
                    ports.extend(first..=last);
                }
                if ports.is_empty() { Err(wrong()) } else { Ok(Ports::Listed(ports)) }
            }
            Argument::Other(_) | Argument::Table(_) => Err(wrong()),
        }
    }

    /// Parses a number, also a quoted one.
    pub(super) fn number(&self, what: &str) -> Result<f64, String> {
        let number = match self {
            Argument::Number(number) => Some(*number),
            Argument::Text(text) => text.trim().parse().ok(),
            Argument::Other(_) | Argument::Table(_) => None,
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| format!("{what} {self} is no number"))
    }

    /// Parses a whole number from `first` to `last`.
    pub(super) fn whole(&self, what: &str, first: u64, last: u64) -> Result<u64, String> {
        let number = self.number(what)?;
        if number.fract() == 0.0 && number >= first as f64 && number <= last as f64 {
            Ok(number as u64)
        } else {
            Err(format!("{what} {self} is not a whole number from {first} to {last}"))
        }
    }

    /// Parses an IPv4 or IPv6 address, also one with a prefix length.
    pub(super) fn ip(&self, what: &str) -> Result<IpAddr, String> {
        let address = self.text().and_then(|text| match text.split_once('/') {
            None => text.parse().ok(),
            Some((address, length)) => {
                let address: IpAddr = address.parse().ok()?;
                let longest = if address.is_ipv4() { 32 } else { 128 };
                length.parse::<u8>().ok().filter(|length| *length <= longest).map(|_| address)
            }
        });
        address.ok_or_else(|| format!("{what} {self} is no IP address such as \"192.168.1.1\""))
    }

    /// Parses an IPv4 address, also one with a prefix length.
    pub(super) fn ipv4(&self, what: &str) -> Result<Ipv4Addr, String> {
        match self.ip(what)? {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(format!(
                "{what} {self}: ranges of IPv6 addresses cannot be imported; write the profile by hand, with vary"
            )),
        }
    }

    /// Parses an Ethernet address: `02:00:00:00:00:01`, or Pktgen's other form, `0200:0000:0001`.
    pub(super) fn mac(&self, what: &str) -> Result<MacAddr, String> {
        let read = |text: &str| {
            let quads: Vec<&str> = text.split(':').collect();
            let by_quads = quads.len() == 3 && quads.iter().all(|quad| quad.len() == 4 && quad.is_ascii());
            if by_quads {
                let octets: Vec<String> =
                    quads.iter().map(|quad| format!("{}:{}", &quad[..2], &quad[2..])).collect();
                octets.join(":").parse().ok()
            } else {
                text.parse().ok()
            }
        };
        self.text()
            .and_then(read)
            .ok_or_else(|| format!("{what} {self} is no Ethernet address such as \"02:00:00:00:00:01\""))
    }

    /// Parses one of `words`, ignoring case.
    pub(super) fn word<'w>(&self, what: &str, words: &[&'w str]) -> Result<&'w str, String> {
        let given = self.text().unwrap_or_default();
        words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(given))
            .copied()
            .ok_or_else(|| format!("{what} {self} is not one of {}", words.join(", ")))
    }

    /// Parses Pktgen's words for on and off.
    pub(super) fn switch(&self, what: &str) -> Result<bool, String> {
        let on = ["on", "enable", "true"];
        self.word(what, &["on", "enable", "true", "off", "disable", "false"]).map(|word| on.contains(&word))
    }
}

/// The differentiated services code point of a type-of-service byte.
pub(super) fn dscp(tos: &Argument) -> Result<u8, String> {
    let byte = tos.whole("tos", 0, 255)?;
    if byte % 4 == 0 {
        Ok((byte / 4) as u8)
    } else {
        Err(format!(
            "tos {byte} sets ECN bits, which a profile leaves 0; give {} (DSCP {})",
            byte & !3,
            byte / 4
        ))
    }
}
