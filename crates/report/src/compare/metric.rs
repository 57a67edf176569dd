//! Metrics of a comparison: the [figures](linerate_results::figures::table) that can be compared.

use std::borrow::Cow;
use std::fmt;

use clap::ValueEnum;
use clap::builder::PossibleValue;
pub use linerate_results::figures::table::Unit;
use linerate_results::figures::table::{Compared, FIGURES, Figure};
use linerate_results::summary::TrialSummary;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A figure of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric(usize);

/// A metric of one trial.
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

/// Every metric, in the order of the figures.
const METRICS: [Metric; COUNT] = {
    let mut metrics = [Metric(0); COUNT];
    let (mut count, mut index) = (0, 0);
    while index < FIGURES.len() {
        if FIGURES[index].compared.is_some() {
            metrics[count] = Metric(index);
            count += 1;
        }
        index += 1;
    }
    metrics
};

impl Metric {
    /// Metrics that are compared by default.
    pub const DEFAULT: [Metric; 3] =
        [Metric::named("received_pps"), Metric::named("lost_ratio"), Metric::named("latency_p99")];

    /// The metric with this name. For constants: a wrong name does not compile.
    ///
    /// # Panics
    /// Outside of constants, when no figure of this name is compared.
    pub const fn named(name: &str) -> Self {
        let place = Figure::place(name);
        assert!(FIGURES[place].compared.is_some(), "this figure is not compared");
        Self(place)
    }

    /// Its figure.
    pub fn figure(self) -> &'static Figure {
        &FIGURES[self.0]
    }

    /// Its unit.
    pub fn unit(self) -> Unit {
        self.figure().unit
    }

    /// True when a larger value is better.
    pub fn more_is_better(self) -> bool {
        self.figure().compared.is_some_and(|compared| compared.more_is_better)
    }

    /// Its value in a trial; `None` when the trial has none, such as a delay without a common clock.
    pub(super) fn of(self, trial: &TrialSummary) -> Option<Measured> {
        let Figure { of, compared, .. } = self.figure();
        let (value, Compared { resolution, .. }) = (of(trial)?, compared.as_ref()?);
        let measured = Measured { value, resolution: resolution(trial, value) };
        Some(measured).filter(|measured| measured.value.is_finite() && measured.resolution.is_finite())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.figure().name)
    }
}

impl ValueEnum for Metric {
    fn value_variants<'a>() -> &'a [Self] {
        &METRICS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Figure { name, help, .. } = self.figure();
        Some(PossibleValue::new(*name).help(*help))
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.figure().name)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        let known = METRICS.into_iter().find(|metric| metric.figure().name == name);
        known.ok_or_else(|| {
            let names = METRICS.map(|metric| metric.figure().name);
            D::Error::custom(format!("'{name}' is not a metric; the metrics are {}", names.join(", ")))
        })
    }
}

impl JsonSchema for Metric {
    fn schema_name() -> Cow<'static, str> {
        "Metric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let metrics = METRICS.map(|metric| {
            let Figure { name, help, .. } = metric.figure();
            json_schema!({ "description": format!("{help}."), "type": "string", "const": name })
        });
        json_schema!({ "description": "A figure of a trial.", "oneOf": metrics })
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
        for metric in METRICS {
            let name = metric.to_string();
            assert_eq!(Metric::from_str(&name, false), Ok(metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), name);
            assert_eq!(serde_json::from_value::<Metric>(name.clone().into()).unwrap(), metric);
            assert!(page.contains(&name), "docs/compare.md does not name {name}");
        }
        assert!(serde_json::from_str::<Metric>("\"sent_packets\"").is_err());
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
