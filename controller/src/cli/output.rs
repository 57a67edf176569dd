//! Standard output and standard error.

use std::io::{self, ErrorKind, Write};

/// A line on standard output. A reader that has gone away is not our failure.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A line on standard error, where a failure to write has nowhere to go.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong.
pub(super) fn report_error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
}
