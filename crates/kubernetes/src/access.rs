//! Permissions on the API server: the verbs that Linerate uses, as a Role, and a check whether they are
//! allowed.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::error::ClusterError;
use super::names;
use super::need::Need;
use super::retry::steadily;
use linerate_experiment::Experiment;
use linerate_experiment::kubernetes::OutputVolume;

/// Concurrent access reviews.
const AT_ONCE: usize = 8;

/// A rule of the Role.
struct Rule {
    group: &'static str,
    resource: &'static str,
    /// Name of the object that the rule applies to; `None`: any.
    name: Option<&'static str>,
    verbs: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        group: "",
        resource: "pods",
        name: None,
        verbs: &["create", "delete", "get", "list", "watch"],
        why: "the agents; only those with Linerate's labels are deleted",
    },
    // The port-forward is opened by a GET, which needs `get`. From Kubernetes 1.35 on the server requires
    // `create` as well.
    Rule {
        group: "",
        resource: "pods/portforward",
        name: None,
        verbs: &["create", "get"],
        why: "the way to an agent",
    },
    Rule {
        group: "",
        resource: "pods/log",
        name: None,
        verbs: &["get"],
        why: "what an agent logged is kept with the results",
    },
    // RBAC cannot restrict `create` by name.
    Rule { group: "", resource: "secrets", name: None, verbs: &["create"], why: "the agents' tokens" },
    Rule {
        group: "",
        resource: "secrets",
        name: Some(names::SECRET),
        verbs: &["delete", "get"],
        why: "no other secret is read or deleted",
    },
    Rule { group: "", resource: "events", name: None, verbs: &["list"], why: "why a pod does not start" },
    Rule {
        group: "",
        resource: "resourcequotas",
        name: None,
        verbs: &["list"],
        why: "what the namespace may use",
    },
    Rule {
        group: "coordination.k8s.io",
        resource: "leases",
        name: None,
        verbs: &["create", "delete", "list", "patch"],
        why: "owns a run's objects, and shows that the run is active",
    },
];

const CLAIMS: Rule = Rule {
    group: "",
    resource: "persistentvolumeclaims",
    name: None,
    verbs: &["create", "delete", "list"],
    why: "volumes of spec.kubernetes.output",
};

const NETWORKS: Rule = Rule {
    group: "k8s.cni.cncf.io",
    resource: "network-attachment-definitions",
    name: None,
    verbs: &["get"],
    why: "the networks of spec.kubernetes.networks",
};

const SERVICES: &[Rule] = &[
    Rule {
        group: "",
        resource: "services",
        name: None,
        verbs: &["create"],
        why: "the targets cluster-ip and node-port of spec.http",
    },
    Rule {
        group: "",
        resource: "services",
        name: Some(names::SERVICE),
        verbs: &["delete", "get"],
        why: "no other Service is read or deleted",
    },
    Rule {
        group: "discovery.k8s.io",
        resource: "endpointslices",
        name: None,
        verbs: &["list"],
        why: "which backends of the Service are ready",
    },
];

/// Cluster-wide read access; without it the plan cannot see the nodes' room and leaves placement to the
/// scheduler.
const CLUSTER_RULES: &[Rule] = &[
    Rule { group: "", resource: "nodes", name: None, verbs: &["list"], why: "what nodes have" },
    Rule {
        group: "",
        resource: "pods",
        name: None,
        verbs: &["list"],
        why: "what other pods ask of the nodes",
    },
];

/// The rules that an experiment needs; `None`: any experiment.
fn rules(experiment: Option<&Experiment>) -> Vec<&'static Rule> {
    let mut rules: Vec<&Rule> = RULES.iter().collect();
    let claims = |experiment: &Experiment| {
        matches!(experiment.kubernetes().output, OutputVolume::PersistentVolumeClaim { .. })
    };
    if experiment.is_none_or(claims) {
        rules.push(&CLAIMS);
    }
    if experiment.is_none_or(|experiment| !experiment.kubernetes().networks.is_empty()) {
        rules.push(&NETWORKS);
    }
    if experiment.is_none_or(Experiment::needs_service) {
        rules.extend(SERVICES);
    }
    rules
}

/// Permissions that an experiment needs in its namespace; `None`: any experiment.
pub fn needs(experiment: Option<&Experiment>) -> Vec<Need> {
    let of = |rule: &'static Rule| {
        let Rule { group, resource, name, .. } = *rule;
        rule.verbs.iter().map(move |verb| Need { verb, group, resource, name })
    };
    rules(experiment).into_iter().flat_map(of).collect()
}

/// Permissions of the experiment that are missing in `namespace`.
///
/// # Errors
/// When the server does not answer.
pub async fn missing(
    client: &Client,
    namespace: &str,
    experiment: &Experiment,
) -> Result<Vec<Need>, ClusterError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    // The first failure ends the check: otherwise each review would wait for a server that is away.
    let answers: Vec<(Need, bool)> = stream::iter(needs(Some(experiment)))
        .map(|need| {
            let reviews = reviews.clone();
            async move { Ok::<_, ClusterError>((need, allowed(&reviews, namespace, need).await?)) }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let missing = answers.into_iter().filter(|(_, allowed)| !allowed).map(|(need, _)| need).collect();
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
                name: need.name.map(str::to_owned),
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

/// Manifests for `kubectl apply`: a Role with exactly these verbs, its binding to a service account, and,
/// with `cluster`, the rules for reading the nodes.
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
    let names = rule.name.map(|name| format!("  resourceNames: [{name}]\n")).unwrap_or_default();
    format!(
        "# {}\n- apiGroups: [\"{}\"]\n  resources: [{}]\n{names}  verbs: [{}]\n",
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
