//! Standard output and standard error. All output of the program passes through this module, which escapes
//! control characters: much of the text comes from agents, pods, the API server and foreign results.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use comfy_table::Table;
use linerate_command::output::{OutputError, write_line};
use linerate_logging::terminal::escaped;

/// Prints a line on standard output. A closed pipe is not an error.
pub(super) fn print(text: &str) -> Result<(), OutputError> {
    write_line(text).map(|_is_read| ())
}

/// Prints a line on standard error; a write error is ignored.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escaped(text));
}

/// A path as text, for output of all forms: what is not UTF-8 in it becomes U+FFFD. JSON has no other form of
/// such a name, and serde refuses to make one.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Prints an error.
pub(super) fn report_error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
}

/// Width of the terminal at standard output in characters; `None` when it is not a terminal, or does not
/// report its width.
pub(super) fn width() -> Option<usize> {
    let columns = io::stdout().is_terminal().then(|| Table::new().width()).flatten()?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}
