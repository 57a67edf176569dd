use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use linerate_wire::streams::StreamKey;

use super::connections::{self, Target};
use super::outcome::{Shared, StreamTally, Tally};
use super::pace::Pace;
use super::result::{Times, forgone_words, time_lines};
use super::stream::{Asker, Asking};
use super::{ExchangeKind, ExchangeSpec, distribution};
use crate::streams::header::HEADER_BYTES;
use crate::streams::socket::Place;

const REQUESTS: u64 = 10;
const INTERVAL: Duration = Duration::from_millis(100);

/// A schedule whose requests were all due before now, as after a stall.
fn behind(kind: ExchangeKind) -> Asking {
    let interval_ns = INTERVAL.as_nanos() as u64;
    let end_ns = monotonic_ns();
    let start_ns = end_ns - REQUESTS * interval_ns;
    Asking {
        kind,
        request_bytes: 1,
        response_bytes: 1,
        pace: Some(Pace { start_ns, per_second: 1e9 / interval_ns as f64, streams: 1, stream: 0 }),
        start_ns,
        end_ns,
    }
}

/// Answers `count` requests of `bytes` bytes each.
fn answer(mut stream: TcpStream, bytes: usize, count: u64) {
    let mut request = vec![0; bytes];
    for _ in 0..count {
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&[1]).unwrap();
    }
}

/// The k-th request was due k intervals before the end, whenever it left.
fn waited_since_they_were_due(stream: &StreamTally) {
    let Tally { requests, responses, corrected, application, .. } = &stream.idle;
    assert_eq!((*requests, *responses), (REQUESTS, REQUESTS), "{stream:?}");
    let interval_ns = INTERVAL.as_nanos() as u64;
    let (corrected, application) = (distribution(corrected).unwrap(), distribution(application).unwrap());
    assert_eq!(corrected.histogram.iter().map(|(_, count)| count).sum::<u64>(), REQUESTS);
    let (told, service) = (corrected.summary, application.summary);
    assert!(told.max >= REQUESTS * interval_ns && told.min >= interval_ns, "{told:?}");
    assert!(told.mean >= service.mean + (REQUESTS + 1) * interval_ns / 2, "{told:?} {service:?}");
}

#[test]
fn requests_that_leave_late_are_timed_from_when_they_were_due() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = listener.accept().unwrap().0;
    let server = std::thread::spawn(move || answer(peer, 1, REQUESTS));
    let shared = Shared::default();
    let stream = Asker::new(socket.into(), behind(ExchangeKind::Tcp), &shared).run();
    server.join().unwrap();
    waited_since_they_were_due(&stream);
}

#[test]
fn requests_that_a_stall_keeps_back_beyond_the_load_are_of_the_load() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = listener.accept().unwrap().0;
    let server = std::thread::spawn(move || answer(peer, 1, REQUESTS));
    let (shared, asking) = (Shared::default(), behind(ExchangeKind::Tcp));
    let before = 3;
    shared.load_from_ns.store(asking.due_ns(before).unwrap(), Ordering::Relaxed);
    shared.load_until_ns.store(asking.end_ns, Ordering::Relaxed);
    let stream = Asker::new(socket.into(), Asking { end_ns: u64::MAX, ..asking }, &shared).run();
    server.join().unwrap();
    assert_eq!((stream.idle.requests, stream.loaded.requests), (before, REQUESTS - before));
    assert_eq!((stream.idle.responses, stream.loaded.responses), (before, REQUESTS - before));
}

#[test]
fn connections_that_are_made_late_are_timed_from_when_they_were_due() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target {
        to: listener.local_addr().unwrap(),
        place: Place::default(),
        key: StreamKey([7; 16]),
        spec: spec(ExchangeKind::Connect, Some(10.0)),
    };
    let server = std::thread::spawn(move || {
        for _ in 0..REQUESTS {
            answer(listener.accept().unwrap().0, HEADER_BYTES + 1, 1);
        }
    });
    let stream = connections::run(&target, behind(ExchangeKind::Connect), 0, &Shared::default());
    server.join().unwrap();
    waited_since_they_were_due(&stream);
}

fn spec(kind: ExchangeKind, per_second: Option<f64>) -> ExchangeSpec {
    ExchangeSpec {
        kind,
        streams: 1,
        request_bytes: 1,
        response_bytes: 1,
        per_second,
        duration_ms: None,
        client_closes: false,
    }
}

#[test]
fn requests_that_were_not_sent_have_a_remedy_unless_the_trial_was_broken_off() {
    assert_eq!(forgone_words(1, true), "1 request was due and not sent");
    let words = forgone_words(3, false);
    assert!(words.starts_with("3 requests were due and not sent: a lower rate"), "{words}");
}

#[test]
fn times_say_which_to_believe_and_how_far_they_are_known() {
    let mut tally = Tally { requests: 4, lost: 1, ..Tally::default() };
    for (sent_ns, due_ns) in [(1_000, 1_000), (2_000_000, 1_000), (3_000_000, 1_000)] {
        tally.record_answer(sent_ns + 100, sent_ns, Some(due_ns));
    }
    let at_rate = Times::of(&spec(ExchangeKind::Udp, Some(10.0)), &tally, 1, None);
    assert_eq!((at_rate.believe, at_rate.left_out), ("corrected", 2));
    assert_eq!(at_rate.known_up_to_percent, Some(60.0));
    assert!(at_rate.corrected_ns.unwrap().max > 100 * at_rate.application_ns.unwrap().max);
    let all = |histogram: &[(u64, u64)]| histogram.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!((all(&at_rate.histogram), all(&at_rate.corrected_histogram)), (3, 3));
    let lines = time_lines(&at_rate);
    assert!(
        lines[0].starts_with("  corrected ") && lines[0].ends_with("max 3.00 ms  <- believe this"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.contains("2 requests have no time")), "{lines:?}");
    // Without a rate nothing is due: there is one time.
    let mut tally = Tally { requests: 1, ..Tally::default() };
    tally.record_answer(1_100, 1_000, None);
    let in_turn = Times::of(&spec(ExchangeKind::Udp, None), &tally, 0, None);
    assert_eq!((in_turn.believe, in_turn.left_out, in_turn.corrected_ns), ("application", 0, None));
    assert!(!time_lines(&in_turn).concat().contains("believe"));
}
