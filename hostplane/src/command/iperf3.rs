//! `iperf3`: a server for iperf3's clients, or a client of its servers.

use std::net::SocketAddr;

use linerate_iperf3::PORT;
use linerate_traffic::rate::Rate;
use linerate_wire::streams::{Load, Protocol, SocketOptions};
use serde_json::json;

use super::Ending;
use super::iperf3_args::Iperf3Args;
use super::output::{Failure, print_json, print_text, say};
use super::ready::count;
use super::trial::{block_on, stop_at_signals};
use crate::client::Family;
use crate::iperf3::account::TestResult;
use crate::iperf3::client::{Request, Watcher, run as run_test};
use crate::iperf3::form::of_test;
use crate::iperf3::server::{Config, Event, serve};
use crate::iperf3::text;
use crate::result::interval::Interval;
use crate::result::text::{describe, progress};
use crate::spec::TrialSpec;
use crate::streams::raise_descriptor_limit;
use crate::streams::socket::Place;

/// A validated command.
#[derive(Debug)]
pub(super) enum Iperf3 {
    Server { config: Config, json: bool, warned: bool },
    Client { request: Box<Request>, json: bool, quiet: bool },
}

impl Iperf3Args {
    /// Makes all checks that need no network.
    pub(super) fn validate(&self) -> Result<Iperf3, Failure> {
        if self.server { self.server() } else { self.client() }
    }

    fn server(&self) -> Result<Iperf3, Failure> {
        if self.max_tests == 0 || self.max_streams == 0 {
            return Err(Failure::usage("--max-tests and --max-streams must be at least 1"));
        }
        let listen: Vec<SocketAddr> = self.listen.iter().map(|address| address.0).collect();
        let open = listen.iter().any(|address| !address.ip().is_loopback());
        let ceilings = self.safety.resolve()?;
        let guarded = ceilings.limits_destinations();
        let config = Config {
            listen,
            ceilings,
            cpus: self.cpus.clone(),
            most_tests: self.max_tests as usize,
            most_streams: self.max_streams,
            once: self.once,
        };
        Ok(Iperf3::Server { config, json: self.json, warned: open && !guarded })
    }

    fn client(&self) -> Result<Iperf3, Failure> {
        let trial = self.trial();
        let protocol = if self.udp { Protocol::Udp } else { Protocol::Tcp };
        let load = match (self.rate, protocol) {
            (None, Protocol::Udp) => {
                return Err(Failure::usage(
                    "UDP needs a rate: --rate 100mbps, --rate 10kpps or --rate max (iperf3 itself takes 1 Mbit/s)",
                ));
            }
            (None | Some(Rate::Max), _) => Load::Max,
            (Some(Rate::Bps(bps)), _) => Load::BitsPerSecond(bps),
            (Some(Rate::Pps(pps)), Protocol::Udp) => Load::DatagramsPerSecond(pps),
            (Some(other), _) => {
                return Err(Failure::usage(format!("--rate {other}: give bits per second, such as 100mbps")));
            }
        };
        let block = self.length.map(|length| count("--length", length)).transpose()?;
        if block == Some(0) {
            return Err(Failure::usage("--length must be more than zero"));
        }
        let usual = if self.udp { 0 } else { 131_072 };
        let sockets =
            SocketOptions { congestion: self.congestion.clone(), mss: self.mss, ..trial.sockets()? };
        let spec = trial.spec(protocol, load, block.unwrap_or(usual), sockets)?;
        super::impossible::check(&spec, "--length")?;
        let request = Request {
            host: trial.host.trim_matches(['[', ']']).to_owned(),
            port: self.port.unwrap_or(PORT),
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Family::V4,
                (_, true) => Family::V6,
                _ => Family::Any,
            },
            place: Place { address: self.bind, interface: self.interface.clone() },
            spec,
            ceilings: self.safety.resolve()?,
            cpus: self.cpus.clone(),
        };
        Ok(Iperf3::Client { request: Box::new(request), json: self.json, quiet: self.quiet })
    }
}

pub(super) fn run(command: Iperf3) -> Result<Ending, Failure> {
    match command {
        Iperf3::Server { config, json, warned } => {
            raise_descriptor_limit();
            if warned {
                say(
                    "warning: iperf3's protocol has no password: whoever reaches this port can have this host send; --allow and --max-rate limit it",
                );
            }
            block_on(async move {
                let stop = stop_at_signals()?;
                serve(config, stop, Box::new(move |event| tell(event, json))).await?;
                Ok(Ending::Done)
            })
        }
        Iperf3::Client { request, json, quiet } => {
            let limited = request.spec.each.duration_ms.is_some() || request.spec.each.bytes.is_some();
            block_on(async move {
                let stop = stop_at_signals()?;
                let outcome = run_test(*request, stop, &mut Lines { quiet }).await?;
                let result = TestResult::of(&outcome);
                if json {
                    print_json(&of_test(&result, &outcome.ends.cookie)?)?;
                } else {
                    print_text(&text::result(&result))?;
                }
                Ok(match (result.complete, result.interrupted && limited) {
                    (false, _) => Ending::Incomplete,
                    (true, true) => Ending::Interrupted,
                    (true, false) => Ending::Done,
                })
            })
        }
    }
}

fn tell(event: &Event<'_>, json: bool) {
    match event {
        Event::Listening(addresses) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            say(&format!("listening for clients of iperf3 on {}", list.join(", ")));
            if json {
                let _ = print_json(&json!({ "listening": list }));
            }
        }
        Event::Began { number, client, spec } => {
            tracing::info!("test {number} of {client}: {}", describe(spec));
        }
        Event::Ended { number, outcome } => {
            let result = TestResult::of(outcome);
            if json {
                match of_test(&result, &outcome.ends.cookie) {
                    Ok(form) => drop(print_json(&form)),
                    Err(error) => tracing::error!(%error, "a result cannot be written"),
                }
            } else {
                let _ =
                    print_text(&format!("test {number} of {}\n{}", outcome.ends.peer, text::result(&result)));
            }
        }
        Event::Refused { client, reason } => tracing::warn!("{client}: {reason}"),
    }
}

/// Progress on standard error.
struct Lines {
    quiet: bool,
}

impl Watcher for Lines {
    fn starts(&mut self, spec: &TrialSpec, server: SocketAddr) {
        if !self.quiet {
            say(&format!("{server} (iperf3): {}", describe(spec)));
        }
    }

    fn interval(&mut self, interval: &Interval) {
        if !self.quiet {
            say(&progress(interval));
        }
    }
}
