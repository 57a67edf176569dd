//! Profiles in files: read, written, generated, searched.

pub mod headers;
pub mod library;
pub mod matrix;

use std::fs;
use std::path::{Path, PathBuf};

use linerate_traffic::profile::document::LARGEST_DOCUMENT_BYTES;
use linerate_traffic::profile::{Profile, ProfileDocument, ProfileError};
use serde_saphyr::Location;

use linerate_experiment::yaml;
use linerate_results::store::atomic::replace_file;
use linerate_results::store::error::{StoreError, at};

/// Default directory of profiles.
pub const FLOWS: &str = "flows";
/// Extension of profile files.
pub const EXTENSION: &str = "yaml";

/// Why a file holds no valid profile. The message names file, place, field, value, and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileFileError {
    /// The file cannot be read.
    #[error("{}: {reason}; give the path of a profile document", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// The file is too large for a profile.
    #[error("{}: {bytes} bytes are too many for a profile, which has {LARGEST_DOCUMENT_BYTES} at most", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The text does not have the form of a document.
    #[error(
        "{origin}: {}\nrun `linerate schema profile` for all fields and their ranges",
        yaml::excerpt(origin, problem)
    )]
    Form {
        /// The file.
        origin: String,
        /// Line, column, reason and excerpt.
        problem: Box<serde_saphyr::Error>,
    },
    /// Values contradict each other.
    #[error("{origin}{}: spec.{problem}", yaml::line(*location))]
    Content {
        /// The file.
        origin: String,
        /// Place in the file; unknown for defaults.
        location: Location,
        /// Field, value, reason and remedy.
        problem: Box<ProfileError>,
    },
}

impl ProfileFileError {
    /// Line and column of the error.
    pub fn place(&self) -> Option<(u64, u64)> {
        let location = match self {
            Self::Unreadable { .. } | Self::TooLarge { .. } => None,
            Self::Form { problem, .. } => problem.location(),
            Self::Content { location, .. } => Some(*location),
        };
        let known = location.filter(|location| *location != Location::UNKNOWN);
        known.map(|location| (location.line(), location.column()))
    }
}

/// A profile and its document.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The document as written.
    pub document: ProfileDocument,
    /// The profile that it describes.
    pub profile: Profile,
}

/// Reads a profile document from a file.
///
/// # Errors
/// When the file cannot be read or holds no valid profile.
pub fn load(path: &Path) -> Result<Loaded, ProfileFileError> {
    let unreadable = |reason| ProfileFileError::Unreadable { path: path.to_owned(), reason };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > LARGEST_DOCUMENT_BYTES {
        return Err(ProfileFileError::TooLarge { path: path.to_owned(), bytes });
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, &path.display().to_string())
}

/// Parses a profile document. `origin` names it in messages.
///
/// # Errors
/// When the text is not a valid profile.
pub fn parse(text: &str, origin: &str) -> Result<Loaded, ProfileFileError> {
    let document: ProfileDocument = serde_saphyr::from_str(text).map_err(|problem| {
        ProfileFileError::Form { origin: origin.to_owned(), problem: Box::new(problem) }
    })?;
    let profile = document.profile().map_err(|problem| {
        let paths = problem.places().into_iter().map(|place| format!("spec.{place}"));
        let location = yaml::place(text, paths.chain(["spec".to_owned()]));
        ProfileFileError::Content { origin: origin.to_owned(), location, problem: Box::new(problem) }
    })?;
    Ok(Loaded { document, profile })
}

/// The document of a profile, with every default filled in, as YAML.
///
/// # Errors
/// When the YAML writer fails, which is not expected.
pub fn to_yaml(profile: &Profile) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&ProfileDocument::from(profile))
}

/// Why profiles cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The files exist.
    #[error("{}; nothing was written; choose another directory with --out, or replace them with --force", exist(.0))]
    Exists(Vec<PathBuf>),
    /// A file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The document cannot be written as YAML.
    #[error("cannot write YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

fn exist(paths: &[PathBuf]) -> String {
    match paths {
        [path] => format!("{} exists", path.display()),
        [path, rest @ ..] => format!("{} and {} more files exist", path.display(), rest.len()),
        [] => String::new(),
    }
}

/// The file of a profile in a directory.
pub fn file_in(directory: &Path, profile: &Profile) -> PathBuf {
    directory.join(format!("{}.{EXTENSION}", profile.name()))
}

/// Writes each profile to its file, atomically. Without `force`, nothing is written if one of the files
/// exists.
///
/// # Errors
/// When files exist, or cannot be written.
pub fn write(files: &[(PathBuf, &Profile)], force: bool) -> Result<(), WriteError> {
    let exists = |(path, _): &&(PathBuf, &Profile)| path.symlink_metadata().is_ok();
    let existing: Vec<PathBuf> =
        if force { Vec::new() } else { files.iter().filter(exists).map(|(path, _)| path.clone()).collect() };
    if !existing.is_empty() {
        return Err(WriteError::Exists(existing));
    }
    for (path, profile) in files {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let elsewhere = |error: StoreError| error.chosen_by("--out");
        fs::create_dir_all(directory).map_err(at("create", directory)).map_err(elsewhere)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        replace_file(directory, &name, to_yaml(profile)?.as_bytes()).map_err(elsewhere)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
