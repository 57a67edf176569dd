use linerate_experiment::strategy::{PathLimit, PathOutcome};
use linerate_traffic::profile::Field;
use linerate_wire::counters::PortCounters;
use linerate_wire::loss::LossTimeline;
use linerate_wire::report::Part;
use linerate_wire::report::{
    Distribution, FlowDelay, FlowReport, ForeignFrames, Latency, LatencySummary, Reordering,
};

use linerate_wire::time::{ClockReading, Throttling, TickRate, TrialClock};

use super::*;
use crate::fixtures::{report, rx, trial, tx, with_clock};
use crate::store::record::TrialRecord;
use crate::store::report::TrialReport;
use crate::verdict::VerdictKind;

fn flow() -> FlowReport {
    FlowReport {
        flow: 0,
        sent: Some(12),
        received: 9,
        lost: 3,
        duplicates: 2,
        reordered: 1,
        largest_extent: 4,
        delay_ns: None,
    }
}

/// An agent that sent and received, on lcores 1 and 2.
fn exchange(sent: u64, received: u64) -> TrialReport {
    let mut report = TrialReport {
        transmit: tx(sent).transmit,
        receive: rx(received).receive,
        ended: Ended::Settled,
        lcores: vec![1, 2],
        ..report(Part::Exchange)
    };
    report.transmit.as_mut().unwrap().packets_per_lcore = vec![sent];
    report
}

#[test]
fn in_a_round_trip_the_transmitter_has_the_times_and_the_reflector_the_place_of_loss() {
    let trial = trial();
    let mut reflector = TrialReport { ended: Ended::Stopped, ..exchange(970, 990) };
    reflector.transmit.as_mut().unwrap().unsent_packets = 20;
    let clock = ClockVerdict {
        one_way_valid: false,
        round_trip_valid: true,
        reason: String::new(),
        source: "tsc".into(),
    };
    let subject = Subject {
        trial: &trial,
        traffic: &trial.profile,
        pair: "tx0-rx0",
        tx: "tx0",
        rx: "tx0",
        macs: (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])),
        clock: &clock,
        direction: Direction::RoundTrip,
        reflector: Some(("rx0", &reflector)),
    };
    let both = exchange(1000, 960);
    let result = figures(subject, &both, &both).unwrap();
    assert_eq!((result.sent_packets, result.received_packets, result.lost_packets), (1000, 960, 40));
    assert!(result.latency_ns.is_none() && result.latency_variation_ns.is_none());
    assert!(result.round_trip_ns.is_some() && result.round_trip_variation_ns.is_some());
    assert_eq!((result.tx_lcores[0].lcore, result.rx_lcores[0].lcore), (1, 2));
    assert_eq!(result.disagreements, ["tx0: packets differ", "rx0: packets differ"]);
    let reflector = result.reflector.unwrap();
    assert_eq!((reflector.received_packets, reflector.dropped_packets), (990, 20));
    // Half of the lost packets were not sent back by the reflector.
    assert_eq!(result.verdict.kind, VerdictKind::ReceiverLimited);
    let said = "10 did not reach the reflector, which dropped 20 more; 10 did not come back";
    assert!(result.verdict.evidence.contains(said), "{}", result.verdict.evidence);
}

#[test]
fn what_is_sent_is_received_or_lost() {
    let result = with_clock(true, &tx(1000), &rx(990)).unwrap();
    assert_eq!((result.sent_packets, result.received_packets, result.lost_packets), (1000, 990, 10));
    assert_eq!((result.offered_pps, result.received_pps), (500.0, 495.0));
    assert_eq!(result.verdict.kind, VerdictKind::PathLimited);
    assert_eq!(result.disagreements, ["tx0: packets differ", "rx0: packets differ"]);
}

#[test]
fn packets_of_others_and_failed_sends_are_noted_without_loss_too() {
    let (mut sender, mut receiver) = (tx(1000), rx(1000));
    receiver.receive.as_mut().unwrap().counters.stale = 7;
    let port = PortCounters { tx_packets: 998, tx_errors: 2, ..PortCounters::default() };
    sender.port = Some(port);
    let result = with_clock(true, &sender, &receiver).unwrap();
    assert_eq!((result.lost_packets, result.verdict.kind), (0, VerdictKind::Clean), "{:?}", result.verdict);
    let said = |part: &str| result.notes.iter().any(|note| note.contains(part));
    assert!(said("rx0: 7 packets of another path or trial arrived"), "{:?}", result.notes);
    assert!(said("tx0: the port counts 2 failed packets"), "{:?}", result.notes);
    let lossy =
        with_clock(true, &sender, &TrialReport { port: Some(PortCounters::default()), ..rx(998) }).unwrap();
    assert_eq!(lossy.verdict.kind, VerdictKind::PortLimited, "{:?}", lossy.verdict);
    let outcome = PathOutcome::from(&lossy);
    assert_eq!((outcome.sender_lost, outcome.limit), (2, Some(PathLimit::Port)));
}

