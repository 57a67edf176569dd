//! The pods' manifests in `tests/golden/`, and fields that they must not have. `UPDATE_GOLDEN=1` records them
//! again.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use linerate_experiment::{Experiment, Overrides};
use linerate_kubernetes::pods::{PodPlan, Run, watcher};
use linerate_kubernetes::security::{Level, needed};
use linerate_wire::trial::Role;

const ID: &str = "1f3c09aa";

/// (name, spec, added capabilities, whether a directory of the node is mounted)
const CASES: [(&str, &str, &[&str], bool); 6] = [
    (
        "device",
        "kubernetes: {cpu: 4, memory: 8Gi, networks: [lab/sriov-a], resources: {intel.com/dpdk: 2}}\n  agents: {workers: {tx: 3}}",
        &["IPC_LOCK", "SYS_NICE"],
        false,
    ),
    ("memif", "kubernetes: {cpu: 1, hugepages: {count: 0}, link: {kind: memif}}", &[], true),
    (
        "af-packet",
        "kubernetes: {cpu: 1, hugepages: {pageSize: 2Mi, count: 256}, link: {kind: afPacket}, placement: differentNodes}",
        &["NET_ADMIN", "NET_RAW", "SYS_NICE"],
        false,
    ),
    (
        "af-xdp",
        "kubernetes: {cpu: 1, hugepages: {count: 0}, link: {kind: afXdp}, placement: differentNodes}",
        &["BPF", "IPC_LOCK", "NET_ADMIN", "NET_RAW"],
        false,
    ),
    (
        "claim",
        "kubernetes: {output: {persistentVolumeClaim: {class: fast, size: 20Gi}}, capabilities: [SYS_RAWIO]}",
        &["IPC_LOCK", "SYS_NICE", "SYS_RAWIO"],
        false,
    ),
    (
        "scheduling",
        "kubernetes: {cpu: 1, hugepages: {count: 0}, link: {kind: memif}, schedulerName: bin-packer, imagePullSecrets: [{name: registry}], tolerations: \
         [{key: pool, value: net, effect: NoSchedule}, {key: node.kubernetes.io/unschedulable, operator: Exists}]}",
        &[],
        true,
    ),
];

fn experiment(spec: &str) -> Experiment {
    let text = format!(
        "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n  platform: kubernetes\n  {spec}\n"
    );
    Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap()
}

fn pods(experiment: &Experiment) -> [Pod; 2] {
    let run = Run { experiment, id: ID, owner: None };
    let agents = experiment.topology().groups.remove(0).agents;
    [0, 1].map(|index| {
        let agent = agents[index].clone();
        let node = (agent.role == Role::Tx && experiment.kubernetes().networks.is_empty())
            .then(|| "node1".to_owned());
        run.pod(&PodPlan { group: 0, agent, node, in_host_network: false })
    })
}

#[test]
fn manifests_are_as_filed() {
    for (name, spec, ..) in CASES {
        is_as_filed(name, &pods(&experiment(spec)));
    }
    let watched = experiment("kubernetes: {nodeView: true, hostplaneImage: 'registry.example/hostplane:1'}");
    let run = Run { experiment: &watched, id: ID, owner: None };
    is_as_filed(
        "watchers",
        &[(0, "n1"), (1, "n2")].map(|(number, node)| run.watcher(&watcher::name(number), node)),
    );
}

fn is_as_filed(name: &str, pods: &[Pod]) {
    // The image's name contains the program's version.
    let text = pods
        .iter()
        .map(|pod| serde_saphyr::to_string(pod).unwrap())
        .collect::<Vec<_>>()
        .join("---\n")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let filed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        filed == text,
        "{} is out of date; look at what has changed, then run with UPDATE_GOLDEN=1:\n{text}",
        path.display()
    );
}

