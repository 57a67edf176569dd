//! Files that are read again and again, and what they counted between two readings.

use std::fs::File;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::NotKnown;
use crate::clock::monotonic_ns;
use crate::procfs::Content;

/// Room for a file at first.
const FIRST_ROOM: usize = 16 << 10;
/// Longest file: `/proc/interrupts` of a large machine has some 2 MiB.
const MOST_BYTES: usize = 8 << 20;

/// A file whose descriptor stays open: the kernel makes its content anew for each reading from its start.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
    file: Option<File>,
}

impl KeptFile {
    /// A file that will be opened at its first reading.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file into `buffer`, whose memory is used again.
    ///
    /// # Errors
    /// The reason; an empty file is one. The next reading opens the file again.
    pub fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], NotKnown> {
        let result = self.fill(buffer);
        if result.is_err() {
            self.file = None;
        }
        let length = result?;
        match buffer.get(..length) {
            Some(bytes) if !bytes.trim_ascii().is_empty() => Ok(bytes),
            _ => Err(NotKnown::Empty { path: self.path.clone() }),
        }
    }

    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<usize, NotKnown> {
        let unreadable = |error: &std::io::Error| NotKnown::unreadable(&self.path, error);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path).map_err(|error| unreadable(&error))?),
        };
        let mut length = 0;
        loop {
            if length == buffer.len() {
                if length >= MOST_BYTES {
                    return Err(NotKnown::Malformed { path: self.path.clone(), reason: "larger than 8 MiB" });
                }
                buffer.resize((2 * length).max(FIRST_ROOM), 0);
            }
            match file.read_at(buffer.get_mut(length..).unwrap_or_default(), length as u64) {
                Ok(0) => return Ok(length),
                Ok(read) => length += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
    }
}

/// Content at an instant.
#[derive(Debug, Clone)]
pub struct Reading<T> {
    /// Instant on the raw monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// The content, or why it is not known.
    pub value: Result<T, NotKnown>,
}

impl<T> Reading<T> {
    fn none() -> Self {
        Self { at_ns: 0, value: Err(NotKnown::NotRead) }
    }
}

/// Two readings, and the time between them.
#[derive(Debug)]
pub struct Span<'a, T> {
    /// The earlier reading.
    pub then: &'a T,
    /// The later one.
    pub now: &'a T,
    /// Seconds between them, as they passed.
    pub elapsed_s: f64,
}

impl<T> Clone for Span<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

// It has references only, whatever T is.
impl<T> Copy for Span<'_, T> {}

/// A source, its last reading, and an earlier one to which it is compared.
#[derive(Debug)]
pub struct Series<T> {
    base: Reading<T>,
    now: Reading<T>,
}

impl<T: Clone> Default for Series<T> {
    fn default() -> Self {
        Self { base: Reading::none(), now: Reading::none() }
    }
}

impl<T: Clone> Series<T> {
    /// Adds a reading taken now, and returns the one before.
    pub fn add(&mut self, value: Result<T, NotKnown>) -> Result<T, NotKnown> {
        self.now.at_ns = monotonic_ns();
        mem::replace(&mut self.now.value, value)
    }

    /// The last reading.
    ///
    /// # Errors
    /// Why there is none.
    pub fn last(&self) -> Result<&T, &NotKnown> {
        self.now.value.as_ref()
    }

    /// Compares later readings to the last one.
    pub fn rebase(&mut self) {
        self.base.at_ns = self.now.at_ns;
        match (&mut self.base.value, &self.now.value) {
            (Ok(base), Ok(now)) => base.clone_from(now),
            (base, now) => *base = now.clone(),
        }
    }

    /// The last reading and the one that it is compared to.
    ///
    /// # Errors
    /// Why one of them is not known.
    pub fn span(&self) -> Result<Span<'_, T>, &NotKnown> {
        let now = self.now.value.as_ref()?;
        let then = self.base.value.as_ref()?;
        let elapsed_s = self.now.at_ns.saturating_sub(self.base.at_ns) as f64 / 1e9;
        if elapsed_s > 0.0 { Ok(Span { then, now, elapsed_s }) } else { Err(&NotKnown::NotRead) }
    }
}

/// A file below `/proc` and its readings.
#[derive(Debug)]
pub struct Source<T> {
    file: KeptFile,
    spare: T,
    series: Series<T>,
}

impl<T: Content> Source<T> {
    /// The file below `root`.
    pub fn new(root: &Path) -> Self {
        Self { file: KeptFile::new(root.join(T::PATH)), spare: T::default(), series: Series::default() }
    }

    /// Reads the file.
    pub fn read(&mut self, buffer: &mut Vec<u8>) {
        let mut content = mem::take(&mut self.spare);
        let read = self.file.read(buffer).and_then(|bytes| {
            content
                .parse(bytes, self.series.last().ok())
                .map_err(|reason| NotKnown::Malformed { path: self.file.path().to_owned(), reason })
        });
        if let Ok(used) = self.series.add(read.map(|()| content)) {
            self.spare = used;
        }
    }

    /// The readings.
    pub fn series(&self) -> &Series<T> {
        &self.series
    }

    /// See [`Series::rebase`].
    pub fn rebase(&mut self) {
        self.series.rebase();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::procfs::softnet::Softnet;

    #[test]
    fn differences_come_from_two_readings_and_gaps_from_reasons() {
        let tree = tempfile::tempdir().unwrap();
        let mut source: Source<Softnet> = Source::new(tree.path());
        let mut buffer = Vec::new();
        assert_eq!(source.series().span().unwrap_err(), &NotKnown::NotRead);
        source.read(&mut buffer);
        let reason = source.series().last().unwrap_err().to_string();
        assert!(reason.contains("softnet_stat: No such file"), "{reason}");
        let path = tree.path().join(Softnet::PATH);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let write = |text: &str| fs::write(&path, text).unwrap();

        write("a 1 0 0 0 0 0 0 0 0\n");
        source.read(&mut buffer);
        source.rebase();
        assert!(source.series().span().is_err(), "one reading has no difference");
        write("10 1 3 0 0 0 0 0 0 0\n");
        source.read(&mut buffer);
        let span = source.series().span().unwrap();
        assert_eq!(span.now.since(span.then).unwrap().totals(), (6, 0, 3));
        assert!(span.elapsed_s > 0.0);

        write("\n");
        source.read(&mut buffer);
        let reason = source.series().span().unwrap_err().to_string();
        assert!(reason.ends_with("empty, as container runtimes mask it"), "{reason}");
        write("x\n");
        source.read(&mut buffer);
        assert!(source.series().span().unwrap_err().to_string().contains("expected a line of nine"));
        write("10 1 4 0 0 0 0 0 0 0\n");
        source.read(&mut buffer);
        let span = source.series().span().unwrap();
        assert_eq!(span.now.since(span.then).unwrap().totals(), (6, 0, 4), "known again, from the same base");
    }

    #[test]
    fn large_files_are_read_whole() {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("large");
        let text = "x".repeat(3 * FIRST_ROOM + 7);
        fs::write(&path, &text).unwrap();
        let mut buffer = Vec::new();
        let mut file = KeptFile::new(path);
        for _ in 0..2 {
            assert_eq!(file.read(&mut buffer).unwrap().len(), text.len());
        }
    }
}
