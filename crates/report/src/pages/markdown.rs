//! Markdown: GitHub's tables, charts as lines of block characters.

use std::fmt::Write;

use super::chart::{Chart, Mark, Scale, Series};
use super::heat_map::{HeatMap, STEPS as HEATS, Spot};
use super::model::{Block, Cell, Column, Fact, Finding, Group, Link, Report, Row, Table, Tone};
use super::number::short;

/// Block characters of a chart, from low to high.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Width of a chart in characters.
const WIDTH: usize = 48;
/// Most columns of a heat map that is a table.
const MOST_COLUMNS: usize = 16;

/// The report as Markdown.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    heading(&mut out, 1, &report.title);
    facts(&mut out, &report.facts);
    for section in &report.sections {
        heading(&mut out, 2, section.title);
        blocks(&mut out, &section.blocks, 3);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn heading(out: &mut String, level: usize, text: &str) {
    let _ = writeln!(out, "{} {}\n", "#".repeat(level), escape(text));
}

fn blocks(out: &mut String, blocks: &[Block], level: usize) {
    for block in blocks {
        match block {
            Block::Text(text) => {
                let _ = writeln!(out, "{}\n", escape(text));
            }
            Block::Findings(all) => findings(out, all),
            Block::Facts(all) => facts(out, all),
            Block::Links(all) => links(out, all),
            Block::Table(one) => table(out, one),
            Block::Charts(all) => all.iter().for_each(|one| chart(out, one)),
            Block::Maps(all) => all.iter().for_each(|one| map(out, one)),
            Block::Group(Group { title, badge, blocks: parts, .. }) => {
                heading(out, level, &format!("{title}: {badge}"));
                self::blocks(out, parts, level + 1);
            }
        }
    }
}

fn sign(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "✓ ",
        Tone::Warning => "! ",
        Tone::Bad => "✗ ",
        Tone::Neutral => "",
    }
}

fn findings(out: &mut String, findings: &[Finding]) {
    for Finding { tone, badge, subject, evidence } in findings {
        let (badge, subject, evidence) = (escape(badge), escape(subject), escape(evidence));
        let _ = writeln!(out, "- {}**{badge}** {subject}: {evidence}", sign(*tone));
    }
    out.push('\n');
}

fn facts(out: &mut String, facts: &[Fact]) {
    for fact in facts {
        let _ = writeln!(out, "- {}: {}", escape(&fact.name), escape(&fact.value));
    }
    out.push('\n');
}

fn links(out: &mut String, links: &[Link]) {
    let columns = ["pair", "end", "fact", "value"];
    let rows = links.iter().flat_map(|link| {
        [(&link.from, "TX"), (&link.to, "RX")].into_iter().flat_map(move |(end, side)| {
            let speed = Fact::new("link", &link.speed);
            let facts = end.facts.iter().cloned().chain((side == "TX").then_some(speed));
            facts.map(move |fact| Row {
                key: link.pair.clone(),
                cells: vec![
                    link.pair.clone().into(),
                    format!("{} {side}", end.name).into(),
                    fact.name.into(),
                    fact.value.into(),
                ],
            })
        })
    });
    let columns = columns.into_iter().map(|title| Column::words(title, title)).collect();
    table(out, &Table { caption: String::new(), columns, rows: rows.collect() });
}

fn table(out: &mut String, table: &Table) {
    if !table.caption.is_empty() {
        let _ = writeln!(out, "{}:\n", escape(&table.caption));
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(table.columns.iter().map(|column| escape(&column.title)).collect()));
    let rules = table.columns.iter().map(|column| if column.numeric { "---:" } else { "---" }.to_owned());
    out.push_str(&line(rules.collect()));
    for row in &table.rows {
        out.push_str(&line(row.cells.iter().map(|Cell { text, .. }| escape(text)).collect()));
    }
    out.push('\n');
}

fn chart(out: &mut String, chart: &Chart) {
    let _ = writeln!(
        out,
        "**{}** ({} over {})\n",
        escape(&chart.title),
        escape(&chart.y.label),
        escape(&chart.x.label)
    );
    let columns = vec![
        Column::words("series", "series"),
        Column::words("chart", format!("{} to {}", short(chart.x.from), short(chart.x.to))),
        Column::numbers("lowest", "lowest"),
        Column::numbers("highest", "highest"),
    ];
    // A line of blocks cannot show separate segments.
    let drawn = chart.series.iter().filter(|series| series.mark != Mark::Segments);
    let rows = drawn.filter_map(|series| {
        let (low, high) = series.range()?;
        let cells = vec![
            series.name.clone().into(),
            sparkline(chart, series).into(),
            short(low).into(),
            short(high).into(),
        ];
        Some(Row { key: series.name.clone(), cells })
    });
    table(out, &Table { caption: String::new(), columns, rows: rows.collect() });
    if let Some(note) = &chart.note {
        let _ = writeln!(out, "{}\n", escape(note));
    }
}

