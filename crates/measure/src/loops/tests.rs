//! Both loops over the in-memory link: the report matches the link's behaviour to the packet.

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Profile, StageRates};
use linerate_wire::report::Ended;
use linerate_wire::time::WorkerTime;

use super::counters::{ReceiveBlock, TransmitBlock};
use super::memory_link::{Fate, SteppingClock, link};
use super::own_frames::OwnFrames;
use super::queue::{ReceiveQueue, ReceivedBurst};
use super::receive::receive;
use super::reflect::reflect;
use super::source::Source;
use super::stop::Signal;
use super::transmit::{TransmitOutcome, TransmitPlan, transmit};
use crate::analysis::{Analysis, Expect};
use crate::ceiling::Ceiling;
use crate::flows::FrameWriter;
use crate::frame::Frames;
use crate::mailbox::Mailbox;
use crate::pacer::Load;

const TAG: u16 = 0x1234;
/// Packets of a test; Miri has time for a fiftieth.
const PACKETS: u64 = if cfg!(miri) { 200 } else { 10_000 };
/// Time between two readings of the clock in tests whose loop polls for long.
const STEP_NS: u64 = if cfg!(miri) { 500 } else { 100 };
/// The same where a port that is full is asked again and again, for milliseconds.
const LONG_STEP_NS: u64 = if cfg!(miri) { 5_000 } else { 1_000 };

fn profile(document: &str) -> Profile {
    serde_json::from_str(document).unwrap()
}

fn flows(flows: u32) -> Profile {
    profile(&format!(r#"{{"flows": {flows}, "flowMode": "sd"}}"#))
}

fn template(profile: &Profile) -> Vec<u8> {
    Frames::new(profile, MacAddr([2; 6]), MacAddr([4; 6])).template()
}

/// A link for 64-byte frames.
fn plain_link<F: FnMut(u64) -> Fate>(
    fate: F,
) -> (super::memory_link::Sender<F>, super::memory_link::Receiver) {
    link(template(&flows(1)), fate)
}

fn plan_of(
    profile: &Profile,
    load: Option<Load>,
    packets: Option<u64>,
    duration_ticks: Option<u64>,
) -> TransmitPlan {
    let frames = Frames::new(profile, MacAddr([2; 6]), MacAddr([4; 6]));
    let writer = FrameWriter::new(profile, &frames, TAG, 0, 1).unwrap();
    TransmitPlan {
        source: Source::Flows(writer),
        load,
        ceilings: Vec::new(),
        duration_ticks,
        packets,
        burst: 32,
    }
}

fn plan(count: u32, pps: Option<f64>, packets: Option<u64>, duration_ticks: Option<u64>) -> TransmitPlan {
    plan_of(&flows(count), pps.map(Load::steady), packets, duration_ticks)
}

fn go() -> Signal {
    let signal = Signal::default();
    signal.go();
    signal
}

/// Sends `packets` of a profile through a link with the given fates, then receives the arrived frames `delay`
/// ticks later.
fn run_profile(
    profile: &Profile,
    packets: u64,
    delay: u64,
    fate: impl FnMut(u64) -> Fate,
) -> (TransmitOutcome, Analysis) {
    let (mut sender, mut receiver) = link(template(profile), fate);
    let clock = SteppingClock::new(10);
    let signal = go();
    let plan = plan_of(profile, None, Some(packets), None);
    let sent = transmit(&mut sender, &clock, plan, &signal, &TransmitBlock::default());
    clock.advance(delay);
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: profile.flows() });
    let published = ReceiveBlock::default();
    receive(&mut receiver, &clock, &mut analysis, &signal, &published);
    assert_eq!(published.read(), analysis.counters(1.0), "what is published is what was counted");
    (sent, analysis)
}

fn run(count: u32, packets: u64, delay: u64, fate: impl FnMut(u64) -> Fate) -> (TransmitOutcome, Analysis) {
    run_profile(&flows(count), packets, delay, fate)
}

#[test]
fn a_perfect_link_delivers_everything() {
    let (sent, received) = run(100, PACKETS, 0, |_| Fate::Deliver);
    assert_eq!((sent.counters.packets, sent.counters.bytes, sent.unsent), (PACKETS, 60 * PACKETS, 0));
    assert_eq!(sent.limit, Some(Ended::Packets));
    assert_eq!((received.counters(1.0).packets, received.sequence_gaps()), (PACKETS, 0));
}

