//! Port-forwards: connections to agents in pods through the API server.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use linerate_runner::session::{Dial, Dialling, NoConnection, Stream};

use super::error::{explain, is_refusal};

/// For how long the first connection may be refused: a running pod does not mean that its agent listens.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A port-forward by the API server to a port of a pod's loopback address.
pub(crate) struct PortForward {
    /// The pods of its namespace.
    pub(crate) pods: Api<Pod>,
    pub(crate) pod: String,
    /// The port on the pod's loopback address.
    pub(crate) port: u16,
}

impl PortForward {
    fn failed(&self, error: &kube::Error) -> NoConnection {
        let reason = explain(error);
        if !is_refusal(error) {
            return NoConnection::Failed(reason);
        }
        let reason = reason.trim_end_matches([' ', ':']);
        NoConnection::Refused(format!(
            "the API server refuses the port-forward to {self}: {reason}\n  remedy: the Role needs the verbs get and create on \
             pods/portforward (`linerate rbac` prints it); where it has them, a policy of the cluster refuses"
        ))
    }
}

impl Dial for PortForward {
    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            let forwarder = self.pods.portforward(&self.pod, &[self.port]).await;
            let mut forwarder = forwarder.map_err(|error| self.failed(&error))?;
            let no_port = || NoConnection::Failed("the API server forwards no such port".to_owned());
            let stream = forwarder.take_stream(self.port).ok_or_else(no_port)?;
            // The forwarder's task ends with its stream.
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}, port {}, through the API server", self.pod, self.port)
    }
}
