//! Golden files: compared with outputs, or recorded.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest part of a line in a message, in characters.
const SHOWN: usize = 300;

/// The folder of golden files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// True when the files are to be recorded.
pub(crate) fn is_recording() -> bool {
    std::env::var_os("LINERATE_RECORD").is_some_and(|value| value == "1")
}

/// A folder of outputs. A file that is no longer generated also counts as a difference.
pub(crate) struct Outputs {
    place: PathBuf,
    checked: BTreeSet<PathBuf>,
    differences: Vec<String>,
}

impl Outputs {
    /// The outputs in `name` below the folder of golden files.
    pub(crate) fn of(name: &str) -> Self {
        let place = folder().join(name);
        if is_recording() {
            let _ = fs::remove_dir_all(&place);
        }
        Self { place, checked: BTreeSet::new(), differences: Vec::new() }
    }

    /// Compares the file `name` with an output.
    pub(crate) fn check(&mut self, name: &str, found: &str) {
        let path = self.place.join(name);
        assert!(self.checked.insert(path.clone()), "{name} is made twice");
        if is_recording() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, found).unwrap();
            return;
        }
        let told = match fs::read_to_string(&path) {
            Ok(golden) if golden == found => return,
            Ok(golden) => difference(&golden, found),
            Err(error) => format!("{error}; found: {}", cut(found)),
        };
        self.differences.push(format!("{}: {told}", path.display()));
    }

    /// Fails with every difference.
    pub(crate) fn end(mut self) {
        for path in files_below(&self.place) {
            if !self.checked.contains(&path) {
                self.differences.push(format!("{}: nothing makes it any more", path.display()));
            }
        }
        assert!(
            self.differences.is_empty(),
            "{}\nIf this is what was intended: LINERATE_RECORD=1 cargo test -p linerate --test golden",
            self.differences.join("\n")
        );
    }
}

/// The first line that differs.
fn difference(golden: &str, found: &str) -> String {
    let (mut golden, mut found) = (golden.split('\n'), found.split('\n'));
    for number in 1.. {
        match (golden.next(), found.next()) {
            (None, None) => break,
            (golden, found) if golden == found => {}
            (golden, found) => {
                let [golden, found] = [golden, found].map(|line| line.unwrap_or("(the end)"));
                let same = golden.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
                // Long lines are shown from shortly before the difference.
                let from = same.saturating_sub(80);
                let [golden, found] =
                    [golden, found].map(|line| cut(&line.chars().skip(from).collect::<String>()).to_owned());
                return format!(
                    "line {number}, character {}:\n  golden: {golden}\n  found:  {found}",
                    same + 1
                );
            }
        }
    }
    "they differ".to_owned()
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(at, _)| &text[..at])
}

/// Every file below a folder, in the order of their paths.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The files of a folder whose names end with `ending`, sorted, each with its name without the ending.
pub(crate) fn inputs(name: &str, ending: &str) -> Vec<(String, PathBuf)> {
    let files = files_below(&folder().join(name));
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
        Some((name, path))
    };
    files.into_iter().filter_map(named).collect()
}

/// Copies a folder recursively.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files_below(from) {
        let copy = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&file, &copy).unwrap();
    }
}
