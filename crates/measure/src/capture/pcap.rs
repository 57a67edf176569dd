//! pcap files.

use std::io::Read;

use super::error::{CaptureError, ethernet};
use super::gathered::{Frame, Gathered};
use super::input::{Input, Order};

/// Most bytes of a record's frame: libpcap's own limit.
pub(super) const LONGEST_RECORD: u32 = 262_144;

/// Record format, derived from a file's magic number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    order: Order,
    /// Nanoseconds per unit of a time stamp's fraction.
    fraction_ns: i128,
    /// Bytes by which a record's header exceeds the usual one.
    extra: u64,
}

impl Form {
    /// The format that a magic number stands for.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (fraction_ns, extra) = match order.u32(magic) {
                0xa1b2_c3d4 => (1000, 0),
                0xa1b2_3c4d => (1, 0),
                // Format of Red Hat's patched libpcap: interface, protocol and packet type in each record.
                0xa1b2_cd34 => (1000, 8),
                _ => return None,
            };
            Some(Self { order, fraction_ns, extra })
        })
    }
}

/// Reads the file after the magic number.
pub(super) fn read<R: Read>(
    input: &mut Input<R>,
    form: Form,
    gathered: &mut Gathered,
) -> Result<(), CaptureError> {
    let order = form.order;
    let header: [u8; 20] = input.array()?.ok_or(CaptureError::TooShort)?;
    let link = order.u32_at(&header, 16);
    // The upper bits state whether frames have a check sequence, and its length in 16-bit words.
    let fcs = if link & 0x0400_0000 == 0 { 0 } else { 2 * (link >> 28) };
    ethernet(link & 0xffff, || "its frames are".to_owned())?;
    let mut data = Vec::new();
    loop {
        let at = input.offset();
        let Some(record) = input.array::<16>()? else {
            if input.offset() > at {
                gathered.ends_early(input);
            }
            return Ok(());
        };
        let (captured, original) = (order.u32_at(&record, 8), order.u32_at(&record, 12));
        if captured > LONGEST_RECORD {
            return Err(CaptureError::Damaged {
                offset: at,
                problem: format!(
                    "frame {} claims {captured} bytes, and no capture has more than {LONGEST_RECORD}",
                    gathered.next()
                ),
            });
        }
        if !input.skip(form.extra)? || !input.replace(&mut data, captured as usize)? {
            gathered.ends_early(input);
            return Ok(());
        }
        let seconds = i128::from(order.u32_at(&record, 0));
        let fraction = i128::from(order.u32_at(&record, 4));
        let at_ns = Some(seconds * 1_000_000_000 + fraction * form.fraction_ns);
        gathered.add(&Frame { at_ns, data: &data, original, fcs })?;
    }
}
