//! Which interrupt a queue has, and which CPU that interrupts.

use std::collections::BTreeMap;

use linerate_observe::netlink::queues as netlink;
use linerate_observe::queues::Direction;
use serde::Serialize;

use crate::ethtool::Ethtool;
use crate::place::{Place, Value};
use crate::system::{Irq, System, read_text};

/// A queue of an interface, and how its packets reach a CPU. Null: not known, or the setting is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueSettings {
    /// `rx` or `tx`.
    pub direction: &'static str,
    /// Number of the queue.
    pub queue: u32,
    /// Id of its NAPI instance (Linux 6.8, for drivers that tell).
    pub napi: Option<u32>,
    /// Number of its interrupt.
    pub irq: Option<u32>,
    /// How that is known: `netdev` (the kernel says so) or `name` (the interrupt is named after the queue).
    pub irq_from: Option<&'static str>,
    /// Name of the interrupt.
    pub action: Option<String>,
    /// CPUs that may handle the interrupt.
    pub affinity: Option<String>,
    /// The CPU that does.
    pub effective: Option<String>,
    /// CPUs that process what the queue received; of receive queues.
    pub rps_cpus: Option<String>,
    /// Flows that RFS follows; of receive queues.
    pub rps_flow_cnt: Option<u64>,
    /// CPUs that send on the queue; of transmit queues.
    pub xps_cpus: Option<String>,
}

/// The queues that an interrupt's name says it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Receives.
    pub rx: bool,
    /// Transmits.
    pub tx: bool,
    /// Number of the queue.
    pub queue: u32,
}

/// Reads the names that drivers give to interrupts of queues, such as `eth0-TxRx-3`, `i40e-eth0-TxRx-3`,
/// `eth0-rx-3`, `virtio2-input.3`, `mlx5_comp3@pci:0000:3b:00.0` and `bnxt_en-eth0-TxRx-3`. `None` for interrupts of
/// links, commands and errors, and for names whose number is not that of a queue.
pub fn named(action: &str) -> Option<Named> {
    let name = action.split('@').next()?;
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, number) = name.split_at_checked(digits)?;
    let queue = number.parse().ok()?;
    let stem = stem.trim_end_matches(['-', '.', '_']).to_ascii_lowercase();
    let last = stem.rsplit(['-', '.', '_']).next()?;
    let (rx, tx) = match last {
        "txrx" | "rxtx" | "comp" => (true, true),
        // ena's `eth0-Tx-Rx-3`.
        "rx" if stem.ends_with("tx-rx") => (true, true),
        "rx" | "input" => (true, false),
        "tx" | "output" => (false, true),
        _ => return None,
    };
    Some(Named { rx, tx, queue })
}

/// What serves a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Id of its NAPI instance.
    pub napi: Option<u32>,
    /// Its interrupt's number, and how that is known.
    pub irq: Option<(u32, &'static str)>,
}

/// What serves each queue: from the kernel where it tells, else from the names of interrupts.
pub type Mapping = BTreeMap<(Direction, u32), Served>;

/// Puts together what the kernel tells of queues and instances, and what names tell.
pub fn mapping(queues: &[netlink::Queue], instances: &[netlink::Napi], irqs: &[Irq]) -> Mapping {
    let mut mapping = Mapping::default();
    for irq in irqs {
        let Some(Named { rx, tx, queue }) = named(&irq.action) else { continue };
        for direction in [rx.then_some(Direction::Rx), tx.then_some(Direction::Tx)].into_iter().flatten() {
            mapping
                .entry((direction, queue))
                .or_insert(Served { napi: None, irq: Some((irq.number, "name")) });
        }
    }
    for queue in queues {
        let entry = mapping.entry((queue.direction, queue.queue)).or_default();
        entry.napi = queue.napi;
        let irq = instances.iter().find(|napi| Some(napi.id) == queue.napi).and_then(|napi| napi.irq);
        entry.irq = irq.map(|irq| (irq, "netdev")).or(entry.irq);
    }
    mapping
}

impl<E: Ethtool> System<E> {
    /// The interrupt of each queue.
    pub fn mapping(&self) -> Mapping {
        // Another root than the kernel's own is that of a test.
        let is_kernel = self.root() == std::path::Path::new("/");
        let told = is_kernel.then(|| netlink::read(self.interface().ifindex).ok()).flatten();
        let (queues, instances) = told.unwrap_or_default();
        mapping(&queues, &instances, &self.irqs())
    }

