//! HTML: one self-contained page without scripts and network access, light and dark.

mod heat_map;
mod svg;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::Chart;
use super::model::{Block, Cell, Column, End, Fact, Finding, Group, Link, Report, Section, Table, Tone};

const STYLE: &str = include_str!("style.css");
/// Content security policy: only styles are allowed. Scripts and requests are blocked, whatever names a
/// result contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Columns from which a table has smaller letters, so that it fits on a desktop screen.
const DENSE: usize = 12;

/// The report as a page.
pub(super) fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="linerate";
                title { (report.title) " – Linerate report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "Linerate report" }
                    h1 { (report.title) }
                    (facts(&report.facts))
                }
                nav aria-label="Sections" {
                    @for section in &report.sections { a href=(format!("#{}", section.id)) { (section.title) } }
                }
                main { @for part in &report.sections { (section(part)) } }
            }
        }
    };
    page.into_string()
}

/// Text that may break after underscores, which names of profiles have.
fn soft(text: &str) -> Markup {
    html! { @for (index, part) in text.split_inclusive('_').enumerate() { @if index > 0 { wbr; } (part) } }
}

fn section(section: &Section) -> Markup {
    html! {
        section id=(section.id) {
            h2 { (section.title) }
            @for part in &section.blocks { (block(part)) }
        }
    }
}

fn block(part: &Block) -> Markup {
    match part {
        Block::Text(text) => html! { p { (text) } },
        Block::Findings(all) => html! { ul.findings { @for one in all { (finding(one)) } } },
        Block::Facts(all) => facts(all),
        Block::Links(all) => html! { div.links { @for one in all { (link(one)) } } },
        Block::Table(one) => table(one),
        Block::Charts(all) => html! { div.charts { @for one in all { (figure(one)) } } },
        Block::Maps(all) => html! { div.maps { @for one in all { (heat_map::figure(one)) } } },
        Block::Group(one) => group(one),
    }
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
        Tone::Neutral => "neutral",
    }
}

fn badge(text: &str, of: Tone) -> Markup {
    html! { span class={ "badge " (tone(of)) } { (text) } }
}

fn finding(finding: &Finding) -> Markup {
    html! {
        li class=(tone(finding.tone)) {
            (badge(&finding.badge, finding.tone))
            div {
                strong { (soft(&finding.subject)) }
                " " span { (soft(&finding.evidence)) }
            }
        }
    }
}

fn facts(facts: &[Fact]) -> Markup {
    html! {
        dl.facts { @for fact in facts { div { dt { (fact.name) } dd { (soft(&fact.value)) } } } }
    }
}

fn link(link: &Link) -> Markup {
    html! {
        div.link {
            (end(&link.from, "TX"))
            div.wire {
                span { (link.pair) }
                div.arrow aria-hidden="true" {}
                span { (link.speed) }
            }
            (end(&link.to, "RX"))
        }
    }
}

fn end(end: &End, side: &str) -> Markup {
    html! {
        div.end { h3 { (end.name) " " small { (side) } } (facts(&end.facts)) }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        // Keyboards can scroll only focusable elements.
        div.scroll tabindex="0" role="region" aria-label=(table.caption) {
            table.dense[table.columns.len() > DENSE] {
                caption { (table.caption) }
                thead { tr { @for column in &table.columns { th scope="col" class=(side(column)) { (soft(&column.title)) } } } }
                tbody {
                    @for row in &table.rows {
                        tr data-key=(row.key) {
                            @for (column, one) in table.columns.iter().zip(&row.cells) { (cell(column, one)) }
                        }
                    }
                }
            }
        }
    }
}

fn side(column: &Column) -> &'static str {
    if column.numeric { "number" } else { "words" }
}

fn cell(column: &Column, cell: &Cell) -> Markup {
    let class = match (cell.heat, cell.tone) {
        (Some(heat), _) => format!("{} heat h{}", side(column), heat_step(heat)),
        (None, Tone::Neutral) => side(column).to_owned(),
        (None, judged) => format!("{} {}", side(column), tone(judged)),
    };
    html! { td class=(class) data-field=(column.key) { (soft(&cell.text)) } }
}

/// Step of a heat, 0 to 5; the last starts at 0.99999.
pub(super) fn heat_step(heat: f64) -> usize {
    [0.5, 0.9, 0.99, 0.999, 0.99999].iter().filter(|bound| heat >= **bound).count()
}

fn figure(chart: &Chart) -> Markup {
    let drawn = match svg::svg(chart) {
        Ok(text) => html! { (PreEscaped(text)) },
        Err(reason) => html! { p { "This chart could not be drawn: " (reason) } },
    };
    html! {
        figure {
            figcaption { (chart.title) }
            @if chart.series.len() > 1 {
                ul.legend {
                    @for (index, series) in chart.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty()) {
                        li class=(svg::class(chart, index)) { (soft(&series.name)) }
                    }
                }
            }
            div role="img" aria-label={ (chart.title) ": " (chart.y.label) " over " (chart.x.label) } { (drawn) }
            @if let Some(note) = &chart.note { p.note { (note) } }
        }
    }
}

fn group(group: &Group) -> Markup {
    html! {
        details class=(tone(group.tone)) open[group.open] {
            summary { (badge(&group.badge, group.tone)) " " span { (soft(&group.title)) } }
            @for part in &group.blocks { (block(part)) }
        }
    }
}
