//! Pods of streams and HTTP. They comply with the `restricted` Pod Security Standard: no capability, no user 0, no directory of
//! the node.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, KeyToPath, Pod, PodSecurityContext, PodSpec, Probe,
    SeccompProfile, SecretVolumeSource, SecurityContext, TCPSocketAction, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use linerate_experiment::kubernetes::{PlacementRule, PullPolicy};
use linerate_wire::http::AbsenceKind;
use linerate_wire::trial::Role;

use super::{
    AGENT, AGENT_PORT, EXIT_WHEN_ORPHANED, GRACE_SECONDS, HOSTNAME, PROGRAMS, PodPlan, Run, SECRETS, names,
    on_node, relative_to, resources, scheduling,
};

/// User and group of the agent: nobody's.
const USER: i64 = 65_534;
/// All addresses of a pod, of IPv4 and IPv6: a cluster has one of them, or both. Without IPv6 in the kernel, an agent takes those of IPv4.
const ANY: &str = "[::]";
/// Port at which streams arrive, on all addresses of the pod.
const STREAMS_PORT: u16 = 22_023;
/// Port at which a backend answers requests, on all addresses of the pod, and port of the Service before it.
pub(crate) const HTTP_PORT: u16 = 8080;

/// Port at which a backend says that it is ready.
const READY_PORT: u16 = 8081;

/// Manifest of the pod of an agent of streams or HTTP. A backend that is to be not ready for a time has a readiness probe, at a port of its own:
/// it would count the kubelet's connections otherwise.
pub(super) fn pod(run: &Run<'_>, plan: &PodPlan) -> Pod {
    let settings = run.settings();
    let mut metadata = run.metadata(plan.name());
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::ROLE.to_owned(), plan.agent.role.to_string());
    labels.extend(
        numbers_with(run, plan).into_iter().map(|number| (names::among_first(number), "true".to_owned())),
    );
    if !settings.networks.is_empty() {
        let networks = settings.networks.join(",");
        metadata.annotations = Some(BTreeMap::from([("k8s.v1.cni.cncf.io/networks".to_owned(), networks)]));
    }
    let container = Container {
        image: Some(settings.image.clone()),
        command: Some(agent(run, plan)),
        env: run.environment(),
        ports: plan.in_host_network.then(host_ports),
        readiness_probe: readiness(run, plan),
        resources: Some(resources(run.experiment)),
        ..container(settings.image_pull_policy)
    };
    let spec = PodSpec {
        affinity: plan.node.as_deref().map(on_node).or_else(|| affinity(run, plan)),
        host_network: plan.in_host_network.then_some(true),
        topology_spread_constraints: plan.node.is_none().then(|| spread(run)).flatten(),
        ..pod_spec(container, plan.name())
    };
    Pod { metadata, spec: Some(scheduling::told(settings, spec)), ..Pod::default() }
}

/// What the containers of all agents without privileges have in common.
pub(super) fn container(image_pull_policy: PullPolicy) -> Container {
    let mount = VolumeMount {
        name: "token".to_owned(),
        mount_path: SECRETS.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    Container {
        name: AGENT.to_owned(),
        image_pull_policy: Some(image_pull_policy.name().to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![mount]),
        ..Container::default()
    }
}

/// What their pods have in common: the token is that of the pod's `name`.
pub(super) fn pod_spec(container: Container, name: String) -> PodSpec {
    let seccomp = SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() };
    let token = Volume {
        name: "token".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(names::SECRET.to_owned()),
            // The agent's group may read it.
            items: Some(vec![KeyToPath { key: name, path: "token".to_owned(), mode: Some(0o440) }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            fs_group: Some(USER),
            run_as_non_root: Some(true),
            seccomp_profile: Some(seccomp),
            ..PodSecurityContext::default()
        }),
        containers: vec![container],
        volumes: Some(vec![token]),
        ..PodSpec::default()
    }
}

/// Ports that the pod takes of its node, for the scheduler: a node has them once.
fn host_ports() -> Vec<ContainerPort> {
    let taken = |port: u16| ContainerPort {
        container_port: port.into(),
        host_port: Some(port.into()),
        ..ContainerPort::default()
    };
    [AGENT_PORT, STREAMS_PORT].map(taken).to_vec()
}

