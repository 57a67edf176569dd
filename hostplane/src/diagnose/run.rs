//! The course of a diagnosis: what is measured, in which order.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linerate_agent::token::Token;
use linerate_hardware::CpuSet;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::{Ceilings, PacketLoad};
use linerate_wire::diagnosis::DiagnosisSpec;
use linerate_wire::streams::{Load, Protocol, SocketOptions, StreamsSpec};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;

use super::judge::judge;
use super::ladder::climb;
use super::sweep::{ROUNDS, Rounds, SweptEnd, choose, covers, rank};
use super::view::HostView;
use super::{Addresses, Both, Diagnosis, Step, StepKind, port};
use crate::client::connect::{Server, connect, unexpected};
use crate::client::{ClientError, Family, Observer, Request, Samples};
use crate::control::link::Link;
use crate::control::message::{Observed, ToClient, ToServer, Welcome};
use crate::control::{STEP_TIME, program};
use crate::result::TrialResult;
use crate::spec::{Direction, Directions, TrialSpec};
use crate::streams::pool::allowed_cpus;
use crate::streams::socket::Place;

/// Load of the datagrams unless the user gives one: this, or less where TCP reached less.
const DATAGRAMS_BPS: f64 = 100e6;
/// Share of what TCP reached that datagrams may take.
const DATAGRAMS_SHARE: f64 = 0.8;
/// Bytes of one write, and of one read.
const BLOCK_BYTES: u32 = 256 * 1024;
/// Shortest trial of a sweep.
const LEAST_SWEEP_MS: u64 = 300;
/// Time between signs of life to the server while a trial runs: it lets go of observers that are silent for two minutes.
const WATCH_TIME: Duration = Duration::from_secs(30);

/// What to diagnose, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) family: Family,
    pub(crate) place: Place,
    pub(crate) token: Token,
    pub(crate) ceilings: Ceilings,
    pub(crate) spec: DiagnosisSpec,
}