#[test]
fn losses_are_counted_to_the_packet() {
    let lost = (0..PACKETS).filter(|n| n % 7 == 3).count() as u64;
    let (sent, received) = run(10, PACKETS, 0, |n| if n % 7 == 3 { Fate::Lose } else { Fate::Deliver });
    assert_eq!(sent.counters.packets, received.counters(1.0).packets + lost);
    assert_eq!(received.counters(1.0).out_of_order + received.counters(1.0).duplicates, 0);
}

#[test]
fn duplicates_and_late_frames_are_counted_apart() {
    let hundreds = PACKETS / 100;
    let (sent, received) = run(4, PACKETS, 0, |n| match n % 100 {
        11 => Fate::Duplicate,
        50 => Fate::Overtaken(9),
        77 => Fate::Lose,
        _ => Fate::Deliver,
    });
    let counters = received.counters(1.0);
    assert_eq!(sent.counters.packets, PACKETS);
    assert_eq!(counters.duplicates, hundreds);
    assert_eq!(counters.out_of_order, hundreds);
    assert_eq!(counters.packets, PACKETS - hundreds);
    assert_eq!(counters.frames, PACKETS - hundreds + hundreds);
    assert_eq!(received.sequence_gaps(), hundreds);
}

#[test]
fn delay_is_measured_from_the_send_time() {
    let (_, received) = run(1, 1, 5_000, |_| Fate::Deliver);
    let latency = received.delays().read_delays(1_000_000_000).unwrap();
    assert!((5_000..5_100).contains(&latency.summary.min), "{:?}", latency.summary);
}

#[test]
fn a_full_queue_neither_loses_nor_renumbers() {
    let (mut sender, mut receiver) = plain_link(|_| Fate::Deliver);
    sender.accepts = 5;
    let clock = SteppingClock::new(10);
    let signal = go();
    let published = TransmitBlock::default();
    let packets = PACKETS / 10;
    let sent = transmit(&mut sender, &clock, plan(3, None, Some(packets), None), &signal, &published);
    assert_eq!((sent.counters.packets, sent.unsent), (packets, 0));
    assert!(sent.counters.queue_full > 0);
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: 3 });
    receive(&mut receiver, &clock, &mut analysis, &signal, &ReceiveBlock::default());
    assert_eq!((analysis.counters(1.0).packets, analysis.sequence_gaps()), (packets, 0));
    assert_eq!(analysis.counters(1.0).out_of_order, 0);
}

#[test]
fn a_stuck_port_cannot_hold_the_loop() {
    let (mut sender, mut receiver) = plain_link(|_| Fate::Deliver);
    sender.capacity = 100;
    let clock = SteppingClock::new(LONG_STEP_NS);
    let signal = go();
    let sent =
        transmit(&mut sender, &clock, plan(1, None, None, Some(200_000)), &signal, &TransmitBlock::default());
    assert_eq!((sent.counters.packets, sent.unsent, sent.limit), (100, 28, Some(Ended::Duration)));
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: 1 });
    receive(&mut receiver, &clock, &mut analysis, &signal, &ReceiveBlock::default());
    assert_eq!(
        (analysis.counters(1.0).packets, analysis.sequence_gaps()),
        (100, 0),
        "unsent frames leave no gap"
    );
}

#[test]
fn a_load_the_port_does_not_carry_is_accounted_for() {
    let (mut sender, _receiver) = plain_link(|_| Fate::Deliver);
    sender.capacity = PACKETS as usize / 10;
    let clock = SteppingClock::new(STEP_NS);
    // A packet per microsecond.
    let duration_ns = PACKETS * 1_000;
    let plan = plan(1, Some(1e6), None, Some(duration_ns));
    let sent = transmit(&mut sender, &clock, plan, &go(), &TransmitBlock::default());
    assert_eq!(sent.counters.packets + sent.unsent + sent.forgone, PACKETS, "{sent:?}");
    assert_eq!(sent.counters.packets, PACKETS / 10);
    // The queue is full after a tenth of the time.
    let full = duration_ns * 9 / 10;
    assert!((full - 100_000..full + STEP_NS).contains(&sent.blocked), "{sent:?}");
}

