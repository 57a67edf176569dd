//! Check that an agent's packet memory holds the buffers of its port. The data plane sizes its pools by the
//! same arithmetic.

use linerate_wire::buffers::{BufferUse, PoolDemand};
use linerate_wire::report::Part;
use linerate_wire::trial::Role;

use linerate_experiment::Experiment;
use linerate_experiment::document::{Device, PlatformKind};
use linerate_experiment::kubernetes::LinkKind;

/// Megabytes that DPDK needs at most besides packet buffers: descriptor rings, queues, internal tables.
const DPDK_MEGABYTES: u64 = 8;

/// The packet memory of an agent is too small for its buffers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "spec.agents.memoryMb is {given}, and the packet buffers of {agent} need {needed} MB ({rx_queues} RX queues of {rx_buffers} buffers, \
     {tx_queues} TX queues of {tx_buffers}{})\n  remedy: set spec.agents.memoryMb to {needed} or more, or lower spec.agents.rxd, \
     spec.agents.txd or spec.agents.workers",
    own(*.own_buffers)
)]
pub struct TooFewMegabytes {
    agent: Role,
    given: u64,
    needed: u64,
    rx_queues: u32,
    rx_buffers: u32,
    tx_queues: u32,
    tx_buffers: u32,
    own_buffers: u32,
}

/// Description of the buffers for a port's own frames.
fn own(buffers: u32) -> String {
    if buffers > 0 { format!(", {buffers} for answers to ARP and ping") } else { String::new() }
}

/// Checks both ends of a pair; all pairs are alike.
///
/// # Errors
/// Names the end, the given and the needed amount, and the parts of the needed amount.
pub fn fit(experiment: &Experiment) -> Result<(), TooFewMegabytes> {
    let given = experiment.agents().memory_mb.get();
    for end in [Role::Tx, Role::Rx] {
        let demand = demand(experiment, end);
        let needed = demand.bytes().div_ceil(1 << 20) + DPDK_MEGABYTES;
        if needed > given {
            return Err(TooFewMegabytes {
                agent: end,
                given,
                needed,
                rx_queues: demand.rx_queues,
                rx_buffers: demand.rx_buffers(),
                tx_queues: demand.tx_queues,
                tx_buffers: demand.tx_buffers(),
                own_buffers: demand.own_buffers(),
            });
        }
    }
    Ok(())
}

/// Buffers that the port at that end needs. A port with fewer queues than lcores needs less.
fn demand(experiment: &Experiment, end: Role) -> PoolDemand {
    let agents = experiment.agents();
    let (tx, rx) = (agents.workers.tx.get_u32(), agents.workers.rx.get_u32());
    let direction = experiment.direction();
    let workers = direction.workers(end, tx, rx);
    let buffer_use = buffer_use(experiment, end);
    // Without devices, both platforms connect agents by memif.
    let rings = match experiment.platform() {
        PlatformKind::Local => experiment.local().devices.is_none(),
        PlatformKind::Kubernetes => experiment.kubernetes().link.kind == LinkKind::Memif,
    };
    let (tx_queues, rx_queues) = direction.queues(end, tx, rx, rings).unwrap_or((workers, workers));
    PoolDemand {
        buffer_use,
        rx_queues,
        tx_queues,
        rx_descriptors: agents.rxd.get_u32(),
        tx_descriptors: agents.txd.get_u32(),
        workers,
        forwards: direction.part(end) == Part::Reflect,
        // All pairs are alike except for their addresses.
        answers: (0..experiment.pairs()).any(|pair| !experiment.address_options(pair, end).is_empty()),
        mtu: agents.mtu.get_u32(),
    }
}

fn buffer_use(experiment: &Experiment, end: Role) -> BufferUse {
    match experiment.platform() {
        PlatformKind::Kubernetes => match experiment.kubernetes().link.kind {
            LinkKind::Device => BufferUse::KeepsSent,
            LinkKind::AfXdp => BufferUse::FillsRings,
            LinkKind::Memif | LinkKind::AfPacket => BufferUse::Copies,
        },
        PlatformKind::Local => {
            let devices = experiment.local().devices.iter().flat_map(|devices| &devices.value);
            let uses = devices.map(|pair| match if end == Role::Tx { &pair.tx } else { &pair.rx } {
                Device::Pci(_) => BufferUse::KeepsSent,
                Device::Virtual(device) => {
                    let name = device.split(',').next().unwrap_or_default();
                    BufferUse::of_driver(name.trim_end_matches(|c: char| c.is_ascii_digit()))
                }
            });
            uses.max().unwrap_or(BufferUse::Copies)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_experiment::Overrides;

    fn fits(spec: &str) -> Result<(), String> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n{spec}");
        let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
        fit(&experiment).map_err(|error| error.to_string())
    }

    #[test]
    fn buffers_fit_or_the_amount_is_named() {
        let vfs = "  local: {devices: [{tx: '0000:03:02.0', rx: '0000:03:02.1'}]}\n";
        let answering = format!("{vfs}  addresses: [{{tx: {{addresses: [10.0.0.1/24]}}}}]\n");
        for (agents, rest, refusal) in [
            ("", "", None),
            ("memoryMb: 64, txd: 4096, rxd: 4096", "", None),
            ("memoryMb: 64, txd: 4096, rxd: 4096", vfs, None),
            ("memoryMb: 64", "  trial: {direction: round-trip}\n", None),
            ("memoryMb: 64, workers: {tx: 8, rx: 1}", "", Some("buffers of tx need 71")),
            ("txd: 4096, rxd: 4096, workers: {tx: 16, rx: 1}", vfs, Some("of tx need 452")),
            ("txd: 4096, rxd: 4096, workers: {tx: 1, rx: 16}", vfs, Some("of rx need 452")),
            ("memoryMb: 512, txd: 4096, rxd: 4096, workers: {tx: 16, rx: 1}", vfs, None),
            ("memoryMb: 64, mtu: 9000, txd: 4096", vfs, Some("spec.agents.memoryMb to")),
            ("memoryMb: 64, txd: 16384", vfs, None),
            (
                "memoryMb: 64, txd: 16384",
                &answering,
                Some(
                    "of tx need 89 MB (1 RX queues of 1920 buffers, 1 TX queues of 17280, 16450 for answers",
                ),
            ),
        ] {
            let found = fits(&format!("  agents: {{{agents}}}\n{rest}"));
            let expected = refusal.is_some();
            assert_eq!(found.is_err(), expected, "{agents} {rest}: {found:?}");
            assert!(found.err().unwrap_or_default().contains(refusal.unwrap_or_default()), "{agents} {rest}");
        }
    }
}
