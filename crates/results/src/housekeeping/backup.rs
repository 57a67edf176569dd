//! Backup of experiments to one compressed archive, written atomically.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, HeaderMode};

use crate::store::atomic::sync_directory;

use crate::store::enclosed::UNFINISHED;

use crate::store::error::{StoreError, at};
use crate::store::manifest::{MANIFEST_FILE, files};

/// Writes the experiments `ids` of `results` to the archive `archive` (tar, gzip), each in a directory named
/// by its id. Returns the number of files.
///
/// # Errors
/// When the archive exists already, or a file cannot be read or written; then no archive is left.
pub fn backup(results: &Path, ids: &[String], archive: &Path) -> Result<usize, StoreError> {
    if archive.symlink_metadata().is_ok() {
        return Err(to("write", archive)(ErrorKind::AlreadyExists.into()));
    }
    let name = archive.file_name().ok_or_else(|| to("write", archive)(ErrorKind::InvalidFilename.into()))?;
    let directory = match archive.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let process = std::process::id();
    let unfinished = directory.join(format!("{UNFINISHED}{process}-{}", name.to_string_lossy()));
    let placed = write(results, ids, &unfinished).and_then(|count| {
        fs::rename(&unfinished, archive).map_err(to("rename", &unfinished))?;
        sync_directory(directory).map_err(elsewhere)?;
        Ok(count)
    });
    if placed.is_err() {
        // An unfinished archive would keep a full disk full.
        let _ = fs::remove_file(&unfinished);
    }
    placed
}

/// Adds action and path to an I/O error of the archive, whose place `--to` chooses.
fn to<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> StoreError + 'p {
    move |reason| elsewhere(at(action, path)(reason))
}

fn elsewhere(error: StoreError) -> StoreError {
    error.chosen_by("--to")
}

fn write(results: &Path, ids: &[String], place: &Path) -> Result<usize, StoreError> {
    let mut found = Vec::new();
    for id in ids {
        let directory = results.join(id);
        found.extend(files(&directory)?.into_iter().map(|(path, source)| (format!("{id}/{path}"), source)));
        let manifest = directory.join(MANIFEST_FILE);
        if manifest.is_file() {
            found.push((format!("{id}/{MANIFEST_FILE}"), manifest));
        }
    }
    let file = File::create_new(place).map_err(to("write", place))?;
    let mut archive = Builder::new(GzEncoder::new(BufWriter::new(file), Compression::default()));
    archive.mode(HeaderMode::Deterministic);
    for (name, source) in &found {
        append(&mut archive, name, source, place)?;
    }
    let finish = || archive.into_inner()?.finish()?.into_inner().map_err(io::Error::from)?.sync_all();
    finish().map_err(to("write", place))?;
    Ok(found.len())
}

type Archive = Builder<GzEncoder<BufWriter<File>>>;

fn append(archive: &mut Archive, name: &str, source: &PathBuf, place: &Path) -> Result<(), StoreError> {
    let mut file = File::open(source).map_err(at("read", source))?;
    archive.append_file(name, &mut file).map_err(to("write", place))
}
