//! The command line of `tune`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use linerate_hardware::CpuSet;
use linerate_tune::ethtool::{CHANNELS, COALESCE, Group, RINGS};
use linerate_tune::plan::{RpsWish, RssWish, Wanted};

use super::output::Failure;

/// It lasts as long as settings do: until the machine starts again.
const JOURNALS: &str = "/run/linerate/tune";

const EXAMPLES: &str = "\
Examples:
  What is in force, without privilege; everything as JSON:
    linerate-hostplane tune show --interface eth0
    linerate-hostplane tune show --interface eth0 --json
  What would be changed, and from what:
    linerate-hostplane tune apply --interface eth0 --rss off --rps 2-3 --dry-run
  All packets on one queue while a command runs, then as before; the exit code is the command's:
    linerate-hostplane tune apply --interface eth0 --rss off --allow-host-changes -- linerate run kernel.yaml
  Interrupts of the queues on CPUs 2 and 3, flows followed to where they are read, until Ctrl-C:
    linerate-hostplane tune apply --interface eth0 --irq-cpus 2-3 --rps on --rfs 32768 --allow-host-changes
  What a process that was killed has left behind:
    linerate-hostplane tune restore

Exit codes: 0 done, 1 failed or not restored, 2 wrong usage; with a command, the command's own (128 + N when signal N ended it).";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TuneArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show queues, their interrupts and CPUs, RSS, RPS, RFS, XPS, channels, rings, coalescing, governor
    Show(ShowArgs),
    /// Change settings while a command runs, or until interrupted, and restore them
    Apply(Box<ApplyArgs>),
    /// Restore what processes that were killed have left behind
    Restore(RestoreArgs),
}

/// Where old values are kept.
#[derive(Debug, Clone, Args)]
struct JournalArgs {
    /// Directory of the journals with the old values; it must belong to root alone
    #[arg(long, value_name = "DIR", default_value = JOURNALS)]
    journal_dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
struct ShowArgs {
    /// Interface of this network namespace
    #[arg(long, short, value_name = "NAME")]
    interface: String,
    #[command(flatten)]
    journal: JournalArgs,
    /// Print everything as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct RestoreArgs {
    #[command(flatten)]
    journal: JournalArgs,
    /// Remove journals whose settings cannot be restored from here, and leave the settings as they are
    #[arg(long)]
    forget: bool,
    /// Print what was done as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
struct ApplyArgs {
    /// Interface of this network namespace
    #[arg(long, short, value_name = "NAME")]
    interface: String,
    /// Queues among which the device chooses (RSS table): on (all), off (the first), or the first N
    #[arg(long, value_name = "on|off|N")]
    rss: Option<Rss>,
    /// CPUs that process received packets (rps_cpus of all queues): on (all), off (the interrupt's), or these
    #[arg(long, value_name = "on|off|CPUS")]
    rps: Option<Rps>,
    /// Flows that are followed to the CPU that reads them (rps_sock_flow_entries, rps_flow_cnt); a power of two, 0 is off
    #[arg(long, value_name = "N|off")]
    rfs: Option<Rfs>,
    /// A transmit queue for each CPU (xps_cpus), or any
    #[arg(long, value_name = "on|off")]
    xps: Option<Switch>,
    /// CPUs to which the interrupts of the queues are dealt out (smp_affinity)
    #[arg(long, value_name = "CPUS")]
    irq_cpus: Option<CpuSet>,
    /// Number of queues (ethtool -L): N, or by kind, such as combined=4 or rx=2,tx=4
    #[arg(long, value_name = "N|KIND=N")]
    channels: Option<Numbers>,
    /// Descriptors of a ring (ethtool -G): N, or rx=N,tx=N
    #[arg(long, value_name = "N|KIND=N")]
    rings: Option<Numbers>,
    /// Interrupt coalescing (ethtool -C): rx-usecs, rx-frames, tx-usecs, tx-frames, adaptive-rx, adaptive-tx
    #[arg(long, value_name = "NAME=VALUE")]
    coalesce: Option<Numbers>,
    /// Frequency governor of all CPUs, such as performance
    #[arg(long, value_name = "NAME")]
    governor: Option<String>,
    /// I may change settings of this host, for all who use it
    #[arg(long)]
    allow_host_changes: bool,
    /// Move interrupts though irqbalance runs and will move them again
    #[arg(long)]
    with_irqbalance: bool,
    /// Go on when a setting did not take
    #[arg(long)]
    allow_partial: bool,
    /// Print what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    journal: JournalArgs,
    /// Print what was applied, and what was restored, each as one JSON object on a line of standard output
    #[arg(long)]
    json: bool,
    /// Nothing on standard error but warnings
    #[arg(long, short)]
    quiet: bool,
    /// Restore also when standard input ends: for a program that holds settings through a pipe, which ends with it
    #[arg(long, conflicts_with = "command")]
    until_eof: bool,
    /// What is run meanwhile [default: wait for Ctrl-C or SIGTERM]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A validated command.
#[derive(Debug)]
pub(super) enum TuneCommand {
    Show { interface: String, journals: PathBuf, json: bool },
    Apply(Box<Apply>),
    Restore { journals: PathBuf, forget: bool, json: bool },
}

#[derive(Debug)]
pub(super) struct Apply {
    pub(super) interface: String,
    pub(super) wanted: Wanted,
    pub(super) with_irqbalance: bool,
    pub(super) allow_partial: bool,
    pub(super) dry_run: bool,
    pub(super) journals: PathBuf,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) until_eof: bool,
    pub(super) command: Vec<OsString>,
}

impl TuneArgs {
    /// True when the output is JSON.
    pub(super) fn is_json(&self) -> bool {
        match &self.action {
            Action::Show(args) => args.json,
            Action::Apply(args) => args.json,
            Action::Restore(args) => args.json,
        }
    }

