//! How streams begin and end, and what the head of a datagram says: in this program's own way, or in iperf3's.

use linerate_iperf3::cookie::COOKIE_BYTES;
use linerate_iperf3::datagram::Header as ForeignHeader;
use linerate_traffic::probe::{PROBE_BYTES, Probe};

use super::header::HEADER_BYTES;

/// Whose streams they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dialect {
    /// This program's: headers, probes, and a half-close at the end.
    #[default]
    Own,
    /// iperf3's: cookies, its own datagrams, and an end that the control connection tells.
    Iperf3 {
        /// Datagrams have numbers of 64 bits.
        wide: bool,
        /// True at a server: it closes its side of connections at the end of a test, and clients read until then.
        closes: bool,
    },
}

/// What the head of a datagram says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Number from 0, modulo 2³².
    pub(super) sequence: u32,
    /// Time from sending to `now_ns`. Without a common clock, only differences of it have a meaning.
    pub(super) transit_ns: i64,
}

impl Dialect {
    /// Bytes before the payload of a connection, from the end that made it.
    pub(super) fn preamble_bytes(self) -> u64 {
        match self {
            Dialect::Own => HEADER_BYTES as u64,
            Dialect::Iperf3 { .. } => COOKIE_BYTES as u64,
        }
    }

    /// True when a sender tells the end of a connection by closing its side.
    pub(super) fn half_closes(self) -> bool {
        matches!(self, Dialect::Own | Dialect::Iperf3 { closes: true, .. })
    }

    /// True when a receiver tells that it has read everything by closing its side.
    pub(super) fn answers_the_end(self) -> bool {
        self == Dialect::Own
    }

    /// True when datagrams carry the time of a clock that both ends know.
    pub(super) fn tells_delays(self) -> bool {
        self == Dialect::Own
    }

    /// Writes the head of a datagram. `own` is the probe of this program; `sequence` is the number of the
    /// datagram in 64 bits.
    pub(super) fn write(self, datagram: &mut [u8], own: Probe, sequence: u64) {
        match self {
            Dialect::Own => {
                if let Some(head) = datagram.first_chunk_mut::<PROBE_BYTES>() {
                    *head = own.to_bytes();
                }
            }
            Dialect::Iperf3 { wide, .. } => {
                let header = ForeignHeader { sent_us: own.ticks / 1000, number: sequence.wrapping_add(1) };
                header.write(datagram, wide);
            }
        }
    }

    /// Reads the head of a datagram of the stream `number` of the trial `tag`, which arrived at `now_ns` on the
    /// sender's clock; `None` when it is none.
    pub(super) fn read(self, datagram: &[u8], (tag, number): (u16, u32), now_ns: u64) -> Option<Head> {
        match self {
            Dialect::Own => {
                let probe = datagram.first_chunk().and_then(Probe::from_bytes)?;
                let mine = probe.tag == tag && probe.flow == number;
                mine.then(|| Head { sequence: probe.sequence, transit_ns: probe.ticks_until(now_ns) })
            }
            Dialect::Iperf3 { wide, .. } => {
                let header = ForeignHeader::read(datagram, wide)?;
                // Number 0 is none of a datagram.
                let sequence = header.number.checked_sub(1)? as u32;
                let transit_ns = now_ns.wrapping_sub(header.sent_us.wrapping_mul(1000)).cast_signed();
                Some(Head { sequence, transit_ns })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_the_wire_in_both_dialects() {
        for dialect in [
            Dialect::Own,
            Dialect::Iperf3 { wide: true, closes: true },
            Dialect::Iperf3 { wide: false, closes: false },
        ] {
            let probe = Probe { tag: 7, flow: 3, sequence: 41, ticks: 5_000_000 };
            let mut datagram = [0; 16];
            dialect.write(&mut datagram, probe, 41);
            let head = dialect.read(&datagram, (7, 3), 5_250_000).unwrap();
            assert_eq!(head, Head { sequence: 41, transit_ns: 250_000 });
            assert_eq!(dialect.read(&[0; 16], (7, 3), 0), None);
        }
        let mut datagram = [0; 16];
        Dialect::Own.write(&mut datagram, Probe { tag: 7, flow: 3, sequence: 0, ticks: 0 }, 0);
        assert_eq!(Dialect::Own.read(&datagram, (7, 4), 0), None, "another stream");
    }

    #[test]
    fn numbers_of_32_bits_go_on_after_their_end() {
        let dialect = Dialect::Iperf3 { wide: false, closes: true };
        let probe = Probe { tag: 0, flow: 0, sequence: 0, ticks: 0 };
        let mut datagram = [0; 12];
        dialect.write(&mut datagram, probe, u64::from(u32::MAX) - 1);
        assert_eq!(dialect.read(&datagram, (0, 0), 0).map(|head| head.sequence), Some(u32::MAX - 1));
        dialect.write(&mut datagram, probe, u64::from(u32::MAX) + 1);
        assert_eq!(dialect.read(&datagram, (0, 0), 0).map(|head| head.sequence), Some(0));
    }
}
