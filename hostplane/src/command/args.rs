//! The command line, as written; [`super::ready`] validates it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub(super) use linerate_command::bytes::Bytes;
pub(super) use linerate_command::diagnosis::DEFAULT_PORT;
use linerate_command::rate::{bit_rate, datagram_rate};
use linerate_command::safety::SafetyArgs;
use linerate_hardware::CpuSet;
use linerate_logging::LogOptions;
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

use super::backend::BackendArgs;
use super::diagnose::DiagnoseArgs;
use super::exchange::{CrrArgs, RrArgs};
use super::http::HttpArgs;
use super::iperf3_args::Iperf3Args;
use super::monitor::MonitorArgs;
use super::tune_args::TuneArgs;

const EXAMPLES: &str = "\
Both ends need the same token of at least 16 characters, in a file that others cannot read, or in LINERATE_TOKEN:
    head -c 24 /dev/urandom | base64 > token; chmod 600 token

Examples:
  A server for any number of clients, reachable from the network:
    linerate-hostplane serve --listen 0.0.0.0 --token-file token
  One TCP stream to it for 10 seconds, as fast as possible:
    linerate-hostplane tcp 10.0.0.2 --token-file token
  From it, on 8 streams that share 2 Gbit/s, for a minute, as JSON:
    linerate-hostplane tcp 10.0.0.2 --reverse --parallel 8 --rate 2gbps --duration 1m --json --token-file token
  50,000 datagrams a second, until interrupted:
    linerate-hostplane udp 10.0.0.2 --rate 50kpps --size 512 --duration endless --token-file token
  Latency under load: 100 requests a second beside a TCP stream:
    linerate-hostplane tcp 10.0.0.2 --probe --token-file token
  What is wrong between this host and another one, in words, with the numbers and what to type:
    linerate-hostplane diagnose 10.0.0.2 --token-file token
  What an interface and its host count, a line a second:
    linerate-hostplane monitor --interface eth0
  How its packets reach CPUs: queues, interrupts, RSS, RPS, RFS, XPS:
    linerate-hostplane tune show --interface eth0
  For clients of iperf3, many at once on one port, from one network:
    linerate-hostplane iperf3 --server --listen 0.0.0.0:5201 --allow 10.0.0.0/8
  Both directions at once on CPUs 2 and 3, with another congestion control:
    linerate-hostplane tcp 10.0.0.2 --bidirectional --cpus 2,3 --congestion cubic --token-file token

Exit codes: 0 done, 1 failed, the account is not complete or a fault was found, 2 wrong usage, 130 interrupted before the trial's end.";

/// Measures through the kernel's sockets: TCP and UDP streams, round trips and HTTP requests; also diagnoses paths, watches hosts and tunes them.
#[derive(Debug, Parser)]
#[command(name = super::PROGRAM, version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) log: LogOptions,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve clients: many at once, on one port
    Serve(ServeArgs),
    /// Send and receive TCP streams with a server
    Tcp(TcpArgs),
    /// Send and receive UDP datagrams with a server
    Udp(UdpArgs),
    /// Send requests and wait for their responses: round-trip times, and how many a second (TCP_RR, UDP_RR)
    Rr(RrArgs),
    /// The same with a TCP connection for each request (TCP_CRR)
    Crr(CrrArgs),
    /// Send HTTP requests to a server or balancer, closed or open loop, and tell what users wait
    Http(Box<HttpArgs>),
    /// Serve HTTP: answer this host's name, and count
    Backend(Box<BackendArgs>),
    /// Measure a path both ways, and say what is wrong with it and what to do
    #[command(visible_alias = "check")]
    Diagnose(Box<DiagnoseArgs>),
    /// Show what an interface and its host count: packets, drops, queues, interrupts, softirqs, CPUs
    Monitor(Box<MonitorArgs>),
    /// Show how an interface's packets reach CPUs, or change it for a while: RSS, RPS, RFS, XPS, queues, interrupts
    Tune(Box<TuneArgs>),
    /// Speak with stock iperf3: serve its clients, or be a client of its servers
    Iperf3(Box<Iperf3Args>),
    /// Wait for the controller's trials
    Agent(AgentArgs),
}

