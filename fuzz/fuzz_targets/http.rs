//! Any bytes as responses and requests, of HTTP/1.1 and HTTP/2, in pieces: the same outcome whatever the pieces are, and no byte is taken twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_http::h2::blocks::Blocks;
use linerate_http::h2::connection::{Connection, Event};
use linerate_http::h2::server::{Answer, ServerConnection};
use linerate_http::h2::stream::BlockCache;
use linerate_http::incoming::RequestReader;
use linerate_http::request::{Parts, Request};
use linerate_http::response::{Bad, Expected, HeadCache, NamedBy, Progress, Response, ResponseReader};
use linerate_http::target::Target;

/// Responses until the first error, the error, and whether something is left.
type Seen = (Vec<(Response, Option<Vec<u8>>)>, Option<Bad>);

fn responses(bytes: &[u8], size: usize, expected: &Expected) -> Seen {
    let (mut reader, mut cache, mut waiting) = (ResponseReader::default(), HeadCache::default(), Vec::new());
    let mut seen = Vec::new();
    for piece in bytes.chunks(size) {
        waiting.extend_from_slice(piece);
        loop {
            match reader.read(&waiting, expected, &mut cache) {
                Ok(Progress::Whole(taken, response)) => {
                    waiting.drain(..taken);
                    seen.push((response, reader.name().map(<[u8]>::to_vec)));
                    if waiting.is_empty() {
                        break;
                    }
                }
                Ok(Progress::Partial(taken)) => {
                    waiting.drain(..taken);
                    break;
                }
                Err(bad) => return (seen, Some(bad)),
            }
        }
    }
    (seen, None)
}

/// What a server of HTTP/2 said, in words, and what the client answered; requests with a body, whose windows it changes.
fn frames(bytes: &[u8], size: usize, expected: &Expected, body: &[u8]) -> (Vec<String>, Option<Bad>, usize) {
    let target = "http://h/p".parse().unwrap();
    let parts = Parts { method: "POST", headers: &[], body, keep_alive: true, user_agent: "me" };
    let blocks = Blocks::new(&Request::new(&target, &parts).unwrap());
    let (mut connection, mut cache, mut seen) = (Connection::new(), BlockCache::default(), Vec::new());
    // The server's settings: nothing but usual ones.
    let mut events = Vec::new();
    connection.read(b"\0\0\0\x04\0\0\0\0\0", &blocks, expected, &mut cache, &mut events).unwrap();
    // Each is sent before the next: none is opened while much waits.
    for place in 0..4 {
        assert!(connection.open(place, &blocks));
        connection.sent(connection.out().len(), &blocks);
    }
    let mut places = vec![0, 1, 2, 3];
    let mut answers = 0;
    for piece in bytes.chunks(size) {
        events.clear();
        let read = connection.read(piece, &blocks, expected, &mut cache, &mut events);
        for event in &events {
            // Every request comes to an end once.
            if let Event::Response { place, .. }
            | Event::Failed { place, .. }
            | Event::Reset { place, .. }
            | Event::Returned { place } = event
            {
                let at = places.iter().position(|known| known == place).expect("a request ends twice");
                places.remove(at);
            }
            seen.push(format!("{event:?}"));
        }
        if let Err(bad) = read {
            return (seen, Some(bad), 0);
        }
        let out = connection.out().len();
        answers += out;
        connection.sent(out, &blocks);
    }
    answers += connection.out().len();
    assert_eq!(connection.under_way(), places.len());
    (seen, None, answers)
}

/// Streams of the requests that a server of HTTP/2 read; each has one answer at most.
fn served(bytes: &[u8], size: usize) -> (Vec<u32>, Option<Bad>) {
    let answer = Answer::new(200, &[("content-type", "text/plain")], b"b0".to_vec());
    let (mut server, mut waiting, mut asked) = (ServerConnection::new(), b"\0\0\0\x04\0\0\0\0\0".to_vec(), Vec::new());
    let (mut out, mut answered) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        waiting.extend_from_slice(piece);
        match server.read(&waiting, Some(&answer), &mut asked) {
            Ok(taken) => drop(waiting.drain(..taken)),
            Err(bad) => return (asked, Some(bad)),
        }
        answered += server.take_answered();
        assert!(answered <= asked.len() as u64);
        server.take_out(&mut out);
    }
    (asked, None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let named_by = match choice % 3 {
        0 => NamedBy::Body,
        1 => NamedBy::Header("x-backend".to_owned()),
        _ => NamedBy::Nothing,
    };
    let expected = Expected { head: choice & 64 > 0, most_body_bytes: 4096, named_by };
    let size = usize::from(choice % 61) + 1;
    // Longer heads are looked at when a line ends: what is wrong with them is told later in pieces.
    let bytes = &bytes[..bytes.len().min(2048)];
    let (whole, bad) = responses(bytes, bytes.len().max(1), &expected);
    let (pieces, bad_in_pieces) = responses(bytes, size, &expected);
    assert_eq!(whole, pieces);
    assert_eq!(bad.is_some(), bad_in_pieces.is_some());
    let body = &[b'x'; 100_000][..if choice & 128 > 0 { 100_000 } else { 0 }];
    let (whole, bad, answers) = frames(bytes, bytes.len().max(1), &expected, body);
    let (pieces, bad_in_pieces, answers_in_pieces) = frames(bytes, size, &expected, body);
    assert_eq!((whole, bad), (pieces, bad_in_pieces));
    assert!(body.len() > 0 || answers == answers_in_pieces);
    assert_eq!(served(bytes, bytes.len().max(1)), served(bytes, size));
    let mut reader = RequestReader::default();
    let mut rest = bytes;
    while let Ok((taken, Some(_))) = reader.read(rest) {
        rest = &rest[taken..];
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(target) = text.parse::<Target>()
    {
        assert_eq!(target.to_string().parse::<Target>().as_ref(), Ok(&target));
    }
});
