//! One worker's flows, and the writing of their frames.
//!
//! Flow *i* of a profile belongs to worker *i* modulo the number of workers, so workers share nothing. A worker goes round
//! its flows; the sequence number of a frame within its flow is therefore the number of rounds made, and needs no memory
//! per flow. What differs between flows is a run of 16-byte blocks, as few as cover the varied fields.

use linerate_protocol::probe::{PROBE_BYTES, Probe};
use linerate_protocol::profile::field::Layer;
use linerate_protocol::profile::{IpVersion, Profile, Shape};

use super::checksum;
use super::frame::{FrameHead, Frames, HEAD_BYTES, SizeTerms, set_sizes};

/// Bytes of a block: one store.
const BLOCK_BYTES: usize = 16;
/// Largest number of blocks: the ports of IPv6 with a VLAN tag end at byte 62.
const MOST_BLOCKS: usize = 4;
/// Runs begin below this, so that no bounds check is needed.
const RUN_AT_LIMIT: usize = 32;
/// Probe and checksum stand below this.
const PROBE_AT_LIMIT: usize = 128;
const _: () = assert!(RUN_AT_LIMIT + MOST_BLOCKS * BLOCK_BYTES <= HEAD_BYTES);
const _: () = assert!(PROBE_AT_LIMIT + PROBE_BYTES <= HEAD_BYTES);

/// What changes with the flow, ready to be stored.
#[derive(Debug, Clone, Copy)]
struct Flow<const BLOCKS: usize> {
    run: [[u8; BLOCK_BYTES]; BLOCKS],
    id: u32,
    transport_sum: u16,
    ip_sum: u16,
}

/// The flows of a worker, by the length of their runs.
#[derive(Debug)]
enum Flows {
    One(Box<[Flow<1>]>),
    Two(Box<[Flow<2>]>),
    Three(Box<[Flow<3>]>),
    Four(Box<[Flow<4>]>),
}

/// Where things stand in the frame, and which frame comes next.
#[derive(Debug)]
struct Cursor {
    run_at: usize,
    probe_at: usize,
    checksum_at: usize,
    tag: u16,
    next: usize,
    round: u32,
    /// Send time of the frames being written.
    ticks: u64,
    /// The probe's share of the checksum, without flow and sequence number.
    moment_sum: u32,
    /// The same with the sequence number.
    round_sum: u32,
    shape: Shape,
    /// Bytes of every frame, when all are of one size.
    frame_bytes: u16,
    /// Sizes of successive frames, when they differ.
    sizes: Box<[SizeTerms]>,
    next_size: usize,
}

/// Where frames go.
pub trait Slots {
    /// Has each slot written in turn, and returns how many there were. A slot's bytes are those of the template, or of an earlier frame that
    /// was made from it; `write` returns the frame's length in bytes, without frame check sequence.
    fn each(self, write: impl FnMut(&mut [u8]) -> u16) -> usize;
}

/// Writes the frames of one worker's flows, round after round.
#[derive(Debug)]
pub struct FrameWriter {
    flows: Flows,
    cursor: Cursor,
}

impl FrameWriter {
    /// The flows of `worker` (below `workers`). `None` when there are fewer flows than workers and this one has none.
    pub fn new(profile: &Profile, frames: &Frames<'_>, tag: u16, worker: u32, workers: u32) -> Option<Self> {
        let shape = frames.shape();
        let sizes: Box<[SizeTerms]> =
            profile.frame_sizes().sequence().iter().map(|size| frames.size(*size)).collect();
        let single = profile.frame_sizes().single().map(|size| frames.size(size));
        let (run_at, run_end) = run(profile);
        let ids = (worker..profile.flows()).step_by(workers.max(1) as usize);
        let flows = match (run_end - run_at).div_ceil(BLOCK_BYTES) {
            0 | 1 => Flows::One(ids.map(|id| flow(frames, single, run_at, id)).collect()),
            2 => Flows::Two(ids.map(|id| flow(frames, single, run_at, id)).collect()),
            3 => Flows::Three(ids.map(|id| flow(frames, single, run_at, id)).collect()),
            _ => Flows::Four(ids.map(|id| flow(frames, single, run_at, id)).collect()),
        };
        let cursor = Cursor {
            run_at,
            probe_at: shape.probe_at(),
            checksum_at: shape.checksum_at(),
            tag,
            next: 0,
            round: 0,
            ticks: 0,
            moment_sum: 0,
            round_sum: 0,
            shape,
            frame_bytes: single.map_or(0, |terms| terms.frame_bytes),
            sizes: if single.is_some() { Box::default() } else { sizes },
            next_size: 0,
        };
        let writer = Self { flows, cursor };
        (writer.flow_count() > 0).then_some(writer)
    }

