use super::*;
use crate::gap_log::LOG_GAPS;

const SENT: SendTime = SendTime::new(5_000, 5);

#[test]
fn delays_between_clocks_that_do_not_compare_overflow_nothing() {
    let mut flow = FlowState { next: 2, delay_sum: u64::MAX - 1, ..FlowState::default() };
    flow.record_delay(1 << 39);
    flow.merge(&flow.clone());
    assert_eq!(flow.delays(), Some((1 << 39, u64::MAX / 4, 1 << 39)));
}

/// Classification of these numbers, arriving in this order.
fn arrivals(numbers: &[u32]) -> (Vec<Arrival>, FlowState) {
    let (mut flow, mut log) = (FlowState::default(), GapLog::default());
    let arrivals = numbers.iter().map(|number| flow.arrive(*number, 7, SENT, &mut log)).collect();
    (arrivals, flow)
}

/// RFC 4737, sections 3.3 and 4.2, implemented literally: quadratic, and independent of the log.
fn by_definition(numbers: &[u32]) -> Vec<Arrival> {
    let mut seen: Vec<u32> = Vec::new();
    let mut result = Vec::new();
    for number in numbers {
        result.push(if seen.contains(number) {
            Arrival::Duplicate
        } else {
            let first_higher = seen.iter().position(|earlier| earlier > number);
            let extent = first_higher.map(|j| (seen.len() - j) as u32);
            seen.push(*number);
            extent.map_or(Arrival::InOrder, |extent| Arrival::Reordered { extent })
        });
    }
    result
}

#[test]
fn any_order_is_classified_as_rfc_4737_defines() {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for reach in [1, 3, 70, 300] {
        for _ in 0..if cfg!(miri) { 1 } else { 50 } {
            // Each number is late by up to `reach`; some are lost, some arrive twice.
            let mut at: Vec<(u64, u32)> = Vec::new();
            for number in 0..if cfg!(miri) { 50 } else { 400u32 } {
                let fate = random(20);
                if fate == 0 {
                    continue;
                }
                at.push((u64::from(number) + random(reach), number));
                if fate == 1 {
                    at.push((u64::from(number) + random(2 * reach), number));
                }
            }
            at.sort();
            let numbers: Vec<u32> = at.into_iter().map(|(_, number)| number).collect();
            let (found, flow) = arrivals(&numbers);
            assert_eq!(found, by_definition(&numbers), "{numbers:?}");
            let duplicates = found.iter().filter(|arrival| **arrival == Arrival::Duplicate).count();
            assert_eq!(flow.received() as usize, numbers.len() - duplicates);
        }
    }
}

#[test]
fn numbers_wrap_after_32_bits() {
    let (mut flow, mut log) = (FlowState::default(), GapLog::default());
    flow.join(u32::MAX - 1, 0, &mut log);
    for number in [u32::MAX - 1, 0, u32::MAX, 1, 5, 3] {
        flow.arrive(number, 0, SENT, &mut log);
    }
    assert_eq!((flow.received(), flow.reordered(), flow.next()), (6, 2, (1 << 32) + 6));
}

#[test]
fn packets_behind_an_outage_of_more_than_half_the_range_of_numbers_are_received() {
    const OUTAGE: u32 = 3_000_000_000;
    let (mut flow, mut log) = (FlowState::default(), GapLog::default());
    let found =
        [0, OUTAGE + 1, OUTAGE + 2, OUTAGE, OUTAGE].map(|number| flow.arrive(number, 0, SENT, &mut log));
    use Arrival::{Duplicate, InOrder, Reordered};
    assert_eq!(found, [InOrder, InOrder, InOrder, Reordered { extent: 2 }, Duplicate]);
    assert_eq!((flow.received(), flow.duplicates()), (4, 1));
    assert_eq!(flow.next() - flow.received(), u64::from(OUTAGE) - 1);
}

#[test]
fn a_joined_flow_tracks_later_packets() {
    let (mut flow, mut log) = (FlowState::default(), GapLog::default());
    flow.join(100, 3, &mut log);
    let found: Vec<Arrival> =
        [100, 101, 100, 101, 99, 103, 102, 103].map(|number| flow.arrive(number, 3, SENT, &mut log)).to_vec();
    use Arrival::{BeyondMemory, Duplicate, InOrder};
    let late = Arrival::Reordered { extent: 1 };
    assert_eq!(found, [InOrder, InOrder, Duplicate, Duplicate, BeyondMemory, InOrder, late, Duplicate]);
}

