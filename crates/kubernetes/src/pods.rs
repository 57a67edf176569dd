//! Objects of an experiment: pods, the secret with their tokens, the lease that owns them all. Pure; golden
//! files test them.
//!
//! Pods comply with the `restricted` Pod Security Standard except for these, each only where its reason
//! holds:
//! - user 0, because an added capability is effective for it only (and because device files and node
//!   directories belong to root); it has none of root's other capabilities
//! - `IPC_LOCK` with a device: VFIO locks packet memory for the device's DMA; hugepages are not swapped in
//!   any case
//! - `SYS_NICE` with hugepages: EAL places them on NUMA nodes (`set_mempolicy`), which the runtime's default
//!   seccomp profile allows with this capability only
//! - `NET_RAW` and `NET_ADMIN` with `afPacket`: a packet socket is a raw socket, and ethdev sets the
//!   interface's flags when it starts the port
//! - `BPF`, `IPC_LOCK`, `NET_ADMIN` and `NET_RAW` with `afXdp`: the driver loads a program, attaches it to the interface,
//!   and registers its packet memory, which the kernel pins
//! - a `hostPath` with `memif`: the two pods share a directory for the socket

mod kernel;
mod scheduling;
pub mod watcher;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EmptyDirVolumeSource, EnvVar, HostPathVolumeSource, KeyToPath,
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Pod, PodAffinity, PodAffinityTerm,
    PodAntiAffinity, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, Secret,
    SecretVolumeSource, SecurityContext, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use linerate_wire::trial::Role;

use super::names;
pub(crate) use kernel::HTTP_PORT;
use linerate_experiment::Experiment;
use linerate_experiment::kubernetes::{KubernetesSection, LinkKind, OutputVolume, PlacementRule};
use linerate_experiment::topology::AgentNode;
use linerate_runner::platform::Token;
use linerate_runner::platform::launch::memif_mac;

/// Loopback port of an agent in its pod: the control port of older kits.
pub const AGENT_PORT: u16 = 22022;
/// Orphan time: an agent without a controller exits after it, and its pod ends.
const EXIT_WHEN_ORPHANED: &str = "60s";
/// Grace period of an agent when its pod is deleted.
const GRACE_SECONDS: i64 = 5;
/// Directory of the programs in the image.
const PROGRAMS: &str = "/usr/local/bin";
/// Directory of the token in a pod.
const SECRETS: &str = "/run/secrets/linerate";
/// Shared directory of the pods of a memif pair.
const MEMIF: &str = "/run/memif";
/// Label that identifies a node. The provider sets its value, which often differs from the node's name.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Container that checks whether DPDK will work.
pub const PREFLIGHT: &str = "preflight";
/// The container of the agent.
pub const AGENT: &str = "agent";

/// One pod as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPlan {
    /// Position of its agent's group in the topology.
    pub group: usize,
    /// Its agent, whose name it has.
    pub agent: AgentNode,
    /// Its node, if that is decided; otherwise the scheduler chooses by the placement rule.
    pub node: Option<String>,
    /// True when it is in its node's own network, and not in that of pods.
    pub in_host_network: bool,
}

impl PodPlan {
    /// The pod's name.
    pub fn name(&self) -> String {
        self.agent.name.clone()
    }
}

/// Common properties of a run's pods.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The run's id: 8 hexadecimal digits.
    pub id: &'a str,
    /// The lease, once it exists.
    pub owner: Option<&'a OwnerReference>,
}

