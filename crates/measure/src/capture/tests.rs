//! Files built byte by byte: every format, and every irregularity that tcpdump and Wireshark accept.

use super::*;

/// A pcap file of records: seconds, fraction, captured bytes, original length.
fn pcap(magic: u32, link: u32, big: bool, records: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = Vec::new();
    for value in [magic, if big { 0x0002_0004 } else { 0x0004_0002 }, 0, 0, 65_535, link] {
        file.extend(word(value));
    }
    for (seconds, fraction, data, original) in records {
        for value in [*seconds, *fraction, data.len() as u32, *original] {
            file.extend(word(value));
        }
        if magic == 0xa1b2_cd34 {
            file.extend([0; 8]);
        }
        file.extend(*data);
    }
    file
}

/// A block of a pcapng file in little-endian order.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (12 + body.len().next_multiple_of(4)) as u32;
    let mut block = [kind.to_le_bytes(), length.to_le_bytes()].concat();
    block.extend(body);
    block.resize(length as usize - 4, 0);
    block.extend(length.to_le_bytes());
    block
}

fn section() -> Vec<u8> {
    block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat())
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = [code.to_le_bytes(), (value.len() as u16).to_le_bytes()].concat();
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

fn interface(link: u16, options: &[u8]) -> Vec<u8> {
    block(1, &[&link.to_le_bytes()[..], &[0, 0], &0u32.to_le_bytes(), options, &[0; 4]].concat())
}

fn packet(interface: u32, units: u64, data: &[u8], options: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for value in [interface, (units >> 32) as u32, units as u32, data.len() as u32, data.len() as u32] {
        body.extend(value.to_le_bytes());
    }
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(6, &body)
}

