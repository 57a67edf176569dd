//! Options that set fields of the experiment document.

use clap::Args;
use linerate_traffic::profile::{FlowMode, FrameSizes};
use linerate_traffic::rate::{Rate, RateError};
use linerate_traffic::safety::Network;
use linerate_traffic::span::Span;
use serde_json::{Value, json};

use linerate_experiment::document::PlatformKind;
use linerate_experiment::kubernetes::{LinkKind, PullPolicy};
use linerate_experiment::quantity::Cpus;
use linerate_experiment::{Overrides, Setting};

const TRAFFIC: &str = "Traffic";
const KUBERNETES: &str = "Kubernetes";
const SAFETY: &str = "Ceilings";

/// Options that replace fields of the document.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SpecArgs {
    /// Where the agents run (spec.platform)
    #[arg(long, value_enum)]
    platform: Option<PlatformKind>,
    /// Number of pairs, all loaded at the same time (spec.pairs)
    #[arg(long, short = 'n', value_name = "N")]
    pairs: Option<u64>,
    /// Sending time of each trial, in place of the document's duration and packets: 10s, 2m
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// Any other field, by its path, as in spec.trial.repeats=3 (repeatable)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Setting>,

    /// Frame sizes: 64,512,1500 or imix (spec.traffic.frameSizes)
    #[arg(long, value_name = "SIZES", help_heading = TRAFFIC)]
    size: Option<String>,
    /// Numbers of flows: 1,10000 (spec.traffic.flows)
    #[arg(long, value_name = "N,…", value_delimiter = ',', help_heading = TRAFFIC)]
    flows: Vec<u64>,
    /// Intended loads: 50%, 1.5mpps, 2gbps, max (spec.traffic.rates)
    #[arg(long, value_name = "RATE,…", value_delimiter = ',', value_parser = rate_of_frames, help_heading = TRAFFIC)]
    rate: Vec<Rate>,
    /// Ways for the same traffic, one after the other: memif, devices, af_xdp, af_packet, sockets (spec.engines)
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',', help_heading = TRAFFIC)]
    engines: Vec<String>,
    /// Numbers of worker lcores of each agent, one after the other: 1,2,4 (spec.cores)
    #[arg(long, value_name = "N,…", value_delimiter = ',', help_heading = TRAFFIC)]
    cores: Vec<u64>,
    /// Search the highest load within these goals, in place of loads, durations and packets: ndr,pdr,rfc2544,tst009 (spec.search.goals)
    #[arg(long, value_name = "GOAL,…", value_delimiter = ',', help_heading = TRAFFIC, conflicts_with_all = ["rate", "duration", "packets"])]
    search: Vec<String>,
    /// Fields that differ between flows (spec.traffic.flowMode)
    #[arg(long, value_name = "MODE", help_heading = TRAFFIC)]
    flow_mode: Option<FlowMode>,
    /// Packets per trial (spec.trial.packets)
    #[arg(long, value_name = "N", help_heading = TRAFFIC)]
    packets: Option<u64>,
    /// Number of trials of each profile (spec.trial.repeats)
    #[arg(long, value_name = "N", help_heading = TRAFFIC)]
    repeats: Option<u64>,

    #[command(flatten)]
    ceilings: CeilingArgs,

    #[command(flatten)]
    pods: PodArgs,
    /// 1 GiB hugepages per pod; 0 for packet memory without hugepages
    #[arg(long = "hugepages-1Gi", short = 'g', value_name = "N", help_heading = KUBERNETES, conflicts_with = "hugepages_2mi")]
    hugepages_1gi: Option<u64>,
    /// 2 MiB hugepages per pod
    #[arg(long = "hugepages-2Mi", value_name = "N", help_heading = KUBERNETES)]
    hugepages_2mi: Option<u64>,
    /// Device plugin resource per pod: intel.com/dpdk=1 (repeatable)
    #[arg(long, value_name = "NAME=N", value_parser = resource, help_heading = KUBERNETES)]
    resource: Vec<(String, u64)>,
    /// The same as --resource intel.com/dpdk=N
    #[arg(short = 'd', value_name = "N", help_heading = KUBERNETES)]
    dpdk_devices: Option<u64>,
    /// The same as --resource intel.com/sriov=N
    #[arg(short = 'v', value_name = "N", help_heading = KUBERNETES)]
    sriov_devices: Option<u64>,
    /// Network to attach: name or namespace/name (repeatable)
    #[arg(long, value_name = "NETWORK", help_heading = KUBERNETES)]
    network: Vec<String>,
    /// Both pods of a pair on one node
    #[arg(long, short = 's', help_heading = KUBERNETES)]
    same_node: bool,
    /// The pods of a pair on two nodes
    #[arg(long, alias = "no-same-node", conflicts_with = "same_node", help_heading = KUBERNETES)]
    different_nodes: bool,
    /// Nodes of a pair, transmitter and receiver: node1,node2 (once for each pair, in order)
    #[arg(long, value_name = "TX,RX", value_parser = nodes, help_heading = KUBERNETES)]
    node: Vec<(String, String)>,
    /// Link between the pods of a pair
    #[arg(long, value_enum, value_name = "KIND", help_heading = KUBERNETES)]
    link: Option<LinkKind>,
    /// With --link af-packet or af-xdp: the pod's interface [default: eth0]
    #[arg(long, value_name = "NAME", help_heading = KUBERNETES)]
    interface: Option<String>,
    /// Leave the pods running afterwards
    #[arg(long, help_heading = KUBERNETES)]
    keep: bool,
}

