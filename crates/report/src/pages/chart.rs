//! Charts, independent of the format: axes with their ticks, and series of points.

use super::number::short;

/// Most ticks of a linear axis.
const MOST_TICKS: f64 = 6.0;
/// Most nines of a percentile axis whose labels all have room.
const MOST_NINES: usize = 6;

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Its title.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The series, in drawing order.
    pub series: Vec<Series>,
    /// A note for readers.
    pub note: Option<String>,
}

/// Scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Proportional.
    Linear,
    /// Logarithmic; a value of zero is placed at the start of the axis.
    Log,
}

/// An axis and its ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Quantity with the unit.
    pub label: String,
    /// Its scale.
    pub scale: Scale,
    /// Smallest value.
    pub from: f64,
    /// Largest value, above the smallest.
    pub to: f64,
    /// Its ticks.
    pub ticks: Vec<Tick>,
}

/// A tick of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Its value.
    pub at: f64,
    /// Its label.
    pub label: String,
}

/// Drawing style of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line.
    Line,
    /// A line with its points.
    Dotted,
    /// Points alone.
    Points,
    /// Hollow points in the colour of the series before.
    Hollow,
    /// A line between the points of each pair: first and second, third and fourth.
    Segments,
    /// A theoretical curve: a dashed line in the colour of the text.
    Theory,
    /// A bar from the axis to each point.
    Bars,
}

/// A series of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its drawing style.
    pub mark: Mark,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A series.
    pub fn new(name: impl Into<String>, mark: Mark, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), mark, points }
    }

    /// Smallest and largest y.
    pub fn range(&self) -> Option<(f64, f64)> {
        range(self.points.iter().map(|point| point.1))
    }
}

impl Axis {
    /// An axis from zero to a little above `to`.
    pub fn from_zero(label: impl Into<String>, to: f64) -> Self {
        let to = if to > 0.0 && to.is_normal() { to } else { 1.0 };
        let step = nice_step(to / MOST_TICKS);
        let last = (to / step).ceil().max(1.0) as u32;
        let ticks = (0..=last).map(|index| f64::from(index) * step).map(Tick::at).collect();
        Self { label: label.into(), scale: Scale::Linear, from: 0.0, to: f64::from(last) * step, ticks }
    }

    /// A logarithmic axis over `from` to `to`, both above zero, in whole decades, or in steps of 1, 2 and 5 where it spans fewer than two.
    /// A linear one where an end has no logarithm.
    pub fn log(label: impl Into<String>, from: f64, to: f64) -> Self {
        let to = to.max(from * 1.01);
        if !(from.is_normal() && from > 0.0 && to.is_finite()) {
            return Self::from_zero(label, to);
        }
        let (low, high) = (from.log10().floor() as i32, (to.log10() - 1e-9).ceil() as i32);
        let steps: &[f64] = if high - low <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let stride = ((high - low) / 7 + 1).max(1) as usize;
        let all: Vec<f64> = (low..=high)
            .step_by(stride)
            .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
            .collect();
        let slack = 1.0 + 1e-9;
        let first = all.iter().rev().find(|at| **at <= from * slack).copied().unwrap_or(from);
        let last = all.iter().find(|at| **at * slack >= to).copied().unwrap_or(10f64.powi(high));
        let ticks = all.into_iter().filter(|at| (first..=last).contains(at)).map(Tick::at).collect();
        Self { label: label.into(), scale: Scale::Log, from: first, to: last, ticks }
    }

    /// A linear axis over `from` to `to`, and a little more, which need not begin at zero.
    pub fn between(label: impl Into<String>, from: f64, to: f64) -> Self {
        let least = (from.abs().max(to.abs()) * 1e-6).max(f64::MIN_POSITIVE);
        let step = nice_step((to - from).max(least) / MOST_TICKS);
        let (first, last) = ((from / step).floor(), (to / step).ceil());
        let last = last.max(first + 1.0);
        let ticks =
            (0..=(last - first) as u32).map(|index| Tick::at((first + f64::from(index)) * step)).collect();
        Self { label: label.into(), scale: Scale::Linear, from: first * step, to: last * step, ticks }
    }

    /// A logarithmic axis over `from` to `to`, both above zero, with a place for zero a decade below.
    pub fn log_with_zero(label: impl Into<String>, from: f64, to: f64) -> Self {
        let mut axis = Self::log(label, 10f64.powf(from.log10().floor()), to);
        if axis.scale == Scale::Linear {
            return axis;
        }
        axis.from /= 10.0;
        axis.ticks.insert(0, Tick { at: axis.from, label: "0".to_owned() });
        axis
    }

