//! `http`: requests to a server or balancer, closed or open loop.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration as Time;

use clap::{Args, ValueEnum};
use linerate_agent::host::monotonic_ns;
use linerate_command::safety::SafetyArgs;
use linerate_hardware::CpuSet;
use linerate_http::request::{MOST_BODY_BYTES, Parts, Request, header};
use linerate_http::response::NamedBy;
use linerate_http::target::Target;
use linerate_http::tls::session::RECORD_BYTES;
use linerate_logging::terminal::escaped;
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::StageRates;
use linerate_traffic::safety::{Ceilings, PacketLoad};
use linerate_traffic::span::Span;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Ending;
use super::args::{Bytes, Duration};
use super::output::{Failure, print_json, print_text, say};
use super::ready::milliseconds;
use super::tls::ClientTlsArgs;
use super::trial::{block_on, stop_at_signals};
use crate::client::{ClientError, Family};
use crate::exchange::connections::ports_words;
use crate::http::outcome::HttpOutcome;
use crate::http::result::{HttpInterval, HttpResult};
use crate::http::spec::{Arrivals, HttpLoad, HttpSpec};
use crate::http::text::{describe, heading, progress};
use crate::http::trial::HttpTrial;
use crate::streams::socket::Place;

/// Time of sending without an option.
const USUAL_DURATION_MS: u64 = 10_000;
/// From the workers' last preparation to the first request.
const LEAD_NS: u64 = 5_000_000;
/// Time by which connections are waited for longer than each of them may take.
const GRACE: Time = Time::from_secs(1);
/// Intervals that a result has at most.
const MOST_INTERVALS: usize = 100_000;
/// Bytes of a request's packet beside its payload: Ethernet, IPv6, TCP with time stamps.
const HEADER_BYTES: f64 = 90.0;
/// Payload of a packet.
const SEGMENT_BYTES: usize = 1428;
/// Packets that make and end a connection, of this end.
const CONNECTION_PACKETS: f64 = 4.0;
/// Packets of this end's part in a handshake of TLS and in its end, and bytes by which a record is longer than
/// its content (TLS 1.2 with an explicit nonce).
const HANDSHAKE_PACKETS: f64 = 5.0;
const RECORD_MORE: usize = 29;

const EXAMPLES: &str = "\
Examples:
  As wrk does: 800 connections, each sends when it was answered:
    linerate-hostplane http -c 800 -t 8 -d 60s http://10.0.0.1:8080/
  What users wait at 50,000 requests a second, whatever the server does:
    linerate-hostplane http -c 800 -t 4 -d 60s --rate 50000 --cpus 2-5 http://10.0.0.1:8080/
  Random arrivals, from 1,000 to 20,000 a second in a minute, then a minute at 20,000:
    linerate-hostplane http -c 400 --arrivals poisson --stages 1000-20000:1m,20000:1m -d 2m http://10.0.0.1/
  Exactly 10,000 requests, each on a connection of its own, as JSON:
    linerate-hostplane http -n 10000 --no-keepalive --json http://10.0.0.1/
  By TLS, with the certificate of the server's own authority:
    linerate-hostplane http -c 64 -d 60s --ca authority.pem https://backend.example:8443/
  By HTTP/2, up to 32 requests on each of 8 connections at the same time:
    linerate-hostplane http -c 8 --http2 --streams 32 -d 60s https://backend.example:8443/

