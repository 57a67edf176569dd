//! `diagnose`: measures a path both ways, and says what is wrong with it.

use std::net::IpAddr;

use clap::Args;
use linerate_logging::terminal::escaped;

use super::Ending;
use linerate_command::diagnosis::DiagnosisArgs;
use linerate_command::safety::SafetyArgs;

use super::args::{DEFAULT_PORT, TokenArgs};
use super::output::{Failure, print_json, print_text, say};
use super::trial::{block_on, stop_at_signals};
use crate::client::Family;
use crate::diagnose::{Plan, run as run_diagnosis, text};
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
    #[command(flatten)]
    measurements: DiagnosisArgs,
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
        let spec = self.measurements.validate().map_err(Failure::usage)?;
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
            spec,
        };
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
        Ok(if diagnosis.has_fault() { Ending::Incomplete } else { Ending::Done })
    })
}
