//! Where memif's ends meet at a socket file: servers that were killed, that run, and that come late.
use std::path::Path;

use crate::common::{Running, dataplane, eal, json, number, run, stderr};

fn memif(role: &str, socket: &Path) -> String {
    format!("net_memif0,role={role},socket={},socket-abstract=no", socket.display())
}

fn server(socket: &Path) -> Running {
    let mut server = Running::start(&mut dataplane(
        &eal(1, &[&memif("server", socket)]),
        "rx --packets 1000 --duration 30s --interval 100ms --json",
    ));
    server.wait_for_stderr("rx 0.");
    server
}

#[test]
fn a_server_takes_the_place_of_one_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif.sock");
    let killed = server(&socket);
    killed.signal("KILL");
    drop(killed);
    assert!(socket.exists(), "it had no chance to remove its socket");

    let client = eal(0, &[&memif("client", &socket)]);
    let alone =
        run(&mut dataplane(&client, "tx --peer-mac 02:00:00:00:00:02 --packets 1000 --rate 10kpps --json"));
    let message = stderr(&alone);
    assert_eq!(alone.status.code(), Some(1), "{message}");
    assert!(message.contains("no memif server listens on its socket, or not for this user"), "{message}");

    let agent = format!("agent --listen 127.0.0.1:0 --await-server {}", socket.display());
    let mut waiting =
        Running::start(dataplane(&client, &agent).env("LINERATE_TOKEN", "a token of this test"));
    assert_eq!(waiting.ends_within(std::time::Duration::from_millis(500)), None, "it waits");
    let receiver = server(&socket);
    waiting.wait_for_stdout("listening");
    drop(waiting);

    let sent =
        run(&mut dataplane(&client, "tx --peer-mac 02:00:00:00:00:02 --packets 1000 --rate 10kpps --json"));
    let received = receiver.output();
    assert_eq!(number(&json(&sent), "sent_packets"), 1000);
    assert_eq!(number(&json(&received), "received_packets"), 1000);
    assert!(!socket.exists(), "one that ends removes its socket");
}

#[test]
fn a_server_that_runs_keeps_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif.sock");
    let first = server(&socket);
    let second = run(&mut dataplane(&eal(0, &[&memif("server", &socket)]), "rx --packets 1 --json"));
    let message = stderr(&second);
    assert_eq!(second.status.code(), Some(1), "{message}");
    assert!(message.contains("Address already in use"), "{message}");
    let client = eal(0, &[&memif("client", &socket)]);
    let sent =
        run(&mut dataplane(&client, "tx --peer-mac 02:00:00:00:00:02 --packets 1000 --rate 10kpps --json"));
    assert_eq!(number(&json(&sent), "sent_packets"), 1000);
    assert_eq!(number(&json(&first.output()), "received_packets"), 1000);
}
