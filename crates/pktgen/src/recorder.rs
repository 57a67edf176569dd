//! Recorder of a script's calls.

use std::collections::{BTreeMap, BTreeSet};

use linerate_traffic::profile::Payload;

use super::ImportError;
use super::argument::{Argument, At, Ports, dscp};
use super::calls::{LEFT_OUT, MEASURED};
use super::port::{Port, Sent};
use super::range::{Part, Ranged};
use super::sequence::{count, index, of_arguments, of_table, protocol};
use super::settings::{Mode, Settings};

/// Bytes of Pktgen's fill pattern `abc`.
const ABC: &[u8] = b"abcdefghijklmnopqrstuvwxyz012345";
const LONGEST_PATTERN: usize = 16;

/// State of a script so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    /// State of the ports that no call has named by number.
    all: Port,
    ports: BTreeMap<u16, Port>,
    /// Calls that do not shape traffic, by name.
    left_out: BTreeSet<&'static str>,
    /// Line that asked for measurements of a running Pktgen.
    measured: Option<At>,
    /// Seconds that the script has slept.
    now: f64,
    /// Line of the current call.
    line: At,
}

/// Result of a script.
pub(super) struct Finished {
    /// Ports with their loads.
    pub(super) loads: Vec<(String, Sent)>,
    /// Ports that were set up and never started.
    pub(super) skipped: Vec<String>,
    /// Calls that do not shape traffic.
    pub(super) left_out: Vec<String>,
    /// Line that asked for measurements of a running Pktgen.
    pub(super) measured: Option<At>,
}

impl Recorder {
    /// Records `pktgen.<name>(arguments)`; names of range calls begin with `range.`.
    pub(super) fn call(
        &mut self,
        name: &str,
        arguments: &[Argument],
        line: Option<usize>,
    ) -> Result<(), ImportError> {
        self.line = At(line);
        self.take(name, arguments, line).map_err(|problem| {
            let shown = arguments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            ImportError::new(line, format!("pktgen.{name}({shown}): {problem}"))
        })
    }

    /// Seconds that the script has slept.
    pub(super) fn now(&self) -> f64 {
        self.now
    }

    /// Line that asked for measurements of a running Pktgen.
    pub(super) fn measured(&self) -> Option<At> {
        self.measured
    }

    fn take(&mut self, name: &str, arguments: &[Argument], line: Option<usize>) -> Result<(), String> {
        if let Some(known) = LEFT_OUT.into_iter().find(|known| *known == name) {
            self.leave_out(known, arguments, line);
            return Ok(());
        }
        match (name, arguments) {
            ("start", [ports]) => {
                let now = self.now;
                self.each(ports, |port| {
                    port.start(now, line);
                    Ok(())
                })
            }
            ("stop", [ports]) => {
                let now = self.now;
                self.each(ports, |port| port.stop(now))
            }
            ("reset", [ports]) => {
                let now = self.now;
                self.each(ports, |port| {
                    port.stop(now)?;
                    port.settings = Settings::default();
                    Ok(())
                })
            }
            ("load" | "run", _) => {
                Err("the script loads another one; put its calls into this script, or import that file"
                    .to_owned())
            }
            ("gtpu_teid" | "range.gtpu_teid", _) => {
                Err("a profile has no GTP-U header; take the call out for \
                 plain UDP, or replay a capture of GTP-U frames (linerate-dataplane tx --pcap)"
                    .to_owned())
            }
            ("seq" | "seqTable" | "compile", _) => self.sequence(arguments, line),
            _ if name.starts_with("range.") => self.range(&name["range.".len()..], arguments, line),
            ("dst_mac" | "src_mac", [_, _, _]) => self.range(name, arguments, line),
            (_, [ports, rest @ ..]) => {
                let change = change(name, rest, line)?;
                self.change(ports, change)
            }
            (_, []) => Err("a call without arguments sets nothing".to_owned()),
        }
    }

