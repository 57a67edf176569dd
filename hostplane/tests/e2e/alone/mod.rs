//! Tests that hold rates to limits: they need the CPUs to themselves.

mod diagnose;
mod observed;

use crate::common::{Server, exact_bytes, exact_datagrams, float, number, result};

/// Sampled rates, in bits per second, of the receiver.
fn received(result: &serde_json::Value) -> Vec<f64> {
    let intervals = result["intervals"].as_array().unwrap();
    intervals.iter().map(|interval| float(interval, "/directions/0/received/bps")).collect()
}

#[test]
fn each_second_has_its_share_of_a_rate() {
    let server = Server::start("");
    for (rate, bps, parallel) in [("1mbps", 1e6, 1), ("50mbps", 50e6, 4), ("1gbps", 1e9, 2)] {
        // Another program may take the CPU for a while.
        let attempts = (1..=3).any(|attempt| {
            let options = format!("--rate {rate} --parallel {parallel} --duration 3s");
            let result = result(&mut server.client("tcp", &options));
            exact_bytes(&result["directions"][0]);
            let rates = received(&result);
            eprintln!("{rate}, attempt {attempt}: {rates:?}");
            rates.len() >= 3 && rates.iter().take(3).all(|received| (received / bps - 1.0).abs() <= 0.005)
        });
        assert!(attempts, "{rate} was missed three times");
    }
}

#[test]
fn datagrams_leave_at_the_rate_that_was_asked_for() {
    let server = Server::start("");
    for (rate, seconds) in [(10u64, 2u64), (1_000, 1), (20_000, 1), (100_000, 1)] {
        let attempts = (1..=3).any(|attempt| {
            let options = format!("--rate {rate}pps --size 64 --duration {seconds}s --parallel 2");
            let result = result(&mut server.client("udp", &options));
            let direction = &result["directions"][0];
            let (sent, lost) = exact_datagrams(direction);
            let asked = rate * seconds;
            let forgone = number(direction, "/forgone");
            eprintln!("{rate} pps, attempt {attempt}: {sent} sent, {lost} lost, {forgone} forgone");
            assert!((sent + forgone).abs_diff(asked) <= 1, "intended = sent + forgone: {direction}");
            sent.abs_diff(asked) <= (asked / 1000).max(1)
        });
        assert!(attempts, "{rate} datagrams per second were missed three times");
    }
}
