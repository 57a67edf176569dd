//! From readings of the kernel's files to what the controller is told.

use std::collections::BTreeMap;

use linerate_observe::NotKnown;
use linerate_observe::host::Host;
use linerate_observe::interrupts::Interrupts;
use linerate_observe::procfs::interfaces::{InterfaceCounters, Interfaces, Name};
use linerate_observe::procfs::protocols::{NETSTAT, SNMP, SNMP6};
use linerate_observe::procfs::softirqs::{NET_RX, NET_TX};
use linerate_observe::procfs::softnet::Softnet;
use linerate_observe::procfs::stat::{Stat, TICKS_PER_SECOND};
use linerate_observe::source::{Series, Source, Span};
use linerate_wire::host::KernelSample;
use linerate_wire::host_report::{
    CpuInterrupts, CpuReport, HostReport, InterfaceReport, IrqReport, NamespaceReport, NodeReport,
};

/// Most interfaces of a report: hosts of many pods have as many.
const MOST_INTERFACES: usize = 16;
/// Most interrupts of a report: those of the queues of a large NIC.
const MOST_IRQS: usize = 64;
/// What full receive buffers of sockets dropped.
const RECEIVE_BUFFER_ERRORS: &str = "RcvbufErrors";
const RECEIVE_BUFFER_ERRORS_OF_IPV6: &str = "Udp6RcvbufErrors";

/// Counts since the trial began, in short.
pub(crate) fn kernel_sample(host: &Host) -> KernelSample {
    let stat = host.stat.series().span().ok();
    let times = stat.map(|span| span.now.all.since(&span.then.all));
    let counted = |of: fn(&Stat) -> Option<u64>| {
        let span = stat?;
        of(span.now)?.checked_sub(of(span.then)?)
    };
    let milliseconds = |ticks: u64| (ticks as f64 * 1e3 / TICKS_PER_SECOND) as u64;
    let softirqs = host.softirqs.series().span().ok();
    let softirq = |kind| softirqs.and_then(|span| span.now.all_since(span.then, kind));
    let softnet = softnet(host).ok().map(|passed| passed.totals());
    KernelSample {
        node_busy_ms: times.map(|times| milliseconds(times.busy())),
        node_softirq_ms: times.map(|times| milliseconds(times.softirq)),
        node_steal_ms: times.map(|times| milliseconds(times.steal)),
        node_interrupts: counted(|stat| stat.interrupts),
        node_softirqs: counted(|stat| stat.softirqs),
        node_net_rx: softirq(NET_RX),
        node_net_tx: softirq(NET_TX),
        node_softnet_dropped: softnet.map(|(_, dropped, _)| dropped),
        node_softnet_squeezed: softnet.map(|(_, _, squeezed)| squeezed),
        udp_receive_buffer_errors: receive_buffer_errors(host),
        interface_drops: host.interfaces.series().span().ok().and_then(|span| interface_drops(&span)),
    }
}

/// Datagrams that full receive buffers dropped, IPv4 and IPv6.
fn receive_buffer_errors(host: &Host) -> Option<u64> {
    let span = host.snmp.series().span().ok()?;
    let errors = span.now.since(span.then, "Udp", RECEIVE_BUFFER_ERRORS)?;
    match host.snmp6.series().span() {
        Ok(span) => Some(errors + span.now.since(span.then, RECEIVE_BUFFER_ERRORS_OF_IPV6)?),
        // Kernels without IPv6 have one counter only.
        Err(reason) => reason.is_absent().then_some(errors),
    }
}

/// The whole report.
pub(crate) fn report(host: &Host) -> HostReport {
    let mut not_known = BTreeMap::new();
    let mut note = |what: &str, reason: Option<&NotKnown>| {
        if let Some(reason) = reason {
            not_known.insert(what.to_owned(), reason.to_string());
        }
    };
    note("cpu", host.stat.series().span().err());
    note("softirqs", host.softirqs.series().span().err());
    note("softnet", softnet(host).err().as_ref());
    note("interfaces", host.interfaces.series().span().err());
    note("snmp", host.snmp.series().span().err());
    note("netstat", host.netstat.series().span().err());
    note("snmp6", host.snmp6.series().span().err().filter(|reason| !reason.is_absent()));
    for (name, _) in
        host.interfaces.series().span().iter().flat_map(passed).filter(|(_, passed)| passed.is_none())
    {
        let reason = "its counters were set back: the interface was made again";
        note(&format!("interface {name}"), Some(&NotKnown::Other(reason.to_owned())));
    }
    HostReport {
        elapsed_s: elapsed_s(host),
        node: node(host),
        namespace: namespace(host),
        not_known,
        cost_s: host.cost().cpu_ns as f64 / 1e9,
    }
}