    /// Number of this worker's flows.
    pub fn flow_count(&self) -> u32 {
        let count = match &self.flows {
            Flows::One(flows) => flows.len(),
            Flows::Two(flows) => flows.len(),
            Flows::Three(flows) => flows.len(),
            Flows::Four(flows) => flows.len(),
        };
        count as u32
    }

    /// Writes the next frames, one into each slot: what their flows vary, the probe, the checksum. Returns how many.
    #[inline(always)]
    pub fn write(&mut self, slots: impl Slots, ticks: u64) -> usize {
        let cursor = &mut self.cursor;
        cursor.begin(ticks);
        match (&self.flows, cursor.sizes.is_empty()) {
            (Flows::One(flows), true) => slots.each(|room| cursor.write(flows, room)),
            (Flows::Two(flows), true) => slots.each(|room| cursor.write(flows, room)),
            (Flows::Three(flows), true) => slots.each(|room| cursor.write(flows, room)),
            (Flows::Four(flows), true) => slots.each(|room| cursor.write(flows, room)),
            (Flows::One(flows), false) => slots.each(|room| cursor.write_mixed(flows, room)),
            (Flows::Two(flows), false) => slots.each(|room| cursor.write_mixed(flows, room)),
            (Flows::Three(flows), false) => slots.each(|room| cursor.write_mixed(flows, room)),
            (Flows::Four(flows), false) => slots.each(|room| cursor.write_mixed(flows, room)),
        }
    }

    /// Replaces the send time of a frame that had to wait, so that waiting for the port does not count as delay.
    #[inline(always)]
    pub fn restamp(&self, head: &mut FrameHead, ticks: u64) {
        let (at, checksum_at) =
            (self.cursor.probe_at % PROBE_AT_LIMIT, self.cursor.checksum_at % PROBE_AT_LIMIT);
        let Some(old) = head[at..].first_chunk::<PROBE_BYTES>().copied() else { return };
        let Some(probe) = Probe::from_bytes(&old) else { return };
        let new = Probe { ticks, ..probe }.to_bytes();
        // RFC 1624, equation 3: the complement of the new checksum is that of the old one, less the old words, plus the new ones.
        let checksum = u16::from_le_bytes([head[checksum_at], head[checksum_at + 1]]);
        let sum = checksum::add(u64::from(!checksum), u64::from(!checksum::fold(probe_sum(&old))));
        let sum = checksum::add(sum, probe_sum(&new));
        head[checksum_at..checksum_at + 2]
            .copy_from_slice(&checksum::finish_transport(checksum::fold(sum).into()));
        head[at..at + PROBE_BYTES].copy_from_slice(&new);
    }
}

impl Cursor {
    #[inline(always)]
    fn write<const N: usize>(&mut self, flows: &[Flow<N>], room: &mut [u8]) -> u16 {
        let Some(head) = room.first_chunk_mut() else { return 0 };
        self.write_head(flows, head, 0);
        self.frame_bytes
    }

    #[inline(always)]
    fn write_mixed<const N: usize>(&mut self, flows: &[Flow<N>], room: &mut [u8]) -> u16 {
        let (Some(head), Some(terms)) = (room.first_chunk_mut(), self.sizes.get(self.next_size).copied())
        else {
            return 0;
        };
        self.next_size = if self.next_size + 1 == self.sizes.len() { 0 } else { self.next_size + 1 };
        let ip_sum = flows[self.next].ip_sum;
        self.write_head(flows, head, terms.transport_sum);
        set_sizes(self.shape, head, ip_sum, &terms);
        terms.frame_bytes
    }

