//! Scripts as generators of Pktgen profiles write them, and malicious scripts.

use std::time::{Duration, Instant};

use linerate_traffic::profile::{Field, IpVersion};

use super::*;

/// Ranges of every field on port 0; those of `stepping` step over `flows` values.
fn script(stepping: &[&str], flows: u32) -> String {
    let mut text = String::from(
        "package.path = package.path .. \";?.lua;test/?.lua;app/?.lua;\"\nrequire \"Pktgen\"\n\
         pktgen.clear(\"0\");\npktgen.cls()\npktgen.reset('all')\npktgen.screen(\"off\")\n\
         pktgen.set_mac(\"0\", \"dst\", \"02:00:00:00:00:02\")\npktgen.set_proto(\"0\", \"udp\")\n\
         pktgen.set(\"0\", \"rate\", 10)\npktgen.set(\"0\", \"count\", 0)\npktgen.page(\"range\")\n",
    );
    for (name, start, step) in [
        ("src_ip", 0xc0a8_0101u32, "0.0.0.1"),
        ("dst_ip", 0xc0a8_0201, "0.0.0.1"),
        ("src_port", 1024, "1"),
        ("dst_port", 1024, "1"),
        ("pkt_size", 64, "1"),
    ] {
        let steps = stepping.contains(&name);
        let ip = name.ends_with("ip");
        let value = |offset: u32| match ip {
            true => format!("\"{}\"", std::net::Ipv4Addr::from_bits(start + offset)),
            false => (start + offset).to_string(),
        };
        let inc = match (steps, ip) {
            (true, true) => format!("\"{step}\""),
            (true, false) => step.to_owned(),
            (false, true) => "\"0.0.0.0\"".to_owned(),
            (false, false) => "0".to_owned(),
        };
        let last = if steps { flows - 1 } else { 0 };
        text += &format!(
            "pktgen.range.{name}(\"0\", \"start\", {})\npktgen.range.{name}(\"0\", \"inc\", {inc})\n\
             pktgen.range.{name}(\"0\", \"min\", {})\npktgen.range.{name}(\"0\", \"max\", {})\n",
            value(0),
            value(0),
            value(last)
        );
    }
    text + "pktgen.set_range(\"0\", \"on\")\npktgen.start(\"0\")\n"
}

fn imported(text: &str) -> Result<Vec<Imported>, String> {
    import(text.as_bytes(), Limits::default(), Options::default())
        .map(|script| script.profiles)
        .map_err(|error| error.to_string())
}

