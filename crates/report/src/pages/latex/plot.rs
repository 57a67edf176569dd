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
    let mut colour = 1;
    for series in &chart.series {
        if !matches!(series.mark, Mark::Theory | Mark::Hollow) {
            colour = colours.next().unwrap_or(1);
        }
        if series.points.is_empty() {
            continue;
        }
        let style = match series.mark {
            Mark::Theory => "theory, dashed, thick".to_owned(),
            Mark::Line => format!("series{colour}, thick"),
            Mark::Dotted => format!("series{colour}, thick, mark=*, mark size=1.5pt"),
            Mark::Points => format!("series{colour}, only marks, mark=*, mark size=2pt"),
            Mark::Hollow => format!("series{colour}, only marks, mark=o, mark size=2pt"),
            Mark::Segments => format!("series{colour}, thick, unbounded coords=jump"),
            Mark::Bars => {
                let width = 8.5 * 0.7 / (chart.x.to - chart.x.from).max(1.0);
                format!("series{colour}, fill, draw=none, ybar, bar width={width:.3}cm")
            }
        };
        let _ = writeln!(out, "\\addplot[{style}] coordinates {{{}}};", coordinates(chart, series));
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

/// The points of a series. A logarithmic axis of pgfplots has no zero, so its start stands for it; a gap ends
/// each segment.
fn coordinates(chart: &Chart, series: &Series) -> String {
    let y = |y: f64| if chart.y.scale == Scale::Log { y.max(chart.y.from) } else { y };
    let points = series.points.iter().map(|point| format!("({},{})", number(point.0), number(y(point.1))));
    let mut points: Vec<String> = points.collect();
    if series.mark == Mark::Segments {
        points = points.chunks(2).map(|pair| pair.join(" ")).collect();
        return points.join(" (nan,nan) ");
    }
    points.join(" ")
}

/// A number in TeX's notation.
fn number(value: f64) -> String {
    format!("{value:.6e}")
}