    #[inline(always)]
    fn write_head<const N: usize>(&mut self, flows: &[Flow<N>], head: &mut FrameHead, size_sum: u16) {
        let flow = &flows[self.next];
        let probe = self.probe(flow.id, self.round).to_bytes();
        // The remainders change nothing; they tell the compiler what the limits are.
        let (run_at, probe_at) = (self.run_at % RUN_AT_LIMIT, self.probe_at % PROBE_AT_LIMIT);
        let checksum_at = self.checksum_at % PROBE_AT_LIMIT;
        head[run_at..run_at + N * BLOCK_BYTES].copy_from_slice(flow.run.as_flattened());
        head[probe_at..probe_at + PROBE_BYTES].copy_from_slice(&probe);
        let sum = u32::from(flow.transport_sum) + u32::from(size_sum) + self.round_sum;
        head[checksum_at..checksum_at + 2].copy_from_slice(&checksum::finish_transport(sum));

        self.next += 1;
        if self.next == flows.len() {
            self.next = 0;
            self.round = self.round.wrapping_add(1);
            self.begin_round();
        }
    }

    fn probe(&self, flow: u32, sequence: u32) -> Probe {
        Probe { tag: self.tag, flow, sequence, ticks: self.ticks }
    }

    /// Sums up what the next frames have in common, so that each of them adds its flow's share only.
    #[inline(always)]
    fn begin(&mut self, ticks: u64) {
        self.ticks = ticks;
        self.moment_sum = checksum::fold(probe_sum(&self.probe(0, 0).to_bytes())).into();
        self.begin_round();
    }

    #[inline(always)]
    fn begin_round(&mut self) {
        // The sequence number stands at an even place in the probe: two words of the sum.
        self.round_sum = self.moment_sum + (self.round & 0xffff) + (self.round >> 16);
    }
}

/// A flow's run and sums. With one frame size, they hold what depends on it; in a mix, that is added per packet.
fn flow<const N: usize>(frames: &Frames<'_>, single: Option<SizeTerms>, run_at: usize, id: u32) -> Flow<N> {
    let flow = frames.flow(id);
    let mut head = flow.bytes;
    let number = Probe { tag: 0, flow: id, sequence: 0, ticks: 0 }.to_bytes();
    let magic = Probe { tag: 0, flow: 0, sequence: 0, ticks: 0 }.to_bytes();
    // The flow's number is its share of the probe; the magic is not.
    let mut transport_sum = checksum::add(u64::from(flow.transport_sum), probe_sum(&number));
    transport_sum = checksum::add(transport_sum, u64::from(!checksum::fold(probe_sum(&magic))));
    if let Some(terms) = single {
        frames.set_sizes(&mut head, &flow, &terms);
        transport_sum = checksum::add(transport_sum, u64::from(terms.transport_sum));
    }
    let mut run = [[0; BLOCK_BYTES]; N];
    run.as_flattened_mut().copy_from_slice(&head[run_at..run_at + N * BLOCK_BYTES]);
    Flow { run, id, transport_sum: checksum::fold(transport_sum), ip_sum: flow.ip_sum }
}

/// The bytes that differ between flows, first and end: the varied fields, and the IPv4 checksum when it follows from them.
fn run(profile: &Profile) -> (usize, usize) {
    let shape = profile.shape();
    let mut bytes: Vec<(usize, usize)> = Vec::new();
    for sweep in profile.sweeps() {
        let Some(place) = sweep.field.place(shape.version) else { continue };
        let first = shape.layer_at(place.layer) * 8 + place.bit as usize;
        bytes.push((first / 8, (first + place.bits as usize).div_ceil(8)));
        if place.layer == Layer::Ip && shape.version == IpVersion::V4 {
            let checksum = shape.ip_at() + 10;
            bytes.push((checksum, checksum + 2));
        }
    }
    let first = bytes.iter().map(|(first, _)| *first).min().unwrap_or(0).min(RUN_AT_LIMIT - 1);
    (first, bytes.iter().map(|(_, end)| *end).max().unwrap_or(first))
}

#[inline(always)]
fn probe_sum(probe: &[u8; PROBE_BYTES]) -> u64 {
    let word = u128::from_le_bytes(*probe);
    checksum::add(word as u64, (word >> 64) as u64)
}

#[cfg(test)]
pub(super) mod tests;
