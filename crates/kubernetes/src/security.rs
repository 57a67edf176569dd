//! The strictest Pod Security Standard that a pod complies with, and the reasons against a stricter one.
//! Pure.

use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod};

/// Capabilities that a pod of the level `baseline` may add.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A level of the Pod Security Standards, from strict to lax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Hardened pods.
    Restricted,
    /// No known privilege escalations.
    Baseline,
    /// No restrictions.
    Privileged,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Restricted => "restricted",
            Level::Baseline => "baseline",
            Level::Privileged => "privileged",
        })
    }
}

/// The strictest level that admits `pod`, and the pod's properties that require it.
pub fn needed(pod: &Pod) -> (Level, Vec<String>) {
    let mut found = Vec::new();
    let Some(spec) = &pod.spec else { return (Level::Restricted, Vec::new()) };
    for volume in spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some()) {
        found.push((Level::Privileged, format!("volume {} is a directory of the node", volume.name)));
    }
    if spec.host_network == Some(true) {
        found.push((Level::Privileged, "the network of the node".to_owned()));
    }
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut added: Vec<&String> = containers().flat_map(added).collect();
    added.sort();
    added.dedup();
    for name in added {
        let level = match name.as_str() {
            "NET_BIND_SERVICE" => continue,
            other if BASELINE_CAPABILITIES.contains(&other) => Level::Baseline,
            _ => Level::Privileged,
        };
        found.push((level, format!("capability {name}")));
    }
    let user =
        |container: &Container| container.security_context.as_ref().and_then(|context| context.run_as_user);
    if containers().any(|container| user(container) == Some(0)) {
        found.push((Level::Baseline, "user 0".to_owned()));
    }
    let level = found.iter().map(|(level, _)| *level).max().unwrap_or(Level::Restricted);
    (level, found.into_iter().filter(|(of, _)| *of == level).map(|(_, what)| what).collect())
}

fn added(container: &Container) -> impl Iterator<Item = &String> {
    let context = container.security_context.as_ref();
    context
        .and_then(|context| context.capabilities.as_ref())
        .and_then(|all| all.add.as_ref())
        .into_iter()
        .flatten()
}
