//! One trial of HTTP: the target is set up, clients wait at the gate, backends begin to count, clients start together, and
//! all report. An agent that is lost does not end the trial of the others.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use linerate_experiment::document::TrialSection;
use linerate_experiment::http::{HttpProfile, HttpProtocol, HttpTarget, HttpTrial};
use linerate_results::http::GatePart;
use linerate_wire::http::{BACKEND_SERVER_NAME, Destination, HttpLoad, HttpReport, HttpWork, ServerProof};
use linerate_wire::message::{Acknowledge, Command, Event, Start, Stop, TrialFailed};
use linerate_wire::report::ReportDetail;
use linerate_wire::trial::{TrialSpec, Work};
use tempfile::NamedTempFile;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::samples::Samples;
use super::{authorities, gate};
use crate::events::HttpReading;
use crate::platform::balancer::{Balanced, Balancers};
use crate::run::observer::Observer;
use crate::run::part::{self, KernelAgent, NotRun, Part, step, to_idle, waiting_samples};
use crate::run::start::Clocks;
use crate::run::streams::work::address_of;
use crate::run::trial::Stopped;
use crate::session::{ANSWER_TIME, WORK_TIME};

/// An agent's part in a trial of HTTP.
pub(super) type HttpAgentPart = Part<HttpReport>;

/// Time beyond duration and timeout after which clients are told to end.
const GRACE: Duration = Duration::from_secs(10);

/// What a trial needs besides its agents.
pub(super) struct Context<'a> {
    pub(super) trial: &'a HttpTrial,
    /// The clients' number of the gate.
    pub(super) gate_id: u32,
    pub(super) id: u32,
    pub(super) of: usize,
    pub(super) settings: &'a TrialSection,
    pub(super) directory: &'a Path,
    pub(super) observer: &'a dyn Observer,
    pub(super) interrupted: watch::Receiver<bool>,
}

/// A trial that ran.
pub(super) struct Ran {
    pub(super) parts: Vec<HttpAgentPart>,
    pub(super) samples: NamedTempFile,
    pub(super) clocks: Clocks,
    pub(super) started_at: SystemTime,
    pub(super) gate: Vec<GatePart>,
    pub(super) balanced: Balanced,
    /// CPU seconds of the balancer's process in the trial.
    pub(super) balancer_cpu_s: Option<f64>,
    pub(super) elapsed_s: f64,
}

/// A target that is set up, and answers every client.
pub(super) struct Open {
    destination: Destination,
    gate: Vec<GatePart>,
    balanced: Balanced,
}

/// Sets up a trial's target, and waits at the gate. `agents` are the trial's clients, then its backends.
pub(super) async fn open(
    context: &Context<'_>,
    agents: &[KernelAgent],
    platform: &mut impl Balancers,
) -> Result<Open, NotRun> {
    or_idle(context, agents, set_up(context, agents, platform)).await
}

/// What comes of a step; without success, and when it is interrupted, the agents are idle.
async fn or_idle<T>(
    context: &Context<'_>,
    agents: &[KernelAgent],
    step: impl Future<Output = Result<T, NotRun>>,
) -> Result<T, NotRun> {
    let mut interrupted = context.interrupted.clone();
    let done = tokio::select! {
        done = step => done,
        Ok(_) = interrupted.wait_for(|flag| *flag) => Err(NotRun::Interrupted),
    };
    if done.is_err() {
        join_all(agents.iter().map(to_idle)).await;
    }
    done
}

