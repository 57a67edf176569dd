//! Any bytes as a capture: an error in words, or frames that can be sent.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use linerate_measure::capture;

fuzz_target!(|file: &[u8]| match capture::read(file) {
    Ok(capture) => {
        let mut recording = capture.recording;
        assert!(recording.count() > 0 && (60..=9600).contains(&recording.longest_bytes()));
        if let Ok(pace) = recording.keep_pace(Some(Duration::from_secs(1))) {
            assert!(pace.mean_pps > 0.0 && pace.longest_gap <= Duration::from_secs(1));
        }
        assert!(recording.departures_s().windows(2).all(|pair| pair[0] <= pair[1]));
    }
    Err(error) => assert!(!error.to_string().is_empty()),
});