/// Options that replace the document's ceilings.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct CeilingArgs {
    /// Refuse trials with a higher load; the environment variable LINERATE_MAX_RATE applies as well (spec.safety.maxRate)
    #[arg(long, value_name = "RATE", help_heading = SAFETY)]
    max_rate: Option<Rate>,
    /// Refuse longer trials, and those without a duration; LINERATE_MAX_DURATION applies as well (spec.safety.maxDuration)
    #[arg(long, value_name = "TIME", help_heading = SAFETY)]
    max_duration: Option<Span>,
    /// Refuse trials to destinations outside these networks; LINERATE_ALLOW applies as well (spec.safety.allow)
    #[arg(long, value_name = "NETWORK,…", value_delimiter = ',', help_heading = SAFETY)]
    allow: Vec<Network>,
}

/// Options on all pods of any traffic.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PodArgs {
    /// Namespace of the pods [default: the kubeconfig context's]
    #[arg(long, value_name = "NAME", help_heading = KUBERNETES)]
    namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", help_heading = KUBERNETES)]
    context: Option<String>,
    /// Container image of the pods
    #[arg(long, short = 'i', value_name = "IMAGE", help_heading = KUBERNETES)]
    image: Option<String>,
    /// When the nodes pull the image
    #[arg(long, value_enum, ignore_case = true, value_name = "POLICY", help_heading = KUBERNETES)]
    image_pull_policy: Option<PullPolicy>,
    /// CPUs per pod: a whole number, or for streams a part such as 250m
    #[arg(long, short = 'c', value_name = "N", help_heading = KUBERNETES)]
    cpu: Option<Cpus>,
    /// Memory per pod, such as 8Gi; a bare number is in GiB
    #[arg(long, short = 'm', value_name = "SIZE", help_heading = KUBERNETES)]
    memory: Option<String>,
}

impl CeilingArgs {
    /// Adds the settings that were given.
    pub(super) fn add_to(&self, all: &mut Overrides) {
        if let Some(rate) = self.max_rate {
            all.set("--max-rate", ["spec", "safety", "maxRate"], json!(rate));
        }
        if let Some(duration) = self.max_duration {
            all.set("--max-duration", ["spec", "safety", "maxDuration"], json!(duration));
        }
        if !self.allow.is_empty() {
            all.set("--allow", ["spec", "safety", "allow"], json!(self.allow));
        }
    }
}

impl PodArgs {
    /// True when one of them was given.
    pub(super) fn any(&self) -> bool {
        let texts = [&self.namespace, &self.context, &self.image, &self.memory];
        texts.iter().any(|text| text.is_some()) || self.image_pull_policy.is_some() || self.cpu.is_some()
    }

    /// Adds the settings that were given.
    pub(super) fn add_to(&self, all: &mut Overrides) {
        let mut set = |option: &str, field: &str, value: Value| {
            all.set(option, ["spec", "kubernetes", field], value);
        };
        let texts = [
            ("--namespace", "namespace", &self.namespace),
            ("--context", "context", &self.context),
            ("--image", "image", &self.image),
        ];
        for (option, field, value) in texts {
            if let Some(value) = value {
                set(option, field, json!(value));
            }
        }
        if let Some(policy) = self.image_pull_policy {
            set("--image-pull-policy", "imagePullPolicy", json!(policy));
        }
        if let Some(cpu) = self.cpu {
            set("--cpu", "cpu", json!(cpu));
        }
        if let Some(memory) = &self.memory {
            let bare = memory.bytes().all(|byte| byte.is_ascii_digit());
            set("--memory", "memory", json!(if bare { format!("{memory}Gi") } else { memory.clone() }));
        }
    }
}

/// Parses a rate of frames. The error also names the fields for rates of other traffic, which have other forms.
fn rate_of_frames(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|error: RateError| {
        format!("{error}; rates of streams and of HTTP are set by --set 'spec.streams.rates=[100mbps]' and --set 'spec.http.rates=[1000]'")
    })
}

