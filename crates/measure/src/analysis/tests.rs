use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::Profile;

use super::*;
use crate::flows::FrameWriter;
use crate::flows::tests::next_frame;
use crate::frame::Frames;

fn frames_of(document: &str, tag: u16, count: u32) -> Vec<Vec<u8>> {
    let profile: Profile = serde_json::from_str(document).unwrap();
    let frames = Frames::new(&profile, MacAddr([2; 6]), MacAddr([4; 6]));
    let mut writer = FrameWriter::new(&profile, &frames, tag, 0, 1).unwrap();
    let template = frames.template();
    (0..count).map(|i| next_frame(&mut writer, &template, u64::from(i))).collect()
}

fn frames(flows: u32, tag: u16, count: u32) -> Vec<Vec<u8>> {
    frames_of(&format!(r#"{{"flows": {flows}}}"#), tag, count)
}

fn see(analysis: &mut Analysis, frame: &[u8], ticks: u64) {
    analysis.observe(frame, frame.len() as u32, PortVerdict::Unknown, ticks);
}

/// True when every frame is in exactly one counter.
fn adds_up(counters: &ReceiveCounters) -> bool {
    let ReceiveCounters { frames, packets, duplicates, stale, bad_probes, bad_checksums, foreign, .. } =
        counters;
    *frames == packets + duplicates + stale + bad_probes + bad_checksums + foreign
}

#[test]
fn frames_are_sorted_by_kind() {
    let mut analysis = Analysis::new(Expect::Trial { tag: 7, flows: 10 });
    for frame in frames(10, 7, 30).iter().chain(&frames(20, 7, 20)[10..]).chain(&frames(1, 8, 3)) {
        see(&mut analysis, frame, 1000);
    }
    let ours = &frames(1, 7, 1)[0];
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = ours.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let foreign = [
        with(12, &[8, 6]),
        with(12, &[0x86, 0xdd]),
        with(12, &[0x81, 0]),
        with(12, &[0x88, 0xa8]),
        with(23, &[1]),
        with(42, &[0]),
        ours[..57].to_vec(),
        Vec::new(),
    ];
    for frame in &foreign {
        see(&mut analysis, frame, 1000);
    }
    for at in [24, 26, 41, 50, 59] {
        see(&mut analysis, &with(at, &[ours[at] ^ 0x10]), 1000);
    }
    analysis.observe(ours, 60, PortVerdict::Bad, 1000);
    let counters = &analysis.counters(1.0);
    assert_eq!(
        (counters.packets, counters.stale, counters.bad_probes, counters.bad_checksums),
        (30, 3, 10, 6)
    );
    assert_eq!(analysis.foreign(), ForeignFrames { arp: 1, ipv6: 1, vlan: 2, icmp: 1, other: 3 });
    assert_eq!(counters.foreign, 8);
    assert!(adds_up(counters));
}

#[test]
fn a_udp_checksum_of_zero_means_none_over_ipv4_only() {
    let zeroed = |document: &str, field: usize| {
        let mut frame = frames_of(document, 7, 1).remove(0);
        assert_ne!(
            frame[field..field + 2],
            [0, 0],
            "{document}: a sender computes a checksum and never sends 0"
        );
        frame[field..field + 2].fill(0);
        frame
    };
    let v6 = r#"{"source": {"ip": "::1", "port": 7}, "destination": {"ip": "::2", "port": 9}}"#;
    // (profile, offset of the checksum, port's verdict, received)
    for (document, field, verdict, received) in [
        ("{}", 40, PortVerdict::Unknown, true),
        ("{}", 40, PortVerdict::Good, true),
        ("{}", 40, PortVerdict::Bad, true),
        (r#"{"vlan": {"id": 5}}"#, 44, PortVerdict::Unknown, true),
        (r#"{"protocol": "tcp"}"#, 50, PortVerdict::Unknown, false),
        (v6, 60, PortVerdict::Unknown, false),
        (v6, 60, PortVerdict::Bad, false),
    ] {
        let mut analysis = Analysis::new(Expect::Trial { tag: 7, flows: 1 });
        let frame = zeroed(document, field);
        analysis.observe(&frame, frame.len() as u32, verdict, 1000);
        let counters = analysis.counters(1.0);
        let expected = if received { (1, 1, 0) } else { (0, 0, 1) };
        let seen = (counters.packets, counters.without_checksum, counters.bad_checksums);
        assert_eq!(seen, expected, "{document} {verdict:?}");
    }
    // Without a UDP checksum, the IPv4 header still has a checksum.
    let mut damaged = zeroed("{}", 40);
    damaged[26] ^= 1;
    for verdict in [PortVerdict::Unknown, PortVerdict::Bad] {
        let mut analysis = Analysis::new(Expect::Trial { tag: 7, flows: 1 });
        analysis.observe(&damaged, damaged.len() as u32, verdict, 1000);
        assert_eq!(analysis.counters(1.0).bad_checksums, 1, "{verdict:?}");
    }
}

#[test]
fn every_shape_of_frame_is_recognised() {
    let v6 = r#""source": {"ip": "::1", "port": 7}, "destination": {"ip": "::2", "port": 9}"#;
    let longest = if cfg!(miri) { 202 } else { 9000 };
    for document in [
        "{}".to_owned(),
        r#"{"protocol": "tcp", "frameSize": 75}"#.to_owned(),
        r#"{"vlan": {"id": 5}, "frameSize": 999}"#.to_owned(),
        format!(
            r#"{{"vlan": {{"id": 5}}, "protocol": "tcp", "payload": "random:1", "frameSize": {longest}}}"#
        ),
        format!(r#"{{"frameSize": 83, {v6}}}"#),
        format!(r#"{{"protocol": "tcp", "vlan": {{"id": 1}}, {v6}, "frameSize": "106:3,1001:2"}}"#),
    ] {
        let mut analysis = Analysis::new(Expect::Trial { tag: 1, flows: 1 });
        let count = if cfg!(miri) { 4 } else { 100 };
        for frame in frames_of(&document, 1, count) {
            see(&mut analysis, &frame, 1000);
            let mut damaged = frame.clone();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            see(&mut analysis, &damaged, 1000);
            // The verdict of a port that checked the frame counts; a first segment alone cannot be checked.
            analysis.observe(&damaged, damaged.len() as u32, PortVerdict::Good, 1000);
            analysis.observe(&damaged[..last], last as u32 + 1, PortVerdict::Unknown, 1000);
        }
        let counters = &analysis.counters(1.0);
        assert_eq!(
            (counters.packets, counters.bad_checksums, counters.duplicates),
            (u64::from(count), u64::from(count), 2 * u64::from(count)),
            "{document}"
        );
        assert!(adds_up(counters));
    }
}

#[test]
fn padding_behind_the_packet_is_no_damage() {
    let mut analysis = Analysis::new(Expect::Trial { tag: 1, flows: 1 });
    let mut frame = frames(1, 1, 1).remove(0);
    frame.extend([1, 2, 3]);
    see(&mut analysis, &frame, 1000);
    assert_eq!(analysis.counters(1.0).packets, 1);
}

#[test]
fn a_receiver_that_learns_follows_a_new_sender() {
    let mut analysis = Analysis::new(Expect::Anything);
    let flows = if cfg!(miri) { 30 } else { 3000 };
    let (first, second) = (frames(flows, 1, 2 * flows), frames(2, 2, 100));
    // Packets before the join are not lost; packets missing after it are.
    let (joined, late) = first[flows as usize..].split_at(flows as usize - 10);
    for frame in joined.iter().chain(&second[4..50]).chain(&second[54..]).chain(late) {
        see(&mut analysis, frame, 10_000);
    }
    let counters = &analysis.counters(1.0);
    assert_eq!((counters.packets, counters.stale, counters.foreign), (u64::from(flows) - 10 + 92, 10, 0));
    assert_eq!((analysis.sequence_gaps(), counters.out_of_order), (4, 0));
}

#[test]
fn a_receiver_that_learns_extends_its_flows_where_they_lie() {
    let mut analysis = Analysis::new(Expect::Anything);
    let (rows, log) = (analysis.flows.as_ptr(), analysis.log.gaps_address());
    let flows = if cfg!(miri) { 40 } else { FIRST_FLOWS + 2 * MORE_FLOWS + 5 };
    for tag in [1, 2, 3] {
        for frame in frames(flows, tag, 2 * flows) {
            see(&mut analysis, &frame, 10_000);
        }
    }
    assert_eq!(analysis.counters(1.0).packets, u64::from(6 * flows));
    assert_eq!((analysis.flows(1).count(), analysis.sequence_gaps()), (flows as usize, 0));
    assert_eq!(analysis.log.gaps_address(), log);
    // Miri counts each reserved byte as one in use.
    assert!(cfg!(miri) || analysis.flows.as_ptr() == rows);
}

#[test]
fn lcores_merge_to_the_same_account() {
    let count = if cfg!(miri) { 100 } else { 800 };
    let all = frames(8, 1, count);
    let expect = Expect::Trial { tag: 1, flows: 8 };
    let mut parts = [Analysis::new(expect), Analysis::new(expect)];
    for (i, frame) in all.iter().enumerate().filter(|(i, _)| i % 100 != 5) {
        see(&mut parts[i % 8 / 4], frame, 5000);
    }
    let [mut merged, other] = parts;
    let lost = u64::from(count / 100);
    merged.merge(&other);
    assert_eq!((merged.counters(1.0).packets, merged.sequence_gaps()), (lost * 99, lost));
    assert_eq!(merged.counters(1.0).out_of_order, 0);
}

#[test]
fn every_flow_has_its_own_account() {
    let all = frames(3, 1, 30);
    let mut analysis = Analysis::new(Expect::Trial { tag: 1, flows: 4 });
    // All of flow 0 arrives; of flow 1 the third is lost and the fourth arrives twice; of flow 2 the second
    // arrives after the fourth.
    let order = [0, 1, 2, 3, 4, 6, 8, 9, 10, 10, 11, 5, 12];
    for (i, at) in order.into_iter().enumerate().filter(|(_, at)| *at != 7) {
        see(&mut analysis, &all[at], 1000 + 100 * i as u64);
    }
    let flows: Vec<FlowReport> = analysis.flows(1_000_000_000).collect();
    let brief = |flow: &FlowReport| {
        (flow.flow, flow.received, flow.lost, flow.duplicates, flow.reordered, flow.largest_extent)
    };
    assert_eq!(
        flows.iter().map(brief).collect::<Vec<_>>(),
        [(0, 5, 0, 0, 0, 0), (1, 3, 1, 1, 0, 0), (2, 4, 0, 0, 1, 2)]
    );
    assert_eq!(flows[0].delay_ns.unwrap().min, 1000);
    assert_eq!(
        analysis.reordering().unwrap(),
        Reordering { packets: 1, extents: 1, extent_mean: 2.0, extent_max: 2 }
    );
}

#[test]
fn packets_before_the_first_that_arrived_are_told_by_a_receiver_that_may_have_begun_late() {
    let sent = frames(3, 7, 30);
    let of = |expect, dropped: &[usize]| {
        let mut analysis = Analysis::new(expect);
        for (_, frame) in sent.iter().enumerate().filter(|(i, _)| !dropped.contains(i)) {
            see(&mut analysis, frame, 1000);
        }
        (analysis.before_first(), analysis.sequence_gaps())
    };
    let first_two_rounds: Vec<usize> = (0..6).collect();
    assert_eq!(of(Expect::Anything, &first_two_rounds), (Some(6), 0));
    assert_eq!(of(Expect::Anything, &[0, 12]), (Some(1), 1));
    assert_eq!(of(Expect::Anything, &[]), (Some(0), 0));
    assert_eq!(of(Expect::Trial { tag: 7, flows: 3 }, &first_two_rounds), (None, 6));
    assert_eq!(of(Expect::Anything, &(0..30).collect::<Vec<_>>()), (None, 0));

    // The first packet comes behind the third, and the second never.
    let mut late = Analysis::new(Expect::Anything);
    let one_flow = frames(1, 7, 3);
    [2, 0].into_iter().for_each(|i| see(&mut late, &one_flow[i], 1000));
    assert_eq!((late.before_first(), late.sequence_gaps()), (Some(1), 0));
    // With a gap behind it, the late packet counts there: the sum alone is exact.
    let mut late = Analysis::new(Expect::Anything);
    let one_flow = frames(1, 7, 10);
    [2, 0, 9].into_iter().for_each(|i| see(&mut late, &one_flow[i], 1000));
    assert_eq!((late.before_first(), late.sequence_gaps()), (Some(2), 5));
}

#[test]
fn packets_of_several_trials_are_told_from_those_of_one() {
    // (tags of the packets of each lcore, several trials, packets before the first)
    for (lcores, several, before) in [
        (&[&[7, 7, 7][..]][..], false, 1),
        (&[&[7, 8]], true, 2),
        (&[&[7], &[8]], true, 3),
        (&[&[7], &[7]], false, 1),
        (&[&[7, 8], &[8]], true, 2),
        (&[&[7], &[]], false, 1),
    ] {
        // The second packet of a flow to the first lcore, the third to the second.
        let of = |(lcore, tags): (usize, &&[u16])| {
            let mut analysis = Analysis::new(Expect::Anything);
            tags.iter().for_each(|tag| see(&mut analysis, &frames(1, *tag, 3)[1 + lcore], 1000));
            analysis
        };
        let merged = lcores.iter().enumerate().map(of).reduce(|mut merged, lcore| {
            merged.merge(&lcore);
            merged
        });
        let merged = merged.unwrap();
        assert_eq!((merged.several_trials(), merged.before_first()), (several, Some(before)), "{lcores:?}");
    }
}

#[test]
fn flows_are_known_also_where_an_lcore_received_nothing() {
    for received_by in [0, 1] {
        let mut lcores = [Analysis::new(Expect::Anything), Analysis::new(Expect::Anything)];
        frames(3, 7, 6).iter().for_each(|frame| see(&mut lcores[received_by], frame, 1000));
        let [mut merged, other] = lcores;
        merged.merge(&other);
        assert_eq!(merged.flows(1).map(|flow| flow.received).collect::<Vec<_>>(), [2, 2, 2]);
    }
}
