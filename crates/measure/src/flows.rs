//! The flows of one worker, and the writer of their frames.
//!
//! Worker *i* modulo the number of workers sends flow *i* of a profile, so workers share no state. A worker
//! sends its flows in rotation; the sequence number of a frame within its flow is therefore the number of
//! completed rounds, and needs no memory per flow. Flows differ in a run of 16-byte blocks, the fewest that
//! cover the varied fields.

use linerate_traffic::probe::{PROBE_BYTES, Probe};
use linerate_traffic::profile::shape::Layer;
use linerate_traffic::profile::{IpVersion, Profile, Shape};

use super::checksum;
use super::frame::{FrameHead, Frames, HEAD_BYTES, SizeTerms, set_sizes};

/// Bytes of a block: one store.
const BLOCK_BYTES: usize = 16;
/// Most blocks of a run: the ports of IPv6 with a VLAN tag end at byte 62.
const MOST_BLOCKS: usize = 4;
/// Upper bound of a run's offset; it spares a bounds check.
const RUN_AT_LIMIT: usize = 32;
/// Upper bound of the offsets of probe and checksum.
const PROBE_AT_LIMIT: usize = 128;
const _: () = assert!(RUN_AT_LIMIT + MOST_BLOCKS * BLOCK_BYTES <= HEAD_BYTES);
const _: () = assert!(PROBE_AT_LIMIT + PROBE_BYTES <= HEAD_BYTES);

/// Bytes and sums that change with the flow, ready to be stored.
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

/// Offsets in the frame.
#[derive(Debug, Clone, Copy)]
struct Layout {
    run_at: usize,
    probe_at: usize,
    checksum_at: usize,
    shape: Shape,
}

/// Position in the sequence of frames.
#[derive(Debug)]
struct Cursor {
    layout: Layout,
    tag: u16,
    /// Flows already sent in this round.
    next: usize,
    round: u32,
    /// Bytes of every frame, when all have one size.
    frame_bytes: u16,
    /// Sizes of successive frames, when they differ.
    sizes: Box<[SizeTerms]>,
    next_size: usize,
}

/// Destination of written frames.
pub trait Slots {
    /// Calls `write` for each slot in turn, and returns the number of slots. A slot holds the template, or an
    /// earlier frame made from it; `write` returns the frame's length in bytes, without frame check sequence.
    fn each(self, write: impl FnMut(&mut [u8]) -> u16) -> usize;
}

/// Writer of the frames of one worker's flows, round after round.
#[derive(Debug)]
pub struct FrameWriter {
    flows: Flows,
    cursor: Cursor,
}

impl FrameWriter {
    /// The flows of `worker` (below `workers`). `None` when there are fewer flows than workers and this
    /// worker has none.
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
        let layout = Layout { run_at, probe_at: shape.probe_at(), checksum_at: shape.checksum_at(), shape };
        let cursor = Cursor {
            layout,
            tag,
            next: 0,
            round: 0,
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

    /// Writes the next frames, one into each slot: varied fields, probe, checksum. Returns the number of
    /// frames.
    #[inline(always)]
    pub fn write(&mut self, slots: impl Slots, ticks: u64) -> usize {
        let cursor = &mut self.cursor;
        match (&self.flows, cursor.sizes.is_empty()) {
            (Flows::One(flows), true) => cursor.write(flows, slots, ticks),
            (Flows::Two(flows), true) => cursor.write(flows, slots, ticks),
            (Flows::Three(flows), true) => cursor.write(flows, slots, ticks),
            (Flows::Four(flows), true) => cursor.write(flows, slots, ticks),
            (Flows::One(flows), false) => cursor.write_mixed(flows, slots, ticks),
            (Flows::Two(flows), false) => cursor.write_mixed(flows, slots, ticks),
            (Flows::Three(flows), false) => cursor.write_mixed(flows, slots, ticks),
            (Flows::Four(flows), false) => cursor.write_mixed(flows, slots, ticks),
        }
    }

    /// Replaces the send time of a frame that waited, so that waiting for the port does not count as delay.
    #[inline(always)]
    pub fn restamp(&self, head: &mut FrameHead, ticks: u64) {
        let Layout { probe_at, checksum_at, .. } = self.cursor.layout;
        let (at, checksum_at) = (probe_at % PROBE_AT_LIMIT, checksum_at % PROBE_AT_LIMIT);
        let Some(old) = head[at..].first_chunk::<PROBE_BYTES>().copied() else { return };
        let Some(probe) = Probe::from_bytes(&old) else { return };
        let new = Probe { ticks, ..probe }.to_bytes();
        // RFC 1624, equation 3: the complement of the new checksum is that of the old one, minus the old
        // words, plus the new ones.
        let checksum = u16::from_le_bytes([head[checksum_at], head[checksum_at + 1]]);
        let sum = checksum::add(u64::from(!checksum), u64::from(!checksum::fold(probe_sum(&old))));
        let sum = checksum::add(sum, probe_sum(&new));
        head[checksum_at..checksum_at + 2]
            .copy_from_slice(&checksum::finish_transport(u32::from(checksum::fold(sum)) + 1));
        head[at..at + PROBE_BYTES].copy_from_slice(&new);
    }
}

impl Cursor {
    /// Works on local copies of the fields: for the compiler, a write to a frame might alias any field, and
    /// it would reload each field for each frame. Not inlined, so that this loop has all registers to itself.
    #[inline(never)]
    fn write<const N: usize>(&mut self, flows: &[Flow<N>], slots: impl Slots, ticks: u64) -> usize {
        let (layout, frame_bytes) = (self.layout, self.frame_bytes);
        let mut moment = Moment::new(self.tag, self.round, ticks);
        let mut rest = flows[self.next..].iter();
        let count = slots.each(|room| {
            let Some(head) = room.first_chunk_mut() else { return 0 };
            let flow = next(&mut rest, flows, || moment.begin_round());
            layout.write_head(head, flow, &moment, 0);
            frame_bytes
        });
        self.next = flows.len() - rest.len();
        self.round = moment.round;
        count
    }

