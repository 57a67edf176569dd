//! What Linerate asks of the API server: the verbs it uses, as a Role, and whether they are allowed.

use std::fmt;

use futures_util::stream::{self, StreamExt};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::error::ClusterError;
use super::retry::steadily;
use crate::experiment::kubernetes::{KubernetesSection, OutputVolume};

/// Reviews that are asked at the same time.
const AT_ONCE: usize = 8;

/// A verb on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// What is done.
    pub verb: &'static str,
    /// API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource after a slash.
    pub resource: &'static str,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

/// One line of the Role.
struct Rule {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        group: "",
        resource: "pods",
        verbs: &["create", "delete", "get", "list", "watch"],
        why: "the agents; only those with Linerate's labels are deleted",
    },
    // An API server of before 1.31 asks for get, a later one for create.
    Rule { group: "", resource: "pods/portforward", verbs: &["create", "get"], why: "the way to an agent" },
    Rule {
        group: "",
        resource: "pods/log",
        verbs: &["get"],
        why: "what an agent logged is kept with the results",
    },
    Rule { group: "", resource: "secrets", verbs: &["create", "delete"], why: "the agents' tokens" },
    Rule { group: "", resource: "events", verbs: &["list"], why: "why a pod does not start" },
    Rule { group: "", resource: "resourcequotas", verbs: &["list"], why: "what the namespace may use" },
    Rule {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["create", "delete", "list", "patch"],
        why: "owns a run's objects, and tells that the run is alive",
    },
];

/// Asked for by nothing but runs on pods that are there already.
const KEPT: Rule = Rule {
    group: "",
    resource: "secrets",
    verbs: &["get"],
    why: "the tokens of kept pods, for runs on them (--pods)",
};

const CLAIMS: Rule = Rule {
    group: "",
    resource: "persistentvolumeclaims",
    verbs: &["create", "delete", "list"],
    why: "volumes of spec.kubernetes.output",
};

const NETWORKS: Rule = Rule {
    group: "k8s.cni.cncf.io",
    resource: "network-attachment-definitions",
    verbs: &["get"],
    why: "the networks of spec.kubernetes.networks",
};

/// Seen for all namespaces: without them the plan leaves room on nodes to the scheduler.
const CLUSTER_RULES: &[Rule] = &[
    Rule { group: "", resource: "nodes", verbs: &["list"], why: "what nodes have" },
    Rule { group: "", resource: "pods", verbs: &["list"], why: "what other pods ask of the nodes" },
];

fn rules(settings: Option<&KubernetesSection>) -> Vec<&'static Rule> {
    let mut rules: Vec<&Rule> = RULES.iter().collect();
    let claims =
        |settings: &KubernetesSection| matches!(settings.output, OutputVolume::PersistentVolumeClaim { .. });
    if settings.is_none() {
        rules.push(&KEPT);
    }
    if settings.is_none_or(claims) {
        rules.push(&CLAIMS);
    }
    if settings.is_none_or(|settings| !settings.networks.is_empty()) {
        rules.push(&NETWORKS);
    }
    rules
}

/// Everything that an experiment of these settings does in its namespace; `None`: any experiment.
pub fn needs(settings: Option<&KubernetesSection>) -> Vec<Need> {
    let of = |rule: &'static Rule| {
        rule.verbs.iter().map(|verb| Need { verb, group: rule.group, resource: rule.resource })
    };
    rules(settings).into_iter().flat_map(of).collect()
}

/// What is not allowed in `namespace`.
///
/// # Errors
/// When the server does not tell.
pub async fn missing(
    client: &Client,
    namespace: &str,
    settings: &KubernetesSection,
) -> Result<Vec<Need>, ClusterError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answers: Vec<_> = stream::iter(needs(Some(settings)))
        .map(|need| {
            let reviews = reviews.clone();
            async move { Ok((need, allowed(&reviews, namespace, need).await?)) }
        })
        .buffered(AT_ONCE)
        .collect::<Vec<Result<_, ClusterError>>>()
        .await;
    let mut missing = Vec::new();
    for answer in answers {
        let (need, allowed) = answer?;
        if !allowed {
            missing.push(need);
        }
    }
    // Either of the two is what this server asks for.
    let forward = |need: &Need| need.resource == "pods/portforward";
    if missing.iter().filter(|need| forward(need)).count() == 1 {
        missing.retain(|need| !forward(need));
    }
    Ok(missing)
}

async fn allowed(
    reviews: &Api<SelfSubjectAccessReview>,
    namespace: &str,
    need: Need,
) -> Result<bool, ClusterError> {
    let (resource, subresource) = match need.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (need.resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(need.verb.to_owned()),
                group: Some(need.group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let params = PostParams::default();
    let answer = steadily(|| reviews.create(&params, &review))
        .await
        .map_err(ClusterError::while_("ask what is allowed"))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// The Role with exactly these verbs, its binding to a service account, and, with `cluster`, what lets the plan see the nodes. YAML for `kubectl apply`.
pub fn role(namespace: &str, account: &str, cluster: bool) -> String {
    let mut text = head("Role", "linerate", Some(namespace));
    text.push_str("rules:\n");
    rules(None).into_iter().for_each(|rule| text.push_str(&line(rule)));
    text.push_str("---\n");
    text.push_str(&binding("RoleBinding", "Role", "linerate", account, namespace, Some(namespace)));
    if cluster {
        text.push_str("---\n");
        text.push_str(&head("ClusterRole", "linerate-planner", None));
        text.push_str("rules:\n");
        CLUSTER_RULES.iter().for_each(|rule| text.push_str(&line(rule)));
        text.push_str("---\n");
        text.push_str(&binding(
            "ClusterRoleBinding",
            "ClusterRole",
            &format!("linerate-planner-{namespace}"),
            account,
            namespace,
            None,
        ));
    }
    text
}

fn head(kind: &str, name: &str, namespace: Option<&str>) -> String {
    let namespace = namespace.map(|namespace| format!("  namespace: {namespace}\n")).unwrap_or_default();
    format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n{namespace}")
}

fn line(rule: &Rule) -> String {
    format!(
        "# {}\n- apiGroups: [\"{}\"]\n  resources: [{}]\n  verbs: [{}]\n",
        rule.why,
        rule.group,
        rule.resource,
        rule.verbs.join(", ")
    )
}

fn binding(
    kind: &str,
    role_kind: &str,
    name: &str,
    account: &str,
    account_namespace: &str,
    namespace: Option<&str>,
) -> String {
    let role = if role_kind == "Role" { "linerate" } else { "linerate-planner" };
    format!(
        "{}roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {role_kind}\n  name: {role}\nsubjects:\n- kind: ServiceAccount\n  name: \
         {account}\n  namespace: {account_namespace}\n",
        head(kind, name, namespace)
    )
}
