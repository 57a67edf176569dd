//! Check: distribution of received packets over CPUs: by the card (RSS), by the kernel (RPS), by the
//! reading process (RFS).
//!
//! Source: `/sys/class/net/<interface>/queues/rx-*`, `/proc/sys/net/core/rps_sock_flow_entries` and
//! `/proc/irq/<n>/smp_affinity_list`; kernel `Documentation/networking/scaling.rst`.

use linerate_hardware::CpuSet;

use super::{INTERFACES, chosen};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::device::function::Function;
use crate::root::ReadError;
use crate::scene::Scene;

const FLOWS: &str = "/proc/sys/net/core/rps_sock_flow_entries";

const TOPIC: Topic = Topic {
    id: "network.steering",
    title: "Packet steering",
    why: "One CPU takes the packets of one queue. With one queue and no RPS, one CPU is the limit of everything \
          that is received.",
};

/// A result for each present interface.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    // The link check reports a listing error.
    let names = chosen(scene).unwrap_or_default();
    let present = names.into_iter().filter(|name| scene.root.contains(INTERFACES, name) == Ok(true));
    present.map(|name| TOPIC.judge(false, judge(scene, &name)).about(name)).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Steering {
    queues: usize,
    /// CPUs to which RPS distributes, over all queues.
    rps: CpuSet,
    /// RFS table sizes: of all queues, and of the machine. `None` on a kernel without RFS.
    queue_flows: u64,
    flows: Option<u64>,
    /// Interrupts of the card, and the CPUs that handle them.
    interrupts: usize,
    interrupt_cpus: CpuSet,
}

fn judge(scene: &Scene<'_>, name: &str) -> Outcome {
    let root = scene.root;
    let dir = format!("{INTERFACES}/{name}/queues");
    let mut found = Steering::default();
    let mut evidence = Vec::new();
    for queue in root.names(&dir)?.iter().filter(|queue| queue.starts_with("rx-")) {
        found.queues += 1;
        let path = format!("{dir}/{queue}/rps_cpus");
        if let Some(mask) = root.read_if_there(&path)? {
            let cpus =
                CpuSet::from_mask(&mask).map_err(|_| root.malformed(&path, "expected a mask of CPUs"))?;
            evidence.push(Evidence::new(root, &path, cpus.to_string()));
            found.rps = found.rps.iter().chain(cpus.iter()).collect();
        }
        let path = format!("{dir}/{queue}/rps_flow_cnt");
        if root.read_if_there(&path)?.is_some() {
            found.queue_flows = found.queue_flows.saturating_add(root.read_number(&path)?);
        }
    }
    evidence.truncate(8);
    evidence.push(Evidence::new(
        root,
        &format!("{dir}/rx-*/rps_flow_cnt"),
        format!("{} in all", found.queue_flows),
    ));
    if root.read_if_there(FLOWS)?.is_some() {
        let flows = root.read_number(FLOWS)?;
        evidence.push(Evidence::new(root, FLOWS, flows.to_string()));
        found.flows = Some(flows);
    }
    (found.interrupts, found.interrupt_cpus) = read_interrupts(scene, name)?;
    let seen = format!("{} interrupts, taken by CPU {}", found.interrupts, found.interrupt_cpus);
    evidence.push(Evidence::new(root, "/proc/irq/*/smp_affinity_list", seen));
    Ok((decide(name, &found), evidence))
}

/// The card's interrupts and their CPUs; none for an interface without a PCI function.
fn read_interrupts(scene: &Scene<'_>, name: &str) -> Result<(usize, CpuSet), ReadError> {
    let root = scene.root;
    let functions = scene.functions.as_ref().map_or([].as_slice(), Vec::as_slice);
    let has_it = |function: &&Function| function.interfaces.iter().any(|interface| interface.name == name);
    let Some(function) = functions.iter().flatten().find(has_it) else { return Ok(Default::default()) };
    let dir = format!("/sys/bus/pci/devices/{}", function.address);
    if !root.contains(&dir, "msi_irqs")? {
        return Ok(Default::default());
    }
    let numbers = root.names(&format!("{dir}/msi_irqs"))?;
    let mut cpus = Vec::new();
    for number in numbers.iter().filter_map(|number| number.parse::<u32>().ok()) {
        let path = format!("/proc/irq/{number}/smp_affinity_list");
        // The kernel does not allow reading it for an interrupt that it manages itself.
        if let Ok(list) = root.parse::<CpuSet>(&path) {
            cpus.extend(list.iter());
        }
    }
    Ok((numbers.len(), cpus.into_iter().collect()))
}

fn decide(name: &str, found: &Steering) -> Verdict {
    let queues = if found.queues == 1 { "1 queue".to_owned() } else { format!("{} queues", found.queues) };
    let rps = if found.rps.is_empty() { "off".to_owned() } else { format!("to CPU {}", found.rps) };
    let machine_flows = found.flows.unwrap_or(0);
    let is_rfs_on = machine_flows > 0 && found.queue_flows > 0;
    let rfs = if is_rfs_on { format!("{machine_flows} flows") } else { "off".to_owned() };
    let summary = format!("{queues}, RPS {rps}, RFS {rfs}");
    if is_rfs_on || (machine_flows == 0 && found.queue_flows == 0) {
        return Verdict::pass(summary);
    }
    let per_queue = 32_768 / found.queues.max(1);
    Verdict::warn(
        format!("{summary}: only one of its two tables has a size, so RFS does nothing"),
        Remedy::type_in([
            "sysctl -w net.core.rps_sock_flow_entries=32768".to_owned(),
            format!("for f in {INTERFACES}/{name}/queues/rx-*/rps_flow_cnt; do echo {per_queue} > $f; done"),
        ])
        .note("Or set both to 0."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn flow_steering_needs_both_tables() {
        for (queue_flows, flows, status, words) in [
            (0, Some(0), Status::Pass, "RFS off"),
            (0, None, Status::Pass, "RFS off"),
            (4096, Some(32_768), Status::Pass, "RFS 32768 flows"),
            (4096, Some(0), Status::Warn, "does nothing"),
            (0, Some(32_768), Status::Warn, "does nothing"),
        ] {
            let found = Steering { queues: 4, queue_flows, flows, ..Steering::default() };
            let verdict = decide("eth0", &found);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
