//! `diagnose`: measures a path both ways, and says what is wrong with it.

use std::net::IpAddr;

use clap::Args;
use hugepage_check::cpu_set::CpuSet;
use linerate_logging::terminal::escaped;
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;
use linerate_wire::streams::{Load, MOST_STREAMS};

use super::Ending;
use linerate_command::safety::SafetyArgs;

use super::args::{Bytes, DEFAULT_PORT, TokenArgs};
use super::output::{Failure, print_json, print_text, say};
use super::ready::{count, milliseconds};
use super::trial::{block_on, stop_at_signals};
use crate::client::Family;
use crate::diagnose::{Plan, Severity, SweepEnds, run as run_diagnosis, text};
use crate::streams::socket::Place;

#[derive(Debug, Clone, Args)]
pub(super) struct DiagnoseArgs {
    /// Name or address of the server
    host: String,
    /// Port of the server
    #[arg(long, short, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
    #[command(flatten)]
    token: TokenArgs,
    /// Time of sending of each measurement; those of single CPUs take half of it
    #[arg(long, short = 't', value_name = "TIME", default_value = "2s")]
    duration: Span,
    /// Load of TCP, such as 100mbps, or max
    #[arg(long, short = 'b', value_name = "RATE", default_value = "max")]
    rate: Rate,
    /// Load of UDP, such as 1gbps or 50kpps [default: 100mbps, or 80 % of what TCP reached]
    #[arg(long, value_name = "RATE")]
    udp_rate: Option<Rate>,
    /// Streams of the measurement with several; 1 leaves it out
    #[arg(long, short = 'P', value_name = "N", default_value_t = 4)]
    parallel: u32,
    /// Send and receive buffer of TCP sockets, to see what the kernel grants [default: the kernel's, which it adapts]
    #[arg(long, short, value_name = "BYTES")]
    window: Option<Bytes>,
    /// Ends whose CPUs are tried one by one
    #[arg(long, value_name = "ENDS", value_enum, default_value = "both")]
    sweep: SweepEnds,
    /// CPUs of this end that are tried, such as 0-7 [default: at most 8, at equal distances]
    #[arg(long, value_name = "CPUS")]
    sweep_cpus: Option<CpuSet>,
    /// Node whose BGP port (TCP 179) must answer, for Calico; may be repeated [default: the server is asked, without a judgement]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    node: Vec<IpAddr>,
    /// Interface that is used
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Local address that is used
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long)]
    ipv6: bool,
    #[command(flatten)]
    safety: SafetyArgs,
    /// Print the diagnosis as one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// No lines of progress
    #[arg(long, short)]
    quiet: bool,
}

/// A validated diagnosis.
#[derive(Debug)]
pub(super) struct Diagnose {
    plan: Plan,
    json: bool,
    quiet: bool,
}

impl DiagnoseArgs {
    pub(super) fn validate(&self) -> Result<Diagnose, Failure> {
        let load = match self.rate {
            Rate::Max => Load::Max,
            Rate::Bps(bps) => Load::BitsPerSecond(bps),
            other => {
                return Err(Failure::usage(format!(
                    "--rate {other}: TCP streams take bits per second, such as 100mbps, or max"
                )));
            }
        };
        let datagrams = match self.udp_rate {
            None => None,
            Some(Rate::Bps(bps)) => Some(Load::BitsPerSecond(bps)),
            Some(Rate::Pps(pps)) => Some(Load::DatagramsPerSecond(pps)),
            Some(other) => {
                return Err(Failure::usage(format!(
                    "--udp-rate {other}: give bits or datagrams per second, such as 1gbps or 50kpps"
                )));
            }
        };
        if !(1..=MOST_STREAMS).contains(&self.parallel) {
            return Err(Failure::usage(format!("--parallel must be 1 to {MOST_STREAMS}")));
        }
        let plan = Plan {
            host: self.host.trim_matches(['[', ']']).to_owned(),
            port: self.port,
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Family::V4,
                (_, true) => Family::V6,
                _ => Family::Any,
            },
            place: Place { address: self.bind, interface: self.interface.clone() },
            token: self.token.load()?,
            ceilings: self.safety.resolve()?,
            duration_ms: milliseconds("--duration", self.duration.0)?,
            load,
            datagrams,
            parallel: self.parallel,
            window_bytes: self.window.map(|window| count("--window", window)).transpose()?,
            sweep: self.sweep,
            sweep_cpus: self.sweep_cpus.clone(),
            nodes: self.node.clone(),
        };
        if plan.window_bytes == Some(0) {
            return Err(Failure::usage("--window must be more than zero"));
        }
        Ok(Diagnose { plan, json: self.json, quiet: self.quiet })
    }
}

pub(super) fn run(args: Diagnose) -> Result<Ending, Failure> {
    let Diagnose { plan, json, quiet } = args;
    block_on(async move {
        let stop = stop_at_signals()?;
        let progress = |step: &str| {
            if !quiet {
                say(step);
            }
        };
        let diagnosis = run_diagnosis(&plan, stop, &progress).await?;
        if json {
            print_json(&diagnosis)?;
        } else {
            print_text(&escaped(&text::diagnosis(&diagnosis)))?;
        }
        let fault = diagnosis.findings.iter().any(|finding| finding.severity == Severity::Fault);
        Ok(if fault { Ending::Incomplete } else { Ending::Done })
    })
}
