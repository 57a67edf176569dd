//! A trial between a client and a server: the streams of each direction, agreed before it starts.

use std::fmt;

use linerate_wire::streams::{SpecError, StreamsSpec};
use serde::{Deserialize, Serialize};

/// Range of the time between samples, in milliseconds.
const INTERVAL_RANGE_MS: (u32, u32) = (10, 3_600_000);

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
    /// From the end that opens the streams to the other one.
    Forward,
    /// The other way.
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

    /// Number of the first stream of a direction with `streams` each. The streams of a direction have successive
    /// numbers.
    pub(crate) fn first_stream(self, direction: Direction, streams: u32) -> u32 {
        if direction == Direction::Reverse && self == Directions::Both { streams } else { 0 }
    }

    /// Streams of all directions with `streams` each.
    pub(crate) fn total_streams(self, streams: u32) -> u32 {
        streams * self.each().len() as u32
    }

    /// Direction of a stream; `None` when there is no such stream.
    pub(crate) fn direction_of(self, stream: u32, streams: u32) -> Option<Direction> {
        let within = |direction: &&Direction| {
            let first = self.first_stream(**direction, streams);
            (first..first + streams).contains(&stream)
        };
        self.each().iter().find(within).copied()
    }
}

/// A trial between a client and a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrialSpec {
    pub(crate) directions: Directions,
    /// Milliseconds between samples.
    pub(crate) interval_ms: u32,
    /// CPU whose worker takes all streams at the server; absent: the workers take them in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu: Option<u32>,
    /// The streams of each direction.
    #[serde(flatten)]
    pub(crate) each: StreamsSpec,
}

impl TrialSpec {
    /// Streams of all directions.
    pub(crate) fn total_streams(&self) -> u32 {
        self.directions.total_streams(self.each.streams)
    }

    /// Checks what the other end asks for.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        let (least, most) = INTERVAL_RANGE_MS;
        if !(least..=most).contains(&self.interval_ms) {
            let (value, least, most) = (self.interval_ms.into(), least.into(), most.into());
            return Err(SpecError::Range { field: "interval_ms", value, least, most });
        }
        self.each.check()
    }
}

#[cfg(test)]
pub(crate) fn tcp_spec() -> StreamsSpec {
    use linerate_wire::streams::{Load, Protocol, SocketOptions};
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_numbered_by_direction() {
        use Direction::{Forward, Reverse};
        let directions: Vec<_> = (0..7).map(|stream| Directions::Both.direction_of(stream, 3)).collect();
        let [f, r] = [Some(Forward), Some(Reverse)];
        assert_eq!(directions, [f, f, f, r, r, r, None]);
        assert_eq!(Directions::Both.first_stream(Reverse, 3), 3);
        assert_eq!(Directions::Reverse.first_stream(Reverse, 3), 0);
        assert_eq!(Directions::Reverse.direction_of(2, 3), r);
        assert_eq!(Directions::Both.total_streams(3), 6);
    }

    #[test]
    fn intervals_have_a_range() {
        let trial = |interval_ms| TrialSpec {
            directions: Directions::Forward,
            interval_ms,
            server_cpu: None,
            each: tcp_spec(),
        };
        assert_eq!(trial(10).check(), Ok(()));
        let refusal = trial(1).check().unwrap_err().to_string();
        assert!(refusal.contains("interval_ms: 1 is outside 10…3600000"), "{refusal}");
    }
}
