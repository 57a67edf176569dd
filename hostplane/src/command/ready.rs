//! Validated commands: the arguments from [`super::args`], checked once.

use std::time::Duration;

use linerate_agent::machine::machine;
use linerate_agent::token::{Token, TokenError};
use linerate_agent::{AgentConfig, OrphanRule};
use linerate_metrics::{Exposure, Listener};
use linerate_traffic::rate::Rate;
use linerate_wire::host::HostInfo;
use linerate_wire::message::TOKEN_VARIABLE;
use linerate_wire::streams::{Load, Protocol, SocketOptions, StreamsSpec};

use super::args::{
    self, AgentArgs, Bytes, Command, ProbeKind, ServeArgs, TcpArgs, TokenArgs, TrialArgs, UdpArgs,
};
use super::backend::Serving;
use super::diagnose::Diagnose;
use super::exchange::Exchange;
use super::http::Http;
use super::impossible;
use super::iperf3::Iperf3;
use super::monitor::MonitorCommand;
use super::output::Failure;
use super::tune_args::TuneCommand;
use crate::client::{Family, Request};
use crate::engine::EngineConfig;
use crate::exchange::ExchangeKind;
use crate::http::backend::BackendConfig;
use crate::server::Config;
use crate::spec::Directions;
use crate::spec::TrialSpec;
use crate::streams::socket::Place;

/// Time of sending without an option.
const USUAL_DURATION_MS: u64 = 10_000;

/// A validated command.
#[derive(Debug)]
pub(super) enum Ready {
    Serve(Serve),
    Trial(Trial),
    Exchange(Box<Exchange>),
    Http(Box<Http>),
    Backend(Box<Serving>),
    Diagnose(Box<Diagnose>),
    Monitor(Box<MonitorCommand>),
    Tune(Box<TuneCommand>),
    Iperf3(Box<Iperf3>),
    Agent(Box<Agent>),
}

#[derive(Debug)]
pub(super) struct Serve {
    pub(super) config: Config,
    pub(super) json: bool,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) engine: EngineConfig,
    pub(super) config: AgentConfig,
    pub(super) orphan_ms: u32,
    pub(super) host: HostInfo,
}

#[derive(Debug)]
pub(super) struct Trial {
    pub(super) request: Request,
    pub(super) probe: Option<Probing>,
    pub(super) json: bool,
    pub(super) form: Option<args::Form>,
    pub(super) quiet: bool,
}

/// A probe beside a trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probing {
    pub(super) kind: ExchangeKind,
    pub(super) per_second: f64,
    /// Time without load.
    pub(super) idle: Duration,
}

impl Command {
    /// Makes all checks that need no network.
    pub(super) fn validate(&self) -> Result<Ready, Failure> {
        match self {
            Command::Serve(args) => serve(args),
            Command::Tcp(args) => tcp(args),
            Command::Udp(args) => udp(args),
            Command::Rr(args) => Ok(Ready::Exchange(Box::new(args.validate()?))),
            Command::Crr(args) => Ok(Ready::Exchange(Box::new(args.validate()?))),
            Command::Http(args) => Ok(Ready::Http(Box::new(args.validate()?))),
            Command::Backend(args) => Ok(Ready::Backend(Box::new(args.validate()?))),
            Command::Diagnose(args) => Ok(Ready::Diagnose(Box::new(args.validate()?))),
            Command::Monitor(args) => Ok(Ready::Monitor(Box::new(args.validate()?))),
            Command::Tune(args) => Ok(Ready::Tune(Box::new(args.validate()?))),
            Command::Iperf3(args) => Ok(Ready::Iperf3(Box::new(args.validate()?))),
            Command::Agent(args) => agent(args),
        }
    }
}

fn serve(args: &ServeArgs) -> Result<Ready, Failure> {
    if args.max_trials == 0 {
        return Err(Failure::usage("--max-trials must be at least 1"));
    }
    let config = Config {
        listen: args.listen.iter().map(|address| address.0).collect(),
        token: args.token.load()?,
        ceilings: args.safety.resolve()?,
        cpus: args.cpus.clone(),
        most_trials: args.max_trials as usize,
        once: args.once,
    };
    Ok(Ready::Serve(Serve { config, json: args.json }))
}

fn agent(args: &AgentArgs) -> Result<Ready, Failure> {
    if let Some(address) = args.metrics {
        Listener::check(address, Exposure::Loopback, ", and an agent serves none but this machine")
            .map_err(|error| Failure::usage(error.to_string()))?;
    }
    let engine = EngineConfig {
        listen: args.streams.iter().map(|address| address.0).collect(),
        cpus: args.cpus.clone(),
        most_workers: args.workers.map_or(usize::MAX, usize::from),
        ceilings: args.safety.resolve()?,
        backend: args.http.map(|address| BackendConfig::new(vec![address], args.http_name())),
        ready: args.http_ready,
    };
    let config = AgentConfig {
        listen: args.listen,
        token: args.token.load()?,
        exit_when_orphaned: args.exit_when_orphaned.map(|span| OrphanRule::after(span.0)),
        metrics: args.metrics,
    };
    let orphan_ms = u32::try_from(args.orphan.0.as_millis()).unwrap_or(u32::MAX).max(100);
    Ok(Ready::Agent(Box::new(Agent { engine, config, orphan_ms, host: machine() })))
}

