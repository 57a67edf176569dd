//! The calls of a script, taken in one by one.

use std::collections::BTreeMap;

use linerate_protocol::profile::Protocol;

use super::ImportError;
use super::argument::{Argument, Ports};
use super::range::{Part, Ranged};
use super::settings::Settings;

/// Calls of the `pktgen` table that can be imported, ranges aside.
pub(super) const CALLS: [&str; 20] = [
    "clear",
    "cls",
    "clr",
    "delay",
    "dst_mac",
    "latency",
    "mac_from_arp",
    "page",
    "ping4",
    "prime",
    "reset",
    "screen",
    "set",
    "set_ipaddr",
    "set_mac",
    "set_proto",
    "set_range",
    "src_mac",
    "start",
    "stop",
];

/// What a script has done so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    /// What ports have that no call has named by number.
    all: Port,
    ports: BTreeMap<u16, Port>,
}

#[derive(Debug, Clone, Default)]
struct Port {
    settings: Settings,
    /// Line of the last change.
    changed: Option<usize>,
    /// What it had when it was started, and in which line.
    started: Option<(Settings, Option<usize>)>,
    sending: bool,
}

/// Ports with what they send, and ports that are never started.
pub(super) type Finished = (Vec<(String, Settings)>, Vec<String>);

impl Recorder {
    /// Takes in `pktgen.<name>(arguments)`; ranges have `range.` before their name.
    pub(super) fn call(
        &mut self,
        name: &str,
        arguments: &[Argument],
        line: Option<usize>,
    ) -> Result<(), ImportError> {
        self.take(name, arguments, line).map_err(|problem| {
            let shown = arguments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            ImportError::new(line, format!("pktgen.{name}({shown}): {problem}"))
        })
    }

    fn take(&mut self, name: &str, arguments: &[Argument], line: Option<usize>) -> Result<(), String> {
        match (name, arguments) {
            ("cls" | "clr", []) => Ok(()),
            ("delay", [time]) => time.number("time").map(drop),
            ("page", [_]) => Ok(()),
            ("screen" | "mac_from_arp", [switch]) => switch.switch("state").map(drop),
            ("clear" | "prime" | "ping4", [ports]) => ports.ports().map(drop),
            ("start", [ports]) => self.each(ports, |port| port.start(line)),
            ("stop", [ports]) => self.each(ports, Port::stop),
            ("reset", [ports]) => self.each(ports, |port| {
                port.stop()?;
                port.settings = Settings::default();
                Ok(())
            }),
            ("set", [ports, what, value]) => {
                let change = set(what, value)?;
                self.change(ports, line, |settings| change.apply(settings))
            }
            ("set_mac", [ports, mac]) | ("dst_mac", [ports, mac]) => {
                let mac = mac.mac("address")?;
                self.change(ports, line, |settings| settings.dst_mac = Some(mac))
            }
            ("src_mac", [ports, mac]) => {
                let mac = mac.mac("address")?;
                self.change(ports, line, |settings| settings.src_mac = Some(mac))
            }
            ("set_mac", [ports, end, mac]) => {
                let (end, mac) = (end.word("end", &["src", "dst"])?, mac.mac("address")?);
                self.change(ports, line, |settings| match end {
                    "src" => settings.src_mac = Some(mac),
                    _ => settings.dst_mac = Some(mac),
                })
            }
            ("set_ipaddr", [ports, end, address]) => {
                let (end, address) = (end.word("end", &["src", "dst"])?, address.ipv4("address")?);
                self.change(ports, line, |settings| match end {
                    "src" => settings.src_ip = Some(address),
                    _ => settings.dst_ip = Some(address),
                })
            }
            ("set_proto", [ports, protocol]) => {
                let protocol = match protocol.word("protocol", &["udp", "tcp"])? {
                    "udp" => Protocol::Udp,
                    _ => Protocol::Tcp,
                };
                self.change(ports, line, |settings| settings.protocol = Some(protocol))
            }
            ("set_range", [ports, switch]) => {
                let on = switch.switch("state")?;
                self.change(ports, line, |settings| settings.range_mode = Some(on))
            }
            ("latency", [ports, what, value @ ..]) if value.len() <= 1 => {
                latency(what, value.first())?;
                self.change(ports, line, |settings| settings.latency = true)
            }
            ("dst_mac" | "src_mac", [_, _, _]) => self.range(name, arguments, line),
            (_, [_, _, _]) if name.starts_with("range.") => {
                self.range(&name["range.".len()..], arguments, line)
            }
            _ => Err(format!("{} arguments are not what this call takes", arguments.len())),
        }
    }

