//! Old values on disk, so that they can be restored whatever becomes of the process that changed them.
//!
//! A journal is written and synced before the first change, and removed when everything is restored. Its name is
//! that of the interface's number and network namespace, as is that of its lock: a lock that is free beside a journal
//! that is there means that its process was killed. Settings do not outlive a start of the machine, so a journal of
//! another boot is discarded. The kernel gives the number of a network namespace that is gone to the next one, but never
//! its cookie.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::place::{Place, Value};
use crate::system::{Interface, read_text};

/// Longest journal: some 100 bytes for each queue, interrupt and CPU, and for each entry of a table.
const MOST_BYTES: u64 = 16 << 20;
const VERSION: u32 = 1;
/// Name of the lock of settings that interfaces share.
const HOST: &str = "host";

/// A journal's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The interface whose settings were changed.
    pub interface: Interface,
    /// Its network namespace, as `/proc/self/ns/net` names it.
    pub namespace: String,
    /// The kernel's cookie of that namespace; `None` before Linux 5.14, and in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_cookie: Option<u64>,
    /// The kernel's id of this start of the machine.
    pub boot_id: String,
    /// Id of the process that changed them.
    pub pid: u32,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// The values before.
    pub before: Vec<(Place, Value)>,
    /// Values of queues and interrupts that were made with another number of queues, before they were changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<(Place, Value)>,
}

/// The directory of journals, and whose this process would write.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    /// The kernel's id of this start of the machine.
    pub boot_id: String,
    /// This process's network namespace.
    pub namespace: String,
    /// The kernel's cookie of it; `None` before Linux 5.14.
    pub namespace_cookie: Option<u64>,
}

