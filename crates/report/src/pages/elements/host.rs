//! Hosts beside the trials: the CPU that worked most, and where kernels dropped packets.

use std::collections::BTreeMap;

use linerate_results::host::HostSummary;

use super::super::model::{Block, Cell, Column, Row, Section, Table, Tone};
use super::super::number::{count, percent, things};
use super::super::source::Source;

pub(super) fn section(source: &Source) -> Option<Section> {
    let hosts = of_agents(source);
    if hosts.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("agent", "agent"),
        Column::numbers("trials", "trials"),
        Column::numbers("busiest_cpu", "busiest CPU"),
        Column::numbers("busiest_busy", "its use %"),
        Column::numbers("busiest_softirq", "its softirqs %"),
        Column::numbers("node_busy", "node in use %"),
        Column::numbers("node_steal", "stolen %"),
        Column::numbers("net_rx", "NET_RX softirqs"),
        Column::numbers("softnet_dropped", "softnet drops"),
        Column::numbers("softnet_squeezed", "softnet squeezed"),
        Column::numbers("udp_receive_buffer_errors", "receive buffers full"),
        Column::numbers("interface_drops", "interface drops"),
    ];
    let rows: Vec<Row> = hosts.iter().map(|(agent, hosts)| row(agent, hosts)).collect();
    let table = Table { caption: things(rows.len(), "agent"), columns, rows };
    let text = "Shares are those of the trial in which a CPU of the agent's node was in use most; counts are of all trials. CPUs, softirqs and \
                softnet are those of the whole node, also for agents in containers. Full receive buffers (UDP) and interfaces are those of the \
                agent's network namespace. Frames that DPDK sends and receives on a port of its own do not pass the kernel."
        .to_owned();
    Some(Section { id: "host", title: "Host", blocks: vec![Block::Table(table), Block::Text(text)] })
}

/// Each agent's host in each of its trials.
fn of_agents(source: &Source) -> BTreeMap<&str, Vec<&HostSummary>> {
    let frames = source.summary.trials.iter().flat_map(|trial| &trial.hosts);
    let frames = frames.map(|(agent, host)| (agent.as_str(), host));
    let streams = source.summary.streams.iter().flat_map(|trial| &trial.agents);
    let streams = streams.filter_map(|part| Some((part.agent.as_str(), part.host.as_ref()?)));
    let mut hosts: BTreeMap<&str, Vec<&HostSummary>> = BTreeMap::new();
    for (agent, host) in frames.chain(streams) {
        let known = hosts.entry(agent).or_default();
        // Both directions of a trial have the same host.
        if !known.contains(&host) {
            known.push(host);
        }
    }
    hosts
}

fn row(agent: &str, hosts: &[&HostSummary]) -> Row {
    let busy = |host: &&&HostSummary| host.node_busiest_cpu.map_or(-1.0, |cpu| cpu.busy);
    let busiest = hosts.iter().max_by(|a, b| busy(a).total_cmp(&busy(b)));
    let cpu = busiest.and_then(|host| host.node_busiest_cpu);
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    // The sum of what is known of all trials; `None` when nothing is.
    let sum = |field: fn(&HostSummary) -> Option<u64>| {
        hosts.iter().filter_map(|host| field(host)).reduce(|sum, more| sum + more)
    };
    let counted = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), count);
    let judged = |number: Option<u64>, tone: Tone| -> Cell {
        Cell::toned(
            counted(number),
            if number.is_some_and(|number| number > 0) { tone } else { Tone::Neutral },
        )
    };
    let cells = vec![
        agent.to_owned().into(),
        hosts.len().to_string().into(),
        cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.cpu.to_string()).into(),
        share(cpu.map(|cpu| cpu.busy)).into(),
        share(cpu.and_then(|cpu| cpu.softirq)).into(),
        share(busiest.and_then(|host| host.node_busy_share)).into(),
        share(busiest.and_then(|host| host.node_steal_share)).into(),
        counted(sum(|host| host.node_net_rx)).into(),
        judged(sum(|host| host.node_softnet_dropped), Tone::Bad),
        judged(sum(|host| host.node_softnet_squeezed), Tone::Warning),
        judged(sum(|host| host.udp_receive_buffer_errors), Tone::Bad),
        judged(sum(|host| host.interface_drops), Tone::Bad),
    ];
    Row { key: agent.to_owned(), cells }
}