#[test]
fn a_call_that_waits_for_the_port_counts_as_blocked_and_the_end_is_the_real_one() {
    // The port takes every burst, and from the tenth packet on after 20 ms only: 1,000 packets a second for
    // 100 ms, of a clock that shows nanoseconds.
    let clock = SteppingClock::new(LONG_STEP_NS);
    let slow = clock.clone();
    let (mut sender, _receiver) = plain_link(|n| {
        if n >= 10 && n % 2 == 0 {
            slow.advance(20_000_000);
        }
        Fate::Deliver
    });
    let plan = plan(1, Some(1e3), None, Some(100_000_000));
    let sent = transmit(&mut sender, &clock, plan, &go(), &TransmitBlock::default());
    assert_eq!((sent.limit, sent.blocked), (Some(Ended::Duration), 0), "{sent:?}");
    assert_eq!(sent.counters.packets + sent.unsent + sent.forgone, 100, "{sent:?}");
    assert_eq!(sent.ended - sent.began, 100_000_000, "{sent:?}");
    assert!(sent.overrun > 10_000_000, "the last call returned after the deadline: {sent:?}");
    let fast = sent.ended + sent.overrun - sent.began - sent.long_calls;
    assert!((9_000_000..20_000_000).contains(&fast), "{fast} of {sent:?}");

    // A thread that slept in its calls waited for its port; one that had no CPU did not.
    let counted = |off_cpu_s, waited_s| {
        let mut calls =
            TransmitOutcome { blocked: 3, long_calls: 1_000, overrun: 500, ended: 5_000, ..sent.clone() };
        calls.count_sleep(&WorkerTime { off_cpu_s, waited_s, ..WorkerTime::default() }, 1_000);
        (calls.blocked, calls.ended)
    };
    for (off_cpu_s, waited_s, expected) in [
        (1.0, Some(0.0), (1_003, 5_500)),
        (7.0, Some(0.0), (1_003, 5_500)),
        (1.0, Some(0.25), (753, 5_500)),
        (0.4, Some(0.0), (403, 5_400)),
        (2.0, Some(2.0), (3, 5_000)),
        (1.0, None, (3, 5_000)),
    ] {
        assert_eq!(counted(off_cpu_s, waited_s), expected, "{off_cpu_s} {waited_s:?}");
    }
}

