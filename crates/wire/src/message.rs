//! Messages between the controller and an agent: JSON Lines over one TCP connection.
//!
//! The controller sends [`Request`]s, each with an id; the agent answers each with one [`Reply`] of the same
//! id and sends [`Event`]s in between. The first request must be `hello` with the right version and token;
//! until then the agent answers no other request. A line is at most [`MAX_LINE_BYTES`] long, one of an
//! agent [`MAX_REPLY_BYTES`]. See
//! `docs/protocol.md` for an example.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::engine::EngineInfo;
use crate::host::HostInfo;
use crate::network::NextHop;
use crate::report::{FlowRow, Report};
use crate::sample::Sample;
use crate::state::AgentState;
use crate::time::{SendingTimes, TickRate};
use crate::trial::{Drain, TrialSpec};

/// Version of these messages; both sides must have the same.
pub const PROTOCOL_VERSION: u32 = 2;
/// Longest line that an agent accepts, in bytes, newline included.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Longest line that a controller accepts, likewise: the report of a path with the most streams fits into it.
pub const MAX_REPLY_BYTES: usize = 64 << 20;
/// Most flows in one reply: their rows fit into a line, whatever their values.
pub const MAX_FLOW_ROWS: u32 = 4096;
/// Most time from now to an agreed start, in milliseconds.
pub const MAX_START_AHEAD_MS: u64 = 10_000;
/// Environment variable that holds the token when no token file is given.
pub const TOKEN_VARIABLE: &str = "LINERATE_TOKEN";
/// Length of the shortest token, in bytes.
pub const SHORTEST_TOKEN_BYTES: usize = 16;
/// Environment variable with the process id of the controller that started the agent. The agent ends once
/// that process has ended.
pub const CONTROLLER_VARIABLE: &str = "LINERATE_CONTROLLER_PID";

/// A request of the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the reply.
    pub id: u64,
    /// The request itself.
    #[serde(flatten)]
    pub command: Command,
}

/// Requests of a controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "lowercase")]
pub enum Command {
    /// Opens the session; must come first.
    Hello(Hello),
    /// Keeps the session alive, and reads the agent's clock.
    Ping,
    /// Runs hugepage-check where the agent runs.
    Preflight,
    /// Looks up the next hop from the agent's port to an address, and resolves its Ethernet address. Allowed
    /// only while idle, and only for agents whose port has addresses.
    NextHop(NextHopTo),
    /// Accepts a trial: idle → prepared.
    Prepare(Box<TrialSpec>),
    /// Launches the lcores: prepared → armed.
    Arm,
    /// Begins the trial: armed → running.
    Start(Start),
    /// Ends the trial: running → finished, after the drain if one is given; prepared, armed → idle.
    Stop(Stop),
    /// Fetches the report of a finished trial.
    Report,
    /// Fetches flows of a finished trial, [`MAX_FLOW_ROWS`] at most.
    Flows(FlowsFrom),
    /// Confirms that the controller has the report: finished → idle.
    Acknowledge(Acknowledge),
    /// Ends the agent program; a trial or report that it holds is discarded.
    Shutdown,
}

/// Parameters of `hello`. Their form is the same in all versions. Fields that another version adds are
/// ignored, so that the agent can refuse its version.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the controller.
    pub protocol: u32,
    /// The shared secret.
    pub token: String,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token must not appear in a log.
        f.debug_struct("Hello").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// Parameters of `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Instant at which senders begin, on the agent's raw monotonic clock in nanoseconds, at most
    /// [`MAX_START_AHEAD_MS`] from now. Absent or past: at once.
    #[serde(default)]
    pub at_ns: Option<u64>,
}

/// Parameters of `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Drain: the agent goes on counting until the counters settle.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Packets that each TX lcore of the sender sent, in the order of its report. A receiver needs them to
    /// compute each flow's loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_per_lcore: Vec<u64>,
    /// When the sender sent. A receiver needs it to tell when packets were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<SendingTimes>,
}

/// Parameters of `flows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowsFrom {
    /// The first flow to return.
    pub first: u32,
}

/// Parameters of `nexthop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextHopTo {
    /// The destination address.
    pub to: IpAddr,
}

/// Parameters of `acknowledge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The trial whose report the controller has stored.
    pub trial: u32,
}

/// A line of the agent: a reply or an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FromAgent {
    /// A message without a request.
    Event(Event),
    /// The answer to a request.
    Reply(Reply),
}

/// The answer to one request: exactly one of `result` and `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Id of the request; absent when the request had no readable one.
    pub id: Option<u64>,
    /// Present on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// Present on failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

