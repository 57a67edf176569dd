//! A server for iperf3's clients: many tests at once, with all connections and datagrams on one port.
//!
//! Each connection begins with a cookie. One that a test awaits makes the connection a stream of that test; any
//! other begins a test. Datagrams have no cookie: the test whose streams they begin is found by the client's
//! address, so of the UDP tests of one address only one at a time waits for its streams.

mod agree;
mod ending;
mod test;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use linerate_hardware::CpuSet;
use linerate_iperf3::cookie::{COOKIE_BYTES, Cookie};
use linerate_iperf3::datagram::answer;
use linerate_traffic::safety::Ceilings;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::outcome::Outcome;
use crate::door::open;
use crate::server::ServeError;
use crate::spec::TrialSpec;
use crate::strangers::{Stranger, Strangers};
use crate::streams::pool::Pool;
use crate::streams::socket::{canonical, datagrams_from};

/// Time for the cookie of a connection.
const COOKIE_TIME: Duration = Duration::from_secs(5);
/// Pause when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for running tests to end when the server ends.
const END_TIME: Duration = Duration::from_secs(3);

/// Configuration of a server.
#[derive(Debug)]
pub(crate) struct Config {
    /// Addresses to listen on; port 0 takes a free one.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) ceilings: Ceilings,
    /// CPUs of the workers; without them, one worker per CPU.
    pub(crate) cpus: Option<CpuSet>,
    /// Most tests at the same time.
    pub(crate) most_tests: usize,
    /// Most streams of a test in each direction.
    pub(crate) most_streams: u32,
    /// End after one test.
    pub(crate) once: bool,
}