/// Runs a diagnosis. `say` is told what comes next. Must run in a local set.
pub(crate) async fn run(
    plan: &Plan,
    stop: watch::Receiver<bool>,
    say: &dyn Fn(&str),
) -> Result<Diagnosis, ClientError> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let resolved = resolve(plan).await?;
    let peer = resolved.ip();
    // Everything is sent to these addresses; loads are checked by each measurement.
    for address in plan.spec.nodes.iter().chain([&peer]) {
        let one = PacketLoad { packets_per_second: Some(1.0), packet_bytes: 100.0 };
        let limit = Limit { duration_ms: Some(1), packets: None };
        plan.ceilings.check_streams(&one, &limit, Some(*address))?;
    }
    let mut diagnosis = Diagnosis {
        program: program(),
        began_unix_s: began,
        to: plan.host.clone(),
        client: Both { before: HostView::take(peer), after: None },
        server: None,
        server_note: None,
        addresses: None,
        unreachable: None,
        steps: Vec::new(),
        sweeps: Vec::new(),
        ladder: None,
        ladder_note: None,
        ports: Vec::new(),
        findings: Vec::new(),
    };
    say("looking at both hosts");
    match Watcher::open(plan).await {
        Ok((watcher, first)) => {
            let mut course = Course { plan, stop, say, watcher, diagnosis: &mut diagnosis };
            course.reached(&first);
            course.measure(&first).await?;
        }
        Err(
            error @ (ClientError::Refused(_) | ClientError::Unreachable { .. } | ClientError::Link { .. }),
        ) => {
            diagnosis.unreachable = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    say("asking the BGP port");
    // A node that is the server itself is meant by the server's interface.
    let address = |node: &IpAddr| if *node == peer { resolved } else { SocketAddr::new(*node, 0) };
    let named = plan.spec.nodes.iter().map(|node| (address(node), true));
    let server = (!plan.spec.nodes.contains(&peer)).then_some((resolved, false));
    for (node, asked_for) in named.chain(server) {
        let fits = plan.place.address.is_none_or(|own| own.is_ipv4() == node.is_ipv4());
        let place = if fits { plan.place.clone() } else { Place::default() };
        diagnosis.ports.push(port::ask(node, asked_for, &place).await);
    }
    diagnosis.client.after = Some(HostView::take(peer));
    diagnosis.findings = judge(&diagnosis, plan);
    Ok(diagnosis)
}

/// The first address of the host of the right version.
async fn resolve(plan: &Plan) -> Result<SocketAddr, ClientError> {
    let host = linerate_logging::terminal::escaped_line(&plan.host);
    let unresolved = |reason: String| ClientError::Unresolved { host: host.clone(), reason };
    let found = lookup_host((plan.host.as_str(), plan.port)).await;
    let mut found = found.map_err(|error| unresolved(error.to_string()))?;
    let address = found.find(|address| plan.family.admits(address.ip()));
    address.ok_or(ClientError::OtherVersion { host })
}

/// A connection that asks what the server sees; it is open all the time, so that a full table of connections
/// cannot keep it out.
struct Watcher {
    link: Link,
    address: SocketAddr,
    client: SocketAddr,
}

impl Watcher {
    async fn open(plan: &Plan) -> Result<(Self, Observed), ClientError> {
        let Server { link, address, client, .. } = connect(&plan.request(&plan.tcp(1), None)).await?;
        let mut watcher = Self { link, address, client };
        let first = watcher.look().await?;
        Ok((watcher, first))
    }

    async fn look(&mut self) -> Result<Observed, ClientError> {
        let address = self.address;
        let failed = |error| ClientError::Link { address, error };
        self.link.send(&ToServer::Observe).await.map_err(failed)?;
        loop {
            match self.link.read(STEP_TIME).await.map_err(failed)? {
                // The answer to a sign of life, which nobody waited for.
                ToClient::Pong(_) => {}
                ToClient::Observed(observed) => return Ok(*observed),
                other => return Err(unexpected(address, other)),
            }
        }
    }

    /// Gives signs of life until it is dropped. A server that is gone is told by the next look.
    async fn keep(&mut self) -> Infallible {
        loop {
            let answer = match self.link.send(&ToServer::Ping(0)).await {
                Ok(()) => self.link.read::<ToClient>(STEP_TIME).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = answer {
                tracing::debug!(%error, "the server does not answer its observer");
            }
            sleep(WATCH_TIME).await;
        }
    }
}

impl Plan {
    fn request(&self, spec: &TrialSpec, cpus: Option<CpuSet>) -> Request {
        Request {
            host: self.host.clone(),
            port: self.port,
            family: self.family,
            place: self.place.clone(),
            token: self.token.clone(),
            spec: spec.clone(),
            ceilings: self.ceilings.clone(),
            cpus,
        }
    }

    /// TCP streams from the client.
    fn tcp(&self, streams: u32) -> TrialSpec {
        let sockets = SocketOptions { window_bytes: self.spec.window_bytes, ..SocketOptions::default() };
        let each = StreamsSpec {
            protocol: Protocol::Tcp,
            streams,
            load: self.spec.load,
            duration_ms: Some(self.spec.duration_ms),
            bytes: None,
            block_bytes: BLOCK_BYTES,
            sockets,
        };
        // Round-trip times come from samples.
        let interval_ms = u32::try_from(self.spec.duration_ms / 8).unwrap_or(u32::MAX).clamp(50, 1000);
        TrialSpec { directions: Directions::Forward, interval_ms, server_cpu: None, each }
    }

    fn datagrams(&self, tcp_bps: Option<f64>) -> TrialSpec {
        let usual = tcp_bps.map_or(DATAGRAMS_BPS, |bps| DATAGRAMS_BPS.min(DATAGRAMS_SHARE * bps));
        let load = self.spec.datagrams.unwrap_or(Load::BitsPerSecond(usual.max(1000.0)));
        let tcp = self.tcp(1);
        let sockets = SocketOptions::default();
        // 0 bytes stand for what the MTU admits.
        let each = StreamsSpec { protocol: Protocol::Udp, load, block_bytes: 0, sockets, ..tcp.each };
        TrialSpec { each, ..tcp }
    }
}

struct Course<'a> {
    plan: &'a Plan,
    stop: watch::Receiver<bool>,
    say: &'a dyn Fn(&str),
    watcher: Watcher,
    diagnosis: &'a mut Diagnosis,
}

impl Course<'_> {
    fn reached(&mut self, first: &Observed) {
        self.diagnosis.server = Some(Both { before: first.view.clone(), after: None });
        self.diagnosis.addresses = Some(Addresses {
            client: self.watcher.client,
            client_at_server: first.client,
            server: self.watcher.address,
            server_at_server: first.server,
        });
    }

    async fn measure(&mut self, first: &Observed) -> Result<(), ClientError> {
        (self.say)("searching for the path's MTU, both ways");
        let mtu = |view: &HostView| view.link.as_ref().and_then(|link| link.mtu);
        let mtus = (mtu(&self.diagnosis.client.before), mtu(&first.view));
        let request = self.plan.request(&self.plan.tcp(1), None);
        match climb(&request, mtus).await {
            Ok(ladder) => self.diagnosis.ladder = Some(ladder),
            Err(error) => self.diagnosis.ladder_note = Some(error.to_string()),
        }
        let several = (self.plan.spec.parallel > 1).then_some(StepKind::TcpParallel);
        'steps: for kind in [Some(StepKind::Tcp), several, Some(StepKind::Udp)].into_iter().flatten() {
            for direction in [Direction::Forward, Direction::Reverse] {
                if !self.step(kind, direction).await? {
                    break 'steps;
                }
            }
        }
        // A path without a result has none on any CPU.
        if self.diagnosis.received_bps(StepKind::Tcp, Direction::Forward).is_some() {
            self.sweeps(first).await?;
        }
        let last = self.watcher.look().await;
        match (last, &mut self.diagnosis.server) {
            (Ok(last), Some(server)) => server.after = Some(last.view),
            (Err(error), _) => self.diagnosis.server_note = Some(error.to_string()),
            (Ok(_), None) => {}
        }
        Ok(())
    }

    /// Runs a trial; an error of it is a result, too.
    async fn trial(
        &mut self,
        spec: &TrialSpec,
        cpus: Option<CpuSet>,
    ) -> Result<Result<TrialResult, ClientError>, ClientError> {
        if *self.stop.borrow() {
            return Err(ClientError::Interrupted);
        }
        let request = self.plan.request(spec, cpus);
        let mut unseen = Unseen;
        let outcome = tokio::select! {
            outcome = crate::client::run(request, self.stop.clone(), &mut unseen) => outcome,
            never = self.watcher.keep() => match never {},
        };
        match outcome {
            Err(ClientError::Interrupted) => Err(ClientError::Interrupted),
            Ok(outcome) if outcome.interrupted => Err(ClientError::Interrupted),
            Ok(outcome) => Ok(Ok(TrialResult::of(&outcome))),
            Err(error) => Ok(Err(error)),
        }
    }

    /// A measurement. False when the server was not reached: others would wait for it in vain, too.
    async fn step(&mut self, kind: StepKind, direction: Direction) -> Result<bool, ClientError> {
        let plan = self.plan;
        let mut spec = match kind {
            StepKind::Tcp => plan.tcp(1),
            StepKind::TcpParallel => plan.tcp(plan.spec.parallel),
            StepKind::Udp => plan.datagrams(self.diagnosis.received_bps(StepKind::Tcp, direction)),
        };
        spec.directions = match direction {
            Direction::Forward => Directions::Forward,
            Direction::Reverse => Directions::Reverse,
        };
        let what = match kind {
            StepKind::Tcp => "TCP".to_owned(),
            StepKind::TcpParallel => format!("{} TCP streams", plan.spec.parallel),
            StepKind::Udp => "UDP".to_owned(),
        };
        (self.say)(&format!("{what} {direction}"));
        let trial = self.trial(&spec, None).await?;
        let reached = !matches!(trial, Err(ClientError::Unreachable { .. }));
        let (result, reason) = match trial {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.diagnosis.steps.push(Step { kind, direction, result, reason });
        Ok(reached)
    }

    /// The server's CPUs with a client that its scheduler places, then the client's with the best of those.
    async fn sweeps(&mut self, first: &Observed) -> Result<(), ClientError> {
        let mut best = first.workers.first().copied();
        if covers(self.plan.spec.sweep, SweptEnd::Server) && first.workers.len() > 1 {
            let (cpus, left_out) = choose(&first.workers);
            let rounds = self.rounds(&cpus, |cpu| (Some(cpu), None)).await?;
            let sweep = rank(SweptEnd::Server, None, left_out, &rounds, &first.view);
            best = sweep.cpus.first().map(|swept| swept.cpu);
            self.diagnosis.sweeps.push(sweep);
        }
        let chosen = &self.plan.spec.sweep_cpus;
        let own = if chosen.is_empty() { allowed_cpus() } else { chosen.clone() };
        if covers(self.plan.spec.sweep, SweptEnd::Client) && own.len() > 1 {
            let (cpus, left_out) = if chosen.is_empty() { choose(&own) } else { (own, Vec::new()) };
            let rounds = self.rounds(&cpus, |cpu| (best, Some([cpu].into_iter().collect()))).await?;
            let view = self.diagnosis.client.before.clone();
            self.diagnosis.sweeps.push(rank(SweptEnd::Client, best, left_out, &rounds, &view));
        }
        Ok(())
    }

    /// A trial per CPU and round. `place` says where server and client are, for a CPU.
    async fn rounds(
        &mut self,
        cpus: &[u32],
        place: impl Fn(u32) -> (Option<u32>, Option<CpuSet>),
    ) -> Result<Vec<Rounds>, ClientError> {
        let mut all: Vec<Rounds> = cpus.iter().map(|cpu| Rounds { cpu: *cpu, results: Vec::new() }).collect();
        for _ in 0..ROUNDS {
            for rounds in &mut all {
                let (server_cpu, client) = place(rounds.cpu);
                let end = if client.is_some() { "client" } else { "server" };
                (self.say)(&format!("TCP forward, {end} on CPU {}", rounds.cpu));
                let mut spec = TrialSpec { server_cpu, ..self.plan.tcp(1) };
                spec.each.duration_ms = Some((self.plan.spec.duration_ms / 2).max(LEAST_SWEEP_MS));
                rounds.results.push(self.trial(&spec, client).await?.ok());
            }
        }
        Ok(all)
    }
}

/// Nobody watches the trials of a diagnosis.
struct Unseen;

impl Observer for Unseen {
    fn starts(&mut self, _: &TrialSpec, _: SocketAddr, _: &Welcome) {}
    fn interval(&mut self, _: &Samples<'_>, _: &Samples<'_>) {}
}
