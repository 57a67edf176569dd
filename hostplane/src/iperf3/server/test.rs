//! One client's test at the server, from its cookie to both ends' results.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linerate_agent::host::monotonic_ns;
use linerate_iperf3::cookie::Cookie;
use linerate_iperf3::frame::MOST_RESULTS;
use linerate_iperf3::results::Results;
use linerate_iperf3::state::{ServerError, State};
use linerate_logging::terminal::escaped_line;
use linerate_wire::streams::{Protocol, StreamKey};
use tokio::sync::OwnedMutexGuard;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::agree::{Asked, agree};
use super::ending::{acknowledged, arrive};
use super::{Arrived, Awaited, Context, Event};
use crate::iperf3::account::{OwnStream, Telling, claims, results};
use crate::iperf3::link::{Link, LinkError};
use crate::iperf3::outcome::{Ends, Outcome, Recording, Role, cpu_percent};
use crate::iperf3::plan::{Refusal, served};
use crate::iperf3::{RESULTS_TIME, STEP_TIME};
use crate::spec::Direction;
use crate::strangers::Stranger;
use crate::streams::counters::StreamCounters;
use crate::streams::dialect::Dialect;
use crate::streams::session::Session;
use crate::streams::socket::{SocketError, prepare_stream};
use crate::streams::{EndId, EndPlan};

/// Time for the streams of a test.
const STREAMS_TIME: Duration = Duration::from_secs(10);
/// Time for another UDP test of the same address to get its streams.
const TURN_TIME: Duration = Duration::from_secs(30);
/// Time after a test's own after which it is ended here, as servers of iperf3 do.
const GRACE: Duration = Duration::from_secs(40);
/// Silence of all streams after which a test is ended.
const SILENCE: Duration = Duration::from_secs(120);
/// Why a test ends before its results.
pub(super) enum Break {
    Refused(Refusal),
    /// The client is gone, or does not speak the protocol.
    Gone(LinkError),
    /// The client gave its test up.
    Terminated,
    /// This server ends.
    Ending,
}

impl From<LinkError> for Break {
    fn from(error: LinkError) -> Self {
        Break::Gone(error)
    }
}

pub(super) fn refused(code: i32, words: impl Into<String>) -> Break {
    Break::Refused(Refusal::new(code, words))
}

/// A test that the server knows until this is dropped.
struct Registered<'a> {
    context: &'a Context,
    cookie: Cookie,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.context.tests.borrow_mut().remove(&self.cookie);
        self.context.running.set(self.context.running.get() - 1);
        self.context.ended.notify_one();
    }
}

/// Serves one control connection.
pub(super) async fn serve_test(
    context: Rc<Context>,
    stranger: Stranger,
    mut link: Link,
    client: SocketAddr,
    cookie: Cookie,
) {
    let asked = agree(&context, &mut link, client).await;
    context.strangers.leave(stranger);
    let asked = match asked {
        Ok(asked) => asked,
        Err(broken) => return end_early(&context, link, client, broken).await,
    };
    if context.running.get() >= context.config.most_tests {
        let reason = "as many tests are running as --max-tests admits";
        (context.tell)(&Event::Refused { client, reason });
        return link.deny().await;
    }
    if context.tests.borrow().contains_key(&cookie) {
        (context.tell)(&Event::Refused { client, reason: "another test has its cookie" });
        return link.deny().await;
    }
    let number = context.next_number.replace(context.next_number.get() + 1);
    let local = link.local();
    let (arrivals, queue) = unbounded_channel();
    let awaited = Awaited {
        client: client.ip(),
        local,
        datagrams: asked.spec.each.protocol == Protocol::Udp,
        // None before the streams are asked for.
        missing: 0,
        arrivals,
    };
    context.running.set(context.running.get() + 1);
    context.tests.borrow_mut().insert(cookie, awaited);
    let registered = Registered { context: &context, cookie };
    let ends = Ends { local, peer: client, cookie: cookie.to_string(), peer_version: asked.version.clone() };
    let test = Test { context: &context, number, cookie, ends, asked };
    match test.run(&mut link, queue).await {
        Ok(outcome) => {
            drop(registered);
            (context.tell)(&Event::Ended { number, outcome: &outcome });
        }
        Err(broken) => {
            drop(registered);
            end_early(&context, link, client, broken).await;
        }
    }
}

async fn end_early(context: &Context, mut link: Link, client: SocketAddr, broken: Break) {
    match broken {
        Break::Refused(Refusal { code, words }) => {
            (context.tell)(&Event::Refused { client, reason: &escaped_line(&words) });
            link.refuse(ServerError::of(code)).await;
        }
        Break::Gone(error) => {
            let words = escaped_line(&error.to_string());
            (context.tell)(&Event::Refused { client, reason: &words });
        }
        Break::Terminated => {
            (context.tell)(&Event::Refused { client, reason: "the client gave its test up" });
        }
        Break::Ending => {
            let _ = link.send(State::ServerTerminate).await;
        }
    }
}

struct Test<'a> {
    context: &'a Context,
    number: u64,
    cookie: Cookie,
    ends: Ends,
    asked: Asked,
}

