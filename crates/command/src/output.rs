//! Results on standard output, everything else on standard error. Control characters of all text are escaped: much
//! of it comes from file names, peers and drivers.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use linerate_logging::terminal::escaped;
use serde::Serialize;
use serde_json::json;

/// Failure of a command.
#[derive(Debug)]
pub struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// A wrong command line or document: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 2 }
    }

    /// A signal before there was anything to report: exit code 130.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 130 }
    }

    /// Any other failure: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), exit_code: 1 }
    }

    /// The reason, with the remedy where there is one.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Exit code of the program.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {reason}; {}", remedy(reason.kind()))]
pub struct OutputError {
    reason: io::Error,
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, or send it to another place",
        _ => "send it to a terminal, a pipe or a file that can be written",
    }
}

/// Prints the reason on standard error, and with `as_json` on standard output too.
pub fn report_failure(failure: &Failure, as_json: bool) {
    say(&format!("error: {}", failure.message));
    if as_json {
        let _ = print_json(&json!({ "error": { "message": failure.message } }));
    }
}

/// Prints a line on standard error.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escaped(text));
}

/// Prints one line of JSON on standard output.
///
/// # Errors
/// When it cannot be written. A closed pipe is not a failure.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)?;
    print_text(&text)
}

/// Prints a line on standard output.
///
/// # Errors
/// When it cannot be written. A closed pipe is not a failure.
pub fn print_text(text: &str) -> Result<(), Failure> {
    print_line(text).map(|_is_read| ())
}

/// The same for output without an end: false when nobody reads it any more.
///
/// # Errors
/// See [`print_text`].
pub fn print_line(text: &str) -> Result<bool, Failure> {
    Ok(write_line(text)?)
}

/// The same with an error of its own type, for commands that do not end with a [`Failure`].
///
/// # Errors
/// See [`print_text`].
pub fn write_line(text: &str) -> Result<bool, OutputError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", escaped(text)).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(reason) => Err(OutputError { reason }),
    }
}
