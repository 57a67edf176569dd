//! Details of each trial: rates over time, queues, worst flows.

use super::super::model::{Block, Group, Section, Tone};
use super::super::number::things;
use super::super::source::{CLOSE_TRIALS, Source, tone};
use super::PARTS;

/// Trials whose details are shown open; of more, only those with losses are.
const OPEN: usize = 12;

pub(super) fn section(source: &Source) -> Option<Section> {
    let total = source.summary.matrix_trials().count();
    let mut blocks = Vec::new();
    if total > CLOSE_TRIALS {
        blocks.push(Block::Text(format!(
            "{CLOSE_TRIALS} of {} are shown closely, those with losses before the others.",
            things(total, "trial")
        )));
    }
    if !source.unread.is_empty() {
        blocks.push(Block::Text(format!("Records that could not be read: {}.", source.unread.join("; "))));
    }
    let names = source.names();
    for trial in source.trials().filter(|trial| trial.record.is_some()) {
        let parts = side_by_side(PARTS.iter().flat_map(|part| part(source, &trial)));
        let tone = tone(trial.figures.verdict.kind);
        blocks.push(Block::Group(Group {
            title: format!("{}: {}", trial.number, names.name(trial.figures)),
            badge: trial.figures.verdict.kind.to_string(),
            tone,
            open: total <= OPEN || tone == Tone::Bad,
            blocks: parts,
        }));
    }
    (!blocks.is_empty()).then_some(Section { id: "closely", title: "Trials closely", blocks })
}

/// Merges consecutive charts into one block, so that they share a line if there is room.
fn side_by_side(parts: impl Iterator<Item = Block>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for part in parts {
        match (blocks.last_mut(), part) {
            (Some(Block::Charts(before)), Block::Charts(charts)) => before.extend(charts),
            (_, part) => blocks.push(part),
        }
    }
    blocks
}