fn opened(file: &[u8]) -> Capture {
    read(file).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

fn lengths(capture: Capture) -> Vec<usize> {
    capture.recording.into_frames().iter().map(|frame| frame.len()).collect()
}

#[test]
fn pcap_is_read_in_every_form() {
    let (a, b) = ([1u8; 64], [2u8; 77]);
    for (magic, fraction) in [(0xa1b2_c3d4, 250_000), (0xa1b2_3c4d, 250_000_000), (0xa1b2_cd34, 250_000)] {
        for big in [false, true] {
            let file = pcap(magic, 1, big, &[(5, 0, &a, 64), (5, fraction, &b, 77)]);
            let capture = opened(&file);
            assert_eq!(capture.notes, Vec::<String>::new());
            assert_eq!(capture.recording.departures_s(), [0.0, 0.25], "{magic:x} {big}");
            assert_eq!(lengths(capture), [64, 77]);
        }
    }
}

#[test]
fn odd_captures_are_read_with_a_note() {
    let frame = [7u8; 96];
    let noted = |file: &[u8], part: &str| {
        let capture = opened(file);
        assert!(capture.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", capture.notes);
        capture
    };
    let cut = pcap(0xa1b2_c3d4, 1, false, &[(1, 0, &frame, 1514), (2, 0, &frame, 96)]);
    let capture = noted(&cut, "1 frame was cut when recorded (frame 1 to 96 of 1514 bytes)");
    let frames = capture.recording.into_frames();
    assert_eq!((frames[0].len(), frames[0][95], frames[0][96]), (1514, 7, 0));
    noted(
        &pcap(0xa1b2_c3d4, 1, false, &[(1, 0, &frame, 64), (2, 0, &frame, 96)]),
        "longer than the record says",
    );
    noted(
        &pcap(0xa1b2_c3d4, 1, false, &[(2, 0, &frame, 96), (1, 0, &frame, 96)]),
        "1 frame was recorded behind a later one",
    );
    // Two 16-bit words of check sequence, in the upper bits of the link type.
    let with_fcs = pcap(0xa1b2_c3d4, 0x2400_0001, false, &[(1, 0, &frame, 96), (2, 0, &frame, 96)]);
    assert_eq!(lengths(noted(&with_fcs, "frame check sequence: left out")), [92, 92]);
    let whole = pcap(0xa1b2_c3d4, 1, false, &[(1, 0, &frame, 96), (2, 0, &frame, 96), (3, 0, &frame, 96)]);
    for length in [24 + 2 * 112 + 1, whole.len() - 1] {
        assert_eq!(lengths(noted(&whole[..length], "within a record: 2 frames")), [96, 96], "{length}");
    }
    assert!(refused(&whole[..24 + 50]).contains("before its first whole frame"));
}

#[test]
fn pcapng_is_read_with_its_sections_interfaces_and_options() {
    let frame = [9u8; 61];
    // Milliseconds and two seconds of offset; then 2^-4 s; then a section of its own with microseconds.
    let offset = option(14, &2i64.to_le_bytes());
    let file = [
        section(),
        interface(1, &[option(2, b"eth0"), option(9, &[3]), offset].concat()),
        block(4, &[0; 8]),
        interface(1, &option(9, &[0x84])),
        interface(113, &[]),
        packet(0, 1000, &frame, &option(1, b"a comment")),
        packet(1, 52, &frame, &[]),
        block(0x8000_0001, &[3; 21]),
        section(),
        interface(1, &[]),
        packet(0, 3_500_000, &frame, &[]),
        block(5, &[0; 12]),
    ]
    .concat();
    let capture = opened(&file);
    assert_eq!(capture.notes, Vec::<String>::new());
    assert_eq!(capture.recording.departures_s(), [0.0, 0.25, 0.5]);
    assert_eq!(lengths(capture), [61, 61, 61]);
    let cut = opened(&file[..file.len() - 30]);
    assert!(cut.notes.iter().any(|note| note.contains("within a record")), "{:?}", cut.notes);
    // The frame check sequence: of the interface, and of the packet.
    let flags = option(2, &(2u32 << 5).to_le_bytes());
    let fcs = [
        section(),
        interface(1, &option(13, &[4])),
        packet(0, 1, &[9; 68], &[]),
        packet(0, 2, &[9; 68], &flags),
    ]
    .concat();
    assert_eq!(lengths(opened(&fcs)), [64, 66]);
    // Frames without a time, and the obsolete form.
    let simple = [&64u32.to_le_bytes()[..], &[5; 64]].concat();
    let simple = [section(), interface(1, &[]), block(3, &simple), block(3, &simple)].concat();
    let capture = opened(&simple);
    assert!(capture.notes.iter().any(|note| note.contains("2 frames were recorded without a time")));
    assert_eq!(capture.recording.departures_s(), [0.0, 0.0]);
    let mut obsolete = packet(0, 7, &frame, &[]);
    obsolete[0] = 2;
    obsolete[8..12].copy_from_slice(&[0, 0, 0xff, 0xff]);
    assert_eq!(lengths(opened(&[section(), interface(1, &[]), obsolete].concat())), [61]);
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_remedy() {
    let frame = [7u8; 64];
    let one = |link| pcap(0xa1b2_c3d4, link, false, &[(1, 0, &frame, 64)]);
    for (file, parts) in [
        (one(113), &["link type 113 (Linux cooked)", "tcprewrite", "tcpdump -i eth0"][..]),
        (one(101), &["raw IP", "tcprewrite"]),
        (one(105), &["IEEE 802.11", "behind the access point"]),
        (one(147), &["link type 147", "Ethernet interface"]),
        (
            [section(), interface(1, &[]), interface(276, &[]), packet(1, 1, &frame, &[])].concat(),
            &["frame 1, of interface 1, is of link type 276"],
        ),
        ([section(), packet(3, 1, &frame, &[])].concat(), &["interface 3, and 0 are described", "editcap"]),
        (
            pcap(0xa1b2_c3d4, 1, false, &[(1, 0, &frame, 70_000)]),
            &["frame 1 has 70000 bytes", "tshark -r IN"],
        ),
        (pcap(0xa1b2_c3d4, 1, false, &[(1, 0, &frame[..13], 13)]), &["frame 1 has 13 bytes", "tshark -r IN"]),
        (pcap(0xa1b2_c3d4, 1, false, &[]), &["no frame in it"]),
        (b"".to_vec(), &["too short"]),
        (b"snoop\0\0\0".to_vec(), &["mark of snoop", "editcap -F pcapng"]),
        (b"<html>".to_vec(), &["the text \"<htm\""]),
        (b"\x7fELF\x01".to_vec(), &["neither pcap nor pcapng", "7f 45"]),
        ([section(), vec![0xff; 40]].concat(), &["before its first whole frame"]),
        ([one(1), vec![0xff; 40]].concat(), &["damaged at byte 104: frame 2 claims 4294967295 bytes"]),
    ] {
        let message = refused(&file);
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
    }
}

#[test]
fn times_beyond_all_clocks_are_no_fault_of_the_reader() {
    let frame = [7u8; 64];
    for resolution in [0, 9, 12, 19, 38, 0x80, 0xc0, 0xff, 0x7f] {
        let file = [
            section(),
            interface(1, &[option(9, &[resolution]), option(14, &i64::MIN.to_le_bytes())].concat()),
            packet(0, 0, &frame, &[]),
            interface(1, &[option(9, &[resolution]), option(14, &i64::MAX.to_le_bytes())].concat()),
            packet(1, u64::MAX, &frame, &[]),
        ]
        .concat();
        assert_eq!(opened(&file).recording.count(), 2);
    }
}