#[test]
fn a_delay_needs_a_common_clock() {
    let mut report = rx(10);
    let delay_ns = Some(FlowDelay { min: 1, mean: 2, max: 3 });
    report.receive.as_mut().unwrap().worst_flows = vec![FlowReport { delay_ns, ..flow() }];
    for valid in [true, false] {
        let result = with_clock(valid, &tx(10), &report).unwrap();
        let delays = [result.latency_ns.is_some(), result.latency_variation_ns.is_some()];
        assert_eq!(delays, [valid; 2]);
        assert_eq!(result.worst_flows[0].delay_ns, delay_ns.filter(|_| valid));
    }
}

#[test]
fn clocks_out_of_step_and_wrong_counts_are_noted() {
    let mut report = rx(10);
    let receive = report.receive.as_mut().unwrap();
    receive.sequence_gaps = 3;
    receive.latency.as_mut().unwrap().negative = 2;
    let result = with_clock(true, &tx(10), &report).unwrap();
    assert!(result.latency_ns.is_none() && result.clock.reason.contains("2 packets"), "{:?}", result.clock);
    assert!(result.disagreements.iter().any(|text| text.contains("3 sequence numbers")));
}

#[test]
fn contradictions_are_no_result() {
    let message = with_clock(true, &tx(10), &rx(11)).unwrap_err().to_string();
    assert!(message.contains("rx0 counted 11") && message.contains("the 10 that tx0 sent"), "{message}");
    let expired = TrialReport { ended: Ended::Expired, ..rx(9) };
    assert!(with_clock(true, &tx(10), &expired).unwrap_err().to_string().contains("drain.limit"));
    let orphaned = TrialReport { ended: Ended::Orphaned, ..tx(10) };
    assert!(with_clock(true, &orphaned, &rx(10)).unwrap_err().to_string().contains("orphan time"));
    assert!(matches!(with_clock(true, &rx(10), &rx(10)), Err(NoResult::WrongRole { .. })));
    assert!(matches!(with_clock(true, &tx(10), &tx(10)), Err(NoResult::WrongRole { .. })));
}

#[test]
fn what_both_ends_report_is_in_the_figures() {
    let times = |mean| LatencySummary { mean, ..LatencySummary::default() };
    let mut sender = tx(1000);
    sender.notes = vec!["a note".into()];
    sender.lcores = vec![4, 6];
    let transmit = sender.transmit.as_mut().unwrap();
    transmit.packets_per_lcore = vec![600, 400];
    transmit.headroom = vec![0.25, 0.5];
    transmit.inter_departure = Some(Distribution { summary: times(70), histogram: vec![] });
    let mut receiver = rx(800);
    let receive = receiver.receive.as_mut().unwrap();
    receive.counters.bad_probes = 5;
    receive.counters.bad_checksums = 7;
    receive.counters.foreign = 3;
    receive.counters.out_of_order = 8;
    receive.foreign = ForeignFrames { arp: 1, ipv6: 2, ..ForeignFrames::default() };
    receive.reordering = Some(Reordering { packets: 8, extents: 7, extent_mean: 1.5, extent_max: 3 });
    receive.headroom = vec![0.01];
    receive.frames_per_queue = vec![500, 315];
    receive.latency = Some(Latency { variation: times(30), ..Latency::default() });
    receive.silent_flows = 2;
    receive.worst_flows = vec![flow()];

    let result = with_clock(true, &sender, &receiver).unwrap();
    let lcore =
        |lcore, packets, headroom| LcoreSummary { lcore, packets, headroom: Some(headroom), cpu_time: None };
    assert_eq!(result.tx_lcores, [lcore(4, 600, 0.25), lcore(6, 400, 0.5)]);
    assert_eq!(result.rx_lcores, [lcore(1, 800, 0.01)]);
    assert_eq!(result.rx_queue_frames, [500, 315]);
    assert_eq!(result.notes, ["tx0: a note"]);
    assert_eq!((result.bad_probe_packets, result.bad_checksum_packets, result.silent_flows), (5, 7, 2));
    assert_eq!((result.foreign.arp, result.foreign.ipv6, result.foreign_packets), (1, 2, 3));
    let expected = ReorderingSummary {
        packets: 8,
        ratio: 0.01,
        extents: 7,
        extent_mean: Some(1.5),
        extent_max: Some(3),
    };
    assert_eq!(result.reordering, expected);
    assert_eq!(result.inter_departure_ns, Some(times(70)));
    assert_eq!(result.latency_variation_ns, Some(times(30)));
    let [worst] = &result.worst_flows[..] else { panic!("{:?}", result.worst_flows) };
    assert_eq!((worst.lost_packets, worst.header[&Field::SourceIp].as_str()), (3, "192.168.1.1"));
    assert_eq!(result.verdict.kind, VerdictKind::ReceiverLimited);
    assert!(result.verdict.evidence.contains("lcore 1 had 1.00 %"), "{}", result.verdict.evidence);
}

