//! One client's trial at the server, from its first line to the report.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use linerate_agent::host::{boot_id, monotonic_ns};
use linerate_agent::machine::machine;
use linerate_hardware::CpuSet;
use linerate_logging::terminal::escaped_line;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::streams::StreamKey;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Context, Event, exchange, ladder};
use crate::control::link::{Conversation, Link, LinkError};
use crate::control::message::{Accepted, Challenge, Observed, Pong, Start, ToClient, ToServer, Welcome};
use crate::control::proof::{Nonces, is_nonce, matches, nonce};
use crate::control::{ALIVE_TIME, LOOK_TIME, PROTOCOL, SILENCE_TIME, STEP_TIME, program};
use crate::diagnose::view::HostView;
use crate::door::{Arrivals, Arrived};
use crate::exchange::ExchangeSpec;
use crate::spec::Direction;
use crate::spec::TrialSpec;
use crate::strangers::Stranger;
use crate::streams::session::Session;
use crate::streams::socket::{SocketError, canonical, prepare_stream};
use crate::streams::{EndId, EndPlan};

/// Longest time in which no further stream of a trial arrives.
const STREAMS_TIME: Duration = Duration::from_secs(20);
/// Longest silence of a client that observes.
const OBSERVER_TIME: Duration = Duration::from_secs(120);
/// File descriptors that a server keeps for other things than streams.
const SPARE_DESCRIPTORS: u64 = 32;
/// Farthest start, in nanoseconds.
const FARTHEST_START_NS: u64 = 60_000_000_000;

/// Why a conversation ends before its report.
enum Break {
    /// The client is told.
    Refused(String),
    /// The client is gone, or does not speak the protocol.
    Gone(LinkError),
}

impl From<LinkError> for Break {
    fn from(error: LinkError) -> Self {
        Break::Gone(error)
    }
}

/// Counts a trial as running until it is dropped.
pub(super) struct Running<'a> {
    context: &'a Context,
}

impl<'a> Running<'a> {
    pub(super) fn begin(context: &'a Context) -> Self {
        context.running.set(context.running.get() + 1);
        Self { context }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.context.running.set(self.context.running.get() - 1);
        self.context.ended.notify_one();
    }
}

/// Serves one control connection.
pub(super) async fn converse(context: Rc<Context>, stranger: Stranger, stream: TcpStream, from: SocketAddr) {
    let client = canonical(from);
    let local = stream.local_addr().map(canonical);
    let mut link = Link::new(stream);
    let welcomed = welcome(&context, &mut link).await;
    context.strangers.leave(stranger);
    let key = match welcomed {
        Ok(key) => key,
        Err(broken) => return end_early(&context, link, client, broken).await,
    };
    let local = match local {
        Ok(local) => local,
        Err(error) => return tracing::warn!(%error, "a connection without a local address"),
    };
    let meeting = Meeting { client, local, key };
    match accept(&context, &mut link, meeting).await {
        Ok(Asked::Trial(spec)) => run(&context, link, meeting, *spec).await,
        Ok(Asked::Exchange(spec)) => exchange::serve(&context, link, meeting, spec).await,
        Ok(Asked::Ladder) => ladder::serve(&context, link, meeting).await,
        Err(broken) => end_early(&context, link, client, broken).await,
    }
}

async fn end_early(context: &Context, mut link: Link, client: SocketAddr, broken: Break) {
    match broken {
        Break::Refused(reason) => {
            (context.tell)(&Event::Refused { client, reason: &escaped_line(&reason) });
            let _ = link.send(&ToClient::Refused(reason)).await;
        }
        Break::Gone(error) => {
            tracing::debug!(%client, error = %escaped_line(&error.to_string()), "a conversation ended early");
        }
    }
}

