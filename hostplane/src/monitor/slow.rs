//! What is read once a second at most: protocols, interrupts by number, queues.

use std::collections::BTreeMap;
use std::path::Path;

use linerate_agent::host::monotonic_ns;
use linerate_observe::host::Host;
use linerate_observe::interrupts::{InterruptReader, Interrupts};
use linerate_observe::procfs::protocols::{NETSTAT, SNMP, SNMP6};
use linerate_observe::queues::{DriverStatistics, QueueReader, Queues};
use linerate_observe::source::Series;

use super::SLOW_NS;
use super::sample::{InterruptsSample, IrqSample, ProtocolSample, QueuesSample, known};
use crate::sys::ethtool;

/// Readers and their last readings.
#[derive(Debug)]
pub(super) struct Slow {
    at_ns: u64,
    irq_reader: InterruptReader,
    interrupts: Series<Interrupts>,
    queue_reader: QueueReader,
    queues: Series<Queues>,
    buffer: Vec<u8>,
}

/// What a slow reading adds to a sample.
#[derive(Debug, Default)]
pub(super) struct SlowSample {
    pub(super) protocols: Option<ProtocolSample>,
    pub(super) interrupts: Option<InterruptsSample>,
    pub(super) queues: Option<QueuesSample>,
    pub(super) not_known: BTreeMap<&'static str, String>,
}

impl Slow {
    /// Readers for an interface and its index.
    pub(super) fn new(root: &Path, interface: &str, index: u32) -> Self {
        let mut driver = ethtool::Driver::open(interface).ok();
        let bus_address = driver.as_mut().and_then(ethtool::Driver::bus_address);
        let driver = driver.map(|driver| Box::new(driver) as Box<dyn DriverStatistics>);
        Self {
            at_ns: 0,
            irq_reader: InterruptReader::new(root, bus_address.as_deref()),
            interrupts: Series::default(),
            queue_reader: QueueReader::new(index, driver),
            queues: Series::default(),
            buffer: Vec::new(),
        }
    }

    /// Reads everything.
    pub(super) fn read(&mut self, host: &mut Host) {
        self.at_ns = monotonic_ns();
        host.read_namespace();
        let online = host.online();
        let Self { irq_reader, interrupts, queue_reader, queues, buffer, .. } = self;
        host.cost_mut().of(|| {
            let read = irq_reader.read(buffer, &online, interrupts.last().ok());
            let _ = interrupts.add(read);
            let _ = queues.add(queue_reader.read());
        });
    }

    /// Compares later readings to the last ones.
    pub(super) fn rebase(&mut self, host: &mut Host) {
        host.rebase_namespace();
        self.interrupts.rebase();
        self.queues.rebase();
    }

    /// What has been counted since the last reading; nothing when that is less than a second ago.
    pub(super) fn sample(&mut self, host: &mut Host) -> SlowSample {
        // A sample that is a little early must not wait for the next one.
        if monotonic_ns().saturating_sub(self.at_ns) < SLOW_NS - SLOW_NS / 20 {
            return SlowSample::default();
        }
        self.read(host);
        let mut not_known = BTreeMap::new();
        let interrupts = known(&mut not_known, "interrupts", self.interrupts());
        let queues = self.queues(&mut not_known);
        let left_out = self.interrupts.last().map_or(0, |last| last.left_out);
        if interrupts.is_some() && left_out > 0 {
            not_known
                .insert("interrupts", format!("the {left_out} with the lowest numbers are not followed"));
        }
        if queues.as_ref().is_some_and(|queues| queues.list.is_empty()) {
            let reason = "the driver gives no names of queues that are known";
            not_known.entry("queues").or_insert_with(|| reason.to_owned());
        }
        let sample = SlowSample { protocols: protocols(host, &mut not_known), interrupts, queues, not_known };
        self.rebase(host);
        sample
    }

    fn interrupts(&self) -> Result<InterruptsSample, String> {
        let span = self.interrupts.span().map_err(ToString::to_string)?;
        if span.now.origin != span.then.origin {
            return Err("their source has changed".to_owned());
        }
        let passed = span.now.since(span.then);
        if passed.is_empty() && !span.now.list.is_empty() {
            return Err("CPUs came or went, or all counts were set back".to_owned());
        }
        let of_interface = self.irq_reader.is_of_device();
        let passed = passed.into_iter().filter(|(_, irq)| of_interface || irq.total > 0);
        let list = passed.map(|(irq, passed)| IrqSample {
            irq,
            action: passed.action,
            total: passed.total,
            cpus: passed.cpus.into_iter().filter(|(_, count)| *count > 0).collect(),
        });
        Ok(InterruptsSample {
            source: span.now.origin.path(),
            of_interface,
            elapsed_s: span.elapsed_s,
            list: list.collect(),
        })
    }

