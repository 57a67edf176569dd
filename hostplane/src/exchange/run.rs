//! The client's part: asks a server, runs a thread per stream, and gathers both accounts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linerate_agent::host::monotonic_ns;
use linerate_hardware::CpuSet;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::streams::{CpuUse, Load, Protocol, SocketOptions, StreamsSpec};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle as Task, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::connections::{self, Target};
use super::outcome::{Shared, StreamTally};
use super::pace::Pace;
use super::stream::{ANSWER_TIME, Asker, Asking};
use super::{ExchangeKind, ExchangeSpec, ServerExchange};
use crate::client::connect::{Server, connect, refused_or, unexpected};
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

/// When the requests of a trial end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// After the time of sending that was asked for.
    AfterDuration,
    /// With the load beside them, which begins once its streams are there.
    WithLoad,
}

/// A trial whose threads run.
pub(crate) struct Trial {
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<StreamTally>>,
    /// Tells the attendant that all threads have ended; it returns the server's account, or why there is none.
    ended: oneshot::Sender<()>,
    attendant: Task<Result<ServerExchange, String>>,
    spec: ExchangeSpec,
    client: SocketAddr,
    server: SocketAddr,
    welcome: Welcome,
    began_unix_s: f64,
    host: HostWatch,
}

/// Begins: the first request leaves soon after. Must run in a local set.
pub(crate) async fn begin(request: &Request, spec: ExchangeSpec, ends: Ends) -> Result<Trial, ClientError> {
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
    let sockets = match open_all(&opening, |_| true).await {
        Ok(sockets) => sockets,
        Err(error) => return Err(refused_or(&mut link, address, error).await),
    };
    let mut conversation = link.listen::<ToClient>();
    match conversation.next_within(2 * STEP_TIME).await.map_err(failed)? {
        ToClient::Ready => {}
        other => return Err(unexpected(address, other)),
    }
    let start_ns = monotonic_ns() + LEAD.as_nanos() as u64;
    let duration_ms = spec.duration_ms.filter(|_| ends == Ends::AfterDuration);
    let asking = Asking {
        kind: spec.kind,
        request_bytes: spec.request_bytes as usize,
        response_bytes: spec.response_bytes as usize,
        pace: None,
        start_ns,
        end_ns: duration_ms.map_or(u64::MAX, |ms| start_ns + ms * 1_000_000),
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
    // At a rate, streams take turns.
    let of_stream = move |stream: u32| {
        let paced = |per_second| Pace { start_ns, per_second, streams: spec.streams, stream };
        Asking { pace: spec.per_second.map(paced), ..asking }
    };
    if spec.kind == ExchangeKind::Connect {
        for number in 0..spec.streams {
            let target = Target { to: address, place: request.place.clone(), key, spec };
            start(
                number,
                Box::new(move |shared| connections::run(&target, of_stream(number), number, shared)),
            )?;
        }
    } else {
        for (number, socket) in sockets {
            start(number, Box::new(move |shared| Asker::new(socket, of_stream(number), shared).run()))?;
        }
    }
    let began_unix_s = began.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let (ended, over) = oneshot::channel();
    let attendant = spawn_local(attend(conversation, Arc::clone(&shared), over, ALIVE_TIME));
    Ok(Trial {
        shared,
        threads,
        ended,
        attendant,
        spec,
        client,
        server: address,
        welcome,
        began_unix_s,
        host,
    })
}

/// Keeps the conversation with the server until `over`, whatever else this program does meanwhile: tells it every
/// `alive` that this end is there, and ends the requests when the server has ended. Returns the server's account.
async fn attend(
    mut conversation: Conversation<ToClient>,
    shared: Arc<Shared>,
    mut over: oneshot::Receiver<()>,
    alive: Duration,
) -> Result<ServerExchange, String> {
    let mut next_alive = Instant::now() + alive;
    let early = loop {
        tokio::select! {
            _ = &mut over => break None,
            // Before the end the server has nothing to say but that it is gone.
            line = conversation.next() => break Some(line),
            () = sleep_until(next_alive) => {
                // That the server is gone is read above.
                let _ = conversation.send(&ToServer::Alive).await;
                next_alive = Instant::now() + alive;
            }
        }
    };
    if let Some(line) = early {
        shared.stop.store(true, Ordering::Relaxed);
        shared.cut.store(true, Ordering::Relaxed);
        return Err(match line {
            Err(error) => format!("the server: {error}"),
            Ok(_) => "the server ended the trial".to_owned(),
        });
    }
    let _ = conversation.send(&ToServer::Stop).await;
    match conversation.next_within(REPORT_TIME).await {
        Ok(ToClient::Exchanged(report)) => Ok(*report),
        Ok(_) => Err("the server sent an unexpected line".to_owned()),
        Err(error) => Err(format!("the server: {error}")),
    }
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
    pub(crate) async fn finish(self, mut stop: watch::Receiver<bool>) -> Exchanged {
        let mut interrupted: Option<Instant> = None;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            tokio::select! {
                () = sleep(Duration::from_millis(10)) => {}
                _ = stop.wait_for(|stop| *stop), if interrupted.is_none() => {
                    interrupted = Some(Instant::now());
                    self.shared.stop.store(true, Ordering::Relaxed);
                }
            }
            // A user who ends a trial does not wait for a backlog.
            if interrupted.is_some_and(|since| since.elapsed() > ANSWER_TIME) {
                self.shared.cut.store(true, Ordering::Relaxed);
            }
        }
        let panicked = |_| StreamTally {
            failure: Some("a thread ended in a panic".to_owned()),
            ..StreamTally::default()
        };
        let streams = self.threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect();
        let (cpu, _) = self.host.read();
        // An attendant that has ended early does not listen.
        let _ = self.ended.send(());
        let account = self.attendant.await.unwrap_or_else(|error| Err(format!("this program: {error}")));
        let (theirs, failure) = match account {
            Ok(report) => (Some(report), None),
            Err(reason) => (None, Some(reason)),
        };
        Exchanged {
            spec: self.spec,
            client: self.client,
            server: self.server,
            welcome: self.welcome,
            began_unix_s: self.began_unix_s,
            streams,
            theirs,
            cpu,
            interrupted: interrupted.is_some(),
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;
    use crate::control::link::Link;

    /// An attendant, and the server's end of its conversation.
    async fn attended() -> (Arc<Shared>, oneshot::Sender<()>, Task<Result<ServerExchange, String>>, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Link::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (ended, over) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let task = spawn_local(attend(client.listen(), Arc::clone(&shared), over, Duration::from_millis(5)));
        (shared, ended, task, Link::new(listener.accept().await.unwrap().0))
    }

    async fn line(server: &mut Link) -> ToServer {
        server.read(Duration::from_secs(60)).await.unwrap()
    }

    #[tokio::test]
    async fn a_server_hears_of_requests_while_nobody_waits_for_their_end() {
        let talk = async {
            let (shared, ended, task, mut server) = attended().await;
            for _ in 0..3 {
                assert!(matches!(line(&mut server).await, ToServer::Alive));
            }
            ended.send(()).unwrap();
            loop {
                match line(&mut server).await {
                    ToServer::Alive => {}
                    ToServer::Stop => break,
                    other => panic!("{other:?}"),
                }
            }
            drop(server);
            assert!(task.await.unwrap().unwrap_err().contains("the server: "));
            assert!(!shared.cut.load(Ordering::Relaxed), "the requests had ended in order");
        };
        LocalSet::new().run_until(talk).await;
    }

    #[tokio::test]
    async fn requests_are_broken_off_when_the_server_ends() {
        let talk = async {
            let (shared, _ended, task, server) = attended().await;
            drop(server);
            assert!(task.await.unwrap().unwrap_err().contains("the server: "));
            assert!(shared.stop.load(Ordering::Relaxed) && shared.cut.load(Ordering::Relaxed));
        };
        LocalSet::new().run_until(talk).await;
    }
}
