//! Checksums of stored files.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{StoreError, at};

/// Length and checksum of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 checksum in hexadecimal digits.
    pub sha256: String,
}

impl FileSum {
    /// Length and checksum of content to be written.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: hexadecimal(&Sha256::digest(bytes)) }
    }

    /// Length and checksum of a file that should have `bytes` bytes. If the length differs, the checksum is
    /// left empty: the file is a different one in any case, and may be of any length.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_length(path: &Path, bytes: u64) -> Result<Self, StoreError> {
        let found = fs::metadata(path).map_err(at("read", path))?.len();
        if found == bytes { Self::of(path) } else { Ok(Self { bytes: found, sha256: String::new() }) }
    }

    /// Length and checksum of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let mut sum = Summing { sha256: Sha256::new(), bytes: 0 };
        File::open(path).and_then(|mut file| io::copy(&mut file, &mut sum)).map_err(at("read", path))?;
        Ok(Self { bytes: sum.bytes, sha256: hexadecimal(&sum.sha256.finalize()) })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Summing {
    sha256: Sha256,
    bytes: u64,
}

impl io::Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
