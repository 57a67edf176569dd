//! Tracker: one watch over all pods of a run, for their states and the end of running ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Event as ApiEvent, Pod};
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::is_expired;
use super::names;
use super::retry;
use super::watch::{NOT_SCHEDULED, Standing, judge};
use linerate_runner::platform::process::{Exit, ExitWatch};

/// Events reported for each pod.
const MOST_EVENTS: usize = 3;
/// Time without changes after which events are read.
const EVENTS_EVERY: Duration = Duration::from_secs(3);
/// Time for a node to have room for a pod that a run can do without.
const ROOM_TIME: Duration = Duration::from_secs(30);

/// States of the pods of a run.
#[derive(Debug)]
pub(super) struct Tracker {
    events: Api<ApiEvent>,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    standings: watch::Sender<BTreeMap<String, Standing>>,
    exits: Mutex<BTreeMap<String, watch::Sender<Option<Exit>>>>,
    /// Pods by uid: events outlive pods, and pods of other runs had the same names.
    uids: Mutex<BTreeMap<String, Uid>>,
}

/// Observations of a uid.
#[derive(Debug)]
struct Uid {
    pod: String,
    /// True when another pod has or will have the name; late watch events of this one are ignored.
    is_forgotten: bool,
}

impl Seen {
    fn exits(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Option<Exit>>>> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uids(&self) -> MutexGuard<'_, BTreeMap<String, Uid>> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, pod: &Pod, standing: Standing) {
        let name = pod.name_any();
        let is_forgotten = pod.uid().is_some_and(|uid| {
            let known = Uid { pod: name.clone(), is_forgotten: false };
            self.uids().entry(uid).or_insert(known).is_forgotten
        });
        if !is_forgotten {
            self.note_by_name(name, standing);
        }
    }

    /// Marks every pod that a new list lacks as gone.
    fn note_missing(&self, listed: &BTreeSet<String>) {
        let known: Vec<String> = self.standings.borrow().keys().cloned().collect();
        for pod in known.into_iter().filter(|pod| !listed.contains(pod)) {
            self.note_by_name(pod, deleted());
        }
    }

    fn note_by_name(&self, pod: String, standing: Standing) {
        if let Standing::Failed(reason) = &standing {
            let exit = Exit { how: format!("ended: {reason}"), error: None };
            self.exits().entry(pod.clone()).or_insert_with(|| watch::Sender::new(None)).send_if_modified(
                |known| {
                    let first = known.is_none();
                    if first {
                        *known = Some(exit);
                    }
                    first
                },
            );
        }
        self.standings.send_modify(|standings| {
            standings.insert(pod, standing);
        });
    }

    async fn until_settled(&self, names: &[String], limit: Duration) -> BTreeMap<String, String> {
        let mut standings = self.standings.subscribe();
        let room_time = limit.min(ROOM_TIME);
        let is_over = |standing: Option<&Standing>| {
            matches!(standing, Some(Standing::Running { .. } | Standing::Failed(_)))
        };
        let lacks_room = |standing: Option<&Standing>| matches!(standing, Some(Standing::Waiting(reason)) if reason.starts_with(NOT_SCHEDULED));
        let all = standings.wait_for(|now| names.iter().all(|name| is_over(now.get(name))));
        if timeout(room_time, all).await.is_err() {
            let settles = |standing: Option<&Standing>| is_over(standing) || lacks_room(standing);
            let all = standings.wait_for(|now| names.iter().all(|name| settles(now.get(name))));
            drop(timeout(limit - room_time, all).await);
        }
        let now = standings.borrow();
        let reason = |name: &String| match now.get(name) {
            Some(Standing::Running { .. }) => None,
            Some(Standing::Waiting(reason) | Standing::Failed(reason)) => Some(reason.clone()),
            None => Some("not seen yet".to_owned()),
        };
        names.iter().filter_map(|name| Some((name.clone(), reason(name)?))).collect()
    }
}

fn deleted() -> Standing {
    Standing::Failed("the pod was deleted".to_owned())
}

