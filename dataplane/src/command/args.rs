//! Our half of the command line: raw options first, then [`Ready`], which needs no further checks.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use linerate_protocol::frame::FrameSize;
use linerate_protocol::mac::MacAddr;
use linerate_protocol::message::TOKEN_VARIABLE;
use linerate_protocol::profile::{FlowMode, Profile, RawProfile};
use linerate_protocol::rate::Rate;
use linerate_protocol::span::Span;
use linerate_protocol::trial::Limit;

use super::output::Failure;
use super::profile_file;
use crate::agent::token::Token;
use crate::dpdk::port::DEFAULT_MTU;

const EXAMPLES: &str = "\
EAL's options stand before `--`, as in every DPDK program. Unless told otherwise, packet memory leaves no file behind (--in-memory).

Examples:
  What ports are there?
    linerate-dataplane -l 0-1 -a 0000:03:02.0 -- ports --json
  64-byte frames at 1 million packets per second over 10,000 flows, for 10 seconds:
    linerate-dataplane -l 0-1 -a 0000:03:02.0 -- tx --peer-mac 02:00:00:00:00:02 --flows 10000 --flow-mode sd --rate 1mpps --duration 10s
  Count what arrives, on three lcores, until interrupted:
    linerate-dataplane -l 0-3 -a 0000:03:02.1 -- rx
  Without hugepages or a NIC: a virtual port that loops back, on two CPUs
    linerate-dataplane --no-huge --no-pci --lcores 0@0,1@0,2@1 --vdev net_ring0 -- pair --rx-port 0 --duration 2s

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// Sends, receives and counts packets over DPDK.
#[derive(Debug, Parser)]
#[command(
    name = super::PROGRAM,
    bin_name = "linerate-dataplane [EAL options] --",
    version = version(),
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) log: LogOptions,
}

/// Ours, and DPDK's as it is at run time; made once per process.
fn version() -> &'static str {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), crate::dpdk::eal::version()).leak()
}

/// What goes to the log on standard error.
#[derive(Debug, Clone, Args)]
pub(super) struct LogOptions {
    /// Least severe level that is logged
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    pub(super) log_level: LogLevel,
    /// Form of the log
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
}

/// Severity.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        })
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// List the ports: device, driver, address, link, queues, NUMA node
    Ports(PortsArgs),
    /// Send a profile's traffic
    Tx(TxArgs),
    /// Count and examine what arrives
    Rx(RxArgs),
    /// Send on one port and receive on another, in one process
    Pair(PairArgs),
    /// Wait for the controller's trials
    Agent(AgentArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct PortsArgs {
    /// Print one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

/// What to send. Field by field, or from a file.
#[derive(Debug, Clone, Args)]
pub(super) struct ProfileArgs {
    /// Profile document (YAML) instead of the options below
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "flows", "flow_mode", "rate", "src_ip", "dst_ip", "src_port", "dst_port"])]
    profile: Option<PathBuf>,
    /// Frame size in bytes, check sequence included [default: 64]
    #[arg(long, value_name = "BYTES")]
    size: Option<FrameSize>,
    /// Number of flows [default: 1]
    #[arg(long, value_name = "N")]
    flows: Option<u32>,
    /// Fields that differ between flows: s d sd sp dp spd sdpp sdpd (source, destination, ports) [default: s]
    #[arg(long, value_name = "MODE")]
    flow_mode: Option<FlowMode>,
    /// Load: 50%, 1.5mpps, 1000pps, 2gbps or max [default: 100%]
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// First source address [default: 192.168.1.1]
    #[arg(long, value_name = "ADDRESS")]
    src_ip: Option<Ipv4Addr>,
    /// First destination address [default: 192.168.2.1]
    #[arg(long, value_name = "ADDRESS")]
    dst_ip: Option<Ipv4Addr>,
    /// First UDP source port [default: 1024]
    #[arg(long, value_name = "PORT")]
    src_port: Option<u16>,
    /// First UDP destination port [default: 1024]
    #[arg(long, value_name = "PORT")]
    dst_port: Option<u16>,
}