    pub(super) fn validate(&self) -> Result<TuneCommand, Failure> {
        Ok(match &self.action {
            Action::Show(ShowArgs { interface, journal, json }) => TuneCommand::Show {
                interface: interface.clone(),
                journals: journal.journal_dir.clone(),
                json: *json,
            },
            Action::Restore(RestoreArgs { journal, forget, json }) => {
                TuneCommand::Restore { journals: journal.journal_dir.clone(), forget: *forget, json: *json }
            }
            Action::Apply(args) => TuneCommand::Apply(Box::new(args.validate()?)),
        })
    }
}

impl ApplyArgs {
    fn validate(&self) -> Result<Apply, Failure> {
        let wanted = Wanted {
            channels: numbers("--channels", self.channels.as_ref(), &CHANNELS, true)?,
            rings: numbers("--rings", self.rings.as_ref(), &RINGS, true)?,
            coalesce: numbers("--coalesce", self.coalesce.as_ref(), &COALESCE, false)?,
            rss: self.rss.map(|rss| rss.0),
            irq_cpus: self.irq_cpus.clone(),
            xps: self.xps.map(|switch| switch.0),
            rps: self.rps.as_ref().map(|rps| rps.0.clone()),
            rfs: self.rfs.map(|rfs| rfs.0),
            governor: self.governor.clone(),
        };
        if wanted.is_empty() {
            return Err(Failure::usage(
                "nothing is to be changed: give one of --rss, --rps, --rfs, --xps, --irq-cpus, --channels, --rings, --coalesce, --governor",
            ));
        }
        if wanted.governor.as_ref().is_some_and(|name| !name.bytes().all(|c| c.is_ascii_graphic())) {
            return Err(Failure::usage("--governor: give a name such as performance"));
        }
        if !self.allow_host_changes && !self.dry_run {
            return Err(Failure::usage(
                "this changes the host for all who use it: look at it with --dry-run, and allow it with --allow-host-changes",
            ));
        }
        Ok(Apply {
            interface: self.interface.clone(),
            wanted,
            with_irqbalance: self.with_irqbalance,
            allow_partial: self.allow_partial,
            dry_run: self.dry_run,
            journals: self.journal.journal_dir.clone(),
            json: self.json,
            quiet: self.quiet,
            until_eof: self.until_eof,
            command: self.command.clone(),
        })
    }
}

/// The names must be the group's. Without `bare`, each number needs one.
fn numbers(
    option: &str,
    numbers: Option<&Numbers>,
    group: &Group,
    bare: bool,
) -> Result<Option<BTreeMap<String, u32>>, Failure> {
    let Some(Numbers(numbers)) = numbers else { return Ok(None) };
    for (name, value) in numbers {
        let is_known =
            group.names().any(|known| known == name) || (bare && name.is_empty() && numbers.len() == 1);
        let names = || group.names().collect::<Vec<_>>().join(", ");
        if !is_known {
            return Err(Failure::usage(format!(
                "{option} {name}={value}: give NAME=NUMBER, with the names {}",
                names()
            )));
        }
        if bare && *value == 0 && name != "rx" && name != "tx" && name != "combined" {
            return Err(Failure::usage(format!("{option} 0: at least 1")));
        }
    }
    Ok(Some(numbers.clone()))
}

#[derive(Debug, Clone, Copy)]
struct Rss(RssWish);

impl FromStr for Rss {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match (text, text.parse()) {
            ("on", _) => RssWish::On,
            ("off", _) => RssWish::Off,
            (_, Ok(queues)) if queues > 0 => RssWish::Queues(queues),
            _ => return Err(format!("'{text}' is not on, off or a number of queues")),
        }))
    }
}