/// Result of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answer to `hello`.
    Welcome(Box<Welcome>),
    /// Answer to `ping`.
    Pong(Pong),
    /// Answer to `preflight`: hugepage-check's report, in its JSON form.
    Preflight(serde_json::Value),
    /// Answer to `nexthop`.
    NextHop(NextHop),
    /// Answer to every request that changes the agent's state: the new state.
    State(AgentState),
    /// Answer to `report`.
    Report(Box<Report>),
    /// Answer to `flows`.
    Flows(FlowRows),
}

/// Some flows of a finished trial, as the receiver counted them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRows {
    /// Index of the first row's flow; the other rows follow in order.
    pub first: u32,
    /// A row per flow; empty when there are no further flows.
    pub rows: Vec<FlowRow>,
}

/// Description of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL_VERSION`] of the agent.
    pub protocol: u32,
    /// Version of the agent program.
    pub agent: String,
    /// State of the agent.
    pub state: AgentState,
    /// The finished trial whose report is not yet acknowledged, if any.
    pub waiting: Option<u32>,
    /// The agent's clock.
    pub clock: ClockInfo,
    /// The agent's machine; absent from agents that do not report it.
    #[serde(default)]
    pub host: Option<HostInfo>,
    /// The agent's engine.
    pub engine: EngineInfo,
}

/// Properties of an agent's clock that comparing times requires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// The kernel's boot id: agents with the same id run on the same kernel and read the same counter.
    pub boot_id: String,
    /// Counter that probes carry, such as `tsc`.
    pub source: String,
    /// Measured frequency in Hz.
    pub tick_hz: u64,
    /// Nominal and measured frequency; absent from agents that did not measure and take `tick_hz` from DPDK.
    #[serde(default)]
    pub rate: Option<TickRate>,
    /// True when the counter runs at one rate on all CPUs, whatever their power state.
    pub invariant: bool,
    /// The agent's raw monotonic clock (`CLOCK_MONOTONIC_RAW`) at the time of the answer, in nanoseconds.
    pub now_ns: u64,
}

/// Answer to `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The agent's raw monotonic clock (`CLOCK_MONOTONIC_RAW`) at the time of the answer, in nanoseconds.
    pub now_ns: u64,
    /// State of the agent.
    pub state: AgentState,
    /// True when traffic can flow: the port's link is up.
    pub ready: bool,
}

/// Events: messages that an agent sends without a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum Event {
    /// Measures at an instant, while a trial runs.
    Sample(Box<Sample>),
    /// The exchange has sent all its packets; packets in flight may still arrive.
    Sent(Sent),
    /// The named trial ended; its report is ready.
    Finished(Acknowledge),
    /// The named trial failed inside the agent; there is no report, and the agent is idle.
    Failed(TrialFailed),
}

/// End of an exchange's sending half.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sent {
    /// The trial.
    pub trial: u32,
    /// Packets that the port accepted.
    pub packets: u64,
    /// Packets accepted per TX lcore, in the order of the report.
    #[serde(default)]
    pub packets_per_lcore: Vec<u64>,
    /// When it sent; the end is when the agent saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<SendingTimes>,
}

