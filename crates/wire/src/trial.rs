//! Specification of one agent's part in a trial.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use linerate_traffic::limit::Limit;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::Profile;

use crate::diagnosis::DiagnosisWork;
use crate::http::HttpWork;
use crate::streams::StreamsWork;
use crate::watch::WatchWork;

/// One agent's part in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSpec {
    /// The controller's number of the trial; samples and the report repeat it.
    pub trial: u32,
    /// Work of the agent.
    pub work: Work,
    /// Time between samples, in milliseconds: 10…3,600,000.
    pub sample_interval_ms: u32,
    /// Orphan time in milliseconds, 100…3,600,000: a transmitter stops when its controller has been silent
    /// for this long.
    pub orphan_ms: u32,
    /// Count the node's interrupts by number and CPU: hundreds of files are read before and after the trial. One agent of a
    /// node is asked for it, in trials under settings of hosts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupts: bool,
}

/// Work of an agent in a trial, by the kind of traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Send or receive frames.
    Frames(FrameWork),
    /// Send or receive streams.
    Streams(Box<StreamsWork>),
    /// Send or answer requests.
    Http(Box<HttpWork>),
    /// Measure a path and say what is wrong with it, or answer who does.
    Diagnosis(DiagnosisWork),
    /// Watch the node, and move nothing.
    Watch(WatchWork),
}

impl Work {
    /// The work on frames; `None` for other kinds.
    pub fn frames(&self) -> Option<&FrameWork> {
        match self {
            Work::Frames(frames) => Some(frames),
            Work::Streams(_) | Work::Http(_) | Work::Diagnosis(_) | Work::Watch(_) => None,
        }
    }
}

/// Work on frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameWork {
    /// Tag in every probe that the agent sends and, unless the receiver's part names another one, expects. Frames with
    /// another tag count as stale.
    pub tag: u16,
    /// Role of the agent.
    pub role: RoleSpec,
}

impl FrameWork {
    /// Tag of the probes that the agent counts.
    pub fn received_tag(&self) -> u16 {
        match &self.role {
            RoleSpec::Receive(receive) | RoleSpec::Exchange(_, receive) => receive.tag.unwrap_or(self.tag),
            RoleSpec::Transmit(_) | RoleSpec::Reflect => self.tag,
        }
    }

    /// True when the controller will fetch the results of all flows.
    pub fn all_flows(&self) -> bool {
        match &self.role {
            RoleSpec::Receive(receive) | RoleSpec::Exchange(_, receive) => receive.all_flows,
            RoleSpec::Transmit(_) | RoleSpec::Reflect => false,
        }
    }
}

/// Role of an agent in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleSpec {
    /// Send.
    Transmit(Box<TransmitSpec>),
    /// Count.
    Receive(ReceiveSpec),
    /// Send, and count what arrives: the peer's packets, or the agent's own on their way back.
    Exchange(Box<TransmitSpec>, ReceiveSpec),
    /// Send received frames back. The agent must have been started with this ability.
    Reflect,
}

/// End of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Transmitter.
    Tx,
    /// Receiver.
    Rx,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Tx => "tx",
            Role::Rx => "rx",
        })
    }
}

/// What a transmitter sends, to which address, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransmitSpec {
    /// Traffic and intended load.
    pub profile: Profile,
    /// Destination address of every frame.
    pub peer_mac: MacAddr,
    /// End of sending; if both limits are given, the first one reached applies. `None` in both: until
    /// stopped.
    pub limit: Limit,
}

/// What a receiver expects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiveSpec {
    /// Number of flows: flow ids are below it, and the flow table has this size.
    pub flows: u32,
    /// Tag of the probes that count, where it differs from [`FrameWork::tag`]: an agent that sends on one path and counts
    /// on another must not count its own packets when they come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<u16>,
    /// True when the controller will fetch every flow's report, not only the worst flows.
    #[serde(default)]
    pub all_flows: bool,
}

/// How a receiver ends: it counts until everything that was sent has arrived, or until nothing more arrives.
///
/// The times that the user sets are lower bounds. They grow with the delay of the path and with the time
/// between packets, so that packets in flight do not count as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Packets that the transmitter sent.
    pub expected_packets: u64,
    /// Shortest rest after the last arrival that ends an incomplete drain, in milliseconds.
    pub settle_ms: u32,
    /// Shortest time limit of the drain, in milliseconds.
    pub limit_ms: u32,
    /// Largest delay of the path as far as it is known, in nanoseconds; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub path_delay_ns: u64,
    /// Largest delay less smallest delay of the path, in nanoseconds; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub path_variation_ns: u64,
    /// Mean time between packets, or between bursts, as they were sent, in nanoseconds; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap_ns: u64,
}

/// Shortest wait for duplicates after the last expected packet, in nanoseconds.
const SHORTEST_TAIL_NS: u64 = 5_000_000;

