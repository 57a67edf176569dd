use super::*;
use crate::arrival::Arrival;
use crate::gap_log::GapLog;
use crate::losses::SendTime;
use crate::order::FlowState;

const MS: u64 = 1_000_000;

/// A receiver of some flows, and the sender's clock.
struct Receiver {
    flows: Vec<FlowState>,
    log: GapLog,
    /// The sender's ticks per second, and at the receiver's tick 0.
    sender_hz: u64,
    sender_zero: u64,
    packets_of: Vec<u64>,
    received: u64,
}

const OWN_HZ: u64 = 2_000_000_000;
/// The receiver's ticks when sending begins.
const BEGIN: u64 = 50_000_000_000;

impl Receiver {
    fn new(flows: usize) -> Self {
        Self::with_clock(flows, OWN_HZ, 0)
    }

    fn with_clock(flows: usize, sender_hz: u64, sender_zero: u64) -> Self {
        Self {
            flows: vec![FlowState::default(); flows],
            log: GapLog::default(),
            sender_hz,
            sender_zero,
            packets_of: vec![0; flows],
            received: 0,
        }
    }

    /// The sender's counter at an instant, in nanoseconds since sending began.
    fn sender_ticks(&self, at_ns: u64) -> u64 {
        let ticks = |hz: u64, ns: u64| (u128::from(ns) * u128::from(hz) / 1_000_000_000) as u64;
        let begin_ns = (u128::from(BEGIN) * 1_000_000_000 / u128::from(OWN_HZ)) as u64;
        self.sender_zero.wrapping_add(ticks(self.sender_hz, begin_ns + at_ns))
    }

    /// Frame `number` of a flow, sent at `sent_ns`, arrives `delay_ns` later.
    fn arrive(&mut self, flow: usize, number: u64, sent_ns: u64, delay_ns: u64) -> Arrival {
        let now = BEGIN + (u128::from(sent_ns + delay_ns) * u128::from(OWN_HZ) / 1_000_000_000) as u64;
        let delay = (now.wrapping_sub(self.sender_ticks(sent_ns)) << 24).cast_signed() >> 24;
        let sent = SendTime::new(now, delay);
        if now >= self.log.losses.clock_due() {
            self.log.losses.follow(sent);
        }
        let arrival = self.flows[flow].arrive(number as u32, flow as u32, sent, &mut self.log);
        self.received += u64::from(arrival != Arrival::Duplicate);
        arrival
    }

    /// Sends packets in rotation over the flows, one every `gap_ns`; those for which `is_lost` holds do not
    /// arrive.
    fn run(&mut self, packets: u64, gap_ns: u64, is_lost: impl Fn(u64) -> bool) {
        let flows = self.flows.len() as u64;
        for packet in 0..packets {
            let flow = (packet % flows) as usize;
            self.packets_of[flow] += 1;
            if !is_lost(packet) {
                self.arrive(flow, packet / flows, packet * gap_ns, 3 * MS);
            }
        }
    }

    /// The timeline of a trial that ended at `end_ns`.
    fn timeline(&self, end_ns: u64) -> LossTimeline {
        self.timeline_of(end_ns, |flow| self.packets_of[flow])
    }

    fn timeline_of(&self, end_ns: u64, sent_of: impl Fn(usize) -> u64) -> LossTimeline {
        let mut all = AllLosses::default();
        all.add(&self.log.losses);
        let mut tails = Tails::new();
        for (flow, state) in self.flows.iter().enumerate().filter(|(_, state)| !state.is_new()) {
            let behind = sent_of(flow).saturating_sub(state.next());
            if behind > 0 {
                *tails.entry((state.last_sent(), behind)).or_default() += 1;
            }
        }
        let sent: u64 = (0..self.flows.len()).map(sent_of).sum();
        let told = SendingTimes {
            tick_hz: self.sender_hz,
            began_ticks: self.sender_ticks(0),
            ended_ticks: self.sender_ticks(end_ns),
        };
        // The receiver was ready 2 ms before.
        let own_start = BEGIN - OWN_HZ / 500;
        let times = SenderTimes { own_start, own_hz: OWN_HZ, told: Some(told) };
        let timeline = all.timeline(sent - self.received, &tails, &times);
        assert_eq!(timeline.placed_packets() + timeline.unplaced_packets, sent - self.received);
        assert!(timeline.intervals.windows(2).all(|pair| pair[0].0 < pair[1].0), "{timeline:?}");
        assert!(timeline.intervals.iter().all(|interval| interval.1 > 0), "{timeline:?}");
        timeline
    }
}

