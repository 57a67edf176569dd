//! What the streams of a path send.

use std::fmt;

use linerate_traffic::probe::PROBE_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Smallest payload of a datagram: the probe.
pub const LEAST_DATAGRAM_BYTES: u32 = PROBE_BYTES as u32;
/// Most streams of a path.
pub const MOST_STREAMS: u32 = 16_384;
/// Most bytes of one write.
const MOST_BLOCK_BYTES: u32 = 4 << 20;
/// Largest payload of a UDP datagram over IPv4.
const MOST_DATAGRAM_BYTES: u32 = 65_507;
/// Most datagrams that the kernel cuts from one call.
const MOST_SEGMENTS: u32 = 64;
/// Most characters of the name of a congestion control.
const MOST_NAME_BYTES: usize = 15;
/// Highest rate, in bits or datagrams per second.
const FASTEST: f64 = 1e15;
/// Bytes of IP and UDP headers, of IP version 4 and 6.
const UDP_HEADERS: (u32, u32) = (28, 48);
/// Bytes of IP and TCP headers with time stamps.
const TCP_HEADERS: (u32, u32) = (52, 72);
/// Bytes of Ethernet around an IP packet, with check sequence.
const ETHERNET_BYTES: u32 = 18;
/// Smallest Ethernet frame.
const LEAST_FRAME_BYTES: u32 = 64;
/// Largest payload of a TCP segment in an Ethernet frame, with time stamps.
const USUAL_SEGMENT_BYTES: u16 = 1448;

/// Transport protocol of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        })
    }
}

/// Intended load of a path, all of its streams together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// As fast as the sockets accept.
    Max,
    /// Bits of payload per second.
    BitsPerSecond(f64),
    /// Datagrams per second.
    DatagramsPerSecond(f64),
}

impl Load {
    /// Bits of payload per second in datagrams of `datagram_bytes`; `None` for the largest possible load.
    pub fn bits_per_second(self, datagram_bytes: u32) -> Option<f64> {
        match self {
            Load::Max => None,
            Load::BitsPerSecond(bps) => Some(bps),
            Load::DatagramsPerSecond(pps) => Some(pps * f64::from(datagram_bytes) * 8.0),
        }
    }

    /// Datagrams of `datagram_bytes` per second; `None` for the largest possible load.
    pub fn datagrams_per_second(self, datagram_bytes: u32) -> Option<f64> {
        match self {
            Load::Max => None,
            Load::BitsPerSecond(bps) => Some(bps / (f64::from(datagram_bytes) * 8.0)),
            Load::DatagramsPerSecond(pps) => Some(pps),
        }
    }
}

/// The streams of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamsSpec {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Number of streams.
    pub streams: u32,
    /// Intended load.
    pub load: Load,
    /// Milliseconds of sending; `None`: until the bytes are sent, or until stopped.
    pub duration_ms: Option<u64>,
    /// Bytes of payload, of UDP in whole datagrams; `None`: until the duration ends.
    pub bytes: Option<u64>,
    /// TCP: bytes of one write. UDP: payload of a datagram.
    pub block_bytes: u32,
    /// Options of the sockets at both ends.
    #[serde(default)]
    pub sockets: SocketOptions,
}

/// Options of sockets. What is absent stays as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SocketOptions {
    /// TCP's congestion control at the sender.
    pub congestion: Option<String>,
    /// Bytes of send and receive buffer.
    pub window_bytes: Option<u32>,
    /// Largest payload of a TCP segment.
    pub mss: Option<u16>,
    /// Differentiated services code point, 0…63.
    pub dscp: Option<u8>,
    /// True when the kernel paces each stream too.
    pub kernel_pacing: bool,
    /// UDP: datagrams per call that the sender's kernel cuts apart (`UDP_SEGMENT`).
    pub gso: Option<u16>,
    /// UDP: true when the receiver's kernel may deliver several datagrams at once (`UDP_GRO`).
    pub gro: bool,
    /// TCP: true when the receiver discards what arrives without copying it.
    pub skip_copy: bool,
}

/// Error: a value that streams cannot have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// A number outside of its range.
    #[error("{field}: {value} is outside {least}…{most}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// Smallest possible value.
        least: u64,
        /// Largest possible value.
        most: u64,
    },
    /// A rate that is no positive number, or too large.
    #[error("load: {0} is outside 0…1e15")]
    Rate(f64),
    /// Datagrams per second for TCP.
    #[error("load: TCP has no datagrams; give bits per second")]
    DatagramsOfTcp,
    /// An impossible name of a congestion control.
    #[error("congestion: a name has 1 to {MOST_NAME_BYTES} characters")]
    Congestion,
}

impl StreamsSpec {
    /// Datagrams to send; `None` without a number of bytes.
    pub fn datagrams(&self) -> Option<u64> {
        self.bytes.map(|bytes| bytes.div_ceil(u64::from(self.block_bytes.max(1))))
    }

