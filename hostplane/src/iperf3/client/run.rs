//! A test from the client's side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linerate_agent::host::monotonic_ns;
use linerate_iperf3::cookie::Cookie;
use linerate_iperf3::frame::MOST_RESULTS;
use linerate_iperf3::results::Results;
use linerate_iperf3::state::State;
use linerate_logging::terminal::escaped_line;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::streams::{Protocol, StreamKey};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::streams::open_all;
use super::{ClientError, Request, Watcher};
use crate::client::connect::{datagram_bytes, reach};
use crate::client::interrupted;
use crate::iperf3::account::{OwnStream, Telling, claims, results};
use crate::iperf3::link::{Link, LinkError};
use crate::iperf3::outcome::{Ends, Outcome, Recording, Role, cpu_percent};
use crate::iperf3::plan::parameters;
use crate::iperf3::{LOOK_TIME, RESULTS_TIME, STEP_TIME};
use crate::spec::{Direction, TrialSpec};
use crate::streams::dialect::Dialect;
use crate::streams::pool::{Pool, allowed_cpus};
use crate::streams::report::SentCounts;
use crate::streams::session::Session;
use crate::streams::{EndId, EndPlan};

/// Time for the streams to be taken: a server may serve others first.
const STREAMS_TIME: Duration = Duration::from_secs(60);
/// Rest of the acknowledgements after which the server acknowledges nothing more.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// Time for the last datagrams to arrive, and for the server's program to read what its kernel has: when a test
/// ends, it reads no more.
const READING: Duration = Duration::from_millis(200);
/// Rest of the arrivals after which what the server sent has arrived, and the longest wait.
const ARRIVALS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Time between two looks at a running test.
const LOOK: Duration = Duration::from_millis(10);

/// Runs a test. `stop` becomes true when it is to end early. Must run in a local set.
pub(crate) async fn run(
    mut request: Request,
    mut stop: watch::Receiver<bool>,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, ClientError> {
    let met = async {
        let place = &request.place;
        reach(&request.host, request.port, request.family, place).await
    };
    let (stream, address, client) = tokio::select! {
        met = met => met?,
        () = interrupted(&mut stop) => return Err(ClientError::Interrupted),
    };
    if request.spec.each.block_bytes == 0 && request.spec.each.protocol == Protocol::Udp {
        request.spec.each.block_bytes = datagram_bytes(address, &request.place)?;
    }
    request.spec.check().map_err(ClientError::Spec)?;
    let (packets_per_second, packet_bytes) = request.spec.each.packets(address.is_ipv6());
    let limit = Limit { duration_ms: request.spec.each.duration_ms, packets: None };
    let load = PacketLoad { packets_per_second, packet_bytes };
    request.ceilings.check_streams(&load, &limit, Some(address.ip()))?;
    let ceiling = request.ceilings.most_packets_per_second(packet_bytes)?;

    let mut random = [0; 36];
    getrandom::fill(&mut random).map_err(ClientError::Random)?;
    let mut test =
        Test { link: Link::new(stream), address, cookie: Cookie::from_random(&random), request: &request };
    let ready = test.prepare(ceiling, packet_bytes);
    let session = tokio::select! {
        session = ready => session?,
        () = interrupted(&mut stop) => return Err(ClientError::Interrupted),
    };
    let Test { link, cookie, .. } = test;
    watcher.starts(&request.spec, address);
    let ends = Ends { local: client, peer: address, cookie: cookie.to_string(), peer_version: None };
    let running =
        Running { link, session, spec: &request.spec, recording: Recording::default(), interrupted: false };
    Ok(running.go(ends, &mut stop, watcher).await)
}

struct Test<'a> {
    link: Link,
    address: SocketAddr,
    cookie: Cookie,
    request: &'a Request,
}

