//! A probe: one request in a connection of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use linerate_http::response::{Expected, HeadCache, NamedBy, Progress, ResponseReader};

/// Largest body of an answer.
const MOST_BODY_BYTES: u64 = 1 << 20;

/// Sends a request in a connection of its own; returns the name in the answer, if it has one.
pub(super) fn probe(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Option<String>, String> {
    let begun = Instant::now();
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    };
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(told)?;
    stream.set_write_timeout(Some(limit)).map_err(told)?;
    stream.write_all(request).map_err(told)?;
    let expected = Expected { head: false, most_body_bytes: MOST_BODY_BYTES, named_by: NamedBy::Body };
    let (mut reader, mut cache) = (ResponseReader::default(), HeadCache::default());
    let (mut kept, mut room) = (Vec::new(), [0; 4096]);
    let response = loop {
        let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        if begun.elapsed() >= limit {
            return Err("no answer in time".to_owned());
        }
        stream.set_read_timeout(Some(left)).map_err(told)?;
        let read = stream.read(&mut room).map_err(told)?;
        if read == 0 {
            break reader.end().map_err(|bad| format!("{bad:?}"))?;
        }
        kept.extend_from_slice(&room[..read]);
        match reader.read(&kept, &expected, &mut cache) {
            Ok(Progress::Whole(_, response)) => break response,
            Ok(Progress::Partial(taken)) => drop(kept.drain(..taken)),
            Err(bad) => return Err(format!("the answer is no HTTP/1.1 ({bad:?})")),
        }
    };
    if !(200..400).contains(&response.status) {
        return Err(format!("status {}", response.status));
    }
    Ok(reader.name().and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned))
}
