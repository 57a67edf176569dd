//! Validation of a directory of npz files written by older kits: all required arrays are present, with enough
//! values.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use npyz::NpyFile;
use serde::Serialize;
use zip::ZipArchive;

use super::{Problem, Reason, TIME_KEY, Validation};
use crate::store::StoreError;
use crate::store::error::at;

/// Largest array in bytes: a hundred million values.
const MOST_BYTES: u64 = 800 << 20;

/// End of a path that an npz file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The transmitter.
    Tx,
    /// The receiver.
    Rx,
}

impl End {
    /// The end, from the file's name, such as `1f3c09aa_tx0_tx_txcores_…`.
    fn of(name: &str) -> Option<Self> {
        let (tx, rx) = (name.contains("_tx_"), name.contains("_rx_"));
        // A profile's name may contain both; the part before the cores decides.
        match (name.contains("_tx_txcores_"), name.contains("_rx_txcores_"), tx, rx) {
            (true, false, ..) | (false, false, true, false) => Some(End::Tx),
            (false, true, ..) | (false, false, false, true) => Some(End::Rx),
            _ => None,
        }
    }

    /// The first problem with the values of a key.
    fn judge(self, key: &str, values: &[f64]) -> Option<(Reason, String)> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Some((Reason::NotANumber, format!("value {index} is {}", values[index])));
        }
        // All values are counts, except the times of our own files, which may begin before the start.
        let negative = values.iter().position(|value| *value < 0.0).filter(|_| key != TIME_KEY);
        if let Some(index) = negative {
            let detail = format!("value {index} is {}, as when a counter rolled over", values[index]);
            return Some((Reason::CounterWentBack, detail));
        }
        let back = values.windows(2).position(|pair| pair[1] < pair[0]).filter(|_| self.only_grows(key))?;
        let detail = format!("value {} is {}, the one before {}", back + 1, values[back + 1], values[back]);
        Some((Reason::CounterWentBack, detail))
    }

    /// True for cumulative counters, false for rates.
    fn only_grows(self, key: &str) -> bool {
        key.starts_with("port_")
            || (self == End::Rx && ["rx_packets", "rx_bytes", "tx_packets", "tx_bytes"].contains(&key))
    }

    /// Keys that a valid file must have.
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

pub(super) fn check(directory: &Path, samples: u64) -> Result<Validation, StoreError> {
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
    Ok(Validation::new(directory, files.len(), problems))
}

type Found = Vec<(Reason, String)>;

fn inspect(file: &Path, samples: u64) -> Found {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let Some(end) = End::of(&name) else {
        return vec![(Reason::Unreadable, "its name does not contain the end (_tx_ or _rx_)".into())];
    };
    let mut archive = match File::open(file).map_err(zip::result::ZipError::from).and_then(ZipArchive::new) {
        Ok(archive) => archive,
        // The directory is at an archive's end, so an archive without one is truncated.
        Err(zip::result::ZipError::InvalidArchive(why)) => return vec![(Reason::Torn, why.to_string())],
        Err(error) => return vec![(Reason::Unreadable, error.to_string())],
    };
    let mut found = Vec::new();
    let mut lengths = Vec::new();
    for entry in arrays(&archive) {
        let key = entry.trim_end_matches(".npy").to_owned();
        match read(&mut archive, &entry) {
            Ok(values) => {
                lengths.push((key.clone(), values.len()));
                found.extend(
                    end.judge(&key, &values).map(|(reason, detail)| (reason, format!("'{key}': {detail}"))),
                );
            }
            // The form of an array that readers do not need is not checked.
            Err((Reason::WrongForm, _)) if !end.keys().contains(&&key[..]) => {}
            Err((reason, detail)) => found.push((reason, format!("'{key}': {detail}"))),
        }
    }
    for key in end.keys() {
        match lengths.iter().find(|(known, _)| known == key) {
            None if archive.index_for_name(&format!("{key}.npy")).is_none() => {
                found.push((Reason::MissingKey, format!("'{key}' is not there")));
            }
            Some((_, count)) if (*count as u64) < samples => {
                found.push((Reason::TooFewSamples, format!("'{key}' has {count} of {samples}")));
            }
            _ => {}
        }
    }
    let needed = lengths.iter().find(|(key, _)| end.keys().contains(&&key[..]));
    if let Some((first, count)) = needed {
        let other = lengths.iter().find(|(_, other)| other != count);
        found.extend(other.map(|(key, other)| {
            (Reason::UnequalLengths, format!("'{first}' has {count} values, '{key}' has {other}"))
        }));
    }
    found
}

/// The names of the arrays, in their order.
fn arrays(archive: &ZipArchive<File>) -> Vec<String> {
    // Readers do not look for names that cannot be decoded.
    let names = archive.file_names().filter_map(Result::ok);
    names.filter(|name| name.ends_with(".npy")).map(|name| name.into_owned()).collect()
}

/// All values of an array of numbers.
fn read(archive: &mut ZipArchive<File>, entry: &str) -> Result<Vec<f64>, (Reason, String)> {
    let mut bytes = Vec::new();
    archive
        .by_name(entry)
        .map_err(std::io::Error::from)
        // Reading to the end verifies the checksum. An archive may unpack to far more than its own size.
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| (Reason::Torn, error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err((Reason::Unreadable, format!("it has more than {MOST_BYTES} bytes")));
    }
    let array = NpyFile::new(&bytes[..]).map_err(|error| (Reason::Unreadable, error.to_string()))?;
    let &[count] = array.shape() else {
        return Err((Reason::WrongForm, format!("it has {} dimensions and not 1", array.shape().len())));
    };
    if count > bytes.len() as u64 {
        return Err((Reason::Torn, format!("it is to have {count} values in {} bytes", bytes.len())));
    }
    let unreadable = |error: std::io::Error| (Reason::Unreadable, error.to_string());
    let numbers = match array.dtype() {
        npyz::DType::Plain(kind) => {
            use npyz::TypeChar::{Float, Int, Uint};
            match (kind.type_char(), kind.size_field()) {
                (Int, 8) => numbers::<i64>(array, |value| value as f64),
                (Int, 4) => numbers::<i32>(array, f64::from),
                (Int, 2) => numbers::<i16>(array, f64::from),
                (Uint, 8) => numbers::<u64>(array, |value| value as f64),
                (Uint, 4) => numbers::<u32>(array, f64::from),
                (Uint, 2) => numbers::<u16>(array, f64::from),
                (Float, 8) => numbers::<f64>(array, |value| value),
                (Float, 4) => numbers::<f32>(array, f64::from),
                (Int | Uint | Float, size) => {
                    return Err((Reason::WrongForm, format!("its numbers have {size} bytes")));
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    };
    numbers
        .map_err(unreadable)?
        .ok_or_else(|| (Reason::WrongForm, "it holds something else than numbers".to_owned()))
}

fn numbers<T: npyz::Deserialize>(
    array: NpyFile<&[u8]>,
    number: impl Fn(T) -> f64,
) -> std::io::Result<Option<Vec<f64>>> {
    let data = array.data::<T>().map_err(std::io::Error::other)?;
    data.map(|value| value.map(&number)).collect::<std::io::Result<Vec<f64>>>().map(Some)
}
