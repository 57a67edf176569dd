//! Namespaces with a Pod Security level: the refusal names the label that each link needs, and each warning
//! is printed once.

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::security::Level;

const DEVICE: &str =
    "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 1}, resources: {intel.com/dpdk: 1}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_label_to_set() {
    let af_packet = POD.replace("memif", "afPacket");
    for level in [Level::Baseline, Level::Restricted] {
        for (pod, because, server) in [
            (POD, "volume memif is a directory of the node", "volume \"memif\""),
            (
                &af_packet,
                "capability NET_ADMIN, capability NET_RAW",
                "must not include \"NET_ADMIN\", \"NET_RAW\"",
            ),
            (
                DEVICE,
                "capability IPC_LOCK, capability SYS_NICE",
                "must not include \"IPC_LOCK\", \"SYS_NICE\"",
            ),
        ] {
            let cluster = Cluster::start().await;
            *cluster.state.enforced.lock().unwrap() = Some(level);
            let said = cluster.run(&format!("  pairs: 3\n{pod}{TWO_TRIALS}"), &[]).ends_with(1).await;
            let error =
                said.lines().skip_while(|line| !line.starts_with("error: ")).collect::<Vec<_>>().join("\n");
            for part in [
                "cannot validate Pod tx0: pods \"tx0\" is forbidden: violates PodSecurity",
                server,
                &format!("need the level privileged: {because}"),
                "kubectl label --overwrite namespace lab pod-security.kubernetes.io/enforce=privileged",
            ] {
                assert!(error.contains(part), "'{part}' is not in: {error}");
            }
            assert!(
                cluster.requests().iter().all(|asked| !asked.writes() || asked.is_dry_run()),
                "nothing was made"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_printed_once() {
    let cluster = Cluster::start().await;
    *cluster.state.warned.lock().unwrap() = Some(Level::Restricted);
    let said =
        cluster.run(&format!("  pairs: 2\n{POD}{TWO_TRIALS}"), &["--log-level", "warn"]).ends_with(0).await;
    assert_eq!(
        said.matches(
            "the API server warns: would violate PodSecurity \"restricted:latest\": restricted volume types"
        )
        .count(),
        1,
        "{said}"
    );
}