/// Seconds of the first source that has been read.
fn elapsed_s(host: &Host) -> f64 {
    fn of<T: linerate_observe::procfs::Content>(source: &Source<T>) -> Option<f64> {
        source.series().span().ok().map(|span| span.elapsed_s)
    }
    of(&host.stat).or_else(|| of(&host.softirqs)).or_else(|| of(&host.interfaces)).unwrap_or(0.0)
}

fn softnet(host: &Host) -> Result<Softnet, NotKnown> {
    let span = host.softnet.series().span().map_err(Clone::clone)?;
    let changed = "/proc/net/softnet_stat: CPUs came or went, or counters were set back";
    span.now.since(span.then).ok_or_else(|| NotKnown::Other(changed.to_owned()))
}

fn node(host: &Host) -> NodeReport {
    let stat = host.stat.series().span().ok();
    let softirqs = host.softirqs.series().span().ok();
    let softnet = softnet(host).ok();
    let online = host.online();
    let mut cpus = Vec::new();
    for (cpu, now) in stat.iter().flat_map(|span| &span.now.cpus) {
        let Some(then) = stat.and_then(|span| span.then.cpu(*cpu)) else { continue };
        let times = now.since(then);
        let softirq = |kind| softirqs.and_then(|span| span.now.since(span.then, *cpu, kind));
        let row = softnet.as_ref().and_then(|passed| passed.cpu(*cpu, online.iter().copied()));
        cpus.push(CpuReport {
            cpu: *cpu,
            busy: times.share(times.busy()),
            softirq: times.share(times.softirq),
            irq: times.share(times.irq),
            steal: times.share(times.steal),
            net_rx: softirq(NET_RX),
            net_tx: softirq(NET_TX),
            softnet_dropped: row.map(|row| row.dropped),
            softnet_squeezed: row.map(|row| row.squeezed),
        });
    }
    let totals = softnet.as_ref().map(Softnet::totals);
    let all = |kind| softirqs.and_then(|span| span.now.all_since(span.then, kind));
    NodeReport {
        cpus,
        interrupts: stat.and_then(|span| span.now.interrupts?.checked_sub(span.then.interrupts?)),
        net_rx: all(NET_RX),
        net_tx: all(NET_TX),
        softnet_processed: totals.map(|(processed, _, _)| processed),
        softnet_dropped: totals.map(|(_, dropped, _)| dropped),
        softnet_squeezed: totals.map(|(_, _, squeezed)| squeezed),
        irqs: Vec::new(),
        irqs_elapsed_s: None,
    }
}

/// Adds the interrupts of the node that came most often, or the reason why they are not known.
pub(crate) fn add_interrupts(report: &mut HostReport, interrupts: &Series<Interrupts>) {
    let span = match interrupts.span() {
        Ok(span) => span,
        Err(reason) => {
            report.not_known.insert("interrupts".to_owned(), reason.to_string());
            return;
        }
    };
    if span.now.origin != span.then.origin {
        let reason = "their source has changed";
        report.not_known.insert("interrupts".to_owned(), reason.to_owned());
        return;
    }
    let passed = span.now.since(span.then).into_iter().filter(|(_, irq)| irq.total > 0);
    let mut irqs: Vec<IrqReport> = passed
        .map(|(irq, passed)| IrqReport {
            irq,
            action: passed.action,
            total: passed.total,
            cpus: passed
                .cpus
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(cpu, count)| CpuInterrupts { cpu, count })
                .collect(),
        })
        .collect();
    irqs.sort_by_key(|irq| std::cmp::Reverse(irq.total));
    irqs.truncate(MOST_IRQS);
    irqs.sort_by_key(|irq| irq.irq);
    report.node.irqs = irqs;
    report.node.irqs_elapsed_s = Some(span.elapsed_s);
}

/// Counts of the interfaces that were there from start to end; `None` for those whose counters were set back.
fn passed(span: &Span<'_, Interfaces>) -> impl Iterator<Item = (Name, Option<InterfaceCounters>)> {
    let Span { now, then, .. } = *span;
    now.list.iter().enumerate().filter_map(move |(place, (name, counts))| {
        // Mostly none comes and none goes.
        let likely = then.list.get(place).filter(|(known, _)| known == name).map(|(_, counts)| counts);
        Some((*name, counts.since(likely.or_else(|| then.get(*name))?)))
    })
}

