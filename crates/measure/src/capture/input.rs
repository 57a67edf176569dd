//! Reader of a file that counts bytes.

use std::io::{self, ErrorKind, Read};

/// A reader that knows its offset.
pub(super) struct Input<R> {
    reader: R,
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills `buffer`; false when the file ends first.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut have = 0;
        while have < buffer.len() {
            match self.reader.read(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(more) => have += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The unpacked part of a truncated compressed file is used.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        self.offset += have as u64;
        Ok(have == buffer.len())
    }

    /// The next bytes; `None` when the file ends first.
    pub(super) fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok(self.fill(&mut bytes)?.then_some(bytes))
    }

    /// Replaces the contents of `buffer` by the next `length` bytes; false when the file ends
    /// first.
    pub(super) fn replace(&mut self, buffer: &mut Vec<u8>, length: usize) -> io::Result<bool> {
        buffer.resize(length, 0);
        self.fill(buffer)
    }

    /// Skips `length` bytes; false when the file ends first.
    pub(super) fn skip(&mut self, mut length: u64) -> io::Result<bool> {
        let mut scrap = [0; 4096];
        while length > 0 {
            let part = length.min(scrap.len() as u64) as usize;
            if !self.fill(&mut scrap[..part])? {
                return Ok(false);
            }
            length -= part as u64;
        }
        Ok(true)
    }
}

/// Byte order of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }
    }

    /// The number at an offset in `bytes`, 0 beyond their end.
    pub(super) fn u32_at(self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes.get(at..at + 4).and_then(|word| <[u8; 4]>::try_from(word).ok());
        word.map_or(0, |word| self.u32(word))
    }

    /// As `u32_at`.
    pub(super) fn u16_at(self, bytes: &[u8], at: usize) -> u16 {
        let word = bytes.get(at..at + 2).and_then(|word| <[u8; 2]>::try_from(word).ok());
        word.map_or(0, |word| self.u16(word))
    }

    /// The signed 64-bit number at an offset, 0 beyond the end.
    pub(super) fn i64_at(self, bytes: &[u8], at: usize) -> i64 {
        let word = bytes.get(at..at + 8).and_then(|word| <[u8; 8]>::try_from(word).ok());
        word.map_or(0, |word| match self {
            Order::Little => i64::from_le_bytes(word),
            Order::Big => i64::from_be_bytes(word),
        })
    }
}
