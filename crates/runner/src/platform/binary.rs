//! Location of the agents' programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A program that agents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Environment variable that gives its path.
    pub variable: &'static str,
    /// Option that gives its path.
    pub option: &'static str,
}

/// The data plane.
pub const DATAPLANE: Program =
    Program { name: "linerate-dataplane", variable: "LINERATE_DATAPLANE", option: "--dataplane" };
/// The engine of streams.
pub const HOSTPLANE: Program =
    Program { name: "linerate-hostplane", variable: "LINERATE_HOSTPLANE", option: "--hostplane" };

/// The program was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// Not at the path that the user gave.
    #[error("{said} says {}, and there is no program there; correct the path, or leave it out to use the one beside linerate or in PATH", path.display())]
    There {
        /// Option or variable that gave it.
        said: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// In none of the places.
    #[error(
        "{} is neither beside linerate nor in PATH; build it with `cargo build -p {}` or name it with {} PATH or {}",
        .0.name, .0.name, .0.option, .0.variable
    )]
    Anywhere(Program),
}

impl Program {
    /// Path of the program: the one that the user gave, else beside `linerate`, else in PATH.
    ///
    /// # Errors
    /// When the program is in none of these places.
    pub fn find(self, option: Option<PathBuf>) -> Result<PathBuf, NotFound> {
        let places = Places {
            option,
            variable: std::env::var_os(self.variable).filter(|value| !value.is_empty()).map(PathBuf::from),
            beside: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)),
            path: std::env::var_os("PATH"),
        };
        places.find(self)
    }
}

/// Places to look for a program.
#[derive(Debug, Clone, Default)]
struct Places {
    /// Value of the option.
    option: Option<PathBuf>,
    /// Value of the environment variable.
    variable: Option<PathBuf>,
    /// Directory of the `linerate` program.
    beside: Option<PathBuf>,
    /// Value of PATH.
    path: Option<OsString>,
}

impl Places {
    fn find(&self, program: Program) -> Result<PathBuf, NotFound> {
        for (said, place) in [(program.option, &self.option), (program.variable, &self.variable)] {
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
            .map(|directory| directory.join(program.name))
            .find(|path| path.is_file())
            .ok_or(NotFound::Anywhere(program))
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
            std::fs::write(directory.join(DATAPLANE.name), "").unwrap();
            directory
        };
        let (option, variable, beside, path) = (place("a"), place("b"), place("c"), place("d"));
        let mut places = Places {
            option: Some(option.join(DATAPLANE.name)),
            variable: Some(variable.join(DATAPLANE.name)),
            beside: Some(beside.clone()),
            path: Some(path.clone().into_os_string()),
        };
        assert_eq!(places.find(DATAPLANE).unwrap(), option.join(DATAPLANE.name));
        places.option = None;
        assert_eq!(places.find(DATAPLANE).unwrap(), variable.join(DATAPLANE.name));
        places.variable = None;
        assert_eq!(places.find(DATAPLANE).unwrap(), beside.join(DATAPLANE.name));
        places.beside = Some(dir.path().join("nowhere"));
        assert_eq!(places.find(DATAPLANE).unwrap(), path.join(DATAPLANE.name));
        places.path = None;
        assert!(
            places.find(DATAPLANE).unwrap_err().to_string().contains("cargo build -p linerate-dataplane")
        );
        places.option = Some("/nowhere/x".into());
        assert_eq!(
            places.find(DATAPLANE).unwrap_err().to_string(),
            "--dataplane says /nowhere/x, and there is no program there; correct the path, or leave it out to use the one beside linerate or in PATH"
        );
    }
}