impl Drain {
    /// Times of an experiment whose document sets none. Those of frames also follow the delay that warm-up has measured.
    pub const OF_EXPERIMENTS: Self = Self::lasting(100, 5_000);
    /// Times of a stand-alone trial of frames, before which nothing has measured the path's delay.
    pub const STAND_ALONE: Self = Self::lasting(200, 5_000);
    /// Times of the datagrams of streams, of whose delays the mean alone is known.
    pub const OF_DATAGRAMS: Self = Self::lasting(300, 10_000);

    const fn lasting(settle_ms: u32, limit_ms: u32) -> Self {
        Self { expected_packets: 0, settle_ms, limit_ms, path_delay_ns: 0, path_variation_ns: 0, gap_ns: 0 }
    }

    /// Idle time after the last arrival that ends an incomplete drain, in nanoseconds: the largest of
    /// `settle_ms`, twice the path's largest delay, and three times the time between packets.
    pub fn settle_ns(&self) -> u64 {
        nanoseconds(self.settle_ms)
            .max(self.path_delay_ns.saturating_mul(2))
            .max(self.gap_ns.saturating_mul(3))
    }

    /// Time limit of the whole drain in nanoseconds: the larger of `limit_ms` and twice [`Self::settle_ns`].
    pub fn limit_ns(&self) -> u64 {
        nanoseconds(self.limit_ms).max(self.settle_ns().saturating_mul(2))
    }

    /// Wait for duplicates after the last expected packet, in nanoseconds: twice the variation of the path's
    /// delay, at least 5 ms and at most [`Self::settle_ns`].
    pub fn tail_ns(&self) -> u64 {
        self.path_variation_ns.saturating_mul(2).max(SHORTEST_TAIL_NS).min(self.settle_ns())
    }
}

/// Mean time between bursts of `burst` packets, in nanoseconds, when `packets` were sent within `time`; at most
/// `time`, which contains it.
pub fn gap_ns(time: Duration, packets: u64, burst: u32) -> u64 {
    let gap = time.as_nanos() * u128::from(burst) / u128::from(packets.max(1));
    u64::try_from(gap.min(time.as_nanos())).unwrap_or(u64::MAX)
}

fn nanoseconds(ms: u32) -> u64 {
    u64::from(ms) * 1_000_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_follows_the_path_and_the_rate() {
        const MS: u64 = 1_000_000;
        let plain = Drain { expected_packets: 1, settle_ms: 100, limit_ms: 5_000, ..Drain::default() };
        for (drain, settle, limit, tail) in [
            (plain, 100, 5_000, 5),
            (Drain { path_delay_ns: 40 * MS, path_variation_ns: MS, ..plain }, 100, 5_000, 5),
            (Drain { path_delay_ns: 600 * MS, path_variation_ns: 30 * MS, ..plain }, 1_200, 5_000, 60),
            (Drain { path_delay_ns: 4_000 * MS, ..plain }, 8_000, 16_000, 5),
            (Drain { gap_ns: 1_000 * MS, ..plain }, 3_000, 6_000, 5),
            (Drain { settle_ms: 2, ..plain }, 2, 5_000, 2),
        ] {
            let times = [drain.settle_ns() / MS, drain.limit_ns() / MS, drain.tail_ns() / MS];
            assert_eq!(times, [settle, limit, tail], "{drain:?}");
        }
    }

    #[test]
    fn gaps_are_between_bursts() {
        let second = Duration::from_secs(1);
        for (packets, burst, millis) in
            [(1000, 1, 1), (1000, 100, 100), (1, 1, 1000), (1, 64, 1000), (0, 1, 1000)]
        {
            assert_eq!(gap_ns(second, packets, burst), millis * 1_000_000, "{packets} {burst}");
        }
    }

    #[test]
    fn an_agent_that_also_sends_counts_what_its_peer_sends() {
        let work = |text: &str| serde_json::from_str::<FrameWork>(text).unwrap();
        let sends =
            r#"{"profile":{},"peer_mac":"02:00:00:00:00:02","limit":{"duration_ms":1,"packets":null}}"#;
        // An earlier controller has one tag for both ways.
        for (receive, tag) in [(r#"{"flows":1}"#, 7), (r#"{"flows":1,"tag":8}"#, 8)] {
            let text = format!(r#"{{"tag":7,"role":{{"exchange":[{sends},{receive}]}}}}"#);
            assert_eq!((work(&text).tag, work(&text).received_tag()), (7, tag));
        }
        let receive = ReceiveSpec { flows: 1, all_flows: false, tag: None };
        assert_eq!(serde_json::to_string(&receive).unwrap(), r#"{"flows":1,"all_flows":false}"#);
    }

    #[test]
    fn what_is_unknown_is_not_sent() {
        let drain = Drain { expected_packets: 1, settle_ms: 2, limit_ms: 3, ..Drain::default() };
        let text = r#"{"expected_packets":1,"settle_ms":2,"limit_ms":3}"#;
        assert_eq!(serde_json::to_string(&drain).unwrap(), text);
        assert_eq!(serde_json::from_str::<Drain>(text).unwrap(), drain);
    }
}
