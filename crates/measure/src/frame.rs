//! Bytes of test frames: headers, probe, fill.
//!
//! A frame is rendered once per flow, before the trial; the loop copies the varying parts from it per packet
//! (see [`super::flows`]).
//!
//! | part | changes |
//! |---|---|
//! | Ethernet, optional VLAN tag, IPv4 or IPv6, UDP or TCP | with the flow, as far as the profile varies fields |
//! | lengths and IPv4 checksum | with the frame's size, when the profile mixes sizes |
//! | UDP or TCP checksum, probe | with every frame |
//! | fill | never |

use linerate_traffic::frame::FrameSize;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::probe::PROBE_BYTES;
use linerate_traffic::profile::field::{Field, Place, mac_bits, mac_of};
use linerate_traffic::profile::shape::Layer;
use linerate_traffic::profile::{IpVersion, Profile, Protocol, Shape};

use super::checksum;

/// Bytes of a buffer that may change per packet: all headers and the probe, with room for the widest store. A
/// frame may be shorter, a buffer is not.
pub const HEAD_BYTES: usize = 160;
/// The part of a buffer that varies.
pub type FrameHead = [u8; HEAD_BYTES];

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// EtherType of an IEEE 802.1Q tag.
pub const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
/// Version 4, header of five words.
pub const IPV4_VERSION_IHL: u8 = 0x45;
/// Don't Fragment.
const IPV4_FLAGS: [u8; 2] = [0x40, 0x00];
const TCP_DATA_OFFSET: u8 = 5 << 4;
const TCP_FLAG_ACK: u8 = 0x10;
const TCP_WINDOW: [u8; 2] = [0xff, 0xff];

/// Renders a profile's frames between two Ethernet addresses.
#[derive(Debug)]
pub struct Frames<'p> {
    profile: &'p Profile,
    shape: Shape,
    base: FrameHead,
    macs: (MacAddr, MacAddr),
}

/// The headers of one flow without the fields that depend on the frame's size, and their contributions to the
/// checksums.
#[derive(Debug, Clone, Copy)]
pub struct FlowHead {
    /// Headers; lengths and checksums are zero.
    pub bytes: FrameHead,
    /// Sum over the IP header; zero for IPv6, which has no checksum.
    pub ip_sum: u16,
    /// Sum over pseudo header and transport header.
    pub transport_sum: u16,
}

/// Fields that depend on the frame's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeTerms {
    /// Bytes handed to the port.
    pub frame_bytes: u16,
    /// IPv4 total length or IPv6 payload length.
    pub ip_length: u16,
    /// Bytes of transport header and payload.
    pub transport_length: u16,
    /// Contribution to the transport checksum: lengths and fill.
    pub transport_sum: u16,
}

impl<'p> Frames<'p> {
    /// Frames of `profile` from the port's address to the peer's, unless the profile sets its own addresses.
    pub fn new(profile: &'p Profile, port_mac: MacAddr, peer_mac: MacAddr) -> Self {
        let own = |field, other| profile.constant(field).map_or(other, mac_of);
        let macs = (own(Field::SourceMac, port_mac), own(Field::DestinationMac, peer_mac));
        let mut frames = Self { profile, shape: profile.shape(), base: [0; HEAD_BYTES], macs };
        frames.base = frames.constants();
        frames
    }