fn resource(text: &str) -> Result<(String, u64), String> {
    let wrong = || format!("'{text}' is not NAME=N, such as intel.com/dpdk=1");
    let (name, count) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), count.parse().map_err(|_| wrong())?))
}

fn nodes(text: &str) -> Result<(String, String), String> {
    let (tx, rx) =
        text.split_once(',').ok_or_else(|| format!("'{text}' is not TX,RX, such as node1,node2"))?;
    Ok((tx.to_owned(), rx.to_owned()))
}

/// Parses the sizes of `--size`: numbers, or one mix in the document's notation.
fn sizes(text: &str) -> Value {
    let numbers: Result<Vec<u64>, _> = text.split(',').map(|size| size.trim().parse::<u64>()).collect();
    match numbers {
        Ok(numbers) => json!(numbers),
        Err(_) => match text.parse::<FrameSizes>() {
            Ok(mix) => json!([mix]),
            Err(_) => json!([text]),
        },
    }
}

impl SpecArgs {
    /// The settings in order of precedence: the most specific comes last.
    pub(super) fn overrides(&self) -> Overrides {
        let mut all = Overrides::default();
        let set = &self.set;
        if let Some(platform) = self.platform {
            all.platform(platform);
        }
        if let Some(pairs) = self.pairs {
            all.set("--pairs", ["spec", "pairs"], pairs);
        }
        if let Some(size) = &self.size {
            all.set("--size", ["spec", "traffic", "frameSizes"], sizes(size));
        }
        if !self.flows.is_empty() {
            all.set("--flows", ["spec", "traffic", "flows"], json!(self.flows));
        }
        if !self.rate.is_empty() {
            all.set("--rate", ["spec", "traffic", "rates"], json!(self.rate));
        }
        if !self.engines.is_empty() {
            all.set("--engines", ["spec", "engines"], json!(self.engines));
        }
        if !self.cores.is_empty() {
            all.set("--cores", ["spec", "cores"], json!(self.cores));
        }
        if let Some(mode) = self.flow_mode {
            all.set("--flow-mode", ["spec", "traffic", "flowMode"], json!(mode));
        }
        if !self.search.is_empty() {
            for field in
                [["traffic", "rates"], ["trial", "duration"], ["trial", "packets"], ["trial", "repeats"]]
            {
                all.clear("--search", ["spec", field[0], field[1]]);
            }
            all.set("--search", ["spec", "search", "goals"], json!(self.search));
        }
        if let Some(repeats) = self.repeats {
            let section = if self.search.is_empty() { "trial" } else { "search" };
            all.set("--repeats", ["spec", section, "repeats"], repeats);
        }
        if let Some(packets) = self.packets {
            all.clear("--packets", ["spec", "trial", "duration"]);
            all.set("--packets", ["spec", "trial", "packets"], packets);
        }
        if let Some(duration) = self.duration {
            all.duration(duration);
            if let Some(packets) = self.packets {
                all.set("--packets", ["spec", "trial", "packets"], packets);
            }
        }
        self.ceilings.add_to(&mut all);
        self.kubernetes(&mut all);
        set.iter().for_each(|setting| all.push(setting.clone()));
        all
    }

    fn kubernetes(&self, all: &mut Overrides) {
        self.pods.add_to(all);
        let mut set = |option: &str, path: &[&str], value: Value| {
            all.set(option, ["spec", "kubernetes"].iter().chain(path).copied(), value);
        };
        if let Some(count) = self.hugepages_1gi {
            set("--hugepages-1Gi", &["hugepages"], json!({ "pageSize": "1Gi", "count": count }));
        }
        if let Some(count) = self.hugepages_2mi {
            set("--hugepages-2Mi", &["hugepages"], json!({ "pageSize": "2Mi", "count": count }));
        }
        for (name, count) in &self.resource {
            set("--resource", &["resources", name], json!(count));
        }
        for (option, name, count) in
            [("-d", "intel.com/dpdk", self.dpdk_devices), ("-v", "intel.com/sriov", self.sriov_devices)]
        {
            if let Some(count) = count {
                set(option, &["resources", name], json!(count));
            }
        }
        if !self.network.is_empty() {
            set("--network", &["networks"], json!(self.network));
        }
        if self.same_node {
            set("--same-node", &["placement"], json!("sameNode"));
        }
        if self.different_nodes {
            set("--different-nodes", &["placement"], json!("differentNodes"));
        }
        if !self.node.is_empty() {
            let pairs: Vec<_> = self.node.iter().map(|(tx, rx)| json!({ "tx": tx, "rx": rx })).collect();
            set("--node", &["nodes"], json!(pairs));
        }
        if let Some(kind) = self.link {
            set("--link", &["link", "kind"], json!(kind));
        }
        if let Some(interface) = &self.interface {
            set("--interface", &["link", "interface"], json!(interface));
        }
        if self.keep {
            set("--keep", &["keep"], json!(true));
        }
    }
}
