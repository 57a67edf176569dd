//! Formatting of the figures of streams, the same in every format.

use linerate_results::streams::{Figure, StreamsUnit};

use crate::pages::number::{percent, short};

/// Divisor and name of the unit in which tables print values.
fn scale(unit: StreamsUnit) -> (f64, &'static str) {
    match unit {
        StreamsUnit::BitsPerSecond => (1e6, "Mbit/s"),
        StreamsUnit::Bytes => (1.0, "B"),
        StreamsUnit::Share => (0.01, "%"),
        StreamsUnit::Seconds => (1.0, "s"),
        StreamsUnit::SecondsPerGigabit => (1.0, "s/Gbit"),
        StreamsUnit::Microseconds => (1.0, "µs"),
        StreamsUnit::Nanoseconds => (1e3, "µs"),
        StreamsUnit::Number
        | StreamsUnit::Probability
        | StreamsUnit::Datagrams
        | StreamsUnit::Segments
        | StreamsUnit::Requests => (1.0, ""),
        StreamsUnit::RequestsPerSecond => (1.0, "1/s"),
    }
}

/// A value without unit.
pub(crate) fn of_unit(unit: StreamsUnit, value: f64) -> String {
    let scaled = value / scale(unit).0;
    let rounded = |digits: i32| (scaled * 10f64.powi(digits)).round() / 10f64.powi(digits);
    match unit {
        StreamsUnit::Share => percent(value),
        StreamsUnit::BitsPerSecond
        | StreamsUnit::Microseconds
        | StreamsUnit::Nanoseconds
        | StreamsUnit::Probability
        | StreamsUnit::RequestsPerSecond => short(rounded(3)),
        _ => short(scaled),
    }
}

/// A value of few digits, for the cells of a matrix.
pub(crate) fn brief(unit: StreamsUnit, value: f64) -> String {
    let scaled = value / scale(unit).0;
    if scaled == 0.0 {
        return "0".to_owned();
    }
    let digits = (2 - scaled.abs().log10().floor() as i32).clamp(0, 6);
    format!("{scaled:.0$}", digits as usize)
}

/// Unit of the values that [`of_unit`] and [`brief`] print; empty for plain numbers.
pub(crate) fn unit(unit: StreamsUnit) -> &'static str {
    scale(unit).1
}

/// Heading of a figure, with the unit.
pub(crate) fn heading<T>(figure: &Figure<T>) -> String {
    format!("{} {}", figure.heading, unit(figure.unit)).trim_end().to_owned()
}

/// A figure, without unit; `-` where there is none.
pub(crate) fn figure<T>(figure: &Figure<T>, of: &T) -> String {
    (figure.of)(of).map_or("-".to_owned(), |value| of_unit(figure.unit, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_in_the_unit_of_the_heading() {
        assert_eq!(of_unit(StreamsUnit::BitsPerSecond, 937_123_456.0), "937.123");
        assert_eq!(of_unit(StreamsUnit::Nanoseconds, 1_500.0), "1.5");
        assert_eq!(of_unit(StreamsUnit::Bytes, 250_000_000.0), "250,000,000");
        assert_eq!(of_unit(StreamsUnit::Share, 0.1), "10.0000");
        assert_eq!(brief(StreamsUnit::BitsPerSecond, 937_123_456.0), "937");
        assert_eq!(brief(StreamsUnit::Share, 0.001_234), "0.123");
        assert_eq!(brief(StreamsUnit::Microseconds, 0.0), "0");
        assert_eq!(brief(StreamsUnit::Number, 12_345.0), "12345");
    }
}