    /// An axis of numbered items, each in the middle of its place; at most `most` of them are labelled.
    pub fn of_things(label: impl Into<String>, names: &[String], most: usize) -> Self {
        let stride = names.len().div_ceil(most.max(1)).max(1);
        let ticks = names
            .iter()
            .enumerate()
            .step_by(stride)
            .map(|(index, name)| Tick { at: index as f64, label: name.clone() })
            .collect();
        let to = names.len() as f64 - 0.5;
        Self { label: label.into(), scale: Scale::Linear, from: -0.5, to: to.max(0.5), ticks }
    }

    /// An axis of percentiles by their distance from the last packet, 1 / (1 − p), from the median up to
    /// `furthest`.
    pub fn of_percentiles(furthest: f64) -> Self {
        let to = furthest.max(10.0) * 1.2;
        let decades = to.log10().floor() as usize;
        let stride = if decades > MOST_NINES { 2 } else { 1 };
        let tick = |nines: usize| Tick { at: 10f64.powi(nines as i32), label: nines_label(nines) };
        let ticks = (0..=decades).step_by(stride).map(tick).collect();
        Self { label: "percentile, %".to_owned(), scale: Scale::Log, from: 1.0, to, ticks }
    }

    /// Relative position of a value: 0 at the start of the axis, 1 at its end.
    pub fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Label with this number of nines: 0, 90, 99, 99.9 and so on.
fn nines_label(nines: usize) -> String {
    match nines {
        0 => "0".to_owned(),
        1 => "90".to_owned(),
        2 => "99".to_owned(),
        _ => format!("99.{}", "9".repeat(nines - 2)),
    }
}

impl Tick {
    fn at(at: f64) -> Self {
        Self { at, label: short(at) }
    }
}

/// Smallest and largest of some values.
pub fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// The smallest of 1, 2 or 5 times a power of ten that is at least `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(ticks(&Axis::from_zero("", 3.0)), ["0", "0.5", "1", "1.5", "2", "2.5", "3"]);
        assert_eq!(ticks(&Axis::from_zero("", 0.42)), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(Axis::from_zero("", 0.0).to, 1.0);
        assert_eq!(Axis::from_zero("", f64::NAN).to, 1.0);
    }

    #[test]
    fn a_log_axis_has_decades_and_more_where_they_are_few() {
        assert_eq!(
            ticks(&Axis::log("", 0.3, 90_000.0)),
            ["0.1", "1", "10", "100", "1,000", "10,000", "100,000"]
        );
        assert_eq!(ticks(&Axis::log("", 3.0, 30.0)), ["2", "5", "10", "20", "50"]);
        assert_eq!(ticks(&Axis::log("", 2e-7, 4.5)), ["0.0000001", "0.00001", "0.001", "0.1", "10"]);
        let same = Axis::log("", 10.0, 10.0);
        assert!(same.from < same.to, "{same:?}");
        assert_eq!(Axis::log("", 1.0, 100.0).place(10.0), 0.5);
    }

    #[test]
    fn an_axis_of_numbers_without_logarithm_is_linear() {
        for (from, to) in [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (0.0, 0.0)] {
            let axis = Axis::log("", from, to);
            assert_eq!((axis.scale, axis.from, axis.to), (Scale::Linear, 0.0, 1.0), "{from} to {to}");
        }
        let axis = Axis::log_with_zero("", 0.0, 1.0);
        assert!(axis.from < axis.to && axis.ticks.len() < 10, "{axis:?}");
    }

    #[test]
    fn an_axis_between_two_values_has_round_ends() {
        let axis = Axis::between("", 0.9983, 1.0024);
        assert_eq!(ticks(&axis), ["0.998", "0.999", "1", "1.001", "1.002", "1.003"]);
        assert!((axis.from - 0.998).abs() < 1e-9 && (axis.to - 1.003).abs() < 1e-9, "{axis:?}");
        let same = Axis::between("", 5.0, 5.0);
        assert!(same.from < same.to && same.from <= 5.0 && same.to >= 5.0, "{same:?}");
        let nothing = Axis::between("", 0.0, 0.0);
        assert!(nothing.from < nothing.to, "{nothing:?}");
    }

    #[test]
    fn zero_has_a_place_below_the_decades() {
        let axis = Axis::log_with_zero("", 0.02, 90.0);
        assert_eq!(ticks(&axis), ["0", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!((axis.place(0.0), axis.place(axis.from * 10.0)), (0.0, 0.2));
    }

    #[test]
    fn percentiles_are_a_decade_per_nine() {
        let axis = Axis::of_percentiles(8_000.0);
        assert_eq!(ticks(&axis), ["0", "90", "99", "99.9"]);
        assert_eq!(ticks(&Axis::of_percentiles(2e8)), ["0", "99", "99.99", "99.9999", "99.999999"]);
        assert_eq!(Axis::of_percentiles(1.0).ticks.len(), 2);
    }
}