    /// Every queue and its settings.
    pub fn queues(&mut self) -> Vec<QueueSettings> {
        let mapping = self.mapping();
        let numbers = |direction, numbers: Vec<u32>| numbers.into_iter().map(move |queue| (direction, queue));
        let all: Vec<(Direction, u32)> = numbers(Direction::Rx, self.rx_queues())
            .chain(numbers(Direction::Tx, self.tx_queues()))
            .collect();
        all.into_iter().map(|(direction, queue)| self.queue(&mapping, direction, queue)).collect()
    }

    fn queue(&mut self, mapping: &Mapping, direction: Direction, queue: u32) -> QueueSettings {
        let Served { napi, irq } = mapping.get(&(direction, queue)).copied().unwrap_or_default();
        let mut cpus = |place: Place| match self.read(&place) {
            Ok(Value::Cpus(cpus)) => Some(cpus),
            _ => None,
        };
        let is_rx = direction == Direction::Rx;
        let rps_cpus = if is_rx { cpus(Place::RpsCpus { queue }) } else { None };
        let xps_cpus = if is_rx { None } else { cpus(Place::XpsCpus { queue }) };
        let affinity = irq.and_then(|(irq, _)| cpus(Place::IrqAffinity { irq, action: String::new() }));
        let effective = irq.and_then(|(irq, _)| {
            let path = self.root().join(format!("proc/irq/{irq}/effective_affinity_list"));
            read_text(&path).ok().filter(|text| !text.is_empty())
        });
        let rps_flow_cnt = match is_rx.then(|| self.read(&Place::RpsFlowCnt { queue })) {
            Some(Ok(Value::Number(number))) => Some(number),
            _ => None,
        };
        let action = irq.map(|(irq, _)| self.action(irq)).filter(|action| !action.is_empty());
        QueueSettings {
            direction: if is_rx { "rx" } else { "tx" },
            queue,
            napi,
            irq: irq.map(|(irq, _)| irq),
            irq_from: irq.map(|(_, from)| from),
            action,
            affinity,
            effective,
            rps_cpus,
            rps_flow_cnt,
            xps_cpus,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_of_the_queues_that_their_names_say() {
        let both = |queue| Some((true, true, queue));
        for (action, expected) in [
            ("eth0-TxRx-3", both(3)),
            ("i40e-enp59s0f0-TxRx-12", both(12)),
            ("ice-ens1f0np0-TxRx-0", both(0)),
            ("iavf-ens1f0v0-TxRx-1", both(1)),
            ("bnxt_en-eth0-TxRx-2", both(2)),
            ("ens192-rxtx-0", both(0)),
            ("ens5-Tx-Rx-7", both(7)),
            ("mlx5_comp5@pci:0000:3b:00.0", both(5)),
            ("enp3s0-rx-1", Some((true, false, 1))),
            ("enp3s0-tx-2", Some((false, true, 2))),
            ("virtio2-input.1", Some((true, false, 1))),
            ("virtio2-output.0", Some((false, true, 0))),
            ("eth0", None),
            ("eth0:lsc", None),
            ("virtio2-config", None),
            ("mlx5_async0@pci:0000:3b:00.0", None),
            ("i40e-0000:3b:00.0:misc", None),
            ("gve-ntfy-blk3@pci:0000:00:04.0", None),
            ("ena-mgmnt@pci:0000:00:05.0", None),
            ("", None),
            ("42", None),
            ("eth0-TxRx-99999999999", None),
        ] {
            let seen = named(action).map(|Named { rx, tx, queue }| (rx, tx, queue));
            assert_eq!(seen, expected, "{action}");
        }
    }

    #[test]
    fn the_kernels_word_stands_before_a_name() {
        let irq = |number, action: &str| Irq { number, action: action.to_owned() };
        let irqs = [irq(40, "eth0"), irq(41, "eth0-rx-0"), irq(42, "eth0-tx-0"), irq(43, "eth0-TxRx-1")];
        let queue = |direction, queue, napi| netlink::Queue { direction, queue, napi };
        let told = [
            queue(Direction::Rx, 0, Some(8193)),
            queue(Direction::Tx, 0, Some(8194)),
            queue(Direction::Rx, 2, None),
        ];
        let instances = [netlink::Napi { id: 8193, irq: Some(50) }, netlink::Napi { id: 8194, irq: None }];
        let mapping: Vec<_> = mapping(&told, &instances, &irqs)
            .into_iter()
            .map(|(queue, Served { napi, irq })| (queue, (napi, irq)))
            .collect();
        let expected = [
            ((Direction::Rx, 0), (Some(8193), Some((50, "netdev")))),
            ((Direction::Rx, 1), (None, Some((43, "name")))),
            ((Direction::Rx, 2), (None, None)),
            ((Direction::Tx, 0), (Some(8194), Some((42, "name")))),
            ((Direction::Tx, 1), (None, Some((43, "name")))),
        ];
        assert_eq!(mapping, expected);
    }
}