/// The secret that both ends share.
#[derive(Debug, Clone, Args)]
pub(super) struct TokenArgs {
    /// File with the token; without it, the environment variable LINERATE_TOKEN
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListenAddress(pub(super) SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = text.parse::<SocketAddr>().ok();
        let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        whole.or_else(|| bare().map(|ip| SocketAddr::new(ip, DEFAULT_PORT))).map(Self).ok_or_else(|| {
            format!(
                "'{text}' is not an address such as 127.0.0.1, 0.0.0.0:{DEFAULT_PORT} or [::]:{DEFAULT_PORT}"
            )
        })
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    /// Address to listen on, for TCP and UDP; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "127.0.0.1:22023")]
    pub(super) listen: Vec<ListenAddress>,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
    /// CPUs of the workers, one each, such as 2,3 or 4-7 [default: all that this process may use]
    #[arg(long, value_name = "CPUS")]
    pub(super) cpus: Option<CpuSet>,
    /// Most trials at the same time
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(super) max_trials: u32,
    /// End after one trial
    #[arg(long)]
    pub(super) once: bool,
    /// Print each trial's account as one JSON object on a line of standard output, after a line with the addresses
    #[arg(long)]
    pub(super) json: bool,
}

/// Time of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duration {
    For(Span),
    Endless,
}

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "endless" {
            return Ok(Self::Endless);
        }
        text.parse()
            .map(Self::For)
            .map_err(|_| format!("'{text}' is not a duration such as 10s, 2m, 500ms or endless"))
    }
}

/// The form in which failures are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureForm {
    /// On standard error alone.
    Text,
    /// On standard output too, as this program's JSON.
    Json,
    /// On standard output too, as iperf3's JSON.
    Iperf3Json,
}

/// Another program's form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// That of iperf3 --json
    Iperf3Json,
}

/// Requests per second of a probe without an option.
pub(super) const PROBE_RATE: f64 = 100.0;

/// Protocol of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProbeKind {
    Udp,
    Tcp,
}

/// Options of a client that TCP and UDP share.
#[derive(Debug, Clone, Args)]
pub(super) struct TrialArgs {
    /// Name or address of the server
    pub(super) host: String,
    /// Port of the server
    #[arg(long, short, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    pub(super) port: u16,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    /// The server sends
    #[arg(long, short = 'R', conflicts_with = "bidirectional")]
    pub(super) reverse: bool,
    /// Both ends send at the same time, each on streams of its own
    #[arg(long)]
    pub(super) bidirectional: bool,
    /// Streams of each direction
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1)]
    pub(super) parallel: u32,
    /// Time of sending: 10s, 2m, 500ms, or endless: until interrupted [default: 10s, without a limit when --bytes is given]
    #[arg(long, short = 't', value_name = "TIME")]
    pub(super) duration: Option<Duration>,
    /// Send requests beside the streams, and tell the round-trip times without load and under it: udp or tcp
    #[arg(long, value_name = "PROTOCOL", num_args = 0..=1, require_equals = true, default_missing_value = "udp")]
    pub(super) probe: Option<ProbeKind>,
    /// Requests per second of the probe
    #[arg(long, value_name = "N", default_value_t = PROBE_RATE, requires = "probe")]
    pub(super) probe_rate: f64,
    /// Time of the probe without load, before the streams begin
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "probe")]
    pub(super) probe_idle: Span,
    /// Bytes of payload that each direction sends, all streams together: 1500, 10M (powers of 1,000), 1GiB (powers of 1,024)
    #[arg(long, value_name = "BYTES")]
    pub(super) bytes: Option<Bytes>,
    /// CPUs of this end's workers, one each, such as 2,3 or 4-7 [default: as many workers as streams, at most one per CPU]
    #[arg(long, value_name = "CPUS")]
    pub(super) cpus: Option<CpuSet>,
    /// CPU whose worker takes all streams at the server [default: the server's workers take them in turn]
    #[arg(long, value_name = "CPU")]
    pub(super) server_cpu: Option<u32>,
    /// Send and receive buffer of every socket, in bytes, such as 256KiB [default: the kernel's, which it adapts for TCP]
    #[arg(long, short, value_name = "BYTES")]
    pub(super) window: Option<Bytes>,
    /// Differentiated services code point of what is sent, 0 to 63
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=63))]
    pub(super) dscp: Option<u8>,
    /// Interface that the streams use
    #[arg(long, value_name = "NAME")]
    pub(super) interface: Option<String>,
    /// Local address that the streams use
    #[arg(long, value_name = "ADDRESS")]
    pub(super) bind: Option<IpAddr>,
    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(super) ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long)]
    pub(super) ipv6: bool,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Print the result as JSON in another program's form
    #[arg(long = "as", value_name = "FORM", conflicts_with = "json")]
    pub(super) form: Option<Form>,
    /// No lines of progress
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Time between lines of progress, and between samples
    #[arg(long, short, value_name = "TIME", default_value = "1s")]
    pub(super) interval: Span,
}