/// Follows the pods endlessly. The library resumes an interrupted watch, but without a delay, and endlessly
/// at an expired version.
async fn follow(pods: Api<Pod>, config: watcher::Config, seen: Arc<Seen>) {
    let mut events = watcher(pods.clone(), config.clone()).boxed();
    let mut delays = retry::delays();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(pod.name_any());
                seen.note(&pod, judge(&pod));
            }
            Ok(Event::InitDone) => seen.note_missing(&listed),
            Ok(Event::Apply(pod)) => {
                delays = retry::delays();
                seen.note(&pod, judge(&pod));
            }
            Ok(Event::Delete(pod)) => seen.note(&pod, deleted()),
            Err(error) => {
                let delay = delays.next().unwrap_or_default();
                let delay_ms = delay.as_millis();
                tracing::warn!(%error, delay_ms, "the watch over the pods was interrupted; once more");
                tokio::time::sleep(delay).await;
                if matches!(&error, watcher::Error::WatchStartFailed(reason) if is_expired(reason)) {
                    events = watcher(pods.clone(), config.clone()).boxed();
                }
            }
        }
    }
}

impl Tracker {
    /// Starts to watch the pods of the run `id`.
    pub(super) fn start(client: &Client, namespace: &str, id: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let seen = Arc::new(Seen {
            standings: watch::Sender::new(BTreeMap::new()),
            exits: Mutex::default(),
            uids: Mutex::default(),
        });
        let config = watcher::Config::default().labels(&names::of_experiment(id));
        let task = tokio::spawn(follow(pods, config, seen.clone()));
        Self { events: Api::namespaced(client.clone(), namespace), seen, task }
    }

    /// Waits until all pods in `names` run, and reports the reasons for the wait as they change.
    ///
    /// # Errors
    /// The pods that failed, or did not run in time, each with its reason.
    pub(super) async fn until_running(
        &self,
        names: &[String],
        limit: Duration,
        say: &dyn Fn(&str),
    ) -> Result<(), String> {
        let mut standings = self.seen.standings.subscribe();
        let deadline = Instant::now() + limit;
        let mut printed: BTreeMap<String, String> = BTreeMap::new();
        let mut printed_events = BTreeSet::new();
        loop {
            let now = standings.borrow_and_update().clone();
            let waits = |name: &String| match now.get(name) {
                Some(Standing::Running { .. }) => None,
                Some(Standing::Waiting(reason) | Standing::Failed(reason)) => {
                    Some((name.clone(), reason.clone()))
                }
                None => Some((name.clone(), "not seen yet".to_owned())),
            };
            let waiting: Vec<(String, String)> = names.iter().filter_map(waits).collect();
            let failed: Vec<_> =
                names.iter().filter(|name| matches!(now.get(*name), Some(Standing::Failed(_)))).collect();
            if !failed.is_empty() {
                let lines = waiting.iter().filter(|(name, _)| failed.contains(&name));
                return Err(lines
                    .map(|(name, reason)| format!("{name} did not start: {reason}"))
                    .collect::<Vec<_>>()
                    .join("\n"));
            }
            if waiting.is_empty() {
                return Ok(());
            }
            for (name, reason) in &waiting {
                if reason.starts_with(NOT_SCHEDULED) && printed.get(name) != Some(reason) {
                    say(&format!("{name}: {reason}"));
                    printed.insert(name.clone(), reason.clone());
                }
            }
            let look = deadline.min(Instant::now() + EVENTS_EVERY);
            if timeout_at(look, standings.changed()).await.is_ok() {
                continue;
            }
            for event in self.warnings(names).await {
                if printed_events.insert(event.clone()) {
                    say(&event);
                }
            }
            if Instant::now() >= deadline {
                let lines: Vec<_> =
                    waiting.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
                return Err(format!(
                    "{} of {} pods did not start within {} s (spec.kubernetes.readyTimeout):\n  {}",
                    waiting.len(),
                    names.len(),
                    limit.as_secs(),
                    lines.join("\n  ")
                ));
            }
        }
    }