    /// Records a call that does not shape traffic. Some of these calls advance the time.
    fn leave_out(&mut self, name: &'static str, arguments: &[Argument], line: Option<usize>) {
        self.left_out.insert(name);
        if MEASURED.contains(&name) {
            self.measured.get_or_insert(At(line));
        }
        let seconds = match (name, arguments) {
            ("sleep", [time]) => time.number("time").ok(),
            ("delay", [time]) | ("pause", [_, time]) => time.number("time").ok().map(|time| time / 1000.0),
            _ => None,
        };
        self.now += seconds.unwrap_or(0.0).max(0.0);
    }

    fn range(&mut self, name: &str, arguments: &[Argument], line: Option<usize>) -> Result<(), String> {
        match (name, arguments) {
            ("ip_proto", [ports, value]) => {
                let value = protocol(value)?;
                self.change(ports, move |settings| settings.range_protocol = Some(value))
            }
            ("set_type", [ports, kind]) => self.change(ports, set_type(kind)?),
            // They have an effect only with headers that `mpls`, `qinq` and `gre` turn on, which are refused.
            ("mpls_entry" | "qinqids" | "gre_key", [ports, ..]) => ports.ports().map(drop),
            (_, [ports, part, value]) => {
                let ranged = Ranged::named(name).ok_or("no range of this name can be imported")?;
                let part = Part::of(part)?;
                let value = ranged.read(part, value)?;
                self.change(ports, move |settings| {
                    settings.ranges.entry(ranged).or_default().set(part, value, line);
                })
            }
            _ => Err(format!("{} arguments are not what this call takes", arguments.len())),
        }
    }

    /// Records a packet of a sequence, from `seq` or `seqTable`.
    fn sequence(&mut self, arguments: &[Argument], line: Option<usize>) -> Result<(), String> {
        let (number, ports, entry) = match arguments {
            [number, ports, Argument::Table(fields)] => (number, ports, of_table(fields, line)?),
            [number, ports, rest @ ..] => (number, ports, of_arguments(rest, line)?),
            _ => return Err(format!("{} arguments are not what this call takes", arguments.len())),
        };
        let number = index(number)?;
        self.change(ports, move |settings| {
            settings.sequence.insert(number, entry.clone());
        })
    }

    fn change(&mut self, ports: &Argument, change: impl Fn(&mut Settings)) -> Result<(), String> {
        let (now, line) = (self.now, self.line);
        let change = |settings: &mut Settings| {
            change(settings);
            settings.changed = line;
        };
        self.each(ports, |port| port.change(now, change))
    }

    fn each(
        &mut self,
        ports: &Argument,
        mut act: impl FnMut(&mut Port) -> Result<(), String>,
    ) -> Result<(), String> {
        match ports.ports()? {
            Ports::All => {
                act(&mut self.all)?;
                self.ports.values_mut().try_for_each(act)
            }
            Ports::Listed(ports) => ports
                .into_iter()
                .try_for_each(|port| act(self.ports.entry(port).or_insert_with(|| self.all.clone()))),
        }
    }

    /// The loads of each port.
    ///
    /// # Errors
    /// When a port has too many loads.
    pub(super) fn finish(mut self) -> Result<Finished, ImportError> {
        let mut ports: Vec<(String, Port)> = std::mem::take(&mut self.ports)
            .into_iter()
            .map(|(port, state)| (port.to_string(), state))
            .collect();
        let is_used =
            self.all.is_sending() || !self.all.sent.is_empty() || self.all.settings != Settings::default();
        if ports.is_empty() && is_used {
            ports.push(("all".to_owned(), self.all));
        }
        for (name, port) in &mut ports {
            port.stop(self.now)
                .map_err(|problem| ImportError::new(None, format!("port {name}: {problem}")))?;
        }
        let any_started = ports.iter().any(|(_, port)| !port.sent.is_empty());
        let (mut loads, mut skipped) = (Vec::new(), Vec::new());
        for (name, port) in ports {
            if !any_started {
                loads.push((name, Sent { settings: port.settings, stages: Vec::new(), at: At::default() }));
            } else if port.sent.is_empty() {
                skipped.push(name);
            } else {
                loads.extend(port.sent.into_iter().map(|sent| (name.clone(), sent)));
            }
        }
        let left_out = self.left_out.into_iter().map(str::to_owned).collect();
        Ok(Finished { loads, skipped, left_out, measured: self.measured })
    }
}

