//! One end of a TLS connection: bytes of the wire in and out.

use std::io::{self, BufRead, Read, Write};

use rustls::{Connection, HandshakeKind, ProtocolVersion};

use super::fault::{Fault, FaultKind};

/// Most bytes that are encrypted at once: those of a record (RFC 8446, section 5.1).
pub const RECORD_BYTES: usize = 16 * 1024;
/// Records that are encrypted with one key of TLS 1.2, after which a connection is to end: rustls permits 2^24 with AES-GCM, and
/// drops what is written beyond them. Those that are left are for what is under way, such as bodies of many streams. TLS 1.3 renews its keys.
const MOST_RECORDS: u64 = (1 << 24) - (1 << 20);
/// Bytes by which plain text may be longer than the bytes of the wire that were given: those of an incomplete
/// record that were given before.
pub const PLAIN_BYTES_MORE: usize = RECORD_BYTES + 1024;

/// What came of bytes of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// Bytes of plain text.
    pub bytes: usize,
    /// Nothing comes after them, and why.
    pub end: Option<End>,
}

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The peer closed TLS in order.
    Closed,
    /// The connection cannot go on.
    Fault(Fault),
}

/// What a handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Protocol (ALPN); `None`: the server did not choose one.
    pub protocol: Option<String>,
    /// True: it took up an earlier session.
    pub resumed: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Session {
    connection: Box<Connection>,
    /// Bytes of plain text that were encrypted, and have not left whole.
    leaving: usize,
    /// Records of plain text that were encrypted.
    records: u64,
}

impl Session {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection: Box::new(connection), leaving: 0, records: 0 }
    }

    /// True until the handshake is over.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the handshake agreed on, once it is over.
    pub fn agreed(&self) -> Agreed {
        let version = self.connection.protocol_version();
        let cipher = self.connection.negotiated_cipher_suite();
        let protocol = self.connection.alpn_protocol();
        Agreed {
            version: version.and_then(|version| version.as_str()).unwrap_or("unknown").replace('_', "."),
            cipher: cipher.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown").to_owned(),
            protocol: protocol.map(|name| String::from_utf8_lossy(name).into_owned()),
            resumed: self.is_resumed(),
        }
    }

    /// True when the handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes bytes of the wire; puts the plain text in `plain`, which has room for [`PLAIN_BYTES_MORE`] bytes
    /// more than these.
    pub fn decrypt(&mut self, wire: &[u8], plain: &mut [u8]) -> Decrypted {
        let (mut rest, mut bytes, mut fault) = (wire, 0, None);
        while !rest.is_empty() && fault.is_none() {
            match self.connection.read_tls(&mut rest) {
                // The peer has closed TLS: what comes then is not looked at.
                Ok(0) => break,
                Ok(_) => fault = self.connection.process_new_packets().err().map(Fault::from),
                Err(error) => fault = Some(Fault::new(FaultKind::Protocol, error.to_string())),
            }
            bytes += self.take_plain(&mut plain[bytes..]);
        }
        let end = match fault {
            Some(fault) => Some(End::Fault(fault)),
            // That there is nothing, and will be nothing, tells that the peer closed.
            None if matches!(self.connection.reader().fill_buf(), Ok([])) => Some(End::Closed),
            None => None,
        };
        Decrypted { bytes, end }
    }

    fn take_plain(&mut self, plain: &mut [u8]) -> usize {
        let mut bytes = 0;
        while bytes < plain.len() {
            match self.connection.reader().read(&mut plain[bytes..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => bytes += more,
            }
        }
        bytes
    }

    /// Encrypts the beginning of plain text, unless the beginning that was given before has not left yet: then
    /// the same text is to be given again.
    pub fn encrypt(&mut self, plain: &[u8]) {
        if self.leaving == 0 {
            let part = &plain[..plain.len().min(RECORD_BYTES)];
            self.leaving = self.connection.writer().write(part).unwrap_or(0);
            self.records += 1;
        }
    }

    /// True when so much was encrypted that the connection is to end after what is under way.
    pub fn is_worn(&self) -> bool {
        is_worn(self.records, || self.connection.protocol_version())
    }

    /// True when there are bytes for the wire.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes bytes to the wire; returns their number.
    ///
    /// # Errors
    /// Those of the wire.
    pub fn write(&mut self, wire: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(wire)
    }

    /// Bytes of plain text that have left since the last call: all that was encrypted, when all of it has.
    pub fn left(&mut self) -> usize {
        if self.connection.wants_write() { 0 } else { std::mem::take(&mut self.leaving) }
    }

    /// Has the peer told, by what is then to be written, that nothing more comes.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }
}

fn is_worn(records: u64, version: impl FnOnce() -> Option<ProtocolVersion>) -> bool {
    records >= MOST_RECORDS && version() != Some(ProtocolVersion::TLSv1_3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_tls_1_2_wear_out() {
        for (records, version, worn) in [
            (MOST_RECORDS - 1, ProtocolVersion::TLSv1_2, false),
            (MOST_RECORDS, ProtocolVersion::TLSv1_2, true),
            (MOST_RECORDS, ProtocolVersion::TLSv1_3, false),
        ] {
            assert_eq!(is_worn(records, || Some(version)), worn, "{records} {version:?}");
        }
    }
}
