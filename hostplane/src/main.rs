//! `linerate-hostplane`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    linerate_hostplane::command::main(std::env::args_os())
}
