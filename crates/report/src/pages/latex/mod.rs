//! An article for pdflatex, with charts by pgfplots.

mod escape;
mod heat_map;
mod plot;
mod table;

use std::fmt::Write;

use self::escape::{breakable, escape};
use super::model::{Block, Fact, Finding, Group, Link, Report, Tone};

const PREAMBLE: &str = include_str!("preamble.tex");

/// The report as an article.
pub(super) fn render(report: &Report) -> String {
    let mut out = PREAMBLE.to_owned();
    let title = escape(&report.title);
    let _ = write!(out, "\\begin{{document}}\n{{\\LARGE\\bfseries {title}}}\\par\\smallskip\n");
    facts(&mut out, &report.facts);
    for section in &report.sections {
        let _ = writeln!(out, "\\section*{{{}}}", escape(section.title));
        blocks(&mut out, &section.blocks);
    }
    out.push_str("\\end{document}\n");
    out
}

fn blocks(out: &mut String, parts: &[Block]) {
    for block in parts {
        match block {
            Block::Text(text) => {
                let _ = writeln!(out, "{}\\par\\smallskip", breakable(text));
            }
            Block::Findings(all) => findings(out, all),
            Block::Facts(all) => facts(out, all),
            Block::Links(all) => links(out, all),
            Block::Table(one) => table::table(out, one),
            Block::Charts(all) => {
                out.push_str("\\begin{flushleft}\n");
                all.iter().for_each(|chart| plot::chart(out, chart));
                out.push_str("\\end{flushleft}\n");
            }
            Block::Maps(all) => all.iter().for_each(|map| heat_map::map(out, map)),
            Block::Group(Group { title, badge, tone, blocks: inner, .. }) => {
                let _ = writeln!(
                    out,
                    "\\subsection*{{{} \\textnormal{{{}}}}}",
                    breakable(title),
                    toned(badge, *tone)
                );
                blocks(out, inner);
            }
        }
    }
}

fn toned(text: &str, tone: Tone) -> String {
    let text = escape(text);
    match tone {
        Tone::Good => format!("\\textcolor{{good}}{{{text}}}"),
        Tone::Warning => format!("\\textcolor{{warning}}{{{text}}}"),
        Tone::Bad => format!("\\textcolor{{bad}}{{{text}}}"),
        Tone::Neutral => text,
    }
}

fn findings(out: &mut String, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    out.push_str("\\begin{itemize}\n");
    for finding in findings {
        let badge = toned(&finding.badge, finding.tone);
        let (subject, evidence) = (breakable(&finding.subject), breakable(&finding.evidence));
        let _ = writeln!(out, "\\item \\textbf{{{badge}}} {subject}: {evidence}");
    }
    out.push_str("\\end{itemize}\n");
}

fn facts(out: &mut String, facts: &[Fact]) {
    for fact in facts {
        let _ = writeln!(out, "\\fact{{{}}}{{{}}}", escape(&fact.name), breakable(&fact.value));
    }
    out.push_str("\\par\\smallskip\n");
}

fn links(out: &mut String, links: &[Link]) {
    for link in links {
        let end = |end: &super::model::End| {
            let facts: Vec<String> =
                end.facts.iter().map(|f| format!("{} {}", escape(&f.name), breakable(&f.value))).collect();
            format!("\\agent{{{}}}{{{}}}", escape(&end.name), facts.join("\\\\ "))
        };
        let (from, to) = (end(&link.from), end(&link.to));
        let (pair, speed) = (escape(&link.pair), escape(&link.speed));
        let _ = writeln!(out, "\\link{{{from}}}{{{pair}}}{{{speed}}}{{{to}}}\\par\\smallskip");
    }
}
