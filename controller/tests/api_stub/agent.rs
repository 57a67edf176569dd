//! An agent without a port: it speaks the protocol and counts the simulated packets.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use linerate_traffic::mac::MacAddr;
use linerate_wire::state::{AgentState, Step};
use linerate_wire::trial::{TrialSpec, Work};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::watch;

use super::report;
use super::wire::Wire;

/// Address at which every backend of HTTP answers.
pub const BACKEND: &str = "10.0.0.1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Lives,
    /// Its node is lost: it neither receives nor sends messages.
    Frozen,
    Dead,
}

pub struct Agent {
    name: String,
    pub mac: MacAddr,
    node: String,
    token: String,
    pub wire: Arc<Wire>,
    began: Instant,
    core: Mutex<Core>,
    condition: watch::Sender<Condition>,
}

/// State of the agent.
#[derive(Default)]
pub struct Core {
    state: Option<AgentState>,
    pub spec: Option<TrialSpec>,
    pub begun: Option<Instant>,
    pub ended: Option<(Instant, &'static str)>,
    next_sample: Option<Instant>,
    has_controller: bool,
    left_alone: Option<Instant>,
}

impl Core {
    fn state(&self) -> AgentState {
        self.state.unwrap_or(AgentState::Idle)
    }
}

/// Releases the controller when the connection ends, in whatever way.
struct Presence<'a>(&'a Agent);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core();
        (core.has_controller, core.left_alone) = (false, Some(Instant::now()));
    }
}

