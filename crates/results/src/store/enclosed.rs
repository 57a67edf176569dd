//! A directory that no path leads out of. All results are written through it, and foreign results are read
//! through it.
//!
//! A path is resolved name by name from an open directory without following symbolic links, so neither a name
//! nor a planted link can lead out. The directory itself may be reached through links, because the user chose
//! them.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, fstat, fsync, mkdirat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::error::{StoreError, at};
use super::inner_path::InnerPath;

/// Prefix of unfinished files; readers skip them.
pub const UNFINISHED: &str = ".part-";

const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
/// Attempts to find an unused name for an unfinished file; a killed process with the same id may have left
/// files.
const NAME_ATTEMPTS: usize = 1000;

/// An open directory.
#[derive(Debug)]
pub struct Enclosed {
    directory: OwnedFd,
    path: PathBuf,
}

impl Enclosed {
    /// Opens an existing directory.
    ///
    /// # Errors
    /// When it does not exist or may not be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, path, flags, Mode::empty()).map_err(Error::from).map_err(at("open", path))?;
        Ok(Self { directory, path: path.to_owned() })
    }

    /// Opens the directory of an experiment below `results`. A symbolic link in its place is not followed,
    /// because it may lead anywhere.
    ///
    /// # Errors
    /// When it does not exist or is not a directory.
    pub fn experiment(results: &Path, id: &str) -> Result<Self, StoreError> {
        let path = results.join(id);
        let results = Self::open(results)?;
        let name = InnerPath::parse(id)
            .map_err(|error| at("open", &path)(Error::new(ErrorKind::InvalidFilename, error)))?;
        let directory = subdirectory(&results.directory, name.as_str()).map_err(at("open", &path))?;
        Ok(Self { directory, path })
    }

    /// Full path of a file below, for messages.
    pub fn place(&self, path: &InnerPath) -> PathBuf {
        self.path.join(path.as_str())
    }

    /// Opens a file for reading; `None` when it does not exist.
    ///
    /// # Errors
    /// When it is not a regular file, has more than `most` bytes, or cannot be read.
    pub fn open_file(&self, path: &InnerPath, most: u64) -> Result<Option<File>, StoreError> {
        let open = || -> io::Result<File> {
            let (parent, name) = self.parent(path, false)?;
            // Without NONBLOCK, opening a pipe would wait for its other end.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(&parent, name, flags, Mode::empty()).map_err(no_link)?;
            let stat = fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Error::other("it is not a plain file"));
            }
            if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > most {
                let reason = format!("it has {} bytes, and such a file has at most {most}", stat.st_size);
                return Err(Error::new(ErrorKind::InvalidData, reason));
            }
            Ok(File::from(file))
        };
        match open() {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &self.place(path))(error)),
        }
    }

    /// Reads a file; `None` when it does not exist.
    ///
    /// # Errors
    /// When it is not a regular file, has more than `most` bytes, or cannot be read.
    pub fn read(&self, path: &InnerPath, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.open_file(path, most)? else { return Ok(None) };
        let mut bytes = Vec::new();
        // The file may grow during the read.
        file.take(most).read_to_end(&mut bytes).map_err(at("read", &self.place(path)))?;
        Ok(Some(bytes))
    }

    /// Opens an existing file for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn append(&self, path: &InnerPath) -> Result<File, StoreError> {
        let open = || -> io::Result<File> {
            let (parent, name) = self.parent(path, false)?;
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(File::from(openat(&parent, name, flags, Mode::empty()).map_err(no_link)?))
        };
        open().map_err(at("open", &self.place(path)))
    }

    /// Replaces a file atomically and syncs it to disk: readers see the old file or the new one. Missing
    /// directories are created.
    ///
    /// # Errors
    /// When it cannot be written; the old file then remains.
    pub fn replace(&self, path: &InnerPath, bytes: &[u8]) -> Result<(), StoreError> {
        let replace = || -> io::Result<()> {
            let (parent, name) = self.parent(path, true)?;
            let unfinished = unfinished(|unfinished| write_new(&parent, unfinished, bytes))?;
            let placed = renameat(&parent, &unfinished, &parent, name);
            if placed.is_err() {
                let _ = unlinkat(&parent, &unfinished, AtFlags::empty());
            }
            placed?;
            Ok(fsync(&parent)?)
        };
        replace().map_err(at("write", &self.place(path)))
    }

    /// Creates the directory `path` with a file in it, and beside that the file `other` under its name,
    /// atomically. An existing directory is kept, or replaced if `replace` is set.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is then visible.
    pub fn add_directory(
        &self,
        path: &InnerPath,
        (name, bytes): (&str, &[u8]),
        other: Option<(&str, NamedTempFile)>,
        replace: bool,
    ) -> Result<(), StoreError> {
        let root = &self.directory;
        let made = unfinished(|unfinished| Ok(mkdirat(root, unfinished, DIRECTORY_MODE)?));
        let unfinished = made.map_err(at("create a directory in", &self.path))?;
        let place = || -> io::Result<()> {
            let inside = subdirectory(root, &unfinished)?;
            if let Some((name, file)) = other {
                renameat(CWD, file.path(), &inside, name)?;
            }
            write_new(&inside, name, bytes)?;
            fsync(&inside)?;
            let (parent, last) = self.parent(path, true)?;
            match renameat(root, &unfinished, &parent, last) {
                // An earlier attempt exists; it is kept until this one has taken its place.
                Err(Errno::NOTEMPTY | Errno::EXIST) if replace => {
                    exchange(root, &unfinished, &parent, last)?;
                    std::fs::remove_dir_all(self.path.join(&unfinished))?;
                }
                renamed => renamed?,
            }
            fsync(&parent)?;
            Ok(fsync(root)?)
        };
        let placed = place();
        if placed.is_err() {
            let _ = std::fs::remove_dir_all(self.path.join(&unfinished));
        }
        placed.map_err(at("write", &self.place(path)))
    }

    /// The open directory of a path's last name, and that name.
    fn parent<'p>(&self, path: &'p InnerPath, make: bool) -> io::Result<(OwnedFd, &'p str)> {
        let (directories, name) = path.split();
        let mut current = rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)?;
        for directory in directories {
            current = match subdirectory(&current, directory) {
                Err(error) if make && error.kind() == ErrorKind::NotFound => {
                    match mkdirat(&current, directory, DIRECTORY_MODE) {
                        // Another process created it.
                        Ok(()) | Err(Errno::EXIST) => fsync(&current)?,
                        Err(error) => return Err(error.into()),
                    }
                    subdirectory(&current, directory)?
                }
                opened => opened?,
            };
        }
        Ok((current, name))
    }
}

