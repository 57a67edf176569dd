//! Any bytes as what iperf3's clients and servers say: an error, or a value that is written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_iperf3::cookie::Cookie;
use linerate_iperf3::datagram::{Header, answer, is_answer};
use linerate_iperf3::frame::{MOST_PARAMETERS, length};
use linerate_iperf3::parameters::Parameters;
use linerate_iperf3::results::Results;
use linerate_iperf3::state::{ServerError, State};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parameters) = Parameters::parse(bytes) {
        let again = Parameters::parse(parameters.to_json().as_bytes()).expect("parameters are read back");
        assert_eq!(again, Parameters { has_user: false, ..parameters });
    }
    if let Ok(results) = Results::parse(bytes) {
        assert_eq!(Results::parse(results.to_json().as_bytes()), Ok(results));
    }
    for wide in [false, true] {
        if let Some(header) = Header::read(bytes, wide) {
            let mut datagram = bytes.to_vec();
            header.write(&mut datagram, wide);
            assert_eq!(datagram, bytes);
        }
    }
    if let Some(answered) = answer(bytes) {
        assert!(is_answer(&answered));
    }
    if let Some(cookie) = bytes.first_chunk().and_then(|bytes| Cookie::from_bytes(*bytes)) {
        assert!(!cookie.to_string().is_empty());
    }
    if let Some(first) = bytes.first_chunk() {
        assert!(length(*first, MOST_PARAMETERS).is_ok_and(|length| length <= MOST_PARAMETERS as usize) || bytes[..2] != [0, 0]
            || u16::from_be_bytes([bytes[2], bytes[3]]) > 8192);
    }
    if let Some(state) = bytes.first().and_then(|byte| State::from_byte(*byte)) {
        assert_eq!(Some(state.to_byte()), bytes.first().copied());
    }
    if let Some(refusal) = bytes.first_chunk() {
        assert_eq!(ServerError::from_bytes(*refusal).to_bytes(), *refusal);
    }
});
