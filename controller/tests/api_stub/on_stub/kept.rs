//! Kept pods, used by several runs.

use std::process::Output;

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::support::{stderr, stdout};

async fn linerate(cluster: &Cluster, arguments: &[&str]) -> Output {
    cluster.command(arguments).spawn().unwrap().wait_with_output().await.unwrap()
}

/// Creates a pair, runs `trials` on it twice, and removes it.
pub(super) async fn run_on_kept_pods(cluster: &Cluster, trials: &str) {
    let document = cluster.write(&format!("{POD}{trials}"));
    let made = linerate(cluster, &["pods", "create", document]).await;
    assert!(made.status.success(), "{}", stderr(&made));
    let id = stdout(&made).lines().last().unwrap().to_owned();
    let pods = cluster.count("create", "pods");
    for _ in 0..2 {
        let run = linerate(cluster, &["run", document, "--pods", &id, "--results", "kept", "--quiet"]).await;
        assert!(run.status.success(), "{}", stderr(&run));
        assert_eq!(stdout(&run).matches("clean").count(), 2, "{}", stdout(&run));
    }
    assert_eq!(cluster.count("create", "pods"), pods, "no run makes a pod");
    assert!(!cluster.ours().is_empty(), "nor removes one");
    let removed = linerate(cluster, &["pods", "delete", &id]).await;
    assert!(removed.status.success(), "{}", stderr(&removed));
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_pods_serve_one_run_after_the_other() {
    let cluster = Cluster::start().await;
    run_on_kept_pods(&cluster, TWO_TRIALS).await;
    cluster.assert_clean();
    let document = cluster.write(POD);
    for (options, part) in [
        (&["--pods", "00000000"][..], "no kept pods of run 00000000"),
        (&["--pods", "00000000", "--platform", "kubernetes"], "`linerate pods create` makes some"),
    ] {
        let refused = linerate(&cluster, &[&["run", document], options].concat()).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
}
