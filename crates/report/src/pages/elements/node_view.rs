//! Nodes beside the trials, as pods in the nodes' own networks saw them: the queues of their devices, how packets reach
//! CPUs, and where they were dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat_n;

use linerate_results::nodes::{NodeInterface, NodeSummary};

use super::super::model::{Block, Cell, Column, Row, Section, Table, Tone};
use super::super::number::{count, percent, things};
use super::super::source::Source;

/// What is not known where counts of a row, or all of its settings, are not.
const COUNTS: [&str; 6] = ["counters", "queues", "settings", "queue_drops", "queue_full", "device_losses"];
/// Most reasons that are listed for what was not seen.
const MOST_REASONS: usize = 16;

pub(super) fn section(source: &Source) -> Option<Section> {
    let seen: Vec<&NodeSummary> = of_trials(source).collect();
    if seen.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Table(nodes(&seen))];
    let interfaces = interfaces(&seen);
    let has_interfaces = !interfaces.rows.is_empty();
    blocks.extend(has_interfaces.then_some(Block::Table(interfaces)));
    let text = "Of a trial's whole time, with traffic of others on the node. Shares of a node are those of the trial in which a CPU spent most of its \
                time in softirqs; queues and settings of an interface are those of the trial in which it moved most packets; counts are of all \
                trials, and with ≥ of those of which they are known. RSS, RPS, RFS and XPS: queues that take part, of all. Interfaces are those \
                that are up, and have a device behind them or an address.";
    blocks.push(Block::Text(text.to_owned()));
    blocks.extend(reasons(&seen).map(Block::Text));
    Some(Section { id: "node_view", title: "Nodes", blocks })
}

/// Each node of each trial. Of the paths of a trial the first has them.
fn of_trials(source: &Source) -> impl Iterator<Item = &NodeSummary> {
    let summary = &source.summary;
    let frames = summary.trials.iter().map(|trial| &trial.nodes);
    let streams = summary.streams.iter().map(|trial| &trial.nodes);
    frames.chain(streams).chain(summary.http.iter().map(|trial| &trial.nodes)).flatten()
}

fn nodes(seen: &[&NodeSummary]) -> Table {
    let mut by_node: BTreeMap<&str, Vec<&NodeSummary>> = BTreeMap::new();
    seen.iter().for_each(|node| by_node.entry(&node.node).or_default().push(node));
    let columns = vec![
        Column::words("node", "node"),
        Column::numbers("trials", "trials"),
        Column::numbers("seen", "seen in"),
        Column::numbers("softirq_cpu", "CPU with most softirqs"),
        Column::numbers("softirq_share", "its softirqs %"),
        Column::numbers("node_softirq", "node in softirqs %"),
        Column::numbers("node_busy", "node in use %"),
        Column::numbers("net_rx", "NET_RX softirqs"),
        Column::numbers("softnet_dropped", "softnet drops"),
        Column::numbers("softnet_squeezed", "softnet squeezed"),
    ];
    let row = |(node, trials): (&str, Vec<&NodeSummary>)| {
        let share = |node: &&&NodeSummary| node.softirq_cpu.and_then(|cpu| cpu.softirq).unwrap_or(-1.0);
        let most = trials.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
        let cpu = most.and_then(|node| node.softirq_cpu);
        let host = most.and_then(|node| node.host.as_ref());
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        let seen = trials.iter().filter(|node| node.reason.is_none()).count();
        let hosts = || trials.iter().map(|node| node.host.as_ref());
        let cells = vec![
            node.to_owned().into(),
            trials.len().to_string().into(),
            Cell::toned(seen.to_string(), if seen < trials.len() { Tone::Warning } else { Tone::Neutral }),
            cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.cpu.to_string()).into(),
            share(cpu.and_then(|cpu| cpu.softirq)).into(),
            share(host.and_then(|host| host.node_softirq_share)).into(),
            share(host.and_then(|host| host.node_busy_share)).into(),
            counted(hosts().map(|host| host?.node_net_rx), Tone::Neutral),
            counted(hosts().map(|host| host?.node_softnet_dropped), Tone::Bad),
            counted(hosts().map(|host| host?.node_softnet_squeezed), Tone::Warning),
        ];
        Row { key: node.to_owned(), cells }
    };
    let rows: Vec<Row> = by_node.into_iter().map(row).collect();
    Table { caption: things(rows.len(), "node"), columns, rows }
}

