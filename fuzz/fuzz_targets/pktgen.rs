//! Any bytes as a Pktgen script: an error in words, or profiles that are valid.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_pktgen::{Limits, Options, import};
use linerate_traffic::profile::Profile;

fuzz_target!(|script: &[u8]| {
    let limits = Limits { instructions: 100_000, ..Limits::default() };
    match import(script, limits, Options { grow: true }) {
        Ok(imported) => {
            for one in imported.profiles {
                let written = serde_json::to_string(&one.profile).expect("a profile can be written");
                assert!(serde_json::from_str::<Profile>(&written).is_ok());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
