use super::*;

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn bytes(per_second: f64) -> Pace {
    Pace { units_per_second: per_second, unit_group: 1448.0, call_units: 65_536.0, ceiling: None }
}

fn datagrams(per_second: f64) -> Pace {
    Pace { units_per_second: per_second, unit_group: 1.0, call_units: 64.0, ceiling: None }
}

/// Takes all there is at this time.
fn drain(budget: &Budget, at_ns: u64, most: u64) -> u64 {
    let mut taken = 0;
    while let Grant::Units(units) = budget.take(at_ns, most) {
        assert!(units >= 1 && units <= most);
        taken += units;
    }
    taken
}

#[test]
fn each_second_has_its_units_though_workers_wake_up_late() {
    for rate in [12_500.0, 125_000.0, 1.25e6, 12_345_678.0, 125e6, 1.25e9, 12.5e9] {
        let budget = Budget::new(Some(&bytes(rate)), None);
        let (mut now, mut whole) = (0, Vec::new());
        for second in 1..=3 {
            let mut taken = 0;
            while now < second * S {
                match budget.take(now, 65_536) {
                    Grant::Units(units) => taken += units,
                    // Up to 70 µs late.
                    Grant::Wait(at) => now = (at.max(now + 1) + at % 70_000).min(at.max(second * S)),
                    Grant::Exhausted => unreachable!(),
                }
            }
            whole.push(taken as f64);
        }
        for taken in whole {
            assert!((taken - rate).abs() <= rate * 0.002 + 2.0, "{taken} for {rate}");
        }
        assert_eq!(budget.forgiven(), 0);
    }
}

#[test]
fn a_datagram_is_due_at_its_own_time() {
    let budget = Budget::new(Some(&datagrams(1000.0)), None);
    assert_eq!(budget.take(0, 64), Grant::Wait(500_000));
    assert_eq!(budget.take(500_000, 64), Grant::Units(1));
    assert_eq!(budget.take(500_001, 64), Grant::Wait(1_500_000));
    // Odd rates come to the right number.
    for rate in [0.4, 3.0, 333.3, 14_881.0, 123_456.7] {
        let budget = Budget::new(Some(&datagrams(rate)), None);
        let taken: u64 = (1..=10_000).map(|ms| drain(&budget, ms * MS, 64)).sum();
        assert!((taken as f64 - 10.0 * rate).abs() <= 1.0 + rate / 1000.0, "{taken} at {rate}");
    }
}

#[test]
fn a_debt_is_paid_in_part_at_once_and_then_a_tenth_faster() {
    let budget = Budget::new(Some(&datagrams(10_000.0)), None);
    assert_eq!(drain(&budget, S, 64), 100, "10 ms of the rate");
    // The oldest 900 ms were forgiven.
    assert_eq!(budget.forgiven(), 9_000);
    // 900 are owed; a tenth more is paid than comes due.
    let mut turn = 0;
    let mut paid_in_10_ms = || -> u64 {
        (0..10)
            .map(|_| {
                turn += 1;
                drain(&budget, S + turn * MS, 64)
            })
            .sum()
    };
    let next = paid_in_10_ms();
    assert!((108..=111).contains(&next), "{next}");
    let later: Vec<u64> = (0..100).map(|_| paid_in_10_ms()).collect();
    assert_eq!(later.last(), Some(&100), "{later:?}");
    assert_eq!(budget.forgiven(), 9_000);
}

#[test]
fn a_debt_wakes_no_worker_for_a_byte() {
    let budget = Budget::new(Some(&bytes(1e6)), None);
    let (mut now, mut grants, mut taken) = (S, 0, 0);
    while now < 2 * S {
        match budget.take(now, 65_536) {
            Grant::Units(units) => (grants, taken) = (grants + 1, taken + units),
            Grant::Wait(at) => now = at,
            Grant::Exhausted => unreachable!(),
        }
    }
    assert!(grants <= 800, "{grants} grants for {taken} bytes");
    assert!(taken >= 1_090_000, "{taken}");
}

#[test]
fn a_ceiling_leaves_no_room_for_bursts() {
    let pace = Pace { ceiling: Some(10_000.0), ..datagrams(10_000.0) };
    let budget = Budget::new(Some(&pace), None);
    assert_eq!(drain(&budget, S, 64), 1);
    assert_eq!(drain(&budget, S + 10 * MS, 64), 1, "what was not taken in time does not come later");
    let within: u64 = (1..=100).map(|turn| drain(&budget, S + 10 * MS + turn * 100_000, 64)).sum();
    assert!((99..=101).contains(&within), "{within}");
    // A ceiling above the rate admits a faster payment.
    let pace = Pace { ceiling: Some(10_500.0), ..datagrams(10_000.0) };
    let budget = Budget::new(Some(&pace), None);
    drain(&budget, S, 64);
    let within: u64 = (1..=100).map(|turn| drain(&budget, S + turn * 100_000, 64)).sum();
    assert!((100..=105).contains(&within), "{within}");
}

#[test]
fn a_total_is_taken_exactly_and_never_forgiven() {
    let budget = Budget::new(None, Some(1000));
    assert_eq!(budget.take(0, 600), Grant::Units(600));
    assert_eq!(budget.take(0, 600), Grant::Units(400));
    assert_eq!(budget.take(0, 600), Grant::Exhausted);
    budget.give_back(150);
    assert_eq!(budget.take(0, 600), Grant::Units(150));
    assert_eq!(budget.take(0, 600), Grant::Exhausted);

    let budget = Budget::new(Some(&datagrams(1000.0)), Some(500));
    let mut taken = 0;
    for turn in 0..200 {
        taken += drain(&budget, S + turn * 10 * MS, 64);
    }
    assert_eq!((taken, budget.forgiven()), (500, 0));
}

#[test]
fn what_is_given_back_goes_to_others_at_once() {
    let budget = Budget::new(Some(&bytes(125e6)), None);
    let Grant::Units(first) = budget.take(10 * MS, 65_536) else { panic!() };
    budget.give_back(first);
    assert_eq!(budget.take(10 * MS, 65_536), Grant::Units(first));
}

#[test]
fn workers_take_no_more_together_than_is_due() {
    let budget = Budget::new(Some(&bytes(1e9)), None);
    let taken: u64 = std::thread::scope(|scope| {
        let take = || {
            let (budget, mut sum) = (&budget, 0);
            for at in 1..=2_000 {
                sum += drain(budget, at * 50_000, 65_536);
            }
            sum
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let due = budget.due(100 * MS).unwrap();
    assert!(taken + budget.forgiven() <= due, "{taken} of {due}");
    assert!(taken as f64 >= 0.98 * due as f64, "{taken} of {due}");
}

#[test]
fn without_limits_everything_is_granted() {
    let budget = Budget::new(None, None);
    assert_eq!(budget.take(0, 5), Grant::Units(5));
    budget.give_back(5);
    assert_eq!((budget.take(S, 7), budget.due(S)), (Grant::Units(7), None));
}
