//! The Role that `linerate rbac` prints. The stub grants exactly that.

use std::collections::BTreeSet;

use super::request::Asked;

/// Verb, group, and resource; a right on a single object has its name after a space.
pub type Right = (String, String, String);

#[derive(Debug, Clone, Default)]
pub struct Role {
    /// Rights in the namespace.
    pub namespaced: BTreeSet<Right>,
    /// Cluster-wide rights.
    pub cluster: BTreeSet<Right>,
}

impl Role {
    /// Parses the program's output.
    pub fn printed() -> Self {
        let text = super::support::linerate(&["rbac", "--namespace", "lab", "--cluster"]);
        let text = super::support::stdout(&text);
        let mut role = Self::default();
        for document in text.split("---\n") {
            let into = if document.contains("kind: Role\n") && document.contains("rules:") {
                &mut role.namespaced
            } else {
                &mut role.cluster
            };
            for rule in document.split("- apiGroups").skip(1) {
                let list = |key: &str| -> Vec<String> {
                    let found = rule.lines().find_map(|line| line.split_once(&format!("{key}: [")));
                    let words = found.map(|(_, list)| list.trim_end_matches(']').split(", "));
                    words.into_iter().flatten().map(|word| word.trim_matches('"').to_owned()).collect()
                };
                let group = rule.split('"').nth(1).unwrap_or_default().to_owned();
                let name = list("resourceNames").first().map(|name| format!(" {name}")).unwrap_or_default();
                for verb in list("verbs") {
                    into.insert((verb, group.clone(), format!("{}{name}", list("resources")[0])));
                }
            }
        }
        assert!(role.namespaced.len() > 10 && role.cluster.len() == 2, "{role:?}");
        role
    }

    /// The Role without one of its rights.
    pub fn without(mut self, verb: &str, resource: &str) -> Self {
        self.namespaced.retain(|(v, _, r)| (v.as_str(), r.as_str()) != (verb, resource));
        self.cluster.retain(|(v, _, r)| (v.as_str(), r.as_str()) != (verb, resource));
        self
    }

    pub fn allows(&self, asked: &Asked) -> bool {
        // Every user may request a review of its own access.
        if asked.namespace.is_none() {
            return asked.resource == "selfsubjectaccessreviews" || self.cluster.contains(&right(asked));
        }
        self.has(asked.verb, &asked.group, &asked.resource, asked.name.as_deref().unwrap_or_default())
    }

    /// True when this is allowed in the namespace, on all objects or on the one of this name.
    pub fn has(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        [resource.to_owned(), format!("{resource} {name}")]
            .into_iter()
            .any(|resource| self.namespaced.contains(&(verb.to_owned(), group.to_owned(), resource)))
    }
}

/// The right that a request uses; rights on existing secrets and Services are by name.
pub fn right(asked: &Asked) -> Right {
    let is_named = ["secrets", "services"].contains(&asked.resource.as_str()) && asked.verb != "create";
    let name = asked.name.as_deref().filter(|_| is_named).map(|name| format!(" {name}")).unwrap_or_default();
    (asked.verb.to_owned(), asked.group.clone(), format!("{}{name}", asked.resource))
}