fn interfaces(seen: &[&NodeSummary]) -> Table {
    let mut by_interface: BTreeMap<(&str, &str), Vec<&NodeInterface>> = BTreeMap::new();
    let mut trials_of: BTreeMap<&str, usize> = BTreeMap::new();
    for node in seen {
        *trials_of.entry(&node.node).or_default() += 1;
        for interface in &node.interfaces {
            by_interface.entry((&node.node, &interface.interface)).or_default().push(interface);
        }
    }
    let columns = vec![
        Column::words("node", "node"),
        Column::words("interface", "interface"),
        Column::words("driver", "driver"),
        Column::numbers("rx_packets", "received"),
        Column::numbers("tx_packets", "sent"),
        Column::numbers("rx_queues", "RX queues"),
        Column::numbers("rx_queues_used", "with packets"),
        Column::numbers("busiest_rx_share", "busiest one %"),
        Column::numbers("tx_queues", "TX queues"),
        Column::numbers("rx_dropped", "RX dropped"),
        Column::numbers("tx_dropped", "TX dropped"),
        Column::numbers("errors", "errors"),
        Column::numbers("queue_drops", "queue drops"),
        Column::numbers("queue_full", "rings full"),
        Column::words("device_losses", "lost in the device"),
        Column::words("steering", "RSS, RPS, RFS, XPS"),
    ];
    let unseen = |node: &str, seen: usize| trials_of.get(node).map_or(0, |all| all.saturating_sub(seen));
    let row = |(of, trials): ((&str, &str), Vec<&NodeInterface>)| {
        interface(of, &trials, unseen(of.0, trials.len()))
    };
    let rows: Vec<Row> = by_interface.into_iter().map(row).collect();
    Table { caption: things(rows.len(), "interface"), columns, rows }
}

/// The row of an interface, of which nothing is known in `unseen` further trials.
fn interface((node, name): (&str, &str), trials: &[&NodeInterface], unseen: usize) -> Row {
    let moved = |one: &NodeInterface| one.rx_packets.unwrap_or(0).saturating_add(one.tx_packets.unwrap_or(0));
    let most = trials.iter().max_by_key(|one| moved(one));
    let number = |field: fn(&NodeInterface) -> Option<u32>| -> Cell {
        most.and_then(|one| field(one)).map_or_else(|| "-".to_owned(), |number| number.to_string()).into()
    };
    let sum = |field: fn(&NodeInterface) -> Option<u64>, tone: Tone| {
        counted(trials.iter().map(|one| field(one)).chain(repeat_n(None, unseen)), tone)
    };
    let share =
        most.and_then(|one| one.busiest_rx_queue).map_or_else(|| "-".to_owned(), |of| percent(of.share));
    let driver = most.and_then(|one| one.driver.clone()).unwrap_or_else(|| "-".to_owned());
    let errors = |one: &NodeInterface| Some(one.rx_errors?.saturating_add(one.tx_errors?));
    let cells = vec![
        node.to_owned().into(),
        name.to_owned().into(),
        driver.into(),
        sum(|one| one.rx_packets, Tone::Neutral),
        sum(|one| one.tx_packets, Tone::Neutral),
        number(|one| one.rx_queues),
        number(|one| one.rx_queues_used),
        share.into(),
        number(|one| one.tx_queues),
        sum(|one| one.rx_dropped, Tone::Bad),
        sum(|one| one.tx_dropped, Tone::Bad),
        sum(errors, Tone::Bad),
        sum(|one| one.queue_drops, Tone::Bad),
        sum(|one| one.queue_full, Tone::Warning),
        lost_in_device(trials, unseen),
        most.map_or_else(|| "-".to_owned(), |one| steering(one)).into(),
    ];
    Row { key: format!("{node} {name}"), cells }
}

/// The sum over all trials; at least that of those of which it is known.
fn counted(counts: impl Iterator<Item = Option<u64>>, tone: Tone) -> Cell {
    let counts: Vec<Option<u64>> = counts.collect();
    let known = counts.iter().flatten();
    let sum = known.clone().fold(0_u64, |sum, one| sum.saturating_add(*one));
    let text = match known.count() {
        0 => "-".to_owned(),
        all if all == counts.len() => count(sum),
        _ => format!("≥ {}", count(sum)),
    };
    Cell::toned(text, if sum > 0 { tone } else { Tone::Neutral })
}

/// Counters of the whole device that counted something, by the driver's names; at least so much, when one of them is not known in a trial.
fn lost_in_device(trials: &[&NodeInterface], unseen: usize) -> Cell {
    let mut sums: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for (name, lost) in trials.iter().flat_map(|one| &one.device_losses) {
        let (sum, known) = sums.entry(name).or_default();
        (*sum, *known) = (sum.saturating_add(*lost), *known + 1);
    }
    let is_whole = unseen == 0 && sums.values().all(|(_, known)| *known == trials.len());
    let at_least = if is_whole { "" } else { "≥ " };
    let lost: Vec<String> = sums
        .iter()
        .filter(|(_, (lost, _))| *lost > 0)
        .map(|(name, (lost, _))| format!("{name} {at_least}{}", count(*lost)))
        .collect();
    match (sums.is_empty(), lost.is_empty()) {
        (true, _) => "-".into(),
        (_, true) => format!("{at_least}0").into(),
        _ => Cell::toned(lost.join(", "), Tone::Bad),
    }
}

