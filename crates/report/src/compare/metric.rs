//! Metrics of a comparison: the [figures](linerate_results::figures::table) of trials that can be compared, and
//! what rate searches found.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use linerate_results::figures::table::{ComparisonRule, FIGURES, FrameFigure, FrameUnit};
use linerate_results::http::{HTTP_FIGURES, HttpTrialSummary};
use linerate_results::streams::{Figure, STREAMS_FIGURES, StreamsTrialSummary, StreamsUnit};
use linerate_results::summary::{GoalSummary, TrialSummary};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// End of the names of what searches found: `ndr_pps`.
const OF_GOAL: &str = "_pps";

type StreamsFigure = Figure<StreamsTrialSummary>;
type HttpFigure = Figure<HttpTrialSummary>;

/// Unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Of a figure of frames.
    Frames(FrameUnit),
    /// Of a figure of streams or HTTP.
    Streams(StreamsUnit),
}

impl Unit {
    /// True for a share, 0…1.
    pub fn is_share(self) -> bool {
        matches!(self, Unit::Frames(FrameUnit::Share) | Unit::Streams(StreamsUnit::Share))
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// A figure of a trial, by its place among the figures.
    Figure(usize),
    /// A figure of a trial of streams, by its place among those figures. A figure that trials of frames have, too, is a
    /// [`Metric::Figure`].
    Streams(usize),
    /// A figure of a trial of HTTP, by its place among those figures.
    Http(usize),
    /// Conditional throughput of the search goal with this name.
    Goal(Arc<str>),
}

/// A metric of one trial or search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub(super) value: f64,
    /// Smallest difference that the measurement resolves.
    pub(super) resolution: f64,
}

/// Number of metrics.
const COUNT: usize = {
    let (mut count, mut index) = (0, 0);
    while index < FIGURES.len() {
        if FIGURES[index].compared.is_some() {
            count += 1;
        }
        index += 1;
    }
    count
};

/// Places of the figures that are compared.
const PLACES: [usize; COUNT] = {
    let mut places = [0; COUNT];
    let (mut count, mut index) = (0, 0);
    while index < FIGURES.len() {
        if FIGURES[index].compared.is_some() {
            places[count] = index;
            count += 1;
        }
        index += 1;
    }
    places
};

/// Every metric of trials, in the order of the figures: those of frames, then those of streams, then those of HTTP.
static METRICS: LazyLock<Vec<Metric>> = LazyLock::new(|| {
    let of_frames = |name: &str| PLACES.iter().any(|place| FIGURES[*place].name == name);
    let streams = STREAMS_FIGURES.iter().enumerate();
    let streams = streams.filter(|(_, one)| one.more_is_better.is_some() && !of_frames(one.name));
    let http = HTTP_FIGURES.iter().enumerate().filter(|(_, one)| one.more_is_better.is_some());
    let http = http.map(|(place, _)| Metric::Http(place));
    let streams = streams.map(|(place, _)| Metric::Streams(place));
    PLACES.map(Metric::Figure).into_iter().chain(streams).chain(http).collect()
});

impl Metric {
    /// Metrics of trials that are compared by default.
    pub const DEFAULT: [Metric; 11] = [
        Metric::named("received_pps"),
        Metric::named("lost_ratio"),
        Metric::named("latency_p99"),
        Metric::of_streams("received_bps"),
        Metric::of_streams("retransmit_ratio"),
        Metric::of_streams("rtt_us"),
        Metric::of_streams("delay_p99_ns"),
        Metric::of_streams("cpu_s_per_gbit"),
        Metric::of_http("requests_per_s"),
        Metric::of_http("error_ratio"),
        Metric::of_http("response_p99_ns"),
    ];

    /// The metric of trials with this name. For constants: a wrong name does not compile.
    ///
    /// # Panics
    /// Outside of constants, when no figure of this name is compared.
    pub const fn named(name: &str) -> Self {
        let place = FrameFigure::place(name);
        assert!(FIGURES[place].compared.is_some(), "this figure is not compared");
        Self::Figure(place)
    }

    /// The metric of trials of streams with this name, likewise.
    ///
    /// # Panics
    /// Outside of constants, when no such figure is compared.
    const fn of_streams(name: &str) -> Self {
        let mut place = 0;
        while !is_same(STREAMS_FIGURES[place].name, name) {
            place += 1;
        }
        assert!(STREAMS_FIGURES[place].more_is_better.is_some(), "this figure is not compared");
        Self::Streams(place)
    }

