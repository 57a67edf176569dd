//! A comparison as a table.

use super::grid::Grid;
use super::table::count;
use super::words;
use linerate_report::compare::{Compared, Comparison, Group, Interval, Metric, Outcome, Overall, Unit};
use linerate_results::streams::StreamsUnit;

/// Most metrics whose repeats differ that are named.
const MOST_NAMED: usize = 8;

/// Every metric compared, then the conclusion.
pub(super) fn comparison(comparison: &Comparison, width: Option<usize>) -> String {
    let (a, b) = (&comparison.a.id, &comparison.b.id);
    let interval = format!("change ({} %)", percent(comparison.confidence));
    let columns = ["profile", "pair", "metric", "repeats", a, b, &interval, "verdict"];
    let mut table = Grid::new(&columns, 3..7).names(&[0]).expendable(&[3, 1]);
    for one in &comparison.compared {
        table.add_row([
            one.profile.clone(),
            one.pair.clone(),
            format!("{} {}", one.metric, unit(one.metric.unit())),
            format!("{}, {}", one.a.repeats, one.b.repeats),
            group(&one.metric, &one.a, one.a_interval),
            group(&one.metric, &one.b, one.b_interval),
            change(one),
            one.verdict.to_string(),
        ]);
    }
    let mut text = format!("{}\n", table.render(width));
    for one in &comparison.compared {
        if one.verdict == Outcome::CannotTell {
            let name = format!("{} {} {}", one.profile, one.pair, one.metric);
            text.push_str(&format!("cannot tell: {name}: {}\n", advice(one)));
        }
    }
    for one in &comparison.unmatched {
        let metric = one.metric.as_ref().map_or(String::new(), |metric| format!(" {metric}"));
        text.push_str(&format!("only in {}: {} {}{metric}\n", one.only_in, one.profile, one.pair));
    }
    text.push_str(&repeatability(comparison));
    text.push_str(&closing_line(comparison));
    text
}

/// Whether the repeats of one side are those of the other, in words; empty where no side has several.
fn repeatability(comparison: &Comparison) -> String {
    let known = comparison.compared.iter().filter(|one| one.repeats_agree.is_some());
    let (agree, differ): (Vec<_>, Vec<_>) = known.partition(|one| one.repeats_agree == Some(true));
    let all = agree.len() + differ.len();
    if all == 0 {
        return String::new();
    }
    let percent = percent(comparison.confidence);
    let mut text = format!(
        "repeatability: for {} of {}, the {percent} % interval of each side contains the other's mean\n",
        agree.len(),
        count(all, "metric")
    );
    for one in differ.iter().take(MOST_NAMED) {
        let side = |interval: Option<Interval>| range(&one.metric, interval).unwrap_or_default();
        text.push_str(&format!(
            "not repeated: {} {} {}: {} against {} {}\n",
            one.profile,
            one.pair,
            one.metric,
            side(one.a_interval),
            side(one.b_interval),
            unit(one.metric.unit())
        ));
    }
    if let Some(more) = differ.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        text.push_str(&format!("not repeated: {more} more\n"));
    }
    text
}

/// A value of a metric, without unit.
fn of_unit(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Frames(unit) => words::of_unit(unit, value),
        Unit::Streams(unit) => match unit {
            StreamsUnit::BitsPerSecond => format!("{:.3}", value / 1e6),
            StreamsUnit::Share => format!("{:.4}", 100.0 * value),
            StreamsUnit::Nanoseconds => format!("{:.1}", value / 1e3),
            StreamsUnit::SecondsPerGigabit | StreamsUnit::Probability => format!("{value:.4}"),
            StreamsUnit::Microseconds | StreamsUnit::Seconds | StreamsUnit::RequestsPerSecond => {
                format!("{value:.1}")
            }
            StreamsUnit::Number
            | StreamsUnit::Bytes
            | StreamsUnit::Datagrams
            | StreamsUnit::Segments
            | StreamsUnit::Requests => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        },
    }
}

/// Unit of the values that [`of_unit`] prints.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Frames(unit) => words::unit(unit),
        Unit::Streams(unit) => match unit {
            StreamsUnit::BitsPerSecond => "Mbit/s",
            StreamsUnit::Share => "%",
            StreamsUnit::Nanoseconds | StreamsUnit::Microseconds => "µs",
            StreamsUnit::Seconds => "s",
            StreamsUnit::SecondsPerGigabit => "s/Gbit",
            StreamsUnit::Bytes => "B",
            StreamsUnit::Datagrams => "datagrams",
            StreamsUnit::Segments => "segments",
            StreamsUnit::Requests => "requests",
            StreamsUnit::RequestsPerSecond => "1/s",
            StreamsUnit::Number | StreamsUnit::Probability => "",
        },
    }
}

/// Mean, standard deviation, and interval of the mean.
fn group(metric: &Metric, group: &Group, interval: Option<Interval>) -> String {
    let spread =
        group.standard_deviation.map_or(String::new(), |one| format!(" ± {}", of_unit(metric.unit(), one)));
    let interval = range(metric, interval).map_or(String::new(), |range| format!(" ({range})"));
    format!("{}{spread}{interval}", of_unit(metric.unit(), group.mean))
}

/// An interval of a mean; no metric is negative.
fn range(metric: &Metric, interval: Option<Interval>) -> Option<String> {
    let Interval { lower, upper, .. } = interval?;
    Some(format!("{}…{}", of_unit(metric.unit(), lower.max(0.0)), of_unit(metric.unit(), upper)))
}

/// Change relative to A; for shares the absolute difference in percentage points.
fn change(one: &Compared) -> String {
    let Some(difference) = one.difference else { return "-".to_owned() };
    let (scale, unit, digits) = match one.metric.unit() {
        share if share.is_share() => (100.0, "pp", 4),
        _ if one.a.mean > 0.0 => (100.0 / one.a.mean, "%", 2),
        other => return of_unit(other, difference.estimate),
    };
    let [estimate, lower, upper] = [difference.estimate, difference.lower, difference.upper]
        .map(|value| format!("{:+.digits$}", scale * value));
    format!("{estimate} {unit} ({lower}…{upper})")
}

fn advice(one: &Compared) -> String {
    match one.repeats_needed {
        Some(repeats) if one.difference.is_none() => {
            format!("one repeat does not show the spread; run at least {repeats} of each")
        }
        Some(repeats) => format!("about {repeats} repeats of each would decide"),
        None => "not even 10000 repeats would decide; the difference is too near the threshold".to_owned(),
    }
}

fn closing_line(comparison: &Comparison) -> String {
    let of = |outcome| comparison.compared.iter().filter(|one| one.verdict == outcome).count();
    let verdict = match comparison.verdict {
        Overall::Regression => "worse",
        Overall::CannotTell => "cannot tell",
        Overall::NoRegression => "no regression",
    };
    format!(
        "{verdict}: {} compared: {} worse, {} better, {} same, {} cannot tell; any false alarm has a probability of at most {} %",
        count(comparison.compared.len(), "metric"),
        of(Outcome::Worse),
        of(Outcome::Better),
        of(Outcome::Same),
        of(Outcome::CannotTell),
        percent(1.0 - comparison.confidence),
    )
}

/// A share in percent, rounded, because neither 1 − 0.95 nor 100 · 0.55 is exact in floating point.
fn percent(share: f64) -> f64 {
    (1e10 * share).round() / 1e8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages_as_they_were_given() {
        for (share, text) in [(0.55, "55"), (0.95, "95"), (1.0 - 0.95, "5"), (0.999_99, "99.999")] {
            assert_eq!(percent(share).to_string(), text);
        }
    }
}
