//! Tables that fit the width of the terminal.

use std::ops::Range;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use linerate_logging::terminal::escaped_line;

/// Shortest length of a shortened name, in characters.
const LEAST_NAME: usize = 16;
/// Blanks around a cell; there is one more between two columns.
const PADDING: usize = 2;

/// A table of titles and rows of text. Each cell is printed on one line.
#[derive(Debug)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Columns that may be omitted, the least important first.
    expendable: Vec<usize>,
}

#[derive(Debug)]
struct Column {
    title: String,
    number: bool,
    /// True when its cells may be shortened.
    name: bool,
}

impl Grid {
    /// A grid whose columns `numbers` are aligned right.
    pub(super) fn new(titles: &[&str], numbers: Range<usize>) -> Self {
        let titles = titles.iter().enumerate();
        let columns = titles.map(|(index, title)| Column {
            title: escaped_line(title),
            number: numbers.contains(&index),
            name: false,
        });
        Self { columns: columns.collect(), rows: Vec::new(), expendable: Vec::new() }
    }

    /// Sets the columns with names, which may be shortened.
    pub(super) fn names(mut self, indices: &[usize]) -> Self {
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.name = indices.contains(&index);
        }
        self
    }

    /// Sets the columns that may be omitted, the least important first.
    pub(super) fn expendable(mut self, indices: &[usize]) -> Self {
        self.expendable = indices.to_vec();
        self
    }

    /// Adds a row with a cell for each column.
    pub(super) fn add_row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| escaped_line(&cell)).collect());
    }

    /// The table for `width` characters; `None` for any width. A line below it lists what was shortened or
    /// omitted.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let Some(width) = width else { return self.text(&self.all(), usize::MAX) };
        let mut shown = self.all();
        let mut left_out = Vec::new();
        let mut most_name = usize::MAX;
        if self.width(&shown, usize::MAX) > width {
            for expendable in &self.expendable {
                if self.width(&shown, LEAST_NAME) <= width {
                    break;
                }
                shown.retain(|column| column != expendable);
                left_out.push(self.columns[*expendable].title.clone());
            }
            // Names get the remaining width.
            most_name = LEAST_NAME;
            let longest = self.longest_name();
            while most_name < longest && self.width(&shown, most_name + 1) <= width {
                most_name += 1;
            }
        }
        let mut text = self.text(&shown, most_name);
        let shortened =
            shown.iter().any(|index| self.columns[*index].name && self.longest(*index) > most_name);
        let mut said = Vec::new();
        if shortened {
            said.push("names are shortened".to_owned());
        }
        if !left_out.is_empty() {
            said.push(format!("left out: {}", left_out.join(", ")));
        }
        if !said.is_empty() {
            text.push_str(&format!("\n({}; a wider terminal, a pipe or --json has all)", said.join("; ")));
        }
        text
    }

    fn all(&self) -> Vec<usize> {
        (0..self.columns.len()).collect()
    }

    fn longest(&self, column: usize) -> usize {
        self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    }

    fn longest_name(&self) -> usize {
        let names = self.columns.iter().enumerate().filter(|(_, column)| column.name);
        names.map(|(index, _)| self.longest(index)).max().unwrap_or(0)
    }

    /// Width of the columns if names have at most `most_name` characters.
    fn width(&self, shown: &[usize], most_name: usize) -> usize {
        let wide = |index: &usize| {
            let column = &self.columns[*index];
            let longest = self.longest(*index);
            let cells = if column.name { longest.min(most_name) } else { longest };
            cells.max(column.title.chars().count()) + PADDING
        };
        shown.iter().map(wide).sum::<usize>() + shown.len().saturating_sub(1)
    }

    fn text(&self, shown: &[usize], most_name: usize) -> String {
        let mut table = Table::new();
        let rule = LineStyle::none().fill('─').junction('─');
        table.load_style(TableStyle::new().header_separator(rule));
        table.set_header(shown.iter().map(|index| self.columns[*index].title.as_str()));
        let cells: Vec<Vec<String>> = shown
            .iter()
            .map(|index| {
                let cells: Vec<&str> = self.rows.iter().map(|row| row[*index].as_str()).collect();
                match self.columns[*index].name {
                    true => shorten(&cells, most_name),
                    false => cells.into_iter().map(str::to_owned).collect(),
                }
            })
            .collect();
        for row in 0..self.rows.len() {
            table.add_row(cells.iter().map(|column| column[row].as_str()));
        }
        for (place, index) in shown.iter().enumerate() {
            if let Some(column) = table.column_mut(place).filter(|_| self.columns[*index].number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

/// Names of at most `most` characters. The part in which they differ is kept, with as much around it as fits.
fn shorten(names: &[&str], most: usize) -> Vec<String> {
    let letters: Vec<Vec<char>> = names.iter().map(|name| name.chars().collect()).collect();
    let long: Vec<&Vec<char>> = letters.iter().filter(|name| name.len() > most).collect();
    let Some(first) = long.first() else { return names.iter().map(|name| (*name).to_owned()).collect() };
    let shared = |same: &dyn Fn(&[char], usize) -> bool| {
        (0..first.len()).take_while(|at| long.iter().all(|name| same(name, *at))).count()
    };
    let several = long.iter().any(|name| name != first);
    let prefix = if several { shared(&|name, at| name.get(at) == Some(&first[at])) } else { 0 };
    // Cuts between words: 1_flows and 10000_flows differ in their numbers.
    let prefix = first[..prefix].iter().rposition(|letter| *letter == '_').map_or(0, |at| at + 1);
    let from_end = |name: &[char], at: usize| name.len().checked_sub(at + 1).map(|index| name[index]);
    let suffix = if several { shared(&|name, at| from_end(name, at) == from_end(first, at)) } else { 0 };
    let torn = first[first.len() - suffix..].iter().position(|letter| *letter == '_').unwrap_or(suffix);
    let suffix = suffix - torn;
    letters
        .iter()
        .map(|name| if name.len() > most { cut(name, prefix, suffix, most) } else { name.iter().collect() })
        .collect()
}

/// A name of `most` characters: its part between `prefix` and `suffix` with as much of both as fits, or both
/// ends of that part if it is too long.
fn cut(name: &[char], prefix: usize, suffix: usize, most: usize) -> String {
    let (mut from, mut to) = (prefix.min(name.len()), name.len().saturating_sub(suffix).max(prefix));
    let room =
        |from: usize, to: usize| most.saturating_sub(usize::from(from > 0) + usize::from(to < name.len()));
    if to - from > room(from, to) || (from == 0 && to == name.len()) {
        let part = &name[from..to];
        let kept = most.saturating_sub(1);
        let head = kept.div_ceil(2);
        let tail = kept - head;
        return part[..head.min(part.len())]
            .iter()
            .chain(&['…'])
            .chain(&part[part.len().saturating_sub(tail)..])
            .collect();
    }
    while from > 0 && to - from < room(from - 1, to) {
        from -= 1;
    }
    while to < name.len() && to - from < room(from, to + 1) {
        to += 1;
    }
    let before = if from > 0 { "…" } else { "" };
    let after = if to < name.len() { "…" } else { "" };
    format!("{before}{}{after}", name[from..to].iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortened_names_keep_what_they_differ_in() {
        let names = [
            "profile_100_flows_pkt_size_64B_50kpps_rate_sd",
            "profile_100_flows_pkt_size_512B_50kpps_rate_sd",
        ];
        for most in [16, 20, 30, 40] {
            let short = shorten(&names, most);
            assert!(short.iter().all(|name| name.chars().count() <= most), "{short:?}");
            assert!(short[0].contains("64") && short[1].contains("512"), "{short:?}");
        }
        assert_eq!(shorten(&names, 60), names);
        let flows = [
            "profile_1_flows_pkt_size_64B_20kpps_rate_sd",
            "profile_10000_flows_pkt_size_1518B_20kpps_rate_sd",
        ];
        let short = shorten(&flows, 24);
        assert!(short[0].contains("1_flows") && short[1].contains("10000_flows"), "{short:?}");
        assert_eq!(shorten(&names[..1], 20), ["profile_10…s_rate_sd"]);
        assert_eq!(shorten(&["short", names[0]], 16)[0], "short");
        let apart = shorten(&["aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbb"], 16);
        assert_eq!(apart, ["aaaaaaaa…aaaaaaa", "bbbbbbbb…bbbbbbb"]);
    }

    fn grid() -> Grid {
        let mut grid = Grid::new(&["profile", "size", "lost", "verdict"], 1..3).names(&[0]).expendable(&[1]);
        grid.add_row(
            ["profile_100_flows_pkt_size_64B_50kpps_rate_sd", "64", "0", "clean"].map(str::to_owned),
        );
        grid.add_row(
            ["profile_100_flows_pkt_size_512B_50kpps_rate_sd", "512", "7", "path-limited"].map(str::to_owned),
        );
        grid
    }

    fn widest(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('(')).map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn a_grid_is_as_wide_as_the_terminal_at_most() {
        let whole = grid().render(None);
        assert!(whole.contains("rate_sd") && widest(&whole) > 70 && !whole.contains('('), "{whole}");
        assert_eq!(grid().render(Some(200)), whole);
        assert_eq!(grid().render(Some(widest(&whole))), whole);
        for width in [widest(&whole) - 1, 60, 48] {
            let text = grid().render(Some(width));
            assert!(widest(&text) <= width, "{width}: {text}");
            assert!(text.contains("size") && text.contains("(names are shortened; a wider"), "{text}");
        }
        let narrow = grid().render(Some(40));
        assert!(widest(&narrow) <= 40 && narrow.contains("; left out: size; a wider terminal"), "{narrow}");
        assert!(narrow.contains("512") && narrow.contains("path-limited"), "{narrow}");
    }

    #[test]
    fn cells_are_lines_whatever_is_in_them() {
        let mut grid = Grid::new(&["name"], 0..0);
        grid.add_row(["a\u{1b}[2J\nb".to_owned()]);
        let text = grid.render(None);
        assert!(text.contains("a\\u001b[2J\\nb") && text.lines().count() == 3, "{text}");
    }
}