/// What a server tells about.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Listening(&'a [SocketAddr]),
    Began { number: u64, client: SocketAddr, spec: &'a TrialSpec },
    Ended { number: u64, outcome: &'a Outcome },
    Refused { client: SocketAddr, reason: &'a str },
}

/// A stream that has arrived, with the order of its arrival.
#[derive(Debug)]
struct Arrived {
    order: u64,
    socket: OwnedFd,
}

/// Streams that a test awaits.
#[derive(Debug)]
struct Awaited {
    client: IpAddr,
    /// Address of this end that the client uses.
    local: SocketAddr,
    datagrams: bool,
    /// Streams that are still to come.
    missing: u32,
    arrivals: UnboundedSender<Arrived>,
}

/// What all tests of a server share. They run on one thread.
struct Context {
    config: Config,
    pool: Arc<Pool>,
    tests: RefCell<HashMap<Cookie, Awaited>>,
    /// Turns of the UDP tests of one address to wait for their streams.
    turns: RefCell<HashMap<IpAddr, Arc<Mutex<()>>>>,
    running: Cell<usize>,
    next_number: Cell<u64>,
    /// Order of arrivals.
    next_order: Cell<u64>,
    /// True once the server is to end.
    stop: watch::Receiver<bool>,
    /// A test has ended.
    ended: Notify,
    strangers: Strangers,
    tell: Box<dyn Fn(&Event<'_>)>,
}

/// Serves clients until `stop` is true, or with `once` until a test has ended. Must run in a local set.
pub(crate) async fn serve(
    config: Config,
    mut stop: watch::Receiver<bool>,
    tell: Box<dyn Fn(&Event<'_>)>,
) -> Result<(), ServeError> {
    let pool = Arc::new(Pool::start(config.cpus.as_ref(), usize::MAX)?);
    let sockets = config.listen.iter().map(|address| open(*address)).collect::<Result<Vec<_>, _>>()?;
    let once = config.once;
    let context = Rc::new(Context {
        config,
        pool,
        tests: RefCell::default(),
        turns: RefCell::default(),
        running: Cell::new(0),
        next_number: Cell::new(1),
        next_order: Cell::new(0),
        stop: stop.clone(),
        ended: Notify::new(),
        strangers: Strangers::default(),
        tell,
    });
    let addresses: Vec<SocketAddr> =
        sockets.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect();
    for (listener, datagrams) in sockets {
        spawn_local(accept(Rc::clone(&context), listener));
        spawn_local(hear(Rc::clone(&context), datagrams));
    }
    (context.tell)(&Event::Listening(&addresses));
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = context.ended.notified(), if once => {}
    }
    let all_ended = async {
        while context.running.get() > 0 {
            context.ended.notified().await;
        }
    };
    let _ = timeout(END_TIME, all_ended).await;
    Ok(())
}

impl Context {
    fn order(&self) -> u64 {
        self.next_order.replace(self.next_order.get() + 1)
    }

    /// Hands a connection over to the test of this cookie. `Err`: there is no such test. `Ok(false)`: it awaits
    /// no further connection.
    fn hand_over(&self, cookie: Cookie, order: u64, socket: TcpStream) -> Result<bool, TcpStream> {
        let mut tests = self.tests.borrow_mut();
        let Some(awaited) = tests.get_mut(&cookie) else { return Err(socket) };
        if awaited.datagrams || awaited.missing == 0 {
            return Ok(false);
        }
        awaited.missing -= 1;
        let Ok(socket) = socket.into_std() else { return Ok(false) };
        Ok(awaited.arrivals.send(Arrived { order, socket: socket.into() }).is_ok())
    }

    /// Makes the socket of a client that greets, and answers it.
    fn greeted(&self, greeting: &[u8], from: SocketAddr) {
        let Some(answer) = answer(greeting) else { return };
        let from = canonical(from);
        let mut tests = self.tests.borrow_mut();
        let waits =
            |awaited: &&mut Awaited| awaited.datagrams && awaited.missing > 0 && awaited.client == from.ip();
        let Some(awaited) = tests.values_mut().find(waits) else { return };
        match datagrams_from(awaited.local, from) {
            Ok(socket) => {
                awaited.missing -= 1;
                let _ = rustix::net::send(&socket, &answer, rustix::net::SendFlags::DONTWAIT);
                let _ = awaited.arrivals.send(Arrived { order: self.order(), socket });
            }
            Err(error) => tracing::warn!(%error, "a stream of datagrams cannot be accepted"),
        }
    }
}

async fn accept(context: Rc<Context>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Streams are numbered in the order in which their connections were made.
                let order = context.order();
                context.strangers.admit(|stranger| {
                    spawn_local(greet(Rc::clone(&context), stranger, order, stream, from)).abort_handle()
                });
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
async fn greet(
    context: Rc<Context>,
    stranger: Stranger,
    order: u64,
    mut stream: TcpStream,
    from: SocketAddr,
) {
    let client = canonical(from);
    let mut bytes = [0; COOKIE_BYTES];
    let read = timeout(COOKIE_TIME, stream.read_exact(&mut bytes)).await;
    let cookie = match read {
        Ok(Ok(_)) => Cookie::from_bytes(bytes),
        // Closed at once, or silent: a port scan, a health check.
        _ => {
            context.strangers.leave(stranger);
            return tracing::debug!(%client, "a connection without a cookie");
        }
    };
    let Some(cookie) = cookie else {
        context.strangers.leave(stranger);
        return (context.tell)(&Event::Refused {
            client,
            reason: "it does not speak iperf3's protocol: no cookie",
        });
    };
    match context.hand_over(cookie, order, stream) {
        Ok(handed_over) => {
            context.strangers.leave(stranger);
            if !handed_over {
                let reason = "a connection that its test does not await";
                (context.tell)(&Event::Refused { client, reason });
            }
        }
        Err(stream) => test::serve_test(context, stranger, Link::new(stream), client, cookie).await,
    }
}

/// Answers the datagrams that begin streams. Others are dropped.
async fn hear(context: Rc<Context>, socket: UdpSocket) {
    let mut room = [0; 16];
    loop {
        match socket.recv_from(&mut room).await {
            Ok((bytes, from)) => context.greeted(&room[..bytes], from),
            // The network reports that an earlier answer did not arrive.
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
    }
}
