//! Pods that do not start: the run ends, names the pod and the reason, and leaves no objects.

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::kubelet::Fate;

async fn refused(fate: Fate, spec: &str, parts: &[&str]) {
    let cluster = Cluster::start().await;
    cluster.fate("rx1", [fate]);
    let pod = POD.replace("}}", &format!("}}, {spec}}}"));
    let said = cluster.run(&format!("  pairs: 2\n{pod}{TWO_TRIALS}"), &["--quiet"]).ends_with(1).await;
    let error = said.lines().skip_while(|line| !line.starts_with("error: ")).collect::<Vec<_>>().join("\n");
    for part in parts {
        assert!(error.contains(part), "'{part}' is not in: {said}");
    }
    assert!(!error.contains("tx0") && !error.contains("rx0"), "others are well: {error}");
    let summary = cluster.summary().unwrap();
    assert!(summary.trials.is_empty() && summary.reason.unwrap().contains("rx1"));
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_never_scheduled() {
    let message = "0/2 nodes are available: 2 Insufficient cpu.";
    let parts = [
        "1 of 4 pods did not start within 4 s",
        "rx1: not scheduled: 0/2 nodes are available",
        "readyTimeout",
    ];
    refused(Fate::NeverScheduled(message), "readyTimeout: 4s", &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there() {
    let message = "failed to pull and unpack image: not found";
    refused(
        Fate::ImageError(message),
        "",
        &["rx1 did not start: ErrImagePull: failed to pull and unpack image: not found"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_check_that_fails_is_read_back() {
    let words = "PASS IOMMU\nFAIL Free hugepages  none of 2 MiB\n  remedy: echo 64 > nr_hugepages";
    let parts = [
        "rx1 did not start: the preflight check ended with exit status 1: FAIL Free hugepages",
        "remedy: echo 64",
    ];
    refused(Fate::PreflightFails(words), "", &parts).await;
}
