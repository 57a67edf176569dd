//! Any bytes as received frames: each is counted once, and turning one round twice gives it back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_measure::analysis::{Analysis, Expect};
use linerate_measure::recognise::PortVerdict;
use linerate_measure::reflect::turn_round;

fuzz_target!(|bytes: &[u8]| {
    let expect = if bytes.first().is_some_and(|byte| byte & 1 == 0) {
        Expect::Anything
    } else {
        Expect::Trial { tag: 0x0101, flows: 16 }
    };
    let mut analysis = Analysis::new(expect);
    // Pieces of varying length, so that the fuzzer can build sequences of frames.
    let mut rest = bytes.get(1..).unwrap_or_default();
    let mut ticks = 0;
    while let Some((length, tail)) = rest.split_first() {
        let (frame, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        for verdict in [PortVerdict::Unknown, PortVerdict::Good, PortVerdict::Bad] {
            analysis.observe(frame, frame.len() as u32, verdict, ticks);
            ticks += 1000;
        }
        let mut turned = frame.to_vec();
        if turn_round(&mut turned) {
            assert!(turn_round(&mut turned));
        }
        assert_eq!(turned, frame);
        rest = tail;
    }
    let c = analysis.counters(1.0);
    assert_eq!(
        c.frames,
        c.packets + c.duplicates + c.stale + c.bad_probes + c.bad_checksums + c.foreign
    );
    let _ = (analysis.sequence_gaps(), analysis.reordering(), analysis.flows(1_000_000_000).count());
});
