//! Checks a directory of npz files as older kits leave them: what their readers need is there, and enough of it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use npyz::NpyFile;
use serde::Serialize;
use zip::ZipArchive;

use super::{Problem, Reason, Verdict};
use crate::store::StoreError;
use crate::store::atomic::at;

/// Which end an npz file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The transmitter.
    Tx,
    /// The receiver.
    Rx,
}

impl End {
    /// By the file's name, such as `1f3c09aa_tx0_tx_txcores_…`.
    fn of(name: &str) -> Option<Self> {
        let (tx, rx) = (name.contains("_tx_"), name.contains("_rx_"));
        // A profile's name may hold either; what stands before the cores decides.
        match (name.contains("_tx_txcores_"), name.contains("_rx_txcores_"), tx, rx) {
            (true, false, ..) | (false, false, true, false) => Some(End::Tx),
            (false, true, ..) | (false, false, false, true) => Some(End::Rx),
            _ => None,
        }
    }

    /// Keys that a valid file has.
    fn keys(self) -> &'static [&'static str] {
        match self {
            End::Tx => &["pkts_tx", "obytes", "opackets", "port_obytes"],
            End::Rx => &["rx_pps", "tx_pps", "rx_bytes", "rx_packets"],
        }
    }
}

/// Every npz file below a directory.
pub(super) fn npz_files(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(current) = directories.pop() {
        for entry in fs::read_dir(&current).map_err(at("read", &current))? {
            let entry = entry.map_err(at("read", &current))?;
            let kind = entry.file_type().map_err(at("read", &current))?;
            let path = entry.path();
            if kind.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "npz") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn check(directory: &Path, samples: u64) -> Result<Verdict, StoreError> {
    let files = npz_files(directory)?;
    let mut problems = Vec::new();
    if files.is_empty() {
        problems.push(Problem::new("", Reason::MissingFile, "neither summary.json nor npz files are there"));
    }
    for file in &files {
        let path = file.strip_prefix(directory).unwrap_or(file).display().to_string();
        let found = inspect(file, samples);
        problems.extend(found.into_iter().map(|(reason, detail)| Problem::new(path.clone(), reason, detail)));
    }
    Ok(Verdict::new(directory, files.len(), problems))
}

type Found = Vec<(Reason, String)>;

fn inspect(file: &Path, samples: u64) -> Found {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let Some(end) = End::of(&name) else {
        return vec![(Reason::Unreadable, "its name does not tell which end it is of (_tx_ or _rx_)".into())];
    };
    let mut archive = match File::open(file).map_err(zip::result::ZipError::from).and_then(ZipArchive::new) {
        Ok(archive) => archive,
        // The directory stands at an archive's end: where it lacks, the end does.
        Err(zip::result::ZipError::InvalidArchive(why)) => return vec![(Reason::Torn, why.to_string())],
        Err(error) => return vec![(Reason::Unreadable, error.to_string())],
    };
    let mut found = Vec::new();
    for key in end.keys() {
        let entry = format!("{key}.npy");
        if archive.index_for_name(&entry).is_none() {
            found.push((Reason::MissingKey, format!("'{key}' is not there")));
            continue;
        }
        match length(&mut archive, &entry) {
            Ok(count) if count < samples => {
                found.push((Reason::TooFewSamples, format!("'{key}' has {count} of {samples}")));
            }
            Ok(_) => {}
            Err((reason, detail)) => found.push((reason, format!("'{key}': {detail}"))),
        }
    }
    found
}

/// The number of values in an array, all of which are read.
fn length(archive: &mut ZipArchive<File>, entry: &str) -> Result<u64, (Reason, String)> {
    let mut bytes = Vec::new();
    archive
        .by_name(entry)
        .map_err(std::io::Error::from)
        // Reading to the end compares the checksum.
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| (Reason::Torn, error.to_string()))?;
    let array = NpyFile::new(&bytes[..]).map_err(|error| (Reason::Unreadable, error.to_string()))?;
    let &[count] = array.shape() else {
        return Err((Reason::WrongForm, format!("it has {} dimensions and not 1", array.shape().len())));
    };
    let numbers = match array.dtype() {
        npyz::DType::Plain(kind) => {
            use npyz::TypeChar::{Float, Int, Uint};
            matches!(kind.type_char(), Int | Uint | Float)
        }
        _ => false,
    };
    if !numbers {
        return Err((Reason::WrongForm, format!("it holds {} and not numbers", array.dtype().descr())));
    }
    Ok(count)
}
