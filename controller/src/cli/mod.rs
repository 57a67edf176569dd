//! The command line: commands and exit codes. Results go to standard output, everything else to standard
//! error.

mod comparison_table;
mod config;
mod diagnose;
mod dry_run;
mod engines;
mod grid;
mod http;
mod interrupt;
mod measure_self;
mod metrics;
mod output;
mod planned;
mod pods;
mod profile;
mod progress;
mod results;
mod run;
mod search;
mod search_table;
mod spec_args;
mod streams;
mod table;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use linerate_logging::{LogLevel, LogOptions};
use linerate_metrics::MetricsError;

use self::output::{print, report_error};
use crate::profile::matrix::MatrixError;
use crate::schema::SchemaOf;
use linerate_experiment::ExperimentError;
use linerate_experiment::plan::PlanError;
use linerate_kubernetes::access;
use linerate_report::export::ExportFormat;
use linerate_runner::platform::PlatformError;
use linerate_traffic::environment::EnvironmentError;

/// Default directory of results.
const RESULTS: &str = "results";

const EXAMPLES: &str = "\
Examples:
  Send packets between two processes on this machine and record the results:
    linerate run
  Print the plan of an experiment without running it:
    linerate run experiment.yaml --dry-run
  Generate profiles of three frame sizes and two numbers of flows:
    linerate profile generate --size 64,512,1500 --flows 1,10000 --rate 50
  List the recorded experiments:
    linerate results list

Exit codes: 0 done, 1 failed, 2 wrong usage or document, 3 a rate search has an irregular result, 130 interrupted.";

/// Measures networks with packets (DPDK), streams and HTTP requests: runs the trials of an experiment document and stores exact counts.
#[derive(Debug, Parser)]
#[command(name = "linerate", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an experiment
    Run(Box<RunArgs>),
    /// Generate, list, show, check and import profiles of traffic
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// Print or save the effective experiment document
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Start, list and delete pods that are kept between runs
    #[command(subcommand)]
    Pods(pods::PodsCommand),
    /// Print the Role that suffices to run experiments in a namespace
    #[command(after_help = RBAC_EXAMPLES)]
    Rbac {
        /// The namespace
        #[arg(long, value_name = "NAME", default_value = "default")]
        namespace: String,
        /// The service account that gets the Role
        #[arg(long, value_name = "NAME", default_value = "linerate")]
        service_account: String,
        /// Also a ClusterRole that reads the nodes' free resources, so that shortages are reported before anything is created
        #[arg(long)]
        cluster: bool,
    },
    /// Measure what generator and receiver can do on this host, without a path
    #[command(after_help = measure_self::EXAMPLES)]
    MeasureSelf(measure_self::MeasureSelfArgs),
    /// Say what is wrong with the path between two pods, hosts or processes
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// Try rate searches out on modelled systems
    #[command(subcommand)]
    Search(search::SearchCommand),
    /// List, show, compare, check, export, archive and remove recorded results
    #[command(subcommand)]
    Results(results::ResultsCommand),
    /// Print the JSON Schema of a document
    #[command(after_help = "Example:\n  linerate schema experiment > experiment.schema.json")]
    Schema {
        /// Which document
        #[arg(value_name = "DOCUMENT")]
        of: SchemaOf,
    },
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  linerate completions bash > ~/.local/share/bash-completion/completions/linerate"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

const RBAC_EXAMPLES: &str = "\
Example:
  linerate rbac --namespace lab --cluster | kubectl apply -f -";

