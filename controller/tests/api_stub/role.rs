//! The Role as `linerate rbac` prints it. The stub grants exactly that.

use std::collections::BTreeSet;

use super::request::Asked;

/// A verb on a resource of a group.
pub type Right = (String, String, String);

#[derive(Debug, Clone, Default)]
pub struct Role {
    /// In the namespace.
    pub namespaced: BTreeSet<Right>,
    /// In all namespaces.
    pub cluster: BTreeSet<Right>,
}

impl Role {
    /// Reads what the program prints.
    pub fn printed() -> Self {
        let text = super::support::linerate(&["rbac", "--namespace", "lab", "--cluster"]);
        let text = super::support::stdout(&text);
        let mut role = Self::default();
        for document in text.split("---\n") {
            let line = |key: &str| -> Vec<Vec<String>> {
                let found = document.lines().filter_map(|line| line.split_once(&format!("{key}: [")));
                let words = |list: &str| {
                    list.trim_end_matches(']')
                        .split(", ")
                        .map(|word| word.trim_matches('"').to_owned())
                        .collect()
                };
                found.map(|(_, list)| words(list)).collect()
            };
            let into = if document.contains("kind: Role\n") && document.contains("rules:") {
                &mut role.namespaced
            } else {
                &mut role.cluster
            };
            for ((groups, resources), verbs) in
                line("apiGroups").iter().zip(line("resources")).zip(line("verbs"))
            {
                for verb in verbs {
                    into.insert((verb, groups[0].clone(), resources[0].clone()));
                }
            }
        }
        assert!(role.namespaced.len() > 10 && role.cluster.len() == 2, "{role:?}");
        role
    }

    /// Without one of its rights.
    pub fn without(mut self, verb: &str, resource: &str) -> Self {
        self.namespaced.retain(|(v, _, r)| (v.as_str(), r.as_str()) != (verb, resource));
        self.cluster.retain(|(v, _, r)| (v.as_str(), r.as_str()) != (verb, resource));
        self
    }

    pub fn allows(&self, asked: &Asked) -> bool {
        // Everyone may ask what he may do.
        let rights = if asked.namespace.is_some() { &self.namespaced } else { &self.cluster };
        asked.resource == "selfsubjectaccessreviews" || rights.contains(&right(asked))
    }
}

pub fn right(asked: &Asked) -> Right {
    (asked.verb.to_owned(), asked.group.clone(), asked.resource.clone())
}