/// Runs a trial whose target is open. `agents` are its clients, then its backends.
pub(super) async fn run(
    context: &Context<'_>,
    agents: &[KernelAgent],
    platform: &impl Balancers,
    Open { destination, gate, balanced }: Open,
) -> Result<Ran, NotRun> {
    let clocks = or_idle(context, agents, prepare(context, agents, &destination)).await?;
    let samples = Samples::new(context.directory, agents.len()).map_err(NotRun::Store)?;
    let course = Course {
        context,
        samples: RefCell::new(samples),
        sending: watch::Sender::new(context.trial.profile.clients),
    };
    let begins = clocks.soon();
    let started_at = SystemTime::now();
    let lead = Duration::from_nanos(begins.first().map_or(0, |at| at.saturating_sub(clocks.now_ns(0))));
    let balancer = Cell::new(None);
    let cpu_before = platform.cpu_s();
    let begun = Instant::now();
    let parts = agents.iter().zip(&begins).enumerate();
    let parts =
        join_all(parts.map(async |(place, (agent, begins_ns))| course.part(place, agent, *begins_ns).await));
    let parts = tokio::select! {
        parts = parts => parts,
        () = course.show(lead) => Vec::new(),
        () = watch_balancer(platform, lead, context.trial.profile.duration_ms, &balancer) => Vec::new(),
    };
    // Of a trial that ended early, the time until then.
    let until_now = || {
        let used = cpu_before.and_then(|before| Some((platform.cpu_s()? - before).max(0.0)));
        (used, begun.elapsed().saturating_sub(lead).as_secs_f64())
    };
    let (balancer_cpu_s, elapsed_s) = balancer.take().unwrap_or_else(until_now);
    if *context.interrupted.borrow() {
        join_all(agents.iter().map(to_idle)).await;
        return Err(NotRun::Interrupted);
    }
    let samples = course.samples.into_inner().finish(context.directory).map_err(NotRun::Store)?;
    Ok(Ran { parts, samples, clocks, started_at, gate, balanced, balancer_cpu_s, elapsed_s })
}

/// Reads what the balancer's process used in the time of sending; never ends. Waiting before it and after it would make a full one
/// look idle.
async fn watch_balancer(
    platform: &impl Balancers,
    lead: Duration,
    duration_ms: u64,
    used: &Cell<Option<(Option<f64>, f64)>>,
) {
    sleep(lead).await;
    let (before, begun) = (platform.cpu_s(), Instant::now());
    sleep(Duration::from_millis(duration_ms)).await;
    let cpu_s = before.and_then(|before| Some((platform.cpu_s()? - before).max(0.0)));
    used.set(Some((cpu_s, begun.elapsed().as_secs_f64())));
    std::future::pending::<()>().await;
}

async fn set_up(
    context: &Context<'_>,
    agents: &[KernelAgent],
    platform: &mut impl Balancers,
) -> Result<Open, NotRun> {
    let profile = &context.trial.profile;
    let (clients, backends) = agents.split_at(profile.clients as usize);
    let doors: Result<Vec<SocketAddr>, String> = backends.iter().map(door).collect();
    let doors = doors.map_err(NotRun::Refused)?;
    let told = async {
        sleep(gate::PATIENCE).await;
        context.observer.phase(&format!("{}: waiting until {} is set up", profile.name, profile.target));
        std::future::pending::<()>().await;
    };
    let balanced = tokio::select! {
        balanced = platform.set_up(profile, &doors) => balanced,
        () = told => return Err(NotRun::Interrupted),
    };
    let balanced = balanced.map_err(|error| NotRun::Refused(error.to_string()))?;
    let destination = Destination {
        addresses: balanced.addresses.clone(),
        host: balanced.host.clone(),
        path: profile.path.clone(),
        tls: proof(profile, backends).map_err(NotRun::Refused)?,
        http2: profile.protocol.is_http2(),
    };
    let names: Vec<String> = backends.iter().map(|backend| backend.name().to_owned()).collect();
    // Of a balancer that keeps a client at its backend, no client can hear all of them.
    let heard = if context.trial.profile.target.reaches_all() { names.as_slice() } else { &[] };
    let gate = gate::pass(context, clients, &destination, heard).await?;
    Ok(Open { destination, gate, balanced })
}

/// Compares the agents' clocks, and gives all of them their work.
async fn prepare(
    context: &Context<'_>,
    agents: &[KernelAgent],
    destination: &Destination,
) -> Result<Clocks, NotRun> {
    let profile = &context.trial.profile;
    let (clients, backends) = agents.split_at(profile.clients as usize);
    let every: Vec<&KernelAgent> = agents.iter().collect();
    let clocks = Clocks::compare(&every)
        .await
        .map_err(|(place, stopped)| NotRun::Lost(vec![(place, stopped.to_string())]))?;
    // Backends count from here on: connections of the clients come after them.
    arm(context, backends, clients.len(), |backend| match profile.churn {
        Some(absence) if backend + 1 == backends.len() => HttpWork::Churn(absence),
        _ => HttpWork::Serve,
    })
    .await?;
    arm(context, clients, 0, |client| {
        HttpWork::Load(HttpLoad {
            destination: dealt_out(destination, profile, client as u32),
            connections: profile.connections_of(client as u32),
            threads: profile.threads,
            arrivals: profile.arrivals_of_each(),
            duration_ms: profile.duration_ms,
            timeout_ms: profile.timeout_ms,
            keep_alive: profile.keep_alive,
            streams: profile.streams,
            // Each client and repeat has instants of its own, and a trial that is run again the same ones.
            seed: u64::from(context.trial.repeat) << 32 | client as u64,
            offset_ns: profile.offset_ns(client as u32),
        })
    })
    .await?;
    Ok(clocks)
}