const RUN_EXAMPLES: &str = "\
Examples:
  The built-in experiment: two processes, three frame sizes, one flow and ten thousand:
    linerate run
  The highest load without loss, and with at most 0.5 %, instead of loads of your own:
    linerate run --search ndr,pdr
  Only the 64-byte trials, a minute each, for programs to read:
    linerate run experiment.yaml --filter size_64B --duration 60s --json
  Metrics for Prometheus while it runs, and for 30 s more, at http://127.0.0.1:9464/metrics:
    linerate run --metrics 127.0.0.1:9464 --metrics-linger 30s
  Loads, sizes and cores in one command, over packet sockets (root):
    linerate run --engines af_packet --cores 1,2 --size 64,512 --flows 1 --rate 10kpps,100kpps,1mpps
  On existing pods:
    linerate pods create -n 2 --same-node --cpu 4
    linerate run -n 2 --same-node --cpu 4 --pods 1f3c09aa
  The plan and the agents' command lines, without running anything:
    linerate run experiment.yaml --dry-run
  Two pairs of pods with a VF each, without a document:
    linerate run -n 2 --platform kubernetes --cpu 4 --memory 8Gi --hugepages-1Gi 2 --resource intel.com/dpdk=1 --different-nodes

Ctrl-C ends the run and keeps complete trials; a second Ctrl-C exits at once.
Fields of the document: linerate schema experiment, and docs/experiment.md.";

#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
struct RunArgs {
    /// Experiment document (YAML) [default: the built-in first-light.yaml]
    file: Option<PathBuf>,
    /// Print the plan and the agents' command lines or manifests; start and create nothing
    #[arg(long)]
    dry_run: bool,
    /// Continue the latest run of this experiment: complete trials are not run again
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
    /// Run on pods that `linerate pods create` made with the same document and options; they are kept afterwards
    #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
    pods: Option<String>,
    /// I may change settings of this machine, for all who use it, as spec.hostSettings says; they are restored
    #[arg(long)]
    allow_host_changes: bool,
    /// Run only profiles whose name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Also export the results in these formats, as `linerate results export` does
    #[arg(long, value_enum, value_delimiter = ',')]
    format: Vec<ExportFormat>,
    /// The data-plane program [default: LINERATE_DATAPLANE, or linerate-dataplane beside linerate or in PATH]
    #[arg(long, value_name = "PATH")]
    dataplane: Option<PathBuf>,
    /// The program of streams, HTTP and settings of hosts [default: LINERATE_HOSTPLANE, or linerate-hostplane beside linerate or in PATH]
    #[arg(long, value_name = "PATH")]
    hostplane: Option<PathBuf>,
    /// Print JSON: events, one a line, then the summary in the last line; or the plan. With --quiet no events
    #[arg(long)]
    json: bool,
    /// No progress and no events
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    metrics: metrics::MetricsArgs,
    #[command(flatten)]
    spec: spec_args::SpecArgs,
}

/// How a command ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    /// The result exists and records a failure.
    Failed,
    /// The results exist, and that of a rate search is irregular.
    Irregular,
    Interrupted,
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output does not change the exit code.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    cli.log.start(LogLevel::Warn);
    match dispatch(cli.command) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::from(1),
        Ok(Ending::Irregular) => ExitCode::from(3),
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            report_error(&error);
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Ending> {
    match command {
        Command::Run(args) if args.dry_run => dry_run::dry_run(&args)?,
        Command::Run(args) => return run::run(&args),
        Command::Profile(command) => return profile::dispatch(command),
        Command::Config(command) => config::dispatch(&command)?,
        Command::Pods(command) => return pods::dispatch(command),
        Command::Rbac { namespace, service_account, cluster } => {
            print(access::role(&namespace, &service_account, cluster).trim_end())?;
        }
        Command::MeasureSelf(args) => measure_self::measure_self(&args)?,
        Command::Diagnose(args) => return diagnose::run(&args),
        Command::Search(command) => search::dispatch(&command)?,
        Command::Results(command) => return results::dispatch(command),
        Command::Schema { of } => print(of.text()?.trim_end())?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "linerate", &mut script);
            print(String::from_utf8_lossy(&script).trim_end())?;
        }
    }
    Ok(Ending::Done)
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<ExperimentError>()
        || error.is::<EnvironmentError>()
        || error.is::<PlanError>()
        || error.is::<MatrixError>()
        || error.is::<search::SimulateError>()
        || error.is::<diagnose::Usage>()
        || error.is::<metrics::NoMetricsOfHttp>()
        || matches!(error.downcast_ref(), Some(MetricsError::NotLoopback(..)))
        || matches!(error.downcast_ref(), Some(PlatformError::FrameTooLarge { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
