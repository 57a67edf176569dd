//! A test cluster, and the controller that uses it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use linerate_results::summary::Summary;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::JoinHandle;

use super::faults::Fault;
use super::kubelet::Fate;
use super::objects::Key;
use super::request::Asked;
use super::role::Role;
use super::server::Server;
use super::state::{NAMESPACE, State};
use super::support::{stderr, stdout};

/// Longest wait of a test for a controller.
const LONGEST: Duration = Duration::from_secs(120);
/// Settings for pods that fit any node: memif needs no device.
pub const POD: &str = "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 0}, link: {kind: memif}}\n";
pub const TWO_TRIALS: &str = "  traffic: {frameSizes: [64, 512], flows: [10], rates: [50kpps]}\n  trial: {duration: 400ms, sampleInterval: 100ms, orphan: 1s}\n";

/// Starts a program with the usual soft limit of open files.
const USUAL_LIMIT: &str = r#"ulimit -Sn 1024 && exec "$0" "$@""#;

/// Tests run in parallel, except for one that needs the machine alone.
static MACHINE: RwLock<()> = RwLock::const_new(());

pub struct Cluster {
    pub state: Arc<State>,
    pub server: Server,
    dir: TempDir,
    _place: Option<RwLockReadGuard<'static, ()>>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with_role(Role::printed()).await
    }

    /// A cluster with this Role.
    pub async fn with_role(role: Role) -> Self {
        let place = MACHINE.read().await;
        Self { _place: Some(place), ..Self::of_two_nodes(role).await }
    }

    /// Reserves the machine for one test.
    pub async fn machine_alone() -> RwLockWriteGuard<'static, ()> {
        MACHINE.write().await
    }

    pub async fn of_two_nodes(role: Role) -> Self {
        let state = State::new(role);
        let server = Server::start(state.clone()).await;
        let cluster = Self { state, server, dir: tempfile::tempdir().unwrap(), _place: None };
        for node in ["node1", "node2"] {
            let allocatable = json!({"cpu": "1000", "memory": "900Gi", "hugepages-1Gi": "900Gi", "intel.com/dpdk": "900", "pods": "2000"});
            let conditions = json!([{"type": "Ready", "status": "True"}]);
            let status = json!({"allocatable": allocatable, "conditions": conditions});
            // As in some clouds: the value differs from the node's name.
            let metadata = json!({"labels": {"kubernetes.io/hostname": format!("{node}.example")}});
            cluster.put("nodes", "", node, json!({"metadata": metadata, "status": status}));
        }
        let authority = json!({"server": format!("https://{}", cluster.server.address), "certificate-authority": cluster.path("ca.pem")});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": authority}],
            "users": [{"name": "tester", "user": {"token": "t"}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "tester", "namespace": NAMESPACE}}],
        });
        std::fs::write(cluster.path("ca.pem"), &cluster.server.certificate).unwrap();
        std::fs::write(cluster.path("kubeconfig"), config.to_string()).unwrap();
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds a foreign object.
    pub fn put(&self, resource: &str, namespace: &str, name: &str, mut object: Value) {
        object["metadata"]["name"] = json!(name);
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.state.alter(|objects| objects.put(&key, object));
    }

    pub fn fault(&self, fault: Fault) {
        self.state.faults.lock().unwrap().push(fault);
    }

    pub fn fate(&self, pod: &str, fates: impl IntoIterator<Item = Fate>) {
        self.state.fates.lock().unwrap().insert(pod.to_owned(), fates.into_iter().collect());
    }

    /// Number of requests of a verb on a resource so far.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        let requests = self.state.requests.lock().unwrap();
        requests.iter().filter(|asked| asked.verb == verb && asked.resource == resource).count()
    }

    pub fn requests(&self) -> Vec<Asked> {
        self.state.requests.lock().unwrap().clone()
    }

    /// `linerate` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", USUAL_LIMIT, env!("CARGO_BIN_EXE_linerate")])
            .args(arguments)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Writes a document with this spec, and returns its name.
    pub fn write(&self, spec: &str) -> &'static str {
        let head = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {name: test}\nspec:\n  platform: kubernetes\n";
        std::fs::write(self.path("experiment.yaml"), format!("{head}{spec}")).unwrap();
        "experiment.yaml"
    }

    /// `linerate run` on a document with this spec, with more options.
    pub fn run(&self, spec: &str, options: &[&str]) -> Running {
        let mut arguments = vec!["run", self.write(spec), "--results", "results"];
        arguments.extend(options);
        if !options.contains(&"--log-level") {
            arguments.extend(["--log-level", "debug"]);
        }
        Running::of(self.command(&arguments).spawn().unwrap())
    }

    /// The summary of the single run so far.
    pub fn summary(&self) -> Option<Summary> {
        let entry = std::fs::read_dir(self.path("results")).ok()?.next()?.ok()?;
        entry.path().join("summary.json").exists().then_some(())?;
        let id = entry.file_name().into_string().unwrap();
        let summary = linerate_results::store::load(&self.path("results"), &id).unwrap();
        assert!(summary.overhead.adds_up(), "{:?}", summary.overhead);
        Some(summary)
    }

    /// Objects of Linerate.
    pub fn ours(&self) -> Vec<Key> {
        let ours =
            |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "linerate";
        let found = self.state.objects().find(|_, object| ours(object));
        found.into_iter().map(|(key, _)| key).collect()
    }

    /// Checks that no object of the run is left, and that no request exceeded the Role.
    pub fn assert_clean(&self) {
        assert_eq!(self.ours(), []);
        assert!(self.state.refused.lock().unwrap().is_empty(), "{:?}", self.state.refused);
    }

    pub async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(40), "in vain: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until pairs send in a trial other than the warm-up.
    pub async fn until_trial(&self) {
        let filed = || self.summary().is_some_and(|summary| !summary.warm_up.is_empty());
        self.until("the pairs are warm", filed).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// A running controller.
pub struct Running {
    pub child: Child,
    /// Readers of its output: a full pipe would block it.
    said: [JoinHandle<Vec<u8>>; 2],
}

/// Reads a stream to its end.
fn gather(mut source: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).await.unwrap();
        bytes
    })
}

impl Running {
    fn of(mut child: Child) -> Self {
        let said = [gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap())];
        Self { child, said }
    }

    pub async fn end(mut self) -> Output {
        let ended = tokio::time::timeout(LONGEST, self.child.wait()).await;
        let status = ended.expect("the controller ends").unwrap();
        let [stdout, stderr] = self.said;
        Output { status, stdout: stdout.await.unwrap(), stderr: stderr.await.unwrap() }
    }

    /// Waits for its end and checks the exit code.
    pub async fn ends_with(self, code: i32) -> String {
        let output = self.end().await;
        let said = format!("{}\n{}", stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }
}
