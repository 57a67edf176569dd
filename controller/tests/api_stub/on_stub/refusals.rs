//! Permanent refusals of the API server: no retry, an error that names the object and the reason, no objects
//! left.

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::faults::{Effect, Fault};
use crate::role::Role;

async fn refused(fault: Fault, parts: &[&str]) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.fault(fault);
    let said = cluster.run(&format!("  pairs: 2\n{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
    for part in parts {
        assert!(said.contains(part), "'{part}' is not in: {said}");
    }
    assert!(cluster.summary().is_none_or(|summary| summary.trials.is_empty()));
    cluster.assert_clean();
    cluster
}

fn no(code: u16, reason: &'static str, message: &'static str) -> Effect {
    Effect::Answer { code, reason, message }
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_refuses_a_pod_before_anything_is_made() {
    let message = "pods \"tx0\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot";
    let fault = Fault::of("create", "pods", no(403, "Forbidden", message)).named("tx0");
    let cluster =
        refused(fault, &["cannot validate Pod tx0: pods \"tx0\" is forbidden: violates PodSecurity"]).await;
    assert!(cluster.requests().iter().all(|asked| !asked.writes() || asked.is_dry_run()), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_refuses_a_pod_in_the_middle() {
    let message = "Pod \"rx1\" is invalid: spec.containers[0].resources: Invalid value";
    // After its dry run.
    let fault = Fault::of("create", "pods", no(422, "Invalid", message)).named("rx1").after(1);
    let cluster = refused(fault, &["cannot create Pod rx1: Pod \"rx1\" is invalid"]).await;
    let attempts =
        cluster.requests().iter().filter(|asked| asked.verb == "create" && asked.resource == "pods").count();
    assert!(attempts <= 4 + 4, "what is invalid stays so: {attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exceeded_by_the_last_pod() {
    let message =
        "pods \"rx1\" is forbidden: exceeded quota: team, requested: pods=1, used: pods=3, limited: pods=3";
    let fault = Fault::of("create", "pods", no(403, "Forbidden", message)).named("rx1").after(1);
    refused(fault, &["cannot create Pod rx1", "exceeded quota: team", "used: pods=3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_there_already() {
    let message = "leases.coordination.k8s.io \"linerate\" already exists";
    let fault = Fault::of("create", "leases", no(409, "AlreadyExists", message)).after(1);
    refused(fault, &["cannot create the lease linerate-", "already exists"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_lacks_is_named_before_anything_is_made() {
    let cluster = Cluster::with_role(Role::printed().without("create", "secrets")).await;
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
    assert!(said.contains("not allowed in namespace lab: create secrets"), "{said}");
    assert!(cluster.requests().iter().all(|asked| !asked.writes()), "nothing was made");
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_view_of_the_nodes_the_scheduler_decides() {
    let cluster = Cluster::with_role(Role::printed().without("list", "nodes")).await;
    cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_eq!(cluster.ours(), []);
    assert_eq!(cluster.summary().unwrap().trials.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_ceiling_forbids_is_refused_before_any_request() {
    let cluster = Cluster::start().await;
    for (more, options, part) in [
        (
            "  safety: {maxRate: 10kpps}\n",
            &[][..],
            "exceeds the ceiling of 10000 (spec.safety.maxRate 10kpps)",
        ),
        (
            "  safety: {allow: [10.0.0.0/8]}\n",
            &["--set", "spec.traffic.destination={ip: 192.168.2.1, port: 9}"],
            "192.168.2.1 to 192.168.2.1 do not lie within",
        ),
        ("", &["--max-duration", "399ms"], "of 400ms exceeds the ceiling of 399ms"),
    ] {
        let said = cluster.run(&format!("{POD}{TWO_TRIALS}{more}"), options).ends_with(2).await;
        assert!(said.contains(part), "'{part}' is not in: {said}");
    }
    let mut command = cluster.command(&["run", "experiment.yaml", "--results", "results"]);
    let output = command.env("LINERATE_MAX_RATE", "20kpps").output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("(LINERATE_MAX_RATE 20kpps)"), "{output:?}");
    assert!(cluster.requests().is_empty(), "{:?}", cluster.requests());
    assert!(cluster.summary().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn ceilings_reach_every_pod() {
    let cluster = Cluster::start().await;
    cluster.write(&format!("{POD}{TWO_TRIALS}  safety: {{maxRate: 50kpps, maxDuration: 1s}}\n"));
    let mut command = cluster.command(&["run", "experiment.yaml", "--dry-run", "--json"]);
    let output = command.env("LINERATE_ALLOW", "192.168.0.0/16").output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pods = plan["manifests"].as_array().unwrap().iter().filter(|object| object["kind"] == "Pod");
    let agents: Vec<_> = pods.map(|pod| &pod["spec"]["containers"][0]).collect();
    assert_eq!(agents.len(), 2);
    for agent in agents {
        let command = agent["command"].to_string();
        assert!(command.contains(r#""--max-rate","50kpps","--max-duration","1s""#), "{command}");
        assert_eq!(agent["env"], serde_json::json!([{"name": "LINERATE_ALLOW", "value": "192.168.0.0/16"}]));
    }
    cluster.assert_clean();
}
