//! The secret that authenticates a controller.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use linerate_traffic::environment::{self, EnvironmentError};
use linerate_wire::message::{SHORTEST_TOKEN_BYTES, TOKEN_VARIABLE};
use subtle::ConstantTimeEq;

/// A shared secret. It is compared in constant time and never printed.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Error: no usable token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Neither a file nor the variable is given.
    #[error(
        "no token: give --token-file FILE or set {TOKEN_VARIABLE}; an agent accepts no controller without one"
    )]
    Missing,
    /// The file cannot be read.
    #[error("token file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Other users may read the file.
    #[error("token file {path} can be read by other users (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The variable's value cannot be read.
    #[error(transparent)]
    Variable(#[from] EnvironmentError),
    /// Too short to be a secret.
    #[error("the token from {origin} has {bytes} bytes; at least {SHORTEST_TOKEN_BYTES} are needed")]
    TooShort {
        /// File or variable that holds the token.
        origin: String,
        /// Its length.
        bytes: usize,
    },
}

impl Token {
    /// Reads the token from the file, or without one from the environment's value.
    ///
    /// # Errors
    /// When there is no token, the file is unreadable or exposed to other users, the value is not text, or the
    /// token is too short.
    pub fn load(file: Option<&Path>, variable: Option<OsString>) -> Result<Self, TokenError> {
        let (text, origin) = match file {
            Some(path) => {
                let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
                let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
                // A pod's group may read a mounted Kubernetes secret; other users must not.
                if mode & 0o007 != 0 {
                    return Err(TokenError::Exposed { path: path.to_owned(), mode });
                }
                (fs::read_to_string(path).map_err(unreadable)?, path.display().to_string())
            }
            None => {
                let value = environment::text(TOKEN_VARIABLE, variable)?.ok_or(TokenError::Missing)?;
                (value, TOKEN_VARIABLE.to_owned())
            }
        };
        let token = text.trim().to_owned();
        if token.len() < SHORTEST_TOKEN_BYTES {
            return Err(TokenError::TooShort { origin, bytes: token.len() });
        }
        Ok(Self(token))
    }

    /// The secret's bytes, for computing a proof that one knows it. They must not be printed.
    pub fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Compares in a time that depends only on the lengths.
    pub fn matches(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn tokens_come_from_a_private_file_or_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();

        set_mode(0o644);
        let exposed = Token::load(Some(&path), None).unwrap_err().to_string();
        assert!(exposed.contains("chmod 600"), "{exposed}");
        set_mode(0o600);
        let token = Token::load(Some(&path), None).unwrap();
        assert!(token.matches("0123456789abcdef"));
        assert!(
            !token.matches("0123456789abcdeF") && !token.matches("") && !token.matches("0123456789abcdef0")
        );
        assert!(!format!("{token:?}").contains("0123"));

        assert!(Token::load(None, Some("fedcba9876543210".into())).unwrap().matches("fedcba9876543210"));
        assert!(matches!(Token::load(None, None), Err(TokenError::Missing)));
        assert!(matches!(
            Token::load(None, Some("short".into())),
            Err(TokenError::TooShort { bytes: 5, .. })
        ));
        let secret = OsString::from_vec(b"0123456789abcdef\xff".to_vec());
        let unreadable = Token::load(None, Some(secret.clone())).unwrap_err().to_string();
        assert!(unreadable.contains(TOKEN_VARIABLE) && !unreadable.contains("0123"), "{unreadable}");
        assert!(Token::load(Some(&path), Some(secret)).is_ok(), "the file counts");
        let gone = Token::load(Some(&dir.path().join("absent")), None).unwrap_err().to_string();
        assert!(gone.contains("absent"), "{gone}");
    }
}
