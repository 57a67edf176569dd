//! Topology: senders, receivers and links.

use std::collections::HashSet;

use super::super::model::{Block, Column, End, Fact, Link, Row, Section, Table};
use super::super::number::{bit_rate, things};
use super::super::source::Source;
use linerate_results::summary::AgentInfo;

/// Most pairs that are drawn; more are listed in a table.
const DRAWN_PAIRS: usize = 8;

pub(super) fn section(source: &Source) -> Option<Section> {
    let round_trips = source.summary.trials.iter().filter(|trial| trial.direction.is_round_trip());
    let round_trips: HashSet<&str> = round_trips.map(|trial| trial.pair.as_str()).collect();
    let pairs = source.pairs().into_iter();
    let links: Vec<Link> = pairs.map(|pair| link(source, pair, round_trips.contains(pair))).collect();
    // The pairs of streams are connections, which stand in their own section.
    if links.is_empty() || super::streams::is_of(&source.summary) || super::http::is_of(&source.summary) {
        return None;
    }
    let block = if links.len() <= DRAWN_PAIRS { Block::Links(links) } else { Block::Table(table(&links)) };
    Some(Section { id: "topology", title: "Topology", blocks: vec![block] })
}

fn link(source: &Source, pair: &str, is_round_trip: bool) -> Link {
    let (from, to) = pair.split_once('-').unwrap_or((pair, "?"));
    let [sender, receiver] = source.ends(pair);
    let speed = source.link_bps(pair).map_or("speed unknown".to_owned(), bit_rate);
    let ways = if is_round_trip { ", there and back" } else { "" };
    Link {
        pair: pair.to_owned(),
        from: end(from, sender),
        to: end(to, receiver),
        speed: format!("{speed}{ways}"),
    }
}

fn end(name: &str, agent: Option<&AgentInfo>) -> End {
    let facts = agent.map_or_else(
        || vec![Fact::new("agent", "was never connected")],
        |agent| {
            vec![
                Fact::new("node", &agent.node),
                Fact::new("device", format!("{} ({})", agent.device, agent.driver)),
                Fact::new("MAC", agent.mac.to_string()),
                Fact::new("lcores", lcores(agent)),
                Fact::new("NUMA", agent.numa_node.map_or("-".to_owned(), |node| node.to_string())),
            ]
        },
    );
    End { name: name.to_owned(), facts }
}

pub(super) fn lcores(agent: &AgentInfo) -> String {
    agent.lcores.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn table(links: &[Link]) -> Table {
    let columns = ["pair", "link", "from", "", "to", ""];
    let describe = |end: &End| {
        end.facts.iter().map(|f| format!("{} {}", f.name, f.value)).collect::<Vec<_>>().join("; ")
    };
    Table {
        caption: things(links.len(), "pair"),
        columns: columns.into_iter().map(|title| Column::words(title, title)).collect(),
        rows: links
            .iter()
            .map(|link| Row {
                key: link.pair.clone(),
                cells: vec![
                    link.pair.clone().into(),
                    link.speed.clone().into(),
                    link.from.name.clone().into(),
                    describe(&link.from).into(),
                    link.to.name.clone().into(),
                    describe(&link.to).into(),
                ],
            })
            .collect(),
    }
}