#[derive(Debug, Clone, Args)]
pub(super) struct TcpArgs {
    #[command(flatten)]
    pub(super) trial: TrialArgs,
    /// Bits of payload per second of each direction, all streams together: 100mbps, 2gbps, or max
    #[arg(long, short = 'b', value_name = "RATE", value_parser = bit_rate, default_value = "max")]
    pub(super) rate: Rate,
    /// Bytes of one write
    #[arg(long, short = 'l', value_name = "BYTES", default_value = "256KiB")]
    pub(super) block: Bytes,
    /// Congestion control of the sender, such as cubic or bbr [default: the host's]
    #[arg(long, short = 'C', value_name = "NAME")]
    pub(super) congestion: Option<String>,
    /// Largest payload of a segment, in bytes
    #[arg(long, short = 'M', value_name = "BYTES", value_parser = clap::value_parser!(u16).range(88..=32_767))]
    pub(super) mss: Option<u16>,
    /// With a rate: the kernel paces each stream as well, which spreads its segments more evenly
    #[arg(long)]
    pub(super) kernel_pacing: bool,
    /// The receiver's kernel discards what arrives instead of copying it to the program: another measurand
    #[arg(long)]
    pub(super) skip_copy: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct UdpArgs {
    #[command(flatten)]
    pub(super) trial: TrialArgs,
    /// Load of each direction, all streams together: bits of payload or datagrams per second, such as 1gbps or 50kpps, or max
    #[arg(long, short = 'b', value_name = "RATE", value_parser = datagram_rate)]
    pub(super) rate: Rate,
    /// Payload of a datagram in bytes, at least 16 [default: what the MTU admits, at most that of Ethernet]
    #[arg(long, short = 'l', value_name = "BYTES")]
    pub(super) size: Option<Bytes>,
    /// Datagrams that the sender's kernel cuts from one call (UDP_SEGMENT); they leave back to back
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) gso: Option<u16>,
    /// The receiver's kernel may deliver several datagrams at once (UDP_GRO)
    #[arg(long)]
    pub(super) gro: bool,
    /// With a rate: the kernel paces each stream as well; it does so only where the interface has the queueing discipline fq
    #[arg(long)]
    pub(super) kernel_pacing: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct AgentArgs {
    /// Loopback address to listen on for the controller; port 0 takes a free one. The addresses are announced as JSON on standard output
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:22022")]
    pub(super) listen: SocketAddr,
    /// Address at which streams of other agents arrive, TCP and UDP; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "127.0.0.1:22023")]
    pub(super) streams: Vec<ListenAddress>,
    /// Answer HTTP requests at ADDRESS with this agent's name, from the start on, and count them in trials; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(super) http: Option<SocketAddr>,
    /// The name in answers to HTTP requests [default: the host's name]
    #[arg(long, value_name = "NAME", requires = "http")]
    pub(super) http_name: Option<String>,
    /// Accept connections at ADDRESS, and close them, while the agent is a backend that is ready: for probes of readiness
    #[arg(long, value_name = "ADDRESS", requires = "http")]
    pub(super) http_ready: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) token: TokenArgs,
    /// Senders stop when their controller is gone for longer; a trial may bring its own time
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(super) orphan: Span,
    /// Serve metrics for Prometheus at http://ADDRESS/metrics; a loopback address
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics: Option<SocketAddr>,
    /// End the agent when no controller has been there for this long
    #[arg(long, value_name = "TIME")]
    pub(super) exit_when_orphaned: Option<Span>,
    /// CPUs of the workers, one each, such as 2,3 or 4-7 [default: all that this process may use]
    #[arg(long, value_name = "CPUS")]
    pub(super) cpus: Option<CpuSet>,
    /// Most workers. Each has its own CPU if this process may use no more CPUs than that; else the kernel places them
    #[arg(long, value_name = "COUNT", conflicts_with = "cpus", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) workers: Option<u16>,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
}

impl Command {
    /// The form in which failures are also to be reported on standard output.
    pub(super) fn failure_form(&self) -> FailureForm {
        let own = |json: bool| if json { FailureForm::Json } else { FailureForm::Text };
        let of_trial = |trial: &TrialArgs| match trial.form {
            Some(Form::Iperf3Json) => FailureForm::Iperf3Json,
            None => own(trial.json),
        };
        match self {
            Command::Serve(args) => own(args.json),
            Command::Tcp(args) => of_trial(&args.trial),
            Command::Udp(args) => of_trial(&args.trial),
            Command::Rr(args) => own(args.exchange.json),
            Command::Crr(args) => own(args.exchange.json),
            Command::Http(args) => own(args.json),
            Command::Backend(args) => own(args.json),
            Command::Diagnose(args) => own(args.json),
            Command::Monitor(args) => own(args.is_json()),
            Command::Tune(args) => own(args.is_json()),
            Command::Iperf3(args) if args.json => FailureForm::Iperf3Json,
            Command::Iperf3(_) => FailureForm::Text,
            Command::Agent(_) => FailureForm::Json,
        }
    }
}
