//! The server's part in requests and responses.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use linerate_measure::histogram::TickHistogram;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::Context;
use super::trial::{Meeting, Running, check_descriptors};
use crate::control::SILENCE_TIME;
use crate::control::link::{Conversation, Link};
use crate::control::message::{Accepted, ToClient, ToServer};
use crate::door::{Arrivals, Arrived};
use crate::exchange::outcome::{Answered, answer};
use crate::exchange::{ExchangeKind, ExchangeSpec, ServerExchange, distribution};
use crate::streams::host::HostWatch;

/// Longest time in which no further stream arrives.
const STREAMS_TIME: Duration = Duration::from_secs(20);
/// Longest life of a connection for one request.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Most threads of all trials of this program.
const MOST_THREADS: usize = 1024;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Refuses what is not possible, or what ceilings forbid.
pub(super) fn check(context: &Context, spec: &ExchangeSpec, client: IpAddr) -> Result<(), String> {
    spec.check()?;
    if *context.stop.borrow() {
        return Err("the server is ending".to_owned());
    }
    if context.running.get() >= context.most_trials {
        return Err(format!(
            "{} trials are running, which is the most of this server (--max-trials)",
            context.most_trials
        ));
    }
    if THREADS.load(Ordering::Relaxed) + spec.streams as usize > MOST_THREADS {
        return Err(format!("this server answers at most {MOST_THREADS} streams of requests at a time"));
    }
    // A request and its response are a packet each way; a connection for each takes some more.
    let load = PacketLoad {
        packets_per_second: spec.per_second,
        packet_bytes: f64::from(spec.request_bytes.max(spec.response_bytes)) + 78.0,
    };
    let limit = Limit { duration_ms: spec.duration_ms, packets: None };
    context.ceilings.check_streams(&load, &limit, Some(client)).map_err(|error| error.to_string())?;
    check_descriptors(spec.streams.into())
}

/// Answers until the client has ended.
pub(super) async fn serve(context: &Rc<Context>, mut link: Link, meeting: Meeting, spec: ExchangeSpec) {
    let _running = Running::begin(context);
    let arrivals = match spec.kind {
        ExchangeKind::Connect => context.door.expect_any(meeting.key, 0, meeting.local),
        _ => context.door.expect(meeting.key, 0, spec.streams, meeting.local),
    };
    if link.send(&ToClient::Accepted(Accepted { tag: 0 })).await.is_err() {
        return;
    }
    tracing::info!("requests of {}: {spec}", meeting.client);
    let host = HostWatch::begin();
    let mut conversation: Conversation<ToServer> = link.listen();
    let (sum, awaited) = match spec.kind {
        ExchangeKind::Connect => connections(context, &mut conversation, arrivals, spec).await,
        _ => streams(context, &mut conversation, arrivals, spec).await,
    };
    let (cpu, _) = host.read();
    let mut failures: Vec<String> = sum.failure.into_iter().collect();
    failures.dedup();
    let report = ServerExchange {
        requests: sum.requests,
        responses: sum.responses,
        kernel: distribution(&sum.kernel),
        cpu,
        failures,
    };
    tracing::info!("requests of {} ended: {} answered", meeting.client, report.responses);
    let line = ToClient::Exchanged(Box::new(report));
    if awaited {
        conversation.conclude(&line).await;
    } else {
        let _ = conversation.send(&line).await;
    }
}

/// Waits until the client has ended, is gone, or the server is to end. True when the client awaits the account.
async fn until_the_end(context: &Context, conversation: &mut Conversation<ToServer>) -> bool {
    let mut stop = context.stop.clone();
    loop {
        tokio::select! {
            line = conversation.next_within(SILENCE_TIME) => match line {
                Ok(ToServer::Alive) => {}
                line => return line.is_ok(),
            },
            _ = stop.wait_for(|stop| *stop) => return false,
        }
    }
}

/// A thread that answers a stream.
struct Thread {
    handle: JoinHandle<Answered>,
}

