use super::blocks::Blocks;
use super::connection::{Connection, Event, REFUSED_STREAM};
use super::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, PADDED, PING, PREFACE, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, put,
};
use super::hpack;
use super::stream::BlockCache;
use crate::request::{Parts, Request, header};
use crate::response::{Bad, Expected, NamedBy};

fn expected(named_by: NamedBy) -> Expected {
    Expected { head: false, most_body_bytes: 1000, named_by }
}

fn blocks(body: &[u8]) -> Blocks {
    let target = "https://h.example:8443/p?q".parse().unwrap();
    let headers = [header("X-Me: you").unwrap()];
    let method = if body.is_empty() { "GET" } else { "POST" };
    let parts = Parts { method, headers: &headers, body, keep_alive: true, user_agent: "linerate/0" };
    Blocks::new(&Request::new(&target, &parts).unwrap())
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A server that has said its settings, and the client's frames since.
struct Pair {
    client: Connection,
    request: Blocks,
    cache: BlockCache,
}

impl Pair {
    fn new(request: Blocks, settings: &[u8]) -> Self {
        let mut pair = Self { client: Connection::new(), request, cache: BlockCache::default() };
        assert!(pair.client.out().starts_with(PREFACE));
        let mut said = Vec::new();
        put(&mut said, SETTINGS, 0, 0, settings);
        assert!(matches!(pair.read(&said, 5)[..], [Event::Limit]));
        pair
    }

    fn read(&mut self, bytes: &[u8], size: usize) -> Vec<Event> {
        self.try_read(bytes, size, &NamedBy::Body).unwrap()
    }

    fn try_read(&mut self, bytes: &[u8], size: usize, named_by: &NamedBy) -> Result<Vec<Event>, Bad> {
        let mut events = Vec::new();
        for piece in bytes.chunks(size) {
            let (request, expected) = (&self.request, &expected(named_by.clone()));
            self.client.read(piece, request, expected, &mut self.cache, &mut events)?;
        }
        Ok(events)
    }

    /// Takes what the client sends: type, flags, stream and payload of each frame.
    fn sent(&mut self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while !self.client.out().is_empty() {
            let out = self.client.out().to_vec();
            let mut rest = out.strip_prefix(PREFACE).unwrap_or(&out);
            while let Some((frame, behind)) = Frame::first(rest).unwrap() {
                frames.push((frame.kind, frame.flags, frame.stream, frame.payload.to_vec()));
                rest = behind;
            }
            assert!(rest.is_empty());
            self.client.sent(out.len(), &self.request);
        }
        frames
    }
}

fn fields(block: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    hpack::decode(block, |name, value| {
        fields.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        Ok(())
    })
    .unwrap();
    fields
}

/// `:status: 200`, `content-length: N`.
fn ok(length: &str) -> Vec<u8> {
    let mut block = vec![0x88, 0x0f, 0x0d];
    hpack::put_text(&mut block, length.as_bytes());
    block
}

#[test]
fn requests_are_encoded_once_and_remembered() {
    let blocks = blocks(b"");
    let expected = [
        ":method=GET",
        ":authority=h.example:8443",
        ":scheme=https",
        ":path=/p?q",
        "user-agent=linerate/0",
        "accept=*/*",
        "x-me=you",
    ];
    assert_eq!(fields(&blocks.first), expected);
    assert_eq!(fields(&blocks.literal), expected);
    // Static ones by their index; those that were entered by theirs: the first one is the farthest.
    assert_eq!(blocks.again, [0x82, 66 | 0x80, 0x87, 65 | 0x80, 64 | 0x80, 63 | 0x80, 62 | 0x80]);
    let mut pair = Pair::new(blocks, &[]);
    pair.sent();
    assert!(pair.client.open(7, &pair.request) && pair.client.open(8, &pair.request));
    let (first, again) = (pair.request.first.clone(), pair.request.again.clone());
    let flags = END_HEADERS | END_STREAM;
    assert_eq!(pair.sent(), [(HEADERS, flags, 1, first), (HEADERS, flags, 3, again)]);
    // A server that remembers less is told everything.
    let mut pair = Pair::new(self::blocks(b""), &setting(super::frame::HEADER_TABLE_SIZE, 100));
    pair.sent();
    pair.client.open(0, &pair.request);
    pair.client.open(0, &pair.request);
    let literal = pair.request.literal.clone();
    let told: Vec<Vec<u8>> = pair.sent().into_iter().map(|frame| frame.3).collect();
    assert_eq!(told, [[&[0x20][..], &literal].concat(), literal]);
}

#[test]
fn responses_come_in_any_order_and_in_any_pieces() {
    let mut said = Vec::new();
    put(&mut said, HEADERS, END_HEADERS, 3, &ok("5"));
    put(&mut said, PING, 0, 0, b"12345678");
    put(&mut said, HEADERS, END_HEADERS | END_STREAM, 1, &[0x8d]);
    put(&mut said, DATA, PADDED, 3, b"\x02pod\0\0");
    put(&mut said, 0xbe, 7, 9, b"an extension");
    put(&mut said, DATA, END_STREAM, 3, b"-1");
    // Interim, in two pieces, then the one that counts, and a trailer.
    put(&mut said, HEADERS, 0, 5, &[0x08]);
    put(&mut said, CONTINUATION, END_HEADERS, 5, b"\x03103");
    put(&mut said, HEADERS, END_HEADERS, 5, &[0x88]);
    put(&mut said, HEADERS, END_HEADERS | END_STREAM, 5, b"\x00\x01x\x01y");
    for size in 1..said.len() {
        let mut pair = Pair::new(blocks(b""), &[]);
        (0..3).for_each(|place| assert!(pair.client.open(place, &pair.request)));
        pair.sent();
        let events = pair.read(&said, size);
        let whole = events.iter().filter_map(|event| match event {
            Event::Response { place, response, name } => {
                Some((*place, response.status, response.body_bytes, name.text().map(<[u8]>::to_vec)))
            }
            Event::Began { .. } => None,
            other => panic!("{other:?}"),
        });
        let name = Some(b"pod-1".to_vec());
        assert_eq!(whole.collect::<Vec<_>>(), [(0, 404, 0, None), (1, 200, 5, name), (2, 200, 0, None)]);
        assert_eq!(pair.sent(), [(PING, ACK, 0, b"12345678".to_vec())]);
        assert_eq!(pair.client.under_way(), 0);
    }
}

#[test]
fn limits_of_the_server_are_kept() {
    let mut pair = Pair::new(blocks(b""), &setting(MAX_CONCURRENT_STREAMS, 2));
    assert!(pair.client.open(0, &pair.request) && pair.client.open(1, &pair.request));
    assert!(!pair.client.may_open() && !pair.client.open(2, &pair.request));
    pair.client.cancel(0);
    assert!(pair.client.open(2, &pair.request));
    let last = pair.sent().pop().unwrap();
    assert_eq!((last.0, last.2), (HEADERS, 5));
    // The windows: 10 bytes for a stream, 65,535 for all.
    let body = vec![b'x'; 70_000];
    let mut pair = Pair::new(blocks(&body), &setting(INITIAL_WINDOW_SIZE, 10));
    pair.sent();
    pair.client.open(0, &pair.request);
    let data = |pair: &mut Pair| -> (usize, bool) {
        let frames = pair.sent().into_iter().filter(|frame| frame.0 == DATA);
        frames.fold((0, false), |(sum, _), frame| (sum + frame.3.len(), frame.1 & END_STREAM > 0))
    };
    assert_eq!(data(&mut pair), (10, false));
    let more = |stream: u32, bytes: u32| {
        let mut said = Vec::new();
        put(&mut said, WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
        said
    };
    pair.read(&more(1, 100_000), 100);
    assert_eq!(data(&mut pair), (65_525, false));
    pair.read(&more(0, 5000), 100);
    assert_eq!(data(&mut pair), (4465, true));
}

#[test]
fn requests_that_were_reset_or_returned_are_told() {
    let mut pair = Pair::new(blocks(b""), &[]);
    (0..4).for_each(|place| assert!(pair.client.open(place, &pair.request)));
    let mut said = Vec::new();
    put(&mut said, RST_STREAM, 0, 3, &REFUSED_STREAM.to_be_bytes());
    put(&mut said, GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x00bye");
    let events = pair.read(&said, 100);
    assert!(matches!(
        events[..],
        [
            Event::Reset { place: 1, code: REFUSED_STREAM },
            Event::GoAway { code: 0, first: true },
            Event::Returned { place: 2 },
            Event::Returned { place: 3 }
        ]
    ));
    assert!(pair.client.is_closing() && !pair.client.may_open());
    assert_eq!(pair.client.under_way(), 1);
    // In order, servers say it twice.
    let events = pair.read(&said[13..], 100);
    assert!(matches!(events[..], [Event::GoAway { code: 0, first: false }]));
}

#[test]
fn what_breaks_the_rules_is_told() {
    let frame = |kind, flags, stream, payload: &[u8]| {
        let mut said = Vec::new();
        put(&mut said, kind, flags, stream, payload);
        said
    };
    let whole = END_HEADERS | END_STREAM;
    // Of the connection.
    for said in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        frame(HEADERS, whole, 2, &[0x88]),
        frame(HEADERS, whole, 5, &[0x88]),
        frame(DATA, PADDED, 1, &[9, 1]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        frame(CONTINUATION, END_HEADERS, 1, &[0x88]),
        [frame(HEADERS, 0, 1, &[0x88]), frame(PING, 0, 0, b"12345678")].concat(),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, 1 << 31)),
        frame(GOAWAY, 0, 0, &[0; 7]),
        vec![0x7f, 0, 0, 0, 0, 0, 0, 0, 1],
    ] {
        let mut pair = Pair::new(blocks(b""), &[]);
        pair.client.open(0, &pair.request);
        assert_eq!(pair.try_read(&said, 7, &NamedBy::Body).unwrap_err(), Bad::Malformed, "{said:?}");
    }
    // Of one response.
    for (said, why) in [
        (frame(HEADERS, whole, 1, &[]), Bad::Malformed),
        (frame(HEADERS, whole, 1, &[0x82]), Bad::Malformed),
        (frame(HEADERS, whole, 1, &[0x88, 0x88]), Bad::Malformed),
        (frame(HEADERS, whole, 1, &[0x88, 0xbe]), Bad::Malformed),
        (frame(HEADERS, whole, 1, &[0x3f, 0xe1, 0x1f, 0x88]), Bad::Malformed),
        (frame(HEADERS, whole, 1, &[0x08, 0x03, b'1', b'0', b'1']), Bad::Malformed),
        (frame(HEADERS, whole, 1, &ok("5")), Bad::Malformed),
        (frame(HEADERS, END_HEADERS, 1, &ok("x")), Bad::Malformed),
        (frame(HEADERS, END_HEADERS, 1, &ok("1001")), Bad::TooLarge),
        (frame(HEADERS, END_HEADERS, 1, &[0x88, 0x00, 0x01, b'X', 0]), Bad::Malformed),
        (frame(HEADERS, END_HEADERS, 1, &[0x88, 0x00, 0x81, 0xff]), Bad::Malformed),
        (frame(DATA, END_STREAM, 1, b"x"), Bad::Malformed),
    ] {
        let mut pair = Pair::new(blocks(b""), &[]);
        pair.client.open(0, &pair.request);
        let events = pair.read(&said, 100);
        let failed = events.iter().find_map(|event| match event {
            Event::Failed { place: 0, why } => Some(*why),
            _ => None,
        });
        assert_eq!(failed, Some(why), "{said:?}");
    }
    // Endless ones.
    let mut pair = Pair::new(blocks(b""), &[]);
    pair.client.open(0, &pair.request);
    let mut endless = frame(HEADERS, 0, 1, &[0x88]);
    (0..10_000).for_each(|_| put(&mut endless, CONTINUATION, 0, 1, &[]));
    assert_eq!(pair.try_read(&endless, 1000, &NamedBy::Body).unwrap_err(), Bad::TooLarge);
    let mut pair = Pair::new(blocks(b""), &[]);
    let pings: Vec<u8> = (0..100_000).flat_map(|_| frame(PING, 0, 0, b"12345678")).collect();
    assert_eq!(pair.try_read(&pings, 1000, &NamedBy::Body).unwrap_err(), Bad::TooLarge);
}

#[test]
fn compressed_texts_are_read() {
    // RFC 7541, appendix C.4.1: the authority; and a name of a backend in a header.
    assert_eq!(
        fields(b"\x82\x86\x84\x01\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
        [":method=GET", ":scheme=http", ":path=/", ":authority=www.example.com"]
    );
    let mut pair = Pair::new(blocks(b""), &[]);
    pair.client.open(0, &pair.request);
    let mut said = Vec::new();
    let block = b"\x88\x00\x09x-backend\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    put(&mut said, HEADERS, END_HEADERS | END_STREAM, 1, block);
    let events = pair.try_read(&said, 100, &NamedBy::Header("X-Backend".to_owned())).unwrap();
    let Some(Event::Response { name, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(name.text(), Some(&b"www.example.com"[..]));
}

/// What came of bytes: events in words, the error, and what the client answered.
fn outcome(bytes: &[u8], size: usize, body: &[u8]) -> (Vec<String>, Option<Bad>, usize) {
    let mut pair = Pair::new(blocks(body), &[]);
    (0..3).for_each(|place| assert!(pair.client.open(place, &pair.request)));
    pair.sent();
    let (mut events, mut words, mut answers) = (Vec::new(), Vec::new(), 0);
    let mut places = vec![0, 1, 2];
    for piece in bytes.chunks(size) {
        let (request, expected) = (&pair.request, &expected(NamedBy::Body));
        let read = pair.client.read(piece, request, expected, &mut pair.cache, &mut events);
        for event in events.drain(..) {
            // Every request comes to an end once.
            if let Event::Response { place, .. }
            | Event::Failed { place, .. }
            | Event::Reset { place, .. }
            | Event::Returned { place } = event
            {
                places.remove(places.iter().position(|known| *known == place).unwrap());
            }
            words.push(format!("{event:?}"));
        }
        if let Err(bad) = read {
            return (words, Some(bad), 0);
        }
        let sent = pair.sent();
        // How a body is cut depends on when windows are told of; how much of it is sent does not.
        answers += sent.iter().map(|frame| frame.3.len()).sum::<usize>();
    }
    assert_eq!(pair.client.under_way(), places.len());
    (words, None, answers)
}

#[test]
fn whatever_comes_means_the_same_in_pieces() {
    let mut state = 1u64;
    let mut random = move |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % most.max(1)
    };
    let mut seed = Vec::new();
    put(&mut seed, HEADERS, END_HEADERS, 1, &ok("5"));
    put(&mut seed, DATA, END_STREAM | PADDED, 1, b"\x01pod-1\0");
    put(&mut seed, SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, 20));
    put(&mut seed, WINDOW_UPDATE, 0, 3, &[0, 0, 0, 9]);
    put(&mut seed, HEADERS, 0, 3, b"\x48\x82\x64\x02");
    put(&mut seed, CONTINUATION, END_HEADERS | END_STREAM, 3, b"\x00\x01x\x81\x07");
    put(&mut seed, PING, 0, 0, b"12345678");
    put(&mut seed, RST_STREAM, 0, 5, &[0, 0, 0, 7]);
    put(&mut seed, GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0");
    let mut ends = [0; 2];
    for round in 0..4000 {
        let mut bytes = seed.clone();
        for _ in 0..random(5) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes.insert(at, random(10) as u8),
                2 => bytes[at] ^= 1 << random(8),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.truncate(bytes.len() - random(3));
        let body = &[b'x'; 40][..if round % 2 > 0 { 40 } else { 0 }];
        let whole = outcome(&bytes, bytes.len().max(1), body);
        assert_eq!(whole, outcome(&bytes, 1 + random(20), body), "{bytes:?}");
        ends[usize::from(whole.1.is_some())] += 1;
    }
    assert!(ends.iter().all(|count| *count > 200), "{ends:?}");
}

#[test]
fn what_waits_has_limits() {
    // A peer that takes nothing is sent no further request.
    let mut pair = Pair::new(blocks(b""), &[]);
    let opened = (0..10_000).take_while(|place| pair.client.open(*place, &pair.request)).count();
    assert!(opened < 10_000 && pair.client.out().len() < 70_000, "{opened}");
    pair.sent();
    assert!(pair.client.may_open());
    // Answers that were sent count no more, also when something else waits.
    let mut pings = Vec::new();
    (0..10_000).for_each(|_| put(&mut pings, PING, 0, 0, b"12345678"));
    for _ in 0..20 {
        pair.read(&pings, 60_000);
        pair.client.open(0, &pair.request);
        let out = pair.client.out().len();
        pair.client.sent(out - 1, &pair.request);
    }
    // Room for frames that are not whole does not stay larger than they are.
    let mut said = Vec::new();
    (0..10).for_each(|_| put(&mut said, DATA, 0, 1, &[0; 16_000]));
    let mut pair = Pair::new(blocks(b""), &[]);
    pair.client.open(0, &pair.request);
    pair.read(&said[..said.len() - 5000], 65_536);
    assert!(pair.client.kept.len() > 5000 && pair.client.kept.capacity() <= 33_000);
}