type Change = Box<dyn Fn(&mut Settings)>;

/// The change that a call makes on each of its ports.
fn change(name: &str, arguments: &[Argument], line: Option<usize>) -> Result<Change, String> {
    Ok(match (name, arguments) {
        ("set", [what, value]) => set(what, value, line)?,
        ("set_mac" | "dst_mac", [mac]) => {
            let mac = mac.mac("address")?;
            Box::new(move |settings| settings.dst_mac = Some(mac))
        }
        ("src_mac", [mac]) => {
            let mac = mac.mac("address")?;
            Box::new(move |settings| settings.src_mac = Some(mac))
        }
        ("set_mac", [end, mac]) => {
            let (source, mac) = (end.word("end", &["src", "dst"])? == "src", mac.mac("address")?);
            Box::new(move |settings| {
                *(if source { &mut settings.src_mac } else { &mut settings.dst_mac }) = Some(mac);
            })
        }
        ("set_ipaddr", [end, address]) => {
            let (source, address) = (end.word("end", &["src", "dst"])? == "src", address.ip("address")?);
            Box::new(move |settings| {
                *(if source { &mut settings.src_ip } else { &mut settings.dst_ip }) = Some(address);
            })
        }
        ("set_proto" | "ip_proto", [value]) => {
            let value = protocol(value)?;
            Box::new(move |settings| settings.protocol = Some(value))
        }
        ("set_type", [kind]) => Box::new(set_type(kind)?),
        ("set_range", [switch]) => {
            let mode = if switch.switch("state")? { Mode::Range } else { Mode::Single };
            Box::new(move |settings| settings.mode = Some(mode))
        }
        ("vlan", [switch]) => {
            let on = switch.switch("state")?;
            Box::new(move |settings| settings.vlan = Some(on))
        }
        ("vlanid", [id]) => {
            let id = id.whole("VLAN id", 1, 4094)? as u16;
            Box::new(move |settings| settings.vlan_id = Some(id))
        }
        ("cos" | "set_cos", [value] | [_, value]) => {
            let cos = value.whole("cos", 0, 7)? as u8;
            Box::new(move |settings| settings.cos = Some(cos))
        }
        ("tos" | "set_tos", [value] | [_, value]) => {
            let dscp = dscp(value)?;
            Box::new(move |settings| settings.dscp = Some(dscp))
        }
        ("ttl" | "set_ttl", [value]) => ttl(value)?,
        ("pattern", [kind]) => pattern(kind)?,
        ("userPattern", [text]) => {
            let text = text.text().filter(|text| (1..=LONGEST_PATTERN).contains(&text.len()));
            let text = text.ok_or("a pattern has 1 to 16 bytes")?.to_owned();
            Box::new(move |settings| {
                settings.payload = Some(Payload::Pattern(text.clone().into_bytes()));
                settings.pattern = Some(text.clone());
            })
        }
        ("set_tcp_flags", [_]) | ("seq_tcp_flags", [_, _]) => {
            Box::new(move |settings| settings.tcp_flags = Some(At(line)))
        }
        ("latency", [what, value @ ..]) if value.len() <= 1 => {
            latency(what, value.first())?;
            Box::new(|settings| settings.latency = true)
        }
        ("mpls" | "qinq" | "gre" | "gre_eth" | "vxlan" | "pcap" | "rnd_s_ip" | "rnd_s_pt", [switch]) => {
            if switch.switch("state")? {
                return Err(remedy(name));
            }
            Box::new(|_| ())
        }
        ("rnd", [_, _, mask]) if mask.text() == Some("off") => Box::new(|_| ()),
        ("rnd", [_, _, _]) => return Err(remedy(name)),
        _ => return Err(format!("{} arguments are not what this call takes", arguments.len() + 1)),
    })
}

