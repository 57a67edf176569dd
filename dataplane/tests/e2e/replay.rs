//! Recorded frames are sent again: the same bytes, at their own pace.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::common::recording::{Capture, PEER, packets_of, tx, write_pcap};
use crate::common::{Running, dataplane, eal, json, number, run, stderr, tool};
use pcap_file::DataLink;

/// 90 frames of three sizes between addresses of their own, 4 ms apart.
fn recorded() -> Capture {
    Capture::of_profile(
        "{rate: 250pps, frameSize: [64, 512, 1518], flows: 7, flowMode: sdpd, payload: 'random:3', \
         source: {ip: 10.0.0.1, port: 5000, mac: '02:aa:00:00:00:01'}, destination: {ip: 10.0.1.1, port: 5000, mac: '02:aa:00:00:00:02'}}",
        "--packets 90",
    )
}

fn replayed(file: &Path, options: &str) -> Capture {
    Capture::of(&format!("--pcap {} {options}", file.display()))
}

fn span(capture: &Capture) -> Duration {
    *capture.departures().last().unwrap()
}

#[test]
fn frames_leave_as_they_were_recorded() {
    let recording = recorded();
    let again = replayed(&recording.file(), "--keep-macs --rate 10kpps");
    assert_eq!(again.frames(), recording.frames());
}

#[test]
fn ethernet_addresses_become_the_ports_and_the_peers() {
    let recording = recorded();
    let again = replayed(&recording.file(), "--rate 10kpps").frames();
    let source = again[0][6..12].to_vec();
    assert_ne!(source, [2, 0xaa, 0, 0, 0, 1]);
    assert_ne!(source, [0; 6]);
    for (before, after) in recording.frames().iter().zip(&again) {
        assert_eq!(before[..12], [2, 0xaa, 0, 0, 0, 2, 2, 0xaa, 0, 0, 0, 1]);
        assert_eq!(after[..6], [2, 0, 0, 0, 0, 2]);
        assert_eq!(after[6..12], source);
        assert_eq!(after[12..], before[12..]);
    }
    assert_eq!(again.len(), 90);
}

#[test]
fn loops_repeat_the_whole_recording() {
    let recording = recorded();
    let again = replayed(&recording.file(), "--keep-macs --loops 3 --rate 10kpps");
    assert_eq!(again.frames(), vec![recording.frames(); 3].concat());
    let cut = replayed(&recording.file(), "--keep-macs --packets 100 --rate 10kpps");
    assert_eq!(
        cut.frames(),
        vec![recording.frames(); 2].concat()[..100],
        "as many rounds as the packets need"
    );
}

#[test]
fn the_pace_is_the_recordings_own_unless_a_rate_is_given() {
    let frame = |i: u64| (Duration::from_millis(1_000_000 + 100 * i), 64, vec![i as u8; 64]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("slow.pcap");
    write_pcap(&file, DataLink::ETHERNET, &(0..8).map(frame).collect::<Vec<_>>());
    let own = span(&replayed(&file, ""));
    // 700 ms as recorded.
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&own), "{own:?}");
    let fast = span(&replayed(&file, "--rate 10kpps"));
    assert!(fast < own / 2, "{fast:?}, and {own:?} at its own pace");
}

#[test]
fn frames_leave_in_the_order_of_their_times_and_short_ones_are_padded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mixed.pcap");
    let frame = |ms, bytes: usize| (Duration::from_millis(ms), bytes as u32, vec![ms as u8; bytes]);
    write_pcap(&file, DataLink::ETHERNET, &[frame(3, 100), frame(1, 14), frame(2, 61)]);
    let padded = [vec![1; 14], vec![0; 46]].concat();
    assert_eq!(replayed(&file, "--keep-macs").frames(), [padded, vec![2; 61], vec![3; 100]]);
}

