//! Nodes beside a trial, as agents in the nodes' own networks saw them: what the trial's file has, and in short what the
//! summary has. Pure.

use std::collections::{BTreeMap, BTreeSet};

use linerate_wire::host_report::{HostReport, InterfaceReport};
use linerate_wire::watch::{WatchReport, WatchedInterface, WatchedQueue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::{BusiestCpu, HostSummary};
use crate::store::json;

/// A node beside a trial, in the trial's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchedNode {
    /// Name of the node.
    pub node: String,
    /// The node's CPUs, and all interfaces of its own network; null: not known, with the reason.
    pub host: Option<HostReport>,
    /// Its interfaces and their queues; null: not known, with the reason.
    pub devices: Option<WatchReport>,
    /// Why nothing was seen; null when something was.
    pub reason: Option<String>,
}

/// What an agent saw of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeObservation {
    /// Counts of the node.
    pub host: Option<HostReport>,
    /// Its interfaces and their queues.
    pub devices: WatchReport,
}

impl WatchedNode {
    /// What was seen of a node, or why nothing was.
    pub fn new(node: &str, seen: Result<NodeObservation, String>) -> Self {
        let node = node.to_owned();
        // An agent may report any number; the record must stay readable.
        let is_readable = |seen: &NodeObservation| {
            json::can_be_read(&seen.host).and_then(|()| json::can_be_read(&seen.devices))
        };
        let seen = seen.and_then(|seen| match is_readable(&seen) {
            Ok(()) => Ok(seen),
            Err(error) => Err(format!("its report cannot be recorded: {error}")),
        });
        match seen {
            Ok(NodeObservation { host, devices }) => {
                Self { node, host, devices: Some(devices), reason: None }
            }
            Err(reason) => Self { node, host: None, devices: None, reason: Some(reason) },
        }
    }
}

/// A node beside a trial, as an agent in the node's own network saw it. The trial's file has every queue, CPU and interrupt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSummary {
    /// Name of the node.
    pub node: String,
    /// Why nothing was seen of it, or not all of its interfaces; null when all was.
    pub reason: Option<String>,
    /// The node's CPUs and its own network; null when not known. Its `interface_drops` are always null: a bond counts again what its
    /// members dropped; `interfaces` has the drops of each.
    pub host: Option<HostSummary>,
    /// The CPU of the node that spent most of its time in softirqs; null when not known.
    pub softirq_cpu: Option<BusiestCpu>,
    /// Interfaces of its own network that are up, and that have a device behind them or an address; those with most packets first.
    pub interfaces: Vec<NodeInterface>,
    /// Number of further ones.
    pub interfaces_left_out: u32,
}

/// An interface of a node during a trial. Null: not known, with the reason in `not_known` where there is one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct NodeInterface {
    /// Its name.
    pub interface: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Speed of the link in Mbit/s, as the driver says.
    pub speed_mbps: Option<u32>,
    /// Packets received.
    pub rx_packets: Option<u64>,
    /// Packets sent.
    pub tx_packets: Option<u64>,
    /// Packets that arrived and were dropped, as the kernel counts them.
    pub rx_dropped: Option<u64>,
    /// Packets dropped before they were sent, as the kernel counts them.
    pub tx_dropped: Option<u64>,
    /// Packets received with an error, as the kernel counts them.
    pub rx_errors: Option<u64>,
    /// Packets not sent for an error, as the kernel counts them.
    pub tx_errors: Option<u64>,
    /// Packets that its queues dropped; null also when one does not tell what others of its direction do.
    pub queue_drops: Option<u64>,
    /// Times that a queue's ring was full, or had no buffers; null also when one does not tell what others of its direction do.
    pub queue_full: Option<u64>,
    /// Packets that the whole device lost, by the driver's names; counters that are not known are absent.
    pub device_losses: BTreeMap<String, u64>,
    /// Receive queues.
    pub rx_queues: Option<u32>,
    /// Transmit queues.
    pub tx_queues: Option<u32>,
    /// Receive queues that received packets.
    pub rx_queues_used: Option<u32>,
    /// The receive queue that received most; null also when none received anything.
    pub busiest_rx_queue: Option<BusiestQueue>,
    /// Receive queues to which RSS distributes packets.
    pub rss_queues: Option<u32>,
    /// Receive queues whose packets other CPUs process (RPS).
    pub rps_queues: Option<u32>,
    /// Receive queues whose flows RFS follows.
    pub rfs_queues: Option<u32>,
    /// Transmit queues with CPUs of their own (XPS).
    pub xps_queues: Option<u32>,
    /// Reasons of what is null, by what it is.
    pub not_known: BTreeMap<String, String>,
}