/// The set-up until both ends have proved themselves. Returns the key of the streams.
async fn welcome(context: &Context, link: &mut Link) -> Result<StreamKey, Break> {
    let ToServer::Hello(hello) = link.read(STEP_TIME).await? else {
        return Err(Break::Refused("the first line must be hello".to_owned()));
    };
    if hello.protocol != PROTOCOL {
        return Err(Break::Refused(format!(
            "this server ({}) speaks version {PROTOCOL} of the protocol, and the client speaks {}; use one version at both ends",
            program(),
            hello.protocol
        )));
    }
    if !is_nonce(&hello.nonce) {
        return Err(Break::Refused(
            "hello: the nonce is no hexadecimal number of 16 to 128 digits".to_owned(),
        ));
    }
    let server =
        nonce().map_err(|error| Break::Refused(format!("the server has no random numbers: {error}")))?;
    let nonces = Nonces { client: hello.nonce, server };
    let challenge = Challenge {
        protocol: PROTOCOL,
        program: program(),
        nonce: nonces.server.clone(),
        proof: nonces.of_server(&context.token),
    };
    link.send(&ToClient::Challenge(challenge)).await?;
    let offered = match link.read(STEP_TIME).await? {
        ToServer::Proof(proof) => proof,
        _ => String::new(),
    };
    if !matches(&nonces.of_client(&context.token), &offered) {
        return Err(Break::Refused("the token is wrong; both ends need the same".to_owned()));
    }
    link.trust();
    let host = machine();
    let welcome = Welcome {
        boot_id: boot_id(),
        host: host.hostname,
        kernel: host.kernel,
        workers: context.pool.size() as u32,
    };
    link.send(&ToClient::Welcome(welcome)).await?;
    Ok(nonces.key(&context.token))
}

/// What a client asks for.
enum Asked {
    Trial(Box<TrialSpec>),
    Exchange(ExchangeSpec),
    Ladder,
}

/// Answers pings and observers, and checks the trial that the client asks for.
async fn accept(context: &Context, link: &mut Link, meeting: Meeting) -> Result<Asked, Break> {
    let Meeting { client, local, .. } = meeting;
    let mut limit = STEP_TIME;
    loop {
        match link.read(limit).await? {
            ToServer::Ping(number) => {
                link.send(&ToClient::Pong(Pong { number, now_ns: monotonic_ns() })).await?;
            }
            ToServer::Trial(spec) => {
                check(context, &spec, client.ip()).map_err(Break::Refused)?;
                return Ok(Asked::Trial(spec));
            }
            ToServer::Observe => {
                // Its trials, on other connections, come between.
                limit = OBSERVER_TIME;
                let view = HostView::take(client.ip());
                let observed = Observed { client, server: local, workers: context.pool.cpus(), view };
                link.send(&ToClient::Observed(Box::new(observed))).await?;
            }
            ToServer::Exchange(spec) => {
                exchange::check(context, &spec, client.ip()).map_err(Break::Refused)?;
                return Ok(Asked::Exchange(spec));
            }
            ToServer::Ladder => {
                ladder::check(context, client.ip()).map_err(Break::Refused)?;
                return Ok(Asked::Ladder);
            }
            _ => return Err(Break::Refused("a trial is expected".to_owned())),
        }
    }
}

fn check(context: &Context, spec: &TrialSpec, client: IpAddr) -> Result<(), String> {
    spec.check().map_err(|error| error.to_string())?;
    if *context.stop.borrow() {
        return Err("the server is ending".to_owned());
    }
    if context.running.get() >= context.most_trials {
        return Err(format!(
            "{} trials are running, which is the most of this server (--max-trials); try again later",
            context.most_trials
        ));
    }
    let (packets_per_second, packet_bytes) = spec.each.packets(client.is_ipv6());
    let limit = Limit { duration_ms: spec.each.duration_ms, packets: None };
    context
        .ceilings
        .check_streams(&PacketLoad { packets_per_second, packet_bytes }, &limit, Some(client))
        .map_err(|error| error.to_string())?;
    if let Some(cpu) = spec.server_cpu.filter(|cpu| context.pool.worker_on(*cpu).is_none()) {
        let cpus: CpuSet = context.pool.cpus().into_iter().collect();
        return Err(format!("no worker of this server is pinned to CPU {cpu}; those with one: {cpus}"));
    }
    check_descriptors(spec.total_streams().into())
}

