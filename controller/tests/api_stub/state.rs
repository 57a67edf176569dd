//! Everything that the parts of the stub share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::agent::Agent;
use super::faults::Fault;
use super::kubelet::Fate;
use super::objects::{Key, Objects};
use super::request::Asked;
use super::role::Role;
use super::security::Level;
use super::wire::Wire;

/// The namespace of all tests.
pub const NAMESPACE: &str = "lab";

pub struct State {
    objects: Mutex<Objects>,
    /// The latest version.
    pub changed: watch::Sender<u64>,
    pub requests: Mutex<Vec<Asked>>,
    pub faults: Mutex<Vec<Fault>>,
    pub role: Role,
    /// What the Role does not have and was asked all the same.
    pub refused: Mutex<BTreeSet<String>>,
    /// What becomes of pods, by name: first of the first one, then of its successor. Others become ready.
    pub fates: Mutex<BTreeMap<String, VecDeque<Fate>>>,
    pub lost_nodes: Mutex<BTreeSet<String>>,
    /// By uid of the pod.
    pub agents: Mutex<BTreeMap<String, Arc<Agent>>>,
    /// Streams to pods, by the pod's name.
    pub streams: Mutex<Vec<(String, AbortHandle)>>,
    pub wire: Arc<Wire>,
    /// From the pod's creation until its agent listens.
    pub ready_after: Mutex<Duration>,
    /// When the last pod became ready.
    pub last_ready: Mutex<Option<Instant>>,
    /// A server of before 1.35, to which a port-forward is only something to get.
    pub is_old: AtomicBool,
    /// Pod Security levels of the namespace that are enforced, and that are warned of.
    pub enforced: Mutex<Option<Level>>,
    pub warned: Mutex<Option<Level>>,
    /// How far the clocks of controllers are ahead that write leases.
    pub clocks_are_ahead_s: AtomicI64,
    /// Objects that stay, however often they are deleted.
    pub stuck: Mutex<BTreeSet<String>>,
}

impl State {
    pub fn new(role: Role) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            changed: watch::Sender::new(0),
            requests: Mutex::default(),
            faults: Mutex::default(),
            role,
            refused: Mutex::default(),
            fates: Mutex::default(),
            lost_nodes: Mutex::default(),
            agents: Mutex::default(),
            streams: Mutex::default(),
            wire: Arc::default(),
            ready_after: Mutex::new(Duration::from_millis(30)),
            last_ready: Mutex::default(),
            is_old: AtomicBool::new(false),
            enforced: Mutex::default(),
            warned: Mutex::default(),
            clocks_are_ahead_s: AtomicI64::new(0),
            stuck: Mutex::default(),
        })
    }

    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    /// Does something to the objects, and wakes the watches.
    pub fn alter<T>(&self, act: impl FnOnce(&mut Objects) -> T) -> T {
        let (done, version) = {
            let mut objects = self.objects();
            (act(&mut objects), objects.version)
        };
        self.changed.send_replace(version);
        done
    }

    pub fn pod(&self, name: &str) -> Option<Arc<Value>> {
        self.objects().get(&pod_key(name))
    }

    /// Ends the agent of a pod that is gone.
    pub fn end_agent(&self, pod: &Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        if let Some(agent) = self.agents.lock().unwrap().remove(uid) {
            agent.kill();
        }
        self.cut(|name| pod["metadata"]["name"] == name);
    }

    /// Cuts the streams to the pods that `of` accepts.
    pub fn cut(&self, of: impl Fn(&str) -> bool) {
        self.streams.lock().unwrap().retain(|(pod, stream)| {
            let hit = of(pod);
            if hit {
                stream.abort();
            }
            !hit
        });
    }
}

pub fn pod_key(name: &str) -> Key {
    ("pods".to_owned(), NAMESPACE.to_owned(), name.to_owned())
}