/// The destination of a client, which goes on where the connections of the clients before it end.
fn dealt_out(destination: &Destination, profile: &HttpProfile, client: u32) -> Destination {
    let mut dealt = destination.clone();
    let before: usize = (0..client).map(|earlier| profile.connections_of(earlier) as usize).sum();
    let turn = before % dealt.addresses.len().max(1);
    dealt.addresses.rotate_left(turn);
    dealt
}

/// What servers are to prove to clients: backends, that they are those of the run; others, by the authorities of the document or of the
/// clients' hosts. `None` without TLS.
fn proof(profile: &HttpProfile, backends: &[KernelAgent]) -> Result<Option<ServerProof>, String> {
    let HttpTarget::Url(url) = &profile.target else {
        if profile.protocol == HttpProtocol::Http {
            return Ok(None);
        }
        let certificates: Result<Vec<&str>, String> = backends
            .iter()
            .map(|backend| {
                let door = backend.streams_engine().http.as_ref();
                let certificate = door.and_then(|door| door.certificate.as_deref());
                certificate.ok_or_else(|| {
                    format!(
                        "{} answers HTTP/1.1 without TLS alone: its program is older than this one; remove {} from spec.http.protocols, or update it",
                        backend.name(),
                        profile.protocol
                    )
                })
            })
            .collect();
        let authorities = Some(certificates?.join("\n"));
        let proof = ServerProof { server_name: BACKEND_SERVER_NAME.to_owned(), authorities };
        return Ok(Some(proof).filter(|_| profile.protocol.is_tls()));
    };
    let authorities = profile.ca.as_deref().map(authorities::read).transpose()?;
    let server_name = url.host().to_owned();
    Ok(profile.protocol.is_tls().then_some(ServerProof { server_name, authorities }))
}

/// Where a backend answers.
fn door(agent: &KernelAgent) -> Result<SocketAddr, String> {
    let engine = agent.streams_engine();
    let door = engine.http.as_ref().ok_or_else(|| {
        format!("{} answers no HTTP requests; its program is older than this one", agent.name())
    })?;
    address_of(agent.name(), engine, door.listen, None, agent.address())
}

/// Prepares and arms agents, of which the first has the place `first`.
async fn arm(
    context: &Context<'_>,
    agents: &[KernelAgent],
    first: usize,
    work: impl Fn(usize) -> HttpWork,
) -> Result<(), NotRun> {
    let all = agents.iter().enumerate().map(async |(number, agent)| {
        let spec = TrialSpec {
            trial: context.id,
            work: Work::Http(Box::new(work(number))),
            sample_interval_ms: context.settings.sample_interval.millis_u32(),
            orphan_ms: context.settings.orphan.millis_u32(),
            // All agents are on one node.
            interrupts: first + number == 0 && context.trial.host_setting.is_some(),
        };
        step(agent, Command::Prepare(Box::new(spec)), WORK_TIME).await?;
        step(agent, Command::Arm, WORK_TIME).await
    });
    let (mut lost, mut refused) = (Vec::new(), None);
    for (number, result) in join_all(all).await.into_iter().enumerate() {
        match result {
            Ok(()) => {}
            Err(stopped) if stopped.loses_agent() => lost.push((first + number, stopped.to_string())),
            Err(stopped) => refused = refused.or(Some(stopped.to_string())),
        }
    }
    match (lost.is_empty(), refused) {
        (false, _) => Err(NotRun::Lost(lost)),
        (true, Some(reason)) => Err(NotRun::Refused(reason)),
        (true, None) => Ok(()),
    }
}

