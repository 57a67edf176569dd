//! Any line as a message of the control channel, in both directions: an error, or a value that is written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_wire::message::{FromAgent, Request};

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let again = serde_json::to_vec(&request).expect("a request can be written");
        serde_json::from_slice::<Request>(&again).expect("and read");
    }
    if let Ok(message) = serde_json::from_slice::<FromAgent>(line) {
        let again = serde_json::to_vec(&message).expect("a message can be written");
        serde_json::from_slice::<FromAgent>(&again).expect("and read");
    }
});
