//! The commands, from command line to exit code.

mod agent;
mod args;
mod backend;
mod diagnose;
mod exchange;
mod http;
mod impossible;
mod iperf3;
mod iperf3_args;
mod monitor;
mod ready;
mod serve;
mod tls;
mod trial;
mod tune;
mod tune_args;
mod tune_run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use linerate_command::output;
use linerate_logging::LogLevel;

use self::args::{Cli, FailureForm};
use self::output::{Failure, print_json, report_failure};
use self::ready::Ready;
use crate::iperf3::form::failed;

/// The program's name.
pub(crate) const PROGRAM: &str = "linerate-hostplane";

/// Outcome of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command completed.
    Done,
    /// A result was printed, and it is not complete, or a diagnosis found a fault.
    Incomplete,
    /// A signal ended a trial that had an end of its own.
    Interrupted,
    /// A command that was run ended with this code.
    Command(u8),
}

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output must not change the exit code.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    cli.log.start(LogLevel::Info);
    match run(&cli) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Incomplete) => ExitCode::FAILURE,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Ok(Ending::Command(code)) => ExitCode::from(code),
        Err(failure) => {
            let form = cli.command.failure_form();
            report_failure(&failure, form == FailureForm::Json);
            if form == FailureForm::Iperf3Json {
                // The reason is on standard error, too.
                let _ = print_json(&failed(failure.message()));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<Ending, Failure> {
    match cli.command.validate()? {
        Ready::Serve(serve) => serve::run(serve),
        Ready::Trial(trial) => trial::run(trial),
        Ready::Exchange(exchange) => exchange::run(*exchange),
        Ready::Backend(backend) => backend::run(*backend),
        Ready::Http(http) => http::run(*http),
        Ready::Diagnose(diagnose) => diagnose::run(*diagnose),
        Ready::Monitor(command) => monitor::run(*command),
        Ready::Tune(command) => tune::run(*command),
        Ready::Iperf3(command) => iperf3::run(*command),
        Ready::Agent(agent) => agent::run(*agent),
    }
}
