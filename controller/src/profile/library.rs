//! Library of profiles: lists directories and finds profiles by name.

use std::fs;
use std::path::{Path, PathBuf};

use linerate_traffic::profile::Profile;

use super::{EXTENSION, Loaded, ProfileFileError, load};
use linerate_results::store::error::{StoreError, at};

/// Levels of directories below the listed one: pairs, and directories of pairs.
const DEPTH: usize = 3;
/// Similarity (Jaro-Winkler) from which a name is suggested in place of an unknown one.
const ALIKE: f64 = 0.8;
/// Largest number of suggestions.
const OFFERED: usize = 3;

/// A file and its profile.
pub type Entry = (PathBuf, Result<Loaded, ProfileFileError>);

/// Every `.yaml` file in a directory and its subdirectories, sorted by path.
///
/// # Errors
/// When a directory cannot be read.
pub fn list(directory: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut paths = Vec::new();
    collect(directory, DEPTH, &mut paths).map_err(StoreError::in_place)?;
    paths.sort();
    Ok(paths.into_iter().map(|path| (path.clone(), load(&path))).collect())
}

fn collect(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).map_err(at("read", directory))? {
        let entry = entry.map_err(at("read", directory))?;
        let path = entry.path();
        // Unfinished files are hidden as well.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let kind = entry.file_type().map_err(at("read", &path))?;
        if kind.is_dir() && depth > 0 && !hidden {
            collect(&path, depth - 1, paths)?;
        } else if !kind.is_dir() && !hidden && path.extension().is_some_and(|end| end == EXTENSION) {
            paths.push(path);
        }
    }
    Ok(())
}

/// A name without a profile, or with several.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No profile has it.
    #[error("no profile '{name}' in {}{}", directory.display(), offer(near, directory))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The searched directory.
        directory: PathBuf,
        /// Similar names.
        near: Vec<String>,
    },
    /// Different profiles have it.
    #[error("'{name}' is the name of different profiles; give one of the files: {}", shown(files))]
    Several {
        /// The name asked for.
        name: String,
        /// Their files.
        files: Vec<PathBuf>,
    },
    /// The directory cannot be read.
    #[error(transparent)]
    Directory(#[from] StoreError),
    /// The file exists and does not hold a profile.
    #[error(transparent)]
    File(#[from] ProfileFileError),
}

fn offer(near: &[String], directory: &Path) -> String {
    if near.is_empty() {
        format!("; `linerate profile list {}` shows what there is", directory.display())
    } else {
        format!("; did you mean {}?", near.join(", "))
    }
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Finds a profile by the path of its file, or by name: the file's name, the `metadata.name`, or the name
/// derived from its content.
///
/// # Errors
/// When there is none, or several that differ; for an unknown name, with similar names.
pub fn find(name: &str, directory: &Path) -> Result<(PathBuf, Loaded), FindError> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok((path.to_owned(), load(path)?));
    }
    if path.extension().is_some_and(|end| end == EXTENSION) && !directory.is_dir() {
        return Ok((path.to_owned(), load(path)?));
    }
    let entries = list(directory)?;
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for (path, loaded) in entries {
        let theirs = names_of(&path, directory, loaded.as_ref().ok());
        if theirs.iter().any(|theirs| theirs == name) {
            found.push((path, loaded));
        } else {
            names.extend(theirs.into_iter().next());
        }
    }
    let same = |a: &Entry, b: &Entry| matches!((&a.1, &b.1), (Ok(a), Ok(b)) if a.profile == b.profile);
    if let [first, rest @ ..] = &found[..]
        && rest.iter().any(|other| !same(first, other))
    {
        let files = found.into_iter().map(|(path, _)| path).collect();
        return Err(FindError::Several { name: name.to_owned(), files });
    }
    match found.into_iter().next() {
        Some((path, loaded)) => Ok((path, loaded?)),
        None => Err(FindError::Unknown {
            name: name.to_owned(),
            directory: directory.to_owned(),
            near: near(name, names),
        }),
    }
}

/// Names of a profile: the file's name without directory and extension, with directory, and the name in its
/// document.
fn names_of(path: &Path, directory: &Path, loaded: Option<&Loaded>) -> Vec<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let inside = path.strip_prefix(directory).unwrap_or(path).with_extension("").display().to_string();
    let said = loaded.and_then(|loaded| loaded.document.metadata.name.clone());
    let made = loaded.map(|loaded| Profile::name(&loaded.profile));
    [Some(stem), Some(inside), said, made].into_iter().flatten().collect()
}

fn near(name: &str, mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    let mut alike: Vec<(f64, String)> =
        names.into_iter().map(|theirs| (strsim::jaro_winkler(name, &theirs), theirs)).collect();
    alike.retain(|(likeness, _)| *likeness >= ALIKE);
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    alike.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}
