//! Check: lcores, memory and devices are on the same NUMA node.

use linerate_hardware::CpuSet;

use crate::check::{Check, Evidence, Remedy, Topic, Verdict};
use crate::requirements::SocketMem;
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const NODES: &str = "/sys/devices/system/node";

const TOPIC: Topic = Topic {
    id: "cpu.locality",
    title: "NUMA locality",
    why: "A device writes packets to the memory of its own node. From another node each packet crosses the \
          link between the sockets, which costs latency and a good part of the rate.",
};

/// A result for each required device with a known node, on a machine with several nodes.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    if scene.wanted.lcores.is_none() && scene.wanted.socket_mem.is_none() {
        return Vec::new();
    }
    let judge = |device: &crate::device::DeviceFacts| {
        let address = device.address().to_string();
        judge(scene, &address).transpose().map(|outcome| TOPIC.judge(false, outcome).about(address))
    };
    scene.devices.iter().filter_map(judge).collect()
}

fn judge(scene: &Scene<'_>, address: &str) -> Result<Option<(Verdict, Vec<Evidence>)>, ReadError> {
    let nodes = read_nodes(scene.root)?;
    if nodes.len() < 2 {
        return Ok(None);
    }
    let path = format!("/sys/bus/pci/devices/{address}/numa_node");
    let Some(text) = scene.root.read_if_there(&path)? else { return Ok(None) };
    let mut evidence = vec![Evidence::new(scene.root, &path, text.trim())];
    let listed = |(id, cpus): &(u32, CpuSet)| {
        Evidence::new(scene.root, &format!("{NODES}/node{id}/cpulist"), cpus.to_string())
    };
    evidence.extend(nodes.iter().map(listed));
    let (lcores, memory) = (scene.wanted.lcores.as_ref(), scene.wanted.socket_mem.as_ref());
    // -1: the firmware does not report a node.
    let verdict = match text.trim().parse::<u32>() {
        Ok(node) => decide(node, &nodes, lcores, memory),
        Err(_) if text.trim() == "-1" => Verdict::warn(
            "the firmware does not report the device's node",
            Remedy::type_in([format!("lspci -vs {address}")])
                .note("Look up in the machine's manual to which processor the slot belongs."),
        ),
        Err(_) => return Err(scene.root.malformed(&path, "expected the number of a node or -1")),
    };
    Ok(Some((verdict, evidence)))
}

fn read_nodes(root: &Root) -> Result<Vec<(u32, CpuSet)>, ReadError> {
    let mut nodes = Vec::new();
    for name in root.names(NODES)? {
        let number = name.strip_prefix("node").and_then(|number| number.parse().ok());
        let Some(number) = number else { continue };
        nodes.push((number, root.parse(&format!("{NODES}/{name}/cpulist"))?));
    }
    nodes.sort_by_key(|&(number, _)| number);
    Ok(nodes)
}

fn decide(
    node: u32,
    nodes: &[(u32, CpuSet)],
    lcores: Option<&CpuSet>,
    memory: Option<&SocketMem>,
) -> Verdict {
    let near = nodes.iter().find(|(id, _)| *id == node).map(|(_, cpus)| cpus.clone()).unwrap_or_default();
    let far = lcores.map(|lcores| lcores.without(&near)).unwrap_or_default();
    let mut faults = Vec::new();
    if !far.is_empty() {
        faults.push(format!("the lcores on CPU {far} are on another node"));
    }
    let at_home = match memory {
        None => true,
        // A single number is allocated on node 0, or on any node where EAL finds memory.
        Some(SocketMem::Total(_)) => node == 0,
        Some(SocketMem::PerNode(nodes)) => nodes.get(node as usize).is_some_and(|&megabytes| megabytes > 0),
    };
    if !at_home {
        faults.push("--socket-mem asks for no memory there".to_owned());
    }
    if faults.is_empty() {
        return Verdict::pass(format!("all on node {node}"));
    }
    let zeros = "0,".repeat(node.min(64) as usize);
    let memory = memory.map(|memory| format!(", and memory by --socket-mem {zeros}{}", memory.total()));
    Verdict::warn(
        format!("the device is on node {node}, but {}", faults.join(", and ")),
        Remedy::default().note(format!(
            "Take lcores among CPU {near}{}. On Kubernetes: topology manager policy single-numa-node.",
            memory.unwrap_or_default()
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn all_belong_to_the_devices_node() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        let nodes = [(0, set("0-3")), (1, set("4-7"))];
        for (node, lcores, memory, status, words) in [
            (1, Some("4-5"), Some("0,1024"), Status::Pass, "all on node 1"),
            (1, Some("3-5"), Some("0,1024"), Status::Warn, "CPU 3 are on another"),
            (1, Some("4-5"), Some("1024"), Status::Warn, "no memory there"),
            (1, None, Some("1024,0"), Status::Warn, "no memory there"),
            (0, None, Some("1024"), Status::Pass, "node 0"),
            (7, Some("0"), None, Status::Warn, "CPU 0 are on another"),
        ] {
            let memory = memory.map(|text: &str| text.parse().unwrap());
            let verdict = decide(node, &nodes, lcores.map(set).as_ref(), memory.as_ref());
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
