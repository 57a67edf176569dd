//! Charts as SVG by `plotters`, with the colours of the page's style sheet.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::{FontTransform, RGBColor};

use super::super::chart::{Axis, Chart, Mark, Series};

/// Drawing size. Coordinates are whole numbers, so a chart is drawn at twice its size for finer lines.
const SIZE: (u32, u32) = (880, 540);
const FONT: &str = "sans-serif";
/// `plotters` takes the line height of a font and writes it divided by this.
const LINE_OF_FONT: f64 = 1.24;
const TICK_SIZE: f64 = 23.0 * LINE_OF_FONT;
const LABEL_SIZE: f64 = 24.0 * LINE_OF_FONT;
/// Series that have a colour of their own.
const COLOURS: u8 = 6;
const TEXT: RGBColor = RGBColor(0, 1, 0);
const GRID: RGBColor = RGBColor(0, 2, 0);

/// CSS class of the `index`th series, which sets its colour.
pub(super) fn class(chart: &Chart, index: usize) -> String {
    match (number(&chart.series, index), chart.series[index].mark) {
        (Some(number), Mark::Hollow) => format!("c{number} hollow"),
        (Some(number), _) => format!("c{number}"),
        (None, _) => "theory".to_owned(),
    }
}

/// Colour number of a series; a theoretical curve has none.
fn number(series: &[Series], index: usize) -> Option<u8> {
    if series[index].mark == Mark::Theory {
        return None;
    }
    let own = |series: &&Series| !matches!(series.mark, Mark::Theory | Mark::Hollow);
    let colours = series[..=index].iter().filter(own).count().max(1) - 1;
    Some((colours % usize::from(COLOURS)) as u8 + 1)
}

/// The chart as an `svg` element.
///
/// # Errors
/// When `plotters` cannot draw it.
pub(super) fn svg(chart: &Chart) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&root, chart).map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(themed(&text))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawingError = DrawingAreaErrorKind<std::io::Error>;

fn draw(root: &Area<'_>, chart: &Chart) -> Result<(), DrawingError> {
    let widest = chart.y.ticks.iter().map(|tick| tick.label.len()).max().unwrap_or(1);
    let mut context = ChartBuilder::on(root)
        .margin_top(14)
        .margin_right(46)
        .margin_bottom(4)
        .x_label_area_size(84)
        .y_label_area_size(64 + 13 * widest as u32)
        .build_cartesian_2d(&chart.x, &chart.y)?;
    let ticks = (FONT, TICK_SIZE).into_font().color(&TEXT);
    context
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT.stroke_width(2))
        .label_style(ticks)
        .axis_desc_style((FONT, LABEL_SIZE).into_font().transform(FontTransform::None).color(&TEXT))
        .x_desc(chart.x.label.as_str())
        .y_desc(chart.y.label.as_str())
        .x_labels(chart.x.ticks.len())
        .y_labels(chart.y.ticks.len())
        .draw()?;
    let bars = chart.series.iter().filter(|series| series.mark == Mark::Bars).count().max(1);
    let mut bar = 0;
    for (index, series) in chart.series.iter().enumerate() {
        let colour = number(&chart.series, index).map_or(TEXT, |number| RGBColor(0, 0, number));
        let points = series.points.iter().copied();
        // Later series are thinner, so that coinciding earlier ones remain visible.
        let later = (chart.series.len() - 1 - index) as u32;
        let width = (3 + 2 * later).min(9);
        match series.mark {
            Mark::Line => {
                context.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
            }
            Mark::Dotted => {
                context.draw_series(LineSeries::new(points, colour.stroke_width(4)).point_size(7))?;
                context
                    .draw_series(series.points.iter().map(|point| Circle::new(*point, 7, colour.filled())))?;
            }
            Mark::Points => {
                context.draw_series(
                    series.points.iter().map(|point| Circle::new(*point, width + 3, colour.filled())),
                )?;
            }
            Mark::Hollow => {
                context
                    .draw_series(points.map(|point| Circle::new(point, width + 3, colour.stroke_width(2))))?;
            }
            Mark::Segments => {
                let pairs = series.points.chunks_exact(2);
                context
                    .draw_series(pairs.map(|pair| PathElement::new(pair.to_vec(), colour.stroke_width(3))))?;
            }
            Mark::Theory => {
                context.draw_series(DashedLineSeries::new(points, 12, 8, TEXT.stroke_width(3)))?;
            }
            Mark::Bars => {
                let width = 0.7 / bars as f64;
                let left = -0.35 + width * f64::from(bar);
                bar += 1;
                context.draw_series(points.map(|(x, y)| {
                    let corners = [(x + left, chart.y.from), (x + left + width, y.max(chart.y.from))];
                    Rectangle::new(corners, colour.filled())
                }))?;
            }
        }
    }
    Ok(())
}

/// Replaces colours by names of the style sheet, and leaves the size to it.
fn themed(svg: &str) -> String {
    let mut svg =
        svg.replacen(&format!("width=\"{}\" height=\"{}\" ", SIZE.0, SIZE.1), "aria-hidden=\"true\" ", 1);
    for number in 1..=COLOURS {
        svg = svg.replace(&format!("=\"#0000{number:02X}\""), &format!("=\"var(--c{number})\""));
    }
    let svg = svg.replace("=\"#000100\"", "=\"currentColor\"").replace("=\"#000200\"", "=\"var(--grid)\"");
    svg.replace(" opacity=\"1\"", "").replace(&format!(" font-family=\"{FONT}\""), "")
}

/// An axis sets its own ticks instead of those that `plotters` would choose.
impl Ranged for &Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.place(*value) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| tick.at).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for &Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.at == *value);
        tick.map(|tick| tick.label.clone()).unwrap_or_default()
    }
}
