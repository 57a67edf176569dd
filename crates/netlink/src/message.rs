//! Messages and attributes as bytes. Pure.
//!
//! Numbers are in the machine's byte order, addresses in network order; messages and attributes are padded to
//! four bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flag of a request for all entries (`NLM_F_DUMP`).
pub(crate) const DUMP: u16 = 0x300;
/// Flag of a request that is to be acknowledged (`NLM_F_ACK`).
pub const ACKNOWLEDGE: u16 = 0x4;
/// Flag of a request that creates the entry if there is none (`NLM_F_CREATE`).
pub const CREATE: u16 = 0x400;
const REQUEST: u16 = 0x1;
/// Flag of an answer: the list changed while the kernel gave it out (`NLM_F_DUMP_INTR`).
const CHANGED: u16 = 0x10;

/// Kind of the message that has the outcome of a request (`NLMSG_ERROR`).
pub(crate) const ERROR: u16 = 2;
/// Kind of the message that ends a list (`NLMSG_DONE`).
pub(crate) const DONE: u16 = 3;

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// A message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// That of the request.
    pub sequence: u32,
    /// What it is.
    pub kind: u16,
    /// Part of a list that changed while the kernel gave it out: entries may be missing or be there twice.
    pub has_changed: bool,
    /// What follows the header.
    pub body: &'a [u8],
}

/// An attribute: its kind and its value.
pub type Attribute<'a> = (u16, &'a [u8]);

/// A request of this kind.
pub fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// Adds an attribute to a body. A value of 64 KiB or more does not fit into one, and is left out.
pub fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(ATTRIBUTE_HEADER_BYTES + value.len()) else { return };
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The messages of a datagram. What follows a damaged one is not read.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = number(rest, 0).map(|length| length as usize);
        let (part, next) = split(rest, HEADER_BYTES, length)?;
        rest = next;
        Some(Message {
            sequence: number(part, 8)?,
            kind: short(part, 4)?,
            has_changed: short(part, 6)? & CHANGED != 0,
            body: part.get(HEADER_BYTES..)?,
        })
    })
}

/// Attributes behind a header of so many bytes. What follows a damaged one is not read.
pub fn attributes(body: &[u8], header_bytes: usize) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = body.get(header_bytes..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = short(rest, 0).map(usize::from);
        let (part, next) = split(rest, ATTRIBUTE_HEADER_BYTES, length)?;
        rest = next;
        // The highest bits of a kind are flags.
        Some((short(part, 2)? & 0x3fff, part.get(ATTRIBUTE_HEADER_BYTES..)?))
    })
}

/// The value of the first attribute of this kind, behind a header of so many bytes.
pub fn attribute(body: &[u8], header_bytes: usize, kind: u16) -> Option<&[u8]> {
    attributes(body, header_bytes).find(|(known, _)| *known == kind).map(|(_, value)| value)
}

/// The first part of a sequence whose elements begin with their length, and the rest after its padding.
fn split(bytes: &[u8], header: usize, length: Option<usize>) -> Option<(&[u8], &[u8])> {
    let length = length.filter(|length| *length >= header)?;
    let part = bytes.get(..length)?;
    Some((part, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// 16 bits at a place.
pub fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// 32 bits at a place.
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// 64 bits at a place.
pub fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// A value of 32 or 64 bits.
pub fn unsigned(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => number(value, 0).map(u64::from),
        8 => long(value, 0),
        _ => None,
    }
}

/// The address family of an IP version (`AF_INET`, `AF_INET6`).
pub fn family(address: IpAddr) -> u8 {
    if address.is_ipv6() { 10 } else { 2 }
}

/// An address as a value.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The address that a value is; its length says which IP version.
pub fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        16 => value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_end_at_damage() {
        let mut body = Vec::new();
        put(&mut body, 3, &[1, 2, 3]);
        put(&mut body, 0x8004, &7u32.to_ne_bytes());
        let bytes = [request(9, DUMP, 5, &body), request(DONE, CHANGED, 5, &[])].concat();
        let seen: Vec<_> = messages(&bytes).map(|one| (one.sequence, one.kind, one.has_changed)).collect();
        assert_eq!(seen, [(5, 9, false), (5, DONE, true)]);
        let body = messages(&bytes).next().unwrap().body;
        let whole = [(3, &[1, 2, 3][..]), (4, &7u32.to_ne_bytes()[..])];
        assert_eq!(attributes(body, 0).collect::<Vec<_>>(), whole);
        assert_eq!(attributes(body, 8).collect::<Vec<_>>(), whole[1..]);
        assert_eq!((attribute(body, 0, 4), attribute(body, 8, 3)), (Some(whole[1].1), None));
        for length in 0..bytes.len() {
            assert!(messages(&bytes[..length]).count() <= 2);
            assert!(attributes(&bytes[..length], 0).count() < bytes.len());
        }
        assert_eq!(attributes(&[0; 64], 0).count(), 0, "no endless loop");
        assert_eq!(messages(&[0; 64]).count(), 0, "no endless loop");
        assert_eq!(attributes(&[0; 4], 5).count(), 0, "no header");
    }

    #[test]
    fn a_value_that_does_not_fit_is_left_out() {
        let mut body = Vec::new();
        put(&mut body, 1, &vec![1; 65_532]);
        assert!(body.is_empty());
        put(&mut body, 1, &vec![1; 65_531]);
        assert_eq!(attribute(&body, 0, 1).map(<[u8]>::len), Some(65_531));
    }

    #[test]
    fn addresses_are_as_they_were_written() {
        for text in ["10.0.0.1", "fe80::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(address(&octets(ip)), Some(ip));
        }
        assert_eq!((address(&[1; 5]), unsigned(&[1; 5])), (None, None));
    }
}
