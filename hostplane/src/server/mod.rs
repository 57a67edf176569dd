//! The server's end: many clients at once, all of their connections and datagrams on one port.
//!
//! A connection whose first bytes are a header is a stream of a trial; any other is a control connection. A
//! datagram that is a header asks for a stream; the trial answers it from a socket of its own, which takes all
//! further datagrams of that client's stream.

mod trial;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hugepage_check::cpu_set::CpuSet;
use linerate_agent::token::Token;
use linerate_traffic::safety::Ceilings;
use rustix::net::sockopt as options;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use crate::spec::StreamsSpec;
use crate::streams::header::{HEADER_BYTES, Header, Key};
use crate::streams::pool::{Pool, PoolError};
use crate::streams::report::EndReport;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Time for the first bytes of a connection.
const FIRST_BYTES_TIME: Duration = Duration::from_secs(5);
/// Most connections of which it is not known whether they have a right to be here. A further one closes the
/// oldest of them.
const MOST_STRANGERS: usize = 1024;
/// Pause when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for running trials to end when the server ends.
const END_TIME: Duration = Duration::from_secs(3);
/// Largest datagram that asks for a stream.
const HELLO_ROOM: usize = 2 * HEADER_BYTES;

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
    Began { number: u64, client: SocketAddr, spec: &'a StreamsSpec },
    Ended { number: u64, client: SocketAddr, spec: &'a StreamsSpec, report: &'a EndReport, end: &'a str },
    Refused { client: SocketAddr, reason: &'a str },
}

/// Error: a server cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot listen on {address}: {error}\n  remedy: {remedy}")]
    Listen { address: SocketAddr, error: io::Error, remedy: &'static str },
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// A stream that has arrived for a trial.
#[derive(Debug)]
enum Arrived {
    Connection {
        stream: u32,
        socket: std::net::TcpStream,
    },
    /// A client asks for a stream of datagrams.
    Hello {
        stream: u32,
        from: SocketAddr,
    },
}

/// What all conversations of a server share. They run on one thread.
struct Context {
    token: Token,
    ceilings: Ceilings,
    pool: Arc<Pool>,
    trials: RefCell<HashMap<Key, mpsc::UnboundedSender<Arrived>>>,
    running: Cell<usize>,
    most_trials: usize,
    next_session: Cell<u64>,
    /// True once the server is to end.
    stop: watch::Receiver<bool>,
    /// A trial has ended.
    ended: Notify,
    /// Connections that have not proved themselves, oldest first.
    strangers: RefCell<Strangers>,
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
        trials: RefCell::default(),
        running: Cell::new(0),
        most_trials: config.most_trials,
        next_session: Cell::new(1),
        stop: stop.clone(),
        ended: Notify::new(),
        strangers: RefCell::default(),
        tell,
    });
    let addresses: Vec<SocketAddr> =
        sockets.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect();
    for (listener, datagrams) in sockets {
        spawn_local(accept(Rc::clone(&context), listener));
        spawn_local(hear(Rc::clone(&context), datagrams));
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

/// A listener for connections and a socket for datagrams on one address and port.
fn open(address: SocketAddr) -> Result<(TcpListener, UdpSocket), ServeError> {
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; end it, or choose another port (--listen)"
            }
            io::ErrorKind::AddrNotAvailable => "give an address of this host (`ip address` lists them)",
            io::ErrorKind::PermissionDenied => "choose a port of 1024 or more (--listen)",
            _ => "choose another address (--listen)",
        };
        ServeError::Listen { address, error, remedy }
    };
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let bound = |kind: SocketType, address: SocketAddr| -> io::Result<_> {
        let fd = socket_with(family, kind, flags, None)?;
        options::set_socket_reuseaddr(&fd, true)?;
        bind(&fd, &address)?;
        Ok(fd)
    };
    let tcp = bound(SocketType::STREAM, address).map_err(failed)?;
    listen(&tcp, BACKLOG).map_err(|errno| failed(errno.into()))?;
    let listener = TcpListener::from_std(tcp.into()).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let udp = bound(SocketType::DGRAM, address).map_err(failed)?;
    Ok((listener, UdpSocket::from_std(udp.into()).map_err(failed)?))
}

