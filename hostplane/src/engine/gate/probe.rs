//! A probe: one request in a connection of its own, as the requests of the load are sent.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use linerate_http::h2::blocks::Blocks;
use linerate_http::h2::connection::{Connection, Event};
use linerate_http::h2::stream::BlockCache;
use linerate_http::request::Request;
use linerate_http::response::{Expected, HeadCache, NamedBy, Progress, ResponseReader};
use linerate_http::tls::client::ClientTls;
use linerate_http::tls::session::{End, PLAIN_BYTES_MORE, Session};

/// Largest body of an answer.
const MOST_BODY_BYTES: u64 = 1 << 20;
/// Bytes that are read at once.
const READ_BYTES: usize = 4096;

/// What probes send, and how.
#[derive(Debug)]
pub(in crate::engine) struct Probe {
    request: Request,
    tls: Option<ClientTls>,
    /// The request by HTTP/2.
    blocks: Option<Blocks>,
}

impl Probe {
    pub(in crate::engine) fn new(request: Request, tls: Option<ClientTls>, http2: bool) -> Self {
        let blocks = http2.then(|| Blocks::new(&request));
        Self { request, tls, blocks }
    }

    /// Sends the request in a connection of its own; returns the name in the answer, if it has one.
    pub(super) fn send(&self, address: SocketAddr, limit: Duration) -> Result<Option<String>, String> {
        let mut wire = Wire::connect(address, self.tls.as_ref(), limit)?;
        let expected = Expected { head: false, most_body_bytes: MOST_BODY_BYTES, named_by: NamedBy::Body };
        let (status, name) = match &self.blocks {
            None => one(&mut wire, self.request.bytes(), &expected),
            Some(blocks) => multiplexed(&mut wire, blocks, &expected),
        }?;
        if !(200..400).contains(&status) {
            return Err(format!("status {status}"));
        }
        Ok(name)
    }
}

/// Status and name of the answer by HTTP/1.1.
fn one(wire: &mut Wire, request: &[u8], expected: &Expected) -> Result<(u16, Option<String>), String> {
    if !wire.early.is_empty() {
        return Err("the server spoke before it was asked".to_owned());
    }
    wire.write(request)?;
    let (mut reader, mut cache, mut kept) = (ResponseReader::default(), HeadCache::default(), Vec::new());
    let response = loop {
        if !wire.read(&mut kept)? {
            break reader.end().map_err(|bad| format!("{bad:?}"))?;
        }
        match reader.read(&kept, expected, &mut cache) {
            Ok(Progress::Whole(_, response)) => break response,
            Ok(Progress::Partial(taken)) => drop(kept.drain(..taken)),
            Err(bad) => return Err(format!("the answer is no HTTP/1.1 ({bad:?})")),
        }
    };
    let name = reader.name().and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
    Ok((response.status, name))
}

/// Status and name of the answer by HTTP/2.
fn multiplexed(
    wire: &mut Wire,
    blocks: &Blocks,
    expected: &Expected,
) -> Result<(u16, Option<String>), String> {
    if let Some(session) = &wire.session
        && session.agreed().protocol.as_deref() != Some("h2")
    {
        return Err("the server does not speak HTTP/2 by TLS: it did not choose h2 (ALPN)".to_owned());
    }
    let (mut connection, mut cache, mut events) = (Connection::new(), BlockCache::default(), Vec::new());
    // A server may send its settings with the end of its handshake.
    let (mut kept, mut is_open) = (std::mem::take(&mut wire.early), false);
    loop {
        // What the server permits is known from its settings on.
        is_open = is_open || connection.has_settings() && connection.open(0, blocks);
        let out = connection.out().to_vec();
        wire.write(&out)?;
        connection.sent(out.len(), blocks);
        if kept.is_empty() && !wire.read(&mut kept)? {
            return Err("the server closed the connection before it answered".to_owned());
        }
        let read = connection.read(&kept, blocks, expected, &mut cache, &mut events);
        kept.clear();
        for event in events.drain(..) {
            match event {
                Event::Response { response, name, .. } => {
                    let name = name.text().and_then(|name| std::str::from_utf8(name).ok());
                    return Ok((response.status, name.map(str::to_owned)));
                }
                Event::Failed { why, .. } => return Err(format!("the answer is no HTTP/2 ({why:?})")),
                Event::Reset { code, .. } => {
                    return Err(format!("the server reset the stream: error code {code}"));
                }
                Event::Returned { .. } => return Err("the server returned the request (GOAWAY)".to_owned()),
                Event::Began { .. } | Event::GoAway { .. } | Event::Limit => {}
            }
        }
        read.map_err(|bad| format!("the answer is no HTTP/2 ({bad:?})"))?;
    }
}

