//! `linerate diagnose` on a cluster: nodes that cannot be had, and pods that are removed though nothing was found out.

use std::process::Output;

use crate::cluster::Cluster;
use crate::support::stderr;

async fn diagnose(cluster: &Cluster, options: &[&str]) -> Output {
    let arguments = [&["diagnose", "--quiet", "--cpu", "1", "--memory", "64Mi"], options].concat();
    cluster.command(&arguments).spawn().unwrap().wait_with_output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_named_before_anything_is_made() {
    let cluster = Cluster::start().await;
    let refused = diagnose(&cluster, &["--from", "node1", "--to", "host:nowhere"]).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("node nowhere: there is no node of this name"), "{said}");
    assert!(said.contains("choose among the nodes node1, node2"), "{said}");
    assert!(cluster.requests().iter().all(|asked| !asked.writes()), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_on_their_nodes_and_removed_when_they_cannot_measure() {
    let cluster = Cluster::start().await;
    // The stub's agents have another engine.
    let failed = diagnose(&cluster, &["--from", "node2", "--to", "host:node1"]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("a0 (stub) moves frames"), "{}", stderr(&failed));
    assert_eq!(cluster.count("create", "pods"), 4, "each is validated and made");
    cluster.assert_clean();
}
