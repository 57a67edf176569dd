//! What a trial of streams sends: agreed between both ends before it starts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most streams of one direction.
pub(crate) const MOST_STREAMS: u32 = 16_384;
/// Most bytes of one write.
pub(crate) const MOST_BLOCK_BYTES: u32 = 4 << 20;
/// Largest payload of a UDP datagram over IPv4 and IPv6.
pub(crate) const MOST_DATAGRAM_BYTES: u32 = 65_507;
/// Bytes of IP and UDP headers, without options.
const UDP_HEADERS: (u32, u32) = (28, 48);
/// Bytes of IP and TCP headers with time stamps.
const TCP_HEADERS: (u32, u32) = (52, 72);
/// Bytes of Ethernet around an IP packet, with check sequence.
const ETHERNET_BYTES: u32 = 18;
/// Largest payload of a TCP segment in an Ethernet frame, with time stamps.
const USUAL_SEGMENT_BYTES: u16 = 1448;

/// Transport protocol of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
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

/// Which ends send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Directions {
    /// The client.
    Forward,
    /// The server.
    Reverse,
    /// Both at once, on streams of their own.
    Both,
}

/// One direction of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// From the client to the server.
    Forward,
    /// From the server to the client.
    Reverse,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        })
    }
}

impl Directions {
    /// The directions, forward first.
    pub(crate) fn each(self) -> &'static [Direction] {
        match self {
            Directions::Forward => &[Direction::Forward],
            Directions::Reverse => &[Direction::Reverse],
            Directions::Both => &[Direction::Forward, Direction::Reverse],
        }
    }

    /// True when this is one of the directions.
    pub(crate) fn has(self, direction: Direction) -> bool {
        self.each().contains(&direction)
    }
}

/// Intended load of one direction, all of its streams together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Load {
    /// As fast as the sockets accept.
    Max,
    /// Bits of payload per second.
    BitsPerSecond(f64),
    /// Datagrams per second.
    DatagramsPerSecond(f64),
}

impl Load {
    /// Bits of payload per second in datagrams of `datagram_bytes`; `None` for the largest possible load.
    pub(crate) fn bits_per_second(self, datagram_bytes: u32) -> Option<f64> {
        match self {
            Load::Max => None,
            Load::BitsPerSecond(bps) => Some(bps),
            Load::DatagramsPerSecond(pps) => Some(pps * f64::from(datagram_bytes) * 8.0),
        }
    }

    /// Datagrams of `datagram_bytes` per second; `None` for the largest possible load.
    pub(crate) fn datagrams_per_second(self, datagram_bytes: u32) -> Option<f64> {
        match self {
            Load::Max => None,
            Load::BitsPerSecond(bps) => Some(bps / (f64::from(datagram_bytes) * 8.0)),
            Load::DatagramsPerSecond(pps) => Some(pps),
        }
    }
}

/// A trial of streams. Both ends derive their sockets and workers from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamsSpec {
    pub(crate) protocol: Protocol,
    pub(crate) directions: Directions,
    /// Streams of each direction.
    pub(crate) streams: u32,
    /// Intended load of each direction.
    pub(crate) load: Load,
    /// Milliseconds of sending; `None`: until the bytes are sent, or until stopped.
    pub(crate) duration_ms: Option<u64>,
    /// Bytes of payload of each direction; `None`: until the duration ends.
    pub(crate) bytes: Option<u64>,
    /// TCP: bytes of one write. UDP: payload of a datagram.
    pub(crate) block_bytes: u32,
    /// Milliseconds between samples.
    pub(crate) interval_ms: u32,
    /// Options of the sockets at both ends.
    #[serde(default)]
    pub(crate) sockets: SocketOptions,
}

/// Options of sockets. What is absent stays as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SocketOptions {
    /// TCP's congestion control at the sender.
    pub(crate) congestion: Option<String>,
    /// Bytes of send and receive buffer.
    pub(crate) window_bytes: Option<u32>,
    /// Largest payload of a TCP segment.
    pub(crate) mss: Option<u16>,
    /// Differentiated services code point, 0…63.
    pub(crate) dscp: Option<u8>,
    /// The kernel paces each stream too.
    pub(crate) kernel_pacing: bool,
    /// UDP: datagrams per call that the kernel cuts apart (`UDP_SEGMENT`).
    pub(crate) gso: Option<u16>,
    /// UDP: the kernel may deliver several datagrams at once (`UDP_GRO`).
    pub(crate) gro: bool,
    /// TCP: the receiver discards what arrives without copying it.
    pub(crate) skip_copy: bool,
}

impl StreamsSpec {
    /// Streams of all directions.
    pub(crate) fn total_streams(&self) -> u32 {
        self.streams * self.directions.each().len() as u32
    }

    /// Number of the first stream of a direction. The streams of a direction have successive numbers.
    pub(crate) fn first_stream(&self, direction: Direction) -> u32 {
        if direction == Direction::Reverse && self.directions == Directions::Both { self.streams } else { 0 }
    }

    /// Direction of a stream; `None` when there is no such stream.
    pub(crate) fn direction_of(&self, stream: u32) -> Option<Direction> {
        if stream >= self.total_streams() {
            return None;
        }
        Some(match self.directions {
            Directions::Forward => Direction::Forward,
            Directions::Reverse => Direction::Reverse,
            Directions::Both if stream < self.streams => Direction::Forward,
            Directions::Both => Direction::Reverse,
        })
    }

    /// Datagrams of each direction; `None` without a limit.
    pub(crate) fn datagrams(&self) -> Option<u64> {
        self.bytes.map(|bytes| bytes.div_ceil(u64::from(self.block_bytes.max(1))))
    }

