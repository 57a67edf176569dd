//! A trial from the client's side, from the first connection to both accounts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linerate_agent::host::monotonic_ns;
use linerate_logging::terminal::escaped_line;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::streams::Protocol;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::closing::close;
use super::connect::{Server, connect, datagram_bytes, refused_or, unexpected};
use super::streams::{Opening, open_all};
use super::{ClientError, Observer, Outcome, Request, Samples, interrupted};
use crate::control::link::{Conversation, LinkError};
use crate::control::message::{Accepted, Start, ToClient, ToServer};
use crate::control::{ALIVE_TIME, LOOK_TIME, SILENCE_TIME, STEP_TIME};
use crate::spec::Direction;
use crate::spec::TrialSpec;
use crate::streams::pool::{Pool, allowed_cpus};
use crate::streams::report::{EndReport, EndSample, SentCounts};
use crate::streams::session::Session;
use crate::streams::{EndId, EndPlan};

/// Longest wait for the server's account.
const REPORT_TIME: Duration = Duration::from_secs(20);
/// Longest wait for the end of this end's streams after that.
const LAST_EVENTS_TIME: Duration = Duration::from_secs(2);
/// Most samples that are kept; of a longer trial, the oldest are left out.
const MOST_SAMPLES: usize = 36_000;
/// Most samples that may wait for the server's.
const MOST_LATE: usize = 8;

/// Runs a trial. `stop` becomes true when it is to end early. Must run in a local set.
pub(crate) async fn run(
    mut request: Request,
    mut stop: watch::Receiver<bool>,
    observer: &mut dyn Observer,
) -> Result<Outcome, ClientError> {
    if request.spec.each.block_bytes > 0 {
        request.spec.check().map_err(ClientError::Spec)?;
    }
    let mut server = tokio::select! {
        server = connect(&request) => server?,
        () = interrupted(&mut stop) => return Err(ClientError::Interrupted),
    };
    let address = server.address;
    if request.spec.each.block_bytes == 0 && request.spec.each.protocol == Protocol::Udp {
        request.spec.each.block_bytes = datagram_bytes(address, &request.place)?;
    }
    let spec = request.spec.clone();
    spec.check().map_err(ClientError::Spec)?;
    let (packets_per_second, packet_bytes) = spec.each.packets(address.is_ipv6());
    let limit = Limit { duration_ms: spec.each.duration_ms, packets: None };
    let load = PacketLoad { packets_per_second, packet_bytes };
    request.ceilings.check_streams(&load, &limit, Some(address.ip()))?;
    let ceiling = request.ceilings.most_packets_per_second(packet_bytes)?;

    let failed = |error: LinkError| ClientError::Link { address, error };
    server.link.send(&ToServer::Trial(Box::new(spec.clone()))).await.map_err(failed)?;
    let Accepted { tag } = match server.link.read(STEP_TIME).await.map_err(failed)? {
        ToClient::Accepted(accepted) => accepted,
        other => return Err(unexpected(address, other)),
    };
    // A stream keeps one worker busy at most.
    let most = spec.total_streams() as usize;
    let pool = Arc::new(Pool::start(request.cpus.as_ref(), most.min(allowed_cpus().len().max(1)))?);
    let id = EndId {
        session: 1,
        name: (server.key, 0),
        tag,
        directions: spec.directions,
        sends: Direction::Forward,
    };
    let plan = EndPlan::new(id, spec.each.clone(), ceiling);
    let mut session = Session::new(pool, plan, true);
    let opening = Opening {
        to: address,
        name: id.name,
        spec: &spec.each,
        streams: spec.total_streams(),
        place: &request.place,
        ceiling_bytes: ceiling.map(|packets| packets * packet_bytes),
    };
    let sockets = tokio::select! {
        sockets = open_all(&opening, |number| session.sends(number)) => sockets,
        () = interrupted(&mut stop) => return Err(ClientError::Interrupted),
    };
    let sockets = match sockets {
        Ok(sockets) => sockets,
        Err(error) => return Err(refused_or(&mut server.link, address, error).await),
    };
    for (number, socket) in sockets {
        session.attach(number, socket);
    }
    let Server { link, address, client, welcome, clock, .. } = server;
    let mut conversation = link.listen::<ToClient>();
    await_ready(&mut conversation, address).await?;
    observer.starts(&spec, address, &welcome);

    let mut running = Running {
        session: &mut session,
        conversation: &mut conversation,
        spec: &spec,
        samples: VecDeque::new(),
        early: None,
        left_out: 0,
        interrupted: false,
        server_ended: false,
        report: None,
    };
    let lead_ns = 50_000_000 + 4 * clock.round_trip_ns + u64::from(spec.total_streams()) * 20_000;
    let at_ns = monotonic_ns() + lead_ns;
    observer.begins(at_ns);
    let began = SystemTime::now() + Duration::from_nanos(lead_ns);
    let began_unix_s = began.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let failure = match running.go(at_ns, clock.server_ahead_ns, &mut stop, observer).await {
        Ok(()) => None,
        Err(LinkError::Closed) => {
            Some("the server closed the control connection: it, or its host, has ended".to_owned())
        }
        Err(error) => Some(format!("the server: {}", escaped_line(&error.to_string()))),
    };
    let Running { mut samples, left_out, interrupted, report, .. } = running;
    let own = session.finish(failure.as_deref().unwrap_or("the server ended the trial"));
    if close(&mut samples, &own, report.as_deref(), spec.interval_ms) {
        show(&samples, samples.len() - 1, observer);
    }
    // Where no report came, there is a reason.
    let failure = failure.or_else(|| report.is_none().then(|| "the server sent no report".to_owned()));
    Ok(Outcome {
        spec,
        server: address,
        client,
        welcome,
        clock,
        began_unix_s,
        own,
        theirs: report.map(|report| *report),
        samples: samples.into(),
        samples_left_out: left_out,
        interrupted,
        failure,
    })
}

