//! The client's part: asks a server, runs a thread per stream, and gathers both accounts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hugepage_check::cpu_set::CpuSet;
use linerate_agent::host::monotonic_ns;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::streams::{CpuUse, Load, Protocol, SocketOptions, StreamsSpec};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::connections::{self, Target};
use super::outcome::{Shared, StreamTally};
use super::stream::{Asker, Asking};
use super::{ExchangeKind, ExchangeSpec, ServerExchange};
use crate::client::connect::{Server, connect, unexpected};
use crate::client::streams::{Opening, open_all};
use crate::client::{ClientError, Request};
use crate::control::link::{Conversation, LinkError};
use crate::control::message::{ToClient, ToServer, Welcome};
use crate::control::{ALIVE_TIME, STEP_TIME};
use crate::streams::host::HostWatch;
use crate::streams::pool::{chosen_cpus, pin};

/// Time from the last thread's start to the first request.
const LEAD: Duration = Duration::from_millis(20);
/// Longest wait for the server's account.
const REPORT_TIME: Duration = Duration::from_secs(10);

/// What was exchanged.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) spec: ExchangeSpec,
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) welcome: Welcome,
    pub(crate) began_unix_s: f64,
    pub(crate) streams: Vec<StreamTally>,
    pub(crate) theirs: Option<ServerExchange>,
    pub(crate) cpu: CpuUse,
    pub(crate) interrupted: bool,
    /// Why the server's account is missing.
    pub(crate) failure: Option<String>,
}

/// A trial whose threads run.
pub(crate) struct Trial {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<StreamTally>>,
    conversation: Conversation<ToClient>,
    spec: ExchangeSpec,
    client: SocketAddr,
    server: SocketAddr,
    welcome: Welcome,
    began_unix_s: f64,
    host: HostWatch,
}

/// Begins: the first request leaves soon after. Must run in a local set.
pub(crate) async fn begin(request: &Request, spec: ExchangeSpec) -> Result<Trial, ClientError> {
    let Server { mut link, address, client, welcome, key, clock: _ } = connect(request).await?;
    let packet_bytes = f64::from(spec.request_bytes.max(spec.response_bytes)) + 78.0;
    let load = PacketLoad { packets_per_second: spec.per_second, packet_bytes };
    let limit = Limit { duration_ms: spec.duration_ms, packets: None };
    request.ceilings.check_streams(&load, &limit, Some(address.ip()))?;
    let failed = |error: LinkError| ClientError::Link { address, error };
    link.send(&ToServer::Exchange(spec)).await.map_err(failed)?;
    match link.read(STEP_TIME).await.map_err(failed)? {
        ToClient::Accepted(_) => {}
        other => return Err(unexpected(address, other)),
    }
    crate::streams::raise_descriptor_limit();
    let streams = StreamsSpec {
        protocol: if spec.kind == ExchangeKind::Udp { Protocol::Udp } else { Protocol::Tcp },
        streams: spec.streams,
        // With a rate, short writes leave at once.
        load: Load::BitsPerSecond(1.0),
        duration_ms: Some(1),
        bytes: None,
        block_bytes: spec.request_bytes,
        sockets: SocketOptions::default(),
    };
    let opening = Opening {
        to: address,
        name: (key, 0),
        spec: &streams,
        streams: if spec.kind == ExchangeKind::Connect { 0 } else { spec.streams },
        place: &request.place,
        ceiling_bytes: None,
    };
    let sockets = open_all(&opening, |_| true).await?;
    let mut conversation = link.listen::<ToClient>();
    match conversation.next_within(2 * STEP_TIME).await.map_err(failed)? {
        ToClient::Ready => {}
        other => return Err(unexpected(address, other)),
    }
    let start_ns = monotonic_ns() + LEAD.as_nanos() as u64;
    let asking = Asking {
        kind: spec.kind,
        request_bytes: spec.request_bytes as usize,
        response_bytes: spec.response_bytes as usize,
        interval_ns: spec.per_second.map(|rate| (f64::from(spec.streams) / rate * 1e9) as u64),
        start_ns,
        end_ns: spec.duration_ms.map_or(u64::MAX, |ms| start_ns + ms * 1_000_000),
    };
    let shared = Arc::new(Shared::default());
    let places = places(request.cpus.as_ref(), spec.streams)?;
    let host = HostWatch::begin();
    let began = SystemTime::now() + LEAD;
    let mut threads = Vec::new();
    let mut start = |number: u32, work: Box<dyn FnOnce(&Shared) -> StreamTally + Send>| {
        let (shared, cpu) = (Arc::clone(&shared), places[number as usize % places.len()]);
        let thread = std::thread::Builder::new().name(format!("requests-{number}")).spawn(move || {
            pin(cpu);
            work(&shared)
        });
        thread.map(|thread| threads.push(thread)).map_err(crate::streams::pool::PoolError::Start)
    };
    // Streams begin one after the other within an interval, not all at once.
    let staggered = move |number: u32| Asking {
        start_ns: start_ns
            + asking.interval_ns.unwrap_or(0) * u64::from(number) / u64::from(spec.streams.max(1)),
        ..asking
    };
    if spec.kind == ExchangeKind::Connect {
        for number in 0..spec.streams {
            let target = Target { to: address, place: request.place.clone(), key, spec };
            start(
                number,
                Box::new(move |shared| connections::run(&target, staggered(number), number, shared)),
            )?;
        }
    } else {
        for (number, socket) in sockets {
            start(number, Box::new(move |shared| Asker::new(socket, staggered(number), shared).run()))?;
        }
    }
    let began_unix_s = began.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    Ok(Trial { shared, threads, conversation, spec, client, server: address, welcome, began_unix_s, host })
}