A backend that answers its own name: linerate-hostplane backend --listen 0.0.0.0:8080
Exit codes: 0 done, 1 failed or nothing was answered, 2 wrong usage, 130 interrupted before the end.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HttpArgs {
    /// Where requests go, such as http://10.0.0.1:8080/path
    url: String,
    /// Connections, shared out over the threads
    #[arg(long, short, value_name = "N", default_value_t = 10)]
    connections: u32,
    /// Threads
    #[arg(long, short, value_name = "N", default_value_t = 2)]
    threads: u32,
    /// Time of sending: 10s, 2m, 500ms, or endless: until interrupted [default: 10s, without a limit when --requests is given]
    #[arg(long, short, value_name = "TIME")]
    duration: Option<Duration>,
    /// Requests in all
    #[arg(long, short = 'n', value_name = "N")]
    requests: Option<u64>,
    /// Requests per second, all connections together, whatever they do: an open loop [default: each connection sends when it was answered]
    #[arg(long, short, value_name = "N", conflicts_with = "stages")]
    rate: Option<f64>,
    /// An open loop whose rate changes: RATE:TIME, or FROM-TO:TIME, separated by commas; the last rate goes on
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    stages: Vec<StageArg>,
    /// Times between requests of an open loop
    #[arg(long, value_name = "KIND", default_value = "constant")]
    arrivals: ArrivalsArg,
    /// Start of the random numbers of Poisson arrivals: the same seed, the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Requests that wait at most when all connections of an open loop are busy; further ones are skipped and counted
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    max_pending: u32,
    /// Header of the request, 'Name: value'; may be repeated
    #[arg(long, short = 'H', value_name = "HEADER")]
    header: Vec<String>,
    /// Method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Body of the request, or @FILE
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// Ask by HTTP/2: of an https server as it agrees (ALPN), of another without asking (prior knowledge)
    #[arg(long, conflicts_with_all = ["no_keepalive", "requests_per_connection"])]
    http2: bool,
    /// Requests of a connection at the same time, as far as the server permits
    #[arg(long, value_name = "N", default_value_t = 1, requires = "http2")]
    streams: u32,
    /// A connection for each request
    #[arg(long, conflicts_with = "requests_per_connection")]
    no_keepalive: bool,
    /// Requests after which a connection is closed and another one made
    #[arg(long, value_name = "N")]
    requests_per_connection: Option<u32>,
    /// Longest time from a request's start on its connection to the last byte of its response
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: Span,
    /// Header of the response that names the backend [default: the body, when it is at most 64 bytes of text]
    #[arg(long, value_name = "NAME")]
    backend_header: Option<String>,
    /// Do not count responses by backend
    #[arg(long, conflicts_with = "backend_header")]
    no_backends: bool,
    /// Largest body of a response
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    max_body: Bytes,
    /// CPUs of the threads, one each, such as 2,3 or 4-7. A thread with a CPU of its own waits for the last 50 µs before a request in a loop
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
    tls: ClientTlsArgs,
    #[command(flatten)]
    safety: SafetyArgs,
    /// Time between samples
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ArrivalsArg {
    /// Equal at a steady rate
    Constant,
    /// Exponentially distributed, as of many independent users
    Poisson,
}

/// A stage as written.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StageArg(StageRates);

impl FromStr for StageArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("'{text}' is not a stage such as 5000:30s or 1000-20000:1m");
        let (rates, time) = text.trim().split_once(':').ok_or_else(error)?;
        let (from, to) = rates.split_once('-').unwrap_or((rates, rates));
        let rate = |text: &str| text.trim().parse::<f64>().ok().filter(|rate| *rate >= 0.0);
        let seconds = time.parse::<Span>().map_err(|_| error())?.0.as_secs_f64();
        let (from_per_s, to_per_s) = rate(from).zip(rate(to)).ok_or_else(error)?;
        if seconds <= 0.0 {
            return Err(error());
        }
        Ok(Self(StageRates { from_per_s, to_per_s, seconds }))
    }
}

/// A validated trial. The address is not known yet.
#[derive(Debug)]
pub(super) struct Http {
    target: Target,
    family: Family,
    spec: HttpSpec,
    ceilings: Ceilings,
    interval: Time,
    json: bool,
    quiet: bool,
}

