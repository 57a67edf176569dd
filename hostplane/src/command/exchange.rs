//! `rr` and `crr`: requests and responses on connections that stay, in datagrams, or on a connection each.

use std::net::IpAddr;

use clap::Args;
use linerate_hardware::CpuSet;
use linerate_logging::terminal::escaped;
use linerate_wire::streams::{Load, Protocol, SocketOptions, StreamsSpec};

use super::Ending;
use linerate_command::safety::SafetyArgs;

use super::args::{Bytes, DEFAULT_PORT, Duration, TokenArgs};
use super::output::{Failure, print_json, print_text};
use super::ready::{count, milliseconds};
use super::trial::{block_on, stop_at_signals};
use crate::client::{Family, Request};
use crate::exchange::result::{ExchangeResult, describe};
use crate::exchange::run::{Ends, begin};
use crate::exchange::{ExchangeKind, ExchangeSpec};
use crate::spec::{Directions, TrialSpec};
use crate::streams::socket::Place;

#[derive(Debug, Clone, Args)]
pub(super) struct ExchangeArgs {
    /// Name or address of the server
    host: String,
    /// Port of the server
    #[arg(long, short, value_name = "PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
    #[command(flatten)]
    token: TokenArgs,
    /// Streams, each with a thread of its own, and one request under way unless --rate is given
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1)]
    parallel: u32,
    /// Bytes of a request [default: 1, UDP 16]
    #[arg(long, value_name = "BYTES")]
    request: Option<Bytes>,
    /// Bytes of a response [default: 1, UDP 16]
    #[arg(long, value_name = "BYTES")]
    response: Option<Bytes>,
    /// Requests per second, all streams together: rr sends them whether responses have come or not; a stream of crr makes one connection at a time, and falls behind while one takes longer [default: the next one when the response has come]
    #[arg(long, short = 'b', value_name = "N")]
    rate: Option<f64>,
    /// Time of sending: 10s, 2m, 500ms, or endless: until interrupted
    #[arg(long, short = 't', value_name = "TIME", default_value = "10s")]
    duration: Duration,
    /// CPUs of this end's threads, in turn, such as 2,3 or 4-7
    #[arg(long, value_name = "CPUS")]
    cpus: Option<CpuSet>,
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
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RrArgs {
    #[command(flatten)]
    pub(super) exchange: ExchangeArgs,
    /// In datagrams
    #[arg(long, short)]
    udp: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct CrrArgs {
    #[command(flatten)]
    pub(super) exchange: ExchangeArgs,
    /// This end closes connections first, as HTTP clients often do: each of its ports rests for a minute
    #[arg(long)]
    client_closes: bool,
}

/// A validated trial of requests.
#[derive(Debug)]
pub(super) struct Exchange {
    request: Request,
    spec: ExchangeSpec,
    json: bool,
}

impl RrArgs {
    pub(super) fn validate(&self) -> Result<Exchange, Failure> {
        self.exchange.ready(if self.udp { ExchangeKind::Udp } else { ExchangeKind::Tcp }, false)
    }
}

impl CrrArgs {
    pub(super) fn validate(&self) -> Result<Exchange, Failure> {
        self.exchange.ready(ExchangeKind::Connect, self.client_closes)
    }
}

impl ExchangeArgs {
    fn ready(&self, kind: ExchangeKind, client_closes: bool) -> Result<Exchange, Failure> {
        let least = if kind == ExchangeKind::Udp { crate::exchange::LEAST_DATAGRAM } else { 1 };
        let bytes =
            |option: &str, bytes: Option<Bytes>| bytes.map_or(Ok(least), |bytes| count(option, bytes));
        let duration_ms = match self.duration {
            Duration::For(span) => Some(milliseconds("--duration", span.0)?),
            Duration::Endless => None,
        };
        let spec = ExchangeSpec {
            kind,
            streams: self.parallel,
            request_bytes: bytes("--request", self.request)?,
            response_bytes: bytes("--response", self.response)?,
            per_second: self.rate,
            duration_ms,
            client_closes,
        };
        spec.check().map_err(Failure::usage)?;
        let request = Request {
            host: self.host.trim_matches(['[', ']']).to_owned(),
            port: self.port,
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Family::V4,
                (_, true) => Family::V6,
                _ => Family::Any,
            },
            place: Place { address: self.bind, interface: self.interface.clone() },
            token: self.token.load()?,
            spec: no_streams(),
            ceilings: self.safety.resolve()?,
            cpus: self.cpus.clone(),
        };
        Ok(Exchange { request, spec, json: self.json })
    }
}

/// The streams of a client that has none.
fn no_streams() -> TrialSpec {
    let each = StreamsSpec {
        protocol: Protocol::Tcp,
        streams: 1,
        load: Load::Max,
        duration_ms: None,
        bytes: None,
        block_bytes: 1,
        sockets: SocketOptions::default(),
    };
    TrialSpec { directions: Directions::Forward, interval_ms: 1000, server_cpu: None, each }
}

pub(super) fn run(args: Exchange) -> Result<Ending, Failure> {
    let Exchange { request, spec, json } = args;
    block_on(async move {
        let stop = stop_at_signals()?;
        let trial = begin(&request, spec, Ends::AfterDuration).await?;
        let result = ExchangeResult::of(&trial.finish(stop).await);
        if json {
            print_json(&result)?;
        } else {
            print_text(&escaped(&describe(&result)))?;
        }
        Ok(match (result.complete, result.interrupted && spec.duration_ms.is_some()) {
            (false, _) => Ending::Incomplete,
            (true, true) => Ending::Interrupted,
            (true, false) => Ending::Done,
        })
    })
}
