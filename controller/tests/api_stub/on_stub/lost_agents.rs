//! Agents that are lost during a trial: it is repeated, and its first attempt leaves no records.

use std::time::{Duration, Instant};

use super::whole::assert_whole;
use crate::api::delete_pod;
use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::kubelet::{Fate, lose_node};
use crate::state::pod_key;

fn spec(pairs: usize) -> String {
    format!("  pairs: {pairs}\n{POD}{}", TWO_TRIALS.replace("400ms", "1s"))
}

async fn recovers(fault: impl AsyncFnOnce(&Cluster), how: &str) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.state.wire.loses_one_in.store(1000, std::sync::atomic::Ordering::Relaxed);
    let running = cluster.run(&spec(3), &[]);
    cluster.until_trial().await;
    fault(&cluster).await;
    running.ends_with(0).await;
    assert_whole(&cluster, 3, 2);
    let summary = cluster.summary().unwrap();
    let recoveries = &summary.recoveries;
    assert!(
        recoveries.len() == 1 && recoveries[0].starts_with(&format!("tx1-rx1 {how}: ")),
        "{recoveries:?}"
    );
    assert!(summary.trials.iter().all(|trial| trial.lost_packets == 50 && trial.sent_packets == 50_000));
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_deleted_in_a_trial() {
    let delete = async |cluster: &Cluster| drop(delete_pod(&cluster.state, &pod_key("tx1")));
    let cluster = recovers(delete, "was started anew").await;
    assert!(cluster.summary().unwrap().recoveries[0].contains("tx1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_forward_is_cut_in_a_trial() {
    let cluster =
        recovers(async |cluster: &Cluster| cluster.state.cut(|pod| pod == "rx1"), "was connected again")
            .await;
    assert_eq!(cluster.count("create", "pods/portforward"), 6 + 1, "its peer is still connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_lost_in_a_trial() {
    let cluster = Cluster::start().await;
    let nodes = "nodes: [{tx: node1, rx: node1}, {tx: node1, rx: node2}]";
    // The pair with a pod on the lost node cannot use that node again.
    let pod =
        POD.replace("link: {kind: memif}", &format!("link: {{kind: afPacket}}, readyTimeout: 3s, {nodes}"));
    let long = TWO_TRIALS.replace("400ms", "1s");
    let running = cluster.run(&format!("  pairs: 2\n{pod}{long}"), &[]);
    cluster.until_trial().await;
    cluster.fate("rx1", [Fate::NeverScheduled("0/2 nodes are available: 1 node(s) had untolerated taint")]);
    lose_node(&cluster.state, "node2", Duration::from_secs(4));
    let said = running.ends_with(1).await;
    let summary = cluster.summary().unwrap();
    let pairs: Vec<_> = summary.trials.iter().map(|trial| trial.pair.as_str()).collect();
    assert_eq!(pairs, ["tx0-rx0", "tx0-rx0"], "the others go on: {said}");
    assert_eq!(summary.failures.len(), 2, "{:?}", summary.failures);
    for failure in &summary.failures {
        assert_eq!(failure.pair, "tx1-rx1");
        assert!(
            failure.reason.contains("rx1") && failure.reason.contains("not scheduled"),
            "{}",
            failure.reason
        );
    }
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_do_not_shift_when_one_does_not_come_back() {
    let cluster = Cluster::start().await;
    let running = cluster.run(&spec(3), &[]);
    cluster.until_trial().await;
    cluster.fate("rx0", [Fate::ImageError("no such image")]);
    delete_pod(&cluster.state, &pod_key("rx0"));
    running.ends_with(1).await;
    let summary = cluster.summary().unwrap();
    let mut pairs: Vec<_> = summary.trials.iter().map(|trial| trial.pair.as_str()).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["tx1-rx1", "tx1-rx1", "tx2-rx2", "tx2-rx2"]);
    let failed: Vec<_> = summary.failures.iter().map(|failure| failure.pair.as_str()).collect();
    assert_eq!(failed, ["tx0-rx0", "tx0-rx0"]);
    assert!(summary.failures.iter().all(|failure| failure.reason.contains("ErrImagePull: no such image")));
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
    }
    cluster.assert_clean();
}

/// Its results are stored: the trial is not repeated, and the pair is recovered for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_lost_when_its_report_is_acknowledged() {
    for retries in [0, 1] {
        let cluster = Cluster::start().await;
        let trials = TWO_TRIALS.replace("orphan: 1s", &format!("orphan: 1s, retries: {retries}"));
        let running = cluster.run(&format!("  pairs: 3\n{POD}{}", trials.replace("400ms", "1s")), &[]);
        cluster.until_trial().await;
        *cluster.state.wire.lost_at_acknowledgement.lock().unwrap() = Some("tx1".to_owned());
        running.ends_with(0).await;
        assert_whole(&cluster, 3, 2);
        let recoveries = cluster.summary().unwrap().recoveries;
        assert!(
            recoveries.len() == 1 && recoveries[0].starts_with("tx1-rx1 was connected again: "),
            "{recoveries:?}"
        );
    }
}

/// A pod that is not removed, because of a finalizer or a lost node, does not block an interrupt.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_can_be_interrupted() {
    let cluster = Cluster::start().await;
    let running = cluster.run(&spec(1), &[]);
    cluster.until_trial().await;
    cluster.state.stuck.lock().unwrap().insert("rx0".to_owned());
    let deletions = cluster.count("delete", "pods");
    delete_pod(&cluster.state, &pod_key("tx0"));
    cluster.until("the pods are to go", || cluster.count("delete", "pods") > deletions).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let process = rustix::process::Pid::from_raw(running.child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    cluster.until("the run ends", || cluster.count("get", "pods/log") > 0).await;
    cluster.state.stuck.lock().unwrap().clear();
    running.ends_with(130).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    cluster.assert_clean();
}
