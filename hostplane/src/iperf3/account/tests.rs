use linerate_iperf3::results::{Results, StreamResults};
use linerate_wire::streams::{CpuUse, SendingEnd, SendingReport, SentStream};
use linerate_wire::streams::{Load, Protocol, ReceivedStream, ReceivingReport, StreamEnd, StreamsSpec};

use super::*;
use crate::iperf3::outcome::{Ends, Recording};
use crate::spec::{Directions, tcp_spec};
use crate::streams::counters::StreamCounters;
use crate::streams::report::EndReport;

pub(in super::super) fn trial(protocol: Protocol, directions: Directions) -> TrialSpec {
    let each = StreamsSpec { protocol, block_bytes: 1000, load: Load::BitsPerSecond(8e6), ..tcp_spec() };
    TrialSpec { directions, interval_ms: 1000, server_cpu: None, each }
}

pub(in super::super) fn sent(bytes: u64, datagrams: u64) -> SentStream {
    SentStream {
        stream: 0,
        local: None,
        peer: None,
        bytes,
        acked_bytes: Some(bytes).filter(|_| datagrams == 0),
        datagrams,
        calls: 1,
        full: 0,
        full_s: 0.0,
        refused: 0,
        foreign_bytes: 0,
        buffer_bytes: None,
        congestion: None,
        tcp: None,
        incoming_cpu: None,
        end: StreamEnd::complete(),
    }
}

pub(in super::super) fn received(bytes: u64, datagrams: u64) -> ReceivedStream {
    ReceivedStream {
        stream: 0,
        local: None,
        peer: None,
        bytes,
        kernel_bytes: None,
        datagrams,
        calls: 1,
        duplicates: 0,
        reordered: 0,
        largest_extent: 0,
        missing: 0,
        foreign: 0,
        socket_drops: Some(0),
        jitter_ns: None,
        delay_ns: None,
        buffer_bytes: None,
        tcp: None,
        incoming_cpu: None,
        end: StreamEnd::complete(),
    }
}

pub(in super::super) fn report(sent: Option<SentStream>, received: Option<ReceivedStream>) -> EndReport {
    EndReport {
        sending: sent.map(|stream| SendingReport {
            duration_s: 1.0,
            ended: SendingEnd::Stopped,
            forgone: 0,
            streams: vec![stream],
        }),
        receiving: received.map(|stream| ReceivingReport {
            duration_s: Some(1.0),
            first_s: Some(0.0),
            latency: None,
            beyond_memory: 0,
            extents: (0, 0.0, 0),
            streams: vec![stream],
        }),
        workers: Vec::new(),
        throttling: None,
        cpu: CpuUse::default(),
        notes: Vec::new(),
    }
}

/// The peer's results of one stream.
pub(in super::super) fn says(bytes: u64, packets: i64, errors: i64) -> Results {
    let stream = StreamResults {
        id: 1,
        bytes,
        packets,
        errors,
        omitted: Some((0, 0)),
        times_s: Some((0.0, 1.0)),
        ..StreamResults::default()
    };
    Results { streams: vec![stream], ..Results::default() }
}

pub(in super::super) fn result(
    role: Role,
    spec: TrialSpec,
    own: EndReport,
    foreign: Option<Results>,
) -> TestResult {
    let address = "127.0.0.1:5201".parse().unwrap();
    TestResult::of(&Outcome {
        role,
        ends: Ends { local: address, peer: address, cookie: String::new(), peer_version: None },
        spec,
        omit_s: 0,
        began_unix_s: 0.0,
        own,
        foreign,
        omitted: None,
        recording: Recording::default(),
        interrupted: false,
        failure: None,
        remarks: Vec::new(),
    })
}

fn sum(result: &TestResult) -> (Option<u64>, Option<u64>, Option<u64>) {
    let udp = result.directions[0].figures.udp.as_ref().unwrap();
    (udp.sent, udp.received, udp.lost)
}

