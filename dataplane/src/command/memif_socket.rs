//! The socket files at which the two ends of a memif meet.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};

use super::args::Command;
use super::output::Failure;
use crate::core::eal_args::EalPlan;

/// Time for a server to come.
const AWAITED: Duration = Duration::from_secs(60);
/// Time between two looks for it.
const LOOK: Duration = Duration::from_millis(100);
/// Time for a server to say hello.
const HELLO: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// Bytes of a message of memif's control channel, at most.
const MESSAGE_BYTES: usize = 256;

/// Makes the sockets' places ready for EAL: a server finds its own free, a client finds a server there.
pub(super) fn prepare(plan: &EalPlan, command: &Command) -> Result<(), Failure> {
    plan.memif_servers.iter().try_for_each(|socket| reclaim(socket))?;
    match command {
        Command::Agent(agent) => agent.await_server.as_deref().map_or(Ok(()), await_server),
        _ => Ok(()),
    }
}

/// A server that was killed leaves its socket behind, and the next one may not listen there until it is removed.
fn reclaim(path: &Path) -> Result<(), Failure> {
    if state(path) != State::Deserted {
        return Ok(());
    }
    tracing::info!(socket = %path.display(), "removed: a memif server that has ended left it");
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::failed(format!(
            "{} is left from a memif server that has ended, and cannot be removed: {error}\n  remedy: remove it, or name another socket",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A memif client that starts before its server does not come up later.
fn await_server(path: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let state = state(path);
        if state == State::Served {
            return Ok(());
        }
        if begun.elapsed() > AWAITED {
            let (path, seconds, state) = (path.display(), AWAITED.as_secs(), state.problem());
            return Err(Failure::failed(format!(
                "{path}: {state} after {seconds} s\n  remedy: start the peer, whose memif has role=server, and share the socket's directory with it"
            )));
        }
        std::thread::sleep(LOOK);
    }
}

/// What is at a socket's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    /// A socket at which nobody listens.
    Deserted,
    /// A memif server said hello.
    Served,
    /// Something else, or a server that does not answer.
    Silent,
}

impl State {
    fn problem(self) -> &'static str {
        match self {
            State::Absent => "no such socket",
            State::Deserted => "nobody listens on this socket",
            State::Silent | State::Served => "nobody answers as a memif server",
        }
    }
}

fn state(path: &Path) -> State {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return State::Absent,
        Ok(file) if file.file_type().is_socket() => {}
        _ => return State::Silent,
    }
    match greeting(path) {
        Ok(true) => State::Served,
        Err(Errno::CONNREFUSED) => State::Deserted,
        Ok(false) | Err(_) => State::Silent,
    }
}

/// True when a memif server greets whoever connects. The greeting is taken before the connection is closed: DPDK's server would stumble over one
/// that it cannot deliver.
fn greeting(path: &Path) -> rustix::io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&HELLO))? == 0 {
        return Ok(false);
    }
    let mut message = [0; MESSAGE_BYTES];
    let (received_bytes, _) = recv(&socket, &mut message, RecvFlags::empty())?;
    Ok(received_bytes > 0)
}

#[cfg(test)]
mod tests {
    use rustix::net::{SendFlags, accept, bind, listen, send};

    use super::*;

    #[test]
    fn a_socket_is_absent_deserted_silent_or_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memif.sock");
        assert_eq!(state(&path), State::Absent);
        let flags = SocketFlags::CLOEXEC;
        let server = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert_eq!(state(&path), State::Deserted, "bound, but nobody listens yet");
        listen(&server, 1).unwrap();
        assert_eq!(state(&path), State::Silent);
        accept(&server).unwrap();
        let greeter = std::thread::spawn(move || {
            let client = accept(&server).unwrap();
            send(&client, b"hello", SendFlags::NOSIGNAL).unwrap();
        });
        assert_eq!(state(&path), State::Served);
        greeter.join().unwrap();
        assert_eq!(state(&path), State::Deserted);
        reclaim(&path).unwrap();
        assert_eq!(state(&path), State::Absent);
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
