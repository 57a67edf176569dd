use linerate_wire::streams::{CpuUse, ReceivedStream, SendingEnd, SentStream, StreamEnd};

use super::*;
use crate::result::interval::{Interval, intervals};
use crate::spec::Directions;

/// Bytes of a datagram.
const BYTES: u64 = 1000;

fn report(sending: Option<SendingReport>, receiving: Option<ReceivingReport>) -> EndReport {
    EndReport {
        sending,
        receiving,
        workers: Vec::new(),
        throttling: None,
        cpu: CpuUse::default(),
        notes: Vec::new(),
    }
}

fn sender(duration_s: f64, datagrams: u64) -> EndReport {
    let stream = SentStream {
        stream: 0,
        local: None,
        peer: None,
        bytes: datagrams * BYTES,
        acked_bytes: None,
        datagrams,
        calls: 0,
        full: 0,
        full_s: 0.0,
        refused: 0,
        foreign_bytes: 0,
        buffer_bytes: None,
        incoming_cpu: None,
        congestion: None,
        tcp: None,
        end: StreamEnd::complete(),
    };
    let ended = SendingEnd::Duration;
    report(Some(SendingReport { duration_s, ended, forgone: 0, streams: vec![stream] }), None)
}

fn receiver(duration_s: f64, datagrams: u64) -> EndReport {
    let stream = ReceivedStream {
        stream: 0,
        local: None,
        peer: None,
        bytes: datagrams * BYTES,
        kernel_bytes: None,
        datagrams,
        calls: 0,
        duplicates: 0,
        reordered: 0,
        largest_extent: 0,
        missing: 0,
        foreign: 0,
        socket_drops: None,
        jitter_ns: Some(5.4),
        delay_ns: None,
        buffer_bytes: None,
        incoming_cpu: None,
        tcp: None,
        end: StreamEnd::complete(),
    };
    let (latency, beyond_memory, extents) = (None, 0, (0, 0.0, 0));
    let duration_s = Some(duration_s);
    report(
        None,
        Some(ReceivingReport {
            duration_s,
            first_s: None,
            latency,
            beyond_memory,
            extents,
            streams: vec![stream],
        }),
    )
}

fn client(index: u32, at_ns: u64, datagrams: u64) -> EndSample {
    let sent = Some(SentSample { bytes: datagrams * BYTES, datagrams, ..SentSample::default() });
    EndSample { index, at_ns, sent, cpu_ns: at_ns / 2, ..EndSample::default() }
}

fn server(index: u32, at_ns: u64, datagrams: u64) -> EndSample {
    let received = Some(ReceivedSample {
        bytes: datagrams * BYTES,
        datagrams,
        delay_sum_ns: 70 * datagrams,
        stream_bytes: vec![datagrams * BYTES],
        ..ReceivedSample::default()
    });
    EndSample { index, at_ns, received, cpu_ns: at_ns / 2, ..EndSample::default() }
}

/// Bytes of all intervals, sent and received: rates times their lengths.
fn sums(all: &[Interval]) -> (u64, u64) {
    let mut begin = 0.0;
    let (mut sent, mut received) = (0.0, 0.0);
    for interval in all {
        let seconds = interval.end_s - begin;
        begin = interval.end_s;
        let direction = &interval.directions[0];
        sent += direction.sent.as_ref().unwrap().bps * seconds / 8.0;
        received += direction.received.as_ref().unwrap().bps * seconds / 8.0;
    }
    (sent.round() as u64, received.round() as u64)
}

fn shown(samples: &VecDeque<(EndSample, Option<EndSample>)>) -> Vec<Interval> {
    intervals(&Vec::from_iter(samples.iter().cloned()), Directions::Forward)
}

const S: u64 = 1_000_000_000;