/// When to end.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct LimitArgs {
    /// End after this long: 10s, 2m, 500ms
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// End after this many packets
    #[arg(long, value_name = "N")]
    packets: Option<u64>,
}

/// How progress and results are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ShowArgs {
    /// Print the final report as one JSON object on the last line of standard output
    #[arg(long)]
    pub(super) json: bool,
    /// No progress lines
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Time between progress lines
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
}

#[derive(Debug, Clone, Args)]
pub(super) struct TxArgs {
    /// Port to send on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Ethernet address of the receiver
    #[arg(long, value_name = "MAC")]
    peer_mac: MacAddr,
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    ring: RingArgs,
    /// How long to wait for the link to come up
    #[arg(long, value_name = "TIME", default_value = "10s")]
    link_wait: Span,
    /// How long the port stays open after the last packet, so that what is queued can leave
    #[arg(long, value_name = "TIME", default_value = "200ms")]
    linger: Span,
    #[command(flatten)]
    show: ShowArgs,
}

/// Queues of a port.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct RingArgs {
    /// Descriptors per transmit queue
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(super) txd: u16,
    /// Descriptors per receive queue
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(super) rxd: u16,
    /// Receive queues [default: one per worker lcore, as far as the port has them]
    #[arg(long, value_name = "N")]
    pub(super) rxq: Option<u16>,
    /// Largest payload of a frame in bytes: its size less 18
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MTU)]
    pub(super) mtu: u16,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RxArgs {
    /// Port to receive on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    ring: RingArgs,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct PairArgs {
    /// Port to send on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    tx_port: u16,
    /// Port to receive on; may be the same, for a port that loops back
    #[arg(long, value_name = "PORT", default_value_t = 1)]
    rx_port: u16,
    /// Worker lcores that send; the others receive [default: half of them]
    #[arg(long, value_name = "N")]
    tx_lcores: Option<usize>,
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    ring: RingArgs,
    /// How long to wait for the links to come up
    #[arg(long, value_name = "TIME", default_value = "10s")]
    link_wait: Span,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct AgentArgs {
    /// Port to serve
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Loopback address to listen on; port 0 takes a free one. The address is announced as JSON on standard output
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:22022")]
    listen: SocketAddr,
    /// File with the token that a controller must show; without it, the environment variable LINERATE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A transmitter whose controller is gone for longer stops; a trial may bring its own time
    #[arg(long, value_name = "TIME", default_value = "5s")]
    orphan: Span,
    /// End the agent when no controller has been there for this long
    #[arg(long, value_name = "TIME")]
    exit_when_orphaned: Option<Span>,
    #[command(flatten)]
    ring: RingArgs,
}

/// A validated command.
#[derive(Debug)]
pub(super) enum Ready {
    Ports(PortsArgs),
    Tx(Tx),
    Rx(Rx),
    Pair(Pair),
    Agent(Agent),
}

/// What all stand-alone trials have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) interval: Duration,
}

#[derive(Debug)]
pub(super) struct Tx {
    pub(super) port: u16,
    pub(super) peer_mac: MacAddr,
    pub(super) profile: Profile,
    pub(super) limit: Limit,
    pub(super) ring: RingArgs,
    pub(super) link_wait: Duration,
    pub(super) linger: Duration,
    pub(super) show: Show,
}

#[derive(Debug)]
pub(super) struct Rx {
    pub(super) port: u16,
    pub(super) limit: Limit,
    pub(super) ring: RingArgs,
    pub(super) show: Show,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) tx_port: u16,
    pub(super) rx_port: u16,
    pub(super) tx_lcores: Option<usize>,
    pub(super) profile: Profile,
    pub(super) limit: Limit,
    pub(super) ring: RingArgs,
    pub(super) link_wait: Duration,
    pub(super) show: Show,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) port: u16,
    pub(super) listen: SocketAddr,
    pub(super) token: Token,
    pub(super) orphan_ms: u32,
    pub(super) exit_when_orphaned: Option<Duration>,
    pub(super) ring: RingArgs,
}

