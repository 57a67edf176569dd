//! What an interval counted, as it is printed as JSON.

use std::collections::BTreeMap;

use linerate_observe::procfs::interfaces::InterfaceCounters;
use linerate_observe::procfs::softirqs::{NET_RX, NET_TX, Softirqs};
use linerate_observe::procfs::softnet;
use linerate_observe::procfs::stat::CpuTimes;
use linerate_observe::queues::names::is_loss_of_device;
use linerate_observe::queues::{Field, QueueCounters, Queues};
use linerate_observe::source::Span;
use serde::Serialize;

/// One interval. Counts are those of the interval; null is not known, and `not_known` says why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// The interface.
    pub(crate) interface_name: String,
    /// End of the interval: seconds since 1970 in UTC.
    pub(crate) unix_s: f64,
    /// Seconds that the interval took.
    pub(crate) elapsed_s: Option<f64>,
    /// Seconds by which the reading was behind the time grid.
    pub(crate) late_s: f64,
    /// The interface, in this network namespace.
    pub(crate) interface: Option<InterfaceSample>,
    /// The whole node, also when this process runs in a container.
    pub(crate) node: NodeSample,
    /// Protocols of this network namespace; null between two readings.
    pub(crate) protocols: Option<ProtocolSample>,
    /// Interrupts by number; null between two readings.
    pub(crate) interrupts: Option<InterruptsSample>,
    /// Queues of the interface; null between two readings.
    pub(crate) queues: Option<QueuesSample>,
    /// This process's control group; null without a CPU quota.
    pub(crate) throttling: Option<Throttling>,
    /// Why something is null.
    pub(crate) not_known: BTreeMap<&'static str, String>,
    /// What the readings of this interval cost.
    pub(crate) cost: Cost,
}

/// CPU time of the readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// Seconds of CPU time.
    pub(crate) cpu_s: f64,
    /// Share of one CPU, 0…1.
    pub(crate) cpu_share: Option<f64>,
}

/// A control group under a CPU quota.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Throttling {
    /// The quota in CPUs.
    pub(crate) quota_cpus: f64,
    /// Periods in which the quota was used up.
    pub(crate) periods: u64,
    /// Seconds for which the group was stopped, summed over CPUs.
    pub(crate) stopped_s: f64,
}

/// Counts of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct InterfaceSample {
    /// Seconds between its two readings.
    pub(crate) elapsed_s: f64,
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) rx_missed: Option<u64>,
    pub(crate) rx_errors: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_dropped: u64,
    pub(crate) tx_errors: u64,
}

impl InterfaceSample {
    pub(super) fn new(counts: &InterfaceCounters, elapsed_s: f64) -> Self {
        let InterfaceCounters { rx_packets, rx_bytes, rx_errors, rx_dropped, rx_missed, .. } = *counts;
        let InterfaceCounters { tx_packets, tx_bytes, tx_errors, tx_dropped, .. } = *counts;
        Self {
            elapsed_s,
            rx_packets,
            rx_bytes,
            rx_dropped,
            rx_missed,
            rx_errors,
            tx_packets,
            tx_bytes,
            tx_dropped,
            tx_errors,
        }
    }
}

/// The node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeSample {
    /// All CPUs together.
    pub(crate) all: Option<CpuShares>,
    /// Interrupts of all kinds.
    pub(crate) interrupts: Option<u64>,
    /// Softirqs of all kinds.
    pub(crate) softirqs: Option<u64>,
    /// Softirqs of received packets.
    pub(crate) net_rx: Option<u64>,
    /// Softirqs of sent packets.
    pub(crate) net_tx: Option<u64>,
    /// Packets that CPUs took from their queues.
    pub(crate) softnet_processed: Option<u64>,
    /// Packets dropped at a full backlog.
    pub(crate) softnet_dropped: Option<u64>,
    /// Rounds that ended with packets left.
    pub(crate) softnet_squeezed: Option<u64>,
    /// Each CPU.
    pub(crate) cpus: Vec<CpuSample>,
}

/// Shares of CPU time, 0…1, from ticks of 10 ms; null when no tick has passed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct CpuShares {
    /// Ticks that the shares are of.
    pub(crate) ticks: u64,
    /// All but idle, waiting and stolen.
    pub(crate) busy: Option<f64>,
    pub(crate) user: Option<f64>,
    pub(crate) system: Option<f64>,
    pub(crate) irq: Option<f64>,
    pub(crate) softirq: Option<f64>,
    pub(crate) steal: Option<f64>,
    pub(crate) iowait: Option<f64>,
    /// All but idle, as the old kit counts.
    #[serde(skip)]
    pub(crate) not_idle_percent: Option<u64>,
}

impl CpuShares {
    pub(super) fn of(times: &CpuTimes) -> Self {
        let total = times.total();
        Self {
            ticks: total,
            busy: times.share(times.busy()),
            user: times.share(times.user + times.nice),
            system: times.share(times.system),
            irq: times.share(times.irq),
            softirq: times.share(times.softirq),
            steal: times.share(times.steal),
            iowait: times.share(times.iowait),
            not_idle_percent: ((total - times.idle) * 100).checked_div(total),
        }
    }
}

