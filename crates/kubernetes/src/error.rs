//! Errors of the API server and of the connection to it, with remedies.

use kube::Error;
use linerate_runner::platform::PlatformError;

use super::need::Need;
use super::placement::NoRoom;
use super::security::Level;

/// Why the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no usable configuration.
    #[error("no cluster to work with: {0}\n  remedy: set KUBECONFIG, or --context to one of its contexts")]
    Config(String),
    /// A request failed.
    #[error("cannot {action}: {}", explain(reason))]
    Request {
        /// The action.
        action: String,
        /// The reason.
        reason: Box<Error>,
    },
    /// Permissions are missing. Nothing was created.
    #[error(
        "not allowed in namespace {namespace}: {}\n  remedy: `linerate rbac --namespace {namespace}` prints the Role that suffices",
        needs(missing)
    )]
    Forbidden {
        /// The namespace.
        namespace: String,
        /// The missing permissions.
        missing: Vec<Need>,
    },
    /// The namespace does not exist.
    #[error("there is no namespace {0}\n  remedy: create it, or choose another with --namespace")]
    NoNamespace(String),
    /// Too little packet memory for the buffers of an agent.
    #[error(transparent)]
    Buffers(#[from] linerate_runner::platform::buffers::TooFewMegabytes),
    /// A node that the user names cannot have a pod.
    #[error("node {node}: {reason}\n  remedy: choose among the nodes {known}")]
    Node {
        /// Its name.
        node: String,
        /// The reason.
        reason: String,
        /// Names of the nodes there are.
        known: String,
    },
    /// The pods do not fit.
    #[error(
        "{0}\n  remedy: lower what pods ask for (--cpu, --memory, --hugepages-2Mi, --resource), use fewer pairs, or free the nodes"
    )]
    NoRoom(NoRoom),
    /// The limit of open files is too low for a connection to each pod.
    #[error(
        "{pods} pods need about {wanted} open files, one for each connection, and this user may have {most}\n  remedy: raise the limit (`ulimit -Hn`), or use fewer pairs"
    )]
    TooFewFiles {
        /// Pods planned.
        pods: usize,
        /// Open files needed.
        wanted: u64,
        /// Open files allowed.
        most: u64,
    },
    /// A quota does not allow the pods.
    #[error(
        "quota {quota} of namespace {namespace} leaves too little: {resource}: wanted {wanted}, available {available}\n  remedy: lower what \
         pods ask for, use fewer pairs, free what others hold of the quota (`kubectl describe quota --namespace {namespace} {quota}`), or \
         have it raised"
    )]
    Quota {
        /// Its name.
        quota: String,
        /// The namespace.
        namespace: String,
        /// The resource.
        resource: String,
        /// Amount that the experiment needs.
        wanted: String,
        /// Amount that is left.
        available: String,
    },
    /// The namespace's Pod Security level does not admit the pods.
    #[error(
        "{server}\n  these pods need the level {level}: {}\n  remedy: `kubectl label --overwrite namespace {namespace} \
         pod-security.kubernetes.io/enforce={level}`, or another namespace with this label (docs/kubernetes.md says which level each link \
         needs)",
        because.join(", ")
    )]
    PodSecurity {
        /// The server's message.
        server: String,
        /// The namespace.
        namespace: String,
        /// The strictest level that admits the pods.
        level: Level,
        /// The pods' properties that require it.
        because: Vec<String>,
    },
    /// The server does not admit pods that watch nodes.
    #[error("{server}\n  {}", without_view(unlabelled.as_deref()))]
    NodeView {
        /// The server's message.
        server: String,
        /// The namespace, where its Pod Security level is what refuses them.
        unlabelled: Option<String>,
    },
    /// The network does not exist.
    #[error(
        "there is no NetworkAttachmentDefinition {0}\n  remedy: create it, or correct spec.kubernetes.networks"
    )]
    NoNetwork(String),
    /// Foreign objects, or objects of a live run, have the names.
    #[error("{0}")]
    Conflict(String),
    /// A pod did not become ready.
    #[error("{0}")]
    NotReady(String),
}

/// The remedy for pods of node view that are not admitted; a namespace's label is one where its level refuses them.
fn without_view(unlabelled: Option<&str>) -> String {
    let remedy = "remedy: remove spec.kubernetes.nodeView, which a run does not need";
    match unlabelled {
        None => remedy.to_owned(),
        Some(namespace) => format!(
            "pods of spec.kubernetes.nodeView are in the network of their nodes, which the Pod Security levels baseline and restricted forbid\n  \
             {remedy}, or `kubectl label --overwrite namespace {namespace} pod-security.kubernetes.io/enforce=privileged`"
        ),
    }
}

fn needs(missing: &[Need]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl ClusterError {
    /// Adds the action to a failed request.
    pub fn while_(action: impl Into<String>) -> impl FnOnce(Error) -> Self {
        let action = action.into();
        move |reason| ClusterError::Request { action, reason: Box::new(reason) }
    }

    /// True when a request failed but may have been carried out.
    pub fn is_transient(&self) -> bool {
        matches!(self, ClusterError::Request { reason, .. } if is_transient(reason))
    }
}

/// True when the server denies access to this user.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403)
}

/// True when Pod Security admission denies a pod.
pub fn is_pod_security(error: &Error) -> bool {
    is_forbidden(error) && error.to_string().contains("violates PodSecurity")
}

/// True when the server refuses the request permanently: no access (401, 403), invalid (422) and the like.
/// Conditions that may change are not refusals: a missing or existing object, a conflict, a busy server.
pub fn is_refusal(error: &Error) -> bool {
    let may_change = |code| matches!(code, 404 | 408 | 409 | 410 | 425 | 429);
    matches!(error, Error::Api(status) if (400..500).contains(&status.code) && !may_change(status.code))
}

/// True when the server has no such object.
pub fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// True when the server no longer has that resource version.
pub fn is_expired(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 410)
}

/// True when a retry may succeed: the server is busy or restarting, or the connection broke.
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => status.code == 429 || status.code >= 500,
        Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// The reason and, where it is not obvious, the remedy.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Api(status) if status.code == 401 => {
            "the API server does not accept the credentials of the kubeconfig; have they expired? (check with `kubectl get pods`)".to_owned()
        }
        Error::Api(status) if status.code == 429 => match &status.details {
            Some(details) if details.retry_after_seconds > 0 => {
                let seconds = details.retry_after_seconds;
                format!("the API server is busy; it asks for a retry in {seconds} s: {}", status.message)
            }
            _ => format!("the API server is busy: {}", status.message),
        },
        Error::Api(status) => status.message.clone(),
        Error::HyperError(_) | Error::Service(_) => {
            let mut text = "the API server cannot be reached".to_owned();
            let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
            while let Some(reason) = cause {
                text = format!("{text}: {reason}");
                cause = reason.source();
            }
            text
        }
        other => other.to_string(),
    }
}

impl From<ClusterError> for PlatformError {
    fn from(error: ClusterError) -> Self {
        PlatformError::Other(Box::new(error))
    }
}