impl Command {
    /// True when failures, too, are to be reported as JSON on standard output.
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Command::Ports(args) => args.json,
            Command::Tx(args) => args.show.json,
            Command::Rx(args) => args.show.json,
            Command::Pair(args) => args.show.json,
            Command::Agent(_) => true,
        }
    }

    /// Checks all that can be checked without EAL.
    pub(super) fn validate(&self) -> Result<Ready, Failure> {
        Ok(match self.clone() {
            Command::Ports(args) => Ready::Ports(args),
            Command::Tx(args) => {
                if args.peer_mac.is_zero() {
                    return Err(Failure::usage(
                        "--peer-mac 00:00:00:00:00:00 is nobody's address; see `ports` on the receiver",
                    ));
                }
                Ready::Tx(Tx {
                    port: args.port,
                    peer_mac: args.peer_mac,
                    profile: args.profile.resolve()?,
                    limit: args.limit.resolve()?,
                    ring: args.ring.check()?,
                    link_wait: args.link_wait.0,
                    linger: args.linger.0,
                    show: args.show.resolve(),
                })
            }
            Command::Rx(args) => Ready::Rx(Rx {
                port: args.port,
                limit: args.limit.resolve()?,
                ring: args.ring.check()?,
                show: args.show.resolve(),
            }),
            Command::Pair(args) => Ready::Pair(Pair {
                tx_port: args.tx_port,
                rx_port: args.rx_port,
                tx_lcores: args.tx_lcores,
                profile: args.profile.resolve()?,
                limit: args.limit.resolve()?,
                ring: args.ring.check()?,
                link_wait: args.link_wait.0,
                show: args.show.resolve(),
            }),
            Command::Agent(args) => Ready::Agent(Agent {
                port: args.port,
                listen: args.listen,
                token: Token::load(args.token_file.as_deref(), std::env::var(TOKEN_VARIABLE).ok())
                    .map_err(|error| Failure::usage(error.to_string()))?,
                orphan_ms: u32::try_from(args.orphan.0.as_millis()).unwrap_or(u32::MAX).max(100),
                exit_when_orphaned: args.exit_when_orphaned.map(|span| span.0),
                ring: args.ring.check()?,
            }),
        })
    }
}

impl ProfileArgs {
    fn resolve(&self) -> Result<Profile, Failure> {
        if let Some(path) = &self.profile {
            return profile_file::read(path);
        }
        let mut raw = RawProfile { rate: Rate::Percent(100.0), ..RawProfile::default() };
        let Self { size, flows, flow_mode, rate, src_ip, dst_ip, src_port, dst_port, .. } = self;
        raw.frame_size = size.unwrap_or(raw.frame_size);
        raw.flows = flows.unwrap_or(raw.flows);
        raw.flow_mode = flow_mode.unwrap_or(raw.flow_mode);
        raw.rate = rate.unwrap_or(raw.rate);
        raw.source.ip = src_ip.unwrap_or(raw.source.ip);
        raw.destination.ip = dst_ip.unwrap_or(raw.destination.ip);
        raw.source.port = src_port.unwrap_or(raw.source.port);
        raw.destination.port = dst_port.unwrap_or(raw.destination.port);
        raw.try_into().map_err(|error| Failure::usage(format!("profile: {error}")))
    }
}

impl LimitArgs {
    fn resolve(self) -> Result<Limit, Failure> {
        if self.duration.is_some_and(|span| span.0.is_zero()) || self.packets == Some(0) {
            return Err(Failure::usage("--duration and --packets must be more than zero"));
        }
        let duration_ms =
            self.duration.map(|span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX).max(1));
        Ok(Limit { duration_ms, packets: self.packets })
    }
}

impl RingArgs {
    fn check(self) -> Result<Self, Failure> {
        let Self { txd, rxd, rxq, mtu } = self;
        if txd == 0 || rxd == 0 || rxq == Some(0) {
            return Err(Failure::usage("--txd, --rxd and --rxq must be at least 1"));
        }
        if !(68..=9600).contains(&mtu) {
            return Err(Failure::usage(format!("--mtu {mtu} is outside 68…9600")));
        }
        Ok(self)
    }
}

impl ShowArgs {
    fn resolve(self) -> Show {
        Show { json: self.json, quiet: self.quiet, interval: self.interval.0.max(Duration::from_millis(10)) }
    }
}
