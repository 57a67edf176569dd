//! Standard output and standard error. Everything that the program prints passes here, and here alone what a terminal would obey is
//! escaped: much of it comes from agents, pods, the API server and results of others.

use std::io::{self, ErrorKind, IsTerminal, Write};

use comfy_table::Table;
use linerate_logging::terminal::escaped;

/// A line on standard output. A reader that has gone away is not our failure.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", escaped(text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A line on standard error, where a failure to write has nowhere to go.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escaped(text));
}

/// Says what went wrong.
pub(super) fn report_error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
}

/// Characters in a line of the terminal that standard output is; `None` when it is none, or does not say.
pub(super) fn width() -> Option<usize> {
    let columns = io::stdout().is_terminal().then(|| Table::new().width()).flatten()?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}
