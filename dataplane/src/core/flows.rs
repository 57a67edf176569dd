//! One worker's flows, and the writing of their frames.
//!
//! Flow *i* of a profile belongs to worker *i* modulo the number of workers, so workers share nothing. A worker goes round
//! its flows; the sequence number of a frame within its flow is therefore the number of rounds made, and needs no memory
//! per flow.

use linerate_protocol::probe::{PROBE_BYTES, Probe};
use linerate_protocol::profile::Profile;

use super::checksum;
use super::frame::{FLOW_RUN_AT, FLOW_RUN_BYTES, FrameHead, PROBE_AT, PROBE_END, UDP_CHECKSUM_AT, flow_run};

/// What changes with the flow, ready to be stored.
#[derive(Debug, Clone, Copy)]
struct Flow {
    run: [u8; FLOW_RUN_BYTES],
    udp_sum: u32,
    id: u32,
}

/// Writes the frames of one worker's flows, round after round.
#[derive(Debug)]
pub struct FrameWriter {
    flows: Box<[Flow]>,
    tag: u16,
    next: usize,
    round: u32,
}

impl FrameWriter {
    /// The flows of `worker` (below `workers`). `None` when there are fewer flows than workers and this one has none.
    pub fn new(profile: &Profile, tag: u16, worker: u32, workers: u32) -> Option<Self> {
        let flows: Box<[Flow]> = (worker..profile.flows())
            .step_by(workers.max(1) as usize)
            .map(|id| {
                let (run, udp_sum) = flow_run(profile.frame_size(), &profile.flow(id));
                Flow { run, udp_sum: u32::from(checksum::fold(udp_sum)), id }
            })
            .collect();
        (!flows.is_empty()).then_some(Self { flows, tag, next: 0, round: 0 })
    }

    /// Number of this worker's flows.
    pub fn flow_count(&self) -> u32 {
        self.flows.len() as u32
    }

    /// Writes the next frame: what its flow varies, the probe, the UDP checksum. The rest is the template's.
    #[inline(always)]
    pub fn write(&mut self, head: &mut FrameHead, ticks: u64) {
        let flow = &self.flows[self.next];
        let probe = Probe { tag: self.tag, flow: flow.id, sequence: self.round, ticks }.to_bytes();
        head[FLOW_RUN_AT..FLOW_RUN_AT + FLOW_RUN_BYTES].copy_from_slice(&flow.run);
        head[PROBE_AT..PROBE_END].copy_from_slice(&probe);
        let udp_sum = checksum::add(u64::from(flow.udp_sum), probe_sum(&probe));
        head[UDP_CHECKSUM_AT..PROBE_AT].copy_from_slice(&checksum::finish_udp(udp_sum));

        self.next += 1;
        if self.next == self.flows.len() {
            self.next = 0;
            self.round = self.round.wrapping_add(1);
        }
    }
}

/// Replaces the send time of a frame that had to wait, so that waiting for the port does not count as delay.
#[inline(always)]
pub fn restamp(head: &mut FrameHead, ticks: u64) {
    let Some(old) = head[PROBE_AT..].first_chunk::<PROBE_BYTES>().copied() else { return };
    let Some(probe) = Probe::from_bytes(&old) else { return };
    let new = Probe { ticks, ..probe }.to_bytes();
    // RFC 1624, equation 3: the complement of the new checksum is that of the old one, less the old words, plus the new ones.
    let checksum = u16::from_le_bytes([head[UDP_CHECKSUM_AT], head[UDP_CHECKSUM_AT + 1]]);
    let sum = checksum::add(u64::from(!checksum), u64::from(!checksum::fold(probe_sum(&old))));
    head[UDP_CHECKSUM_AT..PROBE_AT]
        .copy_from_slice(&checksum::finish_udp(checksum::add(sum, probe_sum(&new))));
    head[PROBE_AT..PROBE_END].copy_from_slice(&new);
}

#[inline(always)]
fn probe_sum(probe: &[u8; PROBE_BYTES]) -> u64 {
    let word = u128::from_le_bytes(*probe);
    checksum::add(word as u64, (word >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use linerate_protocol::mac::MacAddr;
    use linerate_protocol::profile::{FlowMode, RawProfile};

    use super::super::frame::template;
    use super::*;

    fn profile(flows: u32) -> Profile {
        RawProfile { flows, flow_mode: FlowMode::Sdpd, ..RawProfile::default() }.try_into().unwrap()
    }

    fn head() -> FrameHead {
        let frame = template(profile(1).frame_size(), MacAddr([2; 6]), MacAddr([4; 6]));
        frame.try_into().unwrap()
    }

    fn probe(head: &FrameHead) -> Probe {
        Probe::from_bytes(head[PROBE_AT..PROBE_END].first_chunk().unwrap()).unwrap()
    }

    /// The receiver's test of a UDP checksum: pseudo header and datagram sum to all ones.
    fn udp_checksum_is_right(head: &FrameHead) -> bool {
        let udp_length = [head[38], head[39]];
        let pseudo = [checksum::sum(&head[26..34]), checksum::sum(&[0, 17]), checksum::sum(&udp_length)];
        checksum::fold(pseudo.into_iter().fold(checksum::sum(&head[34..]), checksum::add)) == 0xffff
    }

    #[test]
    fn workers_divide_the_flows_and_number_each_from_zero() {
        let profile = profile(10);
        let mut seen = vec![Vec::new(); 10];
        for worker in 0..3 {
            let mut writer = FrameWriter::new(&profile, 9, worker, 3).unwrap();
            for _ in 0..writer.flow_count() * 4 {
                let mut head = head();
                writer.write(&mut head, 0);
                let probe = probe(&head);
                assert_eq!((probe.flow % 3, probe.tag), (worker, 9));
                seen[probe.flow as usize].push(probe.sequence);
            }
        }
        assert!(seen.iter().all(|sequences| *sequences == [0, 1, 2, 3]), "{seen:?}");
        assert!(FrameWriter::new(&profile, 0, 10, 11).is_none());
    }

    #[test]
    fn udp_checksums_are_right_for_any_time_sequence_and_restamp() {
        let profile = profile(5000);
        let mut writer = FrameWriter::new(&profile, 0xffff, 0, 1).unwrap();
        let mut ticks = 1u64;
        for _ in 0..20_000 {
            let mut head = head();
            ticks = ticks.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            writer.write(&mut head, ticks);
            assert!(udp_checksum_is_right(&head));
            let before = probe(&head);
            restamp(&mut head, ticks >> 7);
            assert!(udp_checksum_is_right(&head), "restamped");
            assert_eq!(probe(&head), Probe { ticks: (ticks >> 7) & ((1 << 40) - 1), ..before });
            assert_ne!(head[UDP_CHECKSUM_AT..PROBE_AT], [0, 0]);
        }
    }
}
