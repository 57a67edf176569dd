//! The only access to the file system: a reader that validates everything it reads.
//!
//! Every path is relative to a root directory, so that a directory of plain files can stand in for a host.
//! The root is not a jail: symbolic links are followed wherever they lead.

mod error;
mod kinds;

use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access as Wanted, AtFlags, CWD, OFlags};

use error::reason_of;
pub use error::{ReadError, Reason, excerpt};
pub use kinds::{Access, File, FileId, Opened};

/// Most bytes read of one file, unless the caller knows that the file grows with the machine.
pub const READ_LIMIT: u64 = 1 << 20;

/// Most names read of one directory.
pub const NAMES_LIMIT: usize = 1 << 16;

/// Location of the host's `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    base: PathBuf,
}

impl Root {
    /// This machine, `/`.
    pub fn host() -> Self {
        Self::at("/")
    }

    /// A directory that contains `sys`, `proc` and `dev`: a fixture, or a host's root mounted into a
    /// container.
    pub fn at(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// The directory given to [`Root::at`].
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// True for the machine's own `/`.
    pub fn is_host(&self) -> bool {
        self.base == Path::new("/")
    }

    /// The path to open for an absolute `path` of the host. `..` is dropped, so no text read from a file can
    /// name a path outside the root.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let inside = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        inside.fold(self.base.clone(), |whole, part| whole.join(part))
    }

    /// The text of a file of at most [`READ_LIMIT`] bytes.
    ///
    /// # Errors
    /// Every [`Reason`] that concerns files.
    pub fn read(&self, path: &str) -> Result<String, ReadError> {
        self.read_up_to(path, READ_LIMIT)
    }

    /// The text of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// Every [`Reason`] that concerns files.
    pub fn read_up_to(&self, path: &str, limit: u64) -> Result<String, ReadError> {
        let path = self.resolve(path);
        let fail = |reason| ReadError { path: path.clone(), reason };
        // Check before opening: opening a device can trigger an action, opening a pipe can block forever.
        if !fs::metadata(&path).map_err(|error| fail(reason_of(&error)))?.is_file() {
            return Err(fail(Reason::NotAFile));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
        let file = fs::File::from(opened.map_err(|errno| fail(reason_of(&errno.into())))?);

        // The lengths that sysfs and procfs report (4096 and 0) have no meaning, so the bytes read are
        // counted.
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| fail(reason_of(&error)))?;
        if bytes.len() as u64 > limit {
            return Err(fail(Reason::TooLarge(limit)));
        }
        String::from_utf8(bytes).map_err(|_| fail(Reason::NotUtf8))
    }

