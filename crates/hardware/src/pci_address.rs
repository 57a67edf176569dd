//! PCI addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A PCI address as sysfs writes it: `0000:03:02.0`, that is domain, bus, device, function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Error: the text is not a PCI address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{text:?} is not a PCI address such as 0000:03:02.0")]
pub struct AddressError {
    /// The text, at most 40 characters of it.
    pub text: String,
}

impl FromStr for PciAddress {
    type Err = AddressError;

    /// Parses the full form and the short one without a domain (`03:02.0`), in either case.
    ///
    /// # Errors
    /// [`AddressError`] for any other text, including device numbers above 0x1f and functions above 7.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| AddressError { text: text.chars().take(40).collect() })
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.split_once(':').unwrap_or(("0000", rest));
    let address = PciAddress {
        // Domains of more than four digits exist: the kernel assigns them to devices behind VMD and
        // Hyper-V.
        domain: hex(domain, 4..=8)?,
        bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
        device: u8::try_from(hex(device, 2..=2)?).ok()?,
        function: u8::try_from(hex(function, 1..=1)?).ok()?,
    };
    (address.device < 32 && address.function < 8).then_some(address)
}

fn hex(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let clean = length.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if clean { u32::from_str_radix(digits, 16).ok() } else { None }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl Serialize for PciAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_or_refused() {
        for (text, address) in [
            ("0000:03:02.0", Some("0000:03:02.0")),
            ("03:02.0", Some("0000:03:02.0")),
            ("0000:AF:1F.7", Some("0000:af:1f.7")),
            ("10000:01:00.0", Some("10000:01:00.0")),
            ("0000:03:20.0", None),
            ("0000:03:02.8", None),
            ("0000:03:02", None),
            ("03.0", None),
            ("+000:03:02.0", None),
            ("0000:03:02.0/../..", None),
            ("é", None),
            ("", None),
        ] {
            let parsed = text.parse::<PciAddress>().ok().map(|address| address.to_string());
            assert_eq!(parsed.as_deref(), address, "{text:?}");
        }
    }
}
