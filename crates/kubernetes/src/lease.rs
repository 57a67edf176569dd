//! Lease of a run. It owns the run's objects, so that Kubernetes removes them with it, and the run's
//! controller renews it.
//!
//! Another controller judges a lease by its changes: a lease that changes while it is watched has a live
//! controller; a lease that stays unchanged for its whole duration, by the watcher's monotonic clock, has
//! expired. Times that controllers write into leases are never compared, because their clocks may differ by
//! any amount. (client-go's leader election works the same way.)

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::error::{ClusterError, is_not_found};
use super::names;
use super::process;
use super::retry::steadily;

/// Duration after which an unchanged lease has expired.
const DURATION_S: i32 = 30;
/// Interval between renewals.
const RENEWAL: Duration = Duration::from_secs(10);
/// Delay until the next renewal after a failed one.
const RENEWAL_AGAIN: Duration = Duration::from_secs(2);

/// Interval between reads of other runs' leases.
const LOOK: Duration = Duration::from_secs(2);
/// Longest valid gap between two reads. After a longer one, because the server was away, the watch starts
/// again: the holder could not renew the lease either.
const LONGEST_GAP: Duration = Duration::from_secs(10);
/// Longest watch of a lease, whatever duration it states.
const LONGEST_WATCH: Duration = Duration::from_secs(300);

/// Manifest of a lease.
pub(super) fn manifest(id: &str, kept: bool) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(names::object(id)),
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
    }
}

/// Creates the lease of the run `id`, whose pods are not kept so far.
///
/// # Errors
/// When the server refuses.
pub async fn create(client: &Client, namespace: &str, id: &str) -> Result<OwnerReference, ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let (name, mut lease) = (names::object(id), manifest(id, false));
    let told = holders_process().into_iter();
    lease.annotations_mut().extend(told.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let params = PostParams::default();
    let mut attempts = 0;
    let created = steadily(|| {
        attempts += 1;
        leases.create(&params, &lease)
    })
    .await;
    let made = match created {
        // An earlier attempt was carried out.
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

/// Records that the pods of the run `id` are kept: nobody removes them unasked.
///
/// # Errors
/// When the server refuses.
pub(super) async fn keep(client: &Client, namespace: &str, id: &str) -> Result<(), ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let (name, params) = (names::object(id), PatchParams::default());
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { names::KEPT: "true" } } }));
    let kept = steadily(|| leases.patch(&name, &params, &patch)).await;
    kept.map_err(ClusterError::while_(format!("mark the lease {name} as that of kept pods")))?;
    Ok(())
}

/// The existing lease of the run `id`, checked to be this run's.
async fn own(leases: &Api<Lease>, id: &str) -> kube::Result<Lease> {
    let params = ListParams::default().labels(&names::of_experiment(id));
    let found = steadily(|| leases.list(&params)).await?;
    let missing = || kube::Error::Service(format!("there is no lease of run {id} that is ours").into());
    found.items.into_iter().find(is_ours).ok_or_else(missing)
}

/// Holder of a lease, for display: host and process.
fn holder() -> String {
    format!("{}/{}", linerate_runner::platform::local::node_name(), std::process::id())
}