impl Run<'_> {
    fn settings(&self) -> &KubernetesSection {
        self.experiment.kubernetes()
    }

    pub(super) fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            labels: Some(names::labels(self.id)),
            owner_references: self.owner.map(|owner| vec![owner.clone()]),
            ..ObjectMeta::default()
        }
    }

    /// The secret with every pod's token, by pod name.
    pub fn secret(&self, tokens: &BTreeMap<String, Token>) -> Secret {
        let data = tokens.iter().map(|(pod, token)| (pod.clone(), ByteString(token.reveal().into())));
        Secret {
            metadata: self.metadata(names::SECRET.to_owned()),
            type_: Some("Opaque".to_owned()),
            data: Some(data.collect()),
            ..Secret::default()
        }
    }

    /// The pod's own volume claim, if the experiment asks for one.
    pub fn claim(&self, plan: &PodPlan) -> Option<PersistentVolumeClaim> {
        let OutputVolume::PersistentVolumeClaim { class, size } = &self.settings().output else {
            return None;
        };
        let requests = BTreeMap::from([("storage".to_owned(), Quantity(size.to_string()))]);
        Some(PersistentVolumeClaim {
            metadata: self.metadata(names::claim(self.id, &plan.name())),
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: class.clone(),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(requests),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        })
    }

    /// Manifest of the pod.
    pub fn pod(&self, plan: &PodPlan) -> Pod {
        if !self.experiment.is_of_frames() {
            return kernel::pod(self, plan);
        }
        let settings = self.settings();
        let mut metadata = self.metadata(plan.name());
        metadata.labels.get_or_insert_default().extend([
            (names::ROLE.to_owned(), plan.agent.role.to_string()),
            (names::PAIR.to_owned(), plan.group.to_string()),
        ]);
        if !settings.networks.is_empty() {
            let networks = settings.networks.join(",");
            metadata.annotations =
                Some(BTreeMap::from([("k8s.v1.cni.cncf.io/networks".to_owned(), networks)]));
        }
        let container = |name: &str, command: Vec<String>| Container {
            name: name.to_owned(),
            image: Some(settings.image.clone()),
            image_pull_policy: Some(settings.image_pull_policy.name().to_owned()),
            command: Some(command),
            resources: Some(resources(self.experiment)),
            security_context: Some(container_security(settings)),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(self.mounts()),
            ..Container::default()
        };
        let spec = PodSpec {
            restart_policy: Some("Never".to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            affinity: plan.node.as_deref().map(on_node).or_else(|| self.affinity(plan)),
            security_context: Some(PodSecurityContext {
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            init_containers: Some(vec![container(PREFLIGHT, self.preflight())]),
            containers: vec![Container { env: self.environment(), ..container(AGENT, self.agent(plan)) }],
            volumes: Some(self.volumes(plan)),
            ..PodSpec::default()
        };
        Pod { metadata, spec: Some(scheduling::told(settings, spec)), ..Pod::default() }
    }

    /// Manifest of a pod that watches `node`.
    pub fn watcher(&self, name: &str, node: &str) -> Pod {
        watcher::pod(self, name, node)
    }

    fn preflight(&self) -> Vec<String> {
        let mut command = vec![format!("{PROGRAMS}/hugepage-check"), "--brief".to_owned()];
        if self.settings().hugepages.count.get() > 0 {
            command.extend(["--socket-mem".to_owned(), self.experiment.agents().memory_mb.get().to_string()]);
        }
        if self.settings().link.kind == LinkKind::Device {
            command.push("--assigned-devices".to_owned());
        }
        command
    }

    fn agent(&self, plan: &PodPlan) -> Vec<String> {
        let (settings, agents) = (self.settings(), self.experiment.agents());
        let (txd, rxd) = (agents.txd.get_u32(), agents.rxd.get_u32());
        let (tx, rx) = (agents.workers.tx.get_u32(), agents.workers.rx.get_u32());
        let direction = self.experiment.direction();
        let mut command = vec![format!("{PROGRAMS}/linerate-dataplane")];
        if settings.hugepages.count.get() == 0 {
            command.push("--no-huge".to_owned());
        }
        command.extend(["-m".to_owned(), agents.memory_mb.get().to_string()]);
        let device = match settings.link.kind {
            LinkKind::Device => None,
            LinkKind::Memif => {
                let (role, end) = match plan.agent.role {
                    Role::Tx => ("client", 1),
                    Role::Rx => ("server", 2),
                };
                let mac = memif_mac(experiment_bytes(self.id), plan.group, end);
                // Both ends of a memif have rings of the same size, a power of two.
                let ring_log2 = txd.max(rxd).next_power_of_two().ilog2();
                Some(format!(
                    "net_memif0,role={role},id=0,socket={},socket-abstract=no,mac={mac},rsize={ring_log2}",
                    self.memif_socket(plan.group)
                ))
            }
            LinkKind::AfPacket => {
                let queues = agents.workers.tx.get_u32().max(agents.workers.rx.get_u32());
                Some(format!("net_af_packet0,iface={},qpairs={queues}", settings.link.interface))
            }
            LinkKind::AfXdp => Some(format!("net_af_xdp0,iface={}", settings.link.interface)),
        };
        if let Some(device) = device {
            command.extend(["--no-pci".to_owned(), "--vdev".to_owned(), device]);
        }
        command.extend(["--", "agent", "--listen"].map(str::to_owned));
        command.push(format!("127.0.0.1:{AGENT_PORT}"));
        command.extend(["--token-file".to_owned(), format!("{SECRETS}/token")]);
        command.extend(["--workers".to_owned(), direction.workers(plan.agent.role, tx, rx).to_string()]);
        command.extend(["--granted-cpus".to_owned(), settings.cpu.to_string()]);
        if settings.link.kind == LinkKind::Device {
            command.push("--assigned-devices".to_owned());
        }
        command.extend(["--exit-when-orphaned".to_owned(), EXIT_WHEN_ORPHANED.to_owned()]);
        command.extend(["--txd".to_owned(), txd.to_string(), "--rxd".to_owned(), rxd.to_string()]);
        command.extend(["--mtu".to_owned(), agents.mtu.get_u32().to_string()]);
        command.extend(self.experiment.safety().options());
        if settings.link.kind == LinkKind::Memif && plan.agent.role == Role::Tx {
            command.extend(["--await-server".to_owned(), self.memif_socket(plan.group)]);
        }
        command.extend(direction.agent_options(
            plan.agent.role,
            tx,
            rx,
            settings.link.kind == LinkKind::Memif,
        ));
        command.extend(self.experiment.address_options(plan.group, plan.agent.role));
        command
    }

    /// The rate ceilings of the controller's environment, which a pod does not inherit.
    fn environment(&self) -> Option<Vec<EnvVar>> {
        let variables = self.experiment.environment.variables().into_iter();
        let variables = variables.map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            ..EnvVar::default()
        });
        Some(variables.collect::<Vec<_>>()).filter(|variables| !variables.is_empty())
    }

    fn memif_socket(&self, pair: usize) -> String {
        format!("{MEMIF}/{}-{pair}.sock", self.id)
    }

    /// Both pods of a pair on one node, or on two; memif needs one.
    fn affinity(&self, plan: &PodPlan) -> Option<Affinity> {
        let mut of_pair = names::labels(self.id);
        of_pair.insert(names::PAIR.to_owned(), plan.group.to_string());
        let rule = match self.settings().placement {
            PlacementRule::Any if self.settings().link.kind == LinkKind::Memif => PlacementRule::SameNode,
            rule => rule,
        };
        relative_to(LabelSelector { match_labels: Some(of_pair), ..LabelSelector::default() }, rule)
    }

    fn mounts(&self) -> Vec<VolumeMount> {
        let settings = self.settings();
        let mount = |name: &str, path: &str| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        };
        let mut mounts = vec![
            VolumeMount { read_only: Some(true), ..mount("token", SECRETS) },
            // EAL's runtime directory; the root file system is read-only.
            mount("run", "/var/run/dpdk"),
        ];
        if settings.hugepages.count.get() > 0 {
            mounts.push(mount("hugepages", "/dev/hugepages"));
        }
        if settings.link.kind == LinkKind::Memif {
            mounts.push(mount("memif", MEMIF));
        }
        if settings.output != OutputVolume::None {
            mounts.push(mount("output", "/output"));
        }
        mounts
    }

    fn volumes(&self, plan: &PodPlan) -> Vec<Volume> {
        let settings = self.settings();
        let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
        let empty = |medium: Option<&str>, limit: Option<String>| EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: limit.map(Quantity),
        };
        let token = KeyToPath { key: plan.name(), path: "token".to_owned(), mode: Some(0o400) };
        let mut volumes = vec![
            Volume {
                secret: Some(SecretVolumeSource {
                    secret_name: Some(names::SECRET.to_owned()),
                    items: Some(vec![token]),
                    ..SecretVolumeSource::default()
                }),
                ..named("token")
            },
            Volume { empty_dir: Some(empty(Some("Memory"), Some("16Mi".to_owned()))), ..named("run") },
        ];
        if settings.hugepages.count.get() > 0 {
            let medium = settings.hugepages.page_size.medium();
            volumes.push(Volume { empty_dir: Some(empty(Some(medium), None)), ..named("hugepages") });
        }
        if settings.link.kind == LinkKind::Memif {
            let directory = HostPathVolumeSource {
                path: settings.link.host_directory.clone(),
                type_: Some("DirectoryOrCreate".to_owned()),
            };
            volumes.push(Volume { host_path: Some(directory), ..named("memif") });
        }
        match &settings.output {
            OutputVolume::None => {}
            OutputVolume::EmptyDir { size } => {
                volumes
                    .push(Volume { empty_dir: Some(empty(None, Some(size.to_string()))), ..named("output") });
            }
            OutputVolume::PersistentVolumeClaim { .. } => {
                let claim = PersistentVolumeClaimVolumeSource {
                    claim_name: names::claim(self.id, &plan.name()),
                    read_only: None,
                };
                volumes.push(Volume { persistent_volume_claim: Some(claim), ..named("output") });
            }
        }
        volumes
    }
}

