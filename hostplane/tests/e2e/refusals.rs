//! What is refused, and in which words.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::common::{PROGRESS, Running, Server, hostplane, json, result, run, stderr};

/// Runs a command that must fail with this exit code, and whose message must have all parts.
fn refused(command: &mut Command, code: i32, parts: &[&str]) {
    let output = run(command);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
}

#[test]
fn wrong_command_lines_name_the_option_and_the_remedy() {
    for (line, parts) in [
        ("tcp 127.0.0.1 --rate 50%", &["--rate 50%", "bits per second"][..]),
        ("tcp 127.0.0.1 --rate 1kpps", &["TCP streams take bits per second"]),
        ("tcp 127.0.0.1 --duration 10", &["'10' is not a duration", "endless"]),
        ("tcp 127.0.0.1 --bytes 1X", &["'1X' is not a number of bytes"]),
        ("tcp 127.0.0.1 --reverse --bidirectional", &["cannot be used with"]),
        ("tcp 127.0.0.1 --parallel 0", &["--parallel: 0 is outside"]),
        ("tcp 127.0.0.1 --kernel-pacing", &["--kernel-pacing needs a rate"]),
        ("tcp 127.0.0.1 --cpus x", &["list of CPUs"]),
        ("udp 127.0.0.1", &["--rate"]),
        ("udp 127.0.0.1 --rate 1mbps --size 15", &["--size: 15"]),
        ("udp 127.0.0.1 --rate 1mbps --size 1400 --gso 64", &["--gso: 64 is outside 1…46"]),
        ("udp 127.0.0.1 --rate 10%", &["speed of the path is not known"]),
        ("serve --listen here", &["'here' is not an address"]),
        ("serve --max-trials 0", &["--max-trials"]),
    ] {
        refused(&mut hostplane(line), 2, parts);
    }
}

#[test]
fn a_token_is_demanded_at_both_ends() {
    let mut command = hostplane("serve");
    refused(command.env_remove("LINERATE_TOKEN"), 2, &["no token", "--token-file", "urandom"]);
    let mut command = hostplane("tcp 127.0.0.1");
    refused(command.env_remove("LINERATE_TOKEN"), 2, &["no token"]);
    let mut command = hostplane("tcp 127.0.0.1");
    refused(command.env("LINERATE_TOKEN", "short"), 2, &["has 5 bytes"]);
    let server = Server::start("");
    let mut command = server.client("tcp", "--duration 1s");
    refused(command.env("LINERATE_TOKEN", "another token of others"), 1, &["does not know this token"]);
    // With --json, a program that reads standard output gets the reason too.
    let output = run(&mut hostplane("tcp 127.0.0.1 --port 9 --json"));
    assert!(json(&output)["error"]["message"].as_str().unwrap().contains("nothing listens"));
}

