//! From iperf3's parameters to a trial, and back. Pure.

use linerate_iperf3::parameters::{Parameters, Protocol as Foreign};
use linerate_iperf3::state::ServerError;
use linerate_wire::streams::{Load, Protocol, SocketOptions, SpecError, StreamsSpec};

use crate::spec::{Direction, Directions, TrialSpec};

/// Milliseconds between samples at a server.
const INTERVAL_MS: u32 = 1000;
/// Bytes of a block of TCP, and of a datagram, when the client does not say.
const USUAL_BLOCK_BYTES: (u32, u32) = (131_072, 1460);

/// Why a server refuses a test: iperf3's number, and words for this end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) words: String,
}

impl Refusal {
    pub(super) fn new(code: i32, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

/// The trial that a client asks for, and remarks on what differs from its wish.
///
/// # Errors
/// The first thing that is not possible here.
pub(super) fn trial(asked: &Parameters, most_streams: u32) -> Result<(TrialSpec, Vec<String>), Refusal> {
    let protocol = match asked.protocol {
        Foreign::Tcp => Protocol::Tcp,
        Foreign::Udp => Protocol::Udp,
        Foreign::Sctp => return Err(Refusal::new(ServerError::PROTOCOL, "the client asks for SCTP")),
    };
    if asked.parallel > most_streams {
        let words = format!("the client asks for {} streams; --max-streams {most_streams}", asked.parallel);
        return Err(Refusal::new(ServerError::STREAMS, words));
    }
    let directions = match (asked.bidirectional, asked.reverse) {
        (true, _) => Directions::Both,
        (_, true) => Directions::Reverse,
        _ => Directions::Forward,
    };
    let (tcp_block, datagram) = USUAL_BLOCK_BYTES;
    let usual = if protocol == Protocol::Tcp { tcp_block } else { datagram };
    let block_bytes = asked.block_bytes.unwrap_or(usual);
    let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
    let rate = least(asked.bandwidth, asked.fq_rate);
    let mut remarks = Vec::new();
    if asked.tos.is_some_and(|tos| tos & 3 != 0) {
        remarks.push(
            "the lowest two bits of the type of service are the kernel's (ECN), and not set".to_owned(),
        );
    }
    let mss = asked.mss.and_then(|mss| u16::try_from(mss).ok());
    let of_blocks = asked.blocks.map(|blocks| blocks.saturating_mul(block_bytes.into()));
    let spec = StreamsSpec {
        protocol,
        streams: asked.parallel,
        // iperf3 limits each stream; here, the streams of a direction share their limit.
        load: rate.map_or(Load::Max, |rate| Load::BitsPerSecond(rate as f64 * f64::from(asked.parallel))),
        duration_ms: asked.time_s.map(|time| time.saturating_add(asked.omit_s).saturating_mul(1000)),
        bytes: asked.bytes.or(of_blocks),
        block_bytes,
        sockets: SocketOptions {
            congestion: asked.congestion.clone(),
            window_bytes: asked.window_bytes,
            mss,
            dscp: asked.tos.map(|tos| tos >> 2),
            ..SocketOptions::default()
        },
    };
    let trial = TrialSpec { directions, interval_ms: INTERVAL_MS, server_cpu: None, each: spec };
    trial.check().map_err(|error| {
        let code = match &error {
            SpecError::Range { field: "block_bytes", .. } if protocol == Protocol::Udp => 20,
            SpecError::Range { field: "block_bytes", .. } => 7,
            SpecError::Range { field: "duration_ms", .. } => ServerError::DURATION,
            SpecError::Congestion => ServerError::CONGESTION,
            _ => ServerError::PARAMETERS,
        };
        Refusal::new(code, error.to_string())
    })?;
    Ok((trial, remarks))
}

/// What this end sends as a server: until the client ends the test, or all bytes that the client waits for. With
/// an omitted beginning, the client does not count those of the beginning.
pub(super) fn served(trial: &TrialSpec, omit_s: u64) -> StreamsSpec {
    let bytes = trial.each.bytes.filter(|_| omit_s == 0);
    StreamsSpec { duration_ms: None, bytes, ..trial.each.clone() }
}

/// The parameters of a trial at a server of iperf3.
pub(super) fn parameters(trial: &TrialSpec) -> Parameters {
    let each = &trial.each;
    let rate = each.load.bits_per_second(each.block_bytes).map(|bps| bps / f64::from(each.streams.max(1)));
    Parameters {
        protocol: match each.protocol {
            Protocol::Tcp => Foreign::Tcp,
            Protocol::Udp => Foreign::Udp,
        },
        // iperf3 has whole seconds. This end ends the test.
        time_s: each.duration_ms.map(|ms| ms.div_ceil(1000)),
        bytes: each.bytes,
        parallel: each.streams,
        reverse: trial.directions == Directions::Reverse,
        bidirectional: trial.directions == Directions::Both,
        block_bytes: Some(each.block_bytes),
        window_bytes: each.sockets.window_bytes,
        mss: each.sockets.mss.map(u32::from),
        bandwidth: rate.map(|bps| (bps.round() as u64).max(1)),
        tos: each.sockets.dscp.map(|dscp| dscp << 2),
        congestion: each.sockets.congestion.clone(),
        wide_counters: each.protocol == Protocol::Udp,
        client_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..Parameters::default()
    }
}

/// Index of a stream's results in iperf3's order: those that the client sends come first.
pub(super) fn stream_ids(trial: &TrialSpec, direction: Direction) -> impl Iterator<Item = (u32, i64)> {
    let first = trial.directions.first_stream(direction, trial.each.streams);
    (first..first + trial.each.streams).map(|number| (number, linerate_iperf3::stream_id(number).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_trials() {
        let asked = Parameters {
            protocol: Foreign::Udp,
            omit_s: 1,
            time_s: Some(10),
            parallel: 4,
            bidirectional: true,
            block_bytes: Some(1400),
            bandwidth: Some(1_000_000),
            fq_rate: Some(500_000),
            tos: Some(0xb9),
            ..Parameters::default()
        };
        let (trial, remarks) = trial(&asked, 128).unwrap();
        assert_eq!(trial.directions, Directions::Both);
        assert_eq!((trial.each.streams, trial.each.block_bytes), (4, 1400));
        assert_eq!(trial.each.load, Load::BitsPerSecond(2e6), "the smaller limit, of all streams");
        assert_eq!(trial.each.duration_ms, Some(11_000));
        assert_eq!(trial.each.sockets.dscp, Some(0x2e));
        assert!(remarks[0].contains("ECN"), "{remarks:?}");
        let ids: Vec<_> = stream_ids(&trial, Direction::Reverse).collect();
        assert_eq!(ids, [(4, 6), (5, 7), (6, 8), (7, 9)]);
        assert_eq!(served(&trial, 1).duration_ms, None);
    }

    #[test]
    fn an_absent_rate_is_no_limit_and_blocks_are_bytes() {
        let asked = Parameters { protocol: Foreign::Udp, blocks: Some(10), ..Parameters::default() };
        let (trial, _) = trial(&asked, 1).unwrap();
        assert_eq!((trial.each.load, trial.each.bytes), (Load::Max, Some(14_600)));
        assert_eq!(served(&trial, 0).bytes, Some(14_600));
        assert_eq!(served(&trial, 2).bytes, None, "the client does not count the beginning");
    }

    #[test]
    fn impossible_wishes_have_iperf3s_numbers() {
        let tcp = Parameters::default;
        let udp = |bytes| Parameters { protocol: Foreign::Udp, block_bytes: Some(bytes), ..tcp() };
        for (asked, code) in [
            (Parameters { protocol: Foreign::Sctp, ..tcp() }, 131),
            (Parameters { parallel: 129, ..tcp() }, 6),
            (Parameters { parallel: u32::MAX, ..tcp() }, 6),
            (Parameters { block_bytes: Some(1 << 30), ..tcp() }, 7),
            (udp(12), 20),
            (udp(65_508), 20),
            (Parameters { time_s: Some(u64::MAX), ..tcp() }, 37),
            (Parameters { congestion: Some("x".repeat(99)), ..tcp() }, 134),
            (Parameters { bandwidth: Some(u64::MAX), ..tcp() }, 114),
        ] {
            assert_eq!(trial(&asked, 128).unwrap_err().code, code, "{asked:?}");
        }
    }

    #[test]
    fn a_trial_is_asked_for_in_iperf3s_words() {
        let each = StreamsSpec { streams: 4, load: Load::BitsPerSecond(1e9), ..crate::spec::tcp_spec() };
        let each = StreamsSpec { duration_ms: Some(2500), ..each };
        let trial = TrialSpec { directions: Directions::Reverse, interval_ms: 1000, server_cpu: None, each };
        let asked = parameters(&trial);
        assert_eq!((asked.bandwidth, asked.time_s, asked.reverse), (Some(250_000_000), Some(3), true));
        assert!(!asked.wide_counters);
    }
}
