use super::*;

const LIMIT: u64 = 1000;

fn expected() -> Expected {
    Expected { head: false, most_body_bytes: LIMIT, named_by: NamedBy::Body }
}

/// A whole response with the name of its backend, and bytes behind it, or the reason why there is none; `None`
/// when it is not whole.
type Answer = Result<Option<(Response, Option<String>, usize)>, Bad>;

/// Reads in pieces of `size` bytes, as a connection does: what is not taken is given again.
fn read_in(size: usize, bytes: &[u8], expected: &Expected, closes: bool) -> Answer {
    let (mut reader, mut cache) = (ResponseReader::default(), HeadCache::default());
    let mut waiting: Vec<u8> = Vec::new();
    let mut given = 0;
    while given < bytes.len() {
        let next = (given + size).min(bytes.len());
        waiting.extend_from_slice(&bytes[given..next]);
        given = next;
        match reader.read(&waiting, expected, &mut cache)? {
            Progress::Partial(taken) => drop(waiting.drain(..taken)),
            Progress::Whole(taken, response) => {
                let name = reader.name().map(|name| String::from_utf8(name.to_vec()).unwrap());
                return Ok(Some((response, name, waiting.len() - taken + bytes.len() - given)));
            }
        }
    }
    if !closes {
        return Ok(None);
    }
    let response = reader.end()?;
    let name = reader.name().map(|name| String::from_utf8(name.to_vec()).unwrap());
    Ok(Some((response, name, 0)))
}

/// The same in pieces of every size.
fn read(bytes: &[u8], expected: &Expected, closes: bool) -> Answer {
    let whole = read_in(bytes.len().max(1), bytes, expected, closes);
    for size in 1..bytes.len() {
        let answer = read_in(size, bytes, expected, closes);
        assert_eq!(answer, whole, "in pieces of {size} bytes: {}", String::from_utf8_lossy(bytes));
    }
    whole
}

fn whole(status: u16, keep_alive: bool, body_bytes: u64, name: Option<&str>) -> Answer {
    Ok(Some((Response { status, keep_alive, body_bytes }, name.map(str::to_owned), 0)))
}

#[test]
fn responses_end_where_their_framing_says() {
    for (bytes, status, keep_alive, body_bytes, name) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npod-1"[..], 200, true, 5, Some("pod-1")),
        (b"HTTP/1.1 200 OK\r\ncontent-length:0\r\nConnection: Keep-Alive, close\r\n\r\n", 200, false, 0, None),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", 204, true, 0, None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, true, 0, None),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, false, 1, Some("x")),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nx\n", 200, true, 2, Some("x")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\n\x01", 503, true, 1, None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\npod\r\n2 \r\n-2\r\n0\r\nX: y\r\n\r\n", 200, true, 5, Some("pod-2")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n00\r\n\r\n", 200, true, 0, None),
        (b"HTTP/1.1 200\r\nContent-Length: 70\r\n\r\n1234567890123456789012345678901234567890123456789012345678901234567890", 200, true, 70, None),
    ] {
        assert_eq!(read(bytes, &expected(), false), whole(status, keep_alive, body_bytes, name));
    }
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nabc";
    assert_eq!(read(until_close, &expected(), true), whole(200, false, 3, Some("abc")));
    assert_eq!(read(until_close, &expected(), false), Ok(None));
    let head = Expected { head: true, ..expected() };
    assert_eq!(
        read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &head, false),
        whole(200, true, 0, None)
    );
}

#[test]
fn what_is_no_response_is_told() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
    ] {
        assert_eq!(
            read(bytes, &expected(), false),
            Err(Bad::Malformed),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn limits_hold_for_heads_and_bodies() {
    let long_body = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'a'; LIMIT as usize + 1]].concat();
    assert_eq!(read(&long_body, &expected(), false), Err(Bad::TooLarge));
    let told = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n";
    assert_eq!(read(told, &expected(), false), Err(Bad::TooLarge));
    let chunks = b"3e8\r\n".iter().chain(&[b'a'; 1000]).chain(b"\r\n1\r\na").copied().collect::<Vec<_>>();
    let chunked = [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &chunks].concat();
    assert_eq!(read_in(100, &chunked, &expected(), false), Err(Bad::TooLarge));
    for endless in [
        [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'a'; MOST_HEAD_BYTES]].concat(),
        [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(MOST_HEADERS + 1)].concat(),
    ] {
        assert_eq!(read_in(700, &endless, &expected(), false), Err(Bad::TooLarge));
        assert_eq!(read_in(endless.len(), &endless, &expected(), false), Err(Bad::TooLarge));
    }
    let extension =
        [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"[..], &[b'a'; 20_000]].concat();
    assert_eq!(read_in(999, &extension, &expected(), false), Err(Bad::Malformed));
}

#[test]
fn cut_off_responses_are_told() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        assert_eq!(read(bytes, &expected(), true), Err(Bad::ClosedEarly));
    }
}

#[test]
fn backends_are_named_by_a_header() {
    let by = Expected { named_by: NamedBy::Header("X-Served-By".to_owned()), ..expected() };
    let bytes = b"HTTP/1.1 200 OK\r\nx-served-by: pod-7\r\nContent-Length: 1\r\n\r\na";
    assert_eq!(read(bytes, &by, false), whole(200, true, 1, Some("pod-7")));
    let none = Expected { named_by: NamedBy::Nothing, ..expected() };
    assert_eq!(read(bytes, &none, false), whole(200, true, 1, None));
}

#[test]
fn further_bytes_are_left_and_the_cache_changes_nothing() {
    let one = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
    let both =
        [&one[..], b"a", &one[..], b"b", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"].concat();
    let (mut reader, mut cache) = (ResponseReader::default(), HeadCache::default());
    let mut rest = &both[..];
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let Ok(Progress::Whole(taken, response)) = reader.read(rest, &expected(), &mut cache) else {
            panic!()
        };
        seen.push((response.status, reader.name().map(<[u8]>::to_vec)));
        rest = &rest[taken..];
    }
    assert_eq!(seen, [(200, Some(b"a".to_vec())), (200, Some(b"b".to_vec())), (404, None)]);
}

/// Responses with bytes changed, cut and repeated: the outcome does not depend on the pieces in which they come.
#[test]
fn whatever_comes_means_the_same_in_pieces() {
    let mut state = 1u64;
    let mut random = move |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % most.max(1)
    };
    let seeds: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\npod-1",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\npod-1\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.0 404 None\r\n\r\nuntil the end",
    ];
    let alphabet = b"\r\n :;,0159afx\0\xffHT/.";
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = alphabet[random(alphabet.len())],
                1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.truncate(bytes.len() - random(3));
        let whole = read_in(bytes.len().max(1), &bytes, &expected(), true);
        let pieces = read_in(1 + random(20), &bytes, &expected(), true);
        assert_eq!(whole, pieces, "{}", String::from_utf8_lossy(&bytes));
    }
}