#[test]
fn the_last_part_of_a_trial_is_an_interval() {
    let mut samples = VecDeque::from([
        (client(1, S, 400), Some(server(1, S, 399))),
        (client(2, 2 * S, 800), Some(server(2, 2 * S, 798))),
    ]);
    assert!(close(&mut samples, &sender(2.7, 1145), Some(&receiver(2.7001, 1140)), 1000));
    let all = shown(&samples);
    assert_eq!((all.len(), all[2].index, all[2].end_s), (3, 3, 2.7001));
    assert_eq!(sums(&all), (1_145_000, 1_140_000));
    let received = all[2].directions[0].received.as_ref().unwrap();
    assert_eq!((received.alive, received.jitter_ns, received.mean_delay_ns), (Some(1), 5, None));
    assert_eq!((all[1].client_cpus, all[2].client_cpus, all[2].server_cpus), (Some(0.5), None, None));
}

#[test]
fn a_trial_shorter_than_an_interval_has_one() {
    let mut samples = VecDeque::new();
    assert!(close(&mut samples, &sender(0.9, 90), Some(&receiver(0.8, 80)), 1000));
    assert_eq!((sums(&shown(&samples)), samples[0].0.at_ns), ((90_000, 80_000), 9 * S / 10));
    // Nothing but that the server's account is missing.
    let mut samples = VecDeque::new();
    assert!(close(&mut samples, &sender(0.9, 90), None, 1000));
    assert!(shown(&samples)[0].directions[0].received.is_none());
    let mut samples = VecDeque::new();
    assert!(!close(&mut samples, &sender(0.0, 0), None, 1000) && samples.is_empty());
}

#[test]
fn what_was_counted_while_samples_were_taken_is_in_the_last_one() {
    let samples = || VecDeque::from([(client(1, S + 9, 100), Some(server(1, S + 1, 98)))]);
    let mut late = samples();
    assert!(!close(&mut late, &sender(1.0, 100), Some(&receiver(1.000_000_005, 99)), 1000));
    let received = late[0].1.as_ref().unwrap().received.as_ref().unwrap();
    assert_eq!((late.len(), received.datagrams, late[0].0.at_ns), (1, 99, S + 9));
    let mean = shown(&late)[0].directions[0].received.as_ref().unwrap().mean_delay_ns;
    assert_eq!(mean, Some(70.0));
    // A rest is no interval of its own when it is short, with payload or without.
    for (sent, received) in [(100, 98), (104, 103)] {
        let mut short = samples();
        assert!(!close(&mut short, &sender(1.09, sent), Some(&receiver(1.08, received)), 1000));
        let all = shown(&short);
        assert_eq!((all.len(), all[0].end_s, sums(&all)), (1, 1.09, (sent * BYTES, received * BYTES)));
        // CPU time and delays were read before the rest.
        let delays = all[0].directions[0].received.as_ref().unwrap().mean_delay_ns;
        let cpus = [all[0].client_cpus, all[0].server_cpus].map(|cpus| (cpus.unwrap() * 1e6).round());
        assert_eq!((cpus, delays), ([5e5; 2], Some(70.0)));
    }
    let mut long = samples();
    assert!(close(&mut long, &sender(1.2, 100), Some(&receiver(1.0, 98)), 1000));
}

#[test]
fn a_server_that_ended_before_a_sample_is_in_it_with_its_account() {
    let mut samples =
        VecDeque::from([(client(1, S, 50), Some(server(1, S, 50))), (client(2, 2 * S, 60), None)]);
    close(&mut samples, &sender(1.5, 60), Some(&receiver(1.5, 60)), 1000);
    assert_eq!((samples.len(), sums(&shown(&samples))), (2, (60_000, 60_000)));
}

#[test]
fn no_interval_of_a_server_has_bytes_and_no_time() {
    // The server's reading is later than the client's next one.
    let mut samples =
        VecDeque::from([(client(1, S, 50), Some(server(1, 3 * S, 50))), (client(2, 2 * S, 60), None)]);
    close(&mut samples, &sender(1.5, 60), Some(&receiver(1.5, 60)), 1000);
    let all = shown(&samples);
    let rates = all.iter().map(|one| one.directions[0].received.as_ref().unwrap().bps);
    assert_eq!(rates.collect::<Vec<_>>(), [60_000.0 * 8.0 / 3.0, 0.0]);
}
