//! The thread at which streams arrive, and while somebody is to answer measurements, control connections.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use super::StartError;
use crate::door::{Door, ListenError, first_bytes, hear, open};
use crate::server::{HostedServer, Hosting};
use crate::strangers::{Stranger, Strangers};
use crate::streams::raise_descriptor_limit;

/// Time for the header of a connection.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Most connections whose header is awaited, unless half of the file descriptors are fewer. Each of the agents that connect opens up to
/// 128 streams at a time.
const MOST_AWAITED: u64 = 4096;
/// Pause when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    door: Door,
    addresses: Vec<SocketAddr>,
    hosting: watch::Sender<Option<Arc<Hosting>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Doorkeeper {
    /// Opens the door at these addresses.
    pub(super) fn start(listen: Vec<SocketAddr>) -> Result<Self, StartError> {
        let door = Door::default();
        let (opened, addresses) = channel();
        let (stop, stopped) = oneshot::channel();
        let (hosting, hosted) = watch::channel(None);
        let table = door.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let keep = move || LocalSet::new().block_on(&runtime, keep(table, hosted, listen, opened, stopped));
        let thread = std::thread::Builder::new().name("door".to_owned()).spawn(keep);
        let thread = thread.map_err(StartError::Thread)?;
        let ended = || StartError::Thread(std::io::Error::other("it ended at once"));
        let addresses = addresses.recv().map_err(|_| ended())??;
        Ok(Self { door, addresses, hosting, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves those who measure from now on; `None`: nobody any more.
    pub(super) fn host(&self, hosting: Option<Hosting>) {
        self.hosting.send_replace(hosting.map(Arc::new));
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of arriving streams panicked");
        }
    }
}

/// Tells streams from control connections.
struct Front {
    door: Door,
    hosting: watch::Receiver<Option<Arc<Hosting>>>,
    /// The server of the newest hosting that was needed.
    server: RefCell<Option<(Arc<Hosting>, HostedServer)>>,
    /// Connections that have not said what they are.
    strangers: Strangers,
}

impl Front {
    /// Serves a control connection, if somebody is to.
    fn meet(&self, stream: TcpStream, from: SocketAddr) {
        let Some(hosting) = self.hosting.borrow().clone() else {
            return tracing::debug!(%from, "a connection that is no stream");
        };
        let mut server = self.server.borrow_mut();
        if server.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &hosting)) {
            *server = Some((Arc::clone(&hosting), HostedServer::new(&hosting, self.door.clone())));
        }
        if let Some((_, server)) = &*server {
            server.meet(stream, from);
        }
    }
}

async fn keep(
    door: Door,
    hosting: watch::Receiver<Option<Arc<Hosting>>>,
    listen: Vec<SocketAddr>,
    opened: Sender<Result<Vec<SocketAddr>, ListenError>>,
    stopped: oneshot::Receiver<()>,
) {
    let sockets: Result<Vec<_>, ListenError> = listen.into_iter().map(open).collect();
    match sockets {
        Ok(sockets) => {
            let addresses = sockets.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect();
            let _ = opened.send(Ok(addresses));
            // The other half is for streams and files.
            let most = raise_descriptor_limit().map_or(MOST_AWAITED, |limit| MOST_AWAITED.min(limit / 2));
            let strangers = Strangers::up_to(most as usize);
            let front = Rc::new(Front { door, hosting, server: RefCell::default(), strangers });
            for (listener, datagrams) in sockets {
                spawn_local(hear(front.door.clone(), datagrams));
                spawn_local(accept(Rc::clone(&front), listener));
            }
            // Ends when the sender is dropped.
            let _ = stopped.await;
        }
        Err(error) => {
            let _ = opened.send(Err(error));
        }
    }
}

/// Reads what a connection is, and hands it over.
async fn greet(front: Rc<Front>, stranger: Stranger, mut stream: TcpStream, from: SocketAddr) {
    let header = timeout(HEADER_TIME, first_bytes(&mut stream)).await;
    front.strangers.leave(stranger);
    let header = match header {
        Ok(Ok(Some(header))) => header,
        Ok(Ok(None)) => return front.meet(stream, from),
        _ => return tracing::debug!(%from, "a connection without a word"),
    };
    let socket = stream.into_std();
    if !socket.is_ok_and(|socket| front.door.hand_over(header, socket.into())) {
        tracing::debug!(%from, "a stream of no trial of this agent");
    }
}

async fn accept(front: Rc<Front>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                front.strangers.admit(|stranger| {
                    spawn_local(greet(Rc::clone(&front), stranger, stream, from)).abort_handle()
                });
                // Earlier headers are read before the next connection is accepted.
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn silent_connections_do_not_pile_up() {
        let began = Instant::now();
        let talk = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (_keep, hosting) = watch::channel(None);
            let strangers = Strangers::up_to(2);
            let front = Front { door: Door::default(), hosting, server: RefCell::default(), strangers };
            spawn_local(accept(Rc::new(front), listener));
            let mut silent = Vec::new();
            for _ in 0..4 {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            // The oldest ones are closed, and the others wait.
            for stream in &mut silent[..2] {
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
            assert!(timeout(Duration::from_millis(20), silent[2].read(&mut [0])).await.is_err());
        };
        LocalSet::new().run_until(talk).await;
        assert!(began.elapsed() < HEADER_TIME, "{:?}", began.elapsed());
    }
}
