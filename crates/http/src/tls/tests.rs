use std::path::PathBuf;

use super::client::{ClientOptions, ClientTls, Trust};
use super::fault::FaultKind;
use super::server::ServerTls;
use super::session::{Agreed, End, PLAIN_BYTES_MORE, Session};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn options(trust: Trust, server_name: &str) -> ClientOptions {
    ClientOptions { trust, server_name: server_name.to_owned(), protocol: "http/1.1", resume: true }
}

/// A file that is removed with the test's process.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("linerate-tls-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn wire_of(session: &mut Session) -> Vec<u8> {
    let mut wire = Vec::new();
    while session.wants_write() {
        session.write(&mut wire).unwrap();
    }
    wire
}

/// Gives bytes to a session in pieces; returns the plain text and the end.
fn give(session: &mut Session, wire: &[u8], size: usize) -> (Vec<u8>, Option<End>) {
    let (mut text, mut plain) = (Vec::new(), vec![0; size + PLAIN_BYTES_MORE]);
    for piece in wire.chunks(size) {
        let decrypted = session.decrypt(piece, &mut plain);
        text.extend_from_slice(&plain[..decrypted.bytes]);
        if decrypted.end.is_some() {
            return (text, decrypted.end);
        }
    }
    (text, None)
}

/// Shakes hands; returns the client's end, if that was one.
fn shake(client: &mut Session, server: &mut Session, size: usize) -> Option<End> {
    for _ in 0..10 {
        let wire = wire_of(client);
        let _ = give(server, &wire, size);
        let wire = wire_of(server);
        if let (_, Some(end)) = give(client, &wire, size) {
            return Some(end);
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return None;
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn text_arrives_whatever_the_pieces_are() {
    let (server, pem) = ServerTls::self_signed(&names(&["backend", "127.0.0.1"])).unwrap();
    let path = file("pieces", &pem);
    let text: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    for size in [1, 100, 4096, 100_000] {
        let settings = ClientTls::new(options(Trust::File(path.clone()), "127.0.0.1")).unwrap();
        let (mut client, mut server) = (settings.connect().unwrap(), server.accept().unwrap());
        assert_eq!(shake(&mut client, &mut server, size), None);
        let (mut rest, mut arrived) = (&text[..], Vec::new());
        while !rest.is_empty() {
            client.encrypt(rest);
            assert_eq!(client.left(), 0);
            let wire = wire_of(&mut client);
            rest = &rest[client.left()..];
            arrived.extend(give(&mut server, &wire, size).0);
        }
        assert!(arrived == text, "in pieces of {size}");
        client.close();
        let wire = wire_of(&mut client);
        assert_eq!(give(&mut server, &wire, size), (Vec::new(), Some(End::Closed)));
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn sessions_are_taken_up_if_wanted() {
    let (server, _) = ServerTls::self_signed(&names(&["backend"])).unwrap();
    for (resume, expected) in [(true, [false, true]), (false, [false, false])] {
        let wanted = ClientOptions { resume, ..options(Trust::Everybody, "backend") };
        let settings = ClientTls::new(wanted).unwrap().apart();
        let resumed = expected.map(|_| {
            let (mut client, mut server) = (settings.connect().unwrap(), server.accept().unwrap());
            assert_eq!(shake(&mut client, &mut server, 4096), None);
            let wire = wire_of(&mut server);
            give(&mut client, &wire, 4096);
            let Agreed { version, protocol, resumed, .. } = client.agreed();
            assert_eq!((version.as_str(), protocol.as_deref()), ("TLSv1.3", Some("http/1.1")));
            resumed
        });
        assert_eq!(resumed, expected);
    }
}

#[test]
fn faults_have_their_kinds() {
    let (server, pem) = ServerTls::self_signed(&names(&["backend"])).unwrap();
    let (_, other) = ServerTls::self_signed(&names(&["other"])).unwrap();
    let (path, other) = (file("kinds", &pem), file("other", &other));
    for (trusted, name, kind) in
        [(&other, "backend", FaultKind::UnknownIssuer), (&path, "elsewhere", FaultKind::Name)]
    {
        let settings = ClientTls::new(options(Trust::File(trusted.clone()), name)).unwrap();
        let end = shake(&mut settings.connect().unwrap(), &mut server.accept().unwrap(), 4096);
        assert!(matches!(&end, Some(End::Fault(fault)) if fault.kind == kind), "{end:?}");
    }
    for (said, kind) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], FaultKind::Protocol),
        (b"\x15\x03\x03\x00\x02\x02\x28", FaultKind::Alert),
    ] {
        let mut client = ClientTls::new(options(Trust::Everybody, "backend")).unwrap().connect().unwrap();
        let (_, end) = give(&mut client, said, 4096);
        assert!(matches!(&end, Some(End::Fault(fault)) if fault.kind == kind), "{end:?}");
    }
    for path in [path, other] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let path = file("empty", "no certificate\n");
    let error = ClientTls::new(options(Trust::File(path.clone()), "h")).unwrap_err().to_string();
    assert!(error.contains("empty") && error.contains("no certificate in it"), "{error}");
    let error = ServerTls::from_files(&path, &path).unwrap_err().to_string();
    assert!(error.contains("--tls-cert"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = ClientTls::new(options(Trust::File(path), "h")).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}