/// Annotations by which a controller on the same host tells whether this process is still there.
fn holders_process() -> [(&'static str, Option<String>); 2] {
    let started = process::started(std::process::id()).map(|ticks| ticks.to_string());
    [(names::HOLDER_STARTED, started), (names::HOLDER_PROCESSES, process::numbered_among())]
}

fn holder_of(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// True when this process holds the lease, and not another one with its host's name and its number.
fn is_ours(lease: &Lease) -> bool {
    let told = holders_process();
    holder_of(lease) == holder()
        && told.iter().all(|(name, value)| lease.annotations().get(*name) == value.as_ref())
}

/// Why a run has lost its lease; empty while it holds it.
pub(super) type Loss = Arc<OnceLock<String>>;

/// Renews the lease with this `uid` until dropped, or until the lease is lost: deleted, or claimed by a
/// controller that judged it expired. A failed renewal is repeated soon.
pub(super) async fn renew(client: Client, namespace: String, id: String, uid: String, loss: Loss) {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let name = names::object(&id);
    let params = PatchParams::default();
    let mut next = RENEWAL;
    loop {
        sleep(next).await;
        let renewed = steadily(|| {
            let now = MicroTime(Timestamp::now());
            // The server refuses the patch for a lease with another uid.
            let patch = Patch::Merge(json!({ "metadata": { "uid": uid }, "spec": { "renewTime": now } }));
            let (leases, name, params) = (&leases, &name, &params);
            async move { leases.patch(name, params, &patch).await }
        })
        .await;
        let now_there = match renewed {
            Ok(lease) => {
                next = RENEWAL;
                Some(lease)
            }
            Err(error) => {
                tracing::warn!(%error, "the run's lease could not be renewed");
                next = RENEWAL_AGAIN;
                let params = ListParams::default().labels(&names::of_experiment(&id));
                match leases.list(&params).await {
                    Ok(listed) => listed.items.into_iter().find(|lease| lease.uid().as_ref() == Some(&uid)),
                    Err(_) => continue,
                }
            }
        };
        let reason = match &now_there {
            Some(lease) if is_ours(lease) => continue,
            Some(lease) => {
                format!("its lease was taken by {}, who took this controller for dead", holder_of(lease))
            }
            None => "its lease was deleted by another client".to_owned(),
        };
        tracing::error!(reason, "the run has lost its objects in the cluster");
        let _ = loss.set(reason);
        return;
    }
}

/// True unless the run `id` has another lease than the one with this `uid`, or another holder: then another controller has taken the run over, and
/// its objects have the same labels. Where the server does not answer, nothing speaks against it.
pub(super) async fn is_still_ours(client: &Client, namespace: &str, id: &str, uid: &str) -> bool {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&names::of_experiment(id));
    let Ok(listed) = steadily(|| leases.list(&params)).await else { return true };
    listed.items.iter().all(|lease| lease.uid().as_deref() == Some(uid) && is_ours(lease))
}

/// A lease of a run, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The run's id.
    pub id: String,
    /// Host and process that created it.
    pub holder: String,
    /// Its state.
    pub state: LeaseState,
    /// When its controller's process started, in ticks since its host's boot; `None` of earlier versions.
    started: Option<u64>,
    /// What its process number is one of; `None` of earlier versions.
    processes: Option<String>,
    uid: String,
    /// Resource version that was judged.
    version: String,
    duration: Duration,
}

impl Found {
    fn of(lease: &Lease) -> Option<Self> {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(DURATION_S);
        let is_kept = lease.annotations().get(names::KEPT).is_some_and(|kept| kept == "true");
        Some(Self {
            id: lease.labels().get(names::EXPERIMENT)?.clone(),
            holder: holder_of(lease).to_owned(),
            state: if is_kept { LeaseState::Kept } else { LeaseState::Alive },
            started: lease.annotations().get(names::HOLDER_STARTED).and_then(|ticks| ticks.parse().ok()),
            processes: lease.annotations().get(names::HOLDER_PROCESSES).cloned(),
            uid: lease.uid()?,
            version: lease.resource_version()?,
            duration: Duration::from_secs(seconds.max(1).unsigned_abs().into()).min(LONGEST_WATCH),
        })
    }

    /// True when its controller ran on this host, and its process is there no more. A process with its number that started at another
    /// time is another one. Containers of a host, and other hosts, may have its name and a process of the same number: theirs, and those of
    /// controllers that do not tell, are not known to be gone.
    pub fn is_gone_from_this_host(&self) -> bool {
        let Some((host, process)) = self.holder.rsplit_once('/') else { return false };
        let Ok(process) = process.parse() else { return false };
        let is_known_here = self.processes.is_some() && self.processes == process::numbered_among();
        if host != linerate_runner::platform::local::node_name() || !is_known_here {
            return false;
        }
        match (process::started(process), self.started) {
            (None, _) => true,
            (Some(_), _) if process == std::process::id() => true,
            (Some(now), Some(then)) => now != then,
            (Some(_), None) => false,
        }
    }
}

/// State of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Its controller is live, or not known to be gone.
    Alive,
    /// The pods are to be kept.
    Kept,
    /// Its controller is gone.
    Dead,
}

/// All leases of Linerate in `namespace`, without a watch: those of runs count as alive.
///
/// # Errors
/// When the server does not answer.
pub async fn list(client: &Client, namespace: &str) -> Result<Vec<Found>, ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&names::all());
    let leases = steadily(|| leases.list(&params))
        .await
        .map_err(ClusterError::while_("list the leases of other runs"))?;
    Ok(leases.items.iter().filter_map(Found::of).collect())
}

