//! pcapng files: sections of blocks, each section with interfaces of its own.

use std::io::Read;

use super::error::{CaptureError, ethernet};
use super::gathered::{Frame, Gathered};
use super::input::{Input, Order};
use super::pcap::LONGEST_RECORD;

/// First bytes of a file: the type of a section header block.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Options of an interface, and the packet option with the length of the check sequence.
const IF_TSRESOL: u16 = 9;
const IF_FCSLEN: u16 = 13;
const IF_TSOFFSET: u16 = 14;
const EPB_FLAGS: u16 = 2;

/// Longest block that the reader parses; it skips longer ones.
const LONGEST_BLOCK: u32 = LONGEST_RECORD + (1 << 20);

/// Properties of an interface that its description block states.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: u32,
    snap: u32,
    /// Time stamp units per second.
    per_second: u128,
    /// Seconds to add to every time stamp.
    offset_s: i64,
    fcs: u32,
}

/// Reads the file after the first block's type.
pub(super) fn read<R: Read>(input: &mut Input<R>, gathered: &mut Gathered) -> Result<(), CaptureError> {
    let mut order = Order::Little;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut kind = MAGIC;
    let mut body = Vec::new();
    loop {
        let at = input.offset() - 4;
        let Some(length) = input.array::<4>()? else {
            gathered.ends_early(input);
            return Ok(());
        };
        let mut taken = 8;
        if kind == MAGIC {
            let Some(mark) = input.array::<4>()? else {
                gathered.ends_early(input);
                return Ok(());
            };
            order = section_order(mark, at)?;
            interfaces.clear();
            taken = 12;
        }
        let length = order.u32(length);
        // Type, length, and the length again; like Wireshark, round lengths up to multiples of 4.
        let whole = length.checked_next_multiple_of(4).unwrap_or(u32::MAX);
        let rest = whole.checked_sub(taken + 4).ok_or_else(|| {
            damaged(at, format!("a block of {length} bytes is shorter than its own header"))
        })?;
        let kind_number = order.u32(kind);
        let wanted = matches!(kind_number, INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        let whole = if wanted && kind != MAGIC {
            if rest > LONGEST_BLOCK {
                return Err(damaged(
                    at,
                    format!("a block of {length} bytes, and none has more than {LONGEST_BLOCK}"),
                ));
            }
            input.replace(&mut body, rest as usize)?
        } else {
            body.clear();
            input.skip(rest.into())?
        };
        if !whole || input.array::<4>()?.is_none() {
            gathered.ends_early(input);
            return Ok(());
        }
        match kind_number {
            INTERFACE => interfaces.push(interface(&body, order)),
            _ if wanted => gather(kind_number, &body, order, &interfaces, at, gathered)?,
            _ => {}
        }
        let at = input.offset();
        match input.array()? {
            Some(next) => kind = next,
            None => {
                if input.offset() > at {
                    gathered.ends_early(input);
                }
                return Ok(());
            }
        }
    }
}

fn damaged(offset: u64, problem: String) -> CaptureError {
    CaptureError::Damaged { offset, problem }
}

fn section_order(mark: [u8; 4], at: u64) -> Result<Order, CaptureError> {
    [Order::Little, Order::Big]
        .into_iter()
        .find(|order| order.u32(mark) == 0x1a2b_3c4d)
        .ok_or_else(|| damaged(at, "a section without the mark of its byte order".to_owned()))
}

fn interface(body: &[u8], order: Order) -> Interface {
    let mut interface = Interface {
        link: order.u16_at(body, 0).into(),
        snap: order.u32_at(body, 4),
        per_second: 1_000_000,
        offset_s: 0,
        fcs: 0,
    };
    for (code, value) in options(body.get(8..).unwrap_or_default(), order) {
        match (code, value) {
            (IF_TSRESOL, [resolution, ..]) => interface.per_second = per_second(*resolution),
            (IF_TSOFFSET, [_, _, _, _, _, _, _, _]) => interface.offset_s = order.i64_at(value, 0),
            // The specification says bits; some writers store bytes.
            (IF_FCSLEN, [length, ..]) => {
                interface.fcs = u32::from(if *length >= 8 { *length / 8 } else { *length });
            }
            _ => {}
        }
    }
    interface
}

/// Time stamp units per second: a power of 10, or of 2 when the highest bit is set. 0 where the number
/// exceeds the range.
fn per_second(resolution: u8) -> u128 {
    let exponent = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).unwrap_or(0)
}

/// The options of a block: code and value.
fn options(mut bytes: &[u8], order: Order) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (code, length) = (order.u16_at(bytes, 0), usize::from(order.u16_at(bytes, 2)));
        let value = bytes.get(4..4 + length).filter(|_| code != 0)?;
        bytes = bytes.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    })
}

/// Gathers the frame of a block.
fn gather(
    kind: u32,
    body: &[u8],
    order: Order,
    interfaces: &[Interface],
    at: u64,
    gathered: &mut Gathered,
) -> Result<(), CaptureError> {
    let number = match kind {
        SIMPLE_PACKET => 0,
        OBSOLETE_PACKET => order.u16_at(body, 0).into(),
        _ => order.u32_at(body, 0),
    };
    let frame = gathered.next();
    let interface = interfaces.get(number as usize).ok_or_else(|| {
        damaged(at, format!("frame {frame} is of interface {number}, and {} are described", interfaces.len()))
    })?;
    ethernet(interface.link, || format!("frame {frame}, of interface {number}, is"))?;
    let (head, original, captured) = if kind == SIMPLE_PACKET {
        let original = order.u32_at(body, 0);
        let most = if interface.snap == 0 { original } else { original.min(interface.snap) };
        // Padding counts in the block's length; fewer than four bytes follow the frame.
        (4, original, most.min((body.len() as u32).saturating_sub(4)))
    } else {
        (20, order.u32_at(body, 16), order.u32_at(body, 12))
    };
    let data = body.get(head..head + captured as usize).ok_or_else(|| {
        damaged(at, format!("frame {frame} claims {captured} bytes, more than its block holds"))
    })?;
    let behind = body.get(head + (captured as usize).next_multiple_of(4)..).unwrap_or_default();
    let flags = options(behind, order)
        .find(|(code, _)| *code == EPB_FLAGS && kind == ENHANCED_PACKET)
        .map_or(0, |(_, value)| order.u32_at(value, 0) >> 5 & 0xf);
    let fcs = if flags > 0 { flags } else { interface.fcs };
    let units = u64::from(order.u32_at(body, 4)) << 32 | u64::from(order.u32_at(body, 8));
    let at_ns = (kind != SIMPLE_PACKET && interface.per_second > 0).then(|| nanoseconds(units, interface));
    gathered.add(&Frame { at_ns, data, original, fcs })
}

/// Time of a stamp, in nanoseconds since 1970.
fn nanoseconds(units: u64, interface: &Interface) -> i128 {
    let units = u128::from(units);
    let (seconds, rest) = (units / interface.per_second, units % interface.per_second);
    // Of resolutions finer than nanoseconds only the upper digits count, so that the product does not
    // overflow.
    let rest = match rest.checked_mul(1_000_000_000) {
        Some(rest) => rest / interface.per_second,
        None => rest / (interface.per_second / 1_000_000_000),
    };
    (seconds as i128 + i128::from(interface.offset_s)) * 1_000_000_000 + rest as i128
}
