//! Settings of the Kubernetes platform: resources of pods, their placement, and the network of a pair.

mod scheduling;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use super::document::{Document, PlatformKind, unplaced};
use super::engines::EngineName;
use super::name::Name;
use super::quantity::{Bytes, Cpus};
use super::ranged::{Ranged, SpanIn};
use crate::Wrong;

pub use self::scheduling::{ObjectName, PullSecret, TaintEffect, Toleration, TolerationOperator};

/// Settings of the Kubernetes platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesSection {
    /// Namespace of the pods; the kubeconfig context's when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Context of the kubeconfig; its current one when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Container image with `linerate-dataplane` and `hugepage-check`; in an experiment of streams or HTTP, with `linerate-hostplane`.
    pub image: String,
    /// In an experiment of engines, the image of `sockets`; with `nodeView`, that of the pods that watch nodes of experiments of frames and engines. It
    /// has `linerate-hostplane`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostplane_image: Option<String>,
    /// When the node pulls the image.
    pub image_pull_policy: PullPolicy,
    /// Secrets of the namespace with the credentials of the registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<PullSecret>,
    /// Where the two pods of a pair go; in an experiment of HTTP, clients and backends.
    pub placement: PlacementRule,
    /// Nodes by name, one entry for each pair; `placement` chooses those that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<NodePair>>", length(min = 1))]
    pub nodes: Option<Spanned<Vec<NodePair>>>,
    /// Taints of nodes that every pod tolerates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Scheduler of every pod; the cluster's default when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// CPUs per pod, requests and limits alike: a whole number, so that a static CPU manager gives the pod its own. Pods of streams and HTTP may have
    /// less, such as `250m`.
    pub cpu: Cpus,
    /// Memory per pod besides hugepages.
    pub memory: Bytes,
    /// Hugepages per pod.
    pub hugepages: PodHugepages,
    /// Device plugin resources per pod, such as `intel.com/dpdk: 1`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<ResourceName, Ranged<1, 1024>>,
    /// Networks to attach (Multus): `name` or `namespace/name` of a NetworkAttachmentDefinition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Link between the pods of a pair.
    pub link: Link,
    /// Capabilities beyond those that hugepages, devices, `afPacket` and `afXdp` need anyway, such as SYS_RAWIO for VFIO without an IOMMU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Volume for the files of a pod, mounted at /output.
    pub output: OutputVolume,
    /// Time for all pods to become ready.
    pub ready_timeout: SpanIn<1000, 3_600_000>,
    /// Pods are kept after the run; `linerate pods delete` removes them.
    pub keep: bool,
    /// A pod in the network of each node on which agents run, without privileges, watches what they do not see: queues, drops and interrupts of the node's
    /// devices.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub node_view: bool,
}

/// Name of an image that `scripts/image.sh` makes, of this version.
fn usual_image(name: &str) -> String {
    format!("localhost/{name}:{}", env!("CARGO_PKG_VERSION"))
}

impl KubernetesSection {
    /// Refuses a part of a CPU.
    fn whole_cpus(&self) -> Result<(), String> {
        match self.cpu.as_whole() {
            Some(_) => Ok(()),
            None => Err(format!(
                "spec.kubernetes.cpu: {}; workers of frames never sleep, and a part of a CPU would stop them; give a whole number",
                self.cpu
            )),
        }
    }

    /// Takes the image of streams and HTTP when the document names none.
    fn complete_for_kernel_traffic(&mut self) {
        if self.image == usual_image("linerate") {
            self.image = usual_image("linerate-hostplane");
        }
    }

    /// Puts the pods of the one pair on these nodes.
    pub fn put_on(&mut self, nodes: NodePair) {
        self.nodes = Some(unplaced(vec![nodes]));
    }

    /// The image of pods that watch nodes, in an experiment of frames.
    pub fn image_of_hostplane(&self) -> String {
        self.hostplane_image.clone().unwrap_or_else(|| usual_image("linerate-hostplane"))
    }

    /// Refuses to watch nodes beside pods that are kept: those of a run would not be enough for the next.
    fn watches_no_kept(&self) -> Result<(), String> {
        match self.node_view && self.keep {
            false => Ok(()),
            true => Err(
                "spec.kubernetes.nodeView: the pods that watch nodes are a run's own, and pods that are kept are not; \
                 remove it, or let each run have pods of its own (without keep, --keep and --pods)"
                    .to_owned(),
            ),
        }
    }

