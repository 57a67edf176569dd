//! The thread at which streams arrive.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use super::StartError;
use crate::door::{Door, ListenError, first_bytes, hear, open};

/// Time for the header of a connection.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Pause when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    door: Door,
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Doorkeeper {
    /// Opens the door at these addresses.
    pub(super) fn start(listen: Vec<SocketAddr>) -> Result<Self, StartError> {
        let door = Door::default();
        let (opened, addresses) = channel();
        let (stop, stopped) = oneshot::channel();
        let table = door.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let keep = move || LocalSet::new().block_on(&runtime, keep(table, listen, opened, stopped));
        let thread = std::thread::Builder::new().name("door".to_owned()).spawn(keep);
        let thread = thread.map_err(StartError::Thread)?;
        let ended = || StartError::Thread(std::io::Error::other("it ended at once"));
        let addresses = addresses.recv().map_err(|_| ended())??;
        Ok(Self { door, addresses, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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

async fn keep(
    door: Door,
    listen: Vec<SocketAddr>,
    opened: Sender<Result<Vec<SocketAddr>, ListenError>>,
    stopped: oneshot::Receiver<()>,
) {
    let sockets: Result<Vec<_>, ListenError> = listen.into_iter().map(open).collect();
    match sockets {
        Ok(sockets) => {
            let addresses = sockets.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect();
            let _ = opened.send(Ok(addresses));
            for (listener, datagrams) in sockets {
                spawn_local(accept(door.clone(), listener));
                spawn_local(hear(door.clone(), datagrams));
            }
            // Ends when the sender is dropped.
            let _ = stopped.await;
        }
        Err(error) => {
            let _ = opened.send(Err(error));
        }
    }
}

async fn accept(door: Door, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((mut stream, from)) => {
                let door = door.clone();
                spawn_local(async move {
                    let header = timeout(HEADER_TIME, first_bytes(&mut stream)).await;
                    let Ok(Ok(Some(header))) = header else {
                        return tracing::debug!(%from, "a connection that is no stream");
                    };
                    let socket = stream.into_std();
                    if !socket.is_ok_and(|socket| door.hand_over(header, socket.into())) {
                        tracing::debug!(%from, "a stream of no trial of this agent");
                    }
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