#[test]
fn pcapng_and_nanosecond_pcap_are_read_as_well() {
    let recording = recorded();
    for format in ["pcapng", "nsecpcap", "pcap"] {
        let file = recording.beside(format);
        let mut editcap = Command::new(tool("editcap"));
        editcap.args(["-F", format]).args([recording.file(), file.clone()]);
        let output = editcap.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let again = replayed(&file, "--keep-macs");
        assert_eq!(again.frames(), recording.frames(), "{format}");
        // 356 ms: time stamps are read in the file's unit.
        let span = span(&again);
        assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&span), "{format}: {span:?}");
    }
}

/// Fails with a message that names the file and the reason.
fn unreadable(file: &Path, reason: &str) {
    let output = tx(&file.with_extension("out"), &format!("--pcap {}", file.display()));
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(&file.display().to_string()), "{message}");
    assert!(message.contains(reason), "no '{reason}' in: {message}");
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    unreadable(&at("absent.pcap"), "No such file");
    let bytes: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
    for (name, content, reason) in [
        ("random.pcap", &bytes[..], "neither pcap nor pcapng"),
        ("empty.pcap", b"", "too short"),
        ("short.pcap", b"\xd4\xc3", "too short"),
    ] {
        fs::write(at(name), content).unwrap();
        unreadable(&at(name), reason);
    }
    let frame = (Duration::from_secs(1), 64, vec![7; 64]);
    write_pcap(&at("none.pcap"), DataLink::ETHERNET, &[]);
    unreadable(&at("none.pcap"), "no frame");
    write_pcap(&at("wifi.pcap"), DataLink::IEEE802_11, std::slice::from_ref(&frame));
    unreadable(&at("wifi.pcap"), "not Ethernet");
    let runt = (Duration::from_secs(1), 13, vec![7; 13]);
    write_pcap(&at("runt.pcap"), DataLink::ETHERNET, &[frame.clone(), runt]);
    unreadable(&at("runt.pcap"), "frame 2 has 13 bytes");
    write_pcap(&at("large.pcap"), DataLink::ETHERNET, &[(Duration::from_secs(1), 4000, vec![7; 4000])]);
    let output = tx(&at("out"), &format!("--pcap {}", at("large.pcap").display()));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--mtu"), "{}", stderr(&output));
}

/// A tool's work on files, which must succeed.
fn made(tool_name: &str, arguments: &[&str], files: &[&Path]) {
    let output = Command::new(tool(tool_name)).args(arguments).args(files).output().unwrap();
    assert!(output.status.success(), "{tool_name}: {}", stderr(&output));
}

