//! Options of `diagnose`, and the experiment whose platform runs its agents.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use linerate_command::diagnosis::{DEFAULT_PORT, DiagnosisArgs};
use linerate_experiment::document::PlatformKind;
use linerate_experiment::streams::InterfaceName;
use linerate_experiment::{Experiment, Overrides, Setting};
use linerate_kubernetes::NodeChoice;
use linerate_runner::run::diagnosis::DiagnosisTarget;
use linerate_traffic::environment;
use linerate_traffic::safety::Safety;
use linerate_wire::diagnosis::{DiagnosisSpec, Secret};
use linerate_wire::message::{SHORTEST_TOKEN_BYTES, TOKEN_VARIABLE};
use serde_json::json;

use crate::cli::RESULTS;
use crate::cli::output::say;
use crate::cli::spec_args::{CeilingArgs, PodArgs};

/// The document without FILE.
const DOCUMENT: &str = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata:\n  name: diagnosis\n";
/// Fields of `spec` that a diagnosis leaves out: traffic, agents of its kind, and settings of hosts to compare it under.
const TRAFFIC: [&str; 11] = [
    "pairs",
    "traffic",
    "profiles",
    "engines",
    "cores",
    "addresses",
    "http",
    "search",
    "trial",
    "agents",
    "hostSettings",
];
/// Beginning of a place in a node's own network.
const HOST: &str = "host:";

const EXAMPLES: &str = "\
Examples:
  Between two pods, one on each of these nodes:
    linerate diagnose --from node1 --to node2
  Between a pod and the network of a node itself:
    linerate diagnose --from node1 --to host:node2
  From a pod to a machine outside of the cluster, on which somebody ran `linerate-hostplane serve`:
    linerate diagnose --from node1 --server 192.0.2.7 --token-file token
  On the second interface of the pods that an experiment uses:
    linerate diagnose mesh.yaml --from node1 --to node2 --interface net1
  Without a cluster, between two network namespaces of this machine (root), or on its loopback interface:
    linerate diagnose

Exit codes: 0 nothing is broken (warnings are possible), 1 a fault was found or nothing could be measured, 2 wrong usage, 130 interrupted.
Two hosts without a cluster: linerate-hostplane serve on one, linerate-hostplane diagnose on the other. docs/diagnose.md explains findings.";

/// Options of `diagnose`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct DiagnoseArgs {
    /// Experiment document: its platform, network, pods and ceilings are used, not its traffic
    file: Option<PathBuf>,
    /// Node of the end that measures; host:NODE for the node's own network in place of that of pods [default: the scheduler's choice]
    #[arg(long, value_name = "NODE")]
    from: Option<Place>,
    /// Node of the end that answers, likewise
    #[arg(long, value_name = "NODE", conflicts_with = "server")]
    to: Option<Place>,
    /// The path to this server in place of a second agent: one that `linerate-hostplane serve` started
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<Server>,
    /// File with the token of --server [default: LINERATE_TOKEN]
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Interface of both ends, such as net1 [default: where the kernel routes]
    #[arg(long, value_name = "NAME", value_parser = interface)]
    interface: Option<InterfaceName>,
    #[command(flatten)]
    measurements: DiagnosisArgs,
    /// Where the agents run (spec.platform) [default: the document's; kubernetes with --from, --to or an option of pods]
    #[arg(long, value_enum)]
    platform: Option<PlatformKind>,
    /// Any other field, by its path, as in spec.kubernetes.namespace=lab (repeatable)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Setting>,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    pub(super) results: PathBuf,
    /// The agents' program [default: LINERATE_HOSTPLANE, or linerate-hostplane beside linerate or in PATH]
    #[arg(long, value_name = "PATH")]
    pub(super) hostplane: Option<PathBuf>,
    /// Print the diagnosis as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// No lines of progress
    #[arg(long, short)]
    pub(super) quiet: bool,
    #[command(flatten)]
    ceilings: CeilingArgs,
    #[command(flatten)]
    pods: PodArgs,
}

/// Error: the options do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::cli) struct Usage(pub(super) String);

