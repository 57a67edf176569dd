//! An agent without a port: it speaks the protocol and counts the packets that its peer reports as sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ipnet::IpNet;
use linerate_runner::platform::Exit;
use linerate_traffic::mac::MacAddr;
use linerate_wire::counters::{ReceiveCounters, TransmitCounters};
use linerate_wire::engine::{EngineInfo, FrameEngine};
use linerate_wire::message::{
    Acknowledge, Command, ErrorCode, Event, FlowRows, FromAgent, Outcome, Pong, Reply, Request, Sent,
    Welcome, WireError,
};
use linerate_wire::network::{NextHop, PortNetwork, Resolver};
use linerate_wire::port::PortInfo;
use linerate_wire::report::{Ended, FrameReport, Part, ReceiveReport, Report, ReportDetail, TransmitReport};
use linerate_wire::sample::{FrameMeasures, Measures, Sample};
use linerate_wire::state::{AgentState, Step};
use linerate_wire::trial::{FrameWork, Role, RoleSpec, TrialSpec};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::watch;

use crate::memory::{Serve, welcome};

/// Packets of a trial without a limit.
const PACKETS: u64 = 1000;

/// Deviations of an agent from the normal behaviour.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Its port reports no link speed.
    pub has_no_link_speed: bool,
    pub addresses: Vec<IpNet>,
    /// Why it refuses to send.
    pub refuses_to_send: Option<&'static str>,
    /// Why it cannot resolve a next hop.
    pub finds_no_way: Option<&'static str>,
    /// Its drain takes the whole settle time, and it sends samples meanwhile.
    pub drains_slowly: bool,
    /// It reports an impossible rate.
    pub reports_nonsense: bool,
    /// The starts at which it exits, counted from 1 over all processes of the name; warm-up has starts as
    /// well.
    pub dies_at_starts: Vec<u32>,
}

/// Packets in flight, and the state that all processes of one name share.
#[derive(Debug, Default)]
pub struct World {
    sent: Mutex<HashMap<(String, u16), u64>>,
    starts: Mutex<HashMap<String, Arc<AtomicU32>>>,
}

#[derive(Debug)]
pub struct Agent {
    name: String,
    peer: String,
    mac: MacAddr,
    script: Script,
    world: Arc<World>,
    starts: Arc<AtomicU32>,
    exit: watch::Sender<Option<Exit>>,
    core: Mutex<Core>,
}

#[derive(Debug)]
struct Core {
    state: AgentState,
    spec: Option<TrialSpec>,
}

impl Agent {
    pub fn new(end: Role, pair: usize, script: Script, world: &Arc<World>) -> Arc<Self> {
        let (other, last) = if end == Role::Tx { (Role::Rx, 0) } else { (Role::Tx, 1) };
        let name = format!("{end}{pair}");
        Arc::new(Self {
            peer: format!("{other}{pair}"),
            mac: MacAddr([2, 0, 0, 0, pair as u8, last]),
            script,
            starts: world.starts.lock().unwrap().entry(name.clone()).or_default().clone(),
            world: world.clone(),
            name,
            exit: watch::Sender::new(None),
            core: Mutex::new(Core { state: AgentState::Idle, spec: None }),
        })
    }