impl HttpArgs {
    pub(super) fn validate(&self) -> Result<Http, Failure> {
        let target: Target = self.url.parse().map_err(usage)?;
        let headers: Vec<(String, String)> =
            self.header.iter().map(|text| header(text)).collect::<Result<_, _>>().map_err(usage)?;
        let keep_alive = !self.no_keepalive && self.requests_per_connection != Some(1);
        let body = self.body()?;
        let parts = Parts {
            method: &self.method,
            headers: &headers,
            body: &body,
            keep_alive,
            user_agent: concat!("linerate/", env!("CARGO_PKG_VERSION")),
        };
        let request = Request::new(&target, &parts).map_err(usage)?;
        let duration_ms = match self.duration {
            Some(Duration::For(span)) => Some(milliseconds("--duration", span.0)?),
            Some(Duration::Endless) => None,
            None if self.requests.is_some() => None,
            None => Some(USUAL_DURATION_MS),
        };
        let spec = HttpSpec {
            request,
            // Replaced when the name is resolved.
            addresses: vec![(std::net::Ipv4Addr::UNSPECIFIED, target.port).into()],
            streams: self.http2.then_some(self.streams),
            tls: self.tls.settings(&target, self.http2)?,
            place: Place { address: self.bind, interface: self.interface.clone() },
            connections: self.connections,
            threads: self.threads,
            cpus: self.cpus.clone(),
            load: self.load(),
            offset_ns: 0,
            duration_ms,
            requests: self.requests,
            requests_per_connection: if keep_alive { self.requests_per_connection } else { Some(1) },
            timeout_ms: milliseconds("--timeout", self.timeout.0)?,
            most_pending: self.max_pending,
            named_by: match (&self.backend_header, self.no_backends) {
                (Some(name), _) => NamedBy::Header(name.clone()),
                (None, true) => NamedBy::Nothing,
                (None, false) => NamedBy::Body,
            },
            most_body_bytes: self.max_body.0,
            most_per_second: None,
        };
        spec.check().map_err(usage)?;
        let interval = Time::from_millis(milliseconds("--interval", self.interval.0)?);
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        };
        let ceilings = self.safety.resolve()?;
        Ok(Http { target, family, spec, ceilings, interval, json: self.json, quiet: self.quiet })
    }

    fn load(&self) -> HttpLoad {
        let stages: Vec<StageRates> = match self.rate {
            Some(rate) => vec![StageRates::steady(rate)],
            None => self.stages.iter().map(|stage| stage.0).collect(),
        };
        if stages.is_empty() {
            return HttpLoad::Closed;
        }
        let arrivals = match self.arrivals {
            ArrivalsArg::Constant => Arrivals::Constant,
            ArrivalsArg::Poisson => Arrivals::Poisson,
        };
        HttpLoad::Open { stages, arrivals, seed: self.seed }
    }

    fn body(&self) -> Result<Vec<u8>, Failure> {
        let Some(text) = &self.body else { return Ok(Vec::new()) };
        let Some(path) = text.strip_prefix('@') else { return Ok(text.clone().into_bytes()) };
        let unreadable = |error: std::io::Error| Failure::usage(format!("--body {text}: {error}"));
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > MOST_BODY_BYTES as u64 {
            return Err(Failure::usage(format!(
                "--body {text}: {bytes} bytes are more than {MOST_BODY_BYTES}"
            )));
        }
        std::fs::read(path).map_err(unreadable)
    }
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::usage(error.to_string())
}

/// Holds a trial to the ceilings, and gives it what they limit.
fn hold(spec: &mut HttpSpec, ceilings: &Ceilings) -> Result<(), Failure> {
    let plain = spec.request.bytes().len();
    let (bytes, each) = match spec.tls {
        Some(_) => {
            (plain + RECORD_MORE * plain.div_ceil(RECORD_BYTES), CONNECTION_PACKETS + HANDSHAKE_PACKETS)
        }
        None => (plain, CONNECTION_PACKETS),
    };
    let of_connection = spec.requests_per_connection.map_or(0.0, |most| each / f64::from(most));
    let packets = bytes.div_ceil(SEGMENT_BYTES) as f64 + of_connection;
    let packet_bytes = bytes.min(SEGMENT_BYTES) as f64 + HEADER_BYTES;
    let rate = match &spec.load {
        HttpLoad::Closed => None,
        HttpLoad::Open { stages, .. } => {
            let peak = StageRates::peak_per_s(stages);
            Some(peak * packets)
        }
    };
    let load = PacketLoad { packets_per_second: rate, packet_bytes };
    let limit = Limit { duration_ms: spec.duration_ms, packets: None };
    for address in &spec.addresses {
        ceilings
            .check_streams(&load, &limit, Some(address.ip()))
            .map_err(|error| Failure::failed(format!("the trial is refused: {error}")))?;
    }
    let most = ceilings.most_packets_per_second(packet_bytes).map_err(Failure::failed)?;
    spec.most_per_second = most.map(|most| most / packets);
    Ok(())
}

pub(super) fn run(args: Http) -> Result<Ending, Failure> {
    block_on(async move {
        let mut stop = stop_at_signals()?;
        let Http { target, family, mut spec, ceilings, interval, json, quiet } = args;
        let mut notes = Vec::new();
        let addresses = resolve(&target, family).await?;
        if addresses.len() > 1 {
            notes.push(format!("{} has {} addresses; the first one was used", target.host, addresses.len()));
        }
        spec.addresses = addresses.into_iter().take(1).collect();
        hold(&mut spec, &ceilings)?;
        let endless = spec.duration_ms.is_none() && spec.requests.is_none();
        let url = target.to_string();
        if !quiet {
            say(&heading(&url, &spec));
        }
        let trial = arm(&spec, &mut stop).await?;
        let (outcome, intervals) = watch(trial, interval, quiet, &mut stop).await;
        if outcome.counters.failed_local > 0 {
            notes.push(ports_words());
        }
        let result = HttpResult::of(url, &spec, outcome, intervals, notes);
        if json {
            print_json(&result)?;
        } else {
            print_text(&escaped(&describe(&result)))?;
        }
        Ok(match (result.complete && result.requests > 0, result.interrupted && !endless) {
            (_, true) => Ending::Interrupted,
            (false, _) => Ending::Incomplete,
            (true, false) => Ending::Done,
        })
    })
}

