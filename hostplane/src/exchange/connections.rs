//! A connection for each request: made, asked, answered, closed.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use linerate_wire::streams::{Protocol, StreamKey};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::ExchangeSpec;
use super::outcome::{Shared, StreamTally};
use super::stream::Asking;
use crate::streams::header::{HEADER_BYTES, Header};
use crate::streams::socket::{Place, SocketError, towards};

/// Time for a connection to be made, and for its response.
const STEP_TIME: Duration = Duration::from_secs(3);

/// Where the connections go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) to: SocketAddr,
    pub(super) place: Place,
    pub(super) key: StreamKey,
    pub(super) spec: ExchangeSpec,
}

/// Why a connection was not answered.
#[derive(Debug)]
enum Failure {
    /// No local port is free.
    Ports,
    /// No file descriptor is free.
    Descriptors,
    Other(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ADDRNOTAVAIL) => Failure::Ports,
            Some(Errno::MFILE | Errno::NFILE) => Failure::Descriptors,
            _ => Failure::Other(error),
        }
    }
}

/// Makes one connection after the other until the end. `number` is that of the stream.
pub(super) fn run(target: &Target, asking: Asking, number: u32, shared: &Shared) -> StreamTally {
    let mut tally = StreamTally::default();
    std::thread::sleep(Duration::from_nanos(asking.begins_ns().saturating_sub(monotonic_ns())));
    tally.began_ns = monotonic_ns();
    let mut exchange = Connection::new(target, asking, number);
    let mut end = None;
    loop {
        let now = monotonic_ns();
        end = end.or_else(|| asking.schedule_end(now, shared.stop.load(Ordering::Relaxed)));
        let due = asking.due_ns(tally.idle.requests);
        let over = end.is_some_and(|end| end.is_over(now, due));
        if over || shared.cut.load(Ordering::Relaxed) {
            break;
        }
        if let Some(due_ns) = due {
            if now < due_ns {
                std::thread::sleep(Duration::from_nanos((due_ns - now).min(50_000_000)));
                continue;
            }
            tally.slip_ns = tally.slip_ns.max(now - due_ns);
        }
        tally.idle.requests += 1;
        match exchange.once() {
            Ok((connected_ns, answered_ns)) => {
                tally.ended_ns = answered_ns;
                tally.idle.connect.record(connected_ns.wrapping_sub(now).cast_signed());
                tally.idle.record_answer(answered_ns, now, due);
            }
            Err(failure) => {
                tally.idle.lost += 1;
                let words = match failure {
                    Failure::Ports => {
                        tally.failure = Some(no_port(tally.idle.requests));
                        break;
                    }
                    Failure::Descriptors => {
                        tally.failure = Some(
                            "no file descriptor is left; fewer streams, or a higher limit of open files (ulimit -n)"
                                .to_owned(),
                        );
                        break;
                    }
                    Failure::Other(error) => error.to_string(),
                };
                tally.failure.get_or_insert(words);
            }
        }
    }
    if let Some(pace) = asking.pace {
        let end = end.or_else(|| asking.schedule_end(monotonic_ns(), true));
        tally.forgone = end.map_or(0, |end| end.forgone(&pace, tally.idle.requests));
    }
    tally
}

/// What the range of ports means for connections.
pub(crate) fn ports_words() -> String {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let numbers: Vec<u32> = range.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, last] = numbers[..] else { return "the range of local ports is unknown".to_owned() };
    let ports = last.saturating_sub(first) + 1;
    format!(
        "{ports} local ports ({first} to {last}, net.ipv4.ip_local_port_range) to one address and port; one that this end closes rests \
         60 s, which admits {:.0} connections per second for long",
        f64::from(ports) / 60.0
    )
}

fn no_port(requests: u64) -> String {
    format!(
        "no local port is free after {requests} requests of this stream: {}; leave --client-closes out, widen the range, or lower the rate",
        ports_words()
    )
}

struct Connection<'a> {
    target: &'a Target,
    first: Vec<u8>,
    response_bytes: usize,
    room: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(target: &'a Target, asking: Asking, number: u32) -> Self {
        let header = Header { key: target.key, path: 0, stream: number, answer: false };
        let mut first = header.to_bytes().to_vec();
        first.resize(HEADER_BYTES + asking.request_bytes, 0);
        Self {
            target,
            first,
            response_bytes: asking.response_bytes,
            room: vec![0; asking.response_bytes.max(1)],
        }
    }

    /// One request. Returns the times at which the connection was made, and the response was there.
    fn once(&mut self) -> Result<(u64, u64), Failure> {
        let socket =
            towards(self.target.to, Protocol::Tcp, &self.target.place).map_err(|error| match error {
                SocketError::NoDescriptor(_) => Failure::Descriptors,
                SocketError::Other(error) => Failure::from(error),
                other => Failure::Other(io::Error::other(other)),
            })?;
        let failed = |errno: Errno| Failure::from(io::Error::from(errno));
        rustix::io::ioctl_fionbio(&socket, false).map_err(failed)?;
        // The limit of sending is that of connecting, too.
        set_socket_timeout(&socket, Timeout::Send, Some(STEP_TIME)).map_err(failed)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(STEP_TIME)).map_err(failed)?;
        rustix::net::connect(&socket, &self.target.to).map_err(|errno| match errno {
            Errno::INPROGRESS | Errno::AGAIN => Failure::Other(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("a connection was not made within {} s", STEP_TIME.as_secs()),
            )),
            other => failed(other),
        })?;
        let connected_ns = monotonic_ns();
        let stream = TcpStream::from(socket);
        self.talk(&stream).map_err(Failure::from)?;
        let answered_ns = monotonic_ns();
        if !self.target.spec.client_closes {
            // The server closes first: this end's port is free at once.
            while io::Read::read(&mut &stream, &mut self.room)? > 0 {}
        }
        Ok((connected_ns, answered_ns))
    }

    fn talk(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        io::Write::write_all(&mut stream, &self.first)?;
        io::Read::read_exact(&mut stream, &mut self.room[..self.response_bytes])
    }
}
