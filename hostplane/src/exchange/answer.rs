//! The server's end of a stream of requests, at its thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use linerate_agent::host::monotonic_ns;
use linerate_measure::histogram::TickHistogram;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendFlags, send};

use super::ExchangeKind;
use super::stream::{BROKEN_TIME, LOOK};
use crate::streams::header::Header;
use crate::sys::stamps;

/// What the server's end of a stream counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) kernel: TickHistogram,
    pub(crate) failure: Option<String>,
}

/// Answers requests until the connection ends, or `stop` is true.
pub(crate) fn answer(
    socket: &OwnedFd,
    kind: ExchangeKind,
    request_bytes: usize,
    response_bytes: usize,
    stop: &AtomicBool,
) -> Answered {
    let mut answered = Answered::default();
    if let Err(error) = answer_all(socket, kind, request_bytes, response_bytes, stop, &mut answered) {
        answered.failure = Some(error.to_string());
    }
    answered
}

fn answer_all(
    socket: &OwnedFd,
    kind: ExchangeKind,
    request_bytes: usize,
    response_bytes: usize,
    stop: &AtomicBool,
    answered: &mut Answered,
) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, false)?;
    set_socket_timeout(socket, Timeout::Recv, Some(LOOK))?;
    // A client that does not read must not keep this thread.
    set_socket_timeout(socket, Timeout::Send, Some(LOOK))?;
    if kind == ExchangeKind::Tcp {
        rustix::net::sockopt::set_tcp_nodelay(socket, true)?;
    }
    let _ = stamps::enable(socket);
    let mut room = vec![0; request_bytes.max(response_bytes).max(64)];
    let (mut partial, mut arrived_ns) = (0, None);
    while !stop.load(Ordering::Relaxed) {
        let left = if kind == ExchangeKind::Tcp { request_bytes - partial } else { room.len() };
        let (bytes, received_ns) = match stamps::receive(socket, &mut room[..left]) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) if kind == ExchangeKind::Udp => continue,
            Err(error) => return Err(error),
        };
        // The time of the response before this request: it has left the kernel by now.
        note_departure(socket, &mut arrived_ns, &mut answered.kernel);
        if kind == ExchangeKind::Tcp {
            if bytes == 0 {
                rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?;
                return Ok(());
            }
            partial += bytes;
            if partial < request_bytes {
                continue;
            }
            partial = 0;
        } else if let Some(header) = Header::from_bytes(&room[..bytes]) {
            // The first answer was lost: the client asks for the stream again.
            let _ = send(socket, &header.answered(), SendFlags::NOSIGNAL);
            continue;
        } else if bytes != request_bytes {
            continue;
        }
        answered.requests += 1;
        let (mut from, mut moved_ns) = (0, None);
        while from < response_bytes {
            match send(socket, &room[from..response_bytes], SendFlags::NOSIGNAL) {
                Ok(sent) => (from, moved_ns) = (from + sent, None),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let now_ns = monotonic_ns();
                    if now_ns - *moved_ns.get_or_insert(now_ns) > BROKEN_TIME.as_nanos() as u64 {
                        return Err(io::Error::other("the client read no response for 30 s"));
                    }
                }
                Err(_) if kind == ExchangeKind::Udp => break,
                Err(errno) => return Err(errno.into()),
            }
            if from < response_bytes && stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        if from >= response_bytes {
            answered.responses += 1;
            arrived_ns = received_ns;
            note_departure(socket, &mut arrived_ns, &mut answered.kernel);
        }
    }
    Ok(())
}

fn note_departure(socket: &OwnedFd, arrived_ns: &mut Option<u64>, times: &mut TickHistogram) {
    let mut left_ns = None;
    while let Some((_, time_ns)) = stamps::sent(socket) {
        left_ns = Some(time_ns);
    }
    if let Some(left) = left_ns
        && let Some(took) = arrived_ns.take().and_then(|arrived| left.checked_sub(arrived))
    {
        times.record_times(took, 1);
    }
}