#[test]
fn a_load_that_missed_the_intended_one_is_noted() {
    assert!(!with_clock(true, &tx(1000), &rx(1000)).unwrap().offered_missed_intended);
    let result = with_clock(true, &tx(900), &rx(800)).unwrap();
    assert!(result.offered_missed_intended);
    assert!(result.verdict.evidence.contains("besides, offered 450 of 500"), "{}", result.verdict.evidence);
}

#[test]
fn without_an_intended_load_there_is_no_headroom() {
    let mut sender = tx(10);
    let transmit = sender.transmit.as_mut().unwrap();
    (transmit.intended_pps, transmit.packets_per_lcore, transmit.headroom) = (None, vec![10], vec![0.0]);
    assert_eq!(with_clock(true, &sender, &rx(10)).unwrap().tx_lcores[0].headroom, None);
}

#[test]
fn time_without_a_cpu_and_the_clocks_of_both_agents_are_noted() {
    let worker = |lcore, waited_s| WorkerTime {
        lcore,
        cpu: Some(0),
        elapsed_s: 2.0,
        waited_s: Some(waited_s),
        ..WorkerTime::default()
    };
    let rate = TickRate::new(2_100_000_000, 2_095_000_000, 0.5);
    let reading = ClockReading::default();
    let mut sender = tx(900);
    sender.clock = Some(TrialClock { start: reading, end: reading, rate });
    sender.workers = vec![worker(1, 0.9)];
    sender.throttling = Some(Throttling { quota_cpus: Some(0.5), periods: 3, stopped_s: 0.8 });
    sender.transmit.as_mut().unwrap().packets_per_lcore = vec![900];
    let mut receiver = rx(900);
    receiver.workers = vec![worker(1, 0.0)];
    let result = with_clock(true, &sender, &receiver).unwrap();
    assert_eq!(result.tx_lcores[0].cpu_time, Some(worker(1, 0.9)));
    assert_eq!(result.rx_lcores[0].cpu_time, Some(worker(1, 0.0)));
    assert_eq!(result.tick_rates.values().collect::<Vec<_>>(), [&rate], "the receiver did not tell");
    assert_eq!(result.throttling.len(), 1);
    assert_eq!(result.verdict.kind, VerdictKind::GeneratorLimited);
    for part in ["lcore 1 waited for CPU 0 45.0 %", "stopped it for 0.800 s in 3 periods"] {
        assert!(result.verdict.evidence.contains(part), "{}", result.verdict.evidence);
    }
}

#[test]
fn times_of_losses_are_of_the_packets_lost() {
    let timeline = LossTimeline {
        interval_ns: 10_000_000,
        intervals: vec![(3, 5), (7, 1)],
        unplaced_packets: 1,
        first_ns: Some(31_000_000),
        last_ns: Some(79_000_000),
        ..LossTimeline::default()
    };
    let receiver = |received: u64| {
        let mut report = rx(received);
        report.receive.as_mut().unwrap().loss = Some(timeline.clone());
        report
    };
    let times = |received: u64| with_clock(true, &tx(1000), &receiver(received)).unwrap().loss_times.unwrap();
    let found = times(990);
    assert_eq!((found.placed_packets, found.unplaced_packets, found.intervals), (6, 4, 2));
    assert_eq!((found.first_ns, found.last_ns, found.reason), (Some(31_000_000), Some(79_000_000), None));
    let contradictory = times(996);
    assert_eq!((contradictory.placed_packets, contradictory.unplaced_packets), (0, 4));
    assert!(contradictory.reason.is_some() && contradictory.first_ns.is_none());
    assert_eq!(with_clock(true, &tx(1000), &rx(990)).unwrap().loss_times, None, "an older receiver");

    // The record has them once, with the packets lost.
    for (direction, received) in [(Direction::OneWay, 990), (Direction::RoundTrip, 990)] {
        let (here, there) = (Some(receiver(received)), Some(rx(received)));
        let (tx_report, rx_report) = if direction.is_round_trip() { (here, there) } else { (there, here) };
        let result = with_clock(true, &tx(1000), &receiver(received)).ok();
        let mut record = TrialRecord { tx: tx_report, rx: rx_report, result, ..TrialRecord::default() };
        record.settle_loss(direction);
        assert_eq!(record.loss.unwrap().unplaced_packets, 4, "{direction:?}");
        for report in [record.tx, record.rx] {
            assert_eq!(report.unwrap().receive.unwrap().loss, None);
        }
    }
}