fn one(text: &str) -> Imported {
    let mut all = imported(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn every_mode_is_recognised() {
    for (mode, stepping) in [
        ("s", &["src_ip"][..]),
        ("d", &["dst_ip"]),
        ("sd", &["src_ip", "dst_ip"]),
        ("sp", &["src_ip", "src_port"]),
        ("dp", &["src_ip", "dst_port"]),
        ("spd", &["src_ip", "src_port", "dst_ip"]),
        ("sdpd", &["src_ip", "dst_ip", "src_port", "dst_port"]),
    ] {
        let Imported { port, profile, notes } = one(&script(stepping, 100));
        assert_eq!(profile.raw().flow_mode.map(|mode| mode.to_string()).as_deref(), Some(mode));
        assert_eq!((port.as_str(), profile.flows(), &notes[..]), ("0", 100, &[][..]), "{mode}");
        assert!(profile.name().starts_with(&format!("profile_100_flows_pkt_size_64B_10_rate_{mode}")));
        assert_eq!(profile.raw().destination.mac, Some("02:00:00:00:00:02".parse().unwrap()));
        let last = profile.value(Field::SourceIp, 99).map(|ip| Field::SourceIp.show(ip, IpVersion::V4));
        assert_eq!(last.as_deref(), Some(if mode == "d" { "192.168.1.1" } else { "192.168.1.100" }));
    }
    let single = one(&script(&["src_ip", "dst_ip"], 1));
    assert_eq!((single.profile.flows(), single.profile.sweeps().len()), (1, 1));
}

/// A script for port 0 over UDP with these additional lines.
fn udp(lines: &str) -> String {
    format!("require(\"Pktgen\")\npktgen.set_proto(0, 'udp')\n{lines}\n")
}

#[test]
fn what_no_mode_names_is_varied_field_by_field() {
    for (lines, vary, flows) in [
        (
            "for _, f in ipairs{'src_ip', 'dst_ip'} do pktgen.range[f]('0', 'start', '10.0.0.0'); \
             pktgen.range[f]('0', 'min', '10.0.0.0'); pktgen.range[f]('0', 'max', '10.0.255.255'); \
             pktgen.range[f]('0', 'inc', '0.0.1.0') end",
            r#"{"sourceIp":{"step":256},"destinationIp":{"step":256}}"#,
            256,
        ),
        (
            "pktgen.range.src_port(0, 'min', 10) pktgen.range.src_port(0, 'max', 13) pktgen.range.src_port(0, 'inc', 1) \
             pktgen.range.dst_port(0, 'min', 20) pktgen.range.dst_port(0, 'max', 25) pktgen.range.dst_port(0, 'inc', 1)",
            r#"{"sourcePort":{"count":4},"destinationPort":{"count":6}}"#,
            12,
        ),
        (
            "pktgen.range.dst_mac('0', 'start', '0200:0000:0001') pktgen.range.dst_mac('0', 'inc', '00:00:00:00:00:02') \
             pktgen.range.dst_mac('0', 'min', '02:00:00:00:00:01') pktgen.range.dst_mac('0', 'max', '02:00:00:00:00:0a')",
            r#"{"destinationMac":{"step":2}}"#,
            5,
        ),
    ] {
        let profile = one(&udp(lines)).profile;
        assert_eq!(serde_json::to_string(&profile.raw().vary).unwrap(), vary);
        assert_eq!(profile.flows(), flows);
    }
}

#[test]
fn without_ranges_one_flow_has_the_values_of_set() {
    let imported = one(&udp(
        "pktgen.set('all', 'size', 512) pktgen.set('all', 'rate', 2.5) pktgen.set('all', 'sport', '7')\n\
         pktgen.set_ipaddr('0', 'src', '10.1.0.1/24') pktgen.set_ipaddr('0', 'dst', '10.2.0.1')\n\
         pktgen.set('0', 'burst', 64) pktgen.set('0', 'count', 1000) pktgen.latency('0', 'enable')\n\
         pktgen.latency('0', 'rate', 1000) pktgen.mac_from_arp('on') pktgen.ping4('all') pktgen.delay(1000)",
    ));
    let raw = imported.profile.raw();
    assert_eq!((raw.addresses().0.to_string(), raw.source.port), ("10.1.0.1".to_owned(), 7));
    assert_eq!((raw.addresses().1.to_string(), raw.destination.port), ("10.2.0.1".to_owned(), 5678));
    assert!(imported.profile.name().starts_with("profile_1_flows_pkt_size_512B_2.5_rate_s"));
    assert_eq!(raw.burst, 1);
    for part in ["count 1000", "packets: 1000", "burst 64", "latency: always"] {
        assert!(imported.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", imported.notes);
    }
}

#[test]
fn each_port_has_a_profile_of_its_own() {
    let text = "pktgen.set_proto('all', 'udp') pktgen.set('all', 'size', 128)\n\
                pktgen.set('1', 'size', 256) pktgen.set('0-2', 'rate', 50) pktgen.set(3, 'rate', 1)\n";
    let sizes = |text: &str| {
        let all = imported(text).unwrap();
        all.iter().map(|one| format!("{} {}", one.port, one.profile.frame_sizes())).collect::<Vec<_>>()
    };
    assert_eq!(sizes(text), ["0 128", "1 256", "2 128", "3 128"]);
    assert_eq!(sizes(&format!("{text}pktgen.start('0,1')")), ["0 128", "1 256"]);
    assert_eq!(sizes("pktgen.set_proto('all', 'udp') pktgen.set('all', 'size', 99)"), ["all 99"]);
    let notes = imported(&format!("{text}pktgen.start('0')")).unwrap().remove(0).notes;
    assert!(notes.iter().any(|note| note.contains("port 3 is set up and never started")), "{notes:?}");
    let silent = one("pktgen.set_proto('1', 'udp')").profile;
    assert_eq!(silent.raw().addresses().0.to_string(), "192.168.1.1", "Pktgen's own address of port 1");
    assert_eq!(silent.raw().rate, Some(linerate_traffic::rate::Rate::Percent(100.0)));
}

#[test]
fn sizes_that_step_take_turns() {
    let size = |start, inc, min, max| {
        let call = |part, value: u32| format!("pktgen.range.pkt_size('0', '{part}', {value})\n");
        udp(&[call("start", start), call("inc", inc), call("min", min), call("max", max)].concat())
    };
    let imported = one(&size(64, 64, 64, 256));
    assert_eq!(imported.profile.frame_sizes().to_string(), "64,128,192,256");
    assert!(imported.notes.iter().any(|note| note.contains("take turns")));
    assert_eq!(one(&size(192, 64, 64, 256)).profile.frame_sizes().to_string(), "192,256,64,128");
    assert_eq!(one(&size(1500, 0, 64, 1518)).profile.frame_sizes().to_string(), "1500");
    assert!(one(&size(64, 1, 64, 1518)).profile.name().len() < 200, "a name of a file");
}

#[test]
fn scripts_that_begin_within_a_range_keep_their_flows() {
    let range = |field: &str, start: u32| {
        format!(
            "pktgen.range.{field}(0, 'start', {start}) pktgen.range.{field}(0, 'inc', 1)\n\
             pktgen.range.{field}(0, 'min', 10) pktgen.range.{field}(0, 'max', 19)\n"
        )
    };
    let together = one(&udp(&(range("src_port", 13) + &range("dst_port", 13))));
    assert!(together.notes.iter().any(|note| note.contains("min")), "{:?}", together.notes);
    assert_eq!((together.profile.flows(), together.profile.raw().source.port), (10, 10));
    let apart = imported(&udp(&(range("src_port", 13) + &range("dst_port", 10)))).unwrap_err();
    assert!(apart.contains("set each start to its min"), "{apart}");
}

#[test]
fn what_no_profile_can_express_is_refused_with_call_line_and_remedy() {
    let range = |lines: &str| udp(lines);
    for (text, parts) in [
        (
            "pktgen.set('0', 'rate', 200)".to_owned(),
            &["line 1", "pktgen.set(\"0\", \"rate\", 200)", "at most 100"][..],
        ),
        ("\npktgen.set('0', 'size', 60)".to_owned(), &["line 2", "from 64 to 9000"]),
        ("pktgen.set('0', 'colour', 1)".to_owned(), &["rate, count, size, burst, sport, dport, ttl"]),
        ("pktgen.set('0', 'size', 'big')".to_owned(), &["\"big\" is no number"]),
        ("pktgen.set('0', 'size', {})".to_owned(), &["table is no number"]),
        ("pktgen.set('0', 'size')".to_owned(), &["2 arguments"]),
        ("pktgen.set({}, 'size', 64)".to_owned(), &["table is no port"]),
        ("pktgen.set('9-1000', 'size', 64)".to_owned(), &["is no port"]),
        ("pktgen.set('5-2', 'size', 64)".to_owned(), &["is no port"]),
        ("pktgen.set_proto('0', 'icmp')".to_owned(), &["\"icmp\" is not one of udp, tcp"]),
        ("pktgen.set_ipaddr('0', 'src', '::1')".to_owned(), &["frames are IPv6", "give both"]),
        ("pktgen.set_mac('0', '02:00')".to_owned(), &["no Ethernet address"]),
        ("pktgen.seq(0, '0', {})".to_owned(), &["line 1: pktgen.seq(0, \"0\", table)", "has no dport"]),
        ("pktgen.range.vxlan_id('0', 'start', 1)".to_owned(), &["pktgen.range.vxlan_id", "src_ip"]),
        ("pktgen.range.src_ip('0', 'begin', '1.2.3.4')".to_owned(), &["\"begin\" is not one of start, inc"]),
        ("require 'Other'".to_owned(), &["require \"Other\"", "only \"Pktgen\""]),
        ("local x = 1".to_owned(), &["sets up no port"]),
        (
            "pktgen.set('0', 'size', 64)".to_owned(),
            &["64 bytes do not hold", "TCP", "set_proto(port, \"udp\")"],
        ),
        (
            udp("pktgen.start(0) pktgen.set(0, 'size', 99) pktgen.stop(0)"),
            &["line 3", "while the port sends"],
        ),
        (
            udp("pktgen.start(0)\npktgen.set(0, 'size', 99)"),
            &["line 4: pktgen.set(0", "while the port sends"],
        ),
        (
            range(
                "pktgen.range.src_port(0, 'inc', 1)\npktgen.range.src_port(0, 'min', 9) pktgen.range.src_port(0, 'max', 5)",
            ),
            &["line 4", "range.src_port of port 0", "max 5 is below min 9"],
        ),
        (
            range("pktgen.range.src_ip(0, 'inc', 1) pktgen.range.src_ip(0, 'max', '10.0.0.9')"),
            &["below min 192.168.0.1 (Pktgen's default)"],
        ),
        (
            range(
                "pktgen.range.src_port(0, 'inc', 9) pktgen.range.src_port(0, 'min', 1) pktgen.range.src_port(0, 'max', 5)",
            ),
            &["inc 9 is larger"],
        ),
        (
            range(
                "pktgen.range.src_ip(0, 'inc', 1) pktgen.range.src_ip(0, 'min', '0.0.0.0') pktgen.range.src_ip(0, 'max', '255.255.255.255')",
            ),
            &["4294967296 values", "4194304"],
        ),
    ] {
        let Err(message) = imported(&text) else { panic!("{text} was imported") };
        for part in parts {
            assert!(message.contains(part), "{text}\nlacks {part:?}:\n{message}");
        }
    }
}

#[test]
fn missing_settings_are_noted() {
    let one = one(&udp("pktgen.range.src_ip(0, 'inc', 1)\npktgen.set(0, 'size', 512)"));
    for part in [
        "never turns range mode on",
        "dst_ip, dst_port, src_port: the script gives no inc",
        "64 bytes unless",
    ] {
        assert!(one.notes.iter().any(|note| note.contains(part)), "{part}: {:?}", one.notes);
    }
    assert_eq!((one.profile.flows(), one.profile.frame_sizes().to_string().as_str()), (254, "512"));
}

#[test]
fn nothing_of_the_system_can_be_reached() {
    for (text, part) in [
        ("os.execute('true')", "os.execute reads a file or starts a program"),
        ("io.open('/etc/passwd')", "io.open reads a file"),
        ("local f = io.open; f('/etc/passwd', 'r')", "io.open reads a file"),
        ("io.popen('id')", "io.popen"),
        ("for l in io.lines('/etc/passwd') do error(l) end", "io.lines"),
        ("os.remove('/tmp/x')", "os.remove"),
        ("error(tostring(os.getenv('PATH')))", "nil"),
        ("error(tostring(io.open('/tmp/never-written', 'w'):write('x') == io.stdout))", "true"),
        ("package.loadlib('x', 'y')", "field 'loadlib'"),
        ("debug.getinfo(1)", "global 'debug'"),
        ("load('return 1')()", "global 'load'"),
        ("loadstring('return 1')", "global 'loadstring'"),
        ("dofile('x')", "global 'dofile'"),
        ("loadfile('x')", "global 'loadfile'"),
        ("string.dump(function() end)", "field 'dump'"),
        ("(''):dump()", "'dump'"),
        ("coroutine.wrap(function() end)()", "global 'coroutine'"),
        ("setmetatable({}, {__gc = function() while true do end end})", "global 'setmetatable'"),
        ("getmetatable('').__index.rep = nil", "global 'getmetatable'"),
        ("pcall(error)", "global 'pcall'"),
        ("xpcall(error, error)", "global 'xpcall'"),
        ("collectgarbage('stop')", "global 'collectgarbage'"),
        ("table.move({}, 1, 1e15, 2)", "field 'move'"),
        ("_G['os'].rename('a', 'b')", "os.rename"),
        ("pktgen.load('other.lua')", "import that file"),
        (
            "for k in pairs(_G) do if k == 'load' or k == 'debug' then error('found ' .. k) end end error('none')",
            "none",
        ),
    ] {
        let message = imported(text).expect_err(text);
        assert!(message.contains(part), "{text}: {message}");
        assert!(message.starts_with("line 1: "), "{text}: {message}");
    }
    let bytecode =
        import(b"\x1bLua\x54\x00\x19\x93", Limits::default(), Options::default()).unwrap_err().to_string();
    assert!(bytecode.contains("binary"), "{bytecode}");
}

#[test]
fn scripts_without_end_or_measure_are_ended() {
    let began = Instant::now();
    for (text, part) in [
        ("\nwhile true do end", "line 2: the script goes on for more than 20000000 instructions"),
        ("local function f() return f() end f()", "instructions"),
        ("local function f() f() end f()", "64 MiB"),
        ("local t = {} for i = 1, 1e9 do t[i] = i end", "64 MiB"),
        ("local s = 'x' while true do s = s .. s end", "64 MiB"),
        ("string.rep('x', 1e9)", "string.rep: more than"),
        ("('x'):rep(1 << 62, 'y')", "string.rep: more than"),
        ("string.rep('', 1 << 62) error('went on')", "went on"),
        ("error({})", ""),
        ("error()", ""),
        ("error(setup)", ""),
        ("error('own words', 0)", "own words"),
        ("assert(false, 'no such rate')", "no such rate"),
        ("table.unpack({}, 1, 1e7)", "too many results"),
        ("pktgen.set(0, ('x'):rep(1e6), 1)", "xxx…"),
        ("pktgen[('x'):rep(1e6)]()", "not among the calls"),
        ("pktgen[{}]()", "not among the calls"),
        ("x = = 1", "unexpected symbol"),
        ("for i = 1, 10 do", "'end' expected"),
        (&"(".repeat(100_000), "overflow"),
        (&format!("local x = {}1", "{".repeat(100_000)), "overflow"),
        ("pktgen.set(0, 'size', 0/0)", "is no number"),
        ("pktgen.set(0, 'size', math.huge)", "is no number"),
        ("pktgen.set(-1, 'size', 64)", "port -1"),
    ] {
        let message = imported(text).map(drop).expect_err(&text[..text.len().min(60)]);
        assert!(message.contains(part), "{text:.60}: {message}");
        assert!(
            !message.is_empty() && message.len() < 800 && !message.contains("traceback"),
            "{text:.60}: {message}"
        );
    }
    // Calls are slow: fewer of them.
    let limits = Limits { instructions: 200_000, ..Limits::default() };
    let endless = b"repeat pktgen.set(0, 'size', 64) until false";
    let message = import(endless, limits, Options::default()).unwrap_err().to_string();
    assert!(message.contains("more than 200000 instructions"), "{message}");
    // A library function counts no instructions; only the time limit ends it.
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let pattern = b"('a'):rep(30000):find(('.-'):rep(30) .. 'b')";
    let message = import(pattern, limits, Options::default()).unwrap_err().to_string();
    assert!(message.contains("not ended after 0.3 s"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(60));
}
