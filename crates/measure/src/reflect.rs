//! Reversal of a frame's direction.

use linerate_traffic::profile::{IpVersion, Shape};

use super::recognise::probe_shape;

/// Reverses a test frame: exchanges its Ethernet addresses, IP addresses and ports. Checksums stay right,
/// because their sums do not depend on the order. False for a foreign frame, which is left unchanged.
#[inline(always)]
pub fn turn_round(frame: &mut [u8]) -> bool {
    let Some(shape) = probe_shape(frame) else { return false };
    let Shape { version, .. } = shape;
    let (addresses, bytes) = match version {
        IpVersion::V4 => (shape.ip_at() + 12, 4),
        IpVersion::V6 => (shape.ip_at() + 8, 16),
    };
    swap(frame, 0, 6);
    swap(frame, addresses, bytes);
    swap(frame, shape.transport_at(), 2);
    true
}

/// Exchanges two adjacent fields of `bytes`.
#[inline(always)]
fn swap(frame: &mut [u8], at: usize, bytes: usize) {
    if let Some((first, second)) = frame.get_mut(at..at + 2 * bytes).map(|pair| pair.split_at_mut(bytes)) {
        first.swap_with_slice(second);
    }
}

#[cfg(test)]
mod tests {
    use linerate_traffic::mac::MacAddr;
    use linerate_traffic::profile::Profile;

    use super::*;
    use crate::flows::FrameWriter;
    use crate::flows::tests::next_frame;
    use crate::frame::Frames;
    use crate::recognise::{Frame, PortVerdict, recognise};

    #[test]
    fn a_frame_turned_round_is_the_peers_own() {
        let (here, there) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        for (document, back) in [
            (
                r#"{"source": {"ip": "10.0.0.1", "port": 5}, "destination": {"ip": "10.0.0.2", "port": 6}}"#,
                r#"{"source": {"ip": "10.0.0.2", "port": 6}, "destination": {"ip": "10.0.0.1", "port": 5}}"#,
            ),
            (
                r#"{"vlan": {"id": 3}, "protocol": "tcp", "source": {"ip": "::1", "port": 5}, "destination": {"ip": "::2", "port": 6}}"#,
                r#"{"vlan": {"id": 3}, "protocol": "tcp", "source": {"ip": "::2", "port": 6}, "destination": {"ip": "::1", "port": 5}}"#,
            ),
        ] {
            let frame = |document: &str, from, to| {
                let profile: Profile = serde_json::from_str(document).unwrap();
                let frames = Frames::new(&profile, from, to);
                let mut writer = FrameWriter::new(&profile, &frames, 1, 0, 1).unwrap();
                next_frame(&mut writer, &frames.template(), 99)
            };
            let mut there_and_back = frame(document, here, there);
            assert!(turn_round(&mut there_and_back));
            assert_eq!(there_and_back, frame(back, there, here));
            let length = there_and_back.len() as u32;
            assert!(matches!(recognise(&there_and_back, length, PortVerdict::Unknown), Frame::Ours(..)));
        }
        for mut other in [vec![], vec![0; 20], vec![0xff; 200]] {
            let before = other.clone();
            assert!(!turn_round(&mut other));
            assert_eq!(other, before);
        }
    }
}