impl Agent {
    pub fn start(name: &str, node: &str, token: String, wire: Arc<Wire>) -> Arc<Self> {
        let digits = name.find(|one: char| one.is_ascii_digit()).unwrap();
        let (end, number) = name.split_at(digits);
        let [high, low] = number.parse::<u16>().unwrap().to_be_bytes();
        Arc::new(Self {
            name: name.to_owned(),
            mac: MacAddr([2, 0, 0, high, low, u8::from(end == "rx")]),
            node: node.to_owned(),
            token,
            wire,
            began: Instant::now(),
            core: Mutex::default(),
            condition: watch::Sender::new(Condition::Lives),
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap()
    }

    pub fn kill(&self) {
        self.condition.send_replace(Condition::Dead);
        self.end(&mut self.core(), Instant::now(), "stopped");
    }

    pub fn freeze(&self) {
        self.condition.send_replace(Condition::Frozen);
    }

    pub fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    /// An instant on the clock that all agents share.
    pub fn ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(report::epoch().min(self.began)).as_nanos() as u64
    }

    /// Serves one connection.
    pub async fn serve(&self, stream: DuplexStream) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        let mut condition = self.condition.subscribe();
        let mut presence = None;
        loop {
            let now = *condition.borrow_and_update();
            if now == Condition::Dead {
                return;
            }
            let heard = now == Condition::Lives;
            let due = self.due();
            let text = tokio::select! {
                _ = condition.changed() => continue,
                line = lines.next_line(), if heard => {
                    let Ok(Some(line)) = line else { return };
                    let request: Value = serde_json::from_str(&line).unwrap();
                    if request["method"] == "hello" && presence.is_none() && !self.core().has_controller {
                        presence = Some(Presence(self));
                        self.take_controller();
                    }
                    if request["method"] == "acknowledge" {
                        let mut lost = self.wire.lost_at_acknowledgement.lock().unwrap();
                        if lost.as_ref() == Some(&self.name) {
                            *lost = None;
                            return;
                        }
                    }
                    let settle = request["params"]["drain"]["settle_ms"].as_u64().unwrap_or(0);
                    tokio::time::sleep(Duration::from_millis(settle)).await;
                    let (answer, ends) = self.answer(&request, presence.is_some());
                    if ends {
                        let _ = write.write_all(answer.as_bytes()).await;
                        return;
                    }
                    answer
                }
                () = tokio::time::sleep_until(due.into()), if heard => self.events(),
            };
            if write.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn take_controller(&self) {
        let mut core = self.core();
        core.has_controller = true;
        let alone = core.left_alone.take();
        if let (Some(alone), Some(spec)) = (alone, core.spec.clone()) {
            let limit = alone + Duration::from_millis(spec.orphan_ms.into());
            if limit < Instant::now() && core.state() == AgentState::Running {
                self.end(&mut core, limit, "orphaned");
            }
        }
    }

    /// Ends the trial in any phase.
    fn end(&self, core: &mut Core, at: Instant, how: &'static str) {
        if core.state() == AgentState::Running {
            core.state = Some(AgentState::Finished);
            core.ended = Some((at, how));
            report::halt(self, core, at);
        }
    }

    fn due(&self) -> Instant {
        let core = self.core();
        let next = core.next_sample.filter(|_| core.state() == AgentState::Running);
        let end = report::end_of_sending(&core).filter(|_| core.state() == AgentState::Running);
        let never = Instant::now() + Duration::from_secs(3600);
        next.unwrap_or(never).min(end.unwrap_or(never))
    }

    /// Events that are due.
    fn events(&self) -> String {
        let mut core = self.core();
        let now = Instant::now();
        let Some(spec) = core.spec.clone() else { return String::new() };
        let mut text = String::new();
        if core.next_sample.is_some_and(|due| due <= now) {
            let interval = Duration::from_millis(spec.sample_interval_ms.into());
            core.next_sample = core.next_sample.map(|due| due + interval);
            text += &format!("{}\n", json!({"event": "sample", "data": report::sample(self, &core, now)}));
        }
        if let Some(end) = report::end_of_sending(&core).filter(|end| *end <= now) {
            let how = if report::is_by_duration(&spec) { "duration" } else { "packets" };
            self.end(&mut core, end, how);
            text += &format!("{}\n", json!({"event": "finished", "data": {"trial": spec.trial}}));
        }
        text
    }

    /// The reply to a request, and whether it is the last one.
    fn answer(&self, request: &Value, is_known: bool) -> (String, bool) {
        let method = request["method"].as_str().unwrap();
        let done = match method {
            "hello" if !is_known => Err(("busy", "another controller is connected".to_owned())),
            "hello" if request["params"]["token"] != *self.token => {
                Err(("unauthorized", "the token is wrong".to_owned()))
            }
            _ if !is_known => Err(("unauthorized", "the first request must be hello".to_owned())),
            _ => self.act(method, &request["params"]),
        };
        let line = match done {
            Ok(result) => json!({"id": request["id"], "result": result}),
            Err((code, message)) => {
                json!({"id": request["id"], "error": {"code": code, "message": message}})
            }
        };
        (format!("{line}\n"), method == "shutdown")
    }

    fn act(&self, method: &str, params: &Value) -> Result<Value, (&'static str, String)> {
        let mut core = self.core();
        let step = match method {
            "hello" => return Ok(json!({"welcome": self.welcome(&core)})),
            "ping" => {
                let state = core.state();
                return Ok(json!({"pong": {"now_ns": self.now_ns(), "state": state, "ready": true}}));
            }
            "preflight" => return Ok(json!({"preflight": {"checks": []}})),
            "shutdown" => return Ok(json!({"state": core.state()})),
            "prepare" => Step::Prepare,
            "arm" => Step::Arm,
            "start" => Step::Start,
            "stop" => Step::Stop,
            "report" => Step::Report,
            "acknowledge" => Step::Acknowledge,
            other => return Err(("refused", format!("the stub's agent does not know {other}"))),
        };
        let refused = |error: &dyn std::fmt::Display| ("illegal-step", error.to_string());
        let next = core.state().after(step).map_err(|error| refused(&error))?;
        match step {
            Step::Prepare => {
                let spec = TrialSpec::deserialize(params).map_err(|error| ("refused", error.to_string()))?;
                if matches!(spec.work, Work::Http(_)) {
                    return Err(("refused", "the stub's agents send no requests".to_owned()));
                }
                *core = Core { spec: Some(spec), has_controller: true, ..Core::default() };
            }
            Step::Start => {
                // Starts at an instant of the agent's clock, or at once.
                let wait = params["at_ns"].as_u64().map_or(0, |at| at.saturating_sub(self.now_ns()));
                let begun = Instant::now() + Duration::from_nanos(wait);
                core.begun = Some(begun);
                let interval = core.spec.as_ref().map_or(1000, |spec| spec.sample_interval_ms);
                core.next_sample = Some(begun + Duration::from_millis(interval.into()));
                report::begin(self, &core, begun);
            }
            Step::Stop if core.state() == AgentState::Running => {
                let how = report::ended_by_stop(self, &core, params);
                self.end(&mut core, Instant::now(), how);
            }
            Step::Report => return Ok(json!({"report": report::report(self, &core)})),
            _ => {}
        }
        core.state = Some(next);
        Ok(json!({"state": next}))
    }

    /// Clients `c0`, … and backends `b0`, … of HTTP, and `node0`, …, which watch nodes, have an engine of streams.
    fn engine(&self) -> Value {
        if self.name.starts_with(['c', 'b', 'n']) {
            let door = json!({"listen": format!("{BACKEND}:8080"), "name": self.name});
            let door = if self.name.starts_with('b') { door } else { Value::Null };
            return json!({"streams": {
                "listen": ["0.0.0.0:22023"], "workers": 1, "cpus": [0], "congestion": "cubic", "interfaces": [], "descriptors": 1024,
                "http": door,
            }});
        }
        json!({"frames": {"dpdk": "none", "lcores": [1], "no_huge": true, "port": {
            "port": 0, "device": self.name, "driver": "net_stub", "mac": self.mac, "numa_node": null,
            "link_bps": 10_000_000_000_u64, "link_up": true, "max_rx_queues": 1, "max_tx_queues": 1,
            "mtu": 1500, "rx_descriptors": [64, 4096], "tx_descriptors": [64, 4096], "kernel_driver": null,
        }}})
    }

    fn welcome(&self, core: &Core) -> Value {
        let waiting = core.spec.as_ref().filter(|_| core.state() == AgentState::Finished);
        json!({
            "protocol": linerate_wire::message::PROTOCOL_VERSION,
            "agent": "stub", "state": core.state(),
            "waiting": waiting.map(|spec| spec.trial),
            "engine": self.engine(),
            "clock": {"boot_id": self.node, "source": "tsc", "tick_hz": 1_000_000_000, "invariant": true, "now_ns": self.now_ns()},
        })
    }
}
