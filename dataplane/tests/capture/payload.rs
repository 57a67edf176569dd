//! Frame sizes and what fills them.

use std::collections::BTreeSet;

use linerate_protocol::probe::PROBE_BYTES;

use crate::common::judge::Capture;

/// The bytes behind the probe of each frame.
fn fills(payload: &str) -> Vec<Vec<u8>> {
    let capture =
        Capture::of(&format!("--size 64,65,512,1518 --payload {payload} --packets 40 --rate 100kpps"));
    let frames = capture.table(&["udp.payload"]).column("udp.payload");
    let byte = |text: &str, i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
    let fills: Vec<Vec<u8>> =
        frames.iter().map(|text| (PROBE_BYTES..text.len() / 2).map(|i| byte(text, i)).collect()).collect();
    let lengths: Vec<usize> = fills[..4].iter().map(Vec::len).collect();
    assert_eq!(lengths, [2, 3, 450, 1456]);
    fills
}

#[test]
fn patterns_fill_every_frame_behind_the_probe() {
    let increment: Vec<u8> = (0..=255).collect();
    for (payload, pattern) in [
        ("zeros", &[0][..]),
        ("increment", &increment),
        ("hex:deadbe", &[0xde, 0xad, 0xbe]),
        ("hex:FF", &[0xff]),
    ] {
        for fill in fills(payload) {
            let expected: Vec<u8> = pattern.iter().copied().cycle().take(fill.len()).collect();
            assert_eq!(fill, expected, "{payload}, {} bytes", fill.len());
        }
    }
}

#[test]
fn random_fill_follows_from_its_seed() {
    let first = fills("random:7");
    let longest = first[3].clone();
    for fill in &first {
        assert_eq!(*fill, longest[..fill.len()], "every frame begins alike");
    }
    let values: BTreeSet<u8> = longest.iter().copied().collect();
    assert!(values.len() > 200, "{} different values", values.len());
    assert_eq!(fills("random:7"), first);
    assert_ne!(fills("random:8")[3], longest);
}

#[test]
fn imix_has_its_shares_exactly() {
    let capture = Capture::of("--size imix --packets 1200 --rate 200kpps");
    let frames = capture.table(&["frame.len", "ip.checksum.status", "udp.checksum.status"]);
    let lengths = frames.numbers("frame.len");
    // Every twelve frames hold the whole mix.
    for twelve in lengths.chunks(12) {
        let count = |size: u64| twelve.iter().filter(|length| **length == size - 4).count();
        assert_eq!((count(64), count(594), count(1518)), (7, 4, 1), "{twelve:?}");
    }
    assert_eq!(capture.number("sent_bytes"), lengths.iter().sum::<u64>());
    assert_eq!(capture.number("sent_bytes"), 100 * (7 * 60 + 4 * 590 + 1514));
    assert_eq!(frames.one("ip.checksum.status"), "1");
    assert_eq!(frames.one("udp.checksum.status"), "1");
}

#[test]
fn a_genome_is_sent_as_written() {
    let capture = Capture::of("--size genome:aagfedcbhia --mtu 9000 --packets 33 --rate 100kpps");
    let genome = [64, 64, 1518, 1280, 1024, 512, 256, 128, 2112, 9000, 64].map(|size| size - 4);
    assert_eq!(capture.table(&["frame.len"]).numbers("frame.len"), genome.repeat(3));
    assert_eq!(capture.number("sent_bytes"), 3 * genome.iter().sum::<u64>());
}

#[test]
fn weights_and_lists_are_sent_as_written() {
    let lengths = |size: &str| {
        Capture::of(&format!("--size {size} --packets 60 --rate 100kpps"))
            .table(&["frame.len"])
            .numbers("frame.len")
    };
    assert_eq!(lengths("1518,64,64"), [1514, 60, 60].repeat(20));
    let mixed = lengths("64:3,128:2");
    for five in mixed.chunks(5) {
        assert_eq!(five.iter().filter(|length| **length == 60).count(), 3, "{five:?}");
        assert_eq!(five.iter().filter(|length| **length == 124).count(), 2, "{five:?}");
    }
}