impl Test<'_> {
    async fn run(self, link: &mut Link, queue: UnboundedReceiver<Arrived>) -> Result<Outcome, Break> {
        let spec = &self.asked.spec;
        let id = EndId {
            session: self.number,
            name: (StreamKey([0; 16]), 0),
            tag: 0,
            directions: spec.directions,
            sends: Role::Server.sends(),
        };
        let ceiling = self.asked.ceiling.map(|(packets, _)| packets);
        let plan = EndPlan::new(id, served(spec, self.asked.omit_s), ceiling)
            .speaking(Dialect::Iperf3 { wide: self.asked.wide, closes: true });
        let mut session = Session::new(Arc::clone(&self.context.pool), plan, false);
        self.collect(link, &mut session, queue).await?;
        (self.context.tell)(&Event::Began { number: self.number, client: self.ends.peer, spec });
        link.send(State::TestStart).await?;
        session.watch_host();
        session.start(monotonic_ns(), 0);
        let began_unix_s =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        link.send(State::TestRunning).await?;
        let mut attending = Attending { test: &self, recording: Recording::default(), omitted: None };
        let ended = attending.until_end(link, &mut session).await;
        let Attending { mut recording, omitted, .. } = attending;
        recording.take(&mut session);
        let exchanged = match ended {
            Ok(()) => self.exchange(link, &mut session, omitted.is_some()).await,
            Err(broken) => Err(broken),
        };
        let (foreign, failure) = match exchanged {
            Ok(foreign) => (Some(foreign), None),
            Err(broken) => (None, Some(self.give_up(link, &session, broken).await)),
        };
        let own = session.finish(failure.as_deref().unwrap_or_default());
        let Test { ends, asked, .. } = self;
        let mut outcome = Outcome {
            role: Role::Server,
            ends,
            spec: asked.spec,
            omit_s: asked.omit_s,
            began_unix_s,
            own,
            foreign,
            omitted,
            recording,
            interrupted: false,
            failure,
            remarks: asked.remarks,
        };
        if outcome.foreign.is_some()
            && let Err(error) = part(link, &outcome).await
        {
            outcome.remarks.push(format!("the client did not take this end's results: {error}"));
        }
        Ok(outcome)
    }

    /// Asks for the streams, and hands them to workers.
    async fn collect(
        &self,
        link: &mut Link,
        session: &mut Session,
        mut queue: UnboundedReceiver<Arrived>,
    ) -> Result<(), Break> {
        let spec = &self.asked.spec;
        let _turn = match spec.each.protocol {
            Protocol::Udp => Some(turn(self.context, self.ends.peer.ip()).await?),
            Protocol::Tcp => None,
        };
        let total = spec.total_streams();
        if let Some(awaited) = self.context.tests.borrow_mut().get_mut(&self.cookie) {
            awaited.missing = total;
        }
        link.send(State::CreateStreams).await?;
        let limit = Instant::now() + STREAMS_TIME;
        let mut arrived = Vec::new();
        let mut stop = self.context.stop.clone();
        while arrived.len() < total as usize {
            tokio::select! {
                one = timeout_at(limit, queue.recv()) => match one.ok().flatten() {
                    Some(one) => arrived.push(one),
                    None => {
                        let words = format!(
                            "{} of {total} streams arrived within {} s; a firewall or NAT on the path may drop the others",
                            arrived.len(),
                            STREAMS_TIME.as_secs()
                        );
                        return Err(refused(ServerError::NO_STREAMS, words));
                    }
                },
                state = link.state() => match state? {
                    State::ClientTerminate => return Err(Break::Terminated),
                    _ => return Err(refused(110, "the streams are expected")),
                },
                _ = stop.wait_for(|stop| *stop) => return Err(Break::Ending),
            }
        }
        arrived.sort_by_key(|one| one.order);
        let ceiling = self.asked.ceiling.map(|(_, bytes)| bytes);
        for (number, Arrived { socket, .. }) in (0..).zip(arrived) {
            let sends = session.sends(number);
            prepare_stream(&socket, &spec.each, sends, self.ends.peer.ip(), ceiling).map_err(|error| {
                let code = match error {
                    SocketError::Congestion { .. } | SocketError::CongestionDenied { .. } => {
                        ServerError::CONGESTION
                    }
                    _ => ServerError::BUFFERS,
                };
                refused(code, error.to_string())
            })?;
            session.attach(number, socket);
        }
        Ok(())
    }

    /// After the client has ended the test: what is under way arrives, and both ends tell what they counted.
    async fn exchange(
        &self,
        link: &mut Link,
        session: &mut Session,
        omitted: bool,
    ) -> Result<Results, Break> {
        let spec = &self.asked.spec;
        session.stop_sending();
        if spec.directions.has(Direction::Reverse) && spec.each.protocol == Protocol::Tcp {
            acknowledged(session).await;
        }
        link.send(State::ExchangeResults).await?;
        let json = match link.frame(MOST_RESULTS, RESULTS_TIME).await {
            Err(LinkError::Foreign(words)) => return Err(refused(ServerError::RESULTS, words)),
            other => other?,
        };
        let foreign = Results::parse(&json);
        let foreign = foreign.map_err(|error| refused(ServerError::RESULTS, error.to_string()))?;
        if spec.directions.has(Direction::Forward) {
            arrive(session, spec, &claims(&foreign, spec, Direction::Forward), omitted).await;
        }
        session.end_receiving();
        Ok(foreign)
    }

    /// Ends a test without results, and says why.
    async fn give_up(&self, link: &mut Link, session: &Session, broken: Break) -> String {
        session.stop_sending();
        match broken {
            Break::Refused(Refusal { code, words }) => {
                let _ = link.send(State::ServerError).await;
                let _ = link.send_bytes(&ServerError::of(code).to_bytes()).await;
                escaped_line(&words)
            }
            Break::Gone(LinkError::Closed) => "the client left before it had told its results".to_owned(),
            Break::Gone(error) => format!("the client: {}", escaped_line(&error.to_string())),
            Break::Terminated => "the client gave its test up".to_owned(),
            Break::Ending => {
                let _ = link.send(State::ServerTerminate).await;
                "the server was ended".to_owned()
            }
        }
    }
}