/// The remedy for a call that a profile cannot express.
fn remedy(name: &str) -> String {
    match name {
        "pcap" => "the port sends a capture; replay it with linerate-dataplane tx --pcap FILE".to_owned(),
        "rnd_s_ip" => "a new random source address for each packet; write the profile by hand, with \
                       vary: {sourceIp: {random: 1}}"
            .to_owned(),
        "rnd_s_pt" => "a new random source port for each packet; write the profile by hand, with \
                       vary: {sourcePort: {random: 1}}"
            .to_owned(),
        "rnd" => "random bits in frames; write the profile by hand, with vary and random for the field they belong to"
            .to_owned(),
        header => format!("a profile has no {header} header; take the call out, or replay a capture of such frames \
                           (linerate-dataplane tx --pcap FILE)"),
    }
}

fn set(what: &Argument, value: &Argument, line: Option<usize>) -> Result<Change, String> {
    let words = [
        "rate", "count", "size", "burst", "sport", "dport", "ttl", "seq_cnt", "seqCnt", "txburst", "rxburst",
        "cycles", "prime", "dump",
    ];
    Ok(match what.word("setting", &words)? {
        "rate" => match value.number("rate")? {
            rate if rate > 0.0 && rate <= 100.0 => Box::new(move |settings| settings.rate = Some(rate)),
            _ => return Err(format!("rate {value} is not above 0 and at most 100 (percent of line rate)")),
        },
        "size" => {
            let size = value.whole("size", 64, 9000)? as u32;
            Box::new(move |settings| {
                settings.size = Some(size);
                settings.size_at = At(line);
            })
        }
        "count" => {
            let count = value.number("count")?.floor();
            if !(0.0..=f64::from(u32::MAX)).contains(&count) {
                return Err(format!("count {value} is not from 0 to {}", u32::MAX));
            }
            Box::new(move |settings| settings.count = Some(count as u64))
        }
        "burst" | "txburst" => {
            let burst = value.whole("burst", 1, 65_536)?;
            Box::new(move |settings| settings.burst = Some(burst))
        }
        "sport" => {
            let port = value.whole("port", 0, 65_535)? as u16;
            Box::new(move |settings| settings.src_port = Some(port))
        }
        "dport" => {
            let port = value.whole("port", 0, 65_535)? as u16;
            Box::new(move |settings| settings.dst_port = Some(port))
        }
        "ttl" => ttl(value)?,
        "seq_cnt" | "seqCnt" => {
            let count = count(value)?;
            Box::new(move |settings| {
                settings.sequence_count = Some(count);
                settings.mode = Some(if count == 0 { Mode::Single } else { Mode::Sequence });
            })
        }
        // Calls on receiving, priming and debugging.
        _ => Box::new(|_| ()),
    })
}

fn ttl(value: &Argument) -> Result<Change, String> {
    let ttl = value.whole("ttl", 1, 255)? as u8;
    Ok(Box::new(move |settings| settings.ttl = Some(ttl)))
}

fn set_type(kind: &Argument) -> Result<impl Fn(&mut Settings) + use<>, String> {
    let kind = kind.word("type", &["ipv4", "ip4", "ipv6", "ip6", "vlan"])?;
    Ok(move |settings: &mut Settings| match kind {
        "vlan" => settings.vlan = Some(true),
        _ => settings.ipv6 = Some(kind.ends_with('6')),
    })
}

fn pattern(kind: &Argument) -> Result<Change, String> {
    let kind = kind.word("pattern", &["abc", "none", "user", "zero"])?;
    Ok(Box::new(move |settings| {
        settings.payload = match kind {
            "abc" => Some(Payload::Pattern(ABC.to_vec())),
            "user" => settings.pattern.clone().map(|text| Payload::Pattern(text.into_bytes())),
            _ => Some(Payload::Zeros),
        };
    }))
}

fn latency(what: &Argument, value: Option<&Argument>) -> Result<(), String> {
    let words = ["enable", "disable", "on", "off", "rate", "entropy"];
    match (what.word("setting", &words)?, value) {
        ("rate" | "entropy", None) => Err("rate and entropy take a number".to_owned()),
        ("rate" | "entropy", Some(value)) => value.number("value").map(drop),
        (_, None) => Ok(()),
        (_, Some(value)) => value.switch("state").map(drop).or_else(|_| value.number("state").map(drop)),
    }
}
