//! Tables as wide as the page allows, kept on one page if they fit.

use std::fmt::Write;

use super::super::html::heat_step;
use super::super::model::{Row, Table};
use super::escape::{breakable, escape};
use super::toned;

/// Width of the text in mm: A4 landscape, less the margins.
const PAGE_MM: f64 = 269.0;
/// Characters from which text cells may have several lines.
const WIDE: usize = 28;
/// Columns from which a table has small letters.
const DENSE: usize = 10;
/// Lines of the largest table that is kept on one page.
const MOST_LINES: usize = 36;

/// Appends a table.
pub(super) fn table(out: &mut String, table: &Table) {
    let columns: String = table.columns.iter().map(|column| if column.numeric { 'r' } else { 'l' }).collect();
    let last = table.columns.len().max(1);
    let head = table.columns.iter().map(|column| heading(&column.title)).collect::<Vec<_>>().join(" & ");
    let caption = breakable(&table.caption);
    let is_dense = last > DENSE;
    let size = if is_dense { "\\fontsize{6}{7.5}\\selectfont" } else { "\\footnotesize" };
    let layout = Layout::of(table, if is_dense { 1.2 } else { 1.65 });
    let _ = writeln!(out, "{{{size}\\setlength{{\\tabcolsep}}{{3pt}}");
    let title = format!(
        "\\multicolumn{{{last}}}{{@{{}}l@{{}}}}{{\\normalsize {caption}}}\\\\[2pt]\n\\toprule\n{head} \\\\\n\\midrule"
    );
    let rows: String = table.rows.iter().map(|row| format!("{} \\\\\n", layout.row(row))).collect();
    let _ = if layout.lines <= MOST_LINES {
        writeln!(
            out,
            "\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n{title}\n{rows}\\bottomrule\n\\end{{tabular}}}}\\par\\medskip"
        )
    } else {
        let head = format!("{title}\n\\endhead\n\\bottomrule\n\\endfoot");
        writeln!(out, "\\begin{{longtable}}{{@{{}}{columns}@{{}}}}\n{head}\n{rows}\\end{{longtable}}}}")
    };
}

/// Columns that may have several lines, and their width.
struct Layout {
    wide: Vec<bool>,
    wide_mm: f64,
    lines: usize,
}

impl Layout {
    /// `letter_mm` is the mean width of a letter.
    fn of(table: &Table, letter_mm: f64) -> Self {
        // The longest cell of a column decides whether it may have several lines.
        let longest: Vec<usize> = (0..table.columns.len())
            .map(|index| {
                table.rows.iter().map(|row| row.cells[index].text.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let wide: Vec<bool> = longest.iter().map(|longest| *longest > WIDE).collect();
        let heading = |title: &str| title.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        let narrow_mm: f64 = (0..wide.len())
            .filter(|index| !wide[*index])
            .map(|index| longest[index].max(heading(&table.columns[index].title)) as f64 * letter_mm)
            .sum();
        let gaps_mm = 2.2 * wide.len() as f64;
        let number = wide.iter().filter(|is_wide| **is_wide).count().max(1) as f64;
        let most = longest.iter().copied().max().unwrap_or(0) as f64 * letter_mm;
        let wide_mm = ((PAGE_MM - narrow_mm - gaps_mm) / number).clamp(30.0, most.max(30.0));
        let letters = (wide_mm / letter_mm).max(1.0) as usize;
        let height = |row: &Row| {
            let cells = row.cells.iter().zip(&wide).filter(|(_, is_wide)| **is_wide);
            cells.map(|(cell, _)| cell.text.chars().count().div_ceil(letters)).max().unwrap_or(1).max(1)
        };
        let lines = table.rows.iter().map(height).sum();
        Self { wide, wide_mm, lines }
    }

    fn row(&self, row: &Row) -> String {
        let cells = row.cells.iter().zip(&self.wide).map(|(cell, is_wide)| match (cell.heat, is_wide) {
            (Some(heat), _) => format!("\\cellcolor{{heat{}}}{}", heat_step(heat), escape(&cell.text)),
            (None, true) => format!("\\wide{{{:.1}mm}}{{{}}}", self.wide_mm, breakable(&cell.text)),
            (None, false) => toned(&cell.text, cell.tone),
        });
        cells.collect::<Vec<_>>().join(" & ")
    }
}

/// A heading with one line per word, so that narrow columns stay narrow.
fn heading(title: &str) -> String {
    let lines: Vec<String> = title.split(' ').map(breakable).collect();
    format!("\\shortstack{{{}}}", lines.join("\\\\"))
}