/// Packets of the intervals from `from_ms` to `to_ms`.
fn within(timeline: &LossTimeline, from_ms: u64, to_ms: u64) -> u64 {
    let interval_ms = timeline.interval_ns / MS;
    let inside = |at: &u64| at * interval_ms >= from_ms && (at + 1) * interval_ms <= to_ms;
    timeline.intervals.iter().filter(|(at, _)| inside(at)).map(|(_, packets)| packets).sum()
}

#[test]
#[cfg_attr(miri, ignore = "60,000 packets")]
fn an_outage_of_every_number_of_flows_is_where_it_was() {
    for flows in [1, 7, 100] {
        let mut receiver = Receiver::new(flows);
        // 50 ms without packets, of one second at 20,000 a second.
        receiver.run(20_000, 50_000, |packet| (6_000..7_000).contains(&packet));
        let timeline = receiver.timeline(1_000 * MS);
        assert_eq!((timeline.interval_ns, timeline.unplaced_packets), (10 * MS, 0), "{flows} flows");
        assert!(within(&timeline, 300, 350) >= 980, "{flows} flows: {timeline:?}");
        assert_eq!(within(&timeline, 290, 360), 1_000, "{flows} flows: {timeline:?}");
        for interval in 30..35 {
            // A flow has a packet every `flows` · 50 µs; its losses lie between the first and the last of them.
            let packets = within(&timeline, 10 * interval, 10 * interval + 10);
            assert!(packets.abs_diff(200) <= 20 + flows as u64 / 4, "{flows} flows: {timeline:?}");
        }
        let (first, last) = (timeline.first_ns.unwrap(), timeline.last_ns.unwrap());
        let off = MS + flows as u64 * 50_000;
        assert!((300 * MS).abs_diff(first) <= off && (350 * MS).abs_diff(last) <= off, "{timeline:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "20,000 packets")]
fn single_losses_are_each_in_their_interval() {
    // A packet is lost in the middle of every 7th interval.
    let mut receiver = Receiver::new(3);
    receiver.run(20_000, 50_000, |packet| packet % 1_400 == 100);
    let timeline = receiver.timeline(1_000 * MS);
    let expected: Vec<(u64, u64)> = (0..15).map(|n| (7 * n, 1)).collect();
    assert_eq!(timeline.intervals, expected);
}

#[test]
#[cfg_attr(miri, ignore = "10,000 packets")]
fn losses_at_the_beginning_and_at_the_end_are_placed() {
    let mut receiver = Receiver::new(10);
    // All packets of the first and of the last 100 ms.
    receiver.run(10_000, 100_000, |packet| !(1_000..9_000).contains(&packet));
    let timeline = receiver.timeline(1_000 * MS);
    assert_eq!(timeline.unplaced_packets, 0);
    assert!(within(&timeline, 0, 100) >= 980 && within(&timeline, 900, 1_000) >= 980, "{timeline:?}");
    assert_eq!(within(&timeline, 0, 110) + within(&timeline, 890, 1_000), 2_000, "{timeline:?}");
}

#[test]
fn packets_of_silent_flows_have_no_time() {
    let mut receiver = Receiver::new(10);
    receiver.run(1_000, 100_000, |packet| packet % 10 == 3 || packet == 555);
    let timeline = receiver.timeline(100 * MS);
    assert_eq!((timeline.unplaced_packets, timeline.intervals.clone()), (100, vec![(5, 1)]), "{timeline:?}");
}

#[test]
#[cfg_attr(miri, ignore = "10,000 packets")]
fn late_packets_take_their_losses_back() {
    let mut receiver = Receiver::new(2);
    let late = |packet: u64| (3_000..3_600).contains(&packet) || packet == 4_001;
    receiver.run(10_000, 100_000, late);
    let before = receiver.timeline(1_000 * MS);
    assert_eq!(before.placed_packets(), 601);
    for packet in (0..10_000).filter(|packet| late(*packet) && packet % 50 != 1) {
        let arrival = receiver.arrive((packet % 2) as usize, packet / 2, packet * 100_000, 900 * MS);
        assert!(matches!(arrival, Arrival::Reordered { .. }), "{packet}");
    }
    let after = receiver.timeline(1_000 * MS);
    assert_eq!((after.placed_packets(), after.unplaced_packets), (13, 0), "{after:?}");
    for (packet, interval) in (3_001..3_600).step_by(50).map(|packet| (packet, packet / 100)) {
        assert!(after.intervals.iter().any(|(at, _)| at.abs_diff(interval) <= 1), "{packet}: {after:?}");
    }
    // Duplicates take nothing back.
    assert_eq!(receiver.arrive(0, 1_502, 300 * MS, 950 * MS), Arrival::Duplicate);
    assert_eq!(receiver.timeline(1_000 * MS), after);
}

#[test]
#[cfg_attr(miri, ignore = "a gap of 100,000 numbers")]
fn packets_that_the_log_has_forgotten_are_taken_back_by_their_send_time() {
    let mut receiver = Receiver::new(1);
    receiver.run(200_000, 5_000, |packet| (50_000..150_000).contains(&packet));
    for packet in (50_000..60_000).rev() {
        assert_eq!(receiver.arrive(0, packet, packet * 5_000, 2_000 * MS), Arrival::BeyondMemory);
    }
    let timeline = receiver.timeline(1_000 * MS);
    assert_eq!((timeline.placed_packets(), timeline.unplaced_packets), (90_000, 0));
    assert!(within(&timeline, 250, 300) <= 300, "{timeline:?}");
    assert!(within(&timeline, 310, 740) >= 85_000, "{timeline:?}");
}

#[test]
#[cfg_attr(miri, ignore = "hours of packets")]
fn clocks_of_any_rate_and_offset_are_followed_for_hours() {
    // (the sender's frequency, its counter at the receiver's tick 0)
    for (hz, zero) in [
        (OWN_HZ, 0),
        (OWN_HZ + 20_000, u64::MAX - 7_000_000_000),
        (2_600_000_000, 1 << 50),
        (1_400_000_000, (1 << 39) - 60_000_000_000),
        (3_999_000_000, 0),
    ] {
        let mut receiver = Receiver::with_clock(2, hz, zero);
        // Four hours of 100 packets a second; the path fails for 5 s every 23 minutes, and once for half an
        // hour. Two clocks whose counters repeat every 137 s and more must not lose count.
        let s = |packet: u64| packet / 100;
        let is_lost = |packet: u64| {
            let at = s(packet);
            (at % 1_380 >= 1_375) || (7_000..8_800).contains(&at)
        };
        let packets = 4 * 3_600 * 100;
        receiver.run(packets, 10 * MS, is_lost);
        let timeline = receiver.timeline(packets * 10 * MS);
        assert_eq!(timeline.unplaced_packets, 0);
        let mut right = 0;
        for (at, lost) in &timeline.intervals {
            let interval = timeline.interval_ns;
            let near = |ns: u64| is_lost(ns / (10 * MS));
            let (from, to) = ((at * interval).saturating_sub(interval), (at + 2) * interval);
            right += if (from..to).step_by(5_000_000).any(near) { *lost } else { 0 };
        }
        assert_eq!(right, timeline.placed_packets(), "{hz} Hz");
    }
}

#[test]
#[cfg_attr(miri, ignore = "a million packets")]
fn more_losses_than_intervals_make_wider_ones() {
    // Every second packet of 300 s is lost.
    let mut receiver = Receiver::new(5);
    receiver.run(1_500_000, 200_000, |packet| packet % 2 == 1);
    let timeline = receiver.timeline(300_000 * MS);
    assert_eq!(timeline.unplaced_packets, 0);
    assert_eq!(timeline.interval_ns, 40 * MS, "300 s are 7,500 of them");
    assert!(timeline.intervals.len() <= MOST_LOSS_INTERVALS);
    let even = timeline.intervals.iter().filter(|(_, packets)| (95..=105).contains(packets)).count();
    assert!(even + 4 >= timeline.intervals.len(), "{timeline:?}");
}

#[test]
fn any_loss_adds_up_and_is_placed_nearby() {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let rounds = if cfg!(miri) { 2 } else { 60 };
    let packets = if cfg!(miri) { 400 } else { 5_000 };
    for _ in 0..rounds {
        let flows = 1 + random(40) as usize;
        let mut receiver = Receiver::new(flows);
        let share = 1 + random(30);
        let lost: Vec<bool> = (0..packets).map(|_| random(100) < share).collect();
        receiver.run(packets, 200_000, |packet| lost[packet as usize]);
        // Some of them were late.
        for packet in 0..packets {
            if lost[packet as usize] && random(3) == 0 {
                receiver.arrive(
                    (packet % flows as u64) as usize,
                    packet / flows as u64,
                    packet * 200_000,
                    2_000 * MS,
                );
            }
        }
        let timeline = receiver.timeline(packets * 200_000);
        assert_eq!(timeline.unplaced_packets, 0, "every flow has arrivals");
        let (first, last) = (timeline.intervals[0].0, timeline.intervals.last().unwrap().0);
        assert!(first * timeline.interval_ns <= timeline.first_ns.unwrap());
        assert!(timeline.last_ns.unwrap() <= (last + 1) * timeline.interval_ns);
    }
}

#[test]
fn flows_on_several_lcores_have_no_times() {
    let mut receiver = Receiver::new(1);
    receiver.run(100, MS, |packet| packet % 2 == 0);
    let mut all = AllLosses::default();
    all.add(&receiver.log.losses);
    all.flows_are_shared = true;
    let times = SenderTimes { own_start: BEGIN, own_hz: OWN_HZ, told: None };
    let timeline = all.timeline(50, &Tails::new(), &times);
    assert_eq!((timeline.unplaced_packets, timeline.placed_packets()), (50, 0));
    assert!(timeline.reason.unwrap().contains("several RX lcores"));
}

#[test]
fn without_word_of_the_sender_zero_is_the_receivers_start() {
    let mut receiver = Receiver::with_clock(1, OWN_HZ, 1 << 45);
    receiver.run(1_000, MS, |packet| (500..520).contains(&packet));
    let mut all = AllLosses::default();
    all.add(&receiver.log.losses);
    let times = SenderTimes { own_start: BEGIN, own_hz: OWN_HZ, told: None };
    let timeline = all.timeline(20, &Tails::new(), &times);
    assert_eq!((timeline.zero, timeline.unplaced_packets), (LossZero::Receiver, 0));
    // The first delay cannot be told from the clocks' difference.
    assert!((503 * MS).abs_diff(timeline.first_ns.unwrap()) <= 2 * MS, "{timeline:?}");
    let nothing = AllLosses::default().timeline(20, &Tails::new(), &times);
    assert_eq!((nothing.unplaced_packets, nothing.reason.as_deref()), (20, Some("no packet arrived")));
}
