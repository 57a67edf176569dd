//! Labels and names of the objects that Linerate makes. What does not carry the labels is never changed or deleted.

use std::collections::BTreeMap;

use kube::ResourceExt;

/// Says whose object it is; the value is [`LINERATE`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const LINERATE: &str = "linerate";
/// Id of the experiment: 8 hexadecimal digits.
pub const EXPERIMENT: &str = "linerate.dev/experiment";
/// Number of the pair.
pub const PAIR: &str = "linerate.dev/pair";
/// `tx` or `rx`.
pub const ROLE: &str = "role";
/// On a lease: the pods are meant to stay after the run.
pub const KEPT: &str = "linerate.dev/kept";

/// Name of the secret with the tokens: one for each namespace, as pods are `tx0` and `rx0` in each, so that a Role can name it.
pub const SECRET: &str = "linerate-tokens";

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

/// Selects everything of Linerate's.
pub fn all() -> String {
    format!("{MANAGED_BY}={LINERATE}")
}

/// Selects what belongs to one experiment.
pub fn of_experiment(experiment: &str) -> String {
    format!("{MANAGED_BY}={LINERATE},{EXPERIMENT}={experiment}")
}
