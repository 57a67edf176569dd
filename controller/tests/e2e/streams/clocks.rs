//! Agents that read different clocks, as those of two machines do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{assert_validates, bench, options};
use crate::support::{Bench, not_run, stderr, stdout};

/// Agents in time namespaces of their own, with a kernel's identity of their own: the controller takes them for agents of two machines. The clocks are
/// minutes apart.
const OTHER_MACHINE: &str = r#"#!/bin/sh
case "$*" in *--version*) exec "$(dirname "$0")/linerate-hostplane" "$@" ;; esac
exec unshare --time --monotonic $(($$ % 1000 + 100)) --mount --fork --kill-child sh -c '
    mount -t tmpfs tmpfs /mnt && cat /proc/sys/kernel/random/uuid >/mnt/boot_id &&
    mount --bind /mnt/boot_id /proc/sys/kernel/random/boot_id && exec "$0" "$@"' "$(dirname "$0")/linerate-hostplane" "$@"
"#;

fn machines(bench: &Bench) -> String {
    let program = bench.path("other-machine");
    fs::write(&program, OTHER_MACHINE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.display().to_string()
}

#[test]
fn delays_between_two_machines_have_the_bound_of_their_clocks() {
    const NAME: &str = "delays_between_two_machines_have_the_bound_of_their_clocks";
    let mut tried = Command::new("unshare");
    tried.args([
        "--time",
        "--monotonic",
        "100",
        "--mount",
        "--fork",
        "sh",
        "-c",
        "mount -t tmpfs tmpfs /mnt",
    ]);
    if !tried.output().is_ok_and(|output| output.status.success()) {
        return not_run(
            NAME,
            "it needs time namespaces and mounts, which root may make outside of containers",
        );
    }
    let spec =
        "  streams: {transports: [udp], rates: [5mbps]}\n  trial: {duration: 1s, sampleInterval: 200ms}\n";
    let bench = bench(spec);
    let program = machines(&bench);
    let output = bench.run(&options(&program, &["--quiet", "--format", "csv"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let trial = &summary.streams[0];
    let (sent, received) = (trial.sent_datagrams.unwrap(), trial.received_datagrams.unwrap());
    assert!(received > 0 && sent == received + trial.lost_datagrams.unwrap(), "{trial:?}");
    assert_eq!(trial.delay_ns, None, "no delay is without its bound");
    let bounded = trial.bounded_delay_ns.unwrap();
    // Both ends are on this machine: the delay itself is less than a few milliseconds, the clocks are minutes apart.
    let longest_ns = 20_000_000;
    assert!(bounded.uncertainty_ns > 0 && bounded.uncertainty_ns < longest_ns, "{bounded:?}");
    assert!(bounded.delay.p50 <= longest_ns + bounded.uncertainty_ns, "{bounded:?}");
    let shown = stdout(&output);
    assert!(shown.contains("delay between two clocks: median ") && shown.contains(" µs, each ±"), "{shown}");
    let connection = &trial.worst_connections.first().map(|one| one.delay_note.clone());
    assert!(
        connection.is_none()
            || connection.clone().flatten().is_some_and(|note| note.contains("before and after")),
        "{connection:?}"
    );
    assert_validates(&bench);
}