/// Packets that the interfaces dropped; `None` when those of one are not known.
fn interface_drops(span: &Span<'_, Interfaces>) -> Option<u64> {
    passed(span).map(|(_, counts)| counts.map(|counts| counts.rx_dropped + counts.tx_dropped)).sum()
}

fn namespace(host: &Host) -> NamespaceReport {
    let span = host.interfaces.series().span().ok();
    let known = span.iter().flat_map(passed).filter_map(|(name, counts)| Some((name.to_string(), counts?)));
    let mut list: Vec<_> = known.filter(|(_, counts)| *counts != InterfaceCounters::default()).collect();
    list.sort_by_key(|(_, counts)| {
        let losses = counts.rx_dropped + counts.tx_dropped + counts.rx_errors + counts.tx_errors;
        std::cmp::Reverse((losses, counts.rx_packets + counts.tx_packets))
    });
    let left_out = list.len().saturating_sub(MOST_INTERFACES);
    let report = |(interface, counts): (String, InterfaceCounters)| InterfaceReport {
        interface,
        rx_packets: counts.rx_packets,
        rx_dropped: counts.rx_dropped,
        rx_errors: counts.rx_errors,
        tx_packets: counts.tx_packets,
        tx_dropped: counts.tx_dropped,
        tx_errors: counts.tx_errors,
    };
    NamespaceReport {
        interfaces: list.into_iter().take(MOST_INTERFACES).map(report).collect(),
        interfaces_left_out: left_out as u32,
        interface_drops: span.and_then(|span| interface_drops(&span)),
        protocols: protocols(host),
    }
}

