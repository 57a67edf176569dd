//! A backend: a server that answers its own name, and counts. It speaks HTTP/1.1, and HTTP/2 with clients that begin with it.
//!
//! Each thread has a listening socket of its own on the same port, between which the kernel distributes
//! connections, and an epoll set. A request is counted when it has been read whole, and when the kernel has taken
//! the whole response.

mod absence;
mod responses;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use linerate_agent::cpu_time::TaskTime;
use linerate_hardware::CpuSet;
use linerate_http::tls::server::ServerTls;
use linerate_measure::loops::counters::Block;
use linerate_wire::counters::Counters;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{SocketType, bind, listen};

use self::absence::Absence;
pub(crate) use self::absence::{PlannedAbsence, Presence};
use self::worker::{Place, Worker};
use super::transport::{Either, Plain, Tls, TlsEnd, Transport};
use crate::streams::counters::counters;
use crate::streams::pool::{PoolError, chosen_cpus, pin};
use crate::streams::raise_descriptor_limit;
use crate::streams::socket::{canonical, unbound};

/// Connections that may wait to be accepted; the kernel has a limit of its own (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;
/// Most bytes of a body.
pub(crate) const MOST_BODY_BYTES: u32 = 16 << 20;

/// How a backend answers.
#[derive(Debug, Clone)]
pub(crate) struct BackendConfig {
    /// Addresses; port 0 takes a free one.
    pub(crate) listen: Vec<SocketAddr>,
    /// The body of its responses, and with `body_bytes` the header `X-Backend`.
    pub(crate) name: String,
    /// A body of so many bytes in place of the name.
    pub(crate) body_bytes: Option<u32>,
    pub(crate) status: u16,
    pub(crate) threads: u32,
    /// A CPU for each thread, in turn.
    pub(crate) cpus: Option<CpuSet>,
    /// Time between a request and its response.
    pub(crate) delay: Option<Duration>,
    pub(crate) stall: Option<Stall>,
    /// How connections are encrypted; `None`: not at all.
    pub(crate) tls: Option<ServerTls>,
    /// Connections that begin without TLS are served, too.
    pub(crate) plain_too: bool,
}

/// A thread does nothing at all for a time, again and again: a collection of garbage, a CPU that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    /// How long.
    pub(crate) length: Duration,
    /// From the start of one to that of the next. The first one begins after one such time.
    pub(crate) every: Duration,
}

counters! {
    /// What a backend has counted.
    BackendCounters {
        /// Requests that were read whole.
        requests,
        /// Responses that the kernel took whole.
        answered,
        /// Connections that were accepted.
        connections,
        /// Connections that were closed because what came is no request.
        malformed,
        /// Connections that broke within a request or a response.
        broken,
        /// Bytes that were read and written.
        read_bytes,
        written_bytes,
        /// Connections on which TLS was not agreed on.
        tls_failed,
        /// Bytes on the wire of connections with TLS.
        wire_read_bytes,
        wire_written_bytes,
        /// Connections that are open now.
        open,
    }
}

type BackendBlock = Block<BackendCounters, { BackendCounters::COUNT }>;

/// Error: a backend cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("cannot listen at {address}: {error}\n  remedy: {remedy}")]
    Listen { address: SocketAddr, error: io::Error, remedy: &'static str },
    #[error("name '{0}' cannot be answered: give up to 64 characters of visible ASCII")]
    Name(String),
    #[error("{what}: {value} is outside {least} to {most}")]
    Outside { what: &'static str, value: u64, least: u64, most: u64 },
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("a thread cannot be started: {0}")]
    Start(#[from] io::Error),
}

/// What a thread shows, and what ends it.
#[derive(Debug)]
struct Shown {
    counters: BackendBlock,
    stop: AtomicBool,
    wake: OwnedFd,
    /// The kernel's id of the thread; 0 before it runs.
    thread: AtomicI32,
}

impl Shown {
    /// Has the thread look at what it is told.
    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// A backend that serves. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Backend {
    addresses: Vec<SocketAddr>,
    shown: Vec<Arc<Shown>>,
    absence: Arc<Absence>,
    threads: Vec<JoinHandle<()>>,
    /// Bound to the ports, so that nobody else takes them while the backend is away.
    _holders: Vec<OwnedFd>,
}

impl BackendConfig {
    /// A backend of one thread that answers at once.
    pub(crate) fn new(listen: Vec<SocketAddr>, name: String) -> Self {
        let (body_bytes, cpus, delay, stall) = (None, None, None, None);
        Self {
            listen,
            name,
            body_bytes,
            status: 200,
            threads: 1,
            cpus,
            delay,
            stall,
            tls: None,
            plain_too: false,
        }
    }

    /// Checks what is asked for.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        let visible = |byte: u8| byte.is_ascii_graphic();
        let length = self.name.len();
        if !(1..=linerate_http::response::MOST_NAME_BYTES).contains(&length)
            || !self.name.bytes().all(visible)
        {
            return Err(BackendError::Name(self.name.clone()));
        }
        let within = |what, value: u64, least, most| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(BackendError::Outside { what, value, least, most })
            }
        };
        within("threads", self.threads.into(), 1, 1024)?;
        within("status", self.status.into(), 200, 599)?;
        within("bytes of a body", self.body_bytes.unwrap_or(0).into(), 0, MOST_BODY_BYTES.into())
    }
}

