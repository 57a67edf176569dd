//! Environment: machines, programs, and the time that the run took.

use super::super::model::{Block, Column, Fact, Row, Section, Table};
use super::super::number::{bit_rate, count};
use super::super::source::Source;
use super::machines;
use super::topology::lcores;

pub(super) fn section(source: &Source) -> Option<Section> {
    let experiment = &source.summary.experiment;
    let overhead = source.summary.overhead;
    let parts = overhead.parts().map(|(part, seconds)| format!("{part} {seconds:.2}"));
    let versions = &experiment.versions;
    let facts = vec![
        Fact::new("agent", versions.agent.as_deref().unwrap_or("-")),
        Fact::new("control protocol", versions.protocol.to_string()),
        Fact::new("document", &experiment.document),
        Fact::new("overhead", format!("{:.2} s: {}", overhead.total_s, parts.join(", "))),
    ];
    let mut facts = facts;
    facts.extend(
        experiment
            .environment_changes
            .iter()
            .map(|change| Fact::new("not all trials ran on the same", change)),
    );
    let mut blocks = vec![Block::Facts(facts)];
    match &source.environment {
        Some(environment) => blocks.extend(machines::nodes(environment)),
        None => blocks.push(Block::Text("The machines were not recorded.".to_owned())),
    }
    if !experiment.agents.is_empty() {
        blocks.push(Block::Table(agents(source)));
    }
    blocks.extend(source.environment.iter().flat_map(machines::agents));
    if !experiment.agents.is_empty() {
        let commands = experiment.agents.iter();
        blocks.push(Block::Facts(
            commands.map(|agent| Fact::new(&agent.name, agent.command_line.join(" "))).collect(),
        ));
    }
    if !source.summary.warm_up.is_empty() {
        blocks.push(Block::Table(warm_up(source)));
        let skipped = source.summary.warm_up.iter().filter_map(|entry| {
            let why = entry.skipped.as_ref()?;
            Some(Fact::new(format!("not sent from {} to {}", entry.from, entry.to), why))
        });
        blocks.extend(Some(skipped.collect::<Vec<_>>()).filter(|facts| !facts.is_empty()).map(Block::Facts));
    }
    Some(Section { id: "environment", title: "Environment", blocks })
}

fn agents(source: &Source) -> Table {
    let columns = vec![
        Column::words("name", "agent"),
        Column::words("node", "node"),
        Column::words("device", "device"),
        Column::words("driver", "driver"),
        Column::words("mac", "MAC"),
        Column::numbers("numa_node", "NUMA node"),
        Column::words("link_bps", "link"),
        Column::words("lcores", "lcores"),
        Column::words("hugepages", "hugepages"),
        Column::numbers("tick_hz", "counter Hz"),
        Column::numbers("told_hz", "stated Hz"),
        Column::numbers("difference_ppm", "stated minus measured, ppm"),
    ];
    let rows = source.summary.experiment.agents.iter().map(|agent| Row {
        key: agent.name.clone(),
        cells: vec![
            agent.name.clone().into(),
            agent.node.clone().into(),
            agent.device.clone().into(),
            agent.driver.clone().into(),
            agent.mac.to_string().into(),
            agent.numa_node.map_or("-".to_owned(), |node| node.to_string()).into(),
            agent.link_bps.map_or("-".to_owned(), bit_rate).into(),
            lcores(agent).into(),
            if agent.hugepages { "yes" } else { "no" }.into(),
            count(agent.tick_hz).into(),
            agent.tick_rate.map_or("-".to_owned(), |rate| count(rate.told_hz)).into(),
            agent.tick_rate.map_or("-".to_owned(), |rate| format!("{:+.2}", rate.difference_ppm)).into(),
        ],
    });
    Table { caption: "Agents and their ports".to_owned(), columns, rows: rows.collect() }
}

fn warm_up(source: &Source) -> Table {
    let columns = vec![
        Column::words("pair", "pair"),
        Column::words("from", "from"),
        Column::words("to", "to"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("received_packets", "received"),
        Column::numbers("attempts", "attempts"),
        Column::numbers("duration_s", "s"),
    ];
    let rows = source.summary.warm_up.iter().map(|entry| Row {
        key: format!("{} {}", entry.pair, entry.from),
        cells: vec![
            entry.pair.clone().into(),
            entry.from.clone().into(),
            entry.to.clone().into(),
            count(entry.sent_packets).into(),
            count(entry.received_packets).into(),
            entry.attempts.to_string().into(),
            format!("{:.3}", entry.duration_s).into(),
        ],
    });
    Table { caption: "Traffic before the first trial".to_owned(), columns, rows: rows.collect() }
}