    fn queues(&self, not_known: &mut BTreeMap<&'static str, String>) -> Option<QueuesSample> {
        let span = known(not_known, "queues", self.queues.span().map_err(ToString::to_string))?;
        Some(QueuesSample::new(span.now, span.then, span.elapsed_s, not_known))
    }
}

/// Counters of the protocols, by nstat's names.
fn protocols(host: &Host, not_known: &mut BTreeMap<&'static str, String>) -> Option<ProtocolSample> {
    let mut counts = BTreeMap::new();
    let mut elapsed_s = None;
    let (mut absent, mut back) = (Vec::new(), Vec::new());
    let names = |known: &[(&str, &str)]| -> Vec<String> {
        known.iter().map(|(group, name)| format!("{group}{name}")).collect()
    };
    let mut add = |names: Vec<String>, now: &[Option<u64>], then: &[Option<u64>], elapsed: f64| {
        for (name, (now, then)) in names.into_iter().zip(now.iter().zip(then)) {
            let passed = now.zip(*then).map(|(now, then)| now.checked_sub(then));
            match passed {
                None => absent.push(name.clone()),
                Some(None) => back.push(name.clone()),
                Some(Some(_)) => {}
            }
            counts.insert(name, passed.flatten());
        }
        elapsed_s = Some(elapsed);
    };
    if let Some(span) = known(not_known, "snmp", host.snmp.series().span().map_err(ToString::to_string)) {
        add(names(&SNMP), &span.now.0, &span.then.0, span.elapsed_s);
    }
    if let Some(span) = known(not_known, "netstat", host.netstat.series().span().map_err(ToString::to_string))
    {
        add(names(&NETSTAT), &span.now.0, &span.then.0, span.elapsed_s);
    }
    match host.snmp6.series().span() {
        Ok(span) => add(SNMP6.map(str::to_owned).to_vec(), &span.now.0, &span.then.0, span.elapsed_s),
        // Kernels without IPv6 have no such file.
        Err(reason) if reason.is_absent() => {}
        Err(reason) => {
            not_known.insert("snmp6", reason.to_string());
        }
    }
    let reasons = [("not counted by this kernel", absent), ("set back", back)];
    let reasons = reasons.into_iter().filter(|(_, names)| !names.is_empty());
    let reasons: Vec<String> = reasons.map(|(why, names)| format!("{why}: {}", names.join(", "))).collect();
    if !reasons.is_empty() {
        not_known.insert("protocols", reasons.join("; "));
    }
    elapsed_s.map(|elapsed_s| ProtocolSample { elapsed_s, counts })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use linerate_observe::queues::{Direction, QueueCounters, QueueOrigin};

    use super::*;

    #[test]
    fn counters_of_protocols_that_are_not_known_have_a_reason() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let write = |received: u32, sent: u32| {
            let text = format!("Udp: InDatagrams OutDatagrams\nUdp: {received} {sent}\n");
            fs::write(root.path().join("proc/net/snmp"), text).unwrap();
        };
        write(10, 10);
        let mut host = Host::new(root.path());
        host.read_namespace();
        host.rebase_namespace();
        write(15, 3);
        host.read_namespace();
        let mut not_known = BTreeMap::new();
        let counts = protocols(&host, &mut not_known).unwrap().counts;
        assert_eq!(
            (counts["UdpInDatagrams"], counts["UdpOutDatagrams"], counts["TcpInSegs"]),
            (Some(5), None, None)
        );
        let reason = &not_known["protocols"];
        assert!(reason.contains("TcpInSegs") && reason.ends_with("; set back: UdpOutDatagrams"), "{reason}");
    }

    #[test]
    fn queues_that_were_made_again_have_a_reason() {
        let counted = |queue, packets, name: &str, lost| {
            let mut counters = QueueCounters::new(Direction::Rx, queue);
            counters.packets = Some(packets);
            let names = [name.to_owned()].into();
            Queues { origin: QueueOrigin::Driver, queues: vec![counters], names, values: vec![lost] }
        };
        let then = counted(0, 10, "rx_missed_errors", 5);
        for (now, expected) in [
            (counted(0, 11, "rx_missed_errors", 6), vec![]),
            (
                counted(0, 1, "rx_missed_errors", 0),
                vec![
                    ("device_losses", "rx_missed_errors was set back"),
                    ("queues", "1 counter was set back"),
                ],
            ),
            (
                counted(1, 1, "port.rx_dropped", 0),
                vec![
                    ("device_losses", "the driver's statistics changed their names"),
                    ("driver", "the driver's statistics changed their names"),
                    ("queues", "1 queue is new, 1 queue is gone"),
                ],
            ),
        ] {
            let mut reasons = BTreeMap::new();
            QueuesSample::new(&now, &then, 1.0, &mut reasons);
            let told: Vec<(&str, &str)> = reasons.iter().map(|(what, why)| (*what, why.as_str())).collect();
            assert_eq!(told, expected, "{now:?}");
        }
    }
}