/// A connection with a time limit.
struct Wire {
    stream: TcpStream,
    session: Option<Session>,
    ends: Instant,
    /// What was read, and what it is without TLS.
    room: Vec<u8>,
    plain: Vec<u8>,
    /// What came with the end of the handshake.
    early: Vec<u8>,
}

fn told(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

impl Wire {
    fn connect(address: SocketAddr, tls: Option<&ClientTls>, limit: Duration) -> Result<Self, String> {
        let ends = Instant::now() + limit;
        let stream = TcpStream::connect_timeout(&address, limit).map_err(|error| told(&error))?;
        stream.set_write_timeout(Some(limit)).map_err(|error| told(&error))?;
        stream.set_nodelay(true).map_err(|error| told(&error))?;
        let session = tls.map(ClientTls::connect).transpose().map_err(|fault| fault.to_string())?;
        let plain = if session.is_some() { vec![0; READ_BYTES + PLAIN_BYTES_MORE] } else { Vec::new() };
        let mut wire = Self { stream, session, ends, room: vec![0; READ_BYTES], plain, early: Vec::new() };
        wire.flush()?;
        let mut early = Vec::new();
        while wire.session.as_ref().is_some_and(Session::is_handshaking) {
            if !wire.read(&mut early)? {
                return Err("the server closed the connection within TLS's handshake".to_owned());
            }
        }
        Ok(Self { early, ..wire })
    }

    /// Sends what TLS has to say.
    fn flush(&mut self) -> Result<(), String> {
        let Some(session) = &mut self.session else { return Ok(()) };
        while session.wants_write() {
            session.write(&mut self.stream).map_err(|error| told(&error))?;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        if self.session.is_none() {
            return self.stream.write_all(bytes).map_err(|error| told(&error));
        }
        while !bytes.is_empty() {
            let Some(session) = &mut self.session else { break };
            session.encrypt(bytes);
            self.flush()?;
            let left = self.session.as_mut().map_or(0, Session::left);
            if left == 0 {
                return Err("TLS takes nothing more".to_owned());
            }
            bytes = bytes.get(left..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads once, and adds what came to `kept`. False at the end.
    fn read(&mut self, kept: &mut Vec<u8>) -> Result<bool, String> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer in time".to_owned());
        }
        self.stream.set_read_timeout(Some(left)).map_err(|error| told(&error))?;
        let bytes = self.stream.read(&mut self.room).map_err(|error| told(&error))?;
        let came = self.room.get(..bytes).unwrap_or_default();
        let Some(session) = &mut self.session else {
            kept.extend_from_slice(came);
            return Ok(bytes > 0);
        };
        if bytes == 0 {
            return Ok(false);
        }
        let decrypted = session.decrypt(came, &mut self.plain);
        kept.extend_from_slice(self.plain.get(..decrypted.bytes).unwrap_or_default());
        let flushed = self.flush();
        match decrypted.end {
            Some(End::Fault(fault)) => Err(fault.to_string()),
            Some(End::Closed) if decrypted.bytes == 0 => Ok(false),
            _ => flushed.map(|()| true),
        }
    }
}
