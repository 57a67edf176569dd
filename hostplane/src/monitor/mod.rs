//! The host and one interface, read on a time grid: what each interval counted.

pub(crate) mod form;
pub(crate) mod sample;
mod slow;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hugepage_check::cpu_limit::Throttled;
use linerate_agent::cpu_time::Quota;
use linerate_observe::NotKnown;
use linerate_observe::host::Host;
use linerate_observe::netlink::link::Link;
use linerate_observe::procfs::interfaces::InterfaceCounters;
use linerate_observe::source::Series;

use self::sample::{Cost, CpuSample, InterfaceSample, NodeSample, Sample, Throttling, counted, known};
use self::slow::Slow;

/// Reads what drivers and all interrupts count no more often than this: firmware may be asked for it.
pub(crate) const SLOW_NS: u64 = 1_000_000_000;

/// Reader of a host and one of its interfaces.
#[derive(Debug)]
pub(crate) struct Monitor {
    interface: String,
    host: Host,
    link: Link,
    counters: Series<InterfaceCounters>,
    slow: Slow,
    quota: Quota,
    throttled: Vec<Throttled>,
    last: Option<linerate_observe::cost::Cost>,
}

/// The host whose files are below `/`.
fn root() -> &'static Path {
    Path::new("/")
}

impl Monitor {
    /// Begins to watch an interface: the first interval begins now.
    ///
    /// # Errors
    /// When there is no such interface in this network namespace.
    pub(crate) fn new(interface: &str) -> Result<Self, std::io::Error> {
        let index = linerate_netlink::interface_index(interface)?;
        let quota = Quota::find();
        let mut monitor = Self {
            interface: interface.to_owned(),
            host: Host::new(root()),
            link: Link::open(interface)?,
            counters: Series::default(),
            slow: Slow::new(root(), interface, index),
            throttled: quota.throttled(),
            quota,
            last: None,
        };
        monitor.read();
        monitor.slow.read(&mut monitor.host);
        monitor.rebase();
        monitor.slow.rebase(&mut monitor.host);
        monitor.last = Some(monitor.host.cost());
        Ok(monitor)
    }

    fn read(&mut self) {
        let Self { host, link, counters, interface, .. } = self;
        host.read_node();
        let read = host.cost_mut().of(|| link.counters());
        let _ =
            counters.add(read.map_err(|error| NotKnown::Other(format!("interface {interface}: {error}"))));
    }

    /// Follows counters of 32 bits, which may wrap once between two readings. To be called once a minute in longer
    /// intervals.
    pub(crate) fn keep_up(&mut self) {
        self.host.read_node();
    }

    fn rebase(&mut self) {
        self.host.rebase_node();
        self.counters.rebase();
    }

    /// What has been counted since the last sample. `late_s` is the delay behind the time grid.
    pub(crate) fn sample(&mut self, late_s: f64) -> Sample {
        self.read();
        let slow = self.slow.sample(&mut self.host);
        let mut not_known = slow.not_known;
        let interface = known(&mut not_known, "interface", self.interface());
        let node = self.node(&mut not_known);
        let throttled = self.quota.throttled();
        let throttling = self.quota.cpus().map(|quota_cpus| {
            let most = self.quota.since(&self.throttled);
            let (periods, stopped_s) = most.map_or((0, 0.0), |most| (most.periods, most.stopped_s));
            Throttling { quota_cpus, periods, stopped_s }
        });
        self.throttled = throttled;
        let elapsed_s = self.host.stat.series().span().map(|span| span.elapsed_s).ok();
        let elapsed_s = elapsed_s.or_else(|| interface.as_ref().map(|interface| interface.elapsed_s));
        let cost = self.cost(elapsed_s);
        self.rebase();
        Sample {
            interface_name: self.interface.clone(),
            unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            elapsed_s,
            late_s,
            interface,
            node,
            protocols: slow.protocols,
            interrupts: slow.interrupts,
            queues: slow.queues,
            throttling,
            not_known,
            cost,
        }
    }

    fn cost(&mut self, elapsed_s: Option<f64>) -> Cost {
        let now = self.host.cost();
        let before = self.last.replace(now).unwrap_or_default();
        let cpu_s = now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9;
        Cost { cpu_s, cpu_share: elapsed_s.map(|elapsed_s| cpu_s / elapsed_s) }
    }

    /// CPU time of all readings so far, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.host.cost().cpu_ns as f64 / 1e9
    }

    fn interface(&self) -> Result<InterfaceSample, String> {
        let span = self.counters.span().map_err(ToString::to_string)?;
        let counts =
            span.now.since(span.then).ok_or("its counters were set back: the interface was made again")?;
        Ok(InterfaceSample::new(&counts, span.elapsed_s))
    }

    /// CPUs, softirqs and softnet. What is not known is null, and its reason is added.
    fn node(&self, not_known: &mut std::collections::BTreeMap<&'static str, String>) -> NodeSample {
        let Host { stat, softirqs, softnet, .. } = &self.host;
        let stat = known(not_known, "cpu", stat.series().span().map_err(ToString::to_string));
        let softirqs = known(not_known, "softirqs", softirqs.series().span().map_err(ToString::to_string));
        let passed = softnet.series().span().map_err(ToString::to_string).and_then(|span| {
            let passed = span.now.since(span.then).ok_or("CPUs came or went, or counters were set back")?;
            Ok((passed, span.elapsed_s))
        });
        let softnet = known(not_known, "softnet", passed);
        let online = self.host.online();
        let mut cpus = Vec::new();
        if let Some(stat) = &stat {
            for (cpu, now) in &stat.now.cpus {
                let Some(then) = stat.then.cpu(*cpu) else { continue };
                let row = softnet.as_ref().and_then(|(passed, _)| passed.cpu(*cpu, online.iter().copied()));
                cpus.push(CpuSample::new(*cpu, now.since(then), softirqs.as_ref(), row));
            }
        }
        let totals = stat.as_ref().map(|stat| stat.now.all.since(&stat.then.all));
        let counted_total = |now: Option<u64>, then: Option<u64>| now?.checked_sub(then?);
        NodeSample {
            all: totals.map(|times| sample::CpuShares::of(&times)),
            interrupts: stat
                .as_ref()
                .and_then(|stat| counted_total(stat.now.interrupts, stat.then.interrupts)),
            softirqs: stat.as_ref().and_then(|stat| counted_total(stat.now.softirqs, stat.then.softirqs)),
            net_rx: counted(softirqs.as_ref(), linerate_observe::procfs::softirqs::NET_RX),
            net_tx: counted(softirqs.as_ref(), linerate_observe::procfs::softirqs::NET_TX),
            softnet_processed: softnet.as_ref().map(|(passed, _)| passed.totals().0),
            softnet_dropped: softnet.as_ref().map(|(passed, _)| passed.totals().1),
            softnet_squeezed: softnet.as_ref().map(|(passed, _)| passed.totals().2),
            cpus,
        }
    }
}
