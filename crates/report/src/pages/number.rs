//! Formatting of numbers, the same in every format.

use linerate_results::figures::table::{FrameFigure, FrameUnit};
use linerate_results::summary::TrialSummary;

/// A whole number in groups of three digits: `14,880,952`.
pub(crate) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A load in millions of packets per second, to the packet.
pub(crate) fn mpps(pps: f64) -> String {
    format!("{:.6}", pps / 1e6)
}

/// A time in microseconds, to the nanosecond.
pub(crate) fn microseconds(ns: u64) -> String {
    grouped(&format!("{}.{:03}", ns / 1000, ns % 1000))
}

/// A mean time in microseconds, to the nanosecond.
pub(crate) fn mean_microseconds(ns: f64) -> String {
    grouped(&format!("{:.3}", ns / 1e3))
}

/// A value of a figure, without unit.
pub(crate) fn of_unit(unit: FrameUnit, value: f64) -> String {
    match unit {
        FrameUnit::PacketsPerSecond => mpps(value),
        FrameUnit::Share => percent(value),
        FrameUnit::Nanoseconds => mean_microseconds(value),
        FrameUnit::Number | FrameUnit::Packets | FrameUnit::Seconds => short(value),
    }
}

/// A figure of a trial, without unit.
pub(crate) fn figure(figure: &FrameFigure, trial: &TrialSummary) -> String {
    (figure.of)(trial).map_or("-".to_owned(), |value| of_unit(figure.unit, value))
}

/// Heading of a figure, with the unit of the values that [`of_unit`] prints.
pub(crate) fn heading(figure: &FrameFigure) -> String {
    let unit = match figure.unit {
        FrameUnit::PacketsPerSecond => " Mpps",
        FrameUnit::Share => " %",
        FrameUnit::Nanoseconds => " µs",
        FrameUnit::Seconds => " s",
        FrameUnit::Number | FrameUnit::Packets => "",
    };
    format!("{}{unit}", figure.heading)
}

/// A share in percent: four decimals, or three significant digits below 0.001 %.
pub(crate) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent == 0.0 {
        "0".to_owned()
    } else if percent.abs() < 0.001 {
        format!("{percent:.2e}")
    } else {
        format!("{percent:.4}")
    }
}

/// A part of so many things in percent; `-` of none.
pub(crate) fn percent_of(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { percent(part as f64 / whole as f64) }
}

/// A link's speed.
pub(crate) fn bit_rate(bps: u64) -> String {
    let (unit, size) = match bps {
        1_000_000_000.. => ("Gbit/s", 1e9),
        1_000_000.. => ("Mbit/s", 1e6),
        _ => ("bit/s", 1.0),
    };
    format!("{} {unit}", short(bps as f64 / size))
}

/// A number in its shortest form, for ticks: as many decimals as necessary, up to ten.
pub(crate) fn short(number: f64) -> String {
    let decimals = match number.abs() {
        ..0.000_1 => 10,
        ..0.01 => 6,
        _ => 4,
    };
    let text = format!("{number:.decimals$}");
    grouped(text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number with a noun: `1 trial`, `2 trials`.
pub(crate) fn things(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// Inserts commas between groups of three digits, left of the point.
fn grouped(text: &str) -> String {
    let digits_end = text.find('.').unwrap_or(text.len());
    let digits_start = usize::from(text.starts_with('-'));
    let mut out = String::with_capacity(text.len() + 4);
    for (index, character) in text.char_indices() {
        let is_inside = index > digits_start && index < digits_end;
        if is_inside && (digits_end - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (14_880_952, "14,880,952")];
        for (number, text) in cases {
            assert_eq!(count(number), text);
        }
        assert_eq!(microseconds(39_523_248), "39,523.248");
        assert_eq!(microseconds(7), "0.007");
        assert_eq!(short(-1234.5), "-1,234.5");
        assert_eq!(short(0.0), "0");
    }

    #[test]
    fn a_small_share_is_not_rounded_to_nothing() {
        assert_eq!(percent(0.0), "0");
        assert_eq!(percent(1.0), "100.0000");
        assert_eq!(percent(0.000_01), "0.0010");
        assert_eq!(percent(1e-9), "1.00e-7");
    }

    #[test]
    fn speeds_are_shown_in_the_largest_unit() {
        assert_eq!(bit_rate(10_000_000_000), "10 Gbit/s");
        assert_eq!(bit_rate(2_500_000_000), "2.5 Gbit/s");
        assert_eq!(bit_rate(100_000_000), "100 Mbit/s");
    }
}
