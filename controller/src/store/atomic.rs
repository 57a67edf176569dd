//! Files and directories that are there completely or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Names that begin with this are unfinished; readers pass over them.
pub const UNFINISHED: &str = ".part-";

/// A file or directory cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}{}", path.display(), remedy(action, reason.kind()))]
pub struct StoreError {
    /// What was to be done.
    pub action: &'static str,
    /// To what.
    pub path: PathBuf,
    /// Why it failed.
    pub reason: std::io::Error,
}

fn remedy(action: &str, kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space, or choose another place with --results or --out"
        }
        ErrorKind::PermissionDenied if action == "read" => "; read it as a user who may",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that you may write to with --results or --out"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; choose another place with --results or --out"
        }
        ErrorKind::NotFound => "; give the path of one that is there",
        _ => "",
    }
}

/// Gives an I/O error its place.
pub(crate) fn at<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> StoreError + 'p {
    move |reason| StoreError { action, path: path.to_owned(), reason }
}

/// Writes a file anew and has it on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(at("write", path))
}

/// Has the names in a directory on the disk.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at("sync", path))
}

/// Puts a file in the place of the one of that name: readers see the old one or the new one.
pub(crate) fn replace_file(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    // Of another process that writes the same file now, each has its own; the last to be finished stays.
    let unfinished = directory.join(format!("{UNFINISHED}{}-{name}", std::process::id()));
    let finished = directory.join(name);
    let placed = write_synced(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, &finished).map_err(at("rename", &unfinished)));
    if placed.is_err() {
        // On a full disk, what could not be finished would keep it full.
        let _ = fs::remove_file(&unfinished);
    }
    placed?;
    sync_directory(directory)
}

/// Makes the directory `root/path` with a file in it, and beside that `other` under its name: readers see all or nothing. One that is there already
/// stays, or makes place when it is to be replaced.
pub(crate) fn add_directory(
    root: &Path,
    path: &str,
    name: &str,
    bytes: &[u8],
    other: Option<(&str, NamedTempFile)>,
    replace: bool,
) -> Result<(), StoreError> {
    let unfinished = root.join(format!("{UNFINISHED}{}", path.replace('/', "-")));
    fs::create_dir(&unfinished).map_err(at("create", &unfinished))?;
    let beside = other.map_or(Ok(()), |(name, file)| {
        let place = unfinished.join(name);
        file.persist(&place).map(drop).map_err(|error| at("rename to", &place)(error.error))
    });
    let placed = beside.and_then(|()| place_directory(root, &unfinished, path, name, bytes, replace));
    if placed.is_err() {
        let _ = fs::remove_dir_all(&unfinished);
    }
    placed
}

/// Puts each of two directories in the other's place.
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        // The file system cannot do it at once.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = a.with_extension("aside");
            fs::rename(b, &aside)?;
            fs::rename(a, b)?;
            fs::rename(&aside, a)
        }
        exchanged => Ok(exchanged?),
    }
}

fn place_directory(
    root: &Path,
    unfinished: &Path,
    path: &str,
    name: &str,
    bytes: &[u8],
    replace: bool,
) -> Result<(), StoreError> {
    write_synced(&unfinished.join(name), bytes)?;
    sync_directory(unfinished)?;
    let finished = root.join(path);
    let parents: Vec<&Path> =
        finished.ancestors().skip(1).take_while(|parent| parent.starts_with(root)).collect();
    if let Some(parent) = parents.first() {
        fs::create_dir_all(parent).map_err(at("create", parent))?;
    }
    match fs::rename(unfinished, &finished) {
        // An earlier attempt stands there; it is kept until this one stands in its place.
        Err(error) if replace && error.kind() == ErrorKind::DirectoryNotEmpty => {
            exchange(unfinished, &finished).map_err(at("exchange", unfinished))?;
            fs::remove_dir_all(unfinished).map_err(at("remove", unfinished))?;
        }
        renamed => renamed.map_err(at("rename", unfinished))?,
    }
    parents.into_iter().try_for_each(sync_directory)
}