/// A lock, free again when it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Programs that are started from now on hold the lock, too: when this process is killed, it is free only after
    /// they have ended.
    pub(crate) fn share(&self) -> io::Result<()> {
        Ok(fcntl_setfd(&self.file, FdFlags::empty())?)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever waits for it looks whether its file is still the one of that name.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// The journals below `directory`, as this process sees the kernel below `root`, in the network namespace of this cookie. Makes nothing.
    ///
    /// # Errors
    /// When the kernel does not tell its boot id or the network namespace.
    pub fn new(root: &Path, directory: &Path, namespace_cookie: Option<u64>) -> Result<Self, Error> {
        let boot_id = read_text(&root.join("proc/sys/kernel/random/boot_id"))?;
        let path = root.join("proc/self/ns/net");
        let namespace = fs::read_link(&path).map_err(Error::file(&path))?;
        let namespace = namespace.display().to_string();
        Ok(Self { directory: directory.to_owned(), boot_id, namespace, namespace_cookie })
    }

    /// True for a journal of this network namespace, or of one with its number that may be this one.
    pub fn is_of_this_namespace(&self, record: &Record) -> bool {
        record.namespace == self.namespace && !self.is_of_its_predecessor(record)
    }

    /// True for a journal of a network namespace that had the number of this one, and is gone.
    pub(crate) fn is_of_its_predecessor(&self, record: &Record) -> bool {
        let cookies = self.namespace_cookie.zip(record.namespace_cookie);
        record.namespace == self.namespace && cookies.is_some_and(|(here, there)| here != there)
    }

    /// True when a journal with the number of this network namespace may be of its predecessor.
    pub(crate) fn may_be_of_its_predecessor(&self, record: &Record) -> bool {
        record.namespace == self.namespace && self.namespace_cookie.zip(record.namespace_cookie).is_none()
    }

    /// Makes the directory. Who could write to it could have any setting changed by root.
    fn make(&self) -> Result<(), Error> {
        let at = |error| Error::file(&self.directory)(error);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.directory).map_err(at)?;
        // A link would lead to where its owner says.
        let found = fs::symlink_metadata(&self.directory).map_err(at)?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0
        {
            return Err(Error::Malformed {
                path: self.directory.clone(),
                reason:
                    "others can write to it, or it is a link: give a directory that belongs to this user alone, by --journal-dir"
                        .to_owned(),
            });
        }
        Ok(())
    }

    fn name(interface: &Interface, namespace: &str) -> String {
        let number: String = namespace.chars().filter(char::is_ascii_digit).collect();
        format!("{number}-{}", interface.ifindex)
    }

    fn journal(&self, interface: &Interface, namespace: &str, cookie: Option<u64>) -> PathBuf {
        let name = Self::name(interface, namespace);
        self.directory.join(match cookie {
            Some(cookie) => format!("{name}-{cookie}.json"),
            None => format!("{name}.json"),
        })
    }

    fn journal_of(&self, record: &Record) -> PathBuf {
        self.journal(&record.interface, &record.namespace, record.namespace_cookie)
    }

    /// Takes the lock of an interface.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it.
    pub fn lock(&self, interface: &Interface) -> Result<Lock, Error> {
        self.lock_file(&Self::name(interface, &self.namespace), &interface.name)
    }

    /// Takes the lock that belongs to a journal.
    ///
    /// # Errors
    /// [`Error::Busy`] when its process is at work.
    pub fn lock_of(&self, record: &Record) -> Result<Lock, Error> {
        self.lock_file(&Self::name(&record.interface, &record.namespace), &record.interface.name)
    }

    /// True when an interface of this network namespace has a journal: its settings are changed.
    pub fn has_journal(&self, interface: &Interface) -> bool {
        let named = |cookie| self.journal(interface, &self.namespace, cookie).exists();
        named(self.namespace_cookie) || named(None)
    }

    /// Takes the lock of settings that interfaces share.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it.
    pub fn lock_host(&self) -> Result<Lock, Error> {
        self.lock_file(HOST, "the whole host")
    }

    fn lock_file(&self, name: &str, of: &str) -> Result<Lock, Error> {
        self.make()?;
        let path = self.directory.join(format!("{name}.lock"));
        let at = |error| Error::file(&path)(error);
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        // A file that its last holder removed meanwhile locks nothing.
        for _ in 0..100 {
            let file = options.open(&path).map_err(at)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Busy(of.to_owned())),
                Err(errno) => return Err(at(errno.into())),
            }
            let own = file.metadata().map_err(at)?;
            if fs::metadata(&path).is_ok_and(|now| now.ino() == own.ino() && now.dev() == own.dev()) {
                return Ok(Lock { path: path.clone(), file });
            }
        }
        Err(Error::Busy(of.to_owned()))
    }

    /// Writes the journal of an interface and syncs it.
    ///
    /// # Errors
    /// When it is not safely on disk.
    pub fn write(&self, interface: &Interface, before: &[(Place, Value)]) -> Result<Record, Error> {
        self.make()?;
        let record = Record {
            version: VERSION,
            interface: interface.clone(),
            namespace: self.namespace.clone(),
            namespace_cookie: self.namespace_cookie,
            boot_id: self.boot_id.clone(),
            pid: std::process::id(),
            unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            before: before.to_vec(),
            made: Vec::new(),
        };
        self.write_again(&record)?;
        Ok(record)
    }

    /// Writes a journal in place of the one of the same interface and syncs it.
    ///
    /// # Errors
    /// When it is not safely on disk; the earlier one stays then.
    pub fn write_again(&self, record: &Record) -> Result<(), Error> {
        let path = self.journal_of(record);
        let fresh = path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&fresh)?;
            file.write_all(&serde_json::to_vec_pretty(record)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        if let Err(error) = written() {
            let _ = fs::remove_file(&fresh);
            return Err(Error::file(&path)(error));
        }
        Ok(())
    }

    /// Removes a journal: everything in it is restored, or is no more.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&self, record: &Record) -> Result<(), Error> {
        let path = self.journal_of(record);
        let removed = || -> io::Result<()> {
            fs::remove_file(&path)?;
            File::open(&self.directory)?.sync_all()
        };
        removed().map_err(Error::file(&path))
    }

    /// Journals that are there, also those of processes that are at work, by name; with the file of a damaged one.
    ///
    /// # Errors
    /// When the directory cannot be read. One that is not there has no journals.
    pub fn journals(&self) -> Result<Vec<Result<Record, Error>>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file(&self.directory)(error)),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| match self.read(path) {
            // Its process has just ended well.
            Err(Error::File { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => None,
            read => Some(read),
        };
        Ok(paths.iter().filter_map(read).collect())
    }

    fn read(&self, path: &Path) -> Result<Record, Error> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let mut text = String::new();
        file.and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)).map_err(Error::file(path))?;
        let malformed = |reason: String| Error::Malformed {
            path: path.to_owned(),
            reason: format!("{reason}; this is no journal of this program: look at it, and remove it"),
        };
        let record: Record = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        match record {
            Record { version, .. } if version != VERSION => {
                Err(malformed(format!("version {version}, where this program writes {VERSION}")))
            }
            record if self.journal_of(&record) != path => {
                Err(malformed("its content is of another interface".to_owned()))
            }
            record => Ok(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tree;

    fn store(root: &Path) -> Store {
        tree::write(root, "proc/sys/kernel/random/boot_id", "b-1\n");
        fs::create_dir_all(root.join("proc/self/ns")).unwrap();
        let _ = std::os::unix::fs::symlink("net:[4026531840]", root.join("proc/self/ns/net"));
        Store::new(root, &root.join("run/tune"), None).unwrap()
    }

    fn interface() -> Interface {
        Interface { name: "eth0".into(), ifindex: 2, mac: "02:00:00:00:00:01".into(), bus_address: None }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_and_gone_when_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert!(store.journals().unwrap().is_empty(), "no directory, no journals");
        let before = vec![
            (Place::Channels, Value::Fields([("combined".to_owned(), 2)].into())),
            (Place::RssTable, Value::Table(vec![0, 1])),
            (Place::IrqAffinity { irq: 41, action: "eth0-TxRx-0".into() }, Value::Cpus("0-1".into())),
            (Place::RpsCpus { queue: 0 }, Value::Cpus("none".into())),
            (Place::RpsSockFlowEntries, Value::Number(0)),
            (Place::Governor { cpu: 0 }, Value::Word("powersave".into())),
        ];
        let record = store.write(&interface(), &before).unwrap();
        let seen: Vec<Record> = store.journals().unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(seen, std::slice::from_ref(&record));
        assert_eq!((seen[0].boot_id.as_str(), &seen[0].before), ("b-1", &before));
        store.remove(&record).unwrap();
        assert!(store.journals().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("run/tune")).unwrap().count(), 0);
    }

    #[test]
    fn damaged_journals_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let record = store.write(&interface(), &[]).unwrap();
        let whole = serde_json::to_string(&record).unwrap();
        for (text, reason) in [
            (String::new(), "no journal of this program"),
            (whole[..whole.len() / 2].to_owned(), "no journal of this program"),
            (whole.replace("\"version\":1", "\"version\":2"), "version 2"),
            (whole.replace("\"ifindex\":2", "\"ifindex\":3"), "of another interface"),
        ] {
            fs::write(dir.path().join("run/tune/4026531840-2.json"), text).unwrap();
            let error = store.journals().unwrap().remove(0).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("4026531840-2.json"), "{error}");
        }
    }

    #[test]
    fn a_lock_is_held_by_one_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let lock = store.lock(&interface()).unwrap();
        assert!(matches!(store.lock(&interface()), Err(Error::Busy(name)) if name == "eth0"));
        let host = store.lock_host().unwrap();
        drop((lock, host));
        drop(store.lock(&interface()).unwrap());
        assert_eq!(fs::read_dir(dir.path().join("run/tune")).unwrap().count(), 0);
    }

    #[test]
    fn a_shared_lock_lasts_as_long_as_a_program_that_was_started_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let lock = store.lock(&interface()).unwrap();
        lock.share().unwrap();
        let mut program = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // As after `kill -9`: nobody removes the file.
        let path = lock.path.clone();
        let aside = path.with_extension("aside");
        fs::rename(&path, &aside).unwrap();
        drop(lock);
        fs::rename(&aside, &path).unwrap();
        assert!(matches!(store.lock(&interface()), Err(Error::Busy(_))));
        program.kill().unwrap();
        program.wait().unwrap();
        drop(store.lock(&interface()).unwrap());
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        fs::create_dir_all(dir.path().join("run/tune")).unwrap();
        fs::set_permissions(dir.path().join("run/tune"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(store.write(&interface(), &[]).unwrap_err().to_string().contains("others can write"));
    }
}