/// Counters of the protocols that are known.
fn protocols(host: &Host) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |name: String, now: Option<u64>, then: Option<u64>| {
        if let Some(count) = now.zip(then).and_then(|(now, then)| now.checked_sub(then)) {
            counts.insert(name, count);
        }
    };
    if let Ok(span) = host.snmp.series().span() {
        for ((group, name), (now, then)) in SNMP.iter().zip(span.now.0.iter().zip(&span.then.0)) {
            add(format!("{group}{name}"), *now, *then);
        }
    }
    if let Ok(span) = host.netstat.series().span() {
        for ((group, name), (now, then)) in NETSTAT.iter().zip(span.now.0.iter().zip(&span.then.0)) {
            add(format!("{group}{name}"), *now, *then);
        }
    }
    if let Ok(span) = host.snmp6.series().span() {
        for (name, (now, then)) in SNMP6.iter().zip(span.now.0.iter().zip(&span.then.0)) {
            add((*name).to_owned(), *now, *then);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A host of two CPUs whose files say these counts.
    fn write(root: &Path, tick: u64, softnet_stat: &str) {
        let text = |path: &str, text: String| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let cpus = format!(
            "cpu  {0} 0 0 100 0 0 {0} 0\ncpu0 {0} 0 0 0 0 0 {0} 0\ncpu1 0 0 0 {1} 0 0 0 0\n",
            tick,
            2 * tick
        );
        text("proc/stat", format!("{cpus}intr {tick} 1\nsoftirq {tick}\n"));
        text("proc/softirqs", format!("CPU0 CPU1\nNET_TX: 1 1\nNET_RX: {tick} 5\n"));
        text("proc/net/softnet_stat", softnet_stat.to_owned());
        text("proc/net/snmp", format!("Udp: InErrors RcvbufErrors\nUdp: {tick} {tick}\n"));
        text("proc/net/netstat", format!("TcpExt: ListenDrops\nTcpExt: {tick}\n"));
        let counts = format!("{tick} {tick} 0 3 0 0 0 0 {tick} {tick} 0 {tick} 0 0 0 0");
        text("proc/net/dev", format!("|\n|\neth0: {counts}\nidle0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"));
    }

    #[test]
    fn a_report_has_what_passed_and_reasons_for_the_rest() {
        let tree = tempfile::tempdir().unwrap();
        let mut host = Host::new(tree.path());
        let mut read = |tick, softnet: &str| {
            write(tree.path(), tick, softnet);
            host.read_node();
            host.read_namespace();
            if tick == 100 {
                host.rebase_node();
                host.rebase_namespace();
            }
            (report(&host), kernel_sample(&host))
        };
        let row = |dropped: u8| format!("10 {dropped} 0 0 0 0 0 0 0 0\n10 0 2 0 0 0 0 0 0 0\n");
        read(100, &row(1));
        let (report, sample) = read(160, &row(5));
        let [first, second] = report.node.cpus.as_slice() else { panic!("{report:?}") };
        assert_eq!((first.busy, first.softirq, first.net_rx), (Some(1.0), Some(0.5), Some(60)));
        assert_eq!((second.busy, second.net_rx, second.softnet_dropped), (Some(0.0), Some(0), Some(0)));
        assert_eq!((report.node.softnet_dropped, report.node.softnet_squeezed), (Some(4), Some(0)));
        assert_eq!(report.node.interrupts, Some(60));
        let [eth0] = report.namespace.interfaces.as_slice() else { panic!("{report:?}") };
        assert_eq!((eth0.rx_packets, eth0.rx_dropped, eth0.tx_dropped), (60, 0, 60));
        assert_eq!(report.namespace.protocols["UdpRcvbufErrors"], 60);
        assert_eq!(report.namespace.protocols.get("TcpRetransSegs"), None, "the kernel does not list it");
        assert!(report.not_known.is_empty(), "{report:?}");
        assert_eq!((sample.node_busy_ms, sample.node_softirq_ms), (Some(1_200), Some(600)));
        assert_eq!((sample.udp_receive_buffer_errors, sample.interface_drops), (Some(60), Some(60)));

        let (report, sample) = read(170, "");
        assert_eq!((report.node.softnet_dropped, sample.node_softnet_dropped), (None, None));
        assert!(report.not_known["softnet"].ends_with("empty, as container runtimes mask it"), "{report:?}");
        assert_eq!(report.node.cpus[0].softnet_dropped, None);
    }

    #[test]
    fn drops_of_all_interfaces_count_and_the_worst_are_listed() {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), 100, "0 0 0 0 0 0 0 0 0\n");
        let mut host = Host::new(tree.path());
        let mut read = |packets: u64, lossy: u64| {
            // The one that drops everything has fewest packets.
            let busy = |number: u64| {
                format!("veth{number}: 0 {} 0 {} 0 0 0 0 0 0 0 0 0 0 0 0\n", packets + number, packets / 100)
            };
            let busy: String = (0..20).map(busy).collect();
            let dev = format!("|\n|\n{busy}eth1: 0 1 0 {lossy} 0 0 0 0 0 0 0 0 0 0 0 0\n");
            fs::write(tree.path().join("proc/net/dev"), dev).unwrap();
            host.read_for_sample();
            if packets == 0 {
                host.rebase_node();
                host.rebase_namespace();
            }
            (report(&host), kernel_sample(&host))
        };
        read(0, 500);
        let (report, sample) = read(1_000, 1_500);
        let NamespaceReport { interfaces, interfaces_left_out, interface_drops, .. } = report.namespace;
        assert_eq!((interfaces.len(), interfaces_left_out), (MOST_INTERFACES, 5));
        assert_eq!((interfaces[0].interface.as_str(), interfaces[0].rx_dropped), ("eth1", 1_000));
        assert_eq!((interface_drops, sample.interface_drops), (Some(1_200), Some(1_200)));

        let (report, sample) = read(1_000, 7);
        assert_eq!((report.namespace.interface_drops, sample.interface_drops), (None, None));
        assert!(report.not_known["interface eth1"].contains("set back"), "{:?}", report.not_known);
    }

    #[test]
    fn errors_of_receive_buffers_are_not_known_without_those_of_ipv6() {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), 100, "0 0 0 0 0 0 0 0 0\n");
        let mut host = Host::new(tree.path());
        let mut read = |text: Option<&str>| {
            if let Some(text) = text {
                fs::write(tree.path().join("proc/net/snmp6"), text).unwrap();
            }
            host.read_for_sample();
            let read =
                (kernel_sample(&host).udp_receive_buffer_errors, report(&host).not_known.remove("snmp6"));
            host.rebase_namespace();
            read
        };
        read(None);
        assert_eq!(read(None), (Some(0), None), "a kernel without IPv6");
        assert!(matches!(read(Some("")), (None, Some(reason)) if reason.ends_with("mask it")));
        read(Some("Udp6RcvbufErrors 5\n"));
        assert_eq!(read(Some("Udp6RcvbufErrors 9\n")), (Some(4), None));
    }
}