/// A CPU per thread, in turn; `None`: wherever the scheduler puts it.
fn places(cpus: Option<&CpuSet>, streams: u32) -> Result<Vec<Option<u32>>, ClientError> {
    match cpus {
        Some(chosen) => Ok(chosen_cpus(chosen)?.into_iter().map(Some).collect()),
        None => Ok(vec![None; streams.max(1) as usize]),
    }
}

impl Trial {
    /// Waits for the end of all threads, or ends them when `stop` is true, and gathers the accounts.
    pub(crate) async fn finish(mut self, mut stop: watch::Receiver<bool>) -> Exchanged {
        let mut interrupted = false;
        let mut next_alive = Instant::now() + ALIVE_TIME;
        let mut failure = None;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            tokio::select! {
                () = sleep(Duration::from_millis(10)) => {}
                _ = stop.wait_for(|stop| *stop), if !interrupted => {
                    interrupted = true;
                    self.shared.stop.store(true, Ordering::Relaxed);
                }
                line = self.conversation.next(), if failure.is_none() => {
                    // Before the end the server has nothing to say but that it is gone.
                    self.shared.stop.store(true, Ordering::Relaxed);
                    failure = Some(match line {
                        Err(error) => format!("the server: {error}"),
                        Ok(_) => "the server ended the trial".to_owned(),
                    });
                }
            }
            if Instant::now() >= next_alive && failure.is_none() {
                let _ = self.conversation.send(&ToServer::Alive).await;
                next_alive = Instant::now() + ALIVE_TIME;
            }
        }
        let panicked = |_| StreamTally {
            failure: Some("a thread ended in a panic".to_owned()),
            ..StreamTally::default()
        };
        let streams = self.threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect();
        let (cpu, _) = self.host.read();
        let mut theirs = None;
        if failure.is_none() {
            let _ = self.conversation.send(&ToServer::Stop).await;
            match self.conversation.next_within(REPORT_TIME).await {
                Ok(ToClient::Exchanged(report)) => theirs = Some(*report),
                Ok(_) => failure = Some("the server sent an unexpected line".to_owned()),
                Err(error) => failure = Some(format!("the server: {error}")),
            }
        }
        Exchanged {
            spec: self.spec,
            client: self.client,
            server: self.server,
            welcome: self.welcome,
            began_unix_s: self.began_unix_s,
            streams,
            theirs,
            cpu,
            interrupted,
            failure,
        }
    }
}