#[test]
fn paced_trials_last_as_long_as_they_should() {
    let rows = [(1e6, 5_000), (1e3, 10), (1.0, 2)];
    // Ten million polls of an idle loop take Miri too long.
    for (pps, packets) in if cfg!(miri) { &[(1e6, 100)][..] } else { &rows } {
        let (pps, packets) = (*pps, *packets);
        let (mut sender, _receiver) = plain_link(|_| Fate::Lose);
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
    let (mut sender, _receiver) = plain_link(|_| Fate::Deliver);
    let clock = SteppingClock::new(10);
    let sent = transmit(&mut sender, &clock, plan(1, None, None, None), &signal, &TransmitBlock::default());
    assert_eq!((sent.counters.packets, sent.limit), (0, None));
}

#[test]
fn mixes_keep_their_shares_and_their_bytes() {
    let imix = profile(r#"{"flows": 5, "frameSize": "imix", "payload": "random:9"}"#);
    let rounds = if cfg!(miri) { 5 } else { 100 };
    let (sent, received) = run_profile(&imix, 12 * rounds, 0, |_| Fate::Deliver);
    let expected = rounds * (7 * 60 + 4 * 590 + 1514);
    assert_eq!((sent.counters.bytes, received.counters(1.0).bytes), (expected, expected));
    assert_eq!((received.counters(1.0).packets, received.counters(1.0).bad_checksums), (12 * rounds, 0));
}

#[test]
fn a_mix_through_a_full_queue_counts_the_bytes_it_sent() {
    let imix = profile(r#"{"frameSize": "64:1,1518:1"}"#);
    let (mut sender, mut receiver) = link(template(&imix), |_| Fate::Deliver);
    (sender.accepts, sender.capacity) = (3, 101);
    let clock = SteppingClock::new(LONG_STEP_NS);
    let signal = go();
    let plan = plan_of(&imix, None, None, Some(200_000));
    let sent = transmit(&mut sender, &clock, plan, &signal, &TransmitBlock::default());
    assert_eq!((sent.counters.packets, sent.counters.bytes), (101, 51 * 60 + 50 * 1514));
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: 1 });
    receive(&mut receiver, &clock, &mut analysis, &signal, &ReceiveBlock::default());
    assert_eq!(analysis.counters(1.0).bytes, sent.counters.bytes);
}

#[test]
fn reordering_is_reported_with_its_extent() {
    let (_, received) =
        run(1, PACKETS, 0, |n| if n % 100 == 50 { Fate::Overtaken(9) } else { Fate::Deliver });
    let reordering = received.reordering().unwrap();
    assert_eq!((reordering.packets, reordering.extents), (PACKETS / 100, PACKETS / 100));
    assert_eq!((reordering.extent_mean, reordering.extent_max), (9.0, 9));
}

#[test]
fn idle_time_and_departures_are_reported() {
    let (mut sender, _receiver) = plain_link(|_| Fate::Lose);
    let clock = SteppingClock::new(100);
    let sent = transmit(
        &mut sender,
        &clock,
        plan(1, Some(1e5), Some(PACKETS / 10), None),
        &go(),
        &TransmitBlock::default(),
    );
    // A packet every 10 µs, each sent within a poll of 100 ns.
    let idle = sent.idle as f64 / (sent.ended - sent.began) as f64;
    assert!((0.95..1.0).contains(&idle), "{idle}");
    let intervals = sent.departures.read(1_000_000_000).unwrap().summary;
    assert!(intervals.min >= 9_900 && intervals.max <= 10_100, "{intervals:?}");
}

#[test]
fn stages_are_followed_and_accounted_for() {
    let (mut sender, _receiver) = plain_link(|_| Fate::Lose);
    let clock = SteppingClock::new(STEP_NS);
    let seconds = if cfg!(miri) { 0.0005 } else { 0.002 };
    let stage = |from_per_s, to_per_s| StageRates { from_per_s, to_per_s, seconds };
    let load = Load::Stages { stages: vec![stage(1e5, 3e5), stage(1e5, 1e5)], burst: 1 };
    let plan = plan_of(&flows(1), Some(load), None, Some((2e9 * seconds) as u64));
    let sent = transmit(&mut sender, &clock, plan, &go(), &TransmitBlock::default());
    assert_eq!(sent.counters.packets + sent.forgone, (3e5 * seconds).round() as u64);
    assert!(sent.forgone <= 1, "{sent:?}");
}

#[test]
fn a_port_that_was_full_does_not_make_a_load_exceed_its_ceiling() {
    // A load of 1,000 packets in 10 ms, of which the ceiling admits 101; the port accepts 7 at a time.
    let (mut sender, mut receiver) = plain_link(|_| Fate::Deliver);
    let clock = SteppingClock::new(if cfg!(miri) { 20_000 } else { 1_000 });
    let mut plan = plan(1, Some(1e5), None, Some(20_000_000));
    plan.ceilings = vec![Ceiling::Packets(101)];
    sender.accepts = 7;
    let sent = transmit(&mut sender, &clock, plan, &go(), &TransmitBlock::default());
    assert!((200..=202).contains(&sent.counters.packets), "{sent:?}");
    assert_eq!(sent.counters.packets + sent.unsent + sent.forgone, 2_000, "{sent:?}");
    let signal = go();
    signal.stop();
    let mut analysis = Analysis::new(Expect::Trial { tag: TAG, flows: 1 });
    receive(&mut receiver, &clock, &mut analysis, &signal, &ReceiveBlock::default());
    assert_eq!((analysis.counters(1.0).packets, analysis.sequence_gaps()), (sent.counters.packets, 0));
}

#[test]
fn a_reflector_sends_the_ports_own_frames_too() {
    // Test frames arrive all the time, with frames among them that may ask for an address.
    let packets = if cfg!(miri) { 100 } else { 500 };
    let (mut far, mut arriving) = plain_link(|_| Fate::Deliver);
    let clock = SteppingClock::new(10);
    transmit(&mut far, &clock, plan(1, None, Some(packets), None), &go(), &TransmitBlock::default());
    let mut asks = vec![0; 60];
    asks[12..14].copy_from_slice(&[0x08, 0x06]);
    far.send_own(&asks);
    let (mut back, mut returning) = plain_link(|_| Fate::Deliver);
    let (mailbox, caught) = Mailbox::new();
    // A reflector receives no start signal.
    let signal = Signal::default();
    signal.send(vec![0xaa; 60]);
    signal.stop();
    let blocks = (&ReceiveBlock::default(), &TransmitBlock::default());
    let outcome = reflect(&mut arriving, &mut back, &clock, &signal, blocks, Some(&mailbox));
    assert_eq!((outcome.sent.packets, outcome.foreign.arp, signal.own_frames()), (packets, 1, (1, 60)));
    assert_eq!(caught.try_iter().map(|frame| frame.bytes().to_vec()).collect::<Vec<_>>(), [asks]);
    assert!(!signal.has_frames() && signal.stopped());
    let mut burst = Default::default();
    let mut frames = 0;
    while returning.receive(&mut burst) > 0 {
        let own = burst.frames().next().is_some_and(|frame| frame.bytes == [0xaa; 60]);
        assert_eq!(own, frames == 0, "it does not wait for the end");
        frames += burst.frames().count();
    }
    assert_eq!(frames as u64, packets + 1);
}
