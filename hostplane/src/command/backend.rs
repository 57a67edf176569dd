//! `backend`: a server that answers its own name.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::Args;
use linerate_hardware::CpuSet;
use linerate_traffic::span::Span;
use serde_json::json;

use super::Ending;
use super::args::Bytes;
use super::output::{Failure, print_json, print_text, say};
use super::ready::count;
use super::tls::ServerTlsArgs;
use super::trial::{block_on, stop_at_signals};
use crate::http::backend::{Backend, BackendConfig, BackendCounters, Stall};

/// Port without another one.
const PORT: u16 = 8080;

const EXAMPLES: &str = "\
Examples:
  Answers the name of this host, on all addresses:
    linerate-hostplane backend --listen 0.0.0.0:8080
  A second one, which needs 2 ms for each answer and stops for a second every ten:
    linerate-hostplane backend --listen 127.0.0.1:8081 --name slow --delay 2ms --stall 1s --stall-every 10s
  With TLS, for clients that are given the certificate (http --ca /tmp/backend.pem):
    linerate-hostplane backend --listen 127.0.0.1:8443 --tls-self-signed /tmp/backend.pem

It counts what it read and answered, and prints that when it is interrupted. It has no password and sends no more than it is asked for; whoever
reaches the port can ask.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BackendArgs {
    /// Address to listen on; all addresses of IPv6 include those of IPv4; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "127.0.0.1:8080")]
    listen: Vec<Address>,
    /// Its name: the body of all responses [default: the name of this host]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A body of so many bytes; the name is then in the header X-Backend
    #[arg(long, value_name = "BYTES")]
    body_size: Option<Bytes>,
    /// Status of all responses
    #[arg(long, value_name = "CODE", default_value_t = 200)]
    status: u16,
    /// Time between each request and its response
    #[arg(long, value_name = "TIME")]
    delay: Option<Span>,
    /// Do nothing at all for so long, again and again
    #[arg(long, value_name = "TIME")]
    stall: Option<Span>,
    /// Time from one such stop to the next
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "stall")]
    stall_every: Span,
    /// Threads
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    threads: u32,
    /// CPUs of the threads, one each, such as 2,3 or 4-7
    #[arg(long, value_name = "CPUS")]
    cpus: Option<CpuSet>,
    #[command(flatten)]
    tls: ServerTlsArgs,
    /// Print the addresses, and at the end the counts, as one JSON object each on a line of standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// An address with the usual port.
#[derive(Debug, Clone, Copy)]
struct Address(SocketAddr);

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        text.parse().or_else(|_| bare()).map(Self).map_err(|_| {
            format!("'{text}' is not an address such as 127.0.0.1, 0.0.0.0:{PORT} or [::]:{PORT}")
        })
    }
}

/// A validated command.
#[derive(Debug)]
pub(super) struct Serving {
    config: BackendConfig,
    json: bool,
}

impl BackendArgs {
    pub(super) fn validate(&self) -> Result<Serving, Failure> {
        let host = || linerate_agent::machine::machine().hostname.unwrap_or_else(|| "backend".to_owned());
        let stall =
            self.stall.map(|length| Stall { length: length.0, every: self.stall_every.0.max(length.0) });
        let listen: Vec<SocketAddr> = self.listen.iter().map(|address| address.0).collect();
        let name = self.name.clone().unwrap_or_else(host);
        let addresses: Vec<IpAddr> = listen.iter().map(SocketAddr::ip).collect();
        let config = BackendConfig {
            body_bytes: self.body_size.map(|bytes| count("--body-size", bytes)).transpose()?,
            status: self.status,
            threads: self.threads,
            cpus: self.cpus.clone(),
            delay: self.delay.map(|delay| delay.0),
            stall,
            ..BackendConfig::new(listen, name)
        };
        config.check().map_err(|error| Failure::usage(error.to_string()))?;
        let config = BackendConfig { tls: self.tls.settings(&config.name, &addresses)?, ..config };
        Ok(Serving { config, json: self.json })
    }
}

pub(super) fn run(Serving { config, json }: Serving) -> Result<Ending, Failure> {
    block_on(async move {
        let mut stop = stop_at_signals()?;
        let name = config.name.clone();
        let backend = Backend::start(config)?;
        let addresses: Vec<String> = backend.addresses().iter().map(ToString::to_string).collect();
        say(&format!("backend {name} listens at {}", addresses.join(", ")));
        if json {
            print_json(&json!({ "listening": addresses, "name": name }))?;
        }
        let _ = stop.wait_for(|stop| *stop).await;
        let BackendCounters {
            requests,
            answered,
            connections,
            malformed,
            broken,
            read_bytes,
            written_bytes,
            tls_failed,
            wire_read_bytes,
            wire_written_bytes,
            open: _,
        } = backend.finish();
        if json {
            print_json(&json!({
                "name": name,
                "requests": requests,
                "answered": answered,
                "connections": connections,
                "malformed": malformed,
                "broken": broken,
                "read_bytes": read_bytes,
                "written_bytes": written_bytes,
                "tls_failed": tls_failed,
                "wire_read_bytes": wire_read_bytes,
                "wire_written_bytes": wire_written_bytes,
            }))?;
        } else {
            print_text(&format!(
                "{name}: {requests} requests read, {answered} answered, {connections} connections, {malformed} malformed, {broken} broken{}",
                if tls_failed > 0 { format!(", {tls_failed} without TLS") } else { String::new() }
            ))?;
        }
        Ok(Ending::Done)
    })
}
