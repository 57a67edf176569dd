//! Load of queues and lcores, and its evenness.

use super::super::chart::{Axis, Chart, Mark, Series};
use super::super::model::Block;
use super::super::number::{count, percent};
use super::super::source::{Source, Trial};

/// Most bars that are named.
const MOST_NAMES: usize = 16;

pub(super) fn blocks(_: &Source, trial: &Trial<'_>) -> Vec<Block> {
    let figures = trial.figures;
    let lcores = |lcores: &[linerate_results::summary::LcoreSummary]| {
        lcores.iter().map(|l| (l.lcore.to_string(), l.packets)).collect::<Vec<_>>()
    };
    let queues: Vec<(String, u64)> = figures
        .rx_queue_frames
        .iter()
        .enumerate()
        .map(|(queue, frames)| (queue.to_string(), *frames))
        .collect();
    let spreads = [
        ("Frames by RX queue", "RX queue", "frames", queues),
        ("Packets by TX lcore", "TX lcore", "packets", lcores(&figures.tx_lcores)),
        ("Packets by RX lcore", "RX lcore", "packets", lcores(&figures.rx_lcores)),
    ];
    // A single queue cannot be compared.
    let (spread, single): (Vec<_>, Vec<_>) = spreads.into_iter().partition(|(.., parts)| parts.len() > 1);
    let mut blocks = Vec::new();
    if !spread.is_empty() {
        blocks.push(Block::Charts(
            spread.iter().map(|(title, label, of, parts)| chart(title, label, of, parts)).collect(),
        ));
    }
    let words: Vec<String> = single
        .iter()
        .filter_map(|(_, label, of, parts)| {
            parts.first().map(|(name, all)| format!("{label} {name} had all {} {of}", count(*all)))
        })
        .collect();
    if !words.is_empty() {
        blocks.push(Block::Text(format!("{}.", words.join("; "))));
    }
    blocks
}

fn chart(title: &str, label: &str, of: &str, parts: &[(String, u64)]) -> Chart {
    let names: Vec<String> = parts.iter().map(|part| part.0.clone()).collect();
    let most = parts.iter().map(|part| part.1).max().unwrap_or(0);
    let least = parts.iter().map(|part| part.1).min().unwrap_or(0);
    let (unit, size) = match most {
        10_000_000.. => (format!("million {of}"), 1e6),
        10_000.. => (format!("thousand {of}"), 1e3),
        _ => (of.to_owned(), 1.0),
    };
    let points = parts.iter().enumerate().map(|(index, part)| (index as f64, part.1 as f64 / size)).collect();
    let share = least as f64 / most.max(1) as f64;
    Chart {
        title: title.to_owned(),
        x: Axis::of_things(label, &names, MOST_NAMES),
        y: Axis::from_zero(unit, most as f64 / size),
        series: vec![Series::new(title, Mark::Bars, points)],
        note: Some(format!("The least loaded had {} % of the most loaded one's.", percent(share))),
    }
}