/// Why a trial failed inside an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialFailed {
    /// The trial.
    pub trial: u32,
    /// Text for people: the thing and the reason.
    pub message: String,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Kind of failure, for programs.
    pub code: ErrorCode,
    /// Text for people: the thing, the reason, the remedy.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The line is not a request.
    Malformed,
    /// The line is longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// The line or the hello did not arrive in time.
    TooSlow,
    /// The token is missing or wrong.
    Unauthorized,
    /// The other side uses another protocol version.
    Version,
    /// Another controller is connected.
    Busy,
    /// The agent's state does not allow the request.
    IllegalStep,
    /// The agent cannot run the trial as specified.
    Refused,
    /// The port or an lcore failed.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_documented() {
        let hello = Request { id: 1, command: Command::Hello(Hello { protocol: 2, token: "secret".into() }) };
        let line = serde_json::to_string(&hello).unwrap();
        assert_eq!(line, r#"{"id":1,"method":"hello","params":{"protocol":2,"token":"secret"}}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), hello);
        assert!(!format!("{hello:?}").contains("secret"), "a token must not reach a log");

        for (line, command) in [
            (r#"{"id":2,"method":"ping"}"#, Command::Ping),
            (r#"{"id":3,"method":"start","params":{}}"#, Command::Start(Start::default())),
            (r#"{"id":3,"method":"start","params":{"at_ns":7}}"#, Command::Start(Start { at_ns: Some(7) })),
            (r#"{"id":3,"method":"stop","params":{}}"#, Command::Stop(Stop::default())),
            (
                r#"{"id":4,"method":"acknowledge","params":{"trial":7}}"#,
                Command::Acknowledge(Acknowledge { trial: 7 }),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Request>(line).unwrap().command, command);
        }
    }

    /// A line of the protocol, and the same after it was read and written again.
    fn again<T: Serialize + for<'de> Deserialize<'de>>(line: &str) -> String {
        let read = serde_json::from_str::<T>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        serde_json::to_string(&read).unwrap()
    }

    #[test]
    fn lines_of_this_version_keep_their_form() {
        for line in [
            concat!(
                r#"{"id":2,"method":"prepare","params":{"trial":7,"work":{"frames":{"tag":9,"#,
                r#""role":{"receive":{"flows":10,"all_flows":false}}}},"sample_interval_ms":1000,"orphan_ms":5000}}"#
            ),
            r#"{"id":2,"method":"prepare","params":{"trial":7,"work":{"frames":{"tag":9,"role":"reflect"}},"sample_interval_ms":1000,"orphan_ms":5000}}"#,
        ] {
            assert_eq!(again::<Request>(line), line);
        }
        for line in [
            concat!(
                r#"{"id":1,"result":{"welcome":{"protocol":2,"agent":"a 1","state":"idle","waiting":null,"clock":{"boot_id":"b","#,
                r#""source":"tsc","tick_hz":1,"rate":null,"invariant":true,"now_ns":0},"host":null,"engine":{"frames":{"dpdk":"d 1","#,
                r#""port":{"port":0,"device":"net_null0","driver":"net_null","mac":"02:00:00:00:00:01","numa_node":null,"link_bps":null,"#,
                r#""link_up":true,"max_rx_queues":1,"max_tx_queues":1,"mtu":1500,"rx_descriptors":[0,1],"tx_descriptors":[0,1],"#,
                r#""kernel_driver":null,"firmware":null,"max_mtu":null,"interface":null},"lcores":[1],"no_huge":true}}}}}"#
            ),
            r#"{"id":3,"result":{"pong":{"now_ns":5,"state":"idle","ready":true}}}"#,
            concat!(
                r#"{"event":"sample","data":{"trial":7,"at_ns":5,"measures":{"frames":{"transmit":{"packets":1,"bytes":60,"queue_full":0,"#,
                r#""no_mbuf":0},"port":null}},"host":{"process_cpu_ns":3}}}"#
            ),
            concat!(
                r#"{"id":5,"result":{"report":{"trial":7,"ended":"duration","started_ns":1,"ended_ns":2,"disagreements":[],"notes":[],"#,
                r#""workers":[],"detail":{"frames":{"role":"tx","port":null,"lcores":[1]}}}}}"#
            ),
        ] {
            assert_eq!(again::<FromAgent>(line), line);
        }
    }

    #[test]
    fn a_hello_of_any_version_is_read() {
        let hello = |line| serde_json::from_str::<Request>(line).unwrap().command;
        for (line, protocol) in [
            (r#"{"id":1,"method":"hello","params":{"protocol":1,"token":"t"}}"#, 1),
            (r#"{"id":1,"method":"hello","params":{"protocol":9,"token":"t","later":{"more":[1]}}}"#, 9),
        ] {
            assert_eq!(hello(line), Command::Hello(Hello { protocol, token: "t".into() }));
        }
    }

    #[test]
    fn replies_and_events_are_distinguished() {
        let reply = r#"{"id":5,"result":{"state":"armed"}}"#;
        let event = r#"{"event":"finished","data":{"trial":3}}"#;
        let error = r#"{"id":null,"error":{"code":"malformed","message":"no"}}"#;
        assert!(matches!(
            serde_json::from_str(reply).unwrap(),
            FromAgent::Reply(Reply { id: Some(5), result: Some(Outcome::State(AgentState::Armed)), .. })
        ));
        assert!(matches!(serde_json::from_str(event).unwrap(), FromAgent::Event(Event::Finished(_))));
        assert!(matches!(
            serde_json::from_str(error).unwrap(),
            FromAgent::Reply(Reply { id: None, error: Some(_), .. })
        ));
    }

    #[test]
    fn the_most_rows_fit_a_line_whatever_they_hold() {
        let bytes = |count: usize| {
            let rows = FlowRows { first: u32::MAX, rows: vec![[u64::MAX; 8]; count] };
            let reply = Reply { id: Some(u64::MAX), result: Some(Outcome::Flows(rows)), error: None };
            serde_json::to_string(&reply).unwrap().len()
        };
        let further_row = bytes(2) - bytes(1);
        assert!(bytes(1) + (MAX_FLOW_ROWS as usize - 1) * further_row < MAX_LINE_BYTES);
    }

    #[test]
    fn broken_lines_are_errors() {
        for line in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"id":1}"#,
            r#"{"id":1,"method":"dance"}"#,
            r#"{"id":-1,"method":"ping"}"#,
            r#"{"id":1,"method":"hello","params":{"protocol":1}}"#,
            r#"{"id":1,"method":"acknowledge","params":{"trial":1,"extra":2}}"#,
        ] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }
}