    #[inline(always)]
    fn write_mixed<const N: usize>(&mut self, flows: &[Flow<N>], slots: impl Slots, ticks: u64) -> usize {
        let (layout, sizes) = (self.layout, &self.sizes[..]);
        let mut moment = Moment::new(self.tag, self.round, ticks);
        let (mut rest, mut rest_sizes) = (flows[self.next..].iter(), sizes[self.next_size..].iter());
        let count = slots.each(|room| {
            let Some(head) = room.first_chunk_mut() else { return 0 };
            let flow = next(&mut rest, flows, || moment.begin_round());
            let terms = next(&mut rest_sizes, sizes, || ());
            layout.write_head(head, flow, &moment, terms.transport_sum);
            set_sizes(layout.shape, head, flow.ip_sum, terms);
            terms.frame_bytes
        });
        (self.next, self.next_size) = (flows.len() - rest.len(), sizes.len() - rest_sizes.len());
        self.round = moment.round;
        count
    }
}

/// The next element of `all`, which is never empty; after the last, the first again.
#[inline(always)]
fn next<'a, T>(rest: &mut std::slice::Iter<'a, T>, all: &'a [T], begin: impl FnOnce()) -> &'a T {
    match rest.next() {
        Some(item) => item,
        None => {
            begin();
            *rest = all[1..].iter();
            &all[0]
        }
    }
}

/// State shared by successive frames until the next round or burst.
struct Moment {
    /// The probe with flow 0.
    probe: [u64; 2],
    round: u32,
    /// Contribution of the probe to the checksum, without flow and sequence number.
    moment_sum: u32,
    /// The same with the sequence number and the one that [`checksum::finish_transport`] expects.
    sum: u32,
}

impl Moment {
    #[inline(always)]
    fn new(tag: u16, round: u32, ticks: u64) -> Self {
        let probe = Probe { tag, flow: 0, sequence: 0, ticks }.to_words();
        let moment_sum = checksum::fold(checksum::add(probe[0], probe[1])).into();
        let mut moment = Self { probe, round, moment_sum, sum: 0 };
        moment.number();
        moment
    }

    #[inline(always)]
    fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.number();
    }

    /// Stores the sequence number in the probe and adds it to the sum: at an even offset of the probe, it
    /// contributes two words.
    #[inline(always)]
    fn number(&mut self) {
        self.probe[0] = Probe::with_sequence(self.probe[0], self.round);
        self.sum = self.moment_sum + (self.round & 0xffff) + (self.round >> 16) + 1;
    }
}

impl Layout {
    #[inline(always)]
    fn write_head<const N: usize>(
        self,
        head: &mut FrameHead,
        flow: &Flow<N>,
        moment: &Moment,
        size_sum: u16,
    ) {
        // The remainders do not change the values; they show the compiler the limits.
        let (run_at, probe_at) = (self.run_at % RUN_AT_LIMIT, self.probe_at % PROBE_AT_LIMIT);
        let checksum_at = self.checksum_at % PROBE_AT_LIMIT;
        head[run_at..run_at + N * BLOCK_BYTES].copy_from_slice(flow.run.as_flattened());
        let [first, second] = moment.probe;
        let probe = [first, Probe::with_flow(second, flow.id)].map(u64::to_le_bytes);
        head[probe_at..probe_at + PROBE_BYTES].copy_from_slice(probe.as_flattened());
        let sum = u32::from(flow.transport_sum) + u32::from(size_sum) + moment.sum;
        head[checksum_at..checksum_at + 2].copy_from_slice(&checksum::finish_transport(sum));
    }
}

/// A flow's run and sums. With one frame size, they include the size's terms; with mixed sizes, these are
/// added per packet.
fn flow<const N: usize>(frames: &Frames<'_>, single: Option<SizeTerms>, run_at: usize, id: u32) -> Flow<N> {
    let flow = frames.flow(id);
    let mut head = flow.bytes;
    let number = Probe { tag: 0, flow: id, sequence: 0, ticks: 0 }.to_bytes();
    let magic = Probe { tag: 0, flow: 0, sequence: 0, ticks: 0 }.to_bytes();
    // The flow's number contributes to the probe's sum; the magic does not.
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

/// Range of bytes that differ between flows: the varied fields, and the IPv4 checksum when it depends on
/// them.
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
pub(crate) mod tests;
