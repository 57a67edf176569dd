//! Hosts beside the trials: the CPU that worked most, and where kernels dropped packets.

use std::collections::{BTreeMap, HashSet};

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
    let text = "Shares are those of the trial in which a CPU of the agent's node was in use most; counts are of all trials, \
                and with ≥ of those of which they are known. CPUs, softirqs and \
                softnet are those of the whole node, also for agents in containers. Full receive buffers (UDP) and interfaces are those of the \
                agent's network namespace. Frames that DPDK sends and receives on a port of its own do not pass the kernel."
        .to_owned();
    Some(Section { id: "host", title: "Host", blocks: vec![Block::Table(table), Block::Text(text)] })
}

/// Each agent's host in each of its trials.
fn of_agents(source: &Source) -> BTreeMap<&str, Vec<&HostSummary>> {
    let mut hosts: BTreeMap<&str, Vec<&HostSummary>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for trial in &source.summary.trials {
        // Both directions of a trial have the same hosts, and files of the same name in the folders of their paths.
        let name = trial.trial.split_once('/').map_or(trial.trial.as_str(), |(_, name)| name);
        for (agent, host) in &trial.hosts {
            if seen.insert((agent, name, host.elapsed_s.to_bits())) {
                hosts.entry(agent).or_default().push(host);
            }
        }
    }
    for part in source.summary.streams.iter().flat_map(|trial| &trial.agents) {
        if let Some(host) = &part.host {
            hosts.entry(&part.agent).or_default().push(host);
        }
    }
    hosts
}

fn row(agent: &str, hosts: &[&HostSummary]) -> Row {
    let busy = |host: &&&HostSummary| host.node_busiest_cpu.map_or(-1.0, |cpu| cpu.busy);
    let busiest = hosts.iter().max_by(|a, b| busy(a).total_cmp(&busy(b)));
    let cpu = busiest.and_then(|host| host.node_busiest_cpu);
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    // The sum over all trials; at least that of those of which it is known.
    let counted = |field: fn(&HostSummary) -> Option<u64>, tone: Tone| -> Cell {
        let known: Vec<u64> = hosts.iter().filter_map(|host| field(host)).collect();
        let sum = known.iter().copied().fold(0, u64::saturating_add);
        let text = match known.len() {
            0 => "-".to_owned(),
            all if all == hosts.len() => count(sum),
            _ => format!("≥ {}", count(sum)),
        };
        Cell::toned(text, if sum > 0 { tone } else { Tone::Neutral })
    };
    let cells = vec![
        agent.to_owned().into(),
        hosts.len().to_string().into(),
        cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.cpu.to_string()).into(),
        share(cpu.map(|cpu| cpu.busy)).into(),
        share(cpu.and_then(|cpu| cpu.softirq)).into(),
        share(busiest.and_then(|host| host.node_busy_share)).into(),
        share(busiest.and_then(|host| host.node_steal_share)).into(),
        counted(|host| host.node_net_rx, Tone::Neutral),
        counted(|host| host.node_softnet_dropped, Tone::Bad),
        counted(|host| host.node_softnet_squeezed, Tone::Warning),
        counted(|host| host.udp_receive_buffer_errors, Tone::Bad),
        counted(|host| host.interface_drops, Tone::Bad),
    ];
    Row { key: agent.to_owned(), cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_are_not_known_of_all_trials_are_lower_bounds() {
        let host = |drops, squeezed| HostSummary {
            interface_drops: drops,
            node_softnet_squeezed: squeezed,
            ..HostSummary::from(&Default::default())
        };
        let (some, none) = (host(Some(1_200), None), host(None, None));
        let shown = |hosts: &[&HostSummary]| row("rx0", hosts).cells.pop().unwrap();
        assert_eq!(shown(&[&some, &some]), Cell::toned("2,400", Tone::Bad));
        assert_eq!(shown(&[&some, &none]), Cell::toned("≥ 1,200", Tone::Bad));
        assert_eq!(shown(&[&none]), Cell::toned("-", Tone::Neutral));
        let all = host(Some(u64::MAX), None);
        assert_eq!(shown(&[&all, &some]), Cell::toned(count(u64::MAX), Tone::Bad));
    }
}
