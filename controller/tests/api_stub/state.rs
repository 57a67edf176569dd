//! Shared state of the stub.

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
    /// Requests that the Role does not allow.
    pub refused: Mutex<BTreeSet<String>>,
    /// Lifecycles of pods by name: of the first pod, then of its successors. Other pods become ready.
    pub fates: Mutex<BTreeMap<String, VecDeque<Fate>>>,
    pub lost_nodes: Mutex<BTreeSet<String>>,
    /// By uid of the pod.
    pub agents: Mutex<BTreeMap<String, Arc<Agent>>>,
    /// Streams to pods, by the pod's name.
    pub streams: Mutex<Vec<(String, AbortHandle)>>,
    pub wire: Arc<Wire>,
    /// Time from a pod's creation until its agent listens.
    pub ready_after: Mutex<Duration>,
    /// When the last pod became ready.
    pub last_ready: Mutex<Option<Instant>>,
    /// True for a server before 1.35, which requires only `get` for a port-forward.
    pub is_old: AtomicBool,
    /// Pod Security levels of the namespace: enforced, and warned of.
    pub enforced: Mutex<Option<Level>>,
    pub warned: Mutex<Option<Level>>,
    /// Seconds by which the clocks of controllers are ahead when they write leases.
    pub clocks_are_ahead_s: AtomicI64,
    /// Objects that are never removed.
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

    /// Changes the objects, and wakes the watches.
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

    /// Ends the agent of a removed pod.
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