    /// The metric of trials of HTTP with this name, likewise.
    ///
    /// # Panics
    /// Outside of constants, when no such figure is compared.
    const fn of_http(name: &str) -> Self {
        let mut place = 0;
        while !is_same(HTTP_FIGURES[place].name, name) {
            place += 1;
        }
        assert!(HTTP_FIGURES[place].more_is_better.is_some(), "this figure is not compared");
        Self::Http(place)
    }

    /// The metric with this name: that of a figure, or `NAME_pps` for the search goal NAME.
    pub fn parse(name: &str) -> Option<Self> {
        let figure = METRICS.iter().find(|metric| metric.to_string() == name);
        figure.cloned().or_else(|| {
            let goal = name.strip_suffix(OF_GOAL).filter(|goal| !goal.is_empty())?;
            Some(Self::Goal(goal.into()))
        })
    }

    /// The figure of a trial of frames; `None` for those of streams alone, and for what a search found.
    pub fn figure(&self) -> Option<&'static FrameFigure> {
        match self {
            Metric::Figure(place) => FIGURES.get(*place),
            Metric::Streams(_) | Metric::Http(_) | Metric::Goal(_) => None,
        }
    }

    /// The figure of a trial of streams; `None` where those have none.
    pub(super) fn streams_figure(&self) -> Option<&'static StreamsFigure> {
        match self {
            Metric::Streams(place) => STREAMS_FIGURES.get(*place),
            Metric::Figure(place) => {
                let of_name = STREAMS_FIGURES.iter().find(|one| one.name == FIGURES[*place].name);
                of_name.filter(|figure| figure.more_is_better.is_some())
            }
            Metric::Http(_) | Metric::Goal(_) => None,
        }
    }

    /// The figure of a trial of HTTP; `None` for other metrics.
    pub(super) fn http_figure(&self) -> Option<&'static HttpFigure> {
        match self {
            Metric::Http(place) => HTTP_FIGURES.get(*place),
            Metric::Figure(_) | Metric::Streams(_) | Metric::Goal(_) => None,
        }
    }

    /// Its unit.
    pub fn unit(&self) -> Unit {
        match self {
            Metric::Streams(place) => Unit::Streams(STREAMS_FIGURES[*place].unit),
            Metric::Http(place) => Unit::Streams(HTTP_FIGURES[*place].unit),
            Metric::Figure(place) => Unit::Frames(FIGURES[*place].unit),
            Metric::Goal(_) => Unit::Frames(FrameUnit::PacketsPerSecond),
        }
    }

    fn help(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Metric::Streams(place) => STREAMS_FIGURES.get(*place).map(|one| (one.name, one.help)),
            Metric::Http(place) => HTTP_FIGURES.get(*place).map(|one| (one.name, one.help)),
            Metric::Figure(place) => FIGURES.get(*place).map(|one| (one.name, one.help)),
            Metric::Goal(_) => None,
        }
    }

    /// True when a larger value is better.
    pub fn more_is_better(&self) -> bool {
        if let Metric::Streams(place) = self {
            return STREAMS_FIGURES[*place].more_is_better == Some(true);
        }
        if let Some(figure) = self.http_figure() {
            return figure.more_is_better == Some(true);
        }
        self.figure().is_none_or(|figure| figure.compared.is_some_and(|compared| compared.more_is_better))
    }

    /// Its value in a trial; `None` when the trial has none, such as a delay without a common clock.
    pub(super) fn of(&self, trial: &TrialSummary) -> Option<Measured> {
        let FrameFigure { of, compared, .. } = self.figure()?;
        let (value, ComparisonRule { resolution, .. }) = (of(trial)?, compared.as_ref()?);
        let measured = Measured { value, resolution: resolution(trial, value) };
        Some(measured).filter(|measured| measured.value.is_finite() && measured.resolution.is_finite())
    }
}

impl Measured {
    /// What a search found: conditional throughput, with the goal's width around its upper bound. `None` for an irregular
    /// result, which is no estimate of anything.
    pub(super) fn of_search(result: &GoalSummary) -> Option<Self> {
        let found = result.conclusion.regular.then_some(&result.conclusion)?;
        let (value, upper) = (found.conditional_throughput_pps?, found.relevant_upper_bound_pps?);
        let measured = Self { value, resolution: result.goal.relative_width * upper as f64 };
        Some(measured).filter(|measured| measured.value.is_finite() && measured.resolution.is_finite())
    }
}

/// Names of all metrics of trials.
fn names() -> Vec<String> {
    METRICS.iter().map(Metric::to_string).collect()
}

