use super::super::blocks::Blocks;
use super::super::connection::{Connection, Event};
use super::super::stream::BlockCache;
use super::*;
use crate::request::{Parts, Request};
use crate::response::{Expected, NamedBy};

/// Requests of a client to a server, byte by byte or at once, until nothing is to be sent; the answers' statuses, bytes and names.
fn exchange(method: &str, body: &[u8], answer: &Answer, requests: u32) -> Vec<(u16, u64, Option<String>)> {
    let target = "http://h/x".parse().unwrap();
    let parts = Parts { method, headers: &[], body, keep_alive: true, user_agent: "test" };
    let request = Request::new(&target, &parts).unwrap();
    let blocks = Blocks::new(&request);
    let expected = Expected { head: request.is_head(), most_body_bytes: 1 << 30, named_by: NamedBy::Body };
    let (mut client, mut server) = (Connection::new(), ServerConnection::new());
    let (mut cache, mut events, mut answers) = (BlockCache::default(), Vec::new(), Vec::new());
    let (mut kept, mut to_client, mut opened, mut asked) = (Vec::new(), Vec::new(), 0, Vec::new());
    let (mut begun, mut answered) = (false, 0);
    for _ in 0..10_000 {
        while opened < requests && client.has_settings() && client.open(opened, &blocks) {
            opened += 1;
        }
        kept.extend_from_slice(client.out());
        client.sent(client.out().len(), &blocks);
        if !begun && begins(&kept) == Some(true) {
            kept.drain(..PREFACE_BYTES);
            begun = true;
        }
        let taken = server.read(&kept, Some(answer), &mut asked).unwrap();
        kept.drain(..taken);
        server.send_bodies(answer);
        answered += server.take_answered();
        server.take_out(&mut to_client);
        client.read(&to_client, &blocks, &expected, &mut cache, &mut events).unwrap();
        to_client.clear();
        for event in events.drain(..) {
            if let Event::Response { response, name, .. } = event {
                let name = name.text().map(|name| String::from_utf8(name.to_vec()).unwrap());
                answers.push((response.status, response.body_bytes, name));
            }
        }
        if answers.len() == requests as usize {
            break;
        }
    }
    assert!(server.is_idle() && client.under_way() == 0);
    assert_eq!((asked.len() as u32, answered), (requests, u64::from(requests)));
    answers
}

#[test]
fn every_request_has_its_answer() {
    let named = Answer::new(200, &[("content-type", "text/plain"), ("content-length", "2")], b"b0".to_vec());
    let large = Answer::new(503, &[("x-backend", "b0")], vec![b'x'; 300_000]);
    let all = |answer: &Answer, method, body| exchange(method, body, answer, 3);
    assert_eq!(all(&named, "GET", b""), vec![(200, 2, Some("b0".to_owned())); 3]);
    assert_eq!(all(&named, "HEAD", b""), vec![(200, 0, None); 3]);
    assert_eq!(all(&named, "POST", &[b'y'; 70_000]), vec![(200, 2, Some("b0".to_owned())); 3]);
    // Beyond the window that a connection has at first.
    assert_eq!(all(&large, "GET", b""), vec![(503, 300_000, None); 3]);
}