async fn await_ready(
    conversation: &mut Conversation<ToClient>,
    address: std::net::SocketAddr,
) -> Result<(), ClientError> {
    let failed = |error: LinkError| ClientError::Link { address, error };
    loop {
        match conversation.next_within(2 * STEP_TIME).await.map_err(failed)? {
            ToClient::Ready => return Ok(()),
            ToClient::Alive => {}
            other => return Err(unexpected(address, other)),
        }
    }
}

/// A trial that is running.
struct Running<'a> {
    session: &'a mut Session,
    conversation: &'a mut Conversation<ToClient>,
    spec: &'a TrialSpec,
    samples: VecDeque<(EndSample, Option<EndSample>)>,
    /// A sample of the server whose interval has not ended here.
    early: Option<EndSample>,
    left_out: u64,
    interrupted: bool,
    server_ended: bool,
    report: Option<Box<EndReport>>,
}

impl Running<'_> {
    /// Starts both ends and attends to the trial until the server's report has arrived.
    async fn go(
        &mut self,
        at_ns: u64,
        server_ahead_ns: i64,
        stop: &mut watch::Receiver<bool>,
        observer: &mut dyn Observer,
    ) -> Result<(), LinkError> {
        let start =
            Start { at_ns: at_ns.wrapping_add_signed(server_ahead_ns), client_ahead_ns: -server_ahead_ns };
        self.conversation.send(&ToServer::Start(start)).await?;
        self.session.watch_host();
        self.session.start(at_ns, server_ahead_ns);
        let interval = Duration::from_millis(self.spec.interval_ms.into());
        let mut next_sample =
            Instant::now() + Duration::from_nanos(at_ns.saturating_sub(monotonic_ns())) + interval;
        let mut next_alive = Instant::now() + ALIVE_TIME;
        let mut heard = Instant::now();
        let sends = self.spec.directions.has(Direction::Forward);
        let receives = self.spec.directions.has(Direction::Reverse);
        let mut told = !sends;
        let mut done_since: Option<Instant> = None;
        let mut reported: Option<Instant> = None;
        loop {
            self.session.look();
            if !told && self.session.sending_is_over() {
                told = true;
                self.conversation.send(&ToServer::Ended(self.session.sent_counts())).await?;
            }
            let over = self.session.is_over();
            if self.report.is_some() {
                // The server's report may come before the last event of a stream here.
                let since = *reported.get_or_insert_with(|| {
                    self.session.stop_sending();
                    Instant::now()
                });
                if over || since.elapsed() > LAST_EVENTS_TIME {
                    return Ok(());
                }
            }
            let done = told && (self.server_ended || !receives) && over;
            let now = Instant::now();
            // A long report on a slow path comes bit by bit: then these bytes are later than the last whole line.
            let bytes = self.conversation.heard();
            if done {
                let since = *done_since.get_or_insert(now);
                if now.saturating_duration_since(if bytes > heard { bytes } else { since }) > REPORT_TIME {
                    return Err(LinkError::Silent(REPORT_TIME));
                }
            }
            if now >= next_sample {
                self.sample(observer);
                next_sample += interval;
            }
            if now >= next_alive {
                // A server whose report is here, or on its way, may be gone.
                let sent = self.conversation.send(&ToServer::Alive).await;
                if !done && self.report.is_none() {
                    sent?;
                }
                next_alive = now + ALIVE_TIME;
            }
            if now.saturating_duration_since(heard.max(bytes)) > SILENCE_TIME && self.report.is_none() {
                return Err(LinkError::Silent(SILENCE_TIME));
            }
            tokio::select! {
                line = self.conversation.next(), if self.report.is_none() => {
                    heard = Instant::now();
                    self.take(line?, observer)?;
                }
                () = sleep_until(next_sample.max(now).min(now + LOOK_TIME)) => {}
                () = interrupted(stop), if !self.interrupted && self.report.is_none() => {
                    self.interrupted = true;
                    self.session.stop_sending();
                    self.conversation.send(&ToServer::Stop).await?;
                }
            }
        }
    }

    fn take(&mut self, line: ToClient, observer: &mut dyn Observer) -> Result<(), LinkError> {
        match line {
            ToClient::Sample(sample) => self.take_sample(*sample, observer),
            ToClient::Ended(counts) if !self.server_ended => {
                self.server_ended = true;
                self.session.expect(counts);
            }
            ToClient::Report(report) => {
                // A server that ends early has sent all that it will send.
                if !self.server_ended {
                    self.session.expect(SentCounts::default());
                }
                self.report = Some(report);
            }
            ToClient::Alive | ToClient::Ended(_) => {}
            ToClient::Refused(reason) => return Err(LinkError::Foreign(reason)),
            _ => return Err(LinkError::Foreign("an unexpected line".to_owned())),
        }
        Ok(())
    }

    fn sample(&mut self, observer: &mut dyn Observer) {
        // An interval whose other half never came is shown when the next one ends.
        if let Some((client, None)) = self.samples.back() {
            self.show(client.index, observer);
        }
        if self.samples.len() >= MOST_SAMPLES {
            self.samples.pop_front();
            self.left_out += 1;
        }
        let index = self.samples.back().map_or(0, |(last, _)| last.index) + 1;
        let own = self.session.sample(index);
        // The server's clock may have run a little ahead.
        let theirs = self.early.take_if(|sample| sample.index == index);
        let whole = theirs.is_some();
        self.samples.push_back((own, theirs));
        if whole {
            self.show(index, observer);
        }
    }

    fn take_sample(&mut self, sample: EndSample, observer: &mut dyn Observer) {
        let index = sample.index;
        if self.samples.back().is_none_or(|(last, _)| last.index < index) {
            self.early = Some(sample);
            return;
        }
        // A late one is kept, though its line has been shown without it.
        let recent = self.samples.iter_mut().rev().take(MOST_LATE);
        let Some((_, theirs)) = recent.into_iter().find(|(own, _)| own.index == index) else { return };
        *theirs = Some(sample);
        if self.samples.back().is_some_and(|(last, _)| last.index == index) {
            self.show(index, observer);
        }
    }

    fn show(&self, index: u32, observer: &mut dyn Observer) {
        let Some(at) = self.samples.iter().rposition(|(own, _)| own.index == index) else { return };
        show(&self.samples, at, observer);
    }
}

/// Shows the interval that ends with the sample at a place.
fn show(all: &VecDeque<(EndSample, Option<EndSample>)>, at: usize, observer: &mut dyn Observer) {
    let Some(now) = all.get(at) else { return };
    let empty = (EndSample::default(), Some(EndSample::default()));
    let before = at.checked_sub(1).and_then(|at| all.get(at)).unwrap_or(&empty);
    observer.interval(&samples(before), &samples(now));
}

fn samples((client, server): &(EndSample, Option<EndSample>)) -> Samples<'_> {
    Samples { client: Some(client), server: server.as_ref() }
}
