//! Charts by pgfplots.

use std::fmt::Write;

use super::super::chart::{Axis, Chart, Mark, Scale, Series};
use super::escape::escape;

/// Appends a chart: title, picture, legend and note, one below the other.
pub(super) fn chart(out: &mut String, chart: &Chart) {
    let mut options = vec![
        "width=11cm".to_owned(),
        "height=6.2cm".to_owned(),
        format!("title={{{}}}", escape(&chart.title)),
    ];
    axis(&mut options, 'x', &chart.x);
    axis(&mut options, 'y', &chart.y);
    if chart.y.scale == Scale::Log && chart.series.iter().any(|series| series.mark == Mark::Bars) {
        options.push("log origin=infty".to_owned());
    }
    let _ = writeln!(
        out,
        "\\begin{{minipage}}[t]{{12cm}}\n\\begin{{tikzpicture}}[baseline=(current bounding box.north)]\n\\begin{{axis}}[{}]",
        options.join(", ")
    );
    let mut colours = (1..=6).cycle();
    for series in &chart.series {
        let style = match series.mark {
            Mark::Theory => "theory, dashed, thick".to_owned(),
            Mark::Line => format!("series{}, thick", colours.next().unwrap_or(1)),
            Mark::Dotted => format!("series{}, thick, mark=*, mark size=1.5pt", colours.next().unwrap_or(1)),
            Mark::Points => {
                format!("series{}, only marks, mark=*, mark size=2pt", colours.next().unwrap_or(1))
            }
            Mark::Bars => {
                let width = 8.5 * 0.7 / (chart.x.to - chart.x.from).max(1.0);
                format!(
                    "series{}, fill, draw=none, ybar, bar width={width:.3}cm",
                    colours.next().unwrap_or(1)
                )
            }
        };
        let _ = writeln!(out, "\\addplot[{style}] coordinates {{{}}};", coordinates(series));
        if chart.series.len() > 1 {
            let _ = writeln!(out, "\\addlegendentry{{{}}}", escape(&series.name));
        }
    }
    out.push_str("\\end{axis}\n\\end{tikzpicture}\\par\n");
    if let Some(note) = &chart.note {
        let _ = writeln!(out, "{{\\footnotesize {}\\par}}", escape(note));
    }
    out.push_str("\\end{minipage}\\hfill\n");
}

fn axis(options: &mut Vec<String>, name: char, axis: &Axis) {
    let at: Vec<String> = axis.ticks.iter().map(|tick| number(tick.at)).collect();
    let labels: Vec<String> = axis.ticks.iter().map(|tick| format!("{{{}}}", escape(&tick.label))).collect();
    if axis.scale == Scale::Log {
        options.push(format!("{name}mode=log"));
    }
    options.push(format!("{name}label={{{}}}", escape(&axis.label)));
    options.push(format!("{name}min={}", number(axis.from)));
    options.push(format!("{name}max={}", number(axis.to)));
    options.push(format!("{name}tick={{{}}}", at.join(",")));
    options.push(format!("{name}ticklabels={{{}}}", labels.join(",")));
}

fn coordinates(series: &Series) -> String {
    series
        .points
        .iter()
        .map(|(x, y)| format!("({},{})", number(*x), number(*y)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A number in TeX's notation.
fn number(value: f64) -> String {
    format!("{value:.6e}")
}