impl Thread {
    fn start(
        number: u32,
        socket: OwnedFd,
        spec: ExchangeSpec,
        stop: &Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let stop = Arc::clone(stop);
        THREADS.fetch_add(1, Ordering::Relaxed);
        let started = std::thread::Builder::new().name(format!("answers-{number}")).spawn(move || {
            let sizes = (spec.request_bytes as usize, spec.response_bytes as usize);
            let answered = answer(&socket, spec.kind, sizes.0, sizes.1, &stop);
            THREADS.fetch_sub(1, Ordering::Relaxed);
            answered
        });
        if started.is_err() {
            THREADS.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(Self { handle: started? })
    }
}

async fn streams(
    context: &Context,
    conversation: &mut Conversation<ToServer>,
    mut arrivals: Arrivals,
    spec: ExchangeSpec,
) -> (Answered, bool) {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut sum, mut threads) = (Answered::default(), Vec::new());
    let mut refused = None;
    let arrive = async {
        let mut sockets = Vec::new();
        while sockets.len() < spec.streams as usize {
            match timeout(STREAMS_TIME, arrivals.queue.recv()).await {
                Ok(Some(Ok(arrived))) => sockets.push(arrived),
                Ok(Some(Err(error))) => {
                    refused = Some(format!("at the server: {error}"));
                    break;
                }
                _ => break,
            }
        }
        sockets
    };
    // A client that is gone sends no more streams; its connection ends this.
    let sockets = tokio::select! {
        sockets = arrive => sockets,
        _ = conversation.next() => Vec::new(),
    };
    if let Some(reason) = refused {
        let _ = conversation.send(&ToClient::Refused(reason.clone())).await;
        sum.failure = Some(reason);
        return (sum, false);
    }
    if sockets.len() < spec.streams as usize {
        sum.failure = Some(format!("{} of {} streams arrived", sockets.len(), spec.streams));
        return (sum, false);
    }
    for Arrived { stream, socket } in sockets {
        match Thread::start(stream, socket, spec, &stop) {
            Ok(thread) => threads.push(thread),
            Err(error) => sum.failure = Some(format!("a thread cannot be started: {error}")),
        }
    }
    let awaited =
        conversation.send(&ToClient::Ready).await.is_ok() && until_the_end(context, conversation).await;
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        // A thread looks at the signal within 50 ms.
        let answered = tokio::task::spawn_blocking(move || thread.handle.join()).await;
        match answered {
            Ok(Ok(answered)) => {
                sum.requests += answered.requests;
                sum.responses += answered.responses;
                sum.kernel.merge(&answered.kernel);
                sum.failure = sum.failure.or(answered.failure);
            }
            _ => sum.failure = Some("a thread that answered ended in a panic".to_owned()),
        }
    }
    (sum, awaited)
}

async fn connections(
    context: &Context,
    conversation: &mut Conversation<ToServer>,
    mut arrivals: Arrivals,
    spec: ExchangeSpec,
) -> (Answered, bool) {
    let counts = Rc::new(std::cell::RefCell::new(Answered {
        kernel: TickHistogram::default(),
        ..Answered::default()
    }));
    if conversation.send(&ToClient::Ready).await.is_err() {
        return (Answered::default(), false);
    }
    let take = async {
        while let Some(Ok(Arrived { socket, .. })) = arrivals.queue.recv().await {
            let counts = Rc::clone(&counts);
            spawn_local(async move {
                let _ = timeout(REQUEST_TIME, once(socket, spec, &counts)).await;
            });
        }
    };
    let awaited = tokio::select! {
        () = take => false,
        awaited = until_the_end(context, conversation) => awaited,
    };
    let sum = counts.borrow().clone();
    (sum, awaited)
}

/// Answers the request of a connection, and closes it.
async fn once(
    socket: OwnedFd,
    spec: ExchangeSpec,
    counts: &std::cell::RefCell<Answered>,
) -> std::io::Result<()> {
    let mut stream = TcpStream::from_std(socket.into())?;
    let _ = stream.set_nodelay(true);
    let mut room = vec![0; spec.request_bytes.max(spec.response_bytes) as usize];
    stream.read_exact(&mut room[..spec.request_bytes as usize]).await?;
    counts.borrow_mut().requests += 1;
    stream.write_all(&room[..spec.response_bytes as usize]).await?;
    counts.borrow_mut().responses += 1;
    if spec.client_closes {
        // Until the client closes.
        while stream.read(&mut room).await? > 0 {}
    }
    Ok(())
}
