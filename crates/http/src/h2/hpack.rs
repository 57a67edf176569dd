//! Header blocks without a table of their own (RFC 7541).
//!
//! This client lets servers have a dynamic table of 0 bytes. Then the meaning of a block is a function of its bytes
//! alone, and those of one server, mostly the same for a second at a time, need not be read again.

use httlib_huffman::DecoderSpeed;

/// Error: what is no header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadBlock;

/// The static table (RFC 7541, appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
/// First index of the dynamic table.
pub(super) const FIRST_DYNAMIC: usize = STATIC.len() + 1;
/// Bytes that an entry of a table counts besides its name and value (RFC 7541, section 4.1).
pub(super) const ENTRY_BYTES: usize = 32;

/// Index of a name in the static table, and whether the value is there, too.
pub(super) fn known(name: &str, value: &[u8]) -> Option<(usize, bool)> {
    let whole = STATIC.iter().position(|entry| entry.0 == name && entry.1.as_bytes() == value);
    let named = || STATIC.iter().position(|entry| entry.0 == name);
    match whole.filter(|_| !value.is_empty()) {
        Some(at) => Some((at + 1, true)),
        None => named().map(|at| (at + 1, false)),
    }
}

/// Adds a number with a prefix of so many bits, behind the bits of `first` (RFC 7541, section 5.1).
pub(super) fn put_number(out: &mut Vec<u8>, first: u8, bits: u8, number: usize) {
    let most = (1usize << bits) - 1;
    if number < most {
        out.push(first | number as u8);
        return;
    }
    out.push(first | most as u8);
    let mut rest = number - most;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// Adds a text as it is.
pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

fn number(bytes: &mut &[u8], bits: u8) -> Result<usize, BadBlock> {
    let most = (1usize << bits) - 1;
    let first = usize::from(take(bytes)?) & most;
    if first < most {
        return Ok(first);
    }
    let mut number = most;
    // Lengths and indices above 2^21 are none that fit in a block.
    for shift in [0, 7, 14] {
        let byte = usize::from(take(bytes)?);
        number += (byte & 127) << shift;
        if byte & 128 == 0 {
            return Ok(number);
        }
    }
    Err(BadBlock)
}

fn take(bytes: &mut &[u8]) -> Result<u8, BadBlock> {
    let (first, rest) = bytes.split_first().ok_or(BadBlock)?;
    *bytes = rest;
    Ok(*first)
}

/// A text; `room` holds it when it was compressed.
fn text<'a, 'b: 'a>(bytes: &mut &'b [u8], room: &'a mut Vec<u8>) -> Result<&'a [u8], BadBlock> {
    let compressed = bytes.first().is_some_and(|first| first & 128 > 0);
    let length = number(bytes, 7)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(BadBlock)?;
    *bytes = rest;
    if !compressed {
        return Ok(text);
    }
    room.clear();
    httlib_huffman::decode(text, room, DecoderSpeed::FourBits).map_err(|_| BadBlock)?;
    Ok(room)
}

/// Reads a block: gives each field's name and value to `field`.
pub(super) fn decode(
    mut block: &[u8],
    mut field: impl FnMut(&[u8], &[u8]) -> Result<(), BadBlock>,
) -> Result<(), BadBlock> {
    let (mut name_room, mut value_room) = (Vec::new(), Vec::new());
    let mut any = false;
    while let Some(first) = block.first().copied() {
        let entry = |index: usize| STATIC.get(index.wrapping_sub(1)).ok_or(BadBlock);
        if first & 0x80 > 0 {
            let (name, value) = entry(number(&mut block, 7)?)?;
            field(name.as_bytes(), value.as_bytes())?;
        } else if first & 0xe0 == 0x20 {
            // A new size of the table: at the beginning, and none other than 0.
            if any || number(&mut block, 5)? > 0 {
                return Err(BadBlock);
            }
            continue;
        } else {
            // What is to be entered in a table without room is not entered.
            let index = number(&mut block, if first & 0xc0 == 0x40 { 6 } else { 4 })?;
            let name = match index {
                0 => text(&mut block, &mut name_room)?,
                index => entry(index)?.0.as_bytes(),
            };
            let value = text(&mut block, &mut value_room)?;
            field(name, value)?;
        }
        any = true;
    }
    Ok(())
}
