//! Labels and names of Linerate's objects. Objects without the labels are never changed or deleted.

use std::collections::BTreeMap;

use kube::ResourceExt;

/// Label for the owner of an object; its value is [`LINERATE`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const LINERATE: &str = "linerate";
/// Label for the id of the experiment: 8 hexadecimal digits.
pub const EXPERIMENT: &str = "linerate.dev/experiment";
/// Label for the number of the pair.
pub const PAIR: &str = "linerate.dev/pair";
/// Label for the role: `tx`, `rx` or [`WATCHER`].
pub const ROLE: &str = "role";
/// Role of a pod that watches its node.
pub const WATCHER: &str = "watcher";
/// Annotation of a lease: when its holder's process started, in ticks since its host's boot.
pub const HOLDER_STARTED: &str = "linerate.dev/holder-started";
/// Annotation of a lease: the processes among which its holder has its number.
pub const HOLDER_PROCESSES: &str = "linerate.dev/holder-processes";
/// Label on a lease: the pods are kept after the run.
pub const KEPT: &str = "linerate.dev/kept";

/// Name of the secret with the tokens: one for each namespace, because pods are named `tx0` and `rx0` in
/// each, and because a Role can then name it.
pub const SECRET: &str = "linerate-tokens";

/// Name of the Service of an experiment of HTTP: one for each namespace, for the same reasons.
pub const SERVICE: &str = "linerate-http";

/// Label on each of the first so many backends: the Service of a trial selects those of its number.
pub fn among_first(backends: u32) -> String {
    format!("linerate.dev/first-{backends}")
}

/// Name of the experiment's lease.
pub fn object(experiment: &str) -> String {
    format!("linerate-{experiment}")
}

/// Name of a pod's volume claim.
pub fn claim(experiment: &str, pod: &str) -> String {
    format!("linerate-{experiment}-{pod}")
}

/// Labels of everything that belongs to an experiment.
pub fn labels(experiment: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), LINERATE.to_owned()),
        (EXPERIMENT.to_owned(), experiment.to_owned()),
    ])
}

/// True when an object carries the labels of an experiment.
pub fn is_of(object: &impl ResourceExt, experiment: &str) -> bool {
    labels(experiment).iter().all(|(name, value)| object.labels().get(name) == Some(value))
}

/// Selector for all objects of Linerate.
pub fn all() -> String {
    format!("{MANAGED_BY}={LINERATE}")
}

/// Selector for the objects of one experiment.
pub fn of_experiment(experiment: &str) -> String {
    format!("{MANAGED_BY}={LINERATE},{EXPERIMENT}={experiment}")
}
