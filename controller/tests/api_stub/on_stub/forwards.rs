//! Refused port-forwards: the run ends at once with the server's message.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::faults::{Effect, Fault};
use crate::role::Role;

/// Both verbs are checked, whatever the server's version.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_verbs_is_refused_before_anything_is_made() {
    for verb in ["get", "create"] {
        for is_old in [true, false] {
            let cluster = Cluster::with_role(Role::printed().without(verb, "pods/portforward")).await;
            cluster.state.is_old.store(is_old, Ordering::Relaxed);
            let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
            assert!(
                said.contains(&format!("not allowed in namespace lab: {verb} pods/portforward")),
                "{said}"
            );
            assert!(cluster.requests().iter().all(|asked| !asked.writes()), "nothing was made");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_forward_that_is_refused_ends_the_run_at_once() {
    for (code, reason, message) in [
        (
            403,
            "Forbidden",
            "pods \"tx0\" is forbidden: User \"tester\" cannot get resource \"pods/portforward\"",
        ),
        (403, "Forbidden", "pods \"tx0\" is forbidden: "),
        (422, "Invalid", "admission webhook \"no-tunnels.example.com\" denied the request"),
    ] {
        let cluster = Cluster::start().await;
        let no = Effect::Answer { code, reason, message };
        cluster.fault(Fault::of("get", "pods/portforward", no).times(usize::MAX));
        let begun = Instant::now();
        let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
        assert!(said.contains("the API server refuses the port-forward to pod tx0"), "{said}");
        assert!(
            said.contains(message.trim_end_matches([':', ' ']))
                && said.contains("get and create on pods/portforward"),
            "{said}"
        );
        assert!(!said.contains("exit status"), "{said}");
        assert_eq!(cluster.count("get", "pods/portforward"), 1, "no second attempt");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        cluster.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_in_a_trial_end_the_run() {
    let cluster = Cluster::start().await;
    let running = cluster.run(&format!("  pairs: 2\n{POD}{}", TWO_TRIALS.replace("400ms", "2s")), &[]);
    cluster.until_trial().await;
    let no =
        Effect::Answer { code: 403, reason: "Forbidden", message: "pods \"rx1\" is forbidden: no longer" };
    cluster.fault(Fault::of("get", "pods/portforward", no).times(usize::MAX));
    let pods = cluster.count("create", "pods");
    cluster.state.cut(|pod| pod == "rx1");
    let said = running.ends_with(1).await;
    assert!(said.contains("error: rx1: the API server refuses the port-forward to pod rx1"), "{said}");
    assert_eq!(cluster.count("create", "pods"), pods, "no pod is started anew in vain");
    cluster.assert_clean();
}
