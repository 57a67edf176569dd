//! A killed controller, and another that resumes its run.

use std::time::Duration;

use super::whole::assert_whole;
use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::faults::{Effect, Fault};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_while_its_pods_went_needs_none_to_end() {
    let cluster = Cluster::start().await;
    cluster.fault(Fault::of("delete", "pods", Effect::Late(Duration::from_secs(30))).times(2));
    let spec = format!("{POD}{TWO_TRIALS}");
    let mut running = cluster.run(&spec, &[]);
    cluster.until("the pods are to go", || cluster.count("delete", "pods") > 0).await;
    running.child.kill().await.unwrap();
    assert!(!cluster.ours().is_empty());
    let before = cluster.summary().unwrap();
    assert_eq!(before.trials.len(), 2);

    let said = cluster.run(&spec, &["--resume"]).ends_with(0).await;
    assert!(said.contains("removes first what is left of") && !said.contains("starting"), "{said}");
    let summary = cluster.summary().unwrap();
    assert_eq!((summary.trials, summary.experiment.agents.len()), (before.trials, 2));
    assert_whole(&cluster, 1, 2);
}