/// Affinity by a rule: to the node of the selected pods, or to other nodes than theirs.
fn relative_to(pods: LabelSelector, rule: PlacementRule) -> Option<Affinity> {
    let terms = vec![PodAffinityTerm {
        label_selector: Some(pods),
        topology_key: HOSTNAME.to_owned(),
        ..PodAffinityTerm::default()
    }];
    match rule {
        PlacementRule::Any => None,
        PlacementRule::SameNode => Some(Affinity {
            pod_affinity: Some(PodAffinity {
                required_during_scheduling_ignored_during_execution: Some(terms),
                ..PodAffinity::default()
            }),
            ..Affinity::default()
        }),
        PlacementRule::DifferentNodes => Some(Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                required_during_scheduling_ignored_during_execution: Some(terms),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        }),
    }
}

/// Affinity to the node of this name.
fn on_node(name: &str) -> Affinity {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![name.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), ..NodeSelectorTerm::default() };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![term],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// Two bytes of the id, which make Ethernet addresses differ between runs.
fn experiment_bytes(id: &str) -> [u8; 2] {
    u32::from_str_radix(id, 16).map_or([0, 0], |number| [(number >> 8) as u8, number as u8])
}

/// Resources of each container. Requests equal limits and CPUs are whole: the quality of service is
/// Guaranteed, which a static CPU manager requires.
fn resources(experiment: &Experiment) -> ResourceRequirements {
    let amounts: BTreeMap<String, Quantity> =
        wanted(experiment).into_iter().map(|(name, amount)| (name, Quantity(amount.text))).collect();
    ResourceRequirements {
        requests: Some(amounts.clone()),
        limits: Some(amounts),
        ..ResourceRequirements::default()
    }
}