/// All leases of Linerate in `namespace`. Each is watched until its state is known: until it changes, or for
/// its whole duration. Those that `is_over` accepts are known to be dead. `say` receives the reason for a
/// wait.
///
/// # Errors
/// When the server does not answer.
pub async fn settled(
    client: &Client,
    namespace: &str,
    is_over: impl Fn(&Found) -> bool,
    say: &dyn Fn(&str),
) -> Result<Vec<Found>, ClusterError> {
    let mut watch = Watch::default();
    loop {
        let asked = Instant::now();
        let mut found = list(client, namespace).await?;
        watch.gap(asked);
        let mut open = Vec::new();
        for lease in found.iter_mut().filter(|lease| lease.state != LeaseState::Kept) {
            let state = if is_over(lease) {
                Some(LeaseState::Dead)
            } else {
                watch.judge(lease, asked, Instant::now())
            };
            match state {
                Some(state) => lease.state = state,
                None => open.push(lease.clone()),
            }
        }
        if open.is_empty() {
            return Ok(found);
        }
        for lease in open.iter().filter(|lease| watch.is_news(lease)) {
            say(&format!(
                "run {} ({}) has a lease here; watching for up to {} s whether its controller renews it",
                lease.id,
                lease.holder,
                lease.duration.as_secs()
            ));
        }
        sleep(LOOK).await;
    }
}

/// Observations of leases, by this machine's monotonic clock.
#[derive(Debug, Default)]
struct Watch {
    /// By uid: the resource version seen first, and since when it has been seen.
    seen: BTreeMap<String, (String, Instant)>,
    reported: Vec<String>,
    last: Option<Instant>,
}

impl Watch {
    /// Records a read that started at `asked`, and resets the watch if the previous one was too long ago.
    fn gap(&mut self, asked: Instant) {
        if self.last.is_some_and(|last| asked - last > LONGEST_GAP) {
            self.seen.values_mut().for_each(|(_, since)| *since = asked);
        }
        self.last = Some(asked);
    }

    /// State of a lease that the server returned between `asked` and `answered`; `None` while it is unknown.
    fn judge(&mut self, lease: &Found, asked: Instant, answered: Instant) -> Option<LeaseState> {
        match self.seen.get(&lease.uid) {
            None => {
                self.seen.insert(lease.uid.clone(), (lease.version.clone(), answered));
                None
            }
            Some((version, _)) if *version != lease.version => Some(LeaseState::Alive),
            Some((_, since)) => {
                (asked.saturating_duration_since(*since) > lease.duration).then_some(LeaseState::Dead)
            }
        }
    }

    /// True when the lease was not reported yet.
    fn is_news(&mut self, lease: &Found) -> bool {
        let is_news = !self.reported.contains(&lease.uid);
        self.reported.push(lease.uid.clone());
        is_news
    }
}