/// A CPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CpuSample {
    /// Its number.
    pub(crate) cpu: u32,
    #[serde(flatten)]
    pub(crate) shares: CpuShares,
    pub(crate) net_rx: Option<u64>,
    pub(crate) net_tx: Option<u64>,
    pub(crate) softnet_processed: Option<u64>,
    pub(crate) softnet_dropped: Option<u64>,
    pub(crate) softnet_squeezed: Option<u64>,
}

impl CpuSample {
    pub(super) fn new(
        cpu: u32,
        times: CpuTimes,
        softirqs: Option<&Span<'_, Softirqs>>,
        row: Option<&softnet::Row>,
    ) -> Self {
        let softirq = |kind| softirqs.and_then(|span| span.now.since(span.then, cpu, kind));
        Self {
            cpu,
            shares: CpuShares::of(&times),
            net_rx: softirq(NET_RX),
            net_tx: softirq(NET_TX),
            softnet_processed: row.map(|row| row.processed),
            softnet_dropped: row.map(|row| row.dropped),
            softnet_squeezed: row.map(|row| row.squeezed),
        }
    }
}

/// Counters of protocols, by nstat's names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ProtocolSample {
    /// Seconds between the two readings.
    pub(crate) elapsed_s: f64,
    pub(crate) counts: BTreeMap<String, Option<u64>>,
}

/// Interrupts by number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InterruptsSample {
    /// File that they come from.
    pub(crate) source: &'static str,
    /// True: those of the interface's device; false: all of the node that occurred.
    pub(crate) of_interface: bool,
    /// Seconds between the two readings.
    pub(crate) elapsed_s: f64,
    pub(crate) list: Vec<IrqSample>,
}

/// Interrupts of one number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct IrqSample {
    pub(crate) irq: u32,
    /// Who handles it.
    pub(crate) action: String,
    pub(crate) total: u64,
    /// By CPU, without those that had none; empty where only totals are known.
    pub(crate) cpus: BTreeMap<u32, u64>,
}

/// Queues of the interface.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QueuesSample {
    /// Where they come from.
    pub(crate) source: &'static str,
    /// Seconds between the two readings.
    pub(crate) elapsed_s: f64,
    pub(crate) list: Vec<QueueSample>,
    /// Losses of the whole device, by the driver's names.
    pub(crate) device_losses: BTreeMap<String, u64>,
    /// Whatever else the driver counted in the interval, by its names.
    pub(crate) driver: BTreeMap<String, u64>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QueueSample {
    /// `rx` or `tx`.
    pub(crate) direction: String,
    pub(crate) queue: u32,
    pub(crate) packets: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) drops: Option<u64>,
    pub(crate) full: Option<u64>,
    pub(crate) wake: Option<u64>,
    pub(crate) alloc_fail: Option<u64>,
}

impl QueuesSample {
    /// Counts between two readings; why some are not known is among `reasons` then.
    pub(super) fn new(
        now: &Queues,
        then: &Queues,
        elapsed_s: f64,
        reasons: &mut BTreeMap<&'static str, String>,
    ) -> Self {
        let (device_losses, no_loss) = now.losses_since(then);
        let no_name = now.renamed_since(then).map(str::to_owned);
        let unknown = [("queues", now.unknown_since(then)), ("device_losses", no_loss), ("driver", no_name)];
        reasons.extend(unknown.into_iter().filter_map(|(what, reason)| Some((what, reason?))));
        let queue = |queue: QueueCounters| QueueSample {
            direction: queue.direction.to_string(),
            queue: queue.queue,
            packets: queue.get(Field::Packets),
            bytes: queue.get(Field::Bytes),
            drops: queue.get(Field::Drops),
            full: queue.get(Field::Full),
            wake: queue.get(Field::Wake),
            alloc_fail: queue.get(Field::AllocFail),
        };
        let others = || now.others_since(then).map(|(name, count)| (name.to_owned(), count));
        Self {
            source: now.origin.name(),
            elapsed_s,
            list: now.since(then).into_iter().map(queue).collect(),
            device_losses,
            driver: others().filter(|(name, count)| *count > 0 && !is_loss_of_device(name)).collect(),
        }
    }
}

/// The value, or its reason among the others.
pub(super) fn known<T>(
    reasons: &mut BTreeMap<&'static str, String>,
    what: &'static str,
    value: Result<T, String>,
) -> Option<T> {
    value.map_err(|reason| reasons.insert(what, reason)).ok()
}

/// Softirqs of one kind on all CPUs.
pub(super) fn counted(softirqs: Option<&Span<'_, Softirqs>>, kind: usize) -> Option<u64> {
    softirqs.and_then(|span| span.now.all_since(span.then, kind))
}