/// The receive queue that received most packets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusiestQueue {
    /// Its number.
    pub queue: u32,
    /// Packets that it received.
    pub packets: u64,
    /// Their share of the packets of all receive queues, 0…1.
    pub share: f64,
}

impl From<&WatchedNode> for NodeSummary {
    fn from(seen: &WatchedNode) -> Self {
        let devices = seen.devices.as_ref();
        let interfaces = devices.iter().flat_map(|devices| &devices.interfaces);
        let reason = seen.reason.clone().or_else(|| devices?.not_known.clone());
        Self {
            node: seen.node.clone(),
            reason,
            host: seen
                .host
                .as_ref()
                .map(|host| HostSummary { interface_drops: None, ..HostSummary::from(host) }),
            softirq_cpu: seen.host.as_ref().and_then(softirq_cpu),
            interfaces: interfaces.map(NodeInterface::from).collect(),
            interfaces_left_out: devices.map_or(0, |devices| devices.interfaces_left_out),
        }
    }
}

fn softirq_cpu(host: &HostReport) -> Option<BusiestCpu> {
    let shares = host.node.cpus.iter().filter_map(|cpu| Some((cpu, cpu.softirq?)));
    let (cpu, softirq) = shares.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some(BusiestCpu { cpu: cpu.cpu, busy: cpu.busy?, softirq: Some(softirq), net_rx: cpu.net_rx })
}

impl From<&WatchedInterface> for NodeInterface {
    fn from(device: &WatchedInterface) -> Self {
        let all =
            |direction: &'static str| device.queues.iter().filter(move |queue| queue.direction == direction);
        let number = |direction| Some(all(direction).count() as u32).filter(|number| *number > 0);
        let (rx_queues, tx_queues) = (number("rx"), number("tx"));
        let received: Option<Vec<(u32, u64)>> =
            all("rx").map(|queue| Some((queue.queue, queue.packets?))).collect();
        let received = received.filter(|received| !received.is_empty());
        let busiest_rx_queue = received.as_ref().and_then(|received| {
            // An agent may report any number.
            let total: u128 = received.iter().map(|(_, packets)| u128::from(*packets)).sum();
            let (queue, packets) = received.iter().copied().max_by_key(|(_, packets)| *packets)?;
            (total > 0).then(|| BusiestQueue { queue, packets, share: packets as f64 / total as f64 })
        });
        let mut not_known = device.not_known.clone();
        let mut sum = |what: &str, field: fn(&WatchedQueue) -> Option<u64>| {
            let sum = sum_of_queues(&device.queues, field);
            sum.map_err(|reason| not_known.insert(what.to_owned(), reason)).ok().flatten()
        };
        let queue_drops = sum("queue_drops", |queue| queue.drops);
        let queue_full = sum("queue_full", |queue| queue.full);
        let with = |direction, state: fn(&WatchedQueue) -> Option<bool>| {
            let states: Option<Vec<bool>> = all(direction).map(state).collect();
            states
                .filter(|states| !states.is_empty())
                .map(|states| states.into_iter().filter(|on| *on).count() as u32)
        };
        let of = |field: fn(&InterfaceReport) -> u64| device.counters.as_ref().map(field);
        Self {
            interface: device.interface.clone(),
            driver: device.driver.clone(),
            speed_mbps: device.speed_mbps,
            rx_packets: of(|interface| interface.rx_packets),
            tx_packets: of(|interface| interface.tx_packets),
            rx_dropped: of(|interface| interface.rx_dropped),
            tx_dropped: of(|interface| interface.tx_dropped),
            rx_errors: of(|interface| interface.rx_errors),
            tx_errors: of(|interface| interface.tx_errors),
            queue_drops,
            queue_full,
            device_losses: device.device_losses.clone(),
            rx_queues,
            tx_queues,
            rx_queues_used: received
                .map(|received| received.iter().filter(|(_, packets)| *packets > 0).count() as u32),
            busiest_rx_queue,
            rss_queues: device.rss_queues.as_ref().map(|queues| queues.len() as u32),
            rps_queues: with("rx", |queue| queue.rps_cpus.as_deref().map(has_cpus)),
            // Without entries of the host, no queue's are used.
            rfs_queues: match device.rps_sock_flow_entries {
                Some(0) => Some(0),
                _ => with("rx", |queue| queue.rfs_flows.map(|flows| flows > 0)),
            },
            xps_queues: with("tx", |queue| queue.xps_cpus.as_deref().map(has_cpus)),
            not_known,
        }
    }
}

