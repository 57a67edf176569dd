//! The lease of a run: it owns the run's objects, so that they go with it, and is renewed as long as the controller lives, so that another run
//! can tell what is left over from what is alive.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::error::ClusterError;
use super::names;
use super::retry::steadily;

/// A lease that was not renewed for so long belongs to a dead controller.
const DURATION_S: i32 = 30;
/// Time between renewals.
const RENEWAL: Duration = Duration::from_secs(10);
/// Time until the next renewal when one has failed.
const RENEWAL_AGAIN: Duration = Duration::from_secs(2);

/// Makes the lease of the run `id`.
///
/// # Errors
/// When the server refuses.
pub async fn create(
    client: &Client,
    namespace: &str,
    id: &str,
    kept: bool,
) -> Result<OwnerReference, ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let name = names::object(id);
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(names::labels(id)),
            annotations: kept.then(|| BTreeMap::from([(names::KEPT.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder()),
            lease_duration_seconds: Some(DURATION_S),
            acquire_time: Some(MicroTime(Timestamp::now())),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let params = PostParams::default();
    let mut attempts = 0;
    let created = steadily(|| {
        attempts += 1;
        leases.create(&params, &lease)
    })
    .await;
    let made = match created {
        // An earlier attempt has made it after all.
        Err(kube::Error::Api(status)) if status.code == 409 && attempts > 1 => own(&leases, id).await,
        other => other,
    }
    .map_err(ClusterError::while_(format!("create the lease {name}")))?;
    Ok(OwnerReference {
        api_version: "coordination.k8s.io/v1".to_owned(),
        kind: "Lease".to_owned(),
        name,
        uid: made.metadata.uid.unwrap_or_default(),
        ..OwnerReference::default()
    })
}

/// The lease of the run `id`, which is there.
async fn own(leases: &Api<Lease>, id: &str) -> kube::Result<Lease> {
    let params = ListParams::default().labels(&names::of_experiment(id));
    let found = steadily(|| leases.list(&params)).await?;
    let missing = || kube::Error::Service(format!("there is no lease of run {id}").into());
    found.items.into_iter().next().ok_or_else(missing)
}

/// Who holds a lease, for people: host and process.
fn holder() -> String {
    format!("{}/{}", crate::platform::local::node_name(), std::process::id())
}

/// Renews the lease until dropped. A renewal that fails is tried again soon, for others take a lease that is old for one of the dead.
pub async fn renew(client: Client, namespace: String, id: String) {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let name = names::object(&id);
    let params = PatchParams::default();
    let mut next = RENEWAL;
    loop {
        tokio::time::sleep(next).await;
        let renewed = steadily(|| {
            let now = MicroTime(Timestamp::now());
            let patch = Patch::Merge(json!({ "spec": { "renewTime": now } }));
            let (leases, name, params) = (&leases, &name, &params);
            async move { leases.patch(name, params, &patch).await }
        })
        .await;
        next = match renewed {
            Ok(_) => RENEWAL,
            Err(error) => {
                tracing::warn!(%error, "the run's lease could not be renewed");
                RENEWAL_AGAIN
            }
        };
    }
}

/// A run's lease as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The run's id.
    pub id: String,
    /// Who made it.
    pub holder: String,
    /// How it stands.
    pub state: LeaseState,
}

impl Found {
    /// True when its controller ran where this one runs.
    pub fn is_of_this_host(&self) -> bool {
        self.holder.rsplit_once('/').is_some_and(|(host, _)| host == crate::platform::local::node_name())
    }
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Its controller lives.
    Alive,
    /// The pods are meant to stay.
    Kept,
    /// Its controller is gone.
    Dead,
}

/// All leases of Linerate's in `namespace`.
///
/// # Errors
/// When the server does not answer.
pub async fn list(client: &Client, namespace: &str) -> Result<Vec<Found>, ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&names::all());
    let leases = steadily(|| leases.list(&params))
        .await
        .map_err(ClusterError::while_("list the leases of other runs"))?;
    Ok(leases.items.iter().filter_map(|lease| judge(lease, Timestamp::now())).collect())
}

fn judge(lease: &Lease, now: Timestamp) -> Option<Found> {
    let id = lease.labels().get(names::EXPERIMENT)?.clone();
    let spec = lease.spec.as_ref();
    let duration = i64::from(spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(DURATION_S));
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0.as_second());
    let is_alive = renewed.is_some_and(|renewed| now.as_second() - renewed <= duration);
    let state = if lease.annotations().get(names::KEPT).is_some_and(|kept| kept == "true") {
        LeaseState::Kept
    } else if is_alive {
        LeaseState::Alive
    } else {
        LeaseState::Dead
    };
    let holder = spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    Some(Found { id, holder, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lives_as_long_as_it_is_renewed() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let lease = |annotations: serde_json::Value, renewed: &str| -> Lease {
            serde_json::from_value(json!({
                "metadata": {"name": "l", "labels": {names::EXPERIMENT: "1f3c09aa"}, "annotations": annotations},
                "spec": {"holderIdentity": "host/1", "leaseDurationSeconds": 30, "renewTime": renewed}
            }))
            .unwrap()
        };
        for (annotations, renewed, state) in [
            (json!({}), "2026-01-01T00:00:31.000000Z", LeaseState::Alive),
            (json!({}), "2026-01-01T00:00:29.000000Z", LeaseState::Dead),
            (json!({names::KEPT: "true"}), "2026-01-01T00:00:00.000000Z", LeaseState::Kept),
        ] {
            let found = judge(&lease(annotations, renewed), now).unwrap();
            assert_eq!(
                (found.id.as_str(), found.holder.as_str(), found.state),
                ("1f3c09aa", "host/1", state)
            );
        }
    }
}
