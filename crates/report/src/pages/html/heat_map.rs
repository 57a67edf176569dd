//! Heat maps as SVG, with their values as a table below.

use maud::{Markup, html};

use super::super::heat_map::{HeatMap, Run};

/// Side of a cell.
const SIDE: usize = 20;
/// Width of a letter of the labels.
const LETTER: usize = 8;
/// Most labels on a side.
const MOST_LABELS: usize = 25;
/// Most columns whose values are shown open.
const OPEN: usize = 8;

/// The map as a figure.
pub(super) fn figure(map: &HeatMap) -> Markup {
    html! {
        figure.map {
            figcaption { (map.title) }
            ul.steps {
                @for (step, meaning) in &map.legend { li { i class={ "h" (step) } {} (meaning) } }
            }
            div role="img" aria-label={ (map.title) ": " (map.summary) } { (svg(map)) }
            p.note { (map.sides.meaning) ". " (map.summary) }
            details open[map.columns.len() <= OPEN] {
                summary { "Values" }
                (values(map))
            }
        }
    }
}

fn svg(map: &HeatMap) -> Markup {
    let longest = map.rows.iter().chain(&map.columns).map(|name| name.chars().count()).max().unwrap_or(1);
    let margin = (longest * LETTER + 6).min(8 * SIDE);
    let (width, height) = (margin + map.columns.len() * SIDE, margin + map.rows.len() * SIDE);
    let stride = |count: usize| count.div_ceil(MOST_LABELS).max(1);
    let middle = |index: usize| margin + index * SIDE + SIDE / 2;
    html! {
        svg aria-hidden="true" viewBox=(format!("0 0 {width} {height}")) style=(format!("max-width:{}px", width.max(200))) {
            @for (index, name) in map.rows.iter().enumerate().step_by(stride(map.rows.len())) {
                text x=(margin - 4) y=(middle(index) + 4) text-anchor="end" { (name) }
            }
            @for (index, name) in map.columns.iter().enumerate().step_by(stride(map.columns.len())) {
                text transform=(format!("translate({},{}) rotate(-90)", middle(index) + 4, margin - 4)) { (name) }
            }
            @for (class, path) in paths(&map.runs(), margin) { path class=(class) d=(path) {} }
        }
    }
}

/// A path for each step, so that a map of thousands of cells is small.
fn paths(runs: &[Run], margin: usize) -> Vec<(String, String)> {
    let mut steps: Vec<Option<usize>> = runs.iter().map(|run| run.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let path = |step: Option<usize>| {
        let of_step = runs.iter().filter(|run| run.step == step);
        let drawn: String = of_step
            .map(|run| {
                let (x, y) = (margin + run.from * SIDE, margin + run.row * SIDE);
                let width = (run.to - run.from) * SIDE - 1;
                format!("M{x} {y}h{width}v{0}h-{width}z", SIDE - 1)
            })
            .collect();
        (step.map_or("unknown".to_owned(), |step| format!("m{step}")), drawn)
    };
    steps.into_iter().map(path).collect()
}

fn values(map: &HeatMap) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(map.title) {
            table.dense.values {
                thead { tr { th scope="col" { (map.sides.rows) } @for name in &map.columns { th scope="col" { (name) } } } }
                tbody {
                    @for (name, cells) in map.rows.iter().zip(&map.cells) {
                        tr {
                            th scope="row" { (name) }
                            @for cell in cells {
                                @match cell {
                                    None => td {},
                                    Some(spot) => td class=[spot.step.map(|step| format!("h{step}"))] { (spot.text) },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::heat_map::{Sides, tests::map};
    use super::*;

    #[test]
    fn a_map_is_a_picture_with_its_values_and_escaped() {
        let page = figure(&map()).into_string();
        assert!(page.contains("<figcaption>loss %, by &lt;net0&gt;</figcaption>"), "{page}");
        assert!(page.contains("aria-label=\"loss %, by &lt;net0&gt;: 0 to 10 %\""), "{page}");
        // Two cells of the worst step beside each other are one rectangle.
        assert!(page.contains("class=\"m0\" d=\"M22 62h39v19h-39z\""), "{page}");
        assert!(page.contains("class=\"unknown\""), "{page}");
        assert!(page.contains("<td class=\"h0\">10</td>") && page.contains("<td>?</td>"), "{page}");
        assert!(page.contains("Rows send, columns receive. ") && page.contains(">from</th>"), "{page}");
        let page = figure(&HeatMap { sides: Sides::LOADS, ..map() }).into_string();
        assert!(page.contains("Rows are loads, columns are CPUs. ") && page.contains(">load</th>"), "{page}");
        assert!(!page.contains("Rows send") && !page.contains(">from</th>"), "{page}");
    }
}