#[derive(Debug, Clone)]
struct Rps(RpsWish);

impl FromStr for Rps {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "on" => RpsWish::On,
            "off" => RpsWish::Off,
            _ => match text.parse::<CpuSet>() {
                Ok(cpus) if !cpus.is_empty() => RpsWish::Cpus(cpus),
                _ => return Err(format!("'{text}' is not on, off or a list of CPUs such as 0-3,8")),
            },
        }))
    }
}

#[derive(Debug, Clone, Copy)]
struct Rfs(u32);

/// The kernel's limit of `rps_sock_flow_entries`.
const MOST_FLOWS: u32 = 1 << 29;

impl FromStr for Rfs {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("off", _) => Ok(Self(0)),
            (_, Ok(flows)) if flows <= MOST_FLOWS => Ok(Self(flows)),
            _ => Err(format!("'{text}' is not off or a number of flows such as 32768, at most {MOST_FLOWS}")),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Switch(bool);

impl FromStr for Switch {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(format!("'{text}' is not on or off")),
        }
    }
}

/// A number, or numbers by name; on is 1, off 0. The name of a number alone is empty.
#[derive(Debug, Clone)]
struct Numbers(BTreeMap<String, u32>);

impl FromStr for Numbers {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = BTreeMap::new();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or(("", part));
            let value = match value {
                "on" if !name.is_empty() => 1,
                "off" if !name.is_empty() => 0,
                _ => value.parse().map_err(|_| format!("'{part}' is not a number or NAME=NUMBER"))?,
            };
            if numbers.insert(name.to_owned(), value).is_some() {
                return Err(format!("'{text}' says '{part}' twice"));
            }
        }
        Ok(Self(numbers))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::{Cli, Command};
    use super::*;

    fn apply(options: &str) -> Result<Apply, String> {
        let words = format!("linerate-hostplane tune apply --interface eth0 {options}");
        let cli = Cli::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?;
        let Command::Tune(args) = cli.command else { panic!("{words}") };
        match args.validate() {
            Ok(TuneCommand::Apply(apply)) => Ok(*apply),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure.message().to_owned()),
        }
    }

    #[test]
    fn options_become_wishes() {
        let all = apply(
            "--rss 2 --rps 1,3 --rfs 4096 --xps off --irq-cpus 2 --channels 4 --rings rx=512 --coalesce rx-usecs=0,adaptive-rx=off \
             --governor performance --allow-host-changes -- true --json",
        )
        .unwrap();
        let map = |pairs: &[(&str, u32)]| {
            Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<BTreeMap<_, _>>())
        };
        assert_eq!(
            all.wanted,
            Wanted {
                channels: map(&[("", 4)]),
                rings: map(&[("rx", 512)]),
                coalesce: map(&[("rx-usecs", 0), ("adaptive-rx", 0)]),
                rss: Some(RssWish::Queues(2)),
                irq_cpus: Some("2".parse().unwrap()),
                xps: Some(false),
                rps: Some(RpsWish::Cpus("1,3".parse().unwrap())),
                rfs: Some(4096),
                governor: Some("performance".into()),
            }
        );
        assert_eq!((all.command.len(), all.json), (2, false));
        assert_eq!(apply("--rfs off --dry-run").unwrap().wanted.rfs, Some(0));
    }

    #[test]
    fn what_is_not_allowed_or_means_nothing_is_refused() {
        for (options, reason) in [
            ("--rps on", "--allow-host-changes"),
            ("--allow-host-changes", "nothing is to be changed"),
            ("--rss 0 --dry-run", "number of queues"),
            ("--rps 3-1 --dry-run", "list of CPUs"),
            ("--rfs -1 --dry-run", "-1"),
            ("--rfs 4294967295 --dry-run", "at most"),
            ("--xps 3 --dry-run", "on or off"),
            ("--channels other=3 --dry-run", "rx, tx, combined"),
            ("--channels 0 --dry-run", "at least 1"),
            ("--channels 1,rx=2 --dry-run", "NAME=NUMBER"),
            ("--rings rx=1,rx=2 --dry-run", "twice"),
            ("--coalesce 5 --dry-run", "rx-usecs"),
            ("--coalesce pkt-rate-low=5 --dry-run", "rx-usecs"),
        ] {
            let error = apply(options).unwrap_err();
            assert!(error.contains(reason), "{options}: {error}");
        }
    }
}