/// True for the pod of a backend of HTTP.
fn is_backend(run: &Run<'_>, plan: &PodPlan) -> bool {
    !run.experiment.http.is_empty() && plan.agent.role == Role::Rx
}

/// True for the pod of a backend that may be told to be not ready.
fn may_be_not_ready(run: &Run<'_>, plan: &PodPlan) -> bool {
    let mut absences = run.experiment.http.iter().filter_map(|profile| profile.churn);
    is_backend(run, plan) && absences.any(|absence| absence.kind == AbsenceKind::NotReady)
}

fn readiness(run: &Run<'_>, plan: &PodPlan) -> Option<Probe> {
    may_be_not_ready(run, plan).then(|| Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(READY_PORT.into()), host: None }),
        period_seconds: Some(1),
        failure_threshold: Some(1),
        // A port that is closed refuses at once: a longer limit keeps a ready backend of a busy node in the rotation.
        timeout_seconds: Some(5),
        ..Probe::default()
    })
}

/// Numbers of backends of the trials in which a pod is one of them: a trial has the first so many.
fn numbers_with(run: &Run<'_>, plan: &PodPlan) -> BTreeSet<u32> {
    let clients = run.experiment.http_clients() as usize;
    let Some(place) = plan.group.checked_sub(clients).filter(|_| is_backend(run, plan)) else {
        return BTreeSet::new();
    };
    let through_service = run.experiment.http.iter().filter(|profile| profile.target.is_service());
    through_service.map(|profile| profile.backends).filter(|number| place < *number as usize).collect()
}

fn agent(run: &Run<'_>, plan: &PodPlan) -> Vec<String> {
    let mut command = vec![format!("{PROGRAMS}/linerate-hostplane"), "agent".to_owned()];
    for (option, value) in [
        ("--listen", format!("127.0.0.1:{AGENT_PORT}")),
        ("--streams", format!("{ANY}:{STREAMS_PORT}")),
        ("--token-file", format!("{SECRETS}/token")),
        ("--exit-when-orphaned", EXIT_WHEN_ORPHANED.to_owned()),
    ] {
        command.extend([option.to_owned(), value]);
    }
    if is_backend(run, plan) {
        let name = plan.name();
        command.extend(["--http".to_owned(), format!("{ANY}:{HTTP_PORT}"), "--http-name".to_owned(), name]);
    }
    if may_be_not_ready(run, plan) {
        command.extend(["--http-ready".to_owned(), format!("{ANY}:{READY_PORT}")]);
    }
    if run.experiment.engine().is_some() {
        let workers = &run.experiment.agents().workers;
        let workers = if plan.agent.role == Role::Tx { workers.tx } else { workers.rx };
        command.extend(["--workers".to_owned(), workers.get().to_string()]);
    }
    command.extend(run.experiment.safety().options());
    command
}

/// All pods on one node; or each on another, of HTTP no backend on a node with a client.
fn affinity(run: &Run<'_>, plan: &PodPlan) -> Option<Affinity> {
    let mut others = names::labels(run.id);
    let rule = run.settings().placement;
    if rule == PlacementRule::DifferentNodes && !run.experiment.http.is_empty() {
        let other = if plan.agent.role == Role::Tx { Role::Rx } else { Role::Tx };
        others.insert(names::ROLE.to_owned(), other.to_string());
    }
    relative_to(agents(others), rule)
}

/// Selects pods of agents: those that watch nodes are wherever agents are, and in the way of none.
fn agents(labels: BTreeMap<String, String>) -> LabelSelector {
    let others = LabelSelectorRequirement {
        key: names::ROLE.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(vec![names::WATCHER.to_owned()]),
    };
    LabelSelector { match_labels: Some(labels), match_expressions: Some(vec![others]) }
}

/// Without a rule, pods are spread over the nodes as evenly as there is room.
fn spread(run: &Run<'_>) -> Option<Vec<TopologySpreadConstraint>> {
    (run.settings().placement == PlacementRule::Any).then(|| {
        vec![TopologySpreadConstraint {
            label_selector: Some(agents(names::labels(run.id))),
            max_skew: 1,
            topology_key: HOSTNAME.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        }]
    })
}