/// A trial in progress.
struct Course<'a> {
    context: &'a Context<'a>,
    samples: RefCell<Samples>,
    /// Clients that have not ended.
    sending: watch::Sender<u32>,
}

/// What an agent waits for.
enum Happened {
    Event(Event),
    Gone(String),
    /// It is to be told to end.
    End,
}

impl Course<'_> {
    /// Starts an agent, follows it to its end and takes its report.
    async fn part(&self, place: usize, agent: &KernelAgent, begins_ns: u64) -> HttpAgentPart {
        let is_client = place < self.context.trial.profile.clients as usize;
        let part = match self.follow(place, agent, begins_ns, is_client).await {
            Ok(()) => {
                part::report(agent, "HTTP", |detail| match detail {
                    ReportDetail::Http(report) => Some(*report),
                    _ => None,
                })
                .await
            }
            Err(part) => part,
        };
        if is_client {
            self.sending.send_modify(|left| *left -= 1);
        }
        part
    }

    /// From the start to the agent's end: clients end by themselves, backends when all clients have.
    async fn follow(
        &self,
        place: usize,
        agent: &KernelAgent,
        begins_ns: u64,
        is_client: bool,
    ) -> Result<(), HttpAgentPart> {
        let gone = |stopped: Stopped| Part::of(&stopped);
        let id = self.context.id;
        step(agent, Command::Start(Start { at_ns: Some(begins_ns) }), ANSWER_TIME).await.map_err(gone)?;
        let profile = &self.context.trial.profile;
        let longest = Duration::from_millis(profile.duration_ms.saturating_add(profile.timeout_ms.into()));
        let due = Instant::now().checked_add(longest + GRACE);
        let mut sending = self.sending.subscribe();
        let mut interrupted = self.context.interrupted.clone();
        loop {
            let overdue = async {
                match due {
                    Some(at) if is_client => sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            let happened = tokio::select! {
                event = agent.session.next_event() => match event {
                    Ok(event) => Happened::Event(event),
                    Err(error) => Happened::Gone(Stopped::by(agent, error).await.to_string()),
                },
                Ok(_) = interrupted.wait_for(|flag| *flag) => Happened::End,
                Ok(_) = sending.wait_for(|left| *left == 0), if !is_client => Happened::End,
                () = overdue => Happened::End,
            };
            match happened {
                Happened::Event(Event::Finished(Acknowledge { trial })) if trial == id => return Ok(()),
                Happened::Event(Event::Failed(TrialFailed { trial, message })) if trial == id => {
                    return Err(Part::Failed(format!("{} gave the trial up: {message}", agent.name())));
                }
                Happened::Event(Event::Sample(sample)) if sample.trial == id => {
                    self.samples.borrow_mut().add(place, agent.name(), &sample, begins_ns);
                }
                Happened::Event(_) => {}
                Happened::Gone(reason) => return Err(Part::Lost(reason)),
                Happened::End => {
                    // The reply comes when the agent has finished.
                    let limit = Duration::from_millis(profile.timeout_ms.into()).saturating_add(WORK_TIME);
                    step(agent, Command::Stop(Stop::default()), limit).await.map_err(gone)?;
                    for sample in waiting_samples(agent, id) {
                        self.samples.borrow_mut().add(place, agent.name(), &sample, begins_ns);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Passes a reading to the observer in each interval of samples; never ends.
    async fn show(&self, lead: Duration) {
        sleep(lead).await;
        self.context.observer.sending_began();
        let begun = Instant::now();
        let period = self.context.settings.sample_interval.get();
        // The agents' samples arrive shortly after the interval's end.
        let mut ticks = interval(period);
        ticks.tick().await;
        let late = period.min(Duration::from_millis(100)) / 2;
        loop {
            ticks.tick().await;
            sleep(late).await;
            let reading = self.samples.borrow_mut().reading((begun.elapsed() - late).as_secs_f64());
            let HttpTrial { number, profile, repeat, .. } = self.context.trial;
            self.context.observer.http_reading(&HttpReading {
                number: *number as usize,
                planned_trials: self.context.of,
                profile: profile.name.clone(),
                repeat: *repeat,
                ..reading
            });
        }
    }
}
