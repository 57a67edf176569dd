//! `hugepage-check`: reports whether DPDK will work on this machine, and the commands that make it work.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use hugepage_check::check::Report;
use hugepage_check::environment::Environment;
use hugepage_check::report::{Style, render};
use hugepage_check::requirements::{Requirement, Requirements};
use hugepage_check::root::Root;
use hugepage_check::run;

/// Checks whether DPDK will work on this machine, and prints the commands that make it work.
///
/// Reads sysfs and procfs; changes nothing and needs no privileges. Items that are not required can only
/// warn: memif, af_packet and null ports need no IOMMU and no VFIO, and EAL runs without hugepages with
/// --no-huge.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Check the host whose / is mounted at this path
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Fail unless this many megabytes of hugepages are free: in all, or for each NUMA node
    #[arg(long, value_name = "MB[,MB…]")]
    socket_mem: Option<String>,

    /// Number of processes that run at the same time, each with its own --socket-mem
    #[arg(long, value_name = "N")]
    processes: Option<String>,

    /// Fail unless lcores can run on these CPUs, written as for EAL
    #[arg(long, value_name = "LIST")]
    lcores: Option<String>,

    /// Fail unless DPDK can take this PCI device (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    device: Vec<String>,

    /// Fail unless a device plugin assigned devices (variables PCIDEVICE_*) and DPDK can take them: for a container that
    /// prepares a pod
    #[arg(long)]
    assigned_devices: bool,

    /// Fail unless this interface of the Linux stack is up (repeatable)
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,

    /// The same as text: socket-mem=MB, processes=N, lcores=LIST, device=ADDRESS or interface=NAME (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    require: Vec<Requirement>,

    /// Open the VFIO groups of required devices briefly: proves that they are free, but may disturb a process
    /// that starts at the same moment
    #[arg(long)]
    open_groups: bool,

    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,

    /// Show reasons and evidence of passed checks, too
    #[arg(short, long)]
    verbose: bool,

    /// Show only failed checks and their remedies
    #[arg(long, conflicts_with = "verbose")]
    brief: bool,
}

const EXAMPLES: &str = "\
Examples:
  hugepage-check
  hugepage-check --socket-mem 1024                     1024 MB in all
  hugepage-check --socket-mem 1024,1024 --processes 2  twice 1024 MB on NUMA node 0 and on node 1
  hugepage-check --socket-mem 4096 --lcores 1-3 --device 0000:03:02.0 --device 0000:03:02.1
  hugepage-check --interface eth0                      for a trial over the Linux stack
  hugepage-check --root /host --json                   in a container, with the host's / at /host

Exit codes:
  0  nothing failed (there may be warnings)
  1  a check failed, or a required fact is unknown
  2  wrong usage";

const FAILED: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let outcome = Arguments::try_parse().and_then(|arguments| {
        let wanted = understand(&arguments)?;
        Ok((arguments, wanted))
    });
    match outcome {
        Ok((arguments, wanted)) => report(&arguments, &wanted),
        Err(error) => {
            // A failure to print cannot be reported.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

fn understand(arguments: &Arguments) -> Result<Requirements, clap::Error> {
    let usage = |text: String| {
        let mut command = <Arguments as clap::CommandFactory>::command();
        command.error(ErrorKind::ValueValidation, text)
    };
    if !arguments.root.is_dir() {
        return Err(usage(format!("--root {}: not a directory", arguments.root.display())));
    }
    if arguments.open_groups && arguments.root != Path::new("/") {
        return Err(usage("--open-groups opens files of this machine: not together with --root".to_owned()));
    }
    let mut wanted = Requirements { may_open_groups: arguments.open_groups, ..Requirements::default() };
    wanted.assigned_devices = arguments.assigned_devices;
    if arguments.assigned_devices {
        wanted.devices.extend(Environment::of_this_process().devices());
    }
    for requirement in &arguments.require {
        wanted.add(requirement.clone()).map_err(|error| usage(error.to_string()))?;
    }
    let options = [
        ("socket-mem", arguments.socket_mem.as_slice()),
        ("processes", arguments.processes.as_slice()),
        ("lcores", arguments.lcores.as_slice()),
        ("device", &arguments.device),
        ("interface", &arguments.interface),
    ];
    for (key, values) in options {
        for value in values {
            let requirement = format!("{key}={value}").parse::<Requirement>();
            let added = requirement.and_then(|requirement| wanted.add(requirement));
            added.map_err(|error| usage(format!("--{key}: {error}")))?;
        }
    }
    if wanted.processes.is_some() && wanted.socket_mem.is_none() {
        return Err(usage("--processes multiplies --socket-mem: give that, too".to_owned()));
    }
    Ok(wanted)
}

fn report(arguments: &Arguments, wanted: &Requirements) -> ExitCode {
    let report = run(&Root::at(&arguments.root), wanted);
    match write(arguments, &report) {
        // A reader that closes the pipe early, such as head, does not change the exit code.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "hugepage-check: cannot write the report: {error}");
            ExitCode::from(FAILED)
        }
        _ if report.is_satisfied() => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

fn write(arguments: &Arguments, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    } else {
        let style = Style { colour: colour_wanted(), verbose: arguments.verbose, brief: arguments.brief };
        out.write_all(render(report, style).as_bytes())?;
    }
    out.flush()
}

/// True on a terminal with colours, unless NO_COLOR (<https://no-color.org>) is set and not empty.
fn colour_wanted() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
