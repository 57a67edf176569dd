//! Manifest: the checksum of every file of an experiment, in `manifest.json`, written at the end. Before
//! that, the log of the trials has the checksums of the stored files, and [`Manifest::read`] takes them from
//! there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::atomic::replace_file;
use super::checksum::FileSum;
use super::enclosed::UNFINISHED;
use super::error::{StoreError, at};
use super::trial_log::derive;
use super::{json, read_json};

/// File name, in the experiment's directory.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the file's schema.
pub const MANIFEST_SCHEMA: &str = "linerate.dev/manifest/v1alpha1";

/// Checksums of an experiment's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// The experiment's id.
    pub experiment: String,
    /// True once the experiment has ended and every file is listed.
    pub complete: bool,
    /// The files, by path relative to the experiment's directory.
    pub files: BTreeMap<String, FileSum>,
}

impl Manifest {
    /// An empty manifest.
    pub fn new(experiment: &str) -> Self {
        Self {
            schema: MANIFEST_SCHEMA.to_owned(),
            experiment: experiment.to_owned(),
            complete: false,
            files: BTreeMap::new(),
        }
    }

    /// Reads the manifest of the experiment in `directory`; `None` when there are no checksums. Before the
    /// experiment's end, they come from the log of the trials.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let written = Self::written(directory)?;
        if written.as_ref().is_some_and(|manifest| manifest.complete) {
            return Ok(written);
        }
        let Some(derived) = derive(directory)? else { return Ok(written) };
        let mut manifest = written.unwrap_or_else(|| Self::new(&derived.summary.experiment.id));
        manifest.files.extend(derived.sums);
        Ok(Some(manifest))
    }

    /// Reads `manifest.json` alone.
    pub(super) fn written(directory: &Path) -> Result<Option<Self>, StoreError> {
        read_json(directory, MANIFEST_FILE)
    }

    /// Lists every file in `directory` and writes the manifest. `known` checksums, taken when the files were
    /// stored, are used unchanged, so that later modifications are detected.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest cannot be written.
    pub fn seal(
        experiment: &str,
        directory: &Path,
        mut known: BTreeMap<String, FileSum>,
    ) -> Result<(), StoreError> {
        let mut manifest = Self { complete: true, ..Self::new(experiment) };
        for (path, place) in files(directory)? {
            let sum = known.remove(&path).map_or_else(|| FileSum::of(&place), Ok)?;
            manifest.files.insert(path, sum);
        }
        manifest.write(directory)
    }

    /// Adds files that were written after an experiment's end. An incomplete manifest is left unchanged.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest cannot be written.
    pub fn note(directory: &Path, added: &[PathBuf]) -> Result<(), StoreError> {
        let Some(mut manifest) = Self::written(directory)?.filter(|manifest| manifest.complete) else {
            return Ok(());
        };
        for place in added {
            if let Some(path) = place.strip_prefix(directory).ok().and_then(Path::to_str) {
                manifest.files.insert(path.to_owned(), FileSum::of(place)?);
            }
        }
        manifest.write(directory)
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// When it cannot be written; the old one then remains.
    pub fn write(&self, directory: &Path) -> Result<(), StoreError> {
        replace_file(directory, MANIFEST_FILE, &json(self, directory)?)
    }
}

/// Every finished file of an experiment except its manifest: the path relative to the directory, and the full
/// path. Symbolic links are skipped.
pub fn files(directory: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
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
    fn every_finished_file_is_listed_and_what_was_known_before_is_not_read_again() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        fs::create_dir(directory.join("tx0-rx0")).unwrap();
        for (name, text) in [
            ("summary.json", "{}"),
            ("tx0.log", ""),
            ("tx0-rx0/trial.json", "abc"),
            ("tx0-rx0/flows.csv", "altered"),
            (".part-x", "torn"),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        let known = FileSum::of_bytes(b"as stored");
        let gone = ("tx0-rx0/gone.json".to_owned(), known.clone());
        Manifest::seal(
            "0123abcd",
            directory,
            BTreeMap::from([("tx0-rx0/flows.csv".to_owned(), known.clone()), gone]),
        )
        .unwrap();
        let manifest = Manifest::read(directory).unwrap().unwrap();
        assert_eq!(
            manifest.files.keys().collect::<Vec<_>>(),
            ["summary.json", "tx0-rx0/flows.csv", "tx0-rx0/trial.json", "tx0.log"]
        );
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(manifest.files["tx0-rx0/trial.json"], FileSum { bytes: 3, sha256: abc.into() });
        assert_eq!(manifest.files["tx0-rx0/flows.csv"], known);
    }
}
