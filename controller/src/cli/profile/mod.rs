//! `profile`: generates, lists, validates and imports profiles.

mod generate;
mod import;
mod look;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{
    FlowMode, FrameSizes, MAX_BURST_PACKETS, MAX_FLOWS, Payload, Protocol, Vlan,
};
use linerate_traffic::rate::Rate;

use super::Ending;
use crate::profile::{FLOWS, matrix};

#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// Write a matrix of profiles: every frame size with every number of flows, rate and flow mode
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Box<GenerateArgs>),
    /// List the profiles of a directory and its subdirectories
    #[command(
        after_help = "Examples:\n  linerate profile list\n  linerate profile list flows/tx0-rx0 --json"
    )]
    List {
        /// Directory of the profiles
        #[arg(value_name = "DIR", default_value = FLOWS)]
        directory: PathBuf,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a profile with its defaults filled in, and the headers of its first and last flow
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Name of a profile, or path of its file
        #[arg(value_name = "NAME|FILE")]
        profile: String,
        /// Directory in which names are looked up
        #[arg(long = "dir", value_name = "DIR", default_value = FLOWS)]
        directory: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check profile documents; the exit code is 1 when any is wrong
    #[command(after_help = "Example:\n  linerate profile validate flows/*/*.yaml")]
    Validate {
        /// Profile documents (YAML)
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make profiles from Pktgen Lua scripts
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  The default matrix, 15 profiles, into flows/tx0-rx0:
    linerate profile generate
  Three rates, three sizes, two numbers of flows that differ in both addresses:
    linerate profile generate --rate 10,50,100 --size 64,512,1500 --flows 1,10000 --flow-mode sd
  A mix of sizes beside single ones, in packets per second, tagged, for two pairs:
    linerate profile generate --size 66:7,594:4,1518:1 --size 66,1518 --rate 1mpps --vlan 7 --pair tx0-rx0,tx1-rx1

All fields of profiles: docs/profile.md.";

const SHOW_EXAMPLES: &str = "\
Examples:
  linerate profile show profile_100_flows_pkt_size_64B_100_rate_s
  linerate profile show tx0-rx0/profile_100_flows_pkt_size_64B_100_rate_s
  linerate profile show my-profile.yaml --json";

const IMPORT_EXAMPLES: &str = "\
Examples:
  Print the profiles of a script:
    linerate profile import old.lua
  All scripts of a pair, as documents:
    linerate profile import flows/tx0-rx0/*.lua --out flows/tx0-rx0

A script runs without access to files, processes or the network, and with limits on memory and time.
Calls that do not affect traffic are left out and listed; settings that profiles lack are noted; traffic that
profiles cannot express is an error that names call and line.";

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Intended loads: a percentage of line rate (10 or 10%), packets (1mpps) or bits (2gbps) per second, max
    #[arg(long, value_name = "RATE,…", default_value = matrix::RATES, value_parser = rates)]
    rate: Vec<Several<Rate>>,
    /// Frame sizes with check sequence, a profile for each; or one mix: imix, 64:7,594:4,1518:1, genome:aag. May be repeated
    #[arg(long, value_name = "SIZE,…", default_value = matrix::SIZES, value_parser = sizes)]
    size: Vec<Several<FrameSizes>>,
    /// Numbers of flows
    #[arg(long, value_name = "N,…", default_value = matrix::FLOWS, value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    flows: Vec<u32>,
    /// Fields that differ between flows: s, d, sd, sp, dp, spd, sdpp, sdpd
    #[arg(long, value_name = "MODE,…", default_value = "s", value_delimiter = ',')]
    flow_mode: Vec<FlowMode>,
    /// Source address of the first flow [default: 192.168.1.1]
    #[arg(long, value_name = "IP")]
    src_ip: Option<IpAddr>,
    /// Destination address of the first flow [default: 192.168.2.1]
    #[arg(long, value_name = "IP")]
    dst_ip: Option<IpAddr>,
    /// Source port of the first flow [default: 1024]
    #[arg(long, value_name = "PORT")]
    src_port: Option<u16>,
    /// Destination port of the first flow [default: 1024]
    #[arg(long, value_name = "PORT")]
    dst_port: Option<u16>,
    /// Ethernet source address [default: the port's own]
    #[arg(long, value_name = "MAC")]
    src_mac: Option<MacAddr>,
    /// Ethernet destination address [default: the peer's]
    #[arg(long, value_name = "MAC")]
    dst_mac: Option<MacAddr>,
    /// Transport protocol: udp or tcp
    #[arg(long, value_name = "PROTOCOL", default_value = "udp", value_parser = protocol)]
    protocol: Protocol,
    /// VLAN identifier, optionally with a priority: 7, 7:3
    #[arg(long, value_name = "ID[:PRIORITY]", value_parser = vlan)]
    vlan: Option<Vlan>,
    /// Differentiated services code point: 0 to 63
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=63))]
    dscp: u8,
    /// Time to live or hop limit
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..))]
    ttl: u8,
    /// Packets per burst
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BURST_PACKETS)))]
    burst: u32,
    /// Payload: zeros, increment, hex:DIGITS, random:SEED
    #[arg(long, value_name = "PAYLOAD", default_value = "zeros")]
    payload: Payload,
    /// Pairs to write the profiles for, a directory each
    #[arg(long, value_name = "PAIR,…", default_value = "tx0-rx0", value_delimiter = ',', value_parser = pair)]
    pair: Vec<String>,
    /// Parent directory of the pairs' directories
    #[arg(long, value_name = "DIR", default_value = FLOWS)]
    out: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Print the written files as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Pktgen scripts (Lua)
    #[arg(value_name = "FILE.lua", required = true)]
    files: Vec<PathBuf>,
    /// Directory to write documents to, named after their profiles [default: print them]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Lengthen frames that are too short for headers and probe to the shortest possible size
    #[arg(long)]
    grow: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Several values of one argument.
#[derive(Debug, Clone)]
struct Several<T>(Vec<T>);

impl<T> Several<T> {
    fn all(several: Vec<Several<T>>) -> Vec<T> {
        several.into_iter().flat_map(|one| one.0).collect()
    }
}

fn rates(text: &str) -> Result<Several<Rate>, String> {
    matrix::rates(text).map(Several).map_err(|error| error.to_string())
}

fn sizes(text: &str) -> Result<Several<FrameSizes>, String> {
    matrix::sizes(text).map(Several).map_err(|error| error.to_string())
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "udp" => Ok(Protocol::Udp),
        "tcp" => Ok(Protocol::Tcp),
        _ => Err("give udp or tcp".to_owned()),
    }
}

fn vlan(text: &str) -> Result<Vlan, String> {
    let (id, priority) = text.split_once(':').unwrap_or((text, "0"));
    let number = |text: &str, range: std::ops::RangeInclusive<u16>| {
        text.trim().parse().ok().filter(|number| range.contains(number))
    };
    match (number(id, 1..=4094), number(priority, 0..=7)) {
        (Some(id), Some(priority)) => Ok(Vlan { id, priority: priority as u8 }),
        _ => Err("give an identifier of 1 to 4094, with a priority of 0 to 7 if wanted: 7 or 7:3".to_owned()),
    }
}

/// Parses a name that is a single directory below another.
fn pair(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.bytes().all(plain) && !text.is_empty() && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err("give a name such as tx0-rx0: letters, digits, - and _".to_owned())
    }
}

/// Executes a command.
pub(super) fn dispatch(command: ProfileCommand) -> anyhow::Result<Ending> {
    match command {
        ProfileCommand::Generate(args) => generate::generate(*args),
        ProfileCommand::List { directory, json } => look::list(&directory, json),
        ProfileCommand::Show { profile, directory, json } => look::show(&profile, &directory, json),
        ProfileCommand::Validate { files, json } => look::validate(&files, json),
        ProfileCommand::Import(args) => import::import(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        assert_eq!(vlan("7:3").unwrap(), Vlan { id: 7, priority: 3 });
        assert_eq!(vlan("4094").unwrap(), Vlan { id: 4094, priority: 0 });
        for bad in ["0", "4095", "7:8", "x", "7:", "", ":3"] {
            assert!(vlan(bad).unwrap_err().contains("1 to 4094"), "{bad}");
        }
        for bad in ["", "..", "a/b", "/", ".hidden"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
        assert_eq!(pair("tx0-rx0").unwrap(), "tx0-rx0");
    }
}