    pub fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap()
    }

    fn sample_interval(&self) -> Duration {
        let core = self.core();
        Duration::from_millis(core.spec.as_ref().map_or(0, |spec| spec.sample_interval_ms).into())
    }

    /// Result of a request, and the events before and after the reply.
    fn act(&self, command: &Command) -> (Vec<Event>, Result<Outcome, String>, Vec<Event>) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let result = self.answer(command, &mut before, &mut after);
        (before, result, after)
    }

    fn answer(
        &self,
        command: &Command,
        before: &mut Vec<Event>,
        after: &mut Vec<Event>,
    ) -> Result<Outcome, String> {
        let mut core = self.core();
        let step = match command {
            Command::Hello(_) => return Ok(Outcome::Welcome(Box::new(self.welcome(core.state)))),
            Command::Ping => {
                return Ok(Outcome::Pong(Pong { now_ns: 0, state: core.state, ready: true }));
            }
            Command::Preflight => return Ok(Outcome::Preflight(serde_json::json!({}))),
            Command::NextHop(asked) => return self.next_hop(asked.to),
            Command::Flows(from) => {
                return Ok(Outcome::Flows(FlowRows { first: from.first, rows: Vec::new() }));
            }
            Command::Shutdown => return Ok(Outcome::State(core.state)),
            Command::Report => return Ok(Outcome::Report(Box::new(self.report(&core)))),
            Command::Prepare(_) => Step::Prepare,
            Command::Arm => Step::Arm,
            Command::Start(_) => Step::Start,
            Command::Stop(_) => Step::Stop,
            Command::Acknowledge(_) => Step::Acknowledge,
        };
        let next = core.state.after(step).map_err(|error| error.to_string())?;
        match command {
            Command::Prepare(spec) => {
                if let (Some(why), RoleSpec::Transmit(_) | RoleSpec::Exchange(..)) =
                    (self.script.refuses_to_send, &frames(spec).role)
                {
                    return Err(why.to_owned());
                }
                core.spec = Some((**spec).clone());
            }
            Command::Start(_) => {
                let start = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
                if self.script.dies_at_starts.contains(&start) {
                    let exit = Exit { how: "was killed by signal 9".to_owned(), error: None };
                    self.exit.send_replace(Some(exit));
                }
                core.state = next;
                self.send(&mut core, after);
                return Ok(Outcome::State(next));
            }
            Command::Stop(stop) if stop.drain.is_some() => {
                let spec = core.spec.as_ref().unwrap();
                let drain = stop.drain.filter(|_| self.script.drains_slowly).unwrap_or_default();
                let samples = drain.settle_ms / spec.sample_interval_ms;
                before.extend((0..samples.into()).map(|at_ns| sample(spec.trial, at_ns)));
            }
            _ => {}
        }
        core.state = next;
        Ok(Outcome::State(next))
    }

    /// Sends everything at once.
    fn send(&self, core: &mut Core, after: &mut Vec<Event>) {
        let spec = core.spec.as_ref().unwrap();
        let (transmit, is_exchange) = match &frames(spec).role {
            RoleSpec::Transmit(transmit) => (transmit, false),
            RoleSpec::Exchange(transmit, _) => (transmit, true),
            _ => return,
        };
        let packets = transmit.limit.packets.unwrap_or(PACKETS);
        self.world.sent.lock().unwrap().insert((self.name.clone(), frames(spec).tag), packets);
        let trial = spec.trial;
        if is_exchange {
            after.push(Event::Sent(Sent { trial, packets, packets_per_lcore: vec![packets], sending: None }));
        } else {
            core.state = AgentState::Finished;
            after.push(Event::Finished(Acknowledge { trial }));
        }
    }

    fn sent(&self, by: &str, tag: u16) -> u64 {
        self.world.sent.lock().unwrap().get(&(by.to_owned(), tag)).copied().unwrap_or(0)
    }

    fn next_hop(&self, to: IpAddr) -> Result<Outcome, String> {
        match self.script.finds_no_way {
            Some(why) => Err(why.to_owned()),
            None => Ok(Outcome::NextHop(NextHop { to, source: None, gateway: None, mac: None })),
        }
    }

    fn report(&self, core: &Core) -> Report {
        let spec = core.spec.as_ref().unwrap();
        let (role, sends, receives) = match &frames(spec).role {
            RoleSpec::Transmit(_) => (Part::Tx, true, false),
            RoleSpec::Receive(_) => (Part::Rx, false, true),
            RoleSpec::Exchange(..) => (Part::Exchange, true, true),
            RoleSpec::Reflect => (Part::Reflect, false, false),
        };
        let sent = self.sent(&self.name, frames(spec).tag);
        let transmit = TransmitReport {
            counters: TransmitCounters { packets: sent, ..TransmitCounters::default() },
            offered_pps: if self.script.reports_nonsense { 1e300 } else { sent as f64 },
            duration_s: 1.0,
            packets_per_lcore: vec![sent],
            ..TransmitReport::default()
        };
        let received = self.sent(&self.peer, frames(spec).received_tag());
        let receive = ReceiveReport {
            counters: ReceiveCounters { frames: received, packets: received, ..ReceiveCounters::default() },
            packets_per_lcore: vec![received],
            ..ReceiveReport::default()
        };
        let detail = ReportDetail::Frames(Box::new(FrameReport {
            transmit: sends.then_some(transmit),
            receive: receives.then_some(receive),
            lcores: vec![1, 2],
            ..FrameReport::new(role)
        }));
        Report { ended_ns: 1, ..Report::new(spec.trial, Ended::Packets, 0, detail) }
    }

    fn welcome(&self, state: AgentState) -> Welcome {
        welcome(state, EngineInfo::Frames(Box::new(self.engine())), "here")
    }

    fn engine(&self) -> FrameEngine {
        let network = PortNetwork {
            interface: None,
            addresses: self.script.addresses.clone(),
            gateways: Vec::new(),
            resolver: Resolver::Port,
        };
        FrameEngine {
            dpdk: "none".to_owned(),
            port: PortInfo {
                port: 0,
                device: self.name.clone(),
                driver: "net_stub".to_owned(),
                mac: self.mac,
                numa_node: None,
                link_bps: (!self.script.has_no_link_speed).then_some(10_000_000_000),
                link_up: true,
                max_rx_queues: 1,
                max_tx_queues: 1,
                mtu: 1500,
                rx_descriptors: (64, 4096),
                tx_descriptors: (64, 4096),
                kernel_driver: None,
                firmware: None,
                max_mtu: None,
                interface: None,
            },
            lcores: vec![1, 2],
            no_huge: true,
            network: Some(network).filter(|network| !network.addresses.is_empty()),
        }
    }
}

impl Serve for Agent {
    async fn serve(&self, stream: DuplexStream) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        let mut exit = self.exit();
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line,
                _ = exit.wait_for(Option::is_some) => return,
            };
            let Ok(Some(line)) = line else { return };
            let Request { id, command } = serde_json::from_str(&line).unwrap();
            let (before, result, after) = self.act(&command);
            if self.exit.borrow().is_some() {
                return;
            }
            let (result, error) = match result {
                Ok(outcome) => (Some(outcome), None),
                Err(message) => (None, Some(WireError { code: ErrorCode::Refused, message })),
            };
            let reply = FromAgent::Reply(Reply { id: Some(id), result, error });
            let events = |events: Vec<Event>| events.into_iter().map(FromAgent::Event);
            for message in events(before).chain([reply]).chain(events(after)) {
                if matches!(message, FromAgent::Event(Event::Sample(_))) {
                    tokio::time::sleep(self.sample_interval()).await;
                }
                let text = serde_json::to_string(&message).unwrap() + "\n";
                if write.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            if command == Command::Shutdown {
                return;
            }
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn has_exited(&self) -> bool {
        self.exit.borrow().is_some()
    }
}

fn frames(spec: &TrialSpec) -> &FrameWork {
    spec.work.frames().unwrap()
}

fn sample(trial: u32, at_ns: u64) -> Event {
    let receive = Some(ReceiveCounters::default());
    let measures = Measures::Frames(Box::new(FrameMeasures { receive, ..FrameMeasures::default() }));
    Event::Sample(Box::new(Sample { trial, at_ns, measures, host: None }))
}