    fn range(&mut self, name: &str, arguments: &[Argument], line: Option<usize>) -> Result<(), String> {
        let ([ports, part, value], Some(ranged)) =
            (arguments, Ranged::ALL.into_iter().find(|ranged| ranged.name() == name))
        else {
            return Err("no range of this name can be imported".to_owned());
        };
        let part = Part::of(part)?;
        let value = ranged.read(part, value)?;
        self.change(ports, line, |settings| settings.ranges.entry(ranged).or_default().set(part, value, line))
    }

    fn change(
        &mut self,
        ports: &Argument,
        line: Option<usize>,
        change: impl Fn(&mut Settings),
    ) -> Result<(), String> {
        self.each(ports, |port| {
            change(&mut port.settings);
            port.changed = line;
            Ok(())
        })
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

    /// What each port sends.
    ///
    /// # Errors
    /// When a port's settings change while it sends.
    pub(super) fn finish(mut self) -> Result<Finished, ImportError> {
        let mut ports: Vec<(String, Port)> = std::mem::take(&mut self.ports)
            .into_iter()
            .map(|(port, state)| (port.to_string(), state))
            .collect();
        if ports.is_empty() && (self.all.started.is_some() || self.all.settings != Settings::default()) {
            ports.push(("all".to_owned(), self.all));
        }
        let any_started = ports.iter().any(|(_, port)| port.started.is_some());
        let (mut sending, mut skipped) = (Vec::new(), Vec::new());
        for (name, mut port) in ports {
            let changed = port.changed;
            port.stop().map_err(|problem| ImportError::new(changed, format!("port {name}: {problem}")))?;
            match port.started {
                Some((settings, _)) => sending.push((name, settings)),
                None if any_started => skipped.push(name),
                None => sending.push((name, port.settings)),
            }
        }
        Ok((sending, skipped))
    }
}

impl Port {
    fn start(&mut self, line: Option<usize>) -> Result<(), String> {
        match &self.started {
            Some((settings, before)) if *settings != self.settings => Err(format!(
                "this port was started{} with other settings, and a profile has one; make a script of each",
                before.map_or(String::new(), |line| format!(" in line {line}"))
            )),
            _ => {
                self.started = Some((self.settings.clone(), line));
                self.sending = true;
                Ok(())
            }
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        let changed = self.started.as_ref().is_some_and(|(settings, _)| *settings != self.settings);
        if self.sending && changed {
            return Err("its settings change while it sends, and a profile has one; make the change before \
                        pktgen.start, or a script of each"
                .to_owned());
        }
        self.sending = false;
        Ok(())
    }
}

/// What `pktgen.set` changes.
enum Change {
    Rate(f64),
    Size(u32),
    Count(u64),
    Burst(u64),
    SrcPort(u16),
    DstPort(u16),
}

fn set(what: &Argument, value: &Argument) -> Result<Change, String> {
    Ok(match what.word("setting", &["rate", "count", "size", "burst", "sport", "dport"])? {
        "rate" => match value.number("rate")? {
            rate if rate > 0.0 && rate <= 100.0 => Change::Rate(rate),
            _ => return Err(format!("rate {value} is not above 0 and at most 100 (percent of line rate)")),
        },
        "size" => Change::Size(value.whole("size", 64, 9000)? as u32),
        "count" => Change::Count(value.whole("count", 0, u64::from(u32::MAX))?),
        "burst" => Change::Burst(value.whole("burst", 1, 65_536)?),
        "sport" => Change::SrcPort(value.whole("port", 0, 65_535)? as u16),
        _ => Change::DstPort(value.whole("port", 0, 65_535)? as u16),
    })
}

impl Change {
    fn apply(&self, settings: &mut Settings) {
        match *self {
            Change::Rate(rate) => settings.rate = Some(rate),
            Change::Size(size) => settings.size = Some(size),
            Change::Count(count) => settings.count = Some(count),
            Change::Burst(burst) => settings.burst = Some(burst),
            Change::SrcPort(port) => settings.src_port = Some(port),
            Change::DstPort(port) => settings.dst_port = Some(port),
        }
    }
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