#[cfg(test)]
mod tests {
    use linerate_experiment::{Experiment, Overrides};

    use super::*;
    use crate::security::{Level, needed};

    #[test]
    fn backends_of_http_are_restricted_and_among_those_of_their_trials() {
        let text = "apiVersion: linerate.dev/v1alpha1
kind: Experiment
spec:
  platform: kubernetes
  http: {targets: [cluster-ip, direct], backends: [1, 2, 4], connections: [16], clients: 2}
  kubernetes: {placement: differentNodes}
";
        let experiment = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap();
        let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
        let groups = experiment.topology().groups;
        let pod = |group: usize| {
            let agent = groups[group].agents[0].clone();
            run.pod(&PodPlan { group, agent, node: None, in_host_network: false })
        };
        let (client, backend) = (pod(0), pod(3));
        assert_eq!(needed(&backend), (Level::Restricted, Vec::new()));
        let firsts = |pod: &Pod| {
            let labels = pod.metadata.labels.iter().flatten().map(|(name, _)| name.clone());
            labels
                .filter_map(|name| name.strip_prefix("linerate.dev/first-").map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(backend.metadata.name.as_deref(), Some("b1"));
        assert_eq!((firsts(&client), firsts(&backend)), (vec![], vec!["2".to_owned(), "4".to_owned()]));
        let spec = backend.spec.unwrap();
        let command = spec.containers[0].command.as_ref().unwrap().join(" ");
        assert!(command.contains("--http [::]:8080 --http-name b1"), "{command}");
        assert!(!client.spec.unwrap().containers[0].command.as_ref().unwrap().join(" ").contains("--http"));
        let apart = spec.affinity.unwrap().pod_anti_affinity.unwrap();
        let terms = apart.required_during_scheduling_ignored_during_execution.unwrap();
        let others = terms[0].label_selector.as_ref().unwrap();
        assert_eq!(others.match_labels.as_ref().unwrap()[names::ROLE], "tx");
        // A pod that watches the node is no obstacle to it.
        let expressions = others.match_expressions.as_ref().unwrap();
        let [only] = &expressions[..] else { panic!("{expressions:?}") };
        assert_eq!((only.key.as_str(), only.operator.as_str()), (names::ROLE, "NotIn"));
        assert_eq!(only.values.as_deref(), Some(&[names::WATCHER.to_owned()][..]));
    }

    #[test]
    fn only_backends_that_are_to_be_not_ready_have_a_probe() {
        let probe = |churn: &str, group: usize| {
            let text = format!(
                "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n  platform: kubernetes\n  http: {{targets: [cluster-ip]{churn}}}\n"
            );
            let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
            let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
            let agent = experiment.topology().groups[group].agents[0].clone();
            let pod = run.pod(&PodPlan { group, agent, node: None, in_host_network: false });
            assert_eq!(needed(&pod), (Level::Restricted, Vec::new()));
            let container = pod.spec.unwrap().containers.remove(0);
            let listens = container.command.unwrap().join(" ").contains("--http-ready [::]:8081");
            let probe = container.readiness_probe;
            assert!(probe.iter().all(|probe| probe.timeout_seconds.is_some_and(|s| s > 1)), "{probe:?}");
            (listens, probe.and_then(|probe| probe.tcp_socket).map(|socket| socket.port))
        };
        let churn = |kind: &str| format!(", churn: {{after: 1s, for: 1s, kind: {kind}}}");
        assert_eq!(probe("", 1), (false, None));
        assert_eq!(probe(&churn("killed"), 1), (false, None));
        assert_eq!(probe(&churn("notReady"), 0), (false, None));
        assert_eq!(probe(&churn("notReady"), 1), (true, Some(IntOrString::Int(8081))));
    }

    #[test]
    fn pods_of_engine_sockets_have_its_workers_and_the_traffics_ip_version() {
        let text = "apiVersion: linerate.dev/v1alpha1
kind: Experiment
spec:
  platform: kubernetes
  engines: [af_packet, sockets]
  agents: {workers: {tx: 2}}
  traffic: {frameSizes: [128], rates: [1kpps], source: {ip: '::'}}
";
        let experiment = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap().parts().remove(1);
        let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
        let agent = experiment.topology().groups[0].agents[0].clone();
        let pod = run.pod(&PodPlan { group: 0, agent, node: Some("n1".to_owned()), in_host_network: false });
        assert_eq!(
            (needed(&pod), pod.metadata.name.as_deref()),
            ((Level::Restricted, Vec::new()), Some("tx1"))
        );
        let spec = pod.spec.unwrap();
        let command = spec.containers[0].command.as_ref().unwrap().join(" ");
        assert!(command.contains(" --streams [::]:22023 ") && command.ends_with(" --workers 2"), "{command}");
        assert!(spec.containers[0].image.as_ref().unwrap().starts_with("localhost/linerate-hostplane:"));
        assert!(spec.affinity.unwrap().node_affinity.is_some());
    }

    #[test]
    fn pods_of_streams_are_restricted() {
        let text = "apiVersion: linerate.dev/v1alpha1
kind: Experiment
spec:
  platform: kubernetes
  streams: {rates: [1mbps]}
  topology: {kind: mesh, agents: 3, interfaces: [eth0, net1]}
  safety: {maxRate: 1gbps}
  kubernetes: {networks: [lan]}
";
        let experiment = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap();
        let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
        let topology = experiment.topology();
        assert_eq!(topology.groups.len(), 3);
        let agent = topology.groups[1].agents[0].clone();
        let plan = PodPlan { group: 1, agent, node: None, in_host_network: false };
        let pod = run.pod(&plan);
        assert_eq!(needed(&pod), (Level::Restricted, Vec::new()));
        assert_eq!(pod.metadata.name.as_deref(), Some("a1"));
        assert_eq!(pod.metadata.annotations.unwrap()["k8s.v1.cni.cncf.io/networks"], "lan");
        let spec = pod.spec.unwrap();
        let agent = &spec.containers[0];
        let command = agent.command.as_ref().unwrap().join(" ");
        assert_eq!(
            command,
            "/usr/local/bin/linerate-hostplane agent --listen 127.0.0.1:22022 --streams [::]:22023 --token-file \
             /run/secrets/linerate/token --exit-when-orphaned 60s --max-rate 1gbps"
        );
        let limits = agent.resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!(limits.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
        assert!(spec.topology_spread_constraints.is_some() && spec.init_containers.is_none());
        assert_eq!((spec.host_network, &agent.ports), (None, &None));
    }

    #[test]
    fn a_pod_in_its_nodes_network_is_on_that_node_and_needs_the_right_to_it() {
        let text = "{apiVersion: linerate.dev/v1alpha1, kind: Experiment, spec: {platform: kubernetes, streams: {}}}";
        let experiment = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap();
        let run = Run { experiment: &experiment, id: "0a1b2c3d", owner: None };
        let agent = experiment.topology().groups[0].agents[0].clone();
        let plan = PodPlan { group: 0, agent, node: Some("n1".to_owned()), in_host_network: true };
        let pod = run.pod(&plan);
        let (level, reasons) = needed(&pod);
        assert_eq!((level, reasons), (Level::Privileged, vec!["the network of the node".to_owned()]));
        let spec = pod.spec.unwrap();
        assert_eq!((spec.host_network, spec.topology_spread_constraints), (Some(true), None));
        let agent = &spec.containers[0];
        let ports = agent.ports.iter().flatten().map(|port| (port.container_port, port.host_port));
        assert_eq!(ports.collect::<Vec<_>>(), [(22022, Some(22022)), (22023, Some(22023))]);
        assert!(agent.command.as_ref().unwrap().join(" ").contains(" --streams [::]:22023 "));
        let affinity = spec.affinity.unwrap();
        assert!(affinity.pod_affinity.is_none() && affinity.pod_anti_affinity.is_none());
        assert!(format!("{:?}", affinity.node_affinity).contains("n1"));
    }
}
