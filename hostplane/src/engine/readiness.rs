//! A port that accepts connections while the backend is ready, for probes of readiness: they are not to reach the backend's own
//! port, whose connections count.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use rustix::net::{SocketType, bind};

use crate::http::backend::Presence;
use crate::streams::socket::unbound;

/// Time between two looks: probes come once a second.
const LOOK: Duration = Duration::from_millis(20);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// Connections that are accepted at a look.
const AT_ONCE: usize = 64;

/// The port. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Readiness {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Readiness {
    /// Listens at an address.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn start(address: SocketAddr, presence: Presence) -> std::io::Result<Self> {
        Self::over(listen(address)?, presence)
    }

    /// Takes a socket that listens; later ones are at its address.
    fn over(first: TcpListener, presence: Presence) -> std::io::Result<Self> {
        let address = first.local_addr()?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("readiness".to_owned()).spawn(move || {
            let mut listener = Some(first);
            while !stopped.load(Ordering::Relaxed) {
                match (listener.is_some(), presence.is_ready(monotonic_ns())) {
                    (true, false) => listener = None,
                    (false, true) => listener = listen(address).ok(),
                    _ => {}
                }
                if let Some(listener) = &listener {
                    (0..AT_ONCE).map_while(|_| listener.accept().ok()).for_each(drop);
                }
                sleep(LOOK);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let (socket, address) = unbound(address, SocketType::STREAM)?;
    bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the readiness port panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Instant;

    use linerate_wire::http::{AbsenceKind, AbsenceReport};

    use super::*;
    use crate::http::backend::{Backend, BackendConfig};

    #[test]
    fn a_backend_that_is_not_ready_refuses_probes_and_serves() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let config = BackendConfig::new(vec!["127.0.0.1:0".parse().unwrap()], "b0".to_owned());
        let backend = Backend::start(config).unwrap();
        let readiness = Readiness::over(listener, backend.presence()).unwrap();
        let until = |ready: bool| {
            let begun = Instant::now();
            while TcpStream::connect(address).is_ok() != ready {
                assert!(begun.elapsed() < Duration::from_secs(10), "ready: {}", !ready);
                sleep(Duration::from_millis(2));
            }
        };
        until(true);
        let now = monotonic_ns();
        // Its end is ordered below.
        let absence = backend.be_away(now, now + 60_000_000_000, AbsenceKind::NotReady);
        let report_with = |is_there: fn(&AbsenceReport) -> bool| {
            let begun = Instant::now();
            loop {
                let report = absence.report(now);
                if is_there(&report) {
                    break report;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "{report:?}");
                sleep(Duration::from_millis(2));
            }
        };
        until(false);
        report_with(|report| report.left_ns.is_some());
        TcpStream::connect(backend.addresses()[0]).unwrap();
        let report = report_with(|report| report.last_connection_ns.is_some());
        assert_eq!((report.returned_ns, report.cut_connections), (None, 0));
        drop(absence);
        until(true);
        drop(readiness);
        assert!(TcpStream::connect(address).is_err());
    }
}
