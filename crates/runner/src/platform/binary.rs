//! Location of the data-plane program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The program's name.
pub const PROGRAM: &str = "linerate-dataplane";
/// Environment variable that gives the program's path.
pub const VARIABLE: &str = "LINERATE_DATAPLANE";

/// The data-plane program was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// Not at the path that the user gave.
    #[error("{said} says {}, and there is no program there", path.display())]
    There {
        /// Option or variable that gave it.
        said: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// In none of the places.
    #[error(
        "{PROGRAM} is neither beside linerate nor in PATH; build it with `cargo build -p {PROGRAM}` or name it with --dataplane PATH or \
         {VARIABLE}"
    )]
    Anywhere,
}

/// Places to look for the program.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Value of `--dataplane`.
    pub option: Option<PathBuf>,
    /// Value of the environment variable.
    pub variable: Option<PathBuf>,
    /// Directory of the `linerate` program.
    pub beside: Option<PathBuf>,
    /// Value of PATH.
    pub path: Option<OsString>,
}

impl Places {
    /// The places of this process.
    pub fn of_process(option: Option<PathBuf>) -> Self {
        Self {
            option,
            variable: std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from),
            beside: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)),
            path: std::env::var_os("PATH"),
        }
    }

    /// Path of the program: the one that the user gave, else beside `linerate`, else in PATH.
    ///
    /// # Errors
    /// When the program is in none of these places.
    pub fn find(&self) -> Result<PathBuf, NotFound> {
        for (said, place) in [("--dataplane", &self.option), (VARIABLE, &self.variable)] {
            if let Some(path) = place {
                // Executing a bare name would look it up in PATH.
                let there =
                    path.is_file().then(|| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
                return there.ok_or_else(|| NotFound::There { said, path: path.clone() });
            }
        }
        let in_path = self.path.iter().flat_map(std::env::split_paths);
        self.beside
            .clone()
            .into_iter()
            .chain(in_path)
            .map(|directory| directory.join(PROGRAM))
            .find(|path| path.is_file())
            .ok_or(NotFound::Anywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_path_comes_first_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let directory = dir.path().join(name);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(PROGRAM), "").unwrap();
            directory
        };
        let (option, variable, beside, path) = (place("a"), place("b"), place("c"), place("d"));
        let mut places = Places {
            option: Some(option.join(PROGRAM)),
            variable: Some(variable.join(PROGRAM)),
            beside: Some(beside.clone()),
            path: Some(path.clone().into_os_string()),
        };
        assert_eq!(places.find().unwrap(), option.join(PROGRAM));
        places.option = None;
        assert_eq!(places.find().unwrap(), variable.join(PROGRAM));
        places.variable = None;
        assert_eq!(places.find().unwrap(), beside.join(PROGRAM));
        places.beside = Some(dir.path().join("nowhere"));
        assert_eq!(places.find().unwrap(), path.join(PROGRAM));
        places.path = None;
        assert!(places.find().unwrap_err().to_string().contains("cargo build -p linerate-dataplane"));
        places.option = Some("/nowhere/x".into());
        assert_eq!(
            places.find().unwrap_err().to_string(),
            "--dataplane says /nowhere/x, and there is no program there"
        );
    }
}
