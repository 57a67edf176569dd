//! A checksum of every file of an experiment: `manifest.json`. While a run goes on it lists what no longer changes; at the end, everything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::atomic::{StoreError, UNFINISHED, at, replace_file};
use super::{SUMMARY_FILE, json};

/// The file, in the experiment's directory.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of this form.
pub const MANIFEST_SCHEMA: &str = "linerate.dev/manifest/v1alpha1";

/// A checksum of every file of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// The experiment's id.
    pub experiment: String,
    /// True once the experiment has ended and every file is listed.
    pub complete: bool,
    /// The files, by their path below the experiment's directory.
    pub files: BTreeMap<String, FileSum>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 checksum, in hexadecimal digits.
    pub sha256: String,
}

impl FileSum {
    /// Reads a file through.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let mut sum = Summing { sha256: Sha256::new(), bytes: 0 };
        File::open(path).and_then(|mut file| io::copy(&mut file, &mut sum)).map_err(at("read", path))?;
        let digits = sum.sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes: sum.bytes, sha256: digits })
    }
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

impl Manifest {
    /// A manifest of no files yet.
    pub fn new(experiment: &str) -> Self {
        Self {
            schema: MANIFEST_SCHEMA.to_owned(),
            experiment: experiment.to_owned(),
            complete: false,
            files: BTreeMap::new(),
        }
    }

    /// Reads the manifest of the experiment in `directory`; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and unreadable.
    pub fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(MANIFEST_FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| at("read", &path)(error.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    /// Adds the files that are new in `directory` and writes the manifest. While the experiment runs (`ended` is false), files that still
    /// change are left out.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest cannot be written.
    pub(crate) fn seal(&mut self, directory: &Path, ended: bool) -> Result<(), StoreError> {
        let found = files(directory)?;
        // While it runs, a trial that is repeated takes the place of what was kept of it.
        self.files.retain(|known, _| found.iter().any(|(path, _)| path == known));
        for (path, place) in found {
            if !self.files.contains_key(&path) && (ended || !changes(&path)) {
                self.files.insert(path, FileSum::of(&place)?);
            }
        }
        self.complete = ended;
        self.write(directory)
    }

    /// Forgets what is below a directory, whose files are written anew.
    pub(crate) fn forget(&mut self, directory: &str) {
        self.files.retain(|path, _| !path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')));
    }

    /// Notes files that were added to an experiment after its end. An experiment without a whole manifest keeps what it has.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest cannot be written.
    pub(crate) fn note(directory: &Path, added: &[PathBuf]) -> Result<(), StoreError> {
        let Some(mut manifest) = Self::read(directory)?.filter(|manifest| manifest.complete) else {
            return Ok(());
        };
        for place in added {
            if let Some(path) = place.strip_prefix(directory).ok().and_then(Path::to_str) {
                manifest.files.insert(path.to_owned(), FileSum::of(place)?);
            }
        }
        manifest.write(directory)
    }

    fn write(&self, directory: &Path) -> Result<(), StoreError> {
        replace_file(directory, MANIFEST_FILE, &json(self, directory)?)
    }
}

/// True for files that are written anew or appended to as long as the experiment runs.
fn changes(path: &str) -> bool {
    path == SUMMARY_FILE || (path.ends_with(".log") && !path.contains('/'))
}

/// Every finished file below an experiment's directory except its manifest: the path below the directory, and the place. Symbolic links are
/// passed over.
pub(crate) fn files(directory: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(current) = directories.pop() {
        for entry in fs::read_dir(&current).map_err(at("read", &current))? {
            let entry = entry.map_err(at("read", &current))?;
            let place = entry.path();
            let kind = entry.file_type().map_err(at("read", &place))?;
            let below = place.strip_prefix(directory).ok().and_then(Path::to_str);
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                continue;
            }
            match below {
                _ if kind.is_dir() => directories.push(place),
                Some(path) if kind.is_file() && path != MANIFEST_FILE => found.push((path.to_owned(), place)),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_changes_is_listed_at_the_end() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        fs::create_dir(directory.join("tx0-rx0")).unwrap();
        for (name, text) in
            [(SUMMARY_FILE, "{}"), ("tx0.log", ""), ("tx0-rx0/trial.json", "abc"), (".part-x", "torn")]
        {
            fs::write(directory.join(name), text).unwrap();
        }
        let mut manifest = Manifest::new("0123abcd");
        manifest.seal(directory, false).unwrap();
        assert_eq!(manifest.files.keys().collect::<Vec<_>>(), ["tx0-rx0/trial.json"]);
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(manifest.files["tx0-rx0/trial.json"], FileSum { bytes: 3, sha256: abc.into() });
        manifest.seal(directory, true).unwrap();
        assert_eq!(Manifest::read(directory).unwrap(), Some(manifest.clone()));
        assert_eq!(
            manifest.files.keys().collect::<Vec<_>>(),
            [SUMMARY_FILE, "tx0-rx0/trial.json", "tx0.log"]
        );
    }
}