/// Refuses more streams than there are file descriptors.
pub(crate) fn check_descriptors(streams: u64) -> Result<(), String> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let needed = open + streams + SPARE_DESCRIPTORS;
    match limit.filter(|limit| *limit < needed) {
        Some(limit) => Err(format!(
            "{streams} streams need {needed} file descriptors with the {open} that are open and {SPARE_DESCRIPTORS} to spare, and the \
             server may have {limit} (ulimit -n)"
        )),
        None => Ok(()),
    }
}

/// Both ends of a conversation, and the key of its streams.
#[derive(Clone, Copy)]
pub(super) struct Meeting {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) key: StreamKey,
}

/// Runs an accepted trial.
async fn run(context: &Context, mut link: Link, meeting: Meeting, spec: TrialSpec) {
    let Meeting { client, key, .. } = meeting;
    let number = context.next_session.replace(context.next_session.get() + 1);
    let tag = match getrandom::u32() {
        Ok(random) => random as u16,
        Err(_) => number as u16,
    };
    let _running = Running::begin(context);
    let arrivals = context.door.expect(key, 0, spec.total_streams(), meeting.local);
    if link.send(&ToClient::Accepted(Accepted { tag })).await.is_err() {
        return;
    }
    (context.tell)(&Event::Began { number, client, spec: &spec });
    let ceiling = ceiling(context, &spec, client.ip());
    let id = EndId {
        session: number,
        name: (key, 0),
        tag,
        directions: spec.directions,
        sends: Direction::Reverse,
    };
    let plan = EndPlan::new(id, spec.each.clone(), ceiling.map(|(packets, _)| packets));
    let pool = Arc::clone(&context.pool);
    let mut session = match spec.server_cpu.and_then(|cpu| pool.worker_on(cpu)) {
        Some(worker) => Session::on_worker(worker, pool, plan, false),
        None => Session::new(pool, plan, false),
    };
    let mut conversation = link.listen::<ToServer>();
    let mut trial = Trial { context, meeting, spec: &spec, ceiling: ceiling.map(|(_, bytes)| bytes) };
    let (end, gone) = match trial.run(&mut session, &mut conversation, arrivals).await {
        Ok(end) => (end, false),
        Err(Break::Gone(LinkError::Closed)) => ("the client left".to_owned(), true),
        Err(Break::Gone(error)) => (format!("the client: {}", escaped_line(&error.to_string())), true),
        Err(Break::Refused(reason)) => {
            let _ = conversation.send(&ToClient::Refused(reason.clone())).await;
            (escaped_line(&reason), false)
        }
    };
    let report = session.finish(&end);
    (context.tell)(&Event::Ended { number, client, spec: &spec, report: &report, end: &end });
    let line = ToClient::Report(Box::new(report));
    if gone {
        let _ = conversation.send(&line).await;
    } else {
        conversation.conclude(&line).await;
    }
}

/// Highest load that ceilings admit: packets per second, and bytes of payload per second.
fn ceiling(context: &Context, spec: &TrialSpec, client: IpAddr) -> Option<(f64, f64)> {
    let (_, packet_bytes) = spec.each.packets(client.is_ipv6());
    let packets = context.ceilings.most_packets_per_second(packet_bytes).ok().flatten()?;
    Some((packets, packets * packet_bytes))
}

struct Trial<'a> {
    context: &'a Context,
    meeting: Meeting,
    spec: &'a TrialSpec,
    ceiling: Option<f64>,
}