fn subdirectory(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(no_link)
}

/// Replaces the error of a met symbolic link by a clear one.
fn no_link(error: Errno) -> Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => Error::new(
            ErrorKind::NotADirectory,
            "a symbolic link, or something else than a directory, is on the way; it is not followed",
        ),
        other => other.into(),
    }
}

fn write_new(parent: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, FILE_MODE)?);
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // An unfinished file would keep a full disk full.
        let _ = unlinkat(parent, name, AtFlags::empty());
    }
    written
}

/// Creates an object under an unused unfinished name; returns the name.
fn unfinished(make: impl Fn(&str) -> io::Result<()>) -> io::Result<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut last = ErrorKind::AlreadyExists.into();
    for _ in 0..NAME_ATTEMPTS {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{UNFINISHED}{}-{number}", std::process::id());
        match make(&name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Exchanges two directories.
fn exchange(root: &OwnedFd, unfinished: &str, parent: &OwnedFd, last: &str) -> io::Result<()> {
    match renameat_with(root, unfinished, parent, last, RenameFlags::EXCHANGE) {
        // The file system has no atomic exchange.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = format!("{unfinished}-aside");
            renameat(parent, last, root, &aside)?;
            renameat(root, unfinished, parent, last)?;
            Ok(renameat(root, &aside, root, unfinished)?)
        }
        exchanged => Ok(exchanged?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn inner(path: &str) -> InnerPath {
        InnerPath::parse(path).unwrap()
    }

    #[test]
    fn links_lead_nowhere() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("kept"), "kept").unwrap();
        symlink(outside.path(), place.path().join("link")).unwrap();
        symlink(outside.path().join("kept"), place.path().join("file")).unwrap();
        let enclosed = Enclosed::open(place.path()).unwrap();
        for path in ["link/new", "link/kept", "link/deep/new"] {
            let error = enclosed.replace(&inner(path), b"x").unwrap_err().to_string();
            assert!(error.contains("symbolic link") && error.contains("link/"), "{error}");
            assert!(enclosed.read(&inner(path), 100).is_err());
        }
        assert!(enclosed.add_directory(&inner("link/new"), ("trial.json", b"x"), None, true).is_err());
        assert!(enclosed.read(&inner("file"), 100).is_err() && enclosed.append(&inner("file")).is_err());
        // A link at the end of the path is replaced, its target stays.
        enclosed.replace(&inner("file"), b"mine").unwrap();
        assert_eq!(enclosed.read(&inner("file"), 100).unwrap().unwrap(), b"mine");
        assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        let left = fs::read_dir(place.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(UNFINISHED));
        assert_eq!(left.count(), 0, "nothing unfinished stays");
    }

    #[test]
    fn what_is_no_plain_file_of_a_sane_size_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let enclosed = Enclosed::open(place.path()).unwrap();
        assert_eq!(enclosed.read(&inner("absent"), 100).unwrap(), None);
        rustix::fs::mknodat(CWD, place.path().join("pipe"), FileType::Fifo, FILE_MODE, 0).unwrap();
        assert!(enclosed.read(&inner("pipe"), 100).unwrap_err().to_string().contains("plain file"));
        // A sparse file needs no disk space.
        File::create(place.path().join("huge")).unwrap().set_len(1 << 38).unwrap();
        let error = enclosed.read(&inner("huge"), 1 << 30).unwrap_err().to_string();
        assert!(error.contains("huge") && error.contains("bytes"), "{error}");
    }
}