impl Backend {
    /// Starts to serve.
    ///
    /// # Errors
    /// An address that cannot be used, or no resources.
    pub(crate) fn start(config: BackendConfig) -> Result<Self, BackendError> {
        config.check()?;
        raise_descriptor_limit();
        let cpus = config.cpus.as_ref().map(chosen_cpus).transpose()?.unwrap_or_default();
        let config = Arc::new(config);
        let absence = Arc::<Absence>::default();
        let shared = config.threads > 1;
        let (mut holders, mut bound) = (Vec::new(), Vec::new());
        for asked in &config.listen {
            // Port 0 is the same one for all threads.
            let (holder, address) = at(*asked, shared)?;
            holders.push(holder);
            bound.push(address);
        }
        let place = Arc::new(Place { addresses: bound, shared });
        let listeners: Vec<Vec<OwnedFd>> =
            (0..config.threads).map(|_| place.listeners()).collect::<Result<_, _>>()?;
        let mut backend = Self {
            addresses: place.addresses.iter().copied().map(canonical).collect(),
            shown: Vec::new(),
            absence: Arc::clone(&absence),
            threads: Vec::new(),
            _holders: holders,
        };
        let common = Common { config, absence, place };
        for (number, sockets) in listeners.into_iter().enumerate() {
            let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
            let shown = Arc::new(Shown {
                counters: BackendBlock::default(),
                stop: AtomicBool::new(false),
                wake,
                thread: AtomicI32::new(0),
            });
            let cpu = if cpus.is_empty() { None } else { cpus.get(number % cpus.len()).copied() };
            let seat = (number, cpu);
            let common = common.clone();
            let thread = match &common.config.tls {
                None => spawn::<Plain>(seat, common, &shown, sockets, ())?,
                Some(tls) => {
                    let tls = TlsEnd::Server(tls.clone());
                    match common.config.plain_too {
                        true => spawn::<Either>(seat, common, &shown, sockets, tls)?,
                        false => spawn::<Tls>(seat, common, &shown, sockets, tls)?,
                    }
                }
            };
            backend.shown.push(shown);
            backend.threads.push(thread);
        }
        Ok(backend)
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it has counted since its start.
    pub(crate) fn counters(&self) -> BackendCounters {
        let each = self.shown.iter().map(|shown| shown.counters.read().to_array());
        let sum = each.fold([0u64; BackendCounters::COUNT], |sum, one| {
            std::array::from_fn(|index| sum[index].saturating_add(one[index]))
        });
        BackendCounters::from_array(sum)
    }

    /// CPU accounting of its threads now.
    pub(crate) fn threads(&self) -> Vec<TaskTime> {
        self.shown.iter().filter_map(|shown| TaskTime::of(shown.thread.load(Ordering::Relaxed))).collect()
    }

    /// Ends it; returns what it counted.
    pub(crate) fn finish(mut self) -> BackendCounters {
        self.end();
        self.counters()
    }

    fn end(&mut self) {
        for shown in &self.shown {
            shown.stop.store(true, Ordering::Relaxed);
            shown.wake();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of a backend panicked");
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the threads of a backend have in common.
#[derive(Debug, Clone)]
struct Common {
    config: Arc<BackendConfig>,
    absence: Arc<Absence>,
    place: Arc<Place>,
}

/// Starts a thread, with its number and CPU.
fn spawn<T>(
    (number, cpu): (usize, Option<u32>),
    common: Common,
    shown: &Arc<Shown>,
    listeners: Vec<OwnedFd>,
    settings: T::Settings,
) -> io::Result<JoinHandle<()>>
where
    T: Transport + Send + 'static,
    T::Settings: Send + 'static,
{
    let worker = Worker::<T>::new(common, Arc::clone(shown), listeners, settings)?;
    std::thread::Builder::new().name(format!("backend-{number}")).spawn(move || {
        pin(cpu);
        worker.run();
    })
}

impl Place {
    /// Listening sockets of a thread.
    fn listeners(&self) -> Result<Vec<OwnedFd>, BackendError> {
        let each = self.addresses.iter().map(|address| {
            let (socket, _) = at(*address, self.shared)?;
            listen(&socket, BACKLOG).map_err(|errno| cannot_listen(*address, errno))?;
            Ok(socket)
        });
        each.collect()
    }
}

/// A socket that is bound to an address, and that address.
fn at(address: SocketAddr, shared: bool) -> Result<(OwnedFd, SocketAddr), BackendError> {
    let made = || -> rustix::io::Result<(OwnedFd, SocketAddr)> {
        let (socket, address) = unbound(address, SocketType::STREAM)?;
        if shared {
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        bind(&socket, &address)?;
        let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?).unwrap_or(address);
        Ok((socket, bound))
    };
    made().map_err(|errno| cannot_listen(address, errno))
}

fn cannot_listen(address: SocketAddr, errno: Errno) -> BackendError {
    let remedy = match errno {
        Errno::ADDRINUSE => "another program listens there; end it, or choose another port",
        Errno::ADDRNOTAVAIL => "give an address of this host (`ip address`)",
        Errno::ACCESS => "ports below 1024 are for root; choose a higher one",
        _ => "choose another address",
    };
    BackendError::Listen { address, error: errno.into(), remedy }
}

#[cfg(test)]
mod tests;
