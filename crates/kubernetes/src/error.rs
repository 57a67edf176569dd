//! What the API server and the way to it answer, in words that say what to do.

use kube::Error;
use linerate_runner::platform::PlatformError;

use super::need::Need;
use super::placement::NoRoom;
use super::security::Level;

/// Something of Kubernetes stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no usable configuration.
    #[error("no cluster to work with: {0}\n  remedy: set KUBECONFIG, or --context to one of its contexts")]
    Config(String),
    /// A request failed.
    #[error("cannot {action}: {}", explain(reason))]
    Request {
        /// What was to be done.
        action: String,
        /// Why it was not.
        reason: Box<Error>,
    },
    /// Something is not allowed. Nothing was created.
    #[error(
        "not allowed in namespace {namespace}: {}\n  remedy: `linerate rbac --namespace {namespace}` prints the Role that suffices",
        needs(missing)
    )]
    Forbidden {
        /// The namespace.
        namespace: String,
        /// What is not allowed.
        missing: Vec<Need>,
    },
    /// The namespace is not there.
    #[error("there is no namespace {0}\n  remedy: create it, or choose another with --namespace")]
    NoNamespace(String),
    /// Too little packet memory for the buffers of an agent.
    #[error(transparent)]
    Buffers(#[from] linerate_runner::platform::buffers::TooFewMegabytes),
    /// The pods do not fit.
    #[error(
        "{0}\n  remedy: lower what pods ask for (--cpu, --memory, --hugepages-2Mi, --resource), use fewer pairs, or free the nodes"
    )]
    NoRoom(NoRoom),
    /// The controller may not have a connection to each pod.
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
        /// What is lacking.
        resource: String,
        /// What the experiment needs.
        wanted: String,
        /// What is left.
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
        /// The server's words.
        server: String,
        /// The namespace.
        namespace: String,
        /// The strictest level that admits the pods.
        level: Level,
        /// What in the pods asks for it.
        because: Vec<String>,
    },
    /// The network is not there.
    #[error(
        "there is no NetworkAttachmentDefinition {0}\n  remedy: create it, or correct spec.kubernetes.networks"
    )]
    NoNetwork(String),
    /// Objects of others, or of a live run, have the names.
    #[error("{0}")]
    Conflict(String),
    /// A pod did not become ready.
    #[error("{0}")]
    NotReady(String),
}

fn needs(missing: &[Need]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl ClusterError {
    /// Says what was to be done when a request fails.
    pub fn while_(action: impl Into<String>) -> impl FnOnce(Error) -> Self {
        let action = action.into();
        move |reason| ClusterError::Request { action, reason: Box::new(reason) }
    }

    /// True when a request failed that may have been carried out.
    pub fn is_transient(&self) -> bool {
        matches!(self, ClusterError::Request { reason, .. } if is_transient(reason))
    }
}

/// True when the server says no to this user.
pub fn is_forbidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403)
}

/// True when the server says no to the request as it is, and will say so again: not allowed (401, 403), not valid (422) and the like. What
/// may change by itself is none of these: an object that is not there yet or is there already, a conflict, a busy server.
pub fn is_refusal(error: &Error) -> bool {
    let may_change = |code| matches!(code, 404 | 408 | 409 | 410 | 425 | 429);
    matches!(error, Error::Api(status) if (400..500).contains(&status.code) && !may_change(status.code))
}

/// True when the server knows no such thing.
pub fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// True when the server has that version of its objects no longer.
pub fn is_expired(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 410)
}

/// True when another attempt may succeed: the server is busy or restarting, or the way to it broke.
pub fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => status.code == 429 || status.code >= 500,
        Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// The reason, and where it is not plain, the remedy.
pub fn explain(error: &Error) -> String {
    match error {
        Error::Api(status) if status.code == 401 => {
            "the API server does not accept the credentials of the kubeconfig; have they expired? (`kubectl get pods` tells)".to_owned()
        }
        Error::Api(status) if status.code == 429 => match &status.details {
            Some(details) if details.retry_after_seconds > 0 => {
                let seconds = details.retry_after_seconds;
                format!("the API server is busy and wants to be asked again in {seconds} s: {}", status.message)
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