/// A small map as a table, a large one as a line of blocks for each row: the lower, the worse.
fn map(out: &mut String, map: &HeatMap) {
    let _ = writeln!(out, "**{}**\n\n{}\n", escape(&map.title), escape(&map.summary));
    if map.columns.len() <= MOST_COLUMNS {
        let columns = map.columns.iter().map(|name| Column::numbers(name, name));
        let columns =
            std::iter::once(Column::words("row", format!("{} \\ {}", map.sides.rows, map.sides.columns)))
                .chain(columns)
                .collect();
        let text = |cell: &Option<Spot>| cell.as_ref().map_or(String::new(), |spot| spot.text.clone());
        let rows = map.rows.iter().zip(&map.cells).map(|(name, cells)| Row {
            key: name.clone(),
            cells: std::iter::once(name.clone()).chain(cells.iter().map(text)).map(Cell::from).collect(),
        });
        return table(out, &Table { caption: String::new(), columns, rows: rows.collect() });
    }
    let mut meanings: Vec<String> = Vec::new();
    meanings.extend(map.legend.iter().map(|(step, meaning)| format!("{} {meaning}", block_of(*step))));
    let _ = writeln!(out, "{}: {}; ? not known\n", map.sides.meaning, escape(&meanings.join("; ")));
    let width = map.rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    out.push_str("```\n");
    for (name, cells) in map.rows.iter().zip(&map.cells) {
        let name: String =
            name.chars().map(|one| if one.is_control() || one == '`' { '?' } else { one }).collect();
        let line = cells.iter().map(|cell| match cell {
            None => ' ',
            Some(Spot { step: None, .. }) => '?',
            Some(Spot { step: Some(step), .. }) => block_of(*step),
        });
        let _ = writeln!(out, "{name:width$} {}", line.collect::<String>().trim_end());
    }
    out.push_str("```\n\n");
}

/// The block character of a step of a heat map.
fn block_of(step: usize) -> char {
    STEPS[(step * (STEPS.len() - 1)).div_ceil(HEATS - 1).min(STEPS.len() - 1)]
}

/// The series in one line over the chart's axes; `·` before its first point.
fn sparkline(chart: &Chart, series: &Series) -> String {
    let width = if chart.x.scale == Scale::Linear && series.points.len() < WIDTH {
        series.points.len().max(8)
    } else {
        WIDTH
    };
    let mut points = series.points.iter().map(|(x, y)| (chart.x.place(*x), chart.y.place(*y))).peekable();
    let mut height = None;
    let line: Vec<char> = (0..width)
        .map(|column| {
            let right = (column + 1) as f64 / width as f64;
            while let Some((_, y)) = points.next_if(|(x, _)| *x <= right) {
                height = Some(y);
            }
            height.map_or('·', |height| STEPS[((height * 7.0).round() as usize).min(7)])
        })
        .collect();
    line.into_iter().collect()
}

/// Escaped text: without markup, HTML and line breaks.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '!' | '|' | '~' => {
                out.push('\\');
                out.push(character);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                out.push(' ');
            }
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::chart::Axis;
    use crate::pages::heat_map::{Sides, tests::map as example};

    #[test]
    fn a_series_is_a_line_over_the_axes() {
        let points: Vec<(f64, f64)> = (0..8).map(|i| (f64::from(i), f64::from(i))).collect();
        let chart = Chart {
            title: String::new(),
            x: Axis::from_zero("", 7.0),
            y: Axis { from: 0.0, to: 7.0, ..Axis::from_zero("", 7.0) },
            series: vec![],
            note: None,
        };
        let line = sparkline(&chart, &Series::new("", Mark::Line, points));
        assert_eq!(line.chars().count(), 8);
        assert!(line.starts_with(['▁', '▂']) && line.ends_with('█'), "{line}");
    }

    #[test]
    fn a_map_names_its_sides_small_and_large() {
        let small = |sides| {
            let mut out = String::new();
            map(&mut out, &HeatMap { sides, ..example() });
            out
        };
        assert!(small(Sides::CONNECTIONS).contains("| from \\\\ to | a0 | a1 | a2 |"));
        assert!(small(Sides::LOADS).contains("| load \\\\ CPU | a0 | a1 | a2 |"));
        let mut wide = HeatMap { sides: Sides::LOADS, ..example() };
        wide.columns = (0..=MOST_COLUMNS).map(|cpu| format!("CPU {cpu}")).collect();
        let mut out = String::new();
        map(&mut out, &wide);
        assert!(out.contains("\nRows are loads, columns are CPUs: "), "{out}");
    }
}
