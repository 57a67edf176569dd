//! Counters and reports of the stub's agents. Sent packets equal received plus lost ones exactly.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::trial::{FrameWork, RoleSpec, TransmitSpec, TrialSpec, Work};
use serde_json::{Value, json};

use super::agent::{Agent, Core};
use super::wire::Transmission;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Link speed that the agents' ports have, in bit/s.
const LINK_BPS: u64 = 10_000_000_000;
const CHECK_SEQUENCE_BYTES: f64 = 4.0;

/// Zero of all agents' clocks.
pub fn epoch() -> Instant {
    *EPOCH
}

fn frames(spec: &TrialSpec) -> &FrameWork {
    spec.work.frames().expect("work on frames")
}

fn transmit(spec: &TrialSpec) -> Option<&TransmitSpec> {
    match &spec.work.frames()?.role {
        RoleSpec::Transmit(transmit) => Some(transmit),
        _ => None,
    }
}

fn pps(spec: &TransmitSpec) -> f64 {
    let sizes = spec.profile.frame_sizes();
    spec.profile.rate().packets_per_second(sizes, Some(LINK_BPS)).unwrap().expect("a rate other than max")
}

/// Duration and packets of a transmitter.
fn plan(spec: &TransmitSpec) -> (Duration, u64) {
    let pps = pps(spec);
    let by_packets =
        spec.limit.packets.map(|packets| (Duration::from_secs_f64(packets as f64 / pps), packets));
    let by_time =
        spec.limit.duration_ms.map(|ms| (Duration::from_millis(ms), (ms as f64 * pps / 1000.0) as u64));
    by_packets.into_iter().chain(by_time).min().expect("a limit")
}

pub fn is_by_duration(spec: &TrialSpec) -> bool {
    transmit(spec).is_some_and(|spec| {
        spec.limit.duration_ms.is_some_and(|ms| Duration::from_millis(ms) == plan(spec).0)
    })
}

/// When a transmitter has sent everything.
pub fn end_of_sending(core: &Core) -> Option<Instant> {
    Some(core.begun? + plan(transmit(core.spec.as_ref()?)?).0)
}

/// Starts a transmitter's packets.
pub fn begin(agent: &Agent, core: &Core, begun: Instant) {
    put(agent, core, begun, None);
}

/// Ends a transmitter's packets.
pub fn halt(agent: &Agent, core: &Core, at: Instant) {
    if let Some(begun) = core.begun {
        put(agent, core, begun, Some(at));
    }
}

fn put(agent: &Agent, core: &Core, begun: Instant, stopped: Option<Instant>) {
    let Some((spec, trial)) = core.spec.as_ref().and_then(|trial| Some((transmit(trial)?, trial))) else {
        return;
    };
    agent.wire.send(spec.peer_mac, frames(trial).tag, transmission(spec, begun, stopped));
}

fn transmission(spec: &TransmitSpec, begun: Instant, stopped: Option<Instant>) -> Transmission {
    let (lasts, total) = plan(spec);
    Transmission { begun, pps: pps(spec), lasts, total, stopped }
}

fn sent(core: &Core, spec: &TransmitSpec, until: Instant) -> u64 {
    core.begun.map_or(0, |begun| transmission(spec, begun, Some(until)).sent())
}

fn counters(
    agent: &Agent,
    core: &Core,
    until: Instant,
) -> (Option<TransmitCounters>, Option<ReceiveCounters>, PortCounters) {
    let spec = core.spec.as_ref().expect("a trial");
    match transmit(spec) {
        Some(transmit) => {
            let packets = sent(core, transmit, until);
            let bytes = (packets as f64
                * (transmit.profile.frame_sizes().mean_bytes() - CHECK_SEQUENCE_BYTES))
                as u64;
            let port = PortCounters { tx_packets: packets, tx_bytes: bytes, ..PortCounters::default() };
            (Some(TransmitCounters { packets, bytes, ..TransmitCounters::default() }), None, port)
        }
        None => {
            let (packets, _) = agent.wire.arrived(agent.mac, frames(spec).received_tag());
            let port = PortCounters { rx_packets: packets, ..PortCounters::default() };
            let receive = ReceiveCounters { frames: packets, packets, ..ReceiveCounters::default() };
            (None, Some(receive), port)
        }
    }
}

pub fn sample(agent: &Agent, core: &Core, at: Instant) -> Value {
    let trial = core.spec.as_ref().map(|spec| spec.trial);
    let (transmit, receive, port) = counters(agent, core, at);
    let mut frames = json!({"port": port});
    if let Some(counters) = transmit {
        frames["transmit"] = json!(counters);
    }
    if let Some(counters) = receive {
        frames["receive"] = json!(counters);
        frames["queue_frames"] = json!([counters.frames]);
    }
    json!({"trial": trial, "at_ns": agent.ns(at), "measures": {"frames": frames}})
}

/// How a stop ends a trial: a receiver has all packets that were not lost.
pub fn ended_by_stop(agent: &Agent, core: &Core, params: &Value) -> &'static str {
    let spec = core.spec.as_ref().expect("a trial");
    match params["drain"]["expected_packets"].as_u64() {
        None => "stopped",
        Some(expected) if agent.wire.arrived(agent.mac, frames(spec).received_tag()).0 >= expected => {
            "packets"
        }
        Some(_) => "settled",
    }
}

pub fn report(agent: &Agent, core: &Core) -> Value {
    let spec = core.spec.as_ref().expect("a trial");
    let (ended, how) = core.ended.expect("an end");
    let begun = core.begun.unwrap_or(ended);
    if let Work::Watch(_) = spec.work {
        let queue = json!({"direction": "rx", "queue": 0, "packets": 7});
        return json!({
            "trial": spec.trial, "ended": how, "started_ns": agent.ns(begun), "ended_ns": agent.ns(ended),
            "disagreements": [], "notes": [], "workers": [],
            "detail": {"watch": {"interfaces": [{"interface": "eth0", "queues": [queue]}]}},
        });
    }
    let (_, _, port) = counters(agent, core, ended);
    let mut report = json!({"role": "rx", "port": port, "lcores": [1]});
    match counters(agent, core, ended) {
        (Some(counters), _, _) => {
            let transmit = transmit(spec).expect("a transmitter");
            let lasted = ended.saturating_duration_since(begun).as_secs_f64();
            report["role"] = json!("tx");
            report["transmit"] = json!({
                "counters": counters, "intended_pps": pps(transmit), "offered_pps": counters.packets as f64 / lasted.max(1e-9),
                "duration_s": lasted, "forgone_packets": 0, "unsent_packets": 0,
                "packets_per_lcore": [counters.packets], "headroom": [0.9],
            });
        }
        (_, counters, _) => {
            let counters = counters.unwrap_or_default();
            let (_, lost) = agent.wire.arrived(agent.mac, frames(spec).received_tag());
            report["receive"] = json!({
                "counters": counters, "sequence_gaps": lost, "beyond_window": 0, "latency": null,
                "packets_per_lcore": [counters.packets], "frames_per_queue": [counters.frames], "headroom": [0.9],
            });
        }
    }
    json!({
        "trial": spec.trial, "ended": how, "started_ns": agent.ns(begun), "ended_ns": agent.ns(ended),
        "disagreements": [], "notes": [], "workers": [], "detail": {"frames": report},
    })
}