    /// Checks what the other end asks for.
    ///
    /// # Errors
    /// The first value that is out of range, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name}: {value} is outside {least}…{most}"))
            }
        };
        within("streams", self.streams.into(), 1, MOST_STREAMS.into())?;
        within("interval_ms", self.interval_ms.into(), 10, 3_600_000)?;
        let (least, most) = match self.protocol {
            Protocol::Tcp => (1, MOST_BLOCK_BYTES),
            Protocol::Udp => (crate::streams::LEAST_DATAGRAM_BYTES, MOST_DATAGRAM_BYTES),
        };
        within("block_bytes", self.block_bytes.into(), least.into(), most.into())?;
        within("duration_ms", self.duration_ms.unwrap_or(1), 1, u64::MAX / 2_000_000)?;
        within("bytes", self.bytes.unwrap_or(1), 1, u64::MAX / 16)?;
        within("dscp", self.sockets.dscp.unwrap_or(0).into(), 0, 63)?;
        if let Some(segments) = self.sockets.gso {
            let most = (MOST_DATAGRAM_BYTES / self.block_bytes.max(1)).clamp(1, 64);
            within("gso", segments.into(), 1, most.into())?;
        }
        if self.sockets.congestion.as_ref().is_some_and(|name| name.is_empty() || name.len() > 15) {
            return Err("congestion: a name has 1 to 15 characters".to_owned());
        }
        match self.load {
            Load::Max => Ok(()),
            Load::DatagramsPerSecond(_) if self.protocol == Protocol::Tcp => {
                Err("load: TCP has no datagrams; give bits per second".to_owned())
            }
            Load::BitsPerSecond(rate) | Load::DatagramsPerSecond(rate) if rate > 0.0 && rate <= 1e15 => {
                Ok(())
            }
            Load::BitsPerSecond(rate) | Load::DatagramsPerSecond(rate) => {
                Err(format!("load: {rate} is outside 0…1e15"))
            }
        }
    }

    /// The load of a direction as packets of an Ethernet path, for ceilings: packets per second (`None`: without
    /// bound) and their bytes, headers and check sequence included. Datagrams that are longer than an
    /// Ethernet frame count as one long packet.
    pub(crate) fn packets(&self, ipv6: bool) -> (Option<f64>, f64) {
        let of = |(v4, v6): (u32, u32)| if ipv6 { v6 } else { v4 } + ETHERNET_BYTES;
        match self.protocol {
            Protocol::Udp => {
                let bytes = (self.block_bytes + of(UDP_HEADERS)).max(64);
                (self.load.datagrams_per_second(self.block_bytes), f64::from(bytes))
            }
            Protocol::Tcp => {
                let segment = u32::from(self.sockets.mss.unwrap_or(USUAL_SEGMENT_BYTES)).max(1);
                let rate = self.load.bits_per_second(segment);
                (rate.map(|bps| bps / 8.0 / f64::from(segment)), f64::from(segment + of(TCP_HEADERS)))
            }
        }
    }
}

#[cfg(test)]
pub(crate) fn tcp_spec() -> StreamsSpec {
    StreamsSpec {
        protocol: Protocol::Tcp,
        directions: Directions::Forward,
        streams: 1,
        load: Load::Max,
        duration_ms: Some(1000),
        bytes: None,
        block_bytes: 131_072,
        interval_ms: 1000,
        sockets: SocketOptions::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_numbered_by_direction() {
        let spec = StreamsSpec { streams: 3, directions: Directions::Both, ..tcp_spec() };
        let directions: Vec<_> = (0..7).map(|stream| spec.direction_of(stream)).collect();
        use Direction::{Forward, Reverse};
        let [f, r] = [Some(Forward), Some(Reverse)];
        assert_eq!(directions, [f, f, f, r, r, r, None]);
        assert_eq!((spec.first_stream(Forward), spec.first_stream(Reverse)), (0, 3));
        let reverse = StreamsSpec { directions: Directions::Reverse, ..spec };
        assert_eq!((reverse.first_stream(Reverse), reverse.direction_of(2)), (0, r));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let good = tcp_spec();
        assert_eq!(good.check(), Ok(()));
        let udp = StreamsSpec { protocol: Protocol::Udp, block_bytes: 1448, ..good.clone() };
        assert_eq!(udp.check(), Ok(()));
        for (spec, part) in [
            (StreamsSpec { streams: 0, ..good.clone() }, "streams: 0"),
            (StreamsSpec { block_bytes: 15, ..udp.clone() }, "block_bytes: 15"),
            (StreamsSpec { block_bytes: 65_508, ..udp.clone() }, "block_bytes: 65508"),
            (StreamsSpec { load: Load::DatagramsPerSecond(1.0), ..good.clone() }, "no datagrams"),
            (StreamsSpec { load: Load::BitsPerSecond(f64::NAN), ..good.clone() }, "load: NaN"),
            (StreamsSpec { interval_ms: 1, ..good.clone() }, "interval_ms: 1"),
            (
                StreamsSpec { sockets: SocketOptions { gso: Some(46), ..SocketOptions::default() }, ..udp },
                "gso: 46 is outside 1…45",
            ),
        ] {
            let refusal = spec.check().unwrap_err();
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn loads_are_packets_of_the_path() {
        let tcp = StreamsSpec { load: Load::BitsPerSecond(1448.0 * 8.0 * 1000.0), ..tcp_spec() };
        assert_eq!(tcp.packets(false), (Some(1000.0), 1518.0));
        let udp = StreamsSpec {
            protocol: Protocol::Udp,
            block_bytes: 16,
            load: Load::DatagramsPerSecond(5.0),
            ..tcp_spec()
        };
        assert_eq!((udp.packets(false), udp.packets(true)), ((Some(5.0), 64.0), (Some(5.0), 82.0)));
        assert_eq!(tcp_spec().packets(false).0, None);
    }
}