/// An amount of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// In thousandths of the resource's unit.
    pub milli: u128,
    /// As written in the document.
    pub text: String,
}

/// Resources that a pod of the experiment requests of its node. Streams and HTTP need neither hugepages nor devices.
pub fn wanted(experiment: &Experiment) -> BTreeMap<String, Amount> {
    let all = wanted_of(experiment.kubernetes());
    let given = &experiment.kubernetes().resources;
    let kept = |name: &String| {
        experiment.is_of_frames()
            || ["cpu", "memory"].contains(&name.as_str())
            || given.keys().any(|one| one.as_str() == name)
    };
    all.into_iter().filter(|(name, _)| kept(name)).collect()
}

fn wanted_of(settings: &KubernetesSection) -> BTreeMap<String, Amount> {
    let whole = |number: u64, text: String| Amount { milli: u128::from(number) * 1000, text };
    let mut wanted = BTreeMap::from([
        ("cpu".to_owned(), Amount { milli: settings.cpu.milli().into(), text: settings.cpu.to_string() }),
        ("memory".to_owned(), whole(settings.memory.0, settings.memory.to_string())),
    ]);
    let hugepages = &settings.hugepages;
    if hugepages.count.get() > 0 {
        let bytes = linerate_experiment::quantity::Bytes(hugepages.bytes());
        wanted.insert(hugepages.page_size.resource().to_owned(), whole(bytes.0, bytes.to_string()));
    }
    for (name, count) in &settings.resources {
        wanted.insert(name.as_str().to_owned(), whole(count.get(), count.get().to_string()));
    }
    wanted
}

fn container_security(settings: &KubernetesSection) -> SecurityContext {
    let mut added = settings.capabilities.clone();
    let hugepages = settings.hugepages.count.get() > 0;
    if hugepages {
        added.push("SYS_NICE".to_owned());
    }
    let of_link: &[&str] = match settings.link.kind {
        LinkKind::Device => &["IPC_LOCK"],
        LinkKind::Memif => &[],
        LinkKind::AfPacket => &["NET_RAW", "NET_ADMIN"],
        LinkKind::AfXdp => &["NET_RAW", "NET_ADMIN", "BPF", "IPC_LOCK"],
    };
    added.extend(of_link.iter().map(|&name| name.to_owned()));
    added.sort();
    added.dedup();
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: (!added.is_empty()).then_some(added),
        }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_user: Some(0),
        ..SecurityContext::default()
    }
}
