//! The command line of `iperf3`, as written.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::{ArgGroup, Args};
use linerate_command::rate::bit_rate;
use linerate_command::safety::SafetyArgs;
use linerate_hardware::CpuSet;
use linerate_iperf3::PORT;
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

use super::args::{Bytes, Duration, TokenArgs, TrialArgs};

const EXAMPLES: &str = "\
The names of options are iperf3's, the units this program's: 100mbps, 10s, 1MiB. --rate is that of a direction, all streams together.

Examples:
  A server for iperf3's clients, many at once on one port; those of one network may have it send, at most 1 Gbit/s:
    linerate-hostplane iperf3 --server --listen 0.0.0.0:5201 --allow 10.0.0.0/8 --max-rate 1gbps --max-duration 10m
  Where iperf3 -c 10.0.0.2 -P 4 -t 10 was typed:
    linerate-hostplane iperf3 -c 10.0.0.2 -P 4 -t 10s
  UDP from a server of iperf3, with the result in the form of iperf3 --json:
    linerate-hostplane iperf3 -c 10.0.0.2 -u -R -b 100mbps --json

Exit codes: 0 done, 1 failed or the account is not complete, 2 wrong usage, 130 interrupted before the test's end.";

/// An address to listen on, with iperf3's port when it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Iperf3Address(pub(super) SocketAddr);

impl FromStr for Iperf3Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = text.parse::<SocketAddr>().ok();
        let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let address = whole.or_else(|| bare().map(|ip| SocketAddr::new(ip, PORT)));
        address.map(Self).ok_or_else(|| {
            format!("'{text}' is not an address such as 127.0.0.1, 0.0.0.0:{PORT} or [::]:{PORT}")
        })
    }
}

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("role").required(true).args(["server", "client"]))]
pub(super) struct Iperf3Args {
    /// Serve clients of iperf3: many at once, on one port
    #[arg(long, short = 's')]
    pub(super) server: bool,
    /// Be a client of the iperf3 server on this host, a name or an address
    #[arg(long, short = 'c', value_name = "HOST")]
    pub(super) client: Option<String>,
    /// Server: address to listen on, for TCP and UDP; port 0 takes a free one; may be repeated
    #[arg(
        long,
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:5201",
        conflicts_with = "client"
    )]
    pub(super) listen: Vec<Iperf3Address>,
    /// Server: most tests at the same time
    #[arg(long, value_name = "N", default_value_t = 64, conflicts_with = "client")]
    pub(super) max_tests: u32,
    /// Server: most streams of a test in each direction
    #[arg(long, value_name = "N", default_value_t = 128, conflicts_with = "client")]
    pub(super) max_streams: u32,
    /// Server: end after one test
    #[arg(long, short = '1', visible_alias = "one-off", conflicts_with = "client")]
    pub(super) once: bool,
    /// Client: port of the server [default: 5201]
    #[arg(long, short, value_name = "PORT", conflicts_with = "server")]
    pub(super) port: Option<u16>,
    /// Client: UDP instead of TCP; needs --rate
    #[arg(long, short = 'u', conflicts_with = "server")]
    pub(super) udp: bool,
    /// Client: the server sends
    #[arg(long, short = 'R', conflicts_with_all = ["bidirectional", "server"])]
    pub(super) reverse: bool,
    /// Client: both ends send at the same time
    #[arg(long, visible_alias = "bidir", conflicts_with = "server")]
    pub(super) bidirectional: bool,
    /// Client: streams of each direction
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1, conflicts_with = "server")]
    pub(super) parallel: u32,
    /// Client: load of each direction, all streams together: 100mbps, with UDP also 10kpps, or max [default: max for TCP]
    #[arg(long, short = 'b', visible_alias = "bitrate", value_name = "RATE", value_parser = bit_rate, conflicts_with = "server")]
    pub(super) rate: Option<Rate>,
    /// Client: time of sending: 10s, 2m, or endless: until interrupted [default: 10s, without a limit when --bytes is given]
    #[arg(long, short = 't', visible_alias = "time", value_name = "TIME", conflicts_with = "server")]
    pub(super) duration: Option<Duration>,
    /// Client: bytes of payload that each direction sends, all streams together
    #[arg(long, short = 'n', value_name = "BYTES", conflicts_with = "server")]
    pub(super) bytes: Option<Bytes>,
    /// Client: bytes of one write, or payload of a datagram [default: 128KiB, or what the MTU admits]
    #[arg(long, short = 'l', value_name = "BYTES", conflicts_with = "server")]
    pub(super) length: Option<Bytes>,
    /// Client: send and receive buffer of every socket at both ends
    #[arg(long, short, value_name = "BYTES", conflicts_with = "server")]
    pub(super) window: Option<Bytes>,
    /// Client: largest payload of a TCP segment
    #[arg(long, short = 'M', visible_alias = "set-mss", value_name = "BYTES", value_parser = clap::value_parser!(u16).range(88..=32_767), conflicts_with = "server")]
    pub(super) mss: Option<u16>,
    /// Client: congestion control of the sender
    #[arg(long, short = 'C', value_name = "NAME", conflicts_with = "server")]
    pub(super) congestion: Option<String>,
    /// Client: differentiated services code point of what is sent, 0 to 63
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=63), conflicts_with = "server")]
    pub(super) dscp: Option<u8>,
    /// Client: interface that the streams use
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub(super) interface: Option<String>,
    /// Client: local address that the streams use
    #[arg(long, short = 'B', value_name = "ADDRESS", conflicts_with = "server")]
    pub(super) bind: Option<IpAddr>,
    /// Client: use IPv4 only
    #[arg(short = '4', long, conflicts_with_all = ["ipv6", "server"])]
    pub(super) ipv4: bool,
    /// Client: use IPv6 only
    #[arg(short = '6', long, conflicts_with = "server")]
    pub(super) ipv6: bool,
    /// Client: time between lines of progress, and between samples
    #[arg(long, short, value_name = "TIME", default_value = "1s", conflicts_with = "server")]
    pub(super) interval: Span,
    /// Client: no lines of progress
    #[arg(long, short, conflicts_with = "server")]
    pub(super) quiet: bool,
    /// CPUs of the workers, one each, such as 2,3 or 4-7
    #[arg(long, value_name = "CPUS")]
    pub(super) cpus: Option<CpuSet>,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
    /// Print results in the form of iperf3 --json, with all that this program knows in the field linerate; a server prints a line with its
    /// addresses first, and one line per test
    #[arg(long, short = 'J')]
    pub(super) json: bool,
}

impl Iperf3Args {
    /// What a client shares with other trials.
    pub(super) fn trial(&self) -> TrialArgs {
        TrialArgs {
            host: self.client.clone().unwrap_or_default(),
            port: self.port.unwrap_or(PORT),
            token: TokenArgs { token_file: None },
            reverse: self.reverse,
            bidirectional: self.bidirectional,
            parallel: self.parallel,
            duration: self.duration,
            bytes: self.bytes,
            cpus: self.cpus.clone(),
            window: self.window,
            dscp: self.dscp,
            interface: self.interface.clone(),
            bind: self.bind,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            safety: self.safety.clone(),
            json: self.json,
            quiet: self.quiet,
            interval: self.interval,
            server_cpu: None,
            probe: None,
            probe_rate: super::args::PROBE_RATE,
            probe_idle: self.interval,
            form: None,
        }
    }
}
