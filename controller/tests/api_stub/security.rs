//! Pod Security admission: the violations of Linerate's pods, in the words of Kubernetes 1.36
//! (k8s.io/pod-security-admission).

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Baseline,
    Restricted,
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn counted(one: &str, names: &[String]) -> String {
    format!("{one}{} {}", if names.len() == 1 { "" } else { "s" }, quoted(names))
}

/// The violations of a pod in a namespace of this level: `"LEVEL:latest": REASONS`.
pub fn violation(level: Option<Level>, pod: &Value) -> Option<String> {
    let level = level?;
    let containers = || {
        ["initContainers", "containers"].into_iter().flat_map(|kind| pod["spec"][kind].as_array()).flatten()
    };
    let named = |of: &dyn Fn(&Value) -> bool| -> Vec<String> {
        containers()
            .filter(|container| of(container))
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut found = Vec::new();
    // Both levels.
    if pod["spec"]["hostNetwork"] == true {
        found.push("host namespaces (hostNetwork=true)".to_owned());
    }
    let host_paths: Vec<String> = pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|volume| !volume["hostPath"].is_null())
        .map(|volume| volume["name"].as_str().unwrap().to_owned())
        .collect();
    let adds = |container: &Value| container["securityContext"]["capabilities"]["add"].is_array();
    let adding = named(&adds);
    let mut added: Vec<String> = containers()
        .flat_map(|container| container["securityContext"]["capabilities"]["add"].as_array())
        .flatten()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    added.sort();
    added.dedup();
    let capabilities = format!(
        "({} must not include {} in securityContext.capabilities.add)",
        counted("container", &adding),
        quoted(&added)
    );
    match level {
        Level::Baseline => {
            if !added.is_empty() {
                found.push(format!("non-default capabilities {capabilities}"));
            }
            if !host_paths.is_empty() {
                found.push(format!("hostPath volumes ({})", counted("volume", &host_paths)));
            }
        }
        Level::Restricted => {
            if !added.is_empty() {
                found.push(format!("unrestricted capabilities {capabilities}"));
            }
            if !host_paths.is_empty() {
                let volumes = counted("volume", &host_paths);
                found.push(format!(
                    "restricted volume types ({volumes} uses restricted volume type \"hostPath\")"
                ));
            }
            let as_root = named(&|container| container["securityContext"]["runAsNonRoot"] != true);
            if !as_root.is_empty() && pod["spec"]["securityContext"]["runAsNonRoot"] != true {
                let who = counted("container", &as_root);
                found.push(format!(
                    "runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"
                ));
            }
            let root = named(&|container| container["securityContext"]["runAsUser"] == 0);
            if !root.is_empty() {
                found.push(format!("runAsUser=0 ({} must not set runAsUser=0)", counted("container", &root)));
            }
        }
    }
    let name = if level == Level::Baseline { "baseline" } else { "restricted" };
    (!found.is_empty()).then(|| format!("\"{name}:latest\": {}", found.join(", ")))
}