impl Test<'_> {
    /// From the cookie to streams that are ready.
    async fn prepare(&mut self, ceiling: Option<f64>, packet_bytes: f64) -> Result<Session, ClientError> {
        let address = self.address;
        let failed = |error| ClientError::Link { address, error };
        let spec = &self.request.spec;
        self.link.send_bytes(&self.cookie.to_bytes()).await.map_err(failed)?;
        self.expect(State::ParameterExchange, STEP_TIME).await?;
        let parameters = parameters(spec);
        self.link.send_frame(&parameters.to_json()).await.map_err(failed)?;
        self.expect(State::CreateStreams, STREAMS_TIME).await?;
        let most = spec.total_streams() as usize;
        let pool = Arc::new(Pool::start(self.request.cpus.as_ref(), most.min(allowed_cpus().len().max(1)))?);
        let id = EndId {
            session: 1,
            name: (StreamKey([0; 16]), 0),
            tag: 0,
            directions: spec.directions,
            sends: Role::Client.sends(),
        };
        let plan = EndPlan::new(id, spec.each.clone(), ceiling)
            .speaking(Dialect::Iperf3 { wide: parameters.wide_counters, closes: false });
        crate::streams::raise_descriptor_limit();
        let mut session = Session::new(pool, plan, true);
        let ceiling_bytes = ceiling.map(|packets| packets * packet_bytes);
        let opened = open_all(self.request, address, self.cookie, &mut session, ceiling_bytes).await;
        if let Err(error) = opened {
            // The server may have said why it takes no more.
            let told = self.link.state_within(Duration::from_millis(200)).await;
            return Err(match told {
                Ok(state @ (State::ServerError | State::AccessDenied | State::ServerTerminate)) => {
                    self.refused(state).await
                }
                _ => error,
            });
        }
        self.expect(State::TestStart, STREAMS_TIME).await?;
        self.expect(State::TestRunning, STEP_TIME).await?;
        Ok(session)
    }

    async fn expect(&mut self, wanted: State, limit: Duration) -> Result<(), ClientError> {
        let address = self.address;
        match self.link.state_within(limit).await {
            Ok(state) if state == wanted => Ok(()),
            Ok(state) => Err(self.refused(state).await),
            Err(error) => Err(ClientError::Link { address, error }),
        }
    }

    async fn refused(&mut self, state: State) -> ClientError {
        let address = self.address;
        match state {
            State::AccessDenied => ClientError::Busy(address),
            State::ServerTerminate => ClientError::Terminated(address),
            State::ServerError => match self.link.server_error(STEP_TIME).await {
                Ok(error) => ClientError::Denied { address, reason: error.words() },
                Err(error) => ClientError::Link { address, error },
            },
            other => {
                let error = LinkError::Foreign(format!("{other:?} is unexpected"));
                ClientError::Link { address, error }
            }
        }
    }
}

/// A test that is running.
struct Running<'a> {
    link: Link,
    session: Session,
    spec: &'a TrialSpec,
    recording: Recording,
    interrupted: bool,
}