    /// Waits until each pod in `names` runs or will not, for `limit` at most, and less for those that no node has room
    /// for. Returns the reason of each that does not run.
    pub(super) async fn until_settled(&self, names: &[String], limit: Duration) -> BTreeMap<String, String> {
        self.seen.until_settled(names, limit).await
    }

    /// The latest warnings about `pods`; empty when events may not be read.
    pub(super) async fn warnings(&self, pods: &[String]) -> Vec<String> {
        let params = ListParams::default().fields("type=Warning");
        let Ok(list) = self.events.list(&params).await else { return Vec::new() };
        let uids = self.seen.uids();
        let ours =
            |event: &&ApiEvent| event.involved_object.uid.as_ref().is_some_and(|uid| uids.contains_key(uid));
        let mut lines: Vec<String> = Vec::new();
        for pod in pods {
            let of_pod = list
                .items
                .iter()
                .filter(ours)
                .filter(|event| event.involved_object.name.as_deref() == Some(pod));
            let events: Vec<_> = of_pod
                .filter_map(|event| Some(format!("event of {pod}: {}", event.message.as_deref()?.trim())))
                .collect();
            lines.extend(events.into_iter().rev().take(MOST_EVENTS));
        }
        lines.dedup();
        lines
    }

    /// Forgets deleted pods, so that new ones can have their names.
    pub(super) fn forget(&self, pods: &[String]) {
        self.seen
            .uids()
            .values_mut()
            .filter(|uid| pods.contains(&uid.pod))
            .for_each(|uid| uid.is_forgotten = true);
        self.seen.exits().retain(|pod, _| !pods.contains(pod));
        self.seen.standings.send_modify(|standings| standings.retain(|pod, _| !pods.contains(pod)));
    }

    /// The node of a running pod, the digest of its image, and its address.
    pub(super) fn place(&self, pod: &str) -> Option<(String, Option<String>, Option<IpAddr>)> {
        match self.seen.standings.borrow().get(pod) {
            Some(Standing::Running { node, image_digest, address }) => {
                Some((node.clone(), image_digest.clone(), *address))
            }
            _ => None,
        }
    }

    /// Reports when the pod has ended.
    pub(super) fn exit(&self, pod: &str) -> ExitWatch {
        let mut exits = self.seen.exits();
        ExitWatch::new(exits.entry(pod.to_owned()).or_insert_with(|| watch::Sender::new(None)).subscribe())
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pod_without_room_is_waited_for_less_long_than_one_that_starts() {
        let seen = Arc::new(Seen {
            standings: watch::Sender::new(BTreeMap::new()),
            exits: Mutex::default(),
            uids: Mutex::default(),
        });
        let (full, slow, refused) = ("node0".to_owned(), "node1".to_owned(), "node2".to_owned());
        seen.note_by_name(full.clone(), Standing::Waiting("not scheduled: Too many pods".to_owned()));
        seen.note_by_name(slow.clone(), Standing::Waiting("starting on n1".to_owned()));
        seen.note_by_name(refused.clone(), Standing::Failed("ErrImagePull: none".to_owned()));
        let kubelet = seen.clone();
        tokio::spawn(async move {
            tokio::time::sleep(2 * ROOM_TIME).await;
            let running = Standing::Running { node: "n1".to_owned(), image_digest: None, address: None };
            kubelet.note_by_name("node1".to_owned(), running);
            // Too late: nobody waits any more.
            tokio::time::sleep(ROOM_TIME).await;
            kubelet.note_by_name("node0".to_owned(), Standing::Failed("later".to_owned()));
        });
        let names = [full.clone(), slow, refused.clone()];
        let reasons = seen.until_settled(&names, 10 * ROOM_TIME).await;
        let told = |name: &String| reasons.get(name).map(String::as_str);
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert_eq!(told(&full), Some("not scheduled: Too many pods"));
        assert_eq!(told(&refused), Some("ErrImagePull: none"));
    }
}