#[test]
fn a_server_that_is_not_there_or_another_one_is_told() {
    refused(
        &mut hostplane("tcp 127.0.0.1 --port 9"),
        1,
        &["nothing listens at 127.0.0.1:9", "serve --listen"],
    );
    refused(&mut hostplane("tcp no-such-host.invalid"), 1, &["no-such-host.invalid", "no address"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in other.incoming().map_while(Result::ok) {
            let mut stream: TcpStream = stream;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n");
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    refused(
        &mut hostplane(&format!("tcp 127.0.0.1 --port {port}")),
        1,
        &["none of this protocol", "linerate-hostplane serve"],
    );
}

#[test]
fn an_address_in_use_is_told() {
    let server = Server::start("");
    refused(
        &mut hostplane(&format!("serve --listen 127.0.0.1:{}", server.port)),
        1,
        &["cannot listen on 127.0.0.1", "another program listens there"],
    );
    refused(&mut hostplane("serve --listen 192.0.2.55"), 1, &["192.0.2.55", "ip address"]);
}

#[test]
fn options_that_the_host_does_not_have_are_named() {
    let server = Server::start("");
    for (options, parts) in [
        ("--congestion nonesuch", &["congestion control 'nonesuch'", "reno"][..]),
        ("--congestion nonesuch --reverse", &["refuses: at the server: congestion control 'nonesuch'"]),
        ("--interface nowhere9", &["interface nowhere9", "ip link"]),
        ("--bind 192.0.2.55", &["192.0.2.55", "ip address"]),
        ("--cpus 4000", &["CPU 4000 cannot be used", "--cpus"]),
    ] {
        refused(&mut server.client("tcp", &format!("--duration 1s {options}")), 1, parts);
    }
    // The server goes on.
    result(&mut server.client("tcp", "--duration 100ms --interface lo --bind 127.0.0.1 --cpus 0"));
}

#[test]
fn ceilings_hold_at_both_ends() {
    let server = Server::start("--max-rate 100mbps --max-duration 2s --allow 127.0.0.0/8");
    for (protocol, options, parts) in [
        ("tcp", "--duration 1s", &["refuses", "no bound", "--max-rate 100mbps"][..]),
        ("tcp", "--duration 1s --rate 100mbps", &["refuses", "exceeds the ceiling", "--max-rate"]),
        ("tcp", "--duration 3s --rate 10mbps --reverse", &["refuses", "of 3s exceeds the ceiling of 2s"]),
        ("udp", "--duration endless --rate 10mbps", &["refuses", "without a duration"]),
        ("udp", "--duration 1s --rate 99mbps --size 100", &["refuses", "exceeds the ceiling"]),
    ] {
        refused(&mut server.client(protocol, options), 1, parts);
    }
    result(&mut server.client("tcp", "--duration 300ms --rate 90mbps --bidirectional"));
    let own = |options: &str| server.client("tcp", &format!("--duration 1s --rate 10mbps {options}"));
    refused(&mut own("--max-rate 5mbps"), 1, &["--max-rate 5mbps"]);
    refused(&mut own("--allow 10.0.0.0/8"), 1, &["127.0.0.1 lies in none", "--allow"]);
    refused(own("").env("LINERATE_MAX_DURATION", "500ms"), 1, &["LINERATE_MAX_DURATION"]);
    let elsewhere = Server::start("--allow 10.0.0.0/8");
    refused(&mut elsewhere.client("tcp", "--duration 1s"), 1, &["refuses: 127.0.0.1 lies in none"]);
}

#[test]
fn too_few_descriptors_are_counted_before_a_stream_is_opened() {
    let limited = |limit: u32, command: &Command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell
    };
    let server = Server::start_as(limited(60, &hostplane("serve --listen 127.0.0.1:0 --json")));
    refused(
        &mut server.client("tcp", "--parallel 100 --duration 1s"),
        1,
        &["100 streams need", "the server may have 60 (ulimit -n)"],
    );
    result(&mut server.client("tcp", "--parallel 5 --duration 100ms"));
    let roomy = Server::start("");
    refused(
        &mut limited(60, &roomy.client("tcp", "--parallel 100 --duration 1s")),
        1,
        &["100 streams need 164 file descriptors, and this process may have 60", "ulimit -n"],
    );
    roomy.has_no_sockets_left();
}

#[test]
fn strangers_are_told_apart_and_keep_nobody_out() {
    let server = Server::start("");
    // Silent ones, noise, a stream of no trial, a control line of no protocol.
    let mut strangers: Vec<TcpStream> =
        (0..1200).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap()).collect();
    let mut stream = b"LiSt\x01\0\0\0".to_vec();
    stream.extend([7; 24]);
    for (index, text) in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &stream,
        b"{\"hello\":{\"protocol\":99,\"program\":\"x\",\"nonce\":\"00\"}}\n",
        b"{{{{\n",
    ]
    .into_iter()
    .enumerate()
    {
        strangers[index].write_all(text).unwrap();
    }
    let long = vec![b'{'; 10_000];
    strangers[5].write_all(&long).unwrap();
    result(&mut server.client("tcp", "--duration 200ms"));
    result(&mut server.client("udp", "--duration 200ms --rate 1kpps"));
    drop(strangers);
    server.has_no_sockets_left();
}

#[test]
fn more_trials_than_admitted_are_refused_until_one_has_ended() {
    let server = Server::start("--max-trials 1");
    let mut first = Running::start(&mut hostplane(&format!(
        "tcp 127.0.0.1 --port {} --rate 1mbps --duration 1500ms --interval 100ms",
        server.port
    )));
    first.wait_for_stderr(PROGRESS);
    refused(&mut server.client("tcp", "--duration 100ms"), 1, &["1 trials are running", "--max-trials"]);
    assert!(first.output().status.success());
    result(&mut server.client("tcp", "--duration 100ms"));
}