    /// Headers that the frames have.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    fn constants(&self) -> FrameHead {
        let shape = self.shape;
        let mut head = [0; HEAD_BYTES];
        let (ip, transport) = (shape.ip_at(), shape.transport_at());
        if shape.vlan {
            head[12..14].copy_from_slice(&ETHERTYPE_VLAN);
        }
        match shape.version {
            IpVersion::V4 => {
                head[ip - 2..ip].copy_from_slice(&ETHERTYPE_IPV4);
                head[ip] = IPV4_VERSION_IHL;
                head[ip + 6..ip + 8].copy_from_slice(&IPV4_FLAGS);
                head[ip + 9] = shape.protocol.number();
            }
            IpVersion::V6 => {
                head[ip - 2..ip].copy_from_slice(&ETHERTYPE_IPV6);
                head[ip] = 6 << 4;
                head[ip + 6] = shape.protocol.number();
            }
        }
        if shape.protocol == Protocol::Tcp {
            head[transport + 12] = TCP_DATA_OFFSET;
            head[transport + 13] = TCP_FLAG_ACK;
            head[transport + 14..transport + 16].copy_from_slice(&TCP_WINDOW);
        }
        for field in Field::ALL {
            self.set(&mut head, field, self.start(field));
        }
        head
    }

    /// Value of the field in the first flow.
    fn start(&self, field: Field) -> u128 {
        let sweep = self.profile.sweeps().iter().find(|sweep| sweep.field == field);
        sweep.and_then(|sweep| sweep.start).unwrap_or(match field {
            Field::SourceMac => mac_bits(self.macs.0),
            Field::DestinationMac => mac_bits(self.macs.1),
            _ => self.profile.constant(field).unwrap_or(0),
        })
    }

    fn set(&self, head: &mut FrameHead, field: Field, value: u128) {
        let Some(Place { layer, bit, bits }) = field.place(self.shape.version) else { return };
        if layer == Layer::Vlan && !self.shape.vlan {
            return;
        }
        set_bits(head, self.shape.layer_at(layer) * 8 + bit as usize, bits as usize, value);
    }

    /// The headers of flow `index`.
    pub fn flow(&self, index: u32) -> FlowHead {
        let mut bytes = self.base;
        for sweep in self.profile.sweeps() {
            self.set(&mut bytes, sweep.field, self.start(sweep.field).wrapping_add(sweep.offset(index)));
        }
        let (ip, transport) = (self.shape.ip_at(), self.shape.transport_at());
        let (ip_sum, addresses) = match self.shape.version {
            IpVersion::V4 => (checksum::sum(&bytes[ip..transport]), ip + 12),
            IpVersion::V6 => (0, ip + 8),
        };
        let pseudo = [
            checksum::sum(&bytes[addresses..transport]),
            checksum::sum(&[0, self.shape.protocol.number()]),
            checksum::sum(&bytes[transport..self.shape.probe_at()]),
        ];
        FlowHead {
            bytes,
            ip_sum: checksum::fold(ip_sum),
            transport_sum: checksum::fold(pseudo.into_iter().fold(0, checksum::add)),
        }
    }

    /// Fields that depend on the frame's size.
    pub fn size(&self, size: FrameSize) -> SizeTerms {
        let frame_bytes = size.port_bytes() as u16;
        let transport_length = frame_bytes - self.shape.transport_at() as u16;
        let ip_length = match self.shape.version {
            IpVersion::V4 => frame_bytes - self.shape.ip_at() as u16,
            IpVersion::V6 => transport_length,
        };
        let length = checksum::sum(&transport_length.to_be_bytes());
        let header_length = if self.shape.protocol == Protocol::Udp { length } else { 0 };
        let sums = [length, header_length, checksum::sum(&self.fill(size))];
        SizeTerms {
            frame_bytes,
            ip_length,
            transport_length,
            transport_sum: checksum::fold(sums.into_iter().fold(0, checksum::add)),
        }
    }

    /// The bytes after the probe.
    fn fill(&self, size: FrameSize) -> Vec<u8> {
        let mut fill = vec![0; size.port_bytes() as usize - self.shape.probe_at() - PROBE_BYTES];
        self.profile.raw().payload.fill(&mut fill);
        fill
    }

    /// Initial content of every buffer: the largest frame of the first flow, at least [`HEAD_BYTES`] long.
    pub fn template(&self) -> Vec<u8> {
        let largest = self.profile.frame_sizes().largest();
        let terms = self.size(largest);
        let flow = self.flow(0);
        let mut head = flow.bytes;
        self.set_sizes(&mut head, &flow, &terms);
        let mut frame = head.to_vec();
        frame.truncate(self.shape.probe_at() + PROBE_BYTES);
        frame.extend(self.fill(largest));
        frame.resize(frame.len().max(HEAD_BYTES), 0);
        frame
    }

    /// Writes lengths and IPv4 checksum.
    pub fn set_sizes(&self, head: &mut FrameHead, flow: &FlowHead, terms: &SizeTerms) {
        set_sizes(self.shape, head, flow.ip_sum, terms);
    }
}

/// Writes the lengths of a frame and its IPv4 checksum.
#[inline(always)]
pub fn set_sizes(shape: Shape, head: &mut FrameHead, ip_sum: u16, terms: &SizeTerms) {
    let (ip, transport) = (shape.ip_at(), shape.transport_at());
    let ip_length = terms.ip_length.to_be_bytes();
    match shape.version {
        IpVersion::V4 => {
            head[ip + 2..ip + 4].copy_from_slice(&ip_length);
            let sum = u64::from(ip_sum) + checksum::word(terms.ip_length);
            head[ip + 10..ip + 12].copy_from_slice(&checksum::finish(sum));
        }
        IpVersion::V6 => head[ip + 4..ip + 6].copy_from_slice(&ip_length),
    }
    if shape.protocol == Protocol::Udp {
        head[transport + 4..transport + 6].copy_from_slice(&terms.transport_length.to_be_bytes());
    }
}

/// Writes the low `bits` of `value` at bit `at`, in network order.
fn set_bits(head: &mut FrameHead, at: usize, bits: usize, value: u128) {
    for i in 0..bits {
        let bit = (value >> (bits - 1 - i)) as u8 & 1;
        let (byte, shift) = ((at + i) / 8, 7 - (at + i) % 8);
        head[byte] = head[byte] & !(1 << shift) | bit << shift;
    }
}