#[test]
fn bytes_agree_or_the_difference_is_told() {
    let spec = || trial(Protocol::Tcp, Directions::Forward);
    let receives = |here, there| {
        result(Role::Server, spec(), report(None, Some(received(here, 0))), Some(says(there, 0, 0)))
    };
    let same = receives(5000, 5000);
    assert!(same.complete && same.disagreements.is_empty());
    assert_eq!(same.directions[0].figures.sent_bytes, Some(5000));
    let more = receives(5000, 4000);
    assert!(
        more.complete
            && more.disagreements[0].contains("5000 bytes were received, and the peer counted 4000")
    );
    let fewer = receives(4000, 5000);
    assert!(!fewer.complete && fewer.failures[0].contains("4000 of the 5000 bytes"), "{:?}", fewer.failures);
    let sends = |here, there| {
        result(Role::Client, spec(), report(Some(sent(here, 0)), None), Some(says(there, 0, 0)))
    };
    let unread = sends(5000, 4000);
    assert!(unread.complete && unread.disagreements[0].contains("its kernel acknowledged 5000"));
    assert!(!sends(4000, 5000).complete, "more than was sent");
    let silent = result(Role::Client, spec(), report(Some(sent(1, 0)), None), None);
    assert!(!silent.complete && silent.failures[0].contains("told no results"), "{:?}", silent.failures);
    assert_eq!(silent.directions[0].figures.received_bytes, None, "unknown, not 0");
}

#[test]
fn datagrams_are_those_that_kernels_took_and_programs_read() {
    let spec = || trial(Protocol::Udp, Directions::Forward);
    let receives = |here: u64, bytes, packets| {
        let own = report(None, Some(received(1000 * here, here)));
        result(Role::Server, spec(), own, Some(says(bytes, packets, 0)))
    };
    assert_eq!(sum(&receives(90, 100_000, 100)), (Some(100), Some(90), Some(10)));
    // Numbered, and refused by the client's own kernel.
    let refused = receives(90, 95_000, 100);
    assert_eq!(sum(&refused), (Some(95), Some(90), Some(5)));
    assert!(refused.disagreements[0].contains("numbered 5 datagrams that its own kernel did not take"));
    // A counter of 32 bits that has overflowed.
    let overflowed = receives(90, 100_000, -5);
    assert!(!overflowed.complete && overflowed.failures[0].contains("has overflowed"));
    let duplicated = receives(101, 100_000, 100);
    assert!(!duplicated.complete);
    assert_eq!(sum(&duplicated), (Some(100), Some(101), None), "loss is not known");
}

#[test]
fn iperf3s_own_loss_is_not_copied() {
    let sends = |role, directions, bytes, packets, errors| {
        let own = report(Some(sent(100_000, 100)), None);
        result(role, trial(Protocol::Udp, directions), own, Some(says(bytes, packets, errors)))
    };
    // The last two were lost: the server does not see them.
    let tail = sends(Role::Client, Directions::Forward, 95_000, 98, 3);
    assert_eq!(sum(&tail), (Some(100), Some(95), Some(5)));
    assert!(tail.disagreements[0].contains("5 datagrams were lost, and the peer says 3"));
    // A client that ends its test while this end sends.
    let ended = sends(Role::Server, Directions::Reverse, 95_000, 97, 2);
    assert_eq!(sum(&ended), (Some(100), Some(95), None));
    assert!(ended.complete && ended.disagreements[0].contains("whether the last 3 arrived"));
    let whole = sends(Role::Server, Directions::Reverse, 100_000, 100, 0);
    assert_eq!((sum(&whole).2, whole.disagreements.len()), (Some(0), 0));
    let old = Results {
        streams: vec![StreamResults { id: 1, bytes: 100_000, packets: 100, ..StreamResults::default() }],
        ..Results::default()
    };
    let own = report(Some(sent(100_000, 100)), None);
    let old = result(Role::Client, trial(Protocol::Udp, Directions::Forward), own, Some(old));
    assert!(old.remarks[0].contains("before 3.13"), "{:?}", old.remarks);
}

#[test]
fn what_is_told_counts_from_the_end_of_the_omitted_beginning() {
    let spec = trial(Protocol::Udp, Directions::Forward);
    let own = [OwnStream { stream: 0, bytes: 90_000, datagrams: 90, missing: 8, ..OwnStream::default() }];
    let before = StreamCounters { bytes: 30_000, datagrams: 30, missing: 4, ..StreamCounters::default() };
    let foreign = says(70_000, 100, 0);
    let telling = Telling {
        role: Role::Server,
        trial: &spec,
        foreign: Some(&foreign),
        omitted: Some(&[(0, before)]),
        seconds: 2.0,
        cpu: [0.0; 3],
        congestion: None,
    };
    let told = results(&own, &telling);
    let stream = &told.streams[0];
    assert_eq!((stream.id, stream.bytes), (1, 60_000));
    // Two more were lost after the last one that arrived.
    assert_eq!((stream.packets, stream.errors, stream.omitted), (100, 10, Some((4, 34))));
    assert_eq!((told.sender_has_retransmits, stream.retransmits), (-1, None));
}