#[test]
fn beginnings_tell_the_protocol() {
    for (bytes, is_h2) in [
        (&b""[..], None),
        (b"PRI * HT", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0", Some(true)),
        (b"POST /", Some(false)),
        (b"GET / HTTP/1.1", Some(false)),
    ] {
        assert_eq!(begins(bytes), is_h2, "{bytes:?}");
    }
}

#[test]
fn what_breaks_the_rules_ends_the_connection() {
    const SETTINGS_FRAME: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    for (name, frames) in [
        ("no settings first", &b"\0\0\x08\x06\0\0\0\0\x0012345678"[..]),
        ("an even stream", b"\0\0\x01\x01\x05\0\0\0\x02\x82"),
        ("data of a stream that was not opened", b"\0\0\x01\0\0\0\0\0\x01x"),
        ("a continuation of nothing", b"\0\0\x01\x09\x04\0\0\0\x01\x82"),
        ("a promise", b"\0\0\x04\x05\x04\0\0\0\x01\0\0\0\x02"),
        ("a window of nothing", b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0"),
    ] {
        let mut server = ServerConnection::new();
        let bytes = if name.starts_with("no ") { frames.to_vec() } else { [SETTINGS_FRAME, frames].concat() };
        assert_eq!(server.read(&bytes, None, &mut Vec::new()), Err(Bad::Malformed), "{name}");
    }
}

#[test]
fn a_request_that_is_given_up_is_not_answered() {
    let mut server = ServerConnection::new();
    let frames = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x82";
    let mut asked = Vec::new();
    let answer = Answer::new(200, &[], b"b0".to_vec());
    assert_eq!(server.read(frames, None, &mut asked), Ok(frames.len()));
    assert_eq!(asked, [1]);
    assert!(!server.is_idle());
    server.read(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08", None, &mut asked).unwrap();
    server.release(1, &answer);
    assert_eq!(server.take_answered(), 0);
    server.go_away();
    let mut out = Vec::new();
    server.take_out(&mut out);
    assert!(out.ends_with(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0"), "{out:?}");
}

#[test]
fn a_window_that_comes_with_its_request_counts() {
    let answer = Answer::new(200, &[], vec![b'x'; 100_000]);
    let mut server = ServerConnection::new();
    // Settings with streams of 10 bytes, a request, 200,000 bytes more for it and for the connection.
    let mut frames = Vec::new();
    put(&mut frames, SETTINGS, 0, 0, b"\0\x04\0\0\0\x0a");
    put(&mut frames, HEADERS, END_HEADERS | END_STREAM, 1, b"\x82");
    for stream in [1, 0] {
        put(&mut frames, WINDOW_UPDATE, 0, stream, &200_000_u32.to_be_bytes());
    }
    server.read(&frames, Some(&answer), &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    for _ in 0..10 {
        server.send_bodies(&answer);
        server.take_out(&mut out);
    }
    assert_eq!(server.take_answered(), 1);
    assert!(server.is_idle() && out.len() > 100_000);
}

#[test]
fn requests_behind_the_last_one_are_left_to_others() {
    let answer = Answer::new(200, &[], b"b0".to_vec());
    let mut server = ServerConnection::new();
    let mut frames = Vec::new();
    put(&mut frames, SETTINGS, 0, 0, &[]);
    put(&mut frames, HEADERS, END_HEADERS, 1, b"\x82");
    let mut asked = Vec::new();
    server.read(&frames, Some(&answer), &mut asked).unwrap();
    server.go_away();
    frames.clear();
    // One whose body follows, and one without; then the end of the first, which was there before.
    put(&mut frames, HEADERS, END_HEADERS, 3, b"\x82");
    put(&mut frames, DATA, END_STREAM, 3, b"x");
    put(&mut frames, HEADERS, END_HEADERS | END_STREAM, 5, b"\x82");
    put(&mut frames, WINDOW_UPDATE, 0, 5, &1_u32.to_be_bytes());
    put(&mut frames, DATA, END_STREAM, 1, b"x");
    assert_eq!(server.read(&frames, Some(&answer), &mut asked), Ok(frames.len()));
    assert_eq!(asked, [1]);
    assert_eq!(server.take_answered(), 1);
    assert!(server.is_idle());
}

#[test]
fn windows_of_all_streams_change_with_the_first_one() {
    let answer = Answer::new(200, &[], vec![b'x'; 30]);
    let mut server = ServerConnection::new();
    let settings = |window: u32| {
        let mut frames = Vec::new();
        put(&mut frames, SETTINGS, 0, 0, &[&b"\0\x04"[..], &window.to_be_bytes()].concat());
        frames
    };
    let mut frames = settings(0);
    for stream in [1, 3] {
        put(&mut frames, HEADERS, END_HEADERS | END_STREAM, stream, b"\x82");
    }
    put(&mut frames, WINDOW_UPDATE, 0, 1, &20_u32.to_be_bytes());
    server.read(&frames, Some(&answer), &mut Vec::new()).unwrap();
    // Those of the first stream and of the second, what was sent of each, and the answers that are whole.
    let mut done = 0;
    for (window, answered) in [(0, 0), (9, 0), (5, 0), (10, 1), (29, 1), (30, 2)] {
        server.read(&settings(window), Some(&answer), &mut Vec::new()).unwrap();
        server.send_bodies(&answer);
        done += server.take_answered();
        assert_eq!(done, answered, "{window}");
    }
    assert!(server.is_idle());
    let mut beyond = settings(MOST_WINDOW);
    put(&mut beyond, HEADERS, END_HEADERS, 5, b"\x82");
    put(&mut beyond, WINDOW_UPDATE, 0, 5, &1_u32.to_be_bytes());
    assert_eq!(server.read(&beyond, Some(&answer), &mut Vec::new()), Err(Bad::Malformed));
}