#[test]
fn a_recording_that_ends_early_is_sent_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.pcap");
    let frame = |s| (Duration::from_secs(s), 64, vec![7; 64]);
    write_pcap(&whole, DataLink::ETHERNET, &[frame(1), frame(2)]);
    let bytes = fs::read(&whole).unwrap();
    let cut = dir.path().join("cut.pcap");
    for length in [25, 39, 41, 103] {
        fs::write(&cut, &bytes[..length]).unwrap();
        unreadable(&cut, "before its first whole frame");
    }
    fs::write(&cut, &bytes[..23]).unwrap();
    unreadable(&cut, "too short");
    for length in [105, 119, 121, bytes.len() - 1] {
        fs::write(&cut, &bytes[..length]).unwrap();
        let out = cut.with_extension("out");
        let output = tx(&out, &format!("--pcap {} --keep-macs", cut.display()));
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("within a record: 1 frame before it is sent"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn what_wiresharks_tools_write_is_sent_again() {
    let recording = recorded();
    let frames = recording.frames();
    let (file, beside) = (recording.file(), |name| recording.beside(name));
    // Cut to 60 bytes: whole lengths, with zeros.
    made("editcap", &["-s", "60", "-F", "pcap"], &[&file, &beside("snapped")]);
    let snapped = replayed(&beside("snapped"), "--keep-macs --rate 10kpps").frames();
    for (whole, cut) in frames.iter().zip(&snapped) {
        assert_eq!((&whole[..60], whole.len()), (&cut[..60], cut.len()));
        assert!(cut[60..].iter().all(|byte| *byte == 0));
    }
    // A comment on a frame, two interfaces, and compression.
    made("editcap", &["-a", "3:noted", "-F", "pcapng"], &[&file, &beside("commented")]);
    assert_eq!(replayed(&beside("commented"), "--keep-macs").frames(), frames);
    made("mergecap", &["-a", "-w"], &[&beside("merged"), &beside("commented"), &file]);
    // By times, so each frame comes twice.
    let twice: Vec<_> = frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
    assert!(replayed(&beside("merged"), "--keep-macs --rate 10kpps").frames() == twice);
    for (packer, ending) in [("gzip", "gz"), ("zstd", "zst")] {
        let packed = file.with_extension(format!("pcap.{ending}"));
        let output = Command::new(tool(packer)).arg("-c").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        fs::write(&packed, &output.stdout).unwrap();
        assert_eq!(replayed(&packed, "--keep-macs").frames(), frames, "{packer}");
        fs::write(&packed, &output.stdout[..output.stdout.len() / 2]).unwrap();
        let half = tx(&beside("half"), &format!("--pcap {} --rate 10kpps", packed.display()));
        assert!(matches!(half.status.code(), Some(0 | 1)), "{packer}: {}", stderr(&half));
        // What is left of a truncated zstd file does not pass for the whole.
        let refused = half.status.code() == Some(1) && stderr(&half).contains("truncated: it ends at byte");
        assert!(packer == "gzip" || refused, "{}", stderr(&half));
        assert!(!stderr(&half).contains("panicked"), "{packer}: {}", stderr(&half));
    }
    let mut packed = vec![0xfd];
    packed.extend(b"7zXZ\0");
    fs::write(beside("xz"), packed).unwrap();
    unreadable(&beside("xz"), "unpack it with `xz -d`");
}

#[test]
fn a_recording_without_times_needs_a_rate() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let frame = |seconds: u64| (Duration::from_secs(seconds), 64, vec![7; 64]);
    let asked =
        |name: &str, options: &str| tx(&at("out"), &format!("--pcap {} {options}", at(name).display()));
    write_pcap(&at("same.pcap"), DataLink::ETHERNET, &[frame(9), frame(9), frame(9)]);
    let output = asked("same.pcap", "");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 frames without different times"), "{}", stderr(&output));
    assert!(stderr(&output).contains("--rate"), "{}", stderr(&output));
    assert!(asked("same.pcap", "--rate 1kpps").status.success());
    write_pcap(&at("one.pcap"), DataLink::ETHERNET, &[frame(9)]);
    assert!(asked("one.pcap", "").status.success());
    assert_eq!(asked("one.pcap", "--loops 5").status.code(), Some(2));
    write_pcap(
        &at("stray.pcap"),
        DataLink::ETHERNET,
        &[frame(0), frame(1_700_000_000), frame(1_700_000_001)],
    );
    let output = asked("stray.pcap", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("frame 2 comes 1700000000s after"), "{}", stderr(&output));
    let capped = asked("stray.pcap", "--max-gap 100ms");
    assert!(capped.status.success(), "{}", stderr(&capped));
    assert!(stderr(&capped).contains("3 frames in 200.000ms, 10.0 a second"), "{}", stderr(&capped));
}

#[test]
fn a_port_that_reads_a_file_leaves_all_of_it_to_the_trial() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.pcap");
    let frames: Vec<_> = (0..300).map(|ms| (Duration::from_millis(ms), 64, vec![7; 64])).collect();
    write_pcap(&file, DataLink::ETHERNET, &frames);
    let vdev = format!("net_pcap0,rx_pcap={}", file.display());
    for address in ["", "--address 10.0.0.1/24"] {
        let own = format!("rx {address} --packets 300 --duration 20s --quiet --json");
        let output = run(&mut dataplane(&eal(0, &[&vdev]), &own));
        assert!(output.status.success(), "{}", stderr(&output));
        let report = json(&output);
        assert_eq!(
            (number(&report, "received_frames"), &report["ended"]),
            (300, &"packets".into()),
            "{report}"
        );
    }
}