/// Waits for the turn of an address's UDP test.
async fn turn(context: &Context, client: IpAddr) -> Result<OwnedTurn<'_>, Break> {
    let mutex = Arc::clone(context.turns.borrow_mut().entry(client).or_default());
    let guard = timeout(TURN_TIME, mutex.lock_owned()).await;
    let guard = guard.map_err(|_| {
        let words = "other UDP tests of this address did not get their streams in time";
        refused(ServerError::NO_STREAMS, words)
    })?;
    Ok(OwnedTurn { context, client, guard: Some(guard) })
}

/// The turn of a test, until it is dropped.
struct OwnedTurn<'a> {
    context: &'a Context,
    client: IpAddr,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for OwnedTurn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.context.turns.borrow_mut();
        if turns.get(&self.client).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            turns.remove(&self.client);
        }
    }
}

/// A test that is running.
struct Attending<'a> {
    test: &'a Test<'a>,
    recording: Recording,
    omitted: Option<Vec<(u32, StreamCounters)>>,
}

impl Attending<'_> {
    /// Takes samples until the client ends the test.
    async fn until_end(&mut self, link: &mut Link, session: &mut Session) -> Result<(), Break> {
        let asked = &self.test.asked;
        let interval = Duration::from_millis(asked.spec.interval_ms.into());
        let began = Instant::now();
        let far = Duration::from_secs(u32::MAX.into());
        let limit = asked.spec.each.duration_ms.map_or(far, |ms| Duration::from_millis(ms) + GRACE);
        let mut omit = (asked.omit_s > 0).then(|| began + Duration::from_secs(asked.omit_s).min(far));
        let mut next_sample = began + interval;
        let (mut moved, mut moved_at) = (0, began);
        let mut stop = self.test.context.stop.clone();
        loop {
            tokio::select! {
                state = link.state() => return match state? {
                    State::TestEnd => Ok(()),
                    State::ClientTerminate => Err(Break::Terminated),
                    other => Err(refused(110, format!("{other:?} is none of a running test"))),
                },
                () = sleep_until(omit.unwrap_or(next_sample).min(next_sample)) => {}
                _ = stop.wait_for(|stop| *stop) => return Err(Break::Ending),
            }
            let now = Instant::now();
            if omit.take_if(|at| *at <= now).is_some() {
                self.omitted = Some(session.stream_counts());
            }
            if now < next_sample {
                continue;
            }
            next_sample += interval;
            self.recording.take(session);
            let bytes: u64 = session.stream_counts().iter().map(|(_, counts)| counts.bytes).sum();
            if bytes != moved {
                (moved, moved_at) = (bytes, now);
            }
            if now.duration_since(began) > limit {
                return Err(refused(ServerError::EXPIRED, "the client did not end its test in time"));
            }
            if now.duration_since(moved_at) > SILENCE {
                let words = format!("no byte moved for {} s", SILENCE.as_secs());
                return Err(refused(ServerError::SILENCE, words));
            }
        }
    }
}

/// Tells this end's results, and waits until the client leaves.
async fn part(link: &mut Link, outcome: &Outcome) -> Result<(), LinkError> {
    let own = &outcome.own;
    let congestion = own.sending.as_ref().and_then(|sending| sending.streams.first()?.congestion.as_deref());
    let telling = Telling {
        role: Role::Server,
        trial: &outcome.spec,
        foreign: outcome.foreign.as_ref(),
        omitted: outcome.omitted.as_deref(),
        seconds: (outcome.test_s() - outcome.omit_s as f64).max(0.0),
        cpu: cpu_percent(own.cpu.process_s, own.cpu.elapsed_s),
        congestion,
    };
    link.send_frame(&results(&OwnStream::of_report(own), &telling).to_json()).await?;
    link.send(State::DisplayResults).await?;
    match link.state_within(STEP_TIME).await {
        Ok(State::Done) | Err(LinkError::Closed) => Ok(()),
        Ok(other) => Err(LinkError::Foreign(format!("{other:?} at the end"))),
        Err(error) => Err(error),
    }
}