async fn accept(context: Rc<Context>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (number, known) = context.strangers.borrow_mut().next();
                let greeting = greet(Rc::clone(&context), Stranger { number }, stream, from);
                let task = spawn_local(greeting).abort_handle();
                context.strangers.borrow_mut().waiting.push_back((number, task));
                if let Some(oldest) = known {
                    oldest.abort();
                    tracing::debug!("the oldest connection that had not proved itself was closed");
                }
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

/// Connections that have not proved themselves.
#[derive(Default)]
struct Strangers {
    next: u64,
    waiting: VecDeque<(u64, AbortHandle)>,
}

impl Strangers {
    /// A number for a new one, and the oldest one when there are too many.
    fn next(&mut self) -> (u64, Option<AbortHandle>) {
        self.next += 1;
        let full = self.waiting.len() >= MOST_STRANGERS;
        let oldest = if full { self.waiting.pop_front().map(|(_, task)| task) } else { None };
        (self.next, oldest)
    }
}

/// One of them, by its number.
#[derive(Debug)]
struct Stranger {
    number: u64,
}

impl Stranger {
    /// The connection has proved itself, or ends.
    fn leave(self, context: &Context) {
        context.strangers.borrow_mut().waiting.retain(|(number, _)| *number != self.number);
    }
}

/// Finds out what a new connection is.
async fn greet(context: Rc<Context>, stranger: Stranger, mut stream: TcpStream, from: SocketAddr) {
    let first = timeout(FIRST_BYTES_TIME, first_bytes(&mut stream)).await;
    if !matches!(first, Ok(Ok(None))) {
        stranger.leave(&context);
        return meet(&context, first, stream, from);
    }
    trial::converse(context, stranger, stream, from).await;
}

type FirstBytes = Result<io::Result<Option<Header>>, tokio::time::error::Elapsed>;

/// Hands a stream to its trial.
fn meet(context: &Context, first: FirstBytes, stream: TcpStream, from: SocketAddr) {
    match first {
        Ok(Ok(Some(header))) => {
            let trials = context.trials.borrow();
            let trial = trials.get(&header.key).filter(|_| !header.answer);
            match (trial, stream.into_std()) {
                // A trial that is gone closes the connection.
                (Some(trial), Ok(socket)) => {
                    let _ = trial.send(Arrived::Connection { stream: header.stream, socket });
                }
                (None, _) => {
                    drop(trials);
                    let reason = "a stream of no trial of this server";
                    (context.tell)(&Event::Refused { client: from, reason });
                }
                (_, Err(error)) => tracing::warn!(%error, "a connection cannot be handed over"),
            }
        }
        Ok(Ok(None)) => {}
        // Closed at once, or silent: a port scan, a health check.
        Ok(Err(error)) => tracing::debug!(%from, %error, "a connection without a word"),
        Err(_) => tracing::debug!(%from, "a connection that sent nothing"),
    }
}

/// The header at the beginning of a stream's connection; `None` when it is a control connection.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<Option<Header>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !Header::begins(first[0]) {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_BYTES];
    stream.read_exact(&mut bytes).await?;
    let header = Header::from_bytes(&bytes);
    header.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a header of another version"))
}

/// Hands the datagrams that ask for streams to their trials. Others are dropped.
async fn hear(context: Rc<Context>, socket: UdpSocket) {
    let mut room = [0; HELLO_ROOM];
    loop {
        match socket.recv_from(&mut room).await {
            Ok((bytes, from)) => {
                let header = Header::from_bytes(&room[..bytes]).filter(|header| !header.answer);
                if let Some(Header { key, stream, .. }) = header
                    && let Some(trial) = context.trials.borrow().get(&key)
                {
                    let _ = trial.send(Arrived::Hello { stream, from });
                }
            }
            // The network reports that an earlier answer did not arrive.
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
    }
}
