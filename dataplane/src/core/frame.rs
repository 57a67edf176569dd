//! The shape of a test frame: Ethernet, IPv4, UDP, probe, zeros.
//!
//! | bytes | content | changes |
//! |---|---|---|
//! | 0…14 | Ethernet header | never |
//! | 14…24 | IPv4: version to protocol; DF set, TTL 64 | never |
//! | 24…40 | IPv4 checksum, addresses, UDP ports and length | with the flow: one 16-byte store |
//! | 40…42 | UDP checksum | with every frame |
//! | 42…58 | probe | with every frame: one 16-byte store |
//! | 58… | zeros | never |

use linerate_protocol::frame::FrameSize;
use linerate_protocol::mac::MacAddr;
use linerate_protocol::probe::PROBE_BYTES;
use linerate_protocol::profile::FlowKey;

use super::checksum;

/// The bytes of the smallest frame without check sequence: every frame has at least these, and all that varies lies in them.
pub const HEAD_BYTES: usize = FrameSize::MIN_FRAME_PORT_BYTES;
/// The part of a frame that varies.
pub type FrameHead = [u8; HEAD_BYTES];

/// Where the run that changes with the flow begins: the IPv4 checksum.
pub const FLOW_RUN_AT: usize = 24;
/// Bytes of that run.
pub const FLOW_RUN_BYTES: usize = 16;
/// Where the UDP checksum stands.
pub const UDP_CHECKSUM_AT: usize = 40;
/// Where the probe begins.
pub const PROBE_AT: usize = 42;
/// Where the probe ends.
pub const PROBE_END: usize = PROBE_AT + PROBE_BYTES;

const ETHERNET_BYTES: u32 = 14;
const IPV4_BYTES: u32 = 20;
const TTL: u8 = 64;
/// Don't Fragment.
const IPV4_FLAGS: [u8; 2] = [0x40, 0x00];
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// Version 4, header of five words.
pub const IPV4_VERSION_IHL: u8 = 0x45;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// The constant part of every frame of `size`; what varies is left zero. Length: the frame without its check sequence.
pub fn template(size: FrameSize, source: MacAddr, destination: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; size.port_bytes() as usize];
    frame[0..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&ETHERTYPE_IPV4);
    frame[14] = IPV4_VERSION_IHL;
    frame[16..18].copy_from_slice(&ip_length(size).to_be_bytes());
    frame[20..22].copy_from_slice(&IPV4_FLAGS);
    frame[22] = TTL;
    frame[23] = PROTOCOL_UDP;
    frame
}

/// The 16 bytes that change with the flow, and the flow's share of the UDP checksum.
pub fn flow_run(size: FrameSize, key: &FlowKey) -> ([u8; FLOW_RUN_BYTES], u64) {
    let mut run = [0; FLOW_RUN_BYTES];
    run[2..6].copy_from_slice(&key.source.ip.octets());
    run[6..10].copy_from_slice(&key.destination.ip.octets());
    run[10..12].copy_from_slice(&key.source.port.to_be_bytes());
    run[12..14].copy_from_slice(&key.destination.port.to_be_bytes());
    let udp_length = udp_length(size).to_be_bytes();
    run[14..16].copy_from_slice(&udp_length);

    let [length_high, length_low] = ip_length(size).to_be_bytes();
    let [flags, offset] = IPV4_FLAGS;
    let fixed = [IPV4_VERSION_IHL, 0, length_high, length_low, 0, 0, flags, offset, TTL, PROTOCOL_UDP];
    let addresses = checksum::sum(&run[2..10]);
    run[0..2].copy_from_slice(&checksum::finish(checksum::add(checksum::sum(&fixed), addresses)));

    // Pseudo header (addresses, protocol, length) and UDP header (ports, length): RFC 768.
    let udp_sum = [
        addresses,
        checksum::sum(&[0, PROTOCOL_UDP]),
        checksum::sum(&udp_length),
        checksum::sum(&run[10..16]),
    ]
    .into_iter()
    .fold(0, checksum::add);
    (run, udp_sum)
}

fn ip_length(size: FrameSize) -> u16 {
    (size.port_bytes() - ETHERNET_BYTES) as u16
}

fn udp_length(size: FrameSize) -> u16 {
    (size.port_bytes() - ETHERNET_BYTES - IPV4_BYTES) as u16
}

#[cfg(test)]
mod tests {
    use linerate_protocol::profile::{Profile, RawProfile};

    use super::*;

    #[test]
    fn headers_sum_to_zero_with_their_checksums() {
        for bytes in [64, 65, 512, 1518, 9000] {
            let size = FrameSize::new(bytes).unwrap();
            let profile: Profile =
                RawProfile { frame_size: size, flows: 300, ..RawProfile::default() }.try_into().unwrap();
            let mut frame = template(size, MacAddr([2; 6]), MacAddr([4; 6]));
            assert_eq!(frame.len(), bytes as usize - 4);
            for flow in [0, 1, 299] {
                let (run, _) = flow_run(size, &profile.flow(flow));
                frame[FLOW_RUN_AT..FLOW_RUN_AT + FLOW_RUN_BYTES].copy_from_slice(&run);
                assert_eq!(checksum::fold(checksum::sum(&frame[14..34])), 0xffff, "{bytes} B, flow {flow}");
                assert_eq!(u16::from_be_bytes([frame[16], frame[17]]), bytes as u16 - 18);
                assert_eq!(u16::from_be_bytes([frame[38], frame[39]]), bytes as u16 - 38);
            }
        }
    }
}