/// Where an end runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    node: Option<String>,
    pub(super) in_host_network: bool,
}

impl Place {
    /// The place for the cluster's plan.
    pub(super) fn choice(&self) -> NodeChoice {
        NodeChoice { node: self.node.clone(), in_host_network: self.in_host_network }
    }
}

impl FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (node, in_host_network) = match text.strip_prefix(HOST) {
            Some(node) => (node, true),
            None => (text, false),
        };
        match node.is_empty() {
            true => Err(format!("'{text}' names no node, as in node1 or host:node1")),
            false => Ok(Self { node: Some(node.to_owned()), in_host_network }),
        }
    }
}

/// A server that was started by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
}

impl FromStr for Server {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not HOST or HOST:PORT, such as 192.0.2.7 or [2001:db8::7]:22023");
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: DEFAULT_PORT });
        }
        if let Ok(address) = text.parse::<SocketAddr>()
            && address.port() != 0
        {
            return Ok(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, DEFAULT_PORT),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        match !host.is_empty() && host.bytes().all(plain) && port != 0 {
            true => Ok(Self { host: host.to_owned(), port }),
            false => Err(wrong()),
        }
    }
}

fn interface(text: &str) -> Result<InterfaceName, String> {
    InterfaceName::try_from(text.to_owned())
}

/// A validated diagnosis.
#[derive(Debug)]
pub(super) struct Ready {
    /// Its platform runs the agents `a0` and `a1`.
    pub(super) experiment: Experiment,
    pub(super) spec: DiagnosisSpec,
    pub(super) target: DiagnosisTarget,
    /// Address of the server that somebody started by hand.
    pub(super) server: Option<String>,
    pub(super) interface: Option<InterfaceName>,
    pub(super) from: Place,
    pub(super) to: Place,
}

impl Ready {
    /// Number of agents: a server that was started by hand is none.
    pub(super) fn agents(&self) -> usize {
        if self.server.is_some() { 1 } else { 2 }
    }
}