impl Trial<'_> {
    async fn run(
        &mut self,
        session: &mut Session,
        conversation: &mut Conversation<ToServer>,
        mut arrivals: Arrivals,
    ) -> Result<String, Break> {
        self.collect(session, conversation, &mut arrivals).await?;
        conversation.send(&ToClient::Ready).await?;
        let start = loop {
            match conversation.next_within(SILENCE_TIME).await? {
                ToServer::Start(start) => break start,
                ToServer::Alive => {}
                _ => return Err(Break::Refused("a start is expected".to_owned())),
            }
        };
        if start.at_ns.saturating_sub(monotonic_ns()) > FARTHEST_START_NS {
            return Err(Break::Refused("start: the instant is too far ahead".to_owned()));
        }
        self.attend(session, conversation, start).await
    }

    /// Waits until all streams have arrived, and hands them to workers.
    async fn collect(
        &self,
        session: &mut Session,
        conversation: &mut Conversation<ToServer>,
        arrivals: &mut Arrivals,
    ) -> Result<(), Break> {
        let total = self.spec.total_streams();
        let mut stop = self.context.stop.clone();
        for here in 0..total {
            let limit = Instant::now() + STREAMS_TIME;
            let arrived = loop {
                tokio::select! {
                    arrived = timeout_at(limit, arrivals.queue.recv()) => break arrived.ok().flatten(),
                    line = conversation.next() => match line? {
                        ToServer::Alive => {}
                        _ => return Err(Break::Refused("the streams are expected".to_owned())),
                    },
                    _ = stop.wait_for(|stop| *stop) => {
                        return Err(Break::Refused("the server is ending".to_owned()));
                    }
                }
            };
            let Some(arrived) = arrived else {
                return Err(Break::Refused(format!(
                    "{here} of {total} streams arrived, and then none for {} s; a firewall or NAT on the path may drop the others",
                    STREAMS_TIME.as_secs()
                )));
            };
            let at_server = |error: SocketError| Break::Refused(format!("at the server: {error}"));
            let Arrived { stream, socket } = arrived.map_err(at_server)?;
            let sends = session.sends(stream);
            prepare_stream(&socket, &self.spec.each, sends, self.meeting.client.ip(), self.ceiling)
                .map_err(at_server)?;
            session.attach(stream, socket);
        }
        Ok(())
    }

    /// Attends to a running trial until both ends have finished.
    async fn attend(
        &self,
        session: &mut Session,
        conversation: &mut Conversation<ToServer>,
        start: Start,
    ) -> Result<String, Break> {
        session.watch_host();
        session.start(start.at_ns, start.client_ahead_ns);
        let interval = Duration::from_millis(self.spec.interval_ms.into());
        let until_start = Duration::from_nanos(start.at_ns.saturating_sub(monotonic_ns()));
        let mut next_sample = Instant::now() + until_start + interval;
        let mut next_alive = Instant::now() + ALIVE_TIME;
        let mut heard = Instant::now();
        let (mut index, mut told, mut client_ended) = (1, false, false);
        let (sends, receives) =
            (self.spec.directions.has(Direction::Reverse), self.spec.directions.has(Direction::Forward));
        let mut stop = self.context.stop.clone();
        let mut end = String::new();
        loop {
            session.look();
            if !told && sends && session.sending_is_over() {
                told = true;
                conversation.send(&ToClient::Ended(session.sent_counts())).await?;
            }
            let now = Instant::now();
            if now >= next_sample {
                conversation.send(&ToClient::Sample(Box::new(session.sample(index)))).await?;
                index += 1;
                next_sample += interval;
            }
            if (told || !sends) && (client_ended || !receives) && session.is_over() {
                return Ok(end);
            }
            if now >= next_alive {
                conversation.send(&ToClient::Alive).await?;
                next_alive = now + ALIVE_TIME;
            }
            if now.duration_since(heard) > SILENCE_TIME {
                return Err(Break::Gone(LinkError::Silent(SILENCE_TIME)));
            }
            tokio::select! {
                line = conversation.next() => {
                    heard = Instant::now();
                    match line? {
                        ToServer::Stop => session.stop_sending(),
                        ToServer::Ended(counts) if !client_ended => {
                            client_ended = true;
                            session.expect(counts);
                        }
                        ToServer::Alive => {}
                        _ => return Err(Break::Refused("an unexpected line".to_owned())),
                    }
                }
                () = sleep_until(next_sample.min(now + LOOK_TIME)) => {}
                _ = stop.wait_for(|stop| *stop), if end.is_empty() => {
                    "the server was ended".clone_into(&mut end);
                    session.stop_sending();
                    if receives {
                        return Ok(end);
                    }
                }
            }
        }
    }
}