fn tcp(args: &TcpArgs) -> Result<Ready, Failure> {
    let load = match args.rate {
        Rate::Max => Load::Max,
        Rate::Bps(bps) => Load::BitsPerSecond(bps),
        other => {
            return Err(Failure::usage(format!(
                "--rate {other}: TCP streams take bits per second, such as 100mbps, or max"
            )));
        }
    };
    if args.kernel_pacing && load == Load::Max {
        return Err(Failure::usage("--kernel-pacing needs a rate; give one with --rate"));
    }
    let sockets = SocketOptions {
        congestion: args.congestion.clone(),
        mss: args.mss,
        kernel_pacing: args.kernel_pacing,
        skip_copy: args.skip_copy,
        ..args.trial.sockets()?
    };
    let spec = args.trial.spec(Protocol::Tcp, load, count("--block", args.block)?, sockets)?;
    impossible::check(&spec, "--block")?;
    args.trial.ready(spec)
}

fn udp(args: &UdpArgs) -> Result<Ready, Failure> {
    let load = match args.rate {
        Rate::Max => Load::Max,
        Rate::Bps(bps) => Load::BitsPerSecond(bps),
        Rate::Pps(pps) => Load::DatagramsPerSecond(pps),
        Rate::Percent(_) => {
            return Err(Failure::usage(format!(
                "--rate {}: the speed of the path is not known; give bits or datagrams per second, such as 1gbps or 50kpps",
                args.rate
            )));
        }
    };
    if args.kernel_pacing && load == Load::Max {
        return Err(Failure::usage("--kernel-pacing needs a rate; give one with --rate"));
    }
    let sockets = SocketOptions {
        kernel_pacing: args.kernel_pacing,
        gso: args.gso.filter(|datagrams| *datagrams > 1),
        gro: args.gro,
        ..args.trial.sockets()?
    };
    let size = args.size.map(|size| count("--size", size)).transpose()?;
    if size == Some(0) {
        return Err(Failure::usage("--size: a datagram has at least 16 bytes"));
    }
    let spec = args.trial.spec(Protocol::Udp, load, size.unwrap_or(0), sockets)?;
    impossible::check(&spec, "--size")?;
    args.trial.ready(spec)
}

pub(super) fn count(option: &str, Bytes(bytes): Bytes) -> Result<u32, Failure> {
    u32::try_from(bytes).map_err(|_| Failure::usage(format!("{option}: {bytes} bytes are too many")))
}

impl TrialArgs {
    pub(super) fn sockets(&self) -> Result<SocketOptions, Failure> {
        let window_bytes = self.window.map(|window| count("--window", window)).transpose()?;
        if window_bytes == Some(0) {
            return Err(Failure::usage("--window must be more than zero"));
        }
        Ok(SocketOptions { window_bytes, dscp: self.dscp, ..SocketOptions::default() })
    }

    pub(super) fn spec(
        &self,
        protocol: Protocol,
        load: Load,
        block_bytes: u32,
        sockets: SocketOptions,
    ) -> Result<TrialSpec, Failure> {
        let bytes = self.bytes.map(|Bytes(bytes)| bytes);
        let duration_ms = match self.duration {
            Some(args::Duration::For(span)) => Some(milliseconds("--duration", span.0)?),
            Some(args::Duration::Endless) => None,
            None if bytes.is_some() => None,
            None => Some(USUAL_DURATION_MS),
        };
        if bytes == Some(0) {
            return Err(Failure::usage("--bytes must be more than zero"));
        }
        let interval_ms = milliseconds("--interval", self.interval.0)?;
        let directions = match (self.reverse, self.bidirectional) {
            (true, _) => Directions::Reverse,
            (_, true) => Directions::Both,
            _ => Directions::Forward,
        };
        let streams = self.parallel;
        let each = StreamsSpec { protocol, streams, load, duration_ms, bytes, block_bytes, sockets };
        let interval_ms = u32::try_from(interval_ms).unwrap_or(u32::MAX);
        Ok(TrialSpec { directions, interval_ms, server_cpu: self.server_cpu, each })
    }

    fn ready(&self, spec: TrialSpec) -> Result<Ready, Failure> {
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
            spec,
            ceilings: self.safety.resolve()?,
            cpus: self.cpus.clone(),
        };
        if !(self.probe_rate > 0.0 && self.probe_rate <= 1e6) {
            return Err(Failure::usage("--probe-rate must be more than 0 and at most 1000000"));
        }
        let probe = self.probe.map(|kind| Probing {
            kind: match kind {
                ProbeKind::Udp => ExchangeKind::Udp,
                ProbeKind::Tcp => ExchangeKind::Tcp,
            },
            per_second: self.probe_rate,
            idle: self.probe_idle.0,
        });
        Ok(Ready::Trial(Trial { request, probe, json: self.json, form: self.form, quiet: self.quiet }))
    }
}

pub(super) fn milliseconds(option: &str, time: Duration) -> Result<u64, Failure> {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return Err(Failure::usage(format!("{option} must be at least 1ms")));
    }
    Ok(ms)
}

impl AgentArgs {
    /// The name in answers to HTTP requests.
    fn http_name(&self) -> String {
        let host = || {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
            name.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
        };
        self.http_name.clone().unwrap_or_else(host)
    }
}

impl TokenArgs {
    pub(super) fn load(&self) -> Result<Token, Failure> {
        Token::load(self.token_file.as_deref(), std::env::var_os(TOKEN_VARIABLE)).map_err(|error| {
            Failure::usage(match error {
                TokenError::Missing => format!(
                    "no token: give --token-file FILE or set {TOKEN_VARIABLE}, the same at both ends\n  remedy: head -c 24 /dev/urandom | \
                     base64 > token; chmod 600 token"
                ),
                other => other.to_string(),
            })
        })
    }
}
