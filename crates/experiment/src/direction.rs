//! Direction of the packets in a trial.

use linerate_wire::report::Part;
use linerate_wire::trial::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which ways packets go in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the transmitter to the receiver.
    #[default]
    OneWay,
    /// Both ways at once: each end of a pair sends the profile to the other. Each way has a result of its own.
    Bidirectional,
    /// From the transmitter to the receiver and back: times of the whole way, read from one clock.
    RoundTrip,
}

impl Direction {
    /// Part of the agent at that end of a pair.
    pub fn part(self, end: Role) -> Part {
        match (self, end) {
            (Direction::OneWay, Role::Tx) => Part::Tx,
            (Direction::OneWay, Role::Rx) => Part::Rx,
            (Direction::Bidirectional, _) | (Direction::RoundTrip, Role::Tx) => Part::Exchange,
            (Direction::RoundTrip, Role::Rx) => Part::Reflect,
        }
    }

    /// True when delays are round-trip delays.
    pub fn is_round_trip(self) -> bool {
        self == Direction::RoundTrip
    }

    /// Worker lcores of the agent at that end, with `tx` sending and `rx` receiving ones.
    pub fn workers(self, end: Role, tx: u32, rx: u32) -> u32 {
        match self.part(end) {
            Part::Tx => tx,
            Part::Rx | Part::Reflect => rx,
            Part::Exchange => tx + rx,
        }
    }

    /// TX and RX queues of the port at that end; `None` when they follow from its lcores. See
    /// [`Self::agent_options`].
    pub fn queues(self, end: Role, tx: u32, rx: u32, rings: bool) -> Option<(u32, u32)> {
        match (self, end) {
            (Direction::Bidirectional, _) if rings => Some((tx, tx)),
            (_, Role::Tx) if rings => Some((tx, rx)),
            (_, Role::Rx) if rings => Some((rx, tx)),
            _ => (self.part(end) == Part::Exchange).then_some((tx, rx)),
        }
    }

    /// Options of the agent at that end, after `agent`: the queues of its port, if they do not follow from
    /// its lcores, and whether it sends back what it receives.
    ///
    /// If ports are connected by `rings`, as with memif, each transmit queue is a receive queue of the other
    /// end. A port with more receive queues than that would read frames twice, because memif uses the first
    /// ring in place of a missing one.
    pub fn agent_options(self, end: Role, tx: u32, rx: u32, rings: bool) -> Vec<String> {
        let mut options = Vec::new();
        if let Some((txq, rxq)) = self.queues(end, tx, rx, rings) {
            options.extend(["--txq".to_owned(), txq.to_string(), "--rxq".to_owned(), rxq.to_string()]);
        }
        if self.part(end) == Part::Reflect {
            options.push("--reflector".to_owned());
        }
        options
    }
}