async fn resolve(target: &Target, family: Family) -> Result<Vec<std::net::SocketAddr>, Failure> {
    let unresolved = |reason: String| ClientError::Unresolved { host: target.host.clone(), reason };
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let found = found.map_err(|error| unresolved(error.to_string()))?;
    let mut addresses: Vec<_> = found.filter(|address| family.admits(address.ip())).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(ClientError::OtherVersion { host: target.host.clone() }.into());
    }
    Ok(addresses)
}

/// Makes the connections.
async fn arm(spec: &HttpSpec, stop: &mut watch::Receiver<bool>) -> Result<HttpTrial, Failure> {
    let trial = HttpTrial::arm(spec.clone())?;
    // Those that take longer are made when a request is due. Workers have their time, too, to tell why.
    let patience = Instant::now() + Time::from_millis(spec.timeout_ms) + GRACE;
    while !trial.is_ready() && Instant::now() < patience {
        tokio::select! {
            () = sleep(Time::from_millis(2)) => {}
            _ = stop.wait_for(|stop| *stop) => return Err(ClientError::Interrupted.into()),
        }
    }
    let counters = trial.sample().counters;
    if counters.connected == 0 && (counters.connect_failures > 0 || !trial.is_ready()) {
        let why = trial.finish_unstarted();
        let remedy = why.as_ref().and_then(|why| why.remedy).unwrap_or(
            "see whether a server listens there, a route leads there, and no firewall drops the port",
        );
        let why = why.map_or_else(|| "no connection was made in time".to_owned(), |why| why.words);
        return Err(Failure::failed(format!("{why}\n  remedy: {remedy}")));
    }
    Ok(trial)
}

/// Starts the trial, and watches it to its end.
async fn watch(
    mut trial: HttpTrial,
    interval: Time,
    quiet: bool,
    stop: &mut watch::Receiver<bool>,
) -> (HttpOutcome, (Vec<HttpInterval>, u64)) {
    let start_ns = monotonic_ns() + LEAD_NS;
    trial.start_at(start_ns);
    let mut before = trial.sample();
    before.at_ns = start_ns;
    let mut intervals = VecDeque::new();
    let mut left_out = 0;
    let mut next = Instant::now() + Time::from_nanos(LEAD_NS) + interval;
    let mut stopped = false;
    while !trial.is_over() {
        let until = next.min(Instant::now() + Time::from_millis(20));
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = stop.wait_for(|stop| *stop), if !stopped => {
                stopped = true;
                trial.stop();
            }
        }
        if Instant::now() >= next && !trial.is_over() {
            let now = trial.sample();
            let one = HttpInterval::between(&before, &now, start_ns);
            if !quiet {
                say(&progress(&one));
            }
            if intervals.len() >= MOST_INTERVALS {
                intervals.pop_front();
                left_out += 1;
            }
            intervals.push_back(one);
            before = now;
            next += interval;
        }
    }
    let last = trial.sample();
    let outcome = trial.finish();
    if last.counters.answered > before.counters.answered || last.counters.failed() > before.counters.failed()
    {
        intervals.push_back(HttpInterval::between(&before, &last, start_ns));
    }
    (outcome, (intervals.into(), left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read() {
        let stage = |text: &str| text.parse::<StageArg>().map(|stage| stage.0);
        assert_eq!(stage("5000:30s"), Ok(StageRates { from_per_s: 5000.0, to_per_s: 5000.0, seconds: 30.0 }));
        assert_eq!(stage("0-2.5:1m"), Ok(StageRates { from_per_s: 0.0, to_per_s: 2.5, seconds: 60.0 }));
        for wrong in ["5000", "x:1s", "1-2-3:1s", "1:0s", "-1:1s", "1:"] {
            assert!(stage(wrong).unwrap_err().contains(wrong));
        }
    }
}
