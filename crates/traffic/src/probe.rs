//! The probe in every test frame: the first 16 bytes of its UDP payload.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | [`MAGIC`] |
//! | 2 | 2 | trial tag: distinguishes frames of this trial from those of earlier ones |
//! | 4 | 4 | sequence number within the flow, from 0, modulo 2³² |
//! | 8 | 8 | flow id in the upper 24 bits, send time in the lower 40 |
//!
//! All fields are little-endian, so that a probe is one 16-byte store. The send time counts the sender's
//! clock ticks; 40 bits of a 4 GHz counter wrap after 275 s, far beyond any delay. A 64-byte frame of
//! Ethernet, IPv4 and UDP leaves 18 bytes of payload: the probe fits, and the UDP checksum is computed rather
//! than kept constant by a filler.

/// Mark of Linerate's frames: the letters `Lr`.
pub const MAGIC: u16 = u16::from_le_bytes(*b"Lr");
/// Bytes of a probe.
pub const PROBE_BYTES: usize = 16;
/// Upper bound of flow ids: 2²⁴.
pub const MAX_FLOW_IDS: u32 = 1 << 24;
/// Bits of the send time.
pub const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// A probe, read or to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Tag of the trial.
    pub tag: u16,
    /// Index of the flow in its profile: below 2²⁴.
    pub flow: u32,
    /// Sequence number within the flow, modulo 2³².
    pub sequence: u32,
    /// Send time in the sender's ticks, modulo 2⁴⁰.
    pub ticks: u64,
}

impl Probe {
    /// The bytes on the wire.
    #[inline(always)]
    pub fn to_bytes(self) -> [u8; PROBE_BYTES] {
        let [first, second] = self.to_words();
        (u128::from(first) | u128::from(second) << 64).to_le_bytes()
    }

    /// The two words, in little-endian order on the wire.
    #[inline(always)]
    pub fn to_words(self) -> [u64; 2] {
        let first = u64::from(MAGIC) | u64::from(self.tag) << 16;
        [Self::with_sequence(first, self.sequence), Self::with_flow(self.ticks & TIME_MASK, self.flow)]
    }

    /// Replaces the sequence number in the first word.
    #[inline(always)]
    pub fn with_sequence(first: u64, sequence: u32) -> u64 {
        u64::from(first as u32) | u64::from(sequence) << 32
    }

    /// Inserts another flow into the second word of flow 0.
    #[inline(always)]
    pub fn with_flow(second: u64, flow: u32) -> u64 {
        second | u64::from(flow) << TIME_BITS
    }

    /// Reads a probe; `None` when the magic is missing.
    #[inline(always)]
    pub fn from_bytes(bytes: &[u8; PROBE_BYTES]) -> Option<Self> {
        let word = u128::from_le_bytes(*bytes);
        let (low, high) = (word as u64, (word >> 64) as u64);
        (low as u16 == MAGIC).then_some(Self {
            tag: (low >> 16) as u16,
            sequence: (low >> 32) as u32,
            flow: (high >> TIME_BITS) as u32,
            ticks: high & TIME_MASK,
        })
    }

    /// Ticks from this probe's send time to `now` of the same clock: the distance modulo 2⁴⁰. A distance of
    /// more than half the range counts as negative (clocks that disagree, or frames from the future).
    #[inline(always)]
    pub fn ticks_until(self, now: u64) -> i64 {
        let shift = 64 - TIME_BITS;
        (now.wrapping_sub(self.ticks) << shift) as i64 >> shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_survive_the_wire() {
        for probe in [
            Probe { tag: 0, flow: 0, sequence: 0, ticks: 0 },
            Probe { tag: 0xbeef, flow: MAX_FLOW_IDS - 1, sequence: u32::MAX, ticks: TIME_MASK },
            Probe { tag: 7, flow: 9_999, sequence: 123_456, ticks: 0x12_3456_789a },
        ] {
            let bytes = probe.to_bytes();
            assert_eq!(&bytes[..2], b"Lr");
            assert_eq!(Probe::from_bytes(&bytes), Some(probe));
        }
        assert_eq!(Probe::from_bytes(&[0; 16]), None);
    }

    #[test]
    fn send_times_are_unwrapped() {
        let sent = |ticks| Probe { tag: 0, flow: 0, sequence: 0, ticks };
        assert_eq!(sent(1000).ticks_until(5000), 4000);
        assert_eq!(sent(TIME_MASK - 9).ticks_until((1 << TIME_BITS) + 20), 30, "wrapped between");
        assert_eq!(sent(TIME_MASK & 0xdead_beef_cafe).ticks_until(0xdead_beef_cafe + 7), 7);
        assert_eq!(sent(5000).ticks_until(4000), -1000, "a clock behind the sender's");
    }
}
