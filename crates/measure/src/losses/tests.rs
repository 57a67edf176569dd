use super::*;

/// Packets by span, in units that are `level` times halved.
fn sums(losses: &Losses) -> std::collections::BTreeMap<(Option<u64>, u64), i64> {
    let mut sums = std::collections::BTreeMap::new();
    for Placed { from, to, packets } in losses.placed().0 {
        *sums.entry((from, to)).or_default() += packets;
    }
    sums
}

fn instant(unit: u64) -> SendTime {
    SendTime::new(unit << UNIT_BITS, 0)
}

#[test]
fn gaps_are_spread_between_their_neighbours() {
    let mut losses = Losses::default();
    losses.follow(instant(1_000_000));
    let at = |to: u32, length: u32| Span { to: to + MARGIN as u32, length };
    let mut between = |after: u32, before: u64| losses.between(Some(after), instant(before));
    // (packets, between units, span)
    let gap = between(1_000_000, 1_000_100);
    for (packets, span) in [(1, at(50, 0)), (3, at(75, 50)), (9, at(90, 80)), (60, at(99, 98))] {
        assert_eq!(gap.all(packets), span, "{packets}");
    }
    for (part, span) in [((0, 1), at(10, 0)), ((0, 9), at(90, 80)), ((4, 5), at(90, 40))] {
        assert_eq!(gap.part(9, part.0, part.1), span, "{part:?}");
    }
    let same = between(1_000_007, 1_000_007);
    assert_eq!([same.all(1), same.all(64), same.part(1 << 31, 5, 64)], [at(7, 0); 3]);
    let begin = losses.between(None, instant(1_000_020));
    assert_eq!(begin.all(4), Span { to: 20 + MARGIN as u32, length: FROM_START });
}

#[test]
fn a_full_table_becomes_coarser_and_loses_no_packet() {
    let mut losses = Losses::default();
    losses.follow(instant(1 << 30));
    let base = MARGIN as u32;
    let spans = SLOTS as u32 * 6;
    let mut expected = 0;
    for number in 0..spans {
        let span = Span { to: base + 3 * number, length: number % 3 };
        losses.add(span, 2);
        losses.add(span, 1);
        if number % 10 == 0 {
            losses.take_back(span);
        }
        expected += if number % 10 == 0 { 2 } else { 3 };
    }
    let (placed, width) = losses.placed();
    assert_eq!(placed.iter().map(|span| span.packets).sum::<i64>(), expected);
    assert_eq!(losses.unplaced, 0);
    assert!(width > 1 << UNIT_BITS && placed.len() < 2 * SLOTS, "{width} {}", placed.len());
    // Spans stay where they were, to the width of their ends.
    let last = ((1 << 30) + 3 * u64::from(spans - 1)) << UNIT_BITS;
    let until = placed.iter().map(|span| span.to).max().unwrap();
    assert!(until > last && until - last <= width, "{until} {last}");
}

#[test]
fn spans_whose_packets_all_arrived_make_room_without_coarser_times() {
    let mut losses = Losses::default();
    losses.follow(instant(1 << 30));
    for number in 0..SLOTS as u32 * 4 {
        let span = Span { to: MARGIN as u32 + number, length: 0 };
        losses.add(span, 1);
        losses.take_back(span);
    }
    losses.add(Span { to: MARGIN as u32 + 5, length: 2 }, 7);
    assert_eq!(losses.placed().1, 1 << UNIT_BITS);
    let ticks = |unit: u64| ((1 << 30) + unit) << UNIT_BITS;
    let sums = sums(&losses).into_iter().filter(|(_, packets)| *packets != 0).collect::<Vec<_>>();
    assert_eq!(sums, [((Some(ticks(3)), ticks(6)), 7)]);
}

#[test]
fn halves_of_units_keep_kinds() {
    let span = Span { to: 1_001, length: 4 };
    assert_eq!(span.coarser(1), Span { to: 500, length: 2 });
    assert_eq!(span.coarser(4), Span { to: 62, length: 0 });
    for kind in [FROM_START, GIVEN_BACK] {
        assert_eq!(Span { to: 9, length: kind }.coarser(2), Span { to: 2, length: kind });
    }
}

#[test]
fn distances_survive_clocks_that_drift_apart() {
    let range = 1 << (TIME_BITS - UNIT_BITS);
    assert_eq!(distance(5, 17, false), 12);
    assert_eq!(distance(u32::MAX - 4, 10, false), 15);
    assert_eq!(distance(100, 90u32.wrapping_sub(range as u32), true), range - 10);
    assert_eq!(distance(100, 110 + range as u32, true), 10);
    assert_eq!(distance(100, (range as u32) * 3, false), 3 * range - 100);
}