    /// The settings of an engine of a list: its link, its image, and device plugin resources for devices alone.
    pub(crate) fn of_engine(&mut self, engine: EngineName) {
        match engine.link() {
            Some(link) => self.link.kind = link,
            None => {
                self.image = self.image_of_hostplane();
            }
        }
        if engine != EngineName::Devices {
            self.resources.clear();
        }
    }
}

impl Default for KubernetesSection {
    fn default() -> Self {
        Self {
            namespace: None,
            context: None,
            image: usual_image("linerate"),
            hostplane_image: None,
            image_pull_policy: PullPolicy::IfNotPresent,
            image_pull_secrets: Vec::new(),
            placement: PlacementRule::Any,
            nodes: None,
            tolerations: Vec::new(),
            scheduler_name: None,
            cpu: Cpus::whole(2),
            memory: Bytes(2 << 30),
            hugepages: PodHugepages::default(),
            resources: BTreeMap::new(),
            networks: Vec::new(),
            link: Link::default(),
            capabilities: Vec::new(),
            output: OutputVolume::None,
            ready_timeout: SpanIn::of_millis::<120_000>(),
            keep: false,
            node_view: false,
        }
    }
}

/// When the node pulls the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
pub enum PullPolicy {
    /// Each time.
    #[value(name = "Always")]
    Always,
    /// When the node does not have it.
    #[default]
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// Never.
    #[value(name = "Never")]
    Never,
}

impl PullPolicy {
    /// Its name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}

/// Where the two pods of a pair go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum PlacementRule {
    /// Any nodes with room.
    #[default]
    Any,
    /// Both on one node.
    SameNode,
    /// On two nodes.
    DifferentNodes,
}

/// The nodes of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodePair {
    /// Of the transmitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx: Option<String>,
    /// Of the receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx: Option<String>,
}

/// Hugepages per pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodHugepages {
    /// Size of a page.
    pub page_size: PageSize,
    /// How many; with 0 packet memory is ordinary memory.
    pub count: Ranged<0, 65_536>,
}

impl Default for PodHugepages {
    fn default() -> Self {
        Self { page_size: PageSize::OneGi, count: Ranged::of::<2>() }
    }
}

impl PodHugepages {
    /// Total size in bytes.
    pub fn bytes(&self) -> u64 {
        self.page_size.bytes() * self.count.get()
    }
}

/// Size of a hugepage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PageSize {
    /// 2 MiB.
    #[serde(rename = "2Mi")]
    TwoMi,
    /// 1 GiB.
    #[serde(rename = "1Gi")]
    OneGi,
}

impl PageSize {
    /// Size in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            PageSize::TwoMi => 2 << 20,
            PageSize::OneGi => 1 << 30,
        }
    }

    /// Name of its Kubernetes resource.
    pub fn resource(self) -> &'static str {
        match self {
            PageSize::TwoMi => "hugepages-2Mi",
            PageSize::OneGi => "hugepages-1Gi",
        }
    }

    /// Medium of a volume of these pages.
    pub fn medium(self) -> &'static str {
        match self {
            PageSize::TwoMi => "HugePages-2Mi",
            PageSize::OneGi => "HugePages-1Gi",
        }
    }
}

/// Link between the pods of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Link {
    /// Its kind.
    pub kind: LinkKind,
    /// Of `afPacket` and `afXdp`: the interface of the pod.
    pub interface: String,
    /// Of `memif`: a directory of the node that both pods share; created if missing.
    pub host_directory: String,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            kind: LinkKind::Device,
            interface: "eth0".to_owned(),
            host_directory: "/var/lib/linerate".to_owned(),
        }
    }
}

/// Link between the pods of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LinkKind {
    /// A device that a device plugin assigns to each pod, such as an SR-IOV VF bound to vfio-pci.
    #[default]
    Device,
    /// Shared memory, over a directory of the node; both pods are on one node. Needs no device.
    Memif,
    /// The kernel's packet socket on an interface of the pod. Needs no device; slower.
    AfPacket,
    /// AF_XDP sockets on an interface of the pod, whose packets do not reach the pod's kernel meanwhile. Needs no device.
    AfXdp,
}

