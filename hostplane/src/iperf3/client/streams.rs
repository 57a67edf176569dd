//! Sockets of a test's streams. They are made one after another: iperf3 numbers them in the order of their
//! arrival, and a server takes one UDP stream at a time.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use linerate_iperf3::cookie::Cookie;
use linerate_iperf3::datagram::{greeting, is_answer};
use linerate_wire::streams::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout_at};

use super::{ClientError, Request};
use crate::client::connect::open;
use crate::streams::session::Session;
use crate::streams::socket::{prepare_connection, prepare_stream, towards};

/// Time for the answer to a greeting. One that arrived is not repeated: a server would count the second one as
/// data.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Pause after a greeting that the server's kernel refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Opens all streams and hands them to workers. `ceiling_bytes`: the highest load that ceilings admit.
pub(super) async fn open_all(
    request: &Request,
    to: SocketAddr,
    cookie: Cookie,
    session: &mut Session,
    ceiling_bytes: Option<f64>,
) -> Result<(), ClientError> {
    let spec = &request.spec.each;
    for number in 0..request.spec.total_streams() {
        let socket = towards(to, spec.protocol, &request.place)?;
        let socket = match spec.protocol {
            Protocol::Tcp => {
                prepare_connection(&socket, &spec.sockets)?;
                connection(socket, to, cookie, number).await?
            }
            Protocol::Udp => datagrams(socket, to, number).await?,
        };
        prepare_stream(&socket, spec, session.sends(number), to.ip(), ceiling_bytes)?;
        session.attach(number, socket);
    }
    Ok(())
}

async fn connection(
    socket: OwnedFd,
    address: SocketAddr,
    cookie: Cookie,
    number: u32,
) -> Result<OwnedFd, ClientError> {
    let failed = |error| ClientError::Stream { address, number, error };
    let mut stream = open(socket, address).await?;
    stream.write_all(&cookie.to_bytes()).await.map_err(failed)?;
    stream.into_std().map(OwnedFd::from).map_err(failed)
}

async fn datagrams(socket: OwnedFd, address: SocketAddr, number: u32) -> Result<OwnedFd, ClientError> {
    let failed = |error| ClientError::Stream { address, number, error };
    rustix::net::connect(&socket, &address).map_err(|errno| failed(errno.into()))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
    let limit = Instant::now() + ANSWER_TIME;
    let mut room = [0; 16];
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    loop {
        let mut answer = match socket.send(&greeting()).await {
            Ok(_) => Ok(0),
            Err(error) => Err(error),
        };
        while answer.as_ref().is_ok_and(|bytes| !is_answer(&room[..*bytes])) {
            let seconds = ANSWER_TIME.as_secs();
            let received = timeout_at(limit, socket.recv(&mut room)).await;
            answer = received.map_err(|_| ClientError::NoAnswer { address, number, seconds })?;
        }
        match answer {
            Ok(_) => return socket.into_std().map(OwnedFd::from).map_err(failed),
            // The server has not opened its port for the next stream yet: nothing arrived there.
            Err(error) if refused(&error) && Instant::now() < limit => sleep(REFUSED_PAUSE).await,
            Err(error) => return Err(failed(error)),
        }
    }
}
