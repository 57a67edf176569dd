use std::io::Write;
use std::net::{SocketAddr, TcpListener};

use linerate_http::request::{Parts, Request};
use linerate_traffic::profile::StageRates;
use rustix::event::epoll::Event;

use super::super::spec::Arrivals;
use super::super::spec::tests::spec;
use super::super::transport::Plain;
use super::*;

fn worker(spec: HttpSpec) -> Worker<Plain> {
    let orders = Orders {
        start_ns: AtomicU64::new(NO_START),
        end: AtomicU8::new(RUN),
        requests_left: AtomicU64::new(u64::MAX),
    };
    Worker::new(Seat::new(0, None, &Arc::new(spec), &Arc::new(orders)).unwrap(), ())
}

/// One connection to an address.
fn towards(address: SocketAddr) -> HttpSpec {
    HttpSpec { connections: 1, ..spec(&format!("http://{address}/")) }
}

fn open(rate: f64, spec: HttpSpec) -> HttpSpec {
    let stages = vec![StageRates::steady(rate)];
    HttpSpec { load: HttpLoad::Open { stages, arrivals: Arrivals::Constant, seed: 1 }, ..spec }
}

fn begin(worker: &mut Worker<Plain>, start_ns: u64) {
    worker.start_ns = start_ns;
    worker.begin_sending(monotonic_ns());
}

fn look(worker: &mut Worker<Plain>) {
    worker.wait(false, &mut Vec::<Event>::with_capacity(EVENTS));
}

const REFUSAL: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_comes_with_a_connection_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = HttpSpec { requests: Some(1), ..towards(listener.local_addr().unwrap()) };
    // A request waits for the connection: it is answered.
    let mut one = worker(spec.clone());
    begin(&mut one, monotonic_ns());
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(REFUSAL).unwrap();
    look(&mut one);
    assert_eq!((one.counts.answered, one.counts.status_5xx), (1, 1), "{:?}", one.counts);
    // No request waits: nobody had asked.
    let mut one = worker(spec);
    one.connect(0, monotonic_ns());
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(REFUSAL).unwrap();
    look(&mut one);
    assert_eq!((one.counts.connected, one.counts.unsolicited), (1, 1), "{:?}", one.counts);
}

#[test]
fn a_reset_that_breaks_a_write_is_no_end_of_a_response() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = towards(listener.local_addr().unwrap());
    let target = format!("http://{}/", spec.addresses[0]).parse().unwrap();
    let body = vec![0; 8 << 20];
    let parts = Parts { method: "POST", headers: &[], body: &body, keep_alive: true, user_agent: "linerate" };
    let request = Request::new(&target, &parts).unwrap();
    let mut one = worker(HttpSpec { request, requests: Some(1), ..spec });
    begin(&mut one, monotonic_ns());
    let (mut peer, _) = listener.accept().unwrap();
    // Both sockets fill up.
    look(&mut one);
    assert_eq!((one.counts.busy, one.counts.written), (1, 1), "{:?}", one.counts);
    // Its end is that of the connection, which ends with a reset: the peer has not read the request.
    peer.write_all(b"HTTP/1.0 200 OK\r\n\r\npart").unwrap();
    drop(peer);
    one.write(0);
    assert_eq!((one.counts.answered, one.counts.failed_reset), (0, 1), "{:?}", one.counts);
}

#[test]
fn a_timer_that_fires_early_is_set_again() {
    let mut one = worker(open(1.0, towards("127.0.0.1:1".parse().unwrap())));
    (one.phase, one.start_ns) = (Phase::Armed, monotonic_ns() + 20_000_000);
    // As far as the worker knows the timer is set for its start.
    one.set_timer(one.start_ns, one.start_ns - 1);
    look(&mut one);
    assert!(monotonic_ns() < one.start_ns && one.timer_ns == 0);
    look(&mut one);
    assert!(monotonic_ns() >= one.start_ns - 1_000_000);
}

#[test]
fn connections_that_cannot_be_made_leave_time_for_other_things() {
    // There is no connection to a broadcast address; the kernel says so at once.
    let spec =
        HttpSpec { most_pending: 100, connections: 10, ..towards("255.255.255.255:80".parse().unwrap()) };
    let mut one = worker(open(100_000.0, spec));
    begin(&mut one, monotonic_ns() - 90_000_000);
    one.release(monotonic_ns());
    assert!((1..=2).contains(&one.counts.connect_failures), "{:?}", one.counts);
    assert!(one.counts.intended > 8_000 && one.counts.waiting == 100, "{:?}", one.counts);
    let end_ns = one.end_ns;
    one.end_sending(end_ns, monotonic_ns());
    let counts = one.counts;
    assert_eq!(
        (counts.intended, counts.sent + counts.skipped(), counts.busy),
        (10_000, 10_000, 0),
        "{counts:?}"
    );
}

#[test]
fn late_ends_count_what_was_due() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut one = worker(open(1000.0, towards(listener.local_addr().unwrap())));
    begin(&mut one, monotonic_ns() - 1_000_000_000);
    one.end_sending(one.end_ns, monotonic_ns());
    // The end is long ago: nothing is sent any more.
    assert_eq!((one.counts.intended, one.counts.sent, one.counts.skipped_at_end), (100, 0, 100));
}

mod http2;
