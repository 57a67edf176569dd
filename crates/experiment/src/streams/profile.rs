//! Profiles of streams: the places of the matrix in `spec.streams`. Pure.

use linerate_traffic::profile::FrameSizes;
use linerate_traffic::rate::Rate;
use linerate_wire::streams::{Load, Protocol, SocketOptions, StreamsSpec};
use serde::Serialize;
use serde_saphyr::{Location, Spanned};

use super::section::{MessageBytes, StreamsSection};

/// Bytes of a write of TCP: fewer bytes cost more CPU time each, and so do more than an L2 cache holds.
const USUAL_WRITE_BYTES: u32 = 256 * 1024;
/// Payload of a datagram that fits an Ethernet frame over IPv4 and IPv6.
const USUAL_DATAGRAM_BYTES: u32 = 1448;

/// Streams of every connection of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamsProfile {
    /// Its name, under which results are filed, such as `tcp_8_streams_100mbps`.
    pub name: String,
    /// Intended load of a connection, as written.
    pub rate: Rate,
    /// What a connection sends.
    pub spec: StreamsSpec,
    /// The frames that it stands for, in an experiment of engines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<FramesAsStreams>,
}

/// A profile of frames that streams carry in place of ports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FramesAsStreams {
    /// The profile's name.
    pub profile: String,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Worker threads of each agent.
    pub workers: u32,
}

/// A mistake in the section: its place and the text.
pub(crate) type Wrong = (Location, String);

impl StreamsSection {
    /// The profiles of the matrix, in the order transport, streams, message size, congestion control, rate. Each sends for `duration_ms`.
    ///
    /// # Errors
    /// The first value that streams cannot have.
    pub(crate) fn profiles(&self, duration_ms: Option<u64>) -> Result<Vec<StreamsProfile>, Wrong> {
        let transports = not_empty("transports", &self.transports)?;
        let parallel = not_empty("parallel", &self.parallel)?;
        let sizes = self.message_bytes.as_ref().map(|sizes| not_empty("messageBytes", sizes)).transpose()?;
        let controls = self.congestion.as_ref().map(|names| not_empty("congestion", names)).transpose()?;
        let mut profiles = Vec::new();
        for &transport in transports {
            let controls = controls.filter(|_| transport == Protocol::Tcp);
            for streams in parallel {
                for size in options(sizes.map(Vec::as_slice)) {
                    for control in options(controls.map(Vec::as_slice)) {
                        for rate in self.rates_of(transport)? {
                            let place = Place { transport, streams: streams.get_u32(), size, rate };
                            profiles.push(self.profile(place, control, duration_ms)?);
                        }
                    }
                }
            }
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = profiles.iter().find(|profile| !names.insert(&profile.name)) {
            let problem = format!(
                "spec.streams: two profiles have the name {}, and results are filed under it; remove a value that stands twice",
                twice.name
            );
            return Err((Location::UNKNOWN, problem));
        }
        Ok(profiles)
    }

    fn rates_of(&self, transport: Protocol) -> Result<Vec<Rate>, Wrong> {
        let Some(rates) = &self.rates else {
            return match transport {
                Protocol::Tcp => Ok(vec![Rate::Max]),
                Protocol::Udp => Err((
                    Location::UNKNOWN,
                    "spec.streams.rates: missing, and UDP has no congestion control; give rates such as [100mbps], or [max]".to_owned(),
                )),
            };
        };
        let wrong =
            |rate: &Rate, why: &str| Err((rates.referenced, format!("spec.streams.rates: {rate} {why}")));
        let list = not_empty("rates", rates)?;
        for rate in list {
            match rate {
                Rate::Percent(_) => {
                    return wrong(
                        rate,
                        "is a share of a link's speed, which streams do not know; give bits per second, such as 100mbps",
                    );
                }
                Rate::Pps(_) if transport == Protocol::Tcp => {
                    return wrong(
                        rate,
                        "is of datagrams, and TCP has none; give bits per second, or an experiment of UDP alone",
                    );
                }
                Rate::Max if self.kernel_pacing => {
                    return wrong(
                        rate,
                        "has nothing to pace; remove spec.streams.kernelPacing, or give a rate",
                    );
                }
                _ => {}
            }
        }
        Ok(list.clone())
    }

    fn profile(
        &self,
        place: Place<'_>,
        congestion: Option<&String>,
        duration_ms: Option<u64>,
    ) -> Result<StreamsProfile, Wrong> {
        let Place { transport, streams, size, rate } = place;
        let udp = transport == Protocol::Udp;
        let usual = if udp { USUAL_DATAGRAM_BYTES } else { USUAL_WRITE_BYTES };
        let spec = StreamsSpec {
            protocol: transport,
            streams,
            load: match rate {
                Rate::Bps(bps) => Load::BitsPerSecond(bps),
                Rate::Pps(pps) => Load::DatagramsPerSecond(pps),
                Rate::Max | Rate::Percent(_) => Load::Max,
            },
            duration_ms: duration_ms.filter(|_| !self.endless),
            bytes: None,
            block_bytes: size.map_or(usual, |size| size.get_u32()),
            sockets: SocketOptions {
                congestion: congestion.cloned(),
                window_bytes: self.window_bytes.map(|bytes| bytes.get_u32()),
                mss: self.mss.filter(|_| !udp).map(|mss| mss.get_u32() as u16),
                dscp: self.dscp.map(|dscp| dscp.get_u32() as u8),
                kernel_pacing: self.kernel_pacing,
                gso: self.gso.filter(|_| udp).map(|gso| gso.get_u32() as u16),
                gro: self.gro && udp,
                skip_copy: self.skip_copy && !udp,
            },
        };
        spec.check().map_err(|error| (Location::UNKNOWN, format!("spec.streams: {error}")))?;
        let mut name = format!("{}_{streams}_streams_{rate}", if udp { "udp" } else { "tcp" });
        if let Some(size) = size {
            name.push_str(&format!("_{}B", size.get()));
        }
        if let Some(congestion) = congestion {
            name.push_str(&format!("_{congestion}"));
        }
        Ok(StreamsProfile { name, rate, spec, frames: None })
    }
}

/// A place of the matrix.
#[derive(Clone, Copy)]
struct Place<'a> {
    transport: Protocol,
    streams: u32,
    size: Option<&'a MessageBytes>,
    rate: Rate,
}

/// Each of the values; one without value when there is no list.
fn options<T>(list: Option<&[T]>) -> Vec<Option<&T>> {
    list.map_or_else(|| vec![None], |list| list.iter().map(Some).collect())
}

fn not_empty<'d, T>(field: &str, list: &'d Spanned<Vec<T>>) -> Result<&'d Vec<T>, Wrong> {
    crate::not_empty(&format!("spec.streams.{field}"), list)
}
