//! Heat maps as pictures by TikZ, small ones with their values.

use std::fmt::Write;

use super::super::heat_map::HeatMap;
use super::escape::{breakable, escape};

/// Side of the largest picture in mm.
const LARGEST_MM: f64 = 150.0;
/// Largest side of a cell in mm.
const LARGEST_CELL_MM: f64 = 11.0;
/// Most labels on a side.
const MOST_LABELS: usize = 25;
/// Most columns of a map whose cells have their values.
const WITH_VALUES: usize = 14;

/// Appends a map.
pub(super) fn map(out: &mut String, map: &HeatMap) {
    let many = map.rows.len().max(map.columns.len()).max(1);
    let side = (LARGEST_MM / many as f64).min(LARGEST_CELL_MM);
    let _ = writeln!(out, "\\begin{{minipage}}{{\\linewidth}}\n\\textbf{{{}}}\\par", breakable(&map.title));
    for (step, meaning) in &map.legend {
        let _ = writeln!(out, "\\colorbox{{heat{step}}}{{\\strut\\ }} {}\\quad", breakable(meaning));
    }
    let _ = writeln!(
        out,
        "\\par\\smallskip\n\\begin{{tikzpicture}}[x={side:.2}mm,y=-{side:.2}mm,every node/.style={{font=\\tiny,inner sep=1pt}}]"
    );
    for run in map.runs() {
        let colour = run.step.map_or("black!12".to_owned(), |step| format!("heat{step}"));
        let _ = writeln!(
            out,
            "\\fill[{colour}] ({},{}) rectangle ({},{});",
            run.from,
            run.row,
            run.to,
            run.row + 1
        );
    }
    for (row, name) in map.rows.iter().enumerate().step_by(map.rows.len().div_ceil(MOST_LABELS).max(1)) {
        let _ = writeln!(out, "\\node[anchor=east] at (0,{row}.5) {{{}}};", escape(name));
    }
    for (column, name) in
        map.columns.iter().enumerate().step_by(map.columns.len().div_ceil(MOST_LABELS).max(1))
    {
        let _ = writeln!(out, "\\node[anchor=west,rotate=90] at ({column}.5,0) {{{}}};", escape(name));
    }
    if map.columns.len() <= WITH_VALUES {
        for (row, cells) in map.cells.iter().enumerate() {
            for (column, spot) in cells.iter().enumerate().filter_map(|(at, cell)| Some((at, cell.as_ref()?)))
            {
                let _ = writeln!(out, "\\node at ({column}.5,{row}.5) {{{}}};", escape(&spot.text));
            }
        }
    }
    let _ = writeln!(
        out,
        "\\end{{tikzpicture}}\\par\n{}. {}\n\\end{{minipage}}\\par\\medskip",
        map.sides.meaning,
        breakable(&map.summary)
    );
}

#[cfg(test)]
mod tests {
    use super::super::super::heat_map::{Sides, tests::map as example};
    use super::*;

    #[test]
    fn a_map_is_a_picture_and_escaped() {
        let mut out = String::new();
        map(&mut out, &example());
        assert!(out.contains("loss \\%{,}\\allowbreak{} by \\textless{}net0\\textgreater{}"), "{out}");
        assert!(out.contains("\\fill[heat0] (0,2) rectangle (2,3);"), "{out}");
        assert!(out.contains("\\fill[black!12] (2,0) rectangle (3,1);"), "{out}");
        assert!(out.contains("\\node at (0.5,2.5) {10};"), "{out}");
        assert!(out.contains("\nRows send, columns receive. "), "{out}");
        let mut out = String::new();
        map(&mut out, &HeatMap { sides: Sides::INTERRUPTS, ..example() });
        assert!(out.contains("\nRows are interrupts, columns are CPUs. "), "{out}");
    }
}
