//! The server's end: many clients at once, all of their connections and datagrams on one port.
//!
//! A connection whose first bytes are a header is a stream of a trial; any other is a control connection.

mod exchange;
mod ladder;
pub(crate) mod trial;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use linerate_agent::token::Token;
use linerate_hardware::CpuSet;
use linerate_traffic::safety::Ceilings;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use crate::door::{Door, ListenError, first_bytes, hear, open};
use crate::spec::TrialSpec;
use crate::strangers::{Stranger, Strangers};
use crate::streams::header::Header;
use crate::streams::pool::{Pool, PoolError};
use crate::streams::report::EndReport;

/// Time for the first bytes of a connection.
const FIRST_BYTES_TIME: Duration = Duration::from_secs(5);
/// Pause when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// First number of a trial at a door that others keep: theirs have lower ones, and workers may be shared.
const FIRST_HOSTED_SESSION: u64 = 1 << 32;
/// Most trials at the same time of a server at a door that others keep.
const MOST_HOSTED_TRIALS: usize = 16;
/// Time for running trials to end when the server ends.
const END_TIME: Duration = Duration::from_secs(3);

/// Configuration of a server.
#[derive(Debug)]
pub(crate) struct Config {
    /// Addresses to listen on; port 0 takes a free one.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) token: Token,
    pub(crate) ceilings: Ceilings,
    /// CPUs of the workers; without them, one worker per CPU.
    pub(crate) cpus: Option<CpuSet>,
    /// Most trials at the same time.
    pub(crate) most_trials: usize,
    /// End after one trial.
    pub(crate) once: bool,
}

/// What a server tells about.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Listening(&'a [SocketAddr]),
    Began { number: u64, client: SocketAddr, spec: &'a TrialSpec },
    Ended { number: u64, client: SocketAddr, spec: &'a TrialSpec, report: &'a EndReport, end: &'a str },
    Refused { client: SocketAddr, reason: &'a str },
}

/// Error: a server cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What all conversations of a server share. They run on one thread.
struct Context {
    token: Token,
    ceilings: Ceilings,
    pool: Arc<Pool>,
    door: Door,
    running: Cell<usize>,
    most_trials: usize,
    next_session: Cell<u64>,
    /// True once the server is to end.
    stop: watch::Receiver<bool>,
    /// A trial has ended.
    ended: Notify,
    /// Connections that have not proved themselves, oldest first.
    strangers: Strangers,
    tell: Box<dyn Fn(&Event<'_>)>,
}

/// Serves clients until `stop` is true, or with `once` until a trial has ended. Must run in a local set.
pub(crate) async fn serve(
    config: Config,
    stop: watch::Receiver<bool>,
    tell: Box<dyn Fn(&Event<'_>)>,
) -> Result<(), ServeError> {
    let pool = Arc::new(Pool::start(config.cpus.as_ref(), usize::MAX)?);
    let mut sockets = Vec::new();
    for address in &config.listen {
        sockets.push(open(*address)?);
    }
    let context = Rc::new(Context {
        token: config.token,
        ceilings: config.ceilings,
        pool,
        door: Door::default(),
        running: Cell::new(0),
        most_trials: config.most_trials,
        next_session: Cell::new(1),
        stop: stop.clone(),
        ended: Notify::new(),
        strangers: Strangers::default(),
        tell,
    });
    let addresses: Vec<SocketAddr> =
        sockets.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect();
    for (listener, datagrams) in sockets {
        spawn_local(accept(Rc::clone(&context), listener));
        spawn_local(hear(context.door.clone(), datagrams));
    }
    (context.tell)(&Event::Listening(&addresses));
    let mut stop = stop;
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = context.ended.notified(), if config.once => {}
    }
    let all_ended = async {
        while context.running.get() > 0 {
            context.ended.notified().await;
        }
    };
    let _ = timeout(END_TIME, all_ended).await;
    Ok(())
}

/// What a server needs at a door that others keep.
#[derive(Debug)]
pub(crate) struct Hosting {
    pub(crate) token: Token,
    pub(crate) ceilings: Ceilings,
    pub(crate) pool: Arc<Pool>,
    /// True once its trials are to end.
    pub(crate) stop: watch::Receiver<bool>,
}

/// A server at a door that others keep: they hand over its control connections.
pub(crate) struct HostedServer {
    context: Rc<Context>,
}

impl HostedServer {
    pub(crate) fn new(hosting: &Hosting, door: Door) -> Self {
        let tell = |event: &Event<'_>| {
            if let Event::Refused { client, reason } = event {
                tracing::warn!(%client, reason, "a measurement was refused");
            }
        };
        let context = Context {
            token: hosting.token.clone(),
            ceilings: hosting.ceilings.clone(),
            pool: Arc::clone(&hosting.pool),
            door,
            running: Cell::new(0),
            most_trials: MOST_HOSTED_TRIALS,
            next_session: Cell::new(FIRST_HOSTED_SESSION),
            stop: hosting.stop.clone(),
            ended: Notify::new(),
            strangers: Strangers::default(),
            tell: Box::new(tell),
        };
        Self { context: Rc::new(context) }
    }

    /// Serves a control connection, of which nothing has been read, until it ends. Must run in a local set.
    pub(crate) fn meet(&self, stream: TcpStream, from: SocketAddr) {
        self.context.strangers.admit(|stranger| {
            spawn_local(trial::converse(Rc::clone(&self.context), stranger, stream, from)).abort_handle()
        });
    }
}

async fn accept(context: Rc<Context>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                context.strangers.admit(|stranger| {
                    spawn_local(greet(Rc::clone(&context), stranger, stream, from)).abort_handle()
                });
                // The first bytes of earlier connections are read before the next one is accepted.
                yield_now().await;
            }
            Err(error) => {
                // Probably out of file descriptors; an immediate retry would fail as well.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Finds out what a new connection is.
async fn greet(context: Rc<Context>, stranger: Stranger, mut stream: TcpStream, from: SocketAddr) {
    let first = timeout(FIRST_BYTES_TIME, first_bytes(&mut stream)).await;
    if !matches!(first, Ok(Ok(None))) {
        context.strangers.leave(stranger);
        return meet(&context, first, stream, from);
    }
    trial::converse(context, stranger, stream, from).await;
}

type FirstBytes = Result<io::Result<Option<Header>>, tokio::time::error::Elapsed>;

/// Hands a stream to its trial.
fn meet(context: &Context, first: FirstBytes, stream: TcpStream, from: SocketAddr) {
    match first {
        Ok(Ok(Some(header))) => {
            let handed_over = stream.into_std().map(|socket| context.door.hand_over(header, socket.into()));
            match handed_over {
                Ok(true) => {}
                Ok(false) => {
                    let reason = "a stream of no trial of this server";
                    (context.tell)(&Event::Refused { client: from, reason });
                }
                Err(error) => tracing::warn!(%error, "a connection cannot be handed over"),
            }
        }
        Ok(Ok(None)) => {}
        // Closed at once, or silent: a port scan, a health check.
        Ok(Err(error)) => tracing::debug!(%from, %error, "a connection without a word"),
        Err(_) => tracing::debug!(%from, "a connection that sent nothing"),
    }
}