/// The sum over queues; `None` when none tells. Drivers may count in one direction alone.
///
/// # Errors
/// The queue that does not tell what others of its direction do: it is new, or its counter was set back.
fn sum_of_queues(
    queues: &[WatchedQueue],
    field: fn(&WatchedQueue) -> Option<u64>,
) -> Result<Option<u64>, String> {
    let telling: BTreeSet<&str> =
        queues.iter().filter(|queue| field(queue).is_some()).map(|queue| queue.direction.as_str()).collect();
    let silent =
        queues.iter().find(|queue| field(queue).is_none() && telling.contains(queue.direction.as_str()));
    match silent {
        Some(WatchedQueue { direction, queue, .. }) => {
            Err(format!("not known of {direction} queue {queue}, and known of others"))
        }
        None => Ok(queues.iter().filter_map(field).reduce(u64::saturating_add)),
    }
}

/// True for a list of CPUs that has one; `-` and nothing stand for none.
fn has_cpus(list: &str) -> bool {
    list.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use linerate_wire::host_report::{CpuReport, NodeReport};

    use super::*;

    fn queue(direction: &str, queue: u32, packets: Option<u64>) -> WatchedQueue {
        WatchedQueue {
            direction: direction.to_owned(),
            queue,
            packets,
            drops: Some(1),
            rps_cpus: (direction == "rx").then(|| if queue == 0 { "0-3".to_owned() } else { "-".to_owned() }),
            rfs_flows: (direction == "rx").then_some(4096),
            xps_cpus: (direction == "tx").then(|| "1".to_owned()),
            ..WatchedQueue::default()
        }
    }

    fn device() -> WatchedInterface {
        WatchedInterface {
            interface: "eth0".to_owned(),
            counters: Some(InterfaceReport { rx_packets: 45, rx_dropped: 2, ..InterfaceReport::default() }),
            rss_queues: Some(vec![0, 1, 2]),
            queues: vec![
                queue("rx", 0, Some(10)),
                queue("rx", 1, Some(30)),
                queue("rx", 2, Some(0)),
                queue("tx", 0, Some(5)),
            ],
            device_losses: [("rx_missed_errors".to_owned(), 4)].into(),
            ..WatchedInterface::default()
        }
    }

    fn watched(interface: WatchedInterface) -> WatchedNode {
        let cpu =
            |cpu, softirq| CpuReport { cpu, softirq: Some(softirq), busy: Some(0.5), ..CpuReport::default() };
        let node = NodeReport { cpus: vec![cpu(0, 0.1), cpu(1, 0.4)], ..NodeReport::default() };
        let devices = WatchReport { interfaces: vec![interface], ..WatchReport::default() };
        let host = Some(HostReport { node, ..HostReport::default() });
        WatchedNode::new("n1", Ok(NodeObservation { host, devices }))
    }

    #[test]
    fn queues_steering_and_drops_are_condensed() {
        let node = NodeSummary::from(&watched(device()));
        assert_eq!((node.reason, node.softirq_cpu.map(|cpu| cpu.cpu)), (None, Some(1)));
        assert_eq!(node.host.unwrap().interface_drops, None, "a bond counts those of its members again");
        let seen = &node.interfaces[0];
        assert_eq!((seen.rx_queues, seen.tx_queues, seen.rx_queues_used), (Some(3), Some(1), Some(2)));
        assert_eq!(seen.busiest_rx_queue, Some(BusiestQueue { queue: 1, packets: 30, share: 0.75 }));
        assert_eq!((seen.rx_packets, seen.rx_dropped, seen.queue_drops), (Some(45), Some(2), Some(4)));
        assert_eq!(
            (seen.rss_queues, seen.rps_queues, seen.rfs_queues, seen.xps_queues),
            (Some(3), Some(1), Some(3), Some(1))
        );
        let off = WatchedInterface { rps_sock_flow_entries: Some(0), ..device() };
        assert_eq!(NodeInterface::from(&off).rfs_queues, Some(0), "no flow of the host is followed");
    }

    #[test]
    fn what_is_not_known_of_one_queue_is_not_known_of_all() {
        let mut device = device();
        device.queues[1].packets = None;
        device.queues[0].rps_cpus = None;
        device.counters = None;
        device.queues[2].drops = None;
        let seen = NodeInterface::from(&device);
        assert_eq!(seen.queue_drops, None, "the third queue may have dropped any number");
        assert!(seen.not_known["queue_drops"].contains("rx queue 2"), "{:?}", seen.not_known);
        assert_eq!((seen.queue_full, seen.not_known.len()), (None, 1), "this driver counts no full rings");
        for queue in &mut device.queues {
            queue.drops = (queue.direction == "rx").then_some(2);
        }
        assert_eq!(NodeInterface::from(&device).queue_drops, Some(6), "of transmit queues it counts none");
        assert_eq!((seen.rx_queues_used, seen.busiest_rx_queue, seen.rps_queues), (None, None, None));
        assert_eq!((seen.rx_packets, seen.tx_errors), (None, None));
        let idle = WatchedInterface { queues: vec![queue("rx", 0, Some(0))], ..WatchedInterface::default() };
        let seen = NodeInterface::from(&idle);
        assert_eq!((seen.rx_queues_used, seen.busiest_rx_queue), (Some(0), None), "none is the busiest");
        assert_eq!((seen.tx_queues, seen.queue_full), (None, None));
    }

    #[test]
    fn sums_of_any_numbers_stay_sums() {
        let mut device = device();
        for queue in &mut device.queues {
            (queue.packets, queue.drops) = (Some(u64::MAX), Some(u64::MAX));
        }
        let seen = NodeInterface::from(&device);
        assert_eq!(seen.queue_drops, Some(u64::MAX));
        let share = seen.busiest_rx_queue.unwrap().share;
        assert!((share - 1.0 / 3.0).abs() < 1e-9, "{share}");
    }

    #[test]
    fn records_of_nodes_are_read_back_and_nonsense_is_a_reason() {
        let whole = watched(device());
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<WatchedNode>(&text).unwrap(), whole);
        let lost = WatchedNode::new("n2", Err("gone".to_owned()));
        let text = serde_json::to_string(&lost).unwrap();
        assert!(text.contains(r#""host":null"#) && text.contains(r#""reason":"gone""#), "{text}");
        assert_eq!(serde_json::from_str::<WatchedNode>(&text).unwrap(), lost);

        let host = Some(HostReport { elapsed_s: f64::NAN, ..HostReport::default() });
        let nonsense = WatchedNode::new("n3", Ok(NodeObservation { host, devices: WatchReport::default() }));
        assert!(nonsense.host.is_none() && nonsense.reason.unwrap().contains("cannot be recorded"));
    }
}
