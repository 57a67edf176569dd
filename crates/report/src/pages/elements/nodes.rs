//! Node to node: loss and received load of all pairs between two machines, if pairs run between several
//! machines.

use std::collections::BTreeMap;

use super::super::model::{Block, Cell, Column, Row, Section, Table};
use super::super::number::{mpps, percent_of, things};
use super::super::source::Source;

/// Most nodes in one table that fit on a page.
const MOST_COLUMNS: usize = 12;

/// Traffic from one node to another.
#[derive(Debug, Default)]
struct Path {
    sent: u64,
    lost: u64,
    /// Received load by trial, summed over all pairs of the path.
    received_pps: BTreeMap<(String, u32), f64>,
}

impl Path {
    fn loss(&self) -> Cell {
        let kept = 1.0 - self.lost as f64 / self.sent.max(1) as f64;
        let heat = (self.sent > 0).then_some(kept);
        Cell { text: percent_of(self.lost, self.sent), heat, ..Cell::default() }
    }

    /// Received load of the trial with the highest.
    fn received_pps(&self) -> f64 {
        self.received_pps.values().copied().fold(0.0, f64::max)
    }
}

pub(super) fn section(source: &Source) -> Option<Section> {
    let mut nodes: Vec<String> = Vec::new();
    let mut paths: BTreeMap<(usize, usize), Path> = BTreeMap::new();
    for trial in source.summary.matrix_trials() {
        let [Some(from), Some(to)] = source.ends(&trial.pair) else { continue };
        let mut index = |name: &String| {
            nodes.iter().position(|known| known == name).unwrap_or_else(|| {
                nodes.push(name.clone());
                nodes.len() - 1
            })
        };
        let path = paths.entry((index(&from.node), index(&to.node))).or_default();
        path.sent = path.sent.saturating_add(trial.sent_packets);
        path.lost = path.lost.saturating_add(trial.lost_packets);
        *path.received_pps.entry((trial.profile.clone(), trial.repeat)).or_default() += trial.received_pps;
    }
    if nodes.len() < 2 {
        return None;
    }
    let most = paths.values().map(Path::received_pps).fold(0.0, f64::max).max(1.0);
    let text = "From the node of the row to the node of the column: loss of all trials, and the highest received load that a trial had, all pairs \
                between the two together. A round trip counts for the way there.";
    let load = |path: &Path| Cell {
        text: mpps(path.received_pps()),
        heat: Some(path.received_pps() / most),
        ..Cell::default()
    };
    let mut blocks = vec![Block::Text(text.to_owned())];
    blocks.extend(tables("Loss in %", &nodes, &paths, Path::loss));
    blocks.extend(tables("Received load in Mpps", &nodes, &paths, load));
    Some(Section { id: "nodes", title: "From node to node", blocks })
}

fn tables(
    what: &str,
    nodes: &[String],
    paths: &BTreeMap<(usize, usize), Path>,
    cell: impl Fn(&Path) -> Cell,
) -> Vec<Block> {
    let indices: Vec<usize> = (0..nodes.len()).collect();
    let table = |part: &[usize]| {
        let mut columns = vec![Column::words("node", "from / to")];
        columns.extend(part.iter().map(|to| Column::numbers(&nodes[*to], &nodes[*to])));
        let row = |(from, name): (usize, &String)| {
            let cells = part.iter().map(|to| paths.get(&(from, *to)).map_or("-".into(), &cell));
            Row { key: name.clone(), cells: std::iter::once(name.clone().into()).chain(cells).collect() }
        };
        let sending = nodes.iter().enumerate().filter(|(from, _)| paths.keys().any(|path| path.0 == *from));
        let rows = sending.map(row).collect();
        Block::Table(Table { caption: format!("{what}, {}", things(nodes.len(), "node")), columns, rows })
    };
    let receiving: Vec<usize> =
        indices.into_iter().filter(|to| paths.keys().any(|path| path.1 == *to)).collect();
    receiving.chunks(MOST_COLUMNS).map(table).collect()
}