/// How many queues each way of steering uses.
fn steering(of: &NodeInterface) -> String {
    let one = |name: &str, used: Option<u32>, all: Option<u32>| {
        let used = used.map_or_else(|| "?".to_owned(), |used| used.to_string());
        let all = all.map_or_else(|| "?".to_owned(), |all| all.to_string());
        format!("{name} {used}/{all}")
    };
    [
        one("RSS", of.rss_queues, of.rx_queues),
        one("RPS", of.rps_queues, of.rx_queues),
        one("RFS", of.rfs_queues, of.rx_queues),
        one("XPS", of.xps_queues, of.tx_queues),
    ]
    .join(", ")
}

/// Why counts were not seen; the summary also has why a setting is not known, which virtual interfaces lack by nature.
fn reasons(seen: &[&NodeSummary]) -> Option<String> {
    let mut reasons: BTreeSet<String> = BTreeSet::new();
    for node in seen {
        reasons.extend(node.reason.iter().map(|reason| format!("{}: {reason}", node.node)));
        for interface in &node.interfaces {
            let of = format!("{} {}", node.node, interface.interface);
            let counts = interface.not_known.iter().filter(|(what, _)| COUNTS.contains(&what.as_str()));
            reasons.extend(counts.map(|(what, why)| format!("{of}, {what}: {why}")));
        }
    }
    let left_out = reasons.len().saturating_sub(MOST_REASONS);
    let mut text = reasons.into_iter().take(MOST_REASONS).collect::<Vec<_>>().join("; ");
    if left_out > 0 {
        text.push_str(&format!("; and {left_out} more"));
    }
    (!text.is_empty()).then(|| format!("Not known: {text}."))
}

#[cfg(test)]
mod tests {
    use linerate_results::nodes::BusiestQueue;

    use super::*;

    fn device(packets: Option<u64>, used: u32) -> NodeInterface {
        NodeInterface {
            interface: "eth0".to_owned(),
            driver: Some("ice".to_owned()),
            rx_packets: packets,
            tx_packets: packets,
            rx_queues: Some(4),
            rx_queues_used: Some(used),
            busiest_rx_queue: Some(BusiestQueue { queue: 2, packets: 75, share: 0.75 }),
            rss_queues: Some(4),
            rps_queues: Some(0),
            device_losses: [("rx_missed_errors".to_owned(), 5), ("rx_dropped".to_owned(), 0)].into(),
            ..NodeInterface::default()
        }
    }

    #[test]
    fn a_row_has_the_queues_of_the_trial_with_most_packets_and_the_counts_of_all() {
        let (most, less) = (device(Some(1_000), 3), device(Some(10), 1));
        let shown = |trials: &[&NodeInterface]| {
            interface(("n1", "eth0"), trials, 0).cells.into_iter().map(|cell| cell.text).collect::<Vec<_>>()
        };
        let cells = shown(&[&less, &most]);
        assert_eq!(
            cells[..8],
            ["n1", "eth0", "ice", "1,010", "1,010", "4", "3", "75.0000"].map(str::to_owned)
        );
        assert_eq!(cells[14..], ["rx_missed_errors 10", "RSS 4/4, RPS 0/4, RFS ?/4, XPS ?/?"]);
        let unknown = NodeInterface { interface: "eth0".to_owned(), ..NodeInterface::default() };
        let cells = shown(&[&most, &unknown]);
        assert_eq!((&*cells[3], &*cells[9], &*cells[14]), ("≥ 1,000", "-", "rx_missed_errors ≥ 5"));
    }

    #[test]
    fn what_a_device_lost_is_at_least_so_much_when_a_trial_does_not_tell() {
        let counts = |counts: &[(&str, u64)]| NodeInterface {
            device_losses: counts.iter().map(|(name, lost)| ((*name).to_owned(), *lost)).collect(),
            ..NodeInterface::default()
        };
        let (lost, none) = (counts(&[("a", 3), ("b", 0)]), counts(&[("a", 0), ("b", 0)]));
        let reset = counts(&[("b", 0)]);
        let told = |trials: &[&NodeInterface], unseen| lost_in_device(trials, unseen).text;
        assert_eq!(told(&[&lost, &none], 0), "a 3");
        assert_eq!(told(&[&lost, &reset], 0), "a ≥ 3");
        assert_eq!(told(&[&none, &reset], 0), "≥ 0");
        assert_eq!((told(&[&none], 0), told(&[&none], 1)), ("0".to_owned(), "≥ 0".to_owned()));
        assert_eq!(told(&[&counts(&[])], 0), "-");
    }

    #[test]
    fn a_trial_without_an_interface_leaves_its_counts_at_least_what_the_others_have() {
        let node = |interfaces| NodeSummary {
            node: "n1".to_owned(),
            reason: None,
            host: None,
            softirq_cpu: None,
            interfaces,
            interfaces_left_out: 0,
        };
        let (there, gone) = (node(vec![device(Some(10), 1)]), node(Vec::new()));
        let table = interfaces(&[&there, &gone]);
        assert_eq!(table.rows[0].cells[3].text, "≥ 10");
        assert_eq!(interfaces(&[&there]).rows[0].cells[3].text, "10");
    }
}