#[test]
fn a_ceiling_holds_for_all_lcores_and_what_they_owe() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let recording = file("recording.pcap");
    let frame = |ms| (Duration::from_millis(ms), 64, vec![7; 64]);
    write_pcap(&recording, DataLink::ETHERNET, &(0..100).map(frame).collect::<Vec<_>>());
    let replay = format!("--pcap {} --loops 5", recording.display());
    // (what is sent, packets admitted within 10 ms, lcores that send): a sender that loses its CPU between
    // the decision to send and the sending sends one burst later than the ceiling counts it.
    for (own, admitted, lcores) in [
        ("--rate 1kpps --max-rate 1kpps --duration 500ms --flows 2 --max-duration 1s", 11 + 1, 1),
        ("--rate 4kpps --max-rate 5kpps --duration 500ms --flows 2 --burst 5", 51 + 2 * 5, 2),
        (&replay, 11 + 1, 1),
    ] {
        let outputs = [file("a.pcap"), file("b.pcap")];
        let vdev = format!("net_pcap0,tx_pcap={},tx_pcap={}", outputs[0].display(), outputs[1].display());
        let mut options = eal(0, &[&vdev]);
        let cpus = options.iter().position(|option| option == "--lcores").unwrap() + 1;
        options[cpus] = "0@0,1@0,2@0".to_owned();
        let ceiling = if own.contains("--max-rate") { "" } else { "--max-rate 1kpps" };
        let own = format!("tx --peer-mac {PEER} --linger 0s --json --interval 20ms {ceiling} {own}");
        let mut sender = Running::start(&mut dataplane(&options, &own));
        // The sender is held up, so that it owes packets; the third time for longer than is made good.
        sender.wait_for_stderr("Mpps");
        for stopped_ms in [8, 40, 150] {
            sender.signal("STOP");
            sleep(Duration::from_millis(stopped_ms));
            sender.signal("CONT");
            sleep(Duration::from_millis(20));
        }
        let output = sender.output();
        assert!(output.status.success(), "{own}: {}", stderr(&output));
        let report = json(&output);
        let mut departures: Vec<Duration> =
            outputs.iter().flat_map(|file| packets_of(file)).map(|(at, _)| at).collect();
        departures.sort_unstable();
        assert_eq!(number(&report, "sent_packets"), departures.len() as u64, "{report}");
        // The port notes its times in microseconds, by DPDK's frequency of the counter, which may be wrong by
        // 2,000 ppm.
        let window = Duration::from_micros(9_970);
        let densest = departures
            .iter()
            .enumerate()
            .map(|(first, at)| departures[first..].iter().take_while(|then| **then < *at + window).count());
        assert!(densest.max().unwrap() <= admitted, "{own}: {report}");
        assert_eq!(
            report["sent_packets_per_lcore"].as_array().map(Vec::len),
            Some(lcores),
            "{own}: {report}"
        );
        let left_out = report["notes"].to_string().contains("1 of 2 TX lcores did not send");
        assert_eq!(left_out, lcores == 1 && !own.contains("--pcap"), "{own}: {report}");
    }
}

#[test]
fn frames_of_a_recording_that_left_late_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording.pcap");
    let frame = |i: u64| (Duration::from_millis(10 * i), 64, vec![7; 64]);
    write_pcap(&recording, DataLink::ETHERNET, &(0..300).map(frame).collect::<Vec<_>>());
    let own =
        format!("tx --peer-mac {PEER} --linger 0s --json --interval 20ms --pcap {}", recording.display());
    let mut sender = Running::start(&mut dataplane(&eal(0, &["net_null0"]), &own));
    sender.wait_for_stderr("Mpps");
    sender.signal("STOP");
    sleep(Duration::from_millis(300));
    sender.signal("CONT");
    let output = sender.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(number(&report, "sent_packets"), 300, "{report}");
    assert_eq!(number(&report, "forgone_packets"), 0, "{report}");
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("frames of the recording left up to ") && notes.contains("were due at once"),
        "{report}"
    );
}
