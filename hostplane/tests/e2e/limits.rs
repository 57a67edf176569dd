//! What limits streams, and the verdict that names it: quota, CPU, window. And clocks that differ.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::lab::{B, Lab};
use crate::common::{
    PROGRESS, Server, exact_bytes, exact_datagrams, float, hostplane, not_run, number, result, run, tool,
};

/// A control group with a CPU quota, version 1 or 2, removed when dropped.
struct Quota(PathBuf);

impl Quota {
    /// A group with so many thousandths of a CPU; `None` where this user may not make one.
    fn new(name: &str, per_mille: u64) -> Option<Self> {
        let (period, quota) = (100_000, 100 * per_mille);
        let name = format!("linerate-host-{}-{name}", std::process::id());
        let mut first = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"].into_iter().map(Path::new);
        if let Some(parent) = first.find(|parent| parent.join("cpu.cfs_quota_us").exists()) {
            let group = Self(parent.join(&name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join("cpu.cfs_period_us"), period.to_string()).ok()?;
            fs::write(group.0.join("cpu.cfs_quota_us"), quota.to_string()).ok()?;
            return Some(group);
        }
        let parent = Path::new("/sys/fs/cgroup");
        let group = Self(parent.join(&name));
        fs::write(parent.join("cgroup.subtree_control"), "+cpu").ok()?;
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("cpu.max"), format!("{quota} {period}")).ok()?;
        Some(group)
    }

    /// The same command in the group.
    fn around(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(self.0.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let begun = Instant::now();
        while fs::remove_dir(&self.0).is_err() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_cpu_quota_of_either_end_is_named() {
    const NAME: &str = "a_cpu_quota_of_either_end_is_named";
    let Some(quota) = Quota::new("either", 50) else {
        return not_run(NAME, "no control group with a CPU quota can be made here");
    };
    let free = Server::start("");
    let slow = result(&mut quota.around(&free.client("tcp", "--duration 1500ms")));
    let limited = Server::start_as(quota.around(&hostplane("serve --listen 127.0.0.1:0 --json")));
    let fast = result(&mut limited.client("tcp", "--duration 1500ms"));
    for (result, end) in [(slow, "client"), (fast, "server")] {
        let direction = &result["directions"][0];
        exact_bytes(direction);
        assert_eq!(direction["verdict"]["kind"], "quota-limited", "{end}: {direction}");
        assert!(float(&result[end], "/throttling/stopped_s") > 0.0, "{}", result[end]);
        let evidence = direction["verdict"]["evidence"].as_str().unwrap();
        assert!(evidence.contains("quota of 0.05 CPUs stopped it"), "{evidence}");
    }
}

#[test]
fn workers_run_on_the_chosen_cpus() {
    let server = Server::start("--cpus 0");
    // Both ends share one CPU: it is the limit, unless other programs of this machine make both wait for it at once.
    let verdicts = std::iter::repeat_with(|| {
        let result = result(&mut server.client("tcp", "--duration 500ms --cpus 0 --parallel 2"));
        for end in ["client", "server"] {
            let workers = result[end]["workers"].as_array().unwrap();
            assert!(workers.len() == 1 && workers[0]["cpu"] == 0, "{workers:?}");
        }
        result["directions"][0]["verdict"].clone()
    });
    let verdicts: Vec<_> = verdicts.take(5).collect();
    assert!(verdicts.iter().any(|verdict| verdict["kind"] == "cpu-limited"), "{verdicts:?}");
}

#[test]
fn a_small_window_on_a_path_with_a_queue_is_the_limit() {
    let Some(lab) = Lab::new("a_small_window_on_a_path_with_a_queue_is_the_limit") else { return };
    // A round trip of tens of milliseconds: acknowledgements wait in a queue that a stream of the other direction fills.
    lab.set("b", "tc qdisc add dev veth-b root tbf rate 20mbit burst 16kb limit 100kb");
    let server = lab.server("");
    let options = "--json --reverse --duration endless --congestion cubic --interval 500ms";
    let mut beside = crate::common::Running::start(&mut lab.hostplane("a", &format!("tcp {B} {options}")));
    beside.wait_for_stderr(PROGRESS);
    let result = lab.result("tcp", "--duration 2s --window 6000 --congestion cubic");
    let direction = &result["directions"][0];
    exact_bytes(direction);
    beside.signal("INT");
    assert!(beside.output().status.success());
    assert_eq!(direction["verdict"]["kind"], "receiver-window-limited", "{direction}");
    assert!(float(direction, "/received_bps") < 15e6, "{direction}");
    let evidence = direction["verdict"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("the receive buffer has 12000 bytes"), "{evidence}");
    drop(server);
}

#[test]
fn delays_between_different_clocks_are_not_told_as_delays() {
    const NAME: &str = "delays_between_different_clocks_are_not_told_as_delays";
    // A server whose monotonic clock is a day ahead, on the same kernel.
    let mut shifted = Command::new(tool("unshare"));
    shifted.args(["--time", "--monotonic", "86400", "--fork", "--kill-child", "--"]);
    if !run(Command::new(tool("unshare")).args(["--time", "--monotonic", "1", "true"])).status.success() {
        return not_run(NAME, "no time namespace can be made here");
    }
    let plain = hostplane("serve --listen 127.0.0.1:0 --json");
    shifted.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        shifted.env(name, value);
    }
    let server = Server::start_as(shifted);
    let result = result(&mut server.client("udp", "--rate 1kpps --size 100 --bytes 50000 --bidirectional"));
    assert_eq!(result["clock"]["same"], false, "{}", result["clock"]);
    let ahead_s = result["clock"]["server_ahead_ns"].as_i64().unwrap() as f64 / 1e9;
    assert!((ahead_s - 86_400.0).abs() < 1.0, "{ahead_s}");
    for direction in result["directions"].as_array().unwrap() {
        assert_eq!(exact_datagrams(direction), (500, 0));
        assert!(direction["udp"]["delay_ns"].is_null(), "{direction}");
        let note = direction["udp"]["delay_note"].as_str().unwrap();
        assert!(note.contains("different clocks"), "{note}");
        // The variation is that of the path, whatever the clocks.
        assert!(number(direction, "/udp/delay_variation_ns/max") < 1_000_000_000, "{direction}");
        assert!(float(direction, "/udp/jitter_ns/0") < 100e6, "{direction}");
        assert!(
            float(direction, "/sending_s") < 5.0 && float(direction, "/receiving_s") < 5.0,
            "{direction}"
        );
    }
}
