//! Loss of each path at both bounds, where several paths are loaded together.

use linerate_results::summary::{PathLoss, SearchSummary};

use super::super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::super::number::{percent_of, things};
use crate::search::{is_silent, label};

pub(super) fn blocks(search: &SearchSummary) -> Vec<Block> {
    if search.paths < 2 {
        return Vec::new();
    }
    let bounds: Vec<(String, &[PathLoss])> = search
        .goals
        .iter()
        .flat_map(|one| {
            let name = label(&one.goal);
            [
                (format!("{name} lower bound"), &one.lower_bound_paths[..]),
                (format!("{name} upper bound"), &one.upper_bound_paths[..]),
            ]
        })
        .filter(|(_, paths)| !paths.is_empty())
        .collect();
    let mut pairs: Vec<&str> = Vec::new();
    for path in bounds.iter().flat_map(|(_, paths)| *paths) {
        if !pairs.contains(&path.pair.as_str()) {
            pairs.push(&path.pair);
        }
    }
    if pairs.is_empty() {
        return Vec::new();
    }
    let mut columns = vec![Column::words("pair", "path")];
    columns.extend(bounds.iter().map(|(name, _)| Column::numbers(name, name)));
    let cell = |paths: &[PathLoss], pair: &str| {
        paths.iter().find(|path| path.pair == pair).map_or_else(|| Cell::from("-"), loss)
    };
    let rows = pairs.iter().map(|pair| Row {
        key: (*pair).to_owned(),
        cells: std::iter::once((*pair).into())
            .chain(bounds.iter().map(|(_, paths)| cell(paths, pair)))
            .collect(),
    });
    let caption = format!("Loss in % over the trials at each bound, {}", things(pairs.len(), "path"));
    vec![Block::Table(Table { caption, columns, rows: rows.collect() })]
}

fn loss(path: &PathLoss) -> Cell {
    if is_silent(path) {
        return Cell::toned("100, nothing arrived", Tone::Bad);
    }
    let kept = 1.0 - path.lost_packets as f64 / path.sent_packets.max(1) as f64;
    let heat = (path.sent_packets > 0).then_some(kept);
    Cell { text: percent_of(path.lost_packets, path.sent_packets), heat, ..Cell::default() }
}