impl Running<'_> {
    async fn go(
        mut self,
        ends: Ends,
        stop: &mut watch::Receiver<bool>,
        watcher: &mut dyn Watcher,
    ) -> Outcome {
        self.session.watch_host();
        let began_unix_s =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        self.session.start(monotonic_ns(), 0);
        let ended = match self.until_end(stop, watcher).await {
            Ok(()) => self.exchange().await,
            Err(words) => Err(words),
        };
        let (foreign, failure) = match ended {
            Ok(foreign) => (Some(foreign), None),
            Err(words) => (None, Some(escaped_line(&words))),
        };
        let own = self.session.finish(failure.as_deref().unwrap_or_default());
        Outcome {
            role: Role::Client,
            ends,
            spec: self.spec.clone(),
            omit_s: 0,
            began_unix_s,
            own,
            foreign,
            omitted: None,
            recording: self.recording,
            interrupted: self.interrupted,
            failure,
            remarks: Vec::new(),
        }
    }

    /// Attends to the streams until the test is to end, and what was sent has been read.
    async fn until_end(
        &mut self,
        stop: &mut watch::Receiver<bool>,
        watcher: &mut dyn Watcher,
    ) -> Result<(), String> {
        let (sends, receives) =
            (self.spec.directions.has(Direction::Forward), self.spec.directions.has(Direction::Reverse));
        let interval = Duration::from_millis(self.spec.interval_ms.into());
        let began = Instant::now();
        let far = Duration::from_secs(u32::MAX.into());
        let end = began + self.spec.each.duration_ms.map_or(far, Duration::from_millis).min(far);
        let mut next_sample = began + interval;
        loop {
            let now = Instant::now();
            self.session.look();
            let over = !sends || self.session.sending_is_over();
            // What is sent has an end of its own; what is received has the client's.
            let enough = self.spec.each.bytes.is_some_and(|bytes| self.received_bytes() >= bytes);
            let done = self.interrupted || if receives { now >= end || enough && over } else { over };
            if done {
                self.session.stop_sending();
                self.recording.take(&mut self.session);
                break;
            }
            if now >= next_sample {
                next_sample += interval;
                self.recording.take(&mut self.session);
                if let Some(interval) = self.recording.last(Role::Client, self.spec) {
                    watcher.interval(&interval);
                }
            }
            tokio::select! {
                state = self.link.state() => return Err(self.told(state).await),
                () = sleep_until(next_sample.min(end.max(now)).min(now + LOOK)) => {}
                () = interrupted(stop), if !self.interrupted => self.interrupted = true,
            }
        }
        if sends && self.spec.each.protocol == Protocol::Tcp {
            self.acknowledged().await?;
            // A server may reset its connections once it has its results.
            self.session.settle_acknowledged();
        }
        if sends {
            sleep(READING).await;
        }
        Ok(())
    }

    fn received_bytes(&self) -> u64 {
        let counts = self.session.stream_counts();
        let received = counts.iter().filter(|(number, _)| !self.session.sends(*number));
        received.map(|(_, counts)| counts.bytes).sum()
    }

    /// Why the server speaks during a test.
    async fn told(&mut self, state: Result<State, LinkError>) -> String {
        match state {
            Ok(State::ServerTerminate) => "the server ended the test".to_owned(),
            Ok(State::ServerError) => match self.link.server_error(STEP_TIME).await {
                Ok(error) => format!("the server ended the test: {}", error.words()),
                Err(error) => format!("the server: {error}"),
            },
            Ok(other) => format!("the server does not speak iperf3's protocol: {other:?} is unexpected"),
            Err(error) => format!("the server: {error}"),
        }
    }

    /// Waits until the server's kernel has acknowledged everything.
    async fn acknowledged(&mut self) -> Result<(), String> {
        let (mut open, mut since) = (self.session.unacknowledged(), Instant::now());
        while open > 0 && since.elapsed() < UNACKNOWLEDGED {
            tokio::select! {
                state = self.link.state() => return Err(self.told(state).await),
                () = sleep(LOOK_TIME) => {}
            }
            let now = self.session.unacknowledged();
            if now != open {
                (open, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Ends the test, and exchanges the results.
    async fn exchange(&mut self) -> Result<Results, String> {
        let words = |error: LinkError| format!("the server: {error}");
        self.link.send(State::TestEnd).await.map_err(words)?;
        match self.link.state_within(RESULTS_TIME).await {
            Ok(State::ExchangeResults) => {}
            other => return Err(self.told(other).await),
        }
        if self.spec.directions.has(Direction::Reverse) {
            self.arrive(None).await;
        }
        let counts = self.session.stream_counts();
        let last = self.recording.samples.back();
        let (cpu_s, seconds) =
            last.map_or((0.0, 0.0), |sample| (sample.cpu_ns as f64 / 1e9, sample.at_ns as f64 / 1e9));
        let telling = Telling {
            role: Role::Client,
            trial: self.spec,
            foreign: None,
            omitted: None,
            seconds,
            cpu: cpu_percent(cpu_s, seconds),
            congestion: None,
        };
        let own = results(&OwnStream::of_counts(&counts, last), &telling);
        self.link.send_frame(&own.to_json()).await.map_err(words)?;
        let json = self.link.frame(MOST_RESULTS, RESULTS_TIME).await.map_err(words)?;
        let foreign = Results::parse(&json).map_err(|error| format!("the server's results: {error}"))?;
        if self.spec.directions.has(Direction::Reverse) {
            self.arrive(Some(&foreign)).await;
        }
        self.session.end_receiving();
        match self.link.state_within(STEP_TIME).await {
            Ok(State::DisplayResults) | Err(LinkError::Closed) => {}
            other => return Err(self.told(other).await),
        }
        // The server may be gone already.
        let _ = self.link.send(State::Done).await;
        Ok(foreign)
    }

    /// Waits until what the server sent has arrived: all of it when that is known, otherwise until nothing more
    /// arrives.
    async fn arrive(&mut self, foreign: Option<&Results>) {
        let (rest, most) = ARRIVALS;
        let claims = foreign.map(|foreign| claims(foreign, self.spec, Direction::Reverse));
        if let Some(claims) = claims.as_ref().filter(|_| self.spec.each.protocol == Protocol::Udp) {
            let datagrams = claims.iter().map(|claim| claim.packets.unwrap_or(u64::from(u32::MAX))).collect();
            self.session.expect(SentCounts { bytes: Vec::new(), datagrams });
        }
        let began = Instant::now();
        let (mut arrived, mut since) = (self.received_bytes(), began);
        while began.elapsed() < most && since.elapsed() < rest {
            self.session.look();
            if self.session.is_over() {
                return;
            }
            sleep(LOOK_TIME).await;
            let now = self.received_bytes();
            if now != arrived {
                (arrived, since) = (now, Instant::now());
            }
        }
    }
}
