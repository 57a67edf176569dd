//! Values of environment variables.

use std::ffi::OsString;

/// Error: an environment variable cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable}: {reason}")]
pub struct EnvironmentError {
    /// Name of the variable.
    pub variable: &'static str,
    /// The reason.
    pub reason: String,
}

/// The value of a variable as text; `None` when it is not set.
///
/// # Errors
/// When the value is not valid UTF-8. The message leaves the value out, which may be a secret.
pub fn text(variable: &'static str, value: Option<OsString>) -> Result<Option<String>, EnvironmentError> {
    value.map(OsString::into_string).transpose().map_err(|_| EnvironmentError {
        variable,
        reason: "the value is not valid UTF-8; correct it, or unset the variable".to_owned(),
    })
}
