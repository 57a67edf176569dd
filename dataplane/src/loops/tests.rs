//! Both loops over the in-memory link: what the report says is what the link did, to the packet.

use linerate_protocol::mac::MacAddr;
use linerate_protocol::profile::{FlowMode, Profile, RawProfile};
use linerate_protocol::report::Ended;

use super::counters::{ReceiveBlock, TransmitBlock};
use super::memory_link::{Fate, SteppingClock, link};
use super::receive::receive;
use super::stop::Signal;
use super::transmit::{TransmitOutcome, TransmitPlan, transmit};
use crate::core::analysis::{Analysis, Expect};
use crate::core::flows::FrameWriter;
use crate::core::frame::{FrameHead, template};

const TAG: u16 = 0x1234;

fn profile(flows: u32) -> Profile {
    RawProfile { flows, flow_mode: FlowMode::Sd, ..RawProfile::default() }.try_into().unwrap()
}

fn head() -> FrameHead {
    template(profile(1).frame_size(), MacAddr([2; 6]), MacAddr([4; 6])).try_into().unwrap()
}

fn plan(flows: u32, pps: Option<f64>, packets: Option<u64>, duration_ticks: Option<u64>) -> TransmitPlan {
    let writer = FrameWriter::new(&profile(flows), TAG, 0, 1).unwrap();
    TransmitPlan { writer, pps, duration_ticks, packets, burst: 32 }
}

fn go() -> Signal {
    let signal = Signal::default();
    signal.go();
    signal
}

/// Sends `packets` over `flows` through a link with the given fates, then receives what arrived `delay` ticks later.
fn run(flows: u32, packets: u64, delay: u64, fate: impl FnMut(u64) -> Fate) -> (TransmitOutcome, Analysis) {
    let (mut sender, mut receiver) = link(head(), fate);
    let clock = SteppingClock::new(10);
    let signal = go();
    let sent = transmit(
        &mut sender,
        &clock,
        plan(flows, None, Some(packets), None),
        &signal,
        &TransmitBlock::default(),
    );
    clock.advance(delay);
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows });
    let published = ReceiveBlock::default();
    receive(&mut receiver, &clock, &mut analysis, &signal, &published);
    assert_eq!(published.read(), *analysis.counters(), "what is published is what was counted");
    (sent, analysis)
}

#[test]
fn a_perfect_link_delivers_everything() {
    let (sent, received) = run(100, 10_000, 0, |_| Fate::Deliver);
    assert_eq!((sent.counters.packets, sent.counters.bytes, sent.unsent), (10_000, 600_000, 0));
    assert_eq!(sent.limit, Some(Ended::Packets));
    assert_eq!((received.counters().packets, received.sequence_gaps()), (10_000, 0));
}

#[test]
fn losses_are_counted_to_the_packet() {
    let lost = (0..10_000u64).filter(|n| n % 7 == 3).count() as u64;
    let (sent, received) = run(10, 10_000, 0, |n| if n % 7 == 3 { Fate::Lose } else { Fate::Deliver });
    assert_eq!(sent.counters.packets, received.counters().packets + lost);
    assert_eq!(received.counters().out_of_order + received.counters().duplicates, 0);
}

#[test]
fn duplicates_and_late_frames_are_counted_apart() {
    let (sent, received) = run(4, 8_000, 0, |n| match n % 100 {
        11 => Fate::Duplicate,
        50 => Fate::Overtaken(9),
        77 => Fate::Lose,
        _ => Fate::Deliver,
    });
    let counters = received.counters();
    assert_eq!(sent.counters.packets, 8_000);
    assert_eq!(counters.duplicates, 80);
    assert_eq!(counters.out_of_order, 80);
    assert_eq!(counters.packets, 8_000 - 80);
    assert_eq!(counters.frames, 8_000 - 80 + 80);
    assert_eq!(received.sequence_gaps(), 80);
}

#[test]
fn delay_is_measured_from_the_send_time() {
    let (_, received) = run(1, 1, 5_000, |_| Fate::Deliver);
    let latency = received.delays().read(1_000_000_000).unwrap();
    assert!((5_000..5_100).contains(&latency.summary.min), "{:?}", latency.summary);
}

#[test]
fn a_full_queue_neither_loses_nor_renumbers() {
    let (mut sender, mut receiver) = link(head(), |_| Fate::Deliver);
    sender.accepts = 5;
    let clock = SteppingClock::new(10);
    let signal = go();
    let published = TransmitBlock::default();
    let sent = transmit(&mut sender, &clock, plan(3, None, Some(1_000), None), &signal, &published);
    assert_eq!((sent.counters.packets, sent.unsent), (1_000, 0));
    assert!(sent.counters.queue_full > 0);
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: 3 });
    receive(&mut receiver, &clock, &mut analysis, &signal, &ReceiveBlock::default());
    assert_eq!((analysis.counters().packets, analysis.sequence_gaps()), (1_000, 0));
    assert_eq!(analysis.counters().out_of_order, 0);
}

#[test]
fn a_stuck_port_cannot_hold_the_loop() {
    let (mut sender, mut receiver) = link(head(), |_| Fate::Deliver);
    sender.capacity = 100;
    let clock = SteppingClock::new(1_000);
    let signal = go();
    let sent = transmit(
        &mut sender,
        &clock,
        plan(1, None, None, Some(1_000_000)),
        &signal,
        &TransmitBlock::default(),
    );
    assert_eq!((sent.counters.packets, sent.unsent, sent.limit), (100, 28, Some(Ended::Duration)));
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: 1 });
    receive(&mut receiver, &clock, &mut analysis, &signal, &ReceiveBlock::default());
    assert_eq!(
        (analysis.counters().packets, analysis.sequence_gaps()),
        (100, 0),
        "unsent frames leave no gap"
    );
}

#[test]
fn a_load_the_port_does_not_carry_is_accounted_for() {
    let (mut sender, _receiver) = link(head(), |_| Fate::Deliver);
    sender.capacity = 1_000;
    let clock = SteppingClock::new(100);
    let plan = plan(1, Some(1e6), None, Some(10_000_000));
    let sent = transmit(&mut sender, &clock, plan, &go(), &TransmitBlock::default());
    assert_eq!(sent.counters.packets + sent.unsent + sent.forgone, 10_000, "{sent:?}");
    assert_eq!(sent.counters.packets, 1_000);
    // Full after 1 ms of 10.
    assert!((8_900_000..9_000_100).contains(&sent.blocked), "{sent:?}");
}

#[test]
fn paced_trials_last_as_long_as_they_should() {
    for (pps, packets) in [(1e6, 5_000), (1e3, 10), (1.0, 2)] {
        let (mut sender, _receiver) = link(head(), |_| Fate::Lose);
        let clock = SteppingClock::new(100);
        let sent = transmit(
            &mut sender,
            &clock,
            plan(1, Some(pps), Some(packets), None),
            &go(),
            &TransmitBlock::default(),
        );
        let seconds = (sent.ended - sent.began) as f64 / 1e9;
        assert_eq!(sent.counters.packets, packets);
        assert!(
            (packets as f64 / seconds / pps - 1.0).abs() < 0.001,
            "{packets} in {seconds} s at {pps} pps"
        );
    }
}

#[test]
fn the_signal_ends_a_loop_before_its_limits() {
    let signal = go();
    signal.stop();
    let (mut sender, _receiver) = link(head(), |_| Fate::Deliver);
    let clock = SteppingClock::new(10);
    let sent = transmit(&mut sender, &clock, plan(1, None, None, None), &signal, &TransmitBlock::default());
    assert_eq!((sent.counters.packets, sent.limit), (0, None));
}
