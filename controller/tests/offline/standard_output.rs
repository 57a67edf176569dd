//! Standard output that cannot be written, and one that nobody reads.

use std::fs::File;
use std::io::pipe;
use std::process::{Command, Output, Stdio};

fn results_list(to: impl Into<Stdio>) -> Output {
    let results = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_linerate"))
        .args(["results", "list", "--results"])
        .arg(results.path())
        .stdout(to)
        .output()
        .unwrap()
}

#[test]
fn a_full_standard_output_is_named_with_a_remedy() {
    let output = results_list(File::options().write(true).open("/dev/full").unwrap());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.starts_with("error: cannot write to standard output: No space left on device"),
        "{message}"
    );
    assert!(message.contains("; free some space, or "), "{message}");
}

#[test]
fn a_pipe_that_nobody_reads_ends_a_command_quietly() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = results_list(writer);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