/// Claims the lease of a run whose controller was judged gone, if it is unchanged since: only one of several
/// controllers can then remove the objects, and the old controller, if it returns, learns that it has lost
/// them.
///
/// # Errors
/// When the lease has changed.
pub async fn claim(client: &Client, namespace: &str, found: &Found) -> Result<(), ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let (name, params) = (names::object(&found.id), PatchParams::default());
    let mut attempts = 0;
    let claimed = steadily(|| {
        attempts += 1;
        // Null removes the one of the holder before.
        let told: BTreeMap<_, _> = holders_process().into_iter().collect();
        let patch = Patch::Merge(json!({
            "metadata": { "uid": found.uid, "resourceVersion": found.version, "annotations": told },
            "spec": { "holderIdentity": holder(), "renewTime": MicroTime(Timestamp::now()) },
        }));
        let (leases, name, params) = (&leases, &name, &params);
        async move { leases.patch(name, params, &patch).await }
    })
    .await;
    match claimed {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        // An earlier attempt was carried out.
        Err(kube::Error::Api(status))
            if status.code == 409 && attempts > 1 && own(&leases, &found.id).await.is_ok() =>
        {
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Err(ClusterError::Conflict(format!(
            "the lease of run {} ({}) has just changed: its controller is active, or another one removes its objects\n  remedy: run again",
            found.id, found.holder
        ))),
        Err(error) => Err(ClusterError::while_(format!("take the lease of run {}", found.id))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(annotations: &serde_json::Value, renewed: &str, version: u32) -> Found {
        let lease: Lease = serde_json::from_value(json!({
            "metadata": {"name": "l", "uid": "u", "resourceVersion": version.to_string(),
                "labels": {names::EXPERIMENT: "1f3c09aa"}, "annotations": annotations},
            "spec": {"holderIdentity": "host/1", "leaseDurationSeconds": 30, "renewTime": renewed}
        }))
        .unwrap();
        Found::of(&lease).unwrap()
    }

    /// The holder's clock is an hour behind or ahead.
    #[test]
    fn a_lease_is_judged_by_what_changes_on_ones_own_clock() {
        let begun = Instant::now();
        for renewed in ["2000-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z"] {
            let mut watch = Watch::default();
            let mut look = |second: u64, version| {
                let at = begun + Duration::from_secs(second);
                watch.gap(at);
                watch.judge(&lease(&json!({}), renewed, version), at, at)
            };
            for second in (0..=30).step_by(2) {
                assert_eq!(look(second, 7), None, "at {second} s");
            }
            assert_eq!(look(32, 7), Some(LeaseState::Dead));
            assert_eq!(look(33, 8), Some(LeaseState::Alive));
        }
    }

    #[test]
    fn a_server_that_was_away_proves_nothing() {
        let begun = Instant::now();
        let mut watch = Watch::default();
        let mut look = |second: u64| {
            let at = begun + Duration::from_secs(second);
            watch.gap(at);
            watch.judge(&lease(&json!({}), "2026-01-01T00:00:00.000000Z", 7), at, at)
        };
        assert_eq!(look(0), None);
        assert_eq!(look(40), None, "the holder could not renew it either");
        for second in (42..=70).step_by(2) {
            assert_eq!(look(second), None);
        }
        assert_eq!(look(72), Some(LeaseState::Dead));
    }

    #[test]
    fn a_controller_of_this_host_is_gone_with_its_process() {
        let host = linerate_runner::platform::local::node_name();
        let started = process::started(1).unwrap();
        let here = process::numbered_among();
        let found = |holder: String, started: Option<u64>| {
            let lease = lease(&json!({}), "2026-01-01T00:00:00.000000Z", 1);
            Found { holder, started, processes: here.clone(), ..lease }.is_gone_from_this_host()
        };
        for (holder, started, is_gone) in [
            (format!("{host}/1"), Some(started), false),
            (format!("{host}/1"), None, false),
            (format!("{host}/1"), Some(started + 1), true),
            // No process has so high a number.
            (format!("{host}/{}", i32::MAX), None, true),
            (format!("elsewhere-{host}/{}", i32::MAX), None, false),
        ] {
            assert_eq!(found(holder.clone(), started), is_gone, "{holder} {started:?}");
        }
    }

    /// Containers in the network of one host have its name, and each has a process 1.
    #[test]
    fn the_number_of_a_process_tells_nothing_of_another_container() {
        let own = format!("{}/{}", linerate_runner::platform::local::node_name(), std::process::id());
        let is_gone = |processes: Option<&str>| {
            let lease = lease(&json!({names::HOLDER_STARTED: "1"}), "2026-01-01T00:00:00.000000Z", 1);
            let processes = processes.map(str::to_owned);
            Found { holder: own.clone(), processes, ..lease }.is_gone_from_this_host()
        };
        let here = process::numbered_among().unwrap();
        let (boot_id, _) = here.split_once(' ').unwrap();
        assert!(is_gone(Some(&here)), "an earlier process of this number");
        for elsewhere in [
            Some(format!("{boot_id} pid:[4026599999]")),
            Some(here.replace(boot_id, "00000000-0000-4000-8000-000000000000")),
            // Of an earlier version.
            None,
        ] {
            assert!(!is_gone(elsewhere.as_deref()), "{elsewhere:?}");
        }
    }

    #[test]
    fn kept_pods_need_no_renewal() {
        let kept = lease(&json!({names::KEPT: "true"}), "2026-01-01T00:00:00.000000Z", 1);
        assert_eq!(
            (kept.id.as_str(), kept.holder.as_str(), kept.state),
            ("1f3c09aa", "host/1", LeaseState::Kept)
        );
    }
}
