//! Socket files through which the two ends of a memif connect.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

use linerate_logging::terminal::escaped_path;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};

use super::args::Command;
use super::output::Failure;
use crate::eal_args::EalPlan;

/// Time limit for a server to appear.
const AWAITED: Duration = Duration::from_secs(60);
/// Time between two attempts.
const LOOK: Duration = Duration::from_millis(100);
/// Time limit for a server's hello.
const HELLO: Duration = Duration::from_secs(1);
/// Longest message of memif's control channel, in bytes.
const MESSAGE_BYTES: usize = 256;

/// Prepares the socket files for EAL: removes a stale file of a server, and waits for the server of a client.
pub(super) fn prepare(plan: &EalPlan, command: &Command) -> Result<(), Failure> {
    plan.memif_servers.iter().try_for_each(|socket| reclaim(socket))?;
    match command {
        Command::Agent(agent) => agent.await_server.as_deref().map_or(Ok(()), await_server),
        _ => Ok(()),
    }
}

/// Removes the socket that a killed server left behind; a new server could not listen there otherwise.
fn reclaim(path: &Path) -> Result<(), Failure> {
    // Between binding its socket and listening, a server looks as if it had ended: hence two attempts.
    for pause in [LOOK, Duration::ZERO] {
        if !has_no_listener(path) {
            return Ok(());
        }
        std::thread::sleep(pause);
    }
    tracing::info!(socket = %path.display(), "removed: a memif server that has ended left it");
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::failed(format!(
            "{} is left from a memif server that has ended, and cannot be removed: {error}\n  remedy: remove it, or name another socket",
            escaped_path(path)
        ))),
        _ => Ok(()),
    }
}

/// Waits for the server: a memif client that starts before its server does not connect later. A server greets
/// before its port is started; the rest of that start is short compared with the client's own.
fn await_server(path: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let left = AWAITED.saturating_sub(begun.elapsed());
        let problem = match connected(path).and_then(|server| sends_hello(server, left)) {
            Ok(true) => return Ok(()),
            Ok(false) => "no memif server answers".to_owned(),
            Err(error) => error.to_string(),
        };
        if begun.elapsed() >= AWAITED {
            let (path, seconds) = (escaped_path(path), AWAITED.as_secs());
            return Err(Failure::failed(format!(
                "{path}: no memif server after {seconds} s: {problem}\n  remedy: start the peer, whose memif has role=server, as the same user, \
                 and share the socket's directory with it"
            )));
        }
        std::thread::sleep(LOOK);
    }
}

/// True for a socket without a listener.
fn has_no_listener(path: &Path) -> bool {
    if !std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        return false;
    }
    match connected(path) {
        Err(error) => error == Errno::CONNREFUSED,
        Ok(server) => {
            // A process that accepts the connection is alive, even if it sends nothing.
            let _ = sends_hello(server, HELLO);
            false
        }
    }
}

fn connected(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// True when a memif server greets within `time_limit`.
fn sends_hello(server: OwnedFd, time_limit: Duration) -> rustix::io::Result<bool> {
    let time_limit = Timespec {
        tv_sec: i64::try_from(time_limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time_limit.subsec_nanos().into(),
    };
    let ready = retry_on_intr(|| poll(&mut [PollFd::new(&server, PollFlags::IN)], Some(&time_limit)))?;
    if ready == 0 {
        // DPDK's server aborts when it cannot deliver its greeting, so the connection stays open as long as
        // this process.
        std::mem::forget(server);
        return Ok(false);
    }
    let mut message = [0; MESSAGE_BYTES];
    let (received_bytes, _) = recv(&server, &mut message, RecvFlags::empty())?;
    Ok(received_bytes > 0)
}

#[cfg(test)]
mod tests {
    use rustix::net::{SendFlags, accept, bind, listen, send};

    use super::*;

    const SOON: Duration = Duration::from_millis(200);

    fn answer(path: &Path) -> rustix::io::Result<bool> {
        connected(path).and_then(|server| sends_hello(server, SOON))
    }

    #[test]
    fn only_a_socket_without_a_listener_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memif.sock");
        assert_eq!((answer(&path), has_no_listener(&path)), (Err(Errno::NOENT), false));
        let flags = SocketFlags::CLOEXEC;
        let server = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert!(has_no_listener(&path), "bound, but nobody listens yet");
        listen(&server, 8).unwrap();
        assert_eq!((answer(&path), has_no_listener(&path)), (Ok(false), false), "silent");
        reclaim(&path).unwrap();
        assert!(path.exists());
        let greeter = std::thread::spawn(move || {
            // The three earlier connections, and the one that gets the greeting.
            for _ in 0..4 {
                let client = accept(&server).unwrap();
                let _ = send(&client, b"hello", SendFlags::NOSIGNAL);
            }
        });
        assert_eq!(answer(&path), Ok(true));
        greeter.join().unwrap();
        assert_eq!((answer(&path), has_no_listener(&path)), (Err(Errno::CONNREFUSED), true));
        reclaim(&path).unwrap();
        assert!(!path.exists());
        reclaim(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        reclaim(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
