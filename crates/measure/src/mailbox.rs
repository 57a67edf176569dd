//! Frames for the port's addresses, on their way from the receiving lcores to the resolver thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::neighbour::may_be_request;

/// Most frames that wait. Further frames are dropped; the protocols repeat their requests.
const ROOM: usize = 64;
/// Longest frame accepted, in bytes without check sequence.
const LONGEST: usize = 1514;
/// A frame as it was received.
#[derive(Clone, Copy)]
pub struct Caught {
    bytes: [u8; LONGEST],
    length: u16,
}

impl std::fmt::Debug for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caught").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Caught {
    /// The frame's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Mailbox into which receiving lcores put ARP, ICMP and ICMPv6 frames. It neither blocks nor allocates.
#[derive(Debug, Clone)]
pub struct Mailbox(SyncSender<Caught>);

impl Mailbox {
    /// A mailbox and its receiving end.
    pub fn new() -> (Self, Receiver<Caught>) {
        let (put, take) = sync_channel(ROOM);
        (Self(put), take)
    }

    /// Puts a copy of the frame in, if it is ARP, ICMP or ICMPv6. Other frames must not take the room of
    /// requests.
    #[cold]
    #[inline(never)]
    pub fn put(&self, frame: &[u8]) {
        if frame.len() <= LONGEST && may_be_request(frame) {
            let mut caught = Caught { bytes: [0; LONGEST], length: frame.len() as u16 };
            caught.bytes[..frame.len()].copy_from_slice(frame);
            let _ = self.0.try_send(caught);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this EtherType with these bytes at these offsets from byte 14 on.
    fn frame(ethertype: [u8; 2], bytes: &[(usize, u8)]) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&ethertype);
        bytes.iter().for_each(|(at, byte)| frame[*at] = *byte);
        frame
    }

    #[test]
    fn only_possible_requests_are_kept_and_a_flood_of_others_takes_no_room() {
        let (mailbox, taken) = Mailbox::new();
        let questions =
            [frame([0x08, 0x06], &[]), frame([0x08, 0x00], &[(23, 1)]), frame([0x86, 0xdd], &[(20, 58)])];
        let others = [
            frame([0x08, 0x00], &[(23, 17)]),
            frame([0x08, 0x00], &[(20, 58)]),
            frame([0x86, 0xdd], &[(20, 17)]),
            frame([0x81, 0x00], &[(16, 0x08), (17, 0x06)]),
            frame([0x88, 0xcc], &[]),
            Vec::new(),
            vec![0x08; 13],
        ];
        for _ in 0..if cfg!(miri) { 20 } else { 1_000 } {
            others.iter().for_each(|other| mailbox.put(other));
        }
        questions.iter().for_each(|question| mailbox.put(question));
        let taken: Vec<Vec<u8>> = taken.try_iter().map(|caught| caught.bytes().to_vec()).collect();
        assert_eq!(taken, questions);
    }
}