    /// Checks what another program asks for.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub fn check(&self) -> Result<(), SpecError> {
        let within = |field: &'static str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(SpecError::Range { field, value, least, most })
            }
        };
        within("streams", self.streams.into(), 1, MOST_STREAMS.into())?;
        let (least, most) = match self.protocol {
            Protocol::Tcp => (1, MOST_BLOCK_BYTES),
            Protocol::Udp => (LEAST_DATAGRAM_BYTES, MOST_DATAGRAM_BYTES),
        };
        within("block_bytes", self.block_bytes.into(), least.into(), most.into())?;
        within("duration_ms", self.duration_ms.unwrap_or(1), 1, u64::MAX / 2_000_000)?;
        within("bytes", self.bytes.unwrap_or(1), 1, u64::MAX / 16)?;
        within("dscp", self.sockets.dscp.unwrap_or(0).into(), 0, 63)?;
        if let Some(segments) = self.sockets.gso {
            let most = (MOST_DATAGRAM_BYTES / self.block_bytes.max(1)).clamp(1, MOST_SEGMENTS);
            within("gso", segments.into(), 1, most.into())?;
        }
        let possible = |name: &String| (1..=MOST_NAME_BYTES).contains(&name.len());
        if !self.sockets.congestion.as_ref().is_none_or(possible) {
            return Err(SpecError::Congestion);
        }
        match self.load {
            Load::Max => Ok(()),
            Load::DatagramsPerSecond(_) if self.protocol == Protocol::Tcp => Err(SpecError::DatagramsOfTcp),
            Load::BitsPerSecond(rate) | Load::DatagramsPerSecond(rate) if rate > 0.0 && rate <= FASTEST => {
                Ok(())
            }
            Load::BitsPerSecond(rate) | Load::DatagramsPerSecond(rate) => Err(SpecError::Rate(rate)),
        }
    }

    /// The load as packets of an Ethernet path, for ceilings: packets per second (`None`: without bound) and
    /// their bytes, headers and check sequence included. A datagram that is longer than an Ethernet frame counts
    /// as one long packet.
    pub fn packets(&self, ipv6: bool) -> (Option<f64>, f64) {
        let with_headers = |payload: u32, (v4, v6): (u32, u32)| {
            (payload + if ipv6 { v6 } else { v4 } + ETHERNET_BYTES).max(LEAST_FRAME_BYTES)
        };
        match self.protocol {
            Protocol::Udp => {
                let bytes = with_headers(self.block_bytes, UDP_HEADERS);
                (self.load.datagrams_per_second(self.block_bytes), f64::from(bytes))
            }
            Protocol::Tcp => {
                let segment = u32::from(self.sockets.mss.unwrap_or(USUAL_SEGMENT_BYTES)).max(1);
                let rate = self.load.bits_per_second(segment);
                let bytes = with_headers(segment, TCP_HEADERS);
                (rate.map(|bps| bps / 8.0 / f64::from(segment)), f64::from(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> StreamsSpec {
        StreamsSpec {
            protocol: Protocol::Tcp,
            streams: 1,
            load: Load::Max,
            duration_ms: Some(1000),
            bytes: None,
            block_bytes: 131_072,
            sockets: SocketOptions::default(),
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let good = tcp();
        assert_eq!(good.check(), Ok(()));
        let udp = StreamsSpec { protocol: Protocol::Udp, block_bytes: 1448, ..good.clone() };
        assert_eq!(udp.check(), Ok(()));
        let sockets = |sockets: SocketOptions| StreamsSpec { sockets, ..udp.clone() };
        for (spec, part) in [
            (StreamsSpec { streams: 0, ..good.clone() }, "streams: 0 is outside 1…16384"),
            (StreamsSpec { block_bytes: 15, ..udp.clone() }, "block_bytes: 15"),
            (StreamsSpec { block_bytes: 65_508, ..udp.clone() }, "block_bytes: 65508"),
            (StreamsSpec { load: Load::DatagramsPerSecond(1.0), ..good.clone() }, "no datagrams"),
            (StreamsSpec { load: Load::BitsPerSecond(f64::NAN), ..good.clone() }, "load: NaN"),
            (StreamsSpec { duration_ms: Some(0), ..good }, "duration_ms: 0"),
            (sockets(SocketOptions { gso: Some(46), ..SocketOptions::default() }), "gso: 46 is outside 1…45"),
            (sockets(SocketOptions { congestion: Some(String::new()), ..SocketOptions::default() }), "name"),
        ] {
            let refusal = spec.check().unwrap_err().to_string();
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn loads_are_packets_of_the_path() {
        let load = Load::BitsPerSecond(1448.0 * 8.0 * 1000.0);
        assert_eq!(StreamsSpec { load, ..tcp() }.packets(false), (Some(1000.0), 1518.0));
        let load = Load::DatagramsPerSecond(5.0);
        let udp = StreamsSpec { protocol: Protocol::Udp, block_bytes: 16, load, ..tcp() };
        assert_eq!((udp.packets(false), udp.packets(true)), ((Some(5.0), 64.0), (Some(5.0), 82.0)));
        assert_eq!(tcp().packets(false).0, None);
        assert_eq!(StreamsSpec { bytes: Some(33), ..udp }.datagrams(), Some(3));
    }
}