impl DiagnoseArgs {
    /// Prints a note for the user, except with `--quiet`.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            say(&format!("note: {text}"));
        }
    }

    pub(super) fn validate(&self) -> anyhow::Result<Ready> {
        let spec = self.measurements.validate().map_err(Usage)?;
        let target = match &self.server {
            None => DiagnosisTarget::Agent,
            Some(Server { host, port }) => {
                DiagnosisTarget::Server { host: host.clone(), port: *port, token: self.token()? }
            }
        };
        let experiment = self.experiment()?;
        let is_local = experiment.platform() == PlatformKind::Local;
        let places = [("--from", &self.from), ("--to", &self.to)];
        if let Some((option, _)) = places.iter().find(|(_, place)| place.is_some() && is_local) {
            let problem = format!(
                "{option}: nodes are those of a cluster, and the platform is local; leave it out, or give --platform kubernetes"
            );
            return Err(Usage(problem).into());
        }
        let [from, to] = places.map(|(_, place)| place.clone().unwrap_or_default());
        if from.in_host_network && from == to {
            let node = from.node.unwrap_or_default();
            let problem = format!(
                "--from host:{node} --to host:{node}: both ends would be one network; give two nodes, or --from {node}"
            );
            return Err(Usage(problem).into());
        }
        let server = self.server.as_ref().map(|Server { host, port }| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        Ok(Ready { experiment, spec, target, server, interface: self.interface.clone(), from, to })
    }

    /// Token of a server that somebody started by hand.
    fn token(&self) -> Result<Secret, Usage> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Usage(format!("--token-file {}: {error}", path.display())))?,
            None => environment::text(TOKEN_VARIABLE, std::env::var_os(TOKEN_VARIABLE))
                .map_err(|error| Usage(error.to_string()))?
                .ok_or_else(|| {
                    Usage(format!(
                        "--server: no token; give the server's with --token-file FILE, or set {TOKEN_VARIABLE}"
                    ))
                })?,
        };
        let text = text.trim();
        if text.len() < SHORTEST_TOKEN_BYTES {
            let origin = self.token_file.as_ref().map(|path| format!("--token-file {}", path.display()));
            let origin = origin.unwrap_or_else(|| TOKEN_VARIABLE.to_owned());
            return Err(Usage(format!(
                "{origin}: the token has {} bytes, and servers have at least {SHORTEST_TOKEN_BYTES}; give that of the server",
                text.len()
            )));
        }
        Ok(Secret(text.to_owned()))
    }

    /// The experiment whose platform runs the agents: that of the document, with two agents and no traffic.
    fn experiment(&self) -> anyhow::Result<Experiment> {
        let mut all = Overrides::default();
        all.environment = Safety::from_environment(|name| std::env::var_os(name))?;
        for field in TRAFFIC {
            all.clear("diagnose", ["spec", field]);
        }
        for (section, field) in [("local", "devices"), ("kubernetes", "nodes"), ("kubernetes", "keep")] {
            all.clear("diagnose", ["spec", section, field]);
        }
        all.set("diagnose", ["spec", "streams"], json!({}));
        all.set("diagnose", ["spec", "topology"], json!({ "kind": "mesh", "agents": 2 }));
        let on_cluster = self.from.is_some() || self.to.is_some() || self.pods.any();
        if let Some(platform) = self.platform.or(on_cluster.then_some(PlatformKind::Kubernetes)) {
            all.platform(platform);
        }
        match (&self.interface, &self.server) {
            // Its agent is in this machine's network, from where the server is reached.
            (_, Some(_)) => all.set("--server", ["spec", "local", "network"], "loopback"),
            (Some(name), None) => {
                all.set("--interface", ["spec", "topology", "interfaces"], json!([name]));
            }
            (None, None) => {}
        }
        self.ceilings.add_to(&mut all);
        self.pods.add_to(&mut all);
        self.set.iter().for_each(|setting| all.push(setting.clone()));
        Ok(match &self.file {
            Some(file) => Experiment::load(Some(file), &all)?,
            None => Experiment::parse(DOCUMENT, "diagnose", &all)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: DiagnoseArgs,
    }

    #[test]
    fn a_document_with_traffic_and_settings_of_hosts_gives_its_platform() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("e.yaml");
        let text = "apiVersion: linerate.dev/v1alpha1
kind: Experiment
spec:
  traffic: {frameSizes: [64]}
  agents: {workers: {tx: 2}, mtu: 9000}
  hostSettings: [{}, {rps: on}]
  kubernetes: {networks: [lan]}
";
        std::fs::write(&file, text).unwrap();
        let command = Command::parse_from(["diagnose", file.to_str().unwrap(), "--from", "n1", "--to", "n2"]);
        let experiment = command.args.validate().unwrap().experiment;
        assert_eq!(experiment.platform(), PlatformKind::Kubernetes);
        assert_eq!(experiment.kubernetes().networks, ["lan"]);
        assert_eq!((experiment.host_settings(), experiment.agents().workers.tx.get()), (vec![None], 1));
    }

    #[test]
    fn places_and_servers_are_read() {
        let place = |text: &str| text.parse::<Place>();
        let of = |node: &str, in_host_network| Place { node: Some(node.to_owned()), in_host_network };
        assert_eq!(place("n1"), Ok(of("n1", false)));
        assert_eq!(place("host:n1"), Ok(of("n1", true)));
        assert!(place("").is_err() && place("host:").is_err());
        for (text, server) in [
            ("192.0.2.7", Some(("192.0.2.7", 22023))),
            ("192.0.2.7:9", Some(("192.0.2.7", 9))),
            ("host.example:9", Some(("host.example", 9))),
            ("2001:db8::7", Some(("2001:db8::7", 22023))),
            ("[2001:db8::7]", Some(("2001:db8::7", 22023))),
            ("[2001:db8::7]:9", Some(("2001:db8::7", 9))),
            ("", None),
            (":9", None),
            ("host:", None),
            ("host:0", None),
            ("host:70000", None),
            ("http://host", None),
        ] {
            let server = server.map(|(host, port)| Server { host: host.to_owned(), port });
            assert_eq!(text.parse::<Server>().ok(), server, "{text}");
        }
    }
}
