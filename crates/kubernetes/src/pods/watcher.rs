//! Pods that watch nodes: agents in the nodes' own networks, without privileges and without work of their own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use linerate_experiment::Experiment;

use super::{EXIT_WHEN_ORPHANED, PROGRAMS, Run, SECRETS, kernel, names, on_node, scheduling};

/// What such a pod asks of its node, and may use at most: it reads files between trials, and at their start and end.
const REQUESTS: [(&str, &str); 2] = [("cpu", "20m"), ("memory", "32Mi")];
const LIMITS: [(&str, &str); 2] = [("cpu", "1"), ("memory", "128Mi")];

/// Name of the pod that watches the node of this number, in the order in which nodes were found.
pub fn name(number: usize) -> String {
    format!("node{number}")
}

/// Names of all such pods that an experiment can have: no more than it has agents; none when it asks for none.
pub fn names_of(experiment: &Experiment) -> Vec<String> {
    match experiment.kubernetes().node_view {
        true => (0..experiment.topology().agents().count()).map(name).collect(),
        false => Vec::new(),
    }
}

/// Manifest of the pod that watches `node`.
///
/// It listens on the node's loopback address, at a port that the kernel chooses: runs at the same time would take each
/// other's. Its log has the port.
pub(super) fn pod(run: &Run<'_>, name: &str, node: &str) -> Pod {
    let settings = run.settings();
    let mut metadata = run.metadata(name.to_owned());
    metadata.labels.get_or_insert_default().insert(names::ROLE.to_owned(), names::WATCHER.to_owned());
    let image = match run.experiment.is_of_frames() {
        true => settings.image_of_hostplane(),
        false => settings.image.clone(),
    };
    let mut command = vec![format!("{PROGRAMS}/linerate-hostplane"), "agent".to_owned()];
    for (option, value) in [
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--streams", "127.0.0.1:0".to_owned()),
        ("--workers", "1".to_owned()),
        ("--token-file", format!("{SECRETS}/token")),
        ("--exit-when-orphaned", EXIT_WHEN_ORPHANED.to_owned()),
    ] {
        command.extend([option.to_owned(), value]);
    }
    let container = Container {
        image: Some(image),
        command: Some(command),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&REQUESTS)),
            limits: Some(quantities(&LIMITS)),
            ..ResourceRequirements::default()
        }),
        ..kernel::container(settings.image_pull_policy)
    };
    let spec = PodSpec {
        affinity: Some(on_node(node)),
        host_network: Some(true),
        ..kernel::pod_spec(container, name.to_owned())
    };
    Pod { metadata, spec: Some(scheduling::told(settings, spec)), ..Pod::default() }
}

fn quantities(amounts: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    amounts.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
}
