//! Values that a trial cannot have, by the options that the user gave.

use std::time::Duration;

use linerate_traffic::span::Span;
use linerate_wire::streams::{LEAST_DATAGRAM_BYTES, Protocol, SpecError};

use super::output::Failure;
use crate::spec::TrialSpec;

/// Checks a trial. `block` is the option for the bytes of a write or a datagram; 0 bytes of a datagram stand for what the MTU
/// admits, which is not known yet.
pub(super) fn check(spec: &TrialSpec, block: &str) -> Result<(), Failure> {
    let mut known = spec.clone();
    if known.each.block_bytes == 0 && known.each.protocol == Protocol::Udp {
        known.each.block_bytes = LEAST_DATAGRAM_BYTES;
    }
    known.check().map_err(|error| Failure::usage(words(&error, block)))
}

fn words(error: &SpecError, block: &str) -> String {
    let message = error.to_string();
    let (field, reason) = message.split_once(": ").unwrap_or(("", &message));
    let option = match field {
        "streams" => "--parallel",
        "block_bytes" => block,
        "duration_ms" => "--duration",
        "interval_ms" => "--interval",
        "bytes" => "--bytes",
        "dscp" => "--dscp",
        "gso" => "--gso",
        "load" => "--rate",
        "congestion" => "--congestion",
        _ => return message,
    };
    match *error {
        SpecError::Range { value, least, most, .. } if field.ends_with("_ms") => {
            let [value, least, most] = [value, least, most].map(|ms| Span(Duration::from_millis(ms)));
            format!("{option}: {value} is outside {least}…{most}")
        }
        _ => format!("{option}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use linerate_wire::streams::{Load, SocketOptions, StreamsSpec};

    use super::*;
    use crate::spec::{Directions, tcp_spec};

    #[test]
    fn refusals_name_the_option_that_was_given() {
        let each = tcp_spec();
        let unknown = StreamsSpec { protocol: Protocol::Udp, block_bytes: 0, ..tcp_spec() };
        let sockets = SocketOptions { congestion: Some(String::new()), ..SocketOptions::default() };
        for (each, interval_ms, expected) in [
            (StreamsSpec { streams: 0, ..each.clone() }, 1000, "--parallel: 0 is outside 1…"),
            (StreamsSpec { streams: 0, ..unknown.clone() }, 1000, "--parallel: 0 is outside 1…"),
            (StreamsSpec { block_bytes: 0, ..each.clone() }, 1000, "--block: 0 is outside 1…"),
            (
                StreamsSpec { load: Load::BitsPerSecond(0.0), ..each.clone() },
                1000,
                "--rate: 0 is outside 0…1e15",
            ),
            (StreamsSpec { sockets, ..each.clone() }, 1000, "--congestion: a name has"),
            (each, 1, "--interval: 1ms is outside 10ms…1h"),
        ] {
            let spec = TrialSpec { directions: Directions::Forward, interval_ms, server_cpu: None, each };
            let refusal = check(&spec, "--block").unwrap_err();
            assert!(refusal.message().starts_with(expected), "{expected}: {}", refusal.message());
        }
        let spec =
            TrialSpec { directions: Directions::Forward, interval_ms: 1000, server_cpu: None, each: unknown };
        assert!(check(&spec, "--size").is_ok());
    }
}