#[test]
fn an_outage_is_recorded_as_far_as_the_log_reaches() {
    let (mut flow, mut log) = (FlowState::default(), GapLog::default());
    flow.arrive(0, 0, SENT, &mut log);
    flow.arrive(1_000_000, 0, SENT, &mut log);
    assert_eq!(flow.next() - flow.received(), 999_999);
    assert_eq!(flow.arrive(999_990, 0, SENT, &mut log), Arrival::Reordered { extent: 1 });
    assert_eq!(flow.arrive(999_990, 0, SENT, &mut log), Arrival::Duplicate);
    assert_eq!(flow.arrive(5, 0, SENT, &mut log), Arrival::BeyondMemory);
}

#[test]
fn what_other_flows_have_overwritten_counts_as_unknown() {
    let mut log = GapLog::default();
    let (mut old, mut new) = (FlowState::default(), FlowState::default());
    old.arrive(3, 0, SENT, &mut log);
    for i in 1..=LOG_GAPS {
        new.arrive(2 * i, 1, SENT, &mut log);
    }
    assert_eq!(old.arrive(1, 0, SENT, &mut log), Arrival::BeyondMemory);
    assert_eq!(new.arrive(2 * LOG_GAPS - 1, 1, SENT, &mut log), Arrival::Reordered { extent: 1 });
}

/// These numbers, those for which `is_late` holds behind so many others that `open` of them are missing all
/// the time.
fn late(numbers: u32, open: u32, is_late: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut order: Vec<u32> = (0..numbers).collect();
    order.sort_by_key(|number| number + if is_late(*number) { 2 * open } else { 0 });
    order
}

#[test]
fn late_frames_of_a_longer_path_are_found_however_many_gaps_are_newer() {
    let (flows, numbers) = if cfg!(miri) { (2, 61) } else { (3, 30_001u32) };
    for open in [1, 3, 5, 100, 2_000, 7_000] {
        if numbers <= 2 * open {
            continue;
        }
        let mut log = GapLog::default();
        let mut states = vec![FlowState::default(); flows as usize];
        let mut extents = 0;
        for number in late(numbers, open, |number| number % 2 == 1) {
            for (flow, state) in (0..).zip(&mut states) {
                let arrival = state.arrive(number, flow, SENT, &mut log);
                match arrival {
                    Arrival::InOrder => assert_eq!(number % 2, 0),
                    Arrival::Reordered { .. } => extents += 1,
                    // The first search of a flow ends before it is there; the next one goes on from its end.
                    Arrival::BeyondMemory => assert!(open > 4096 && number < 8, "{number} of {open} gaps"),
                    Arrival::Duplicate => panic!("{number}, {open} gaps open: the first copy is a duplicate"),
                }
                // A second copy is one wherever it stands.
                if number % 7 < 2 && arrival != Arrival::BeyondMemory {
                    let again = state.arrive(number, flow, SENT, &mut log);
                    assert_eq!(again, Arrival::Duplicate, "{number}, {open} gaps open");
                }
            }
        }
        for state in &states {
            assert_eq!((state.received(), state.next()), (u64::from(numbers), u64::from(numbers)), "{open}");
            assert_eq!(state.reordered(), u64::from(numbers / 2), "{open}");
        }
        assert!(extents >= (numbers / 2 - 4) * flows, "{extents} of {open} gaps");
    }
}

#[test]
fn a_search_from_the_last_one_does_not_pass_what_was_forgotten() {
    let (mut flow, mut log) = (FlowState::default(), GapLog::default());
    let mut see = |number| flow.arrive(number, 0, SENT, &mut log);
    for number in (0..20).step_by(2) {
        see(number);
    }
    assert_eq!(see(3), Arrival::Reordered { extent: 8 });
    // A gap too long to be remembered as a whole, and shorter ones.
    for number in (1_000_000..1_000_020).step_by(2) {
        see(number);
    }
    assert_eq!([see(500), see(3), see(500)], [Arrival::BeyondMemory; 3]);
    assert_eq!([see(1_000_001), see(1_000_001)], [Arrival::Reordered { extent: 12 }, Arrival::Duplicate]);
}

#[test]
fn a_log_that_was_reset_has_no_gaps_and_no_losses() {
    let mut log = GapLog::default();
    for _ in 0..3 {
        let mut flow = FlowState::default();
        let found: Vec<Arrival> =
            [0, 2, 4, 6, 8, 10, 12, 1, 1, 3].map(|number| flow.arrive(number, 0, SENT, &mut log)).to_vec();
        assert_eq!(
            found[7..],
            [Arrival::Reordered { extent: 6 }, Arrival::Duplicate, Arrival::Reordered { extent: 6 }]
        );
        let lost: i64 = log.losses.placed().0.iter().map(|placed| placed.packets).sum();
        assert_eq!(lost, 4);
        log.reset();
        assert_eq!(log.losses.placed().0, []);
    }
}
