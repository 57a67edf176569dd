//! Where the body of a message ends (RFC 9112, section 6).

/// Most bytes of a chunk's line, extensions included, and of all trailers.
const MOST_LINE_BYTES: u32 = 16 * 1024;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// By its chunks.
    Chunked,
    /// When the connection is closed.
    UntilClose,
}

/// Error: chunks that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// Place in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// In the digits of a size.
    Size {
        digits: u8,
    },
    /// After them, until the end of the line.
    Extension,
    /// Between CR and LF of a size's line.
    SizeEnd,
    Data,
    /// After the data.
    DataEnd,
    DataLf,
    /// At the beginning of a line of trailers.
    Trailer,
    /// Within one.
    TrailerLine,
    /// Between CR and LF of the last line.
    Last,
}

/// A body that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body {
    framing: Framing,
    chunk: Chunk,
    /// Bytes left: of the body, or of the chunk.
    left: u64,
    /// Bytes of lines.
    line_bytes: u32,
}

/// Part of a message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes that belong to the body and its framing.
    pub(crate) consumed: usize,
    /// True at the body's end.
    pub(crate) complete: bool,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        let left = if let Framing::Length(bytes) = framing { bytes } else { 0 };
        Self { framing, chunk: Chunk::Size { digits: 0 }, left, line_bytes: 0 }
    }

    /// True when the connection's end is the body's.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Takes what belongs to the body, and gives its content to `content`.
    #[inline]
    pub(crate) fn take(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<Taken, BadChunk> {
        match self.framing {
            Framing::Empty => Ok(Taken { consumed: 0, complete: true }),
            Framing::Length(_) => {
                let consumed = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                content(&bytes[..consumed]);
                self.left -= consumed as u64;
                Ok(Taken { consumed, complete: self.left == 0 })
            }
            Framing::UntilClose => {
                content(bytes);
                Ok(Taken { consumed: bytes.len(), complete: false })
            }
            Framing::Chunked => self.take_chunks(bytes, content),
        }
    }

    fn take_chunks(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<Taken, BadChunk> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if self.chunk == Chunk::Data {
                let rest = &bytes[at..];
                let part = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                content(&rest[..part]);
                self.left -= part as u64;
                at += part;
                if self.left == 0 {
                    self.chunk = Chunk::DataEnd;
                }
                continue;
            }
            at += 1;
            self.line_bytes += 1;
            if self.line_bytes > MOST_LINE_BYTES {
                return Err(BadChunk);
            }
            self.chunk = match (self.chunk, byte) {
                (Chunk::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    // Sixteen digits are all that a length of 64 bits has.
                    if digits >= 16 {
                        return Err(BadChunk);
                    }
                    let digit = (byte as char).to_digit(16).unwrap_or(0);
                    self.left = self.left << 4 | u64::from(digit);
                    Chunk::Size { digits: digits + 1 }
                }
                (Chunk::Size { digits: 1.. }, b'\r') | (Chunk::Extension, b'\r') => Chunk::SizeEnd,
                (Chunk::Size { digits: 1.. }, b';' | b' ' | b'\t') => Chunk::Extension,
                (Chunk::Extension, byte) if byte != b'\n' => Chunk::Extension,
                (Chunk::SizeEnd, b'\n') => {
                    if self.left == 0 {
                        Chunk::Trailer
                    } else {
                        self.line_bytes = 0;
                        Chunk::Data
                    }
                }
                (Chunk::DataEnd, b'\r') => Chunk::DataLf,
                (Chunk::DataLf, b'\n') => Chunk::Size { digits: 0 },
                (Chunk::Trailer, b'\r') => Chunk::Last,
                (Chunk::Trailer | Chunk::TrailerLine, b'\n') => Chunk::Trailer,
                (Chunk::Trailer | Chunk::TrailerLine, _) => Chunk::TrailerLine,
                (Chunk::Last, b'\n') => return Ok(Taken { consumed: at, complete: true }),
                _ => return Err(BadChunk),
            };
        }
        Ok(Taken { consumed: at, complete: false })
    }
}

/// The framing that the headers of a message ask for; `None` without any.
///
/// # Errors
/// Headers that contradict each other, or a coding that is not `chunked`.
pub(crate) fn framing(headers: &[httparse::Header<'_>]) -> Result<Option<Framing>, BadChunk> {
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = header.value.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(BadChunk);
            }
            let text = std::str::from_utf8(digits).map_err(|_| BadChunk)?;
            let value = text.parse().map_err(|_| BadChunk)?;
            if length.is_some_and(|earlier| earlier != value) {
                return Err(BadChunk);
            }
            length = Some(value);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(BadChunk);
            }
            chunked = true;
        }
    }
    // RFC 9112, section 6.3: chunks override a length.
    Ok(if chunked { Some(Framing::Chunked) } else { length.map(Framing::Length) })
}

/// What `Connection` headers say of the connection's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

pub(crate) fn connection(headers: &[httparse::Header<'_>]) -> Connection {
    let mut found = Connection::default();
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection")) {
        for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            found.close |= option.eq_ignore_ascii_case(b"close");
            found.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    found
}

impl Connection {
    /// True when another message may follow on the connection, after one of this minor version of HTTP/1.
    pub(crate) fn persists(self, minor_version: u8) -> bool {
        !self.close && (minor_version > 0 || self.keep_alive)
    }
}
