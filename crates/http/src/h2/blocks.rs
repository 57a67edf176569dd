//! A request, encoded once.

use super::hpack::{ENTRY_BYTES, FIRST_DYNAMIC, known, put_number, put_text};
use crate::request::Request;

/// Size of the table that a server has for this client's fields unless it says otherwise.
pub(super) const USUAL_TABLE_BYTES: usize = 4096;

/// Header blocks of a request: all requests of a connection are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// The first one, which has the server remember the fields.
    pub(super) first: Vec<u8>,
    /// The further ones, which name what it remembers.
    pub(super) again: Vec<u8>,
    /// One that relies on nothing.
    pub(super) literal: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Bytes that the fields take in the server's table.
    pub(super) table_bytes: usize,
}

impl Blocks {
    /// Encodes a request.
    pub fn new(request: &Request) -> Self {
        let mut fields: Vec<(String, Vec<u8>)> = vec![
            (":method".to_owned(), request.method().as_bytes().to_vec()),
            (":scheme".to_owned(), if request.is_tls() { "https" } else { "http" }.into()),
            (":path".to_owned(), request.path().as_bytes().to_vec()),
        ];
        for (name, value) in request.fields() {
            let name = name.to_ascii_lowercase();
            if name == "host" {
                fields.insert(1, (":authority".to_owned(), value.clone()));
            } else {
                fields.push((name, value.clone()));
            }
        }
        let (mut first, mut again, mut literal) = (Vec::new(), Vec::new(), Vec::new());
        let remembered = |(name, value): &(String, Vec<u8>)| !matches!(known(name, value), Some((_, true)));
        let entries = fields.iter().filter(|field| remembered(field)).count();
        let sizes = fields.iter().filter(|field| remembered(field));
        let table_bytes = sizes.map(|(name, value)| name.len() + value.len() + ENTRY_BYTES).sum();
        let mut entered = 0;
        for (name, value) in &fields {
            let known = known(name, value);
            if let Some((index, true)) = known {
                for block in [&mut first, &mut again, &mut literal] {
                    put_number(block, 0x80, 7, index);
                }
                continue;
            }
            entered += 1;
            // The last one that was entered has the first index.
            put_number(&mut again, 0x80, 7, FIRST_DYNAMIC + entries - entered);
            for (block, form, bits) in [(&mut first, 0x40, 6), (&mut literal, 0, 4)] {
                put_number(block, form, bits, known.map_or(0, |(index, _)| index));
                if known.is_none() {
                    put_text(block, name.as_bytes());
                }
                put_text(block, value);
            }
        }
        Self { first, again, literal, body: request.body().to_vec(), table_bytes }
    }
}
