//! Names and paths inside a results directory. They come from documents, agents and foreign results, so they
//! are parsed before they are used as files.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::{UNFINISHED, is_id};

/// Largest length of a file's name in bytes, on every file system of Linux.
const LONGEST_NAME: usize = 255;
/// Largest length of a path in bytes.
const LONGEST_PATH: usize = 4095;
/// Bytes of the hash that replaces the rest of a name.
const HASH_BYTES: usize = 8;

/// A relative path of plain names below a directory, which cannot lead out of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InnerPath(String);

/// Text that is not a path or name below a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {why}")]
pub struct NotInner {
    /// The text.
    pub text: String,
    /// The reason.
    pub why: &'static str,
}

impl InnerPath {
    /// Parses a path with `/` between its names.
    ///
    /// # Errors
    /// When it is empty, absolute, leads out of the directory, or has a name that Linerate does not give to
    /// files.
    pub fn parse(text: &str) -> Result<Self, NotInner> {
        let wrong = |why| NotInner { text: shortened(text), why };
        if text.len() > LONGEST_PATH {
            return Err(wrong("is too long for a path"));
        }
        if text.starts_with('/') {
            return Err(wrong("is an absolute path, which leaves the experiment's directory"));
        }
        text.split('/').try_for_each(|name| check_name(name).map_err(wrong))?;
        Ok(Self(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories of the path, and the last name.
    pub(super) fn split(&self) -> (Vec<&str>, &str) {
        let mut names: Vec<&str> = self.0.split('/').collect();
        let last = names.pop().unwrap_or_default();
        (names, last)
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("has an empty name in it"),
        "." | ".." => Err("leaves the experiment's directory"),
        _ if name.len() > LONGEST_NAME => Err("has a name of more than 255 bytes in it"),
        _ if name.chars().any(char::is_control) => Err("has control characters in it"),
        _ if name.starts_with(UNFINISHED) => Err("has a name in it that stands for unfinished files"),
        _ => Ok(()),
    }
}

/// Start of a text, long enough to recognise it.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        text.to_owned()
    } else {
        text.chars().take(SHOWN).chain(['…']).collect()
    }
}

/// File name from `stem` and `end`. If both are too long for a name, the stem is cut and a hash of the whole
/// stem is added.
pub fn bounded_name(stem: &str, end: &str) -> String {
    if stem.len() + end.len() <= LONGEST_NAME {
        return format!("{stem}{end}");
    }
    let hash: String =
        Sha256::digest(stem).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let room = LONGEST_NAME.saturating_sub(end.len() + hash.len() + 1);
    let cut = (0..=room).rev().find(|length| stem.is_char_boundary(*length)).unwrap_or(0);
    format!("{}-{hash}{end}", &stem[..cut])
}

/// Deserializes a name of files and directories: of a pair, a profile, an agent, a node.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match check_name(&text) {
        Ok(()) if !text.contains('/') => Ok(text),
        Ok(()) => {
            Err(D::Error::custom(NotInner { text: shortened(&text), why: "has a '/' in it and is no name" }))
        }
        Err(why) => Err(D::Error::custom(NotInner { text: shortened(&text), why })),
    }
}

/// Deserializes an optional name of files and directories.
pub fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Named(#[serde(deserialize_with = "name")] String);
    Ok(Option::<Named>::deserialize(deserializer)?.map(|Named(name)| name))
}

/// Deserializes a path relative to the summary.
pub fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    InnerPath::parse(&text).map(|path| path.0).map_err(D::Error::custom)
}

/// Deserializes an optional path relative to the summary.
pub fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| InnerPath::parse(&text).map(|path| path.0)).transpose().map_err(D::Error::custom)
}

/// Deserializes the id of an experiment.
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_id(&text) {
        return Ok(text);
    }
    Err(D::Error::custom(NotInner { text: shortened(&text), why: "is no id: 8 hexadecimal digits" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_are_paths() {
        for path in
            ["a", "a/b", "tx0-rx0/profile_1_flows_pkt_size_64B_10_rate_s/repeat-2/trial.json", "a b/ü"]
        {
            assert_eq!(InnerPath::parse(path).unwrap().as_str(), path);
        }
        let long = "x".repeat(256);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            "a\x1b[2Jb",
            "a\nb",
            ".part-1-x",
            "a/.part-x",
            &long,
        ] {
            let error = InnerPath::parse(path).unwrap_err().to_string();
            assert!(!error.chars().any(char::is_control), "{error}");
        }
    }

    #[test]
    fn names_of_any_length_become_names_of_files() {
        assert_eq!(bounded_name("a", ".npz"), "a.npz");
        let (one, other) = (format!("{}1", "ü".repeat(200)), format!("{}2", "ü".repeat(200)));
        let (first, second) = (bounded_name(&one, ".npz"), bounded_name(&other, ".npz"));
        assert_ne!(first, second);
        for name in [first, second] {
            assert!(name.len() <= 255 && name.len() > 250 && name.ends_with(".npz"), "{}", name.len());
        }
    }
}
