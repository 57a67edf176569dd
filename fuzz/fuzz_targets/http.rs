//! Any bytes as responses and requests, in pieces: the same outcome whatever the pieces are, and no byte is taken twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_http::incoming::RequestReader;
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
