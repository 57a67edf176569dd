//! The commands, from command line to exit code.

mod addresses;
mod agent;
mod args;
mod capture_file;
mod environment;
mod flows_file;
mod memif_socket;
mod pair;
mod placement;
mod ports;
mod profile_file;
mod ready;
mod reflect;
mod report;
mod rx;
mod standalone;
mod tx;
mod version;
mod zstd;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use linerate_command::output;
use linerate_logging::LogLevel;
use linerate_logging::terminal::escaped_line;

use self::args::Cli;
use self::output::{Failure, report_failure};
use self::ready::Ready;
use self::report::report_to_starter;
use crate::dpdk::channels::Channels;
use crate::eal_args::{Divided, EalPlan, as_text, divide};

/// The program's name, for EAL and for messages.
pub const PROGRAM: &str = "linerate-dataplane";

/// Name of the command that a controller starts.
const AGENT: &str = "agent";

/// Outcome of a successful command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command completed.
    Done,
    /// A signal interrupted the command.
    Interrupted,
}

/// Runs the program on its arguments, without its name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let Divided { eal, own } = divide(arguments);
    let is_agent = own.iter().any(|word| word == AGENT);
    let cli = match Cli::try_parse_from(std::iter::once(OsString::from(PROGRAM)).chain(own)) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output must not change the exit code.
            let _ = error.print();
            if error.kind() == ErrorKind::DisplayVersion {
                let _ = write!(io::stdout(), "{}", version::drivers());
            }
            if is_agent && error.use_stderr() {
                // The process that started the agent reads the reason for its failure from the
                // agent's standard output.
                report_to_starter(&error.render().to_string());
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    cli.log.start(LogLevel::Info);
    match run(&cli, &eal) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(failure) => {
            report_failure(&failure, cli.command.wants_json());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: &Cli, eal_options: &[OsString]) -> Result<Ending, Failure> {
    // Make all checks that do not need EAL before it starts.
    let eal_options = as_text(eal_options).map_err(|option| {
        Failure::usage(format!(
            "EAL's option '{}' is not valid UTF-8; EAL's options must be",
            escaped_line(&option.to_string_lossy())
        ))
    })?;
    let ready = cli.command.validate()?;
    let queues_of = |interface: &str| Channels::of(interface).map(|channels| channels.combined);
    let plan =
        EalPlan::new(PROGRAM, &placement::complete(&eal_options, &cli.command)?).with_all_queues(queues_of);
    memif_socket::prepare(&plan, &cli.command)?;
    let eal = environment::start(&plan)?;
    match ready {
        Ready::Ports(args) => ports::run(&eal, &args),
        Ready::Tx(args) => tx::run(&eal, args),
        Ready::Rx(args) => rx::run(&eal, args),
        Ready::Pair(args) => pair::run(&eal, args),
        Ready::Reflect(args) => reflect::run(&eal, &args),
        Ready::Agent(args) => agent::run(&eal, &plan, &args),
    }
}