/// Volume for the files of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum OutputVolume {
    /// None.
    #[default]
    None,
    /// Deleted with the pod.
    EmptyDir {
        /// Most that it may hold.
        size: Bytes,
    },
    /// A claim of its own for each pod, deleted with the experiment's objects.
    PersistentVolumeClaim {
        /// Storage class; the cluster's default when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Size.
        size: Bytes,
    },
}

/// Name of an extended resource: `domain/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
pub struct ResourceName(#[schemars(regex(pattern = r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$"))] String);

impl ResourceName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ResourceName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let domain = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        let name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        match text.split_once('/') {
            Some((left, right)) if domain(left) && name(right) => Ok(Self(text)),
            _ => {
                Err(format!("'{text}' is not the name of a device plugin's resource, such as intel.com/dpdk"))
            }
        }
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> String {
        name.0
    }
}

/// Adds the request for a device if devices connect the pods, and refuses contradictions.
pub(crate) fn complete(document: &mut Document) -> Result<(), Wrong> {
    let pairs = document.spec.pairs.0.get_u32() as usize;
    let kernel_traffic = match (&document.spec.streams, &document.spec.http) {
        (Some(_), _) => Some("streams"),
        (None, Some(_)) => Some("http"),
        (None, None) => None,
    };
    let settings = &mut document.spec.kubernetes;
    settings.watches_no_kept().map_err(|problem| (Location::UNKNOWN, problem))?;
    scheduling::check(&settings.tolerations, settings.scheduler_name.as_deref())
        .map_err(|problem| (Location::UNKNOWN, problem))?;
    if let Some(traffic) = kernel_traffic {
        // Their pods need neither device nor hugepages.
        if let Some(nodes) = &settings.nodes {
            let problem = format!(
                "spec.kubernetes.nodes: given beside spec.{traffic}, and it names the nodes of pairs; remove it, or set spec.kubernetes.placement"
            );
            return Err((nodes.referenced, problem));
        }
        settings.complete_for_kernel_traffic();
        return Ok(());
    }
    settings.whole_cpus().map_err(|problem| (Location::UNKNOWN, problem))?;
    if let Some(nodes) = settings.nodes.as_ref().filter(|nodes| nodes.value.len() > pairs) {
        let problem = format!("spec.kubernetes.nodes: {} entries for {pairs} pairs", nodes.value.len());
        return Err((nodes.referenced, problem));
    }
    let has_devices = match &document.spec.engines {
        Some(engines) if document.spec.platform == PlatformKind::Kubernetes => {
            engines.value.contains(&EngineName::Devices)
        }
        _ => settings.link.kind == LinkKind::Device,
    };
    if has_devices && settings.resources.is_empty() {
        let name = ResourceName::try_from("intel.com/dpdk".to_owned())
            .map_err(|problem| (Location::UNKNOWN, problem))?;
        settings.resources.insert(name, Ranged::of::<1>());
    }
    if settings.link.kind == LinkKind::Memif && settings.placement == PlacementRule::DifferentNodes {
        let problem = "spec.kubernetes.placement: differentNodes, but the pods of a memif meet in a directory of one node; use sameNode, or \
                       another spec.kubernetes.link.kind";
        return Err((Location::UNKNOWN, problem.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Experiment, Overrides};

    #[test]
    fn only_pods_of_streams_may_have_a_part_of_a_cpu() {
        let parse = |spec: &str| {
            let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {spec}\n");
            Experiment::parse(&text, "e.yaml", &Overrides::default())
        };
        let error =
            parse("{platform: kubernetes, traffic: {}, kubernetes: {cpu: 250m}}").unwrap_err().to_string();
        assert!(error.contains("spec.kubernetes.cpu: 250m") && error.contains("whole number"), "{error}");
        let streams = "{platform: kubernetes, streams: {rates: [1mbps]}, kubernetes: {cpu: 250m}}";
        let experiment = parse(streams).unwrap();
        assert_eq!(experiment.kubernetes().cpu.milli(), 250);
        assert!(experiment.kubernetes().image.starts_with("localhost/linerate-hostplane:"));
    }
}