/// Whether two names are the same; for constants.
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Figure(place) => f.write_str(FIGURES[*place].name),
            Metric::Streams(place) => f.write_str(STREAMS_FIGURES[*place].name),
            Metric::Http(place) => f.write_str(HTTP_FIGURES[*place].name),
            Metric::Goal(goal) => write!(f, "{goal}{OF_GOAL}"),
        }
    }
}

impl ValueEnum for Metric {
    fn value_variants<'a>() -> &'a [Self] {
        &METRICS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = self.help()?;
        Some(PossibleValue::new(name).help(help))
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| {
            let names = names().join(", ");
            D::Error::custom(format!(
                "'{name}' is not a metric; the metrics are {names}, and NAME{OF_GOAL} for a search goal"
            ))
        })
    }
}

impl JsonSchema for Metric {
    fn schema_name() -> Cow<'static, str> {
        "Metric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let figures = METRICS.iter().filter_map(Metric::help);
        let mut metrics: Vec<Schema> = figures
            .map(|(name, help)| {
                json_schema!({ "description": format!("{help}."), "type": "string", "const": name })
            })
            .collect();
        let names = names();
        metrics.push(json_schema!({
            "description": "Conditional throughput of a search goal, such as ndr_pps, in packets per second.",
            "type": "string", "pattern": format!(".{OF_GOAL}$"), "not": { "enum": names },
        }));
        json_schema!({ "description": "A figure of a trial, or what searches found.", "oneOf": metrics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::{rx, tx, with_clock};

    #[test]
    fn a_metric_has_one_name() {
        assert!(METRICS.is_sorted() && METRICS.len() >= 10);
        let page = include_str!("../../../../docs/compare.md");
        for metric in METRICS.clone() {
            let name = metric.to_string();
            assert_eq!(Metric::from_str(&name, false), Ok(metric.clone()));
            assert_eq!(Metric::parse(&name), Some(metric.clone()));
            assert_eq!(serde_json::to_value(&metric).unwrap(), name);
            assert_eq!(serde_json::from_value::<Metric>(name.clone().into()).unwrap(), metric);
            assert!(page.contains(&name), "docs/compare.md does not name {name}");
        }
        assert!(serde_json::from_str::<Metric>("\"sent_packets\"").is_err());
        let ndr = Metric::Goal("ndr".into());
        assert_eq!((Metric::parse("ndr_pps"), ndr.to_string().as_str()), (Some(ndr.clone()), "ndr_pps"));
        assert_eq!(serde_json::from_str::<Metric>("\"ndr_pps\"").unwrap(), ndr);
        assert!(Metric::parse("_pps").is_none() && Metric::parse("ndr").is_none());
    }

    #[test]
    fn no_goal_bears_the_name_of_a_figure() {
        let figures = FIGURES.iter().filter_map(|figure| figure.name.strip_suffix(OF_GOAL));
        assert!(figures.eq(linerate_experiment::RESERVED_GOALS));
    }

    #[test]
    fn a_search_shows_differences_as_large_as_its_width() {
        let searched = linerate_results::fixtures::search::regular();
        let ndr = &searched.summary.searches[0].goals[0];
        let measured = Measured::of_search(ndr).unwrap();
        assert_eq!(Some(measured.value), ndr.conclusion.conditional_throughput_pps);
        let upper = ndr.conclusion.relevant_upper_bound_pps.unwrap() as f64;
        assert!((measured.resolution - 0.005 * upper).abs() < 1e-6, "{measured:?}");
        let irregular = linerate_results::fixtures::search::at_least();
        assert_eq!(Measured::of_search(&irregular.summary.searches[0].goals[0]), None);
    }

    #[test]
    fn values_come_with_what_the_measurement_can_show() {
        let trial = with_clock(true, &tx(1000), &rx(990)).unwrap();
        let of = |name| Metric::named(name).of(&trial).map(|measured| (measured.value, measured.resolution));
        assert_eq!(of("received_pps"), Some((495.0, 0.5)));
        assert_eq!(of("lost_ratio"), Some((0.01, 0.001)));
        assert_eq!(of("latency_p99"), Some((0.0, 1.0)));
        let without_clock = with_clock(false, &tx(1000), &rx(990)).unwrap();
        assert_eq!(Metric::named("latency_p99").of(&without_clock), None);
        let nothing_sent = with_clock(true, &tx(0), &rx(0)).unwrap();
        assert_eq!(Metric::named("lost_ratio").of(&nothing_sent), None);
    }
}
