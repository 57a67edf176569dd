//! Recorded traffic: pcap and pcapng files, plain or compressed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use linerate_logging::terminal::escaped_path;

use super::output::Failure;
use super::zstd::{Unpacked, is_zstd};
use linerate_measure::capture::{self, Capture};

/// Bytes that a reader takes from the file at once.
const CHUNK: usize = 1 << 16;

/// Reads a capture of Ethernet frames.
pub(super) fn read(path: &Path) -> Result<Capture, Failure> {
    let failed = |reason: String| Failure::failed(format!("{}: {reason}", escaped_path(path)));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut file = BufReader::with_capacity(CHUNK, file);
    let begins = file.fill_buf().map_err(|error| failed(error.to_string()))?;
    let reader: Box<dyn Read> = match begins {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(CHUNK, MultiGzDecoder::new(file))),
        begins if is_zstd(begins) => Box::new(BufReader::with_capacity(CHUNK, Unpacked::new(file))),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(failed(packed("xz"))),
        [b'B', b'Z', b'h', ..] => return Err(failed(packed("bzip2"))),
        [0x04, 0x22, 0x4d, 0x18, ..] => return Err(failed(packed("lz4"))),
        [b'P', b'K', 3, 4, ..] => {
            return Err(failed("compressed by zip; unpack it with `unzip`".to_owned()));
        }
        _ => Box::new(file),
    };
    capture::read(reader).map_err(|error| failed(error.to_string()))
}

fn packed(by: &str) -> String {
    format!("compressed by {by}; unpack it with `{by} -d` (gzip and zstd are read as they are)")
}