    /// As [`Root::read`], but `None` when nothing exists at the path.
    ///
    /// # Errors
    /// Every [`Reason`] that concerns files, except [`Reason::Missing`].
    pub fn read_if_there(&self, path: &str) -> Result<Option<String>, ReadError> {
        match self.read(path) {
            Ok(text) => Ok(Some(text)),
            Err(ReadError { reason: Reason::Missing, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The content of a file, parsed by `T`. White space around it is removed.
    ///
    /// # Errors
    /// As [`Root::read`], and [`Reason::Malformed`] with the parser's message.
    pub fn parse<T>(&self, path: &str) -> Result<T, ReadError>
    where
        T: std::str::FromStr<Err: fmt::Display>,
    {
        self.read(path)?.trim().parse().map_err(|error: T::Err| self.malformed(path, error.to_string()))
    }

    /// The non-negative number that is a file's only content.
    ///
    /// # Errors
    /// As [`Root::read`], and [`Reason::Malformed`] when the content is no such number.
    pub fn read_number(&self, path: &str) -> Result<u64, ReadError> {
        let text = self.read(path)?;
        let text = text.trim();
        text.parse().map_err(|_| self.malformed(path, format!("expected a number, found {}", excerpt(text))))
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// [`Reason::Missing`], [`Reason::NotADirectory`], [`Reason::TooMany`], [`Reason::NotUtf8`] and other
    /// kernel errors.
    pub fn names(&self, dir: &str) -> Result<Vec<String>, ReadError> {
        self.names_up_to(dir, NAMES_LIMIT)
    }

    fn names_up_to(&self, dir: &str, limit: usize) -> Result<Vec<String>, ReadError> {
        let path = self.resolve(dir);
        let fail = |reason| ReadError { path: path.clone(), reason };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(|error| fail(reason_of(&error)))? {
            let entry = entry.map_err(|error| fail(reason_of(&error)))?;
            if names.len() == limit {
                return Err(fail(Reason::TooMany(limit)));
            }
            names.push(entry.file_name().into_string().map_err(|_| fail(Reason::NotUtf8))?);
        }
        names.sort();
        Ok(names)
    }

    /// The plain files in a directory whose name `wanted` accepts, sorted by name.
    ///
    /// # Errors
    /// As [`Root::names`]. A file that disappears meanwhile is left out.
    pub fn files(&self, dir: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<File>, ReadError> {
        let mut files = Vec::new();
        for name in self.names(dir)?.into_iter().filter(|name| wanted(name)) {
            let path = self.resolve(dir).join(&name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() => files.push(describe(name, &metadata)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ReadError { path, reason: reason_of(&error) }),
            }
        }
        Ok(files)
    }

    /// True when `dir` has an entry `name` of any kind.
    ///
    /// # Errors
    /// As [`Root::names`] when `dir` itself cannot be read: without sysfs, an entry cannot be known to be
    /// absent.
    pub fn contains(&self, dir: &str, name: &str) -> Result<bool, ReadError> {
        let parent = self.resolve(dir);
        let fail = |path: &Path, error: &io::Error| ReadError { path: path.into(), reason: reason_of(error) };
        if !fs::metadata(&parent).map_err(|error| fail(&parent, &error))?.is_dir() {
            return Err(ReadError { path: parent, reason: Reason::NotADirectory });
        }
        let path = parent.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fail(&path, &error)),
        }
    }

    /// The last component of a symbolic link's target, without following the link; `None` when there is no
    /// link.
    ///
    /// sysfs names the driver and the IOMMU group of a device this way.
    ///
    /// # Errors
    /// [`Reason::Malformed`] when the path is not a link; otherwise the kernel's error.
    pub fn link_name(&self, path: &str) -> Result<Option<String>, ReadError> {
        let resolved = self.resolve(path);
        let fail = |reason| ReadError { path: resolved.clone(), reason };
        match fs::read_link(&resolved) {
            Ok(target) => match target.file_name().map(|name| name.to_str()) {
                Some(Some(name)) => Ok(Some(name.to_owned())),
                Some(None) => Err(fail(Reason::NotUtf8)),
                None => Err(fail(Reason::Malformed("a link that names nothing".to_owned()))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(fail(Reason::Malformed("expected a symbolic link".to_owned())))
            }
            Err(error) => Err(fail(reason_of(&error))),
        }
    }

    /// Access of this process to a path, for reading and writing. The result covers permission bits,
    /// read-only mounts and effective ids, but not a container's device rules, which apply only at `open`.
    ///
    /// # Errors
    /// Kernel errors other than denied and missing.
    pub fn access(&self, path: &str) -> Result<Access, ReadError> {
        use rustix::io::Errno;
        let path = self.resolve(path);
        match rustix::fs::accessat(CWD, &path, Wanted::READ_OK | Wanted::WRITE_OK, AtFlags::EACCESS) {
            Ok(()) => Ok(Access::Granted),
            Err(Errno::NOENT) => Ok(Access::Missing),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(Access::Denied),
            Err(errno) => Err(ReadError { path, reason: reason_of(&errno.into()) }),
        }
    }

    /// True when `path` is a symbolic link to exactly `target`. An unreadable path counts as no link.
    pub fn links_to(&self, path: &str, target: &str) -> bool {
        fs::read_link(self.resolve(path)).is_ok_and(|found| found == Path::new(target))
    }

    /// Opens a device file for reading and writing and closes it at once. Only for this machine's own `/`,
    /// and only where opening has no side effect.
    ///
    /// # Errors
    /// Kernel errors other than busy and denied; [`Reason::NotAFile`] below another root.
    pub fn try_open(&self, path: &str) -> Result<Opened, ReadError> {
        use rustix::io::Errno;
        let path = self.resolve(path);
        if !self.is_host() {
            return Err(ReadError { path, reason: Reason::NotAFile });
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, rustix::fs::Mode::empty()) {
            Ok(_) => Ok(Opened::Yes),
            Err(Errno::BUSY) => Ok(Opened::Busy),
            Err(Errno::ACCESS | Errno::PERM) => Ok(Opened::Refused),
            Err(errno) => Err(ReadError { path, reason: reason_of(&errno.into()) }),
        }
    }

    /// A [`Reason::Malformed`] for `path`.
    pub fn malformed(&self, path: &str, what: impl Into<String>) -> ReadError {
        ReadError { path: self.resolve(path), reason: Reason::Malformed(what.into()) }
    }
}

/// The path as shown in the evidence: root included, so that users can inspect it.
pub struct Shown<'a>(pub &'a Root, pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.resolve(self.1).display().fmt(f)
    }
}

fn describe(name: String, metadata: &Metadata) -> File {
    use std::os::linux::fs::MetadataExt;
    let device = metadata.st_dev();
    let id = FileId {
        major: rustix::fs::major(device),
        minor: rustix::fs::minor(device),
        inode: metadata.st_ino(),
    };
    File { name, held_bytes: metadata.st_blocks() * 512, id }
}

#[cfg(test)]
mod tests;