/// But for the network of its node, a pod that watches it complies with the standard `restricted`.
#[test]
fn pods_that_watch_nodes_have_nothing_but_their_network() {
    let kernel =
        experiment("streams: {}\n  kubernetes: {nodeView: true, image: 'registry.example/streams:1'}");
    for (experiment, image) in [
        (
            experiment("kubernetes: {nodeView: true, hostplaneImage: 'registry.example/h:1'}"),
            "registry.example/h:1",
        ),
        (kernel, "registry.example/streams:1"),
    ] {
        let run = Run { experiment: &experiment, id: ID, owner: None };
        let mut pod = run.watcher("node0", "n1");
        let spec = pod.spec.as_mut().unwrap();
        assert_eq!((spec.host_network.take(), spec.host_pid, spec.host_ipc), (Some(true), None, None));
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert!(spec.volumes.iter().flatten().all(|volume| volume.host_path.is_none()));
        let [container] = &spec.containers[..] else { panic!("{spec:?}") };
        assert_eq!((container.image.as_deref(), &container.ports), (Some(image), &None));
        restricted("watcher", container, &[]);
        assert_eq!(needed(&pod), (Level::Restricted, Vec::new()));
    }
    let names = |spec: &str| watcher::names_of(&experiment(spec));
    assert_eq!(names("kubernetes: {nodeView: true}"), ["node0", "node1"]);
    assert_eq!(names("kubernetes: {}"), [""; 0]);
}

/// The Pod Security Standard `restricted`, except for the exceptions that `pods.rs` lists.
#[test]
fn pods_are_restricted_but_for_named_exceptions() {
    for (name, spec, added, host_path) in CASES {
        for pod in pods(&experiment(spec)) {
            let spec = pod.spec.unwrap();
            assert_eq!(spec.automount_service_account_token, Some(false), "{name}");
            assert_eq!((spec.host_network, spec.host_pid, spec.host_ipc), (None, None, None), "{name}");
            assert_eq!(spec.service_account_name, None, "{name}");
            let seccomp = spec.security_context.unwrap().seccomp_profile.unwrap();
            assert_eq!(seccomp.type_, "RuntimeDefault", "{name}");
            let from_node = spec.volumes.unwrap().iter().filter(|volume| volume.host_path.is_some()).count();
            assert_eq!(from_node, usize::from(host_path), "{name}");
            for container in spec.init_containers.unwrap().iter().chain(&spec.containers) {
                restricted(name, container, added);
                let resources = container.resources.clone().unwrap();
                assert_eq!(resources.requests, resources.limits, "{name}: Guaranteed");
            }
        }
    }
}

/// The example pods for users without a controller comply with the same standard.
#[test]
fn example_pods_are_as_restricted() {
    for (name, added) in [("memif", &[][..]), ("af_packet", &["NET_RAW", "NET_ADMIN"])] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/pods/{name}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut roles = Vec::new();
        for document in text.split("\n---\n").filter(|document| document.contains("\nkind: Pod\n")) {
            let pod: Pod = serde_saphyr::from_str(document).unwrap();
            let spec = pod.spec.unwrap();
            assert_eq!(spec.automount_service_account_token, Some(false), "{name}");
            assert_eq!(
                spec.security_context.unwrap().seccomp_profile.unwrap().type_,
                "RuntimeDefault",
                "{name}"
            );
            assert!(
                spec.volumes.unwrap_or_default().iter().all(|volume| volume.host_path.is_none()),
                "{name}"
            );
            spec.containers.iter().for_each(|container| restricted(name, container, added));
            roles.push(pod.metadata.labels.unwrap()["role"].clone());
        }
        assert_eq!(roles, ["rx", "tx"], "{name}");
    }
}

fn restricted(name: &str, container: &Container, added: &[&str]) {
    let security = container.security_context.clone().unwrap();
    assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
    assert_ne!(security.privileged, Some(true), "{name}");
    assert_eq!(security.read_only_root_filesystem, Some(true), "{name}");
    let capabilities = security.capabilities.unwrap();
    assert_eq!(capabilities.drop.unwrap(), ["ALL"], "{name}");
    assert_eq!(capabilities.add.unwrap_or_default(), added, "{name}");
    let words = container.command.iter().flatten();
    assert!(words.clone().all(|word| !word.contains("token=")), "{name}: no secret in arguments");
}
