//! `linerate-dataplane`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    linerate_dataplane::command::main(std::env::args_os().skip(1).collect())
}
