//! The search section of a document.

use std::borrow::Cow;
use std::fmt;

use linerate_search::Goal;
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_saphyr::Spanned;

use super::share::Share;
use super::then::FollowUp;
use super::{PartOf, SearchMode};
use crate::document::unplaced;
use crate::name::Name;
use crate::ranged::{Ranged, SpanIn};

const DAY_MS: u64 = 24 * 3_600_000;
const NS_PER_MS: u64 = 1_000_000;

/// A search for the highest load at which each profile keeps its loss within goals, in place of `traffic.rates`.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SearchSection {
    /// What to search for: `ndr`, `pdr`, `rfc2544`, `tst009`, or goals with attributes of their own.
    #[schemars(with = "Vec<GoalSpec>", length(min = 1))]
    pub goals: Spanned<Vec<GoalSpec>>,
    /// Loads that may be chosen, of each sender in each direction.
    pub load: LoadLimits,
    /// How the paths count.
    pub mode: SearchMode,
    /// A first trial at the highest load, which does not count; `0s` for none.
    pub warm_up: SpanIn<0, DAY_MS>,
    /// Time that each search may take; then it ends with the bounds it has. Sending, preparing and draining of its trials count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<SpanIn<1000, { 30 * DAY_MS }>>,
    /// Whole searches of each profile.
    pub repeats: Ranged<1, 1000>,
    /// Parts of the set-up that belong to the path under test, and those of the tester.
    pub limits: LimitsOf,
    /// Benchmarks that follow each search that has finished, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<FollowUp>,
}

impl Default for SearchSection {
    fn default() -> Self {
        Self {
            goals: unplaced(vec![GoalSpec(Goal::ndr()), GoalSpec(Goal::pdr())]),
            load: LoadLimits::default(),
            mode: SearchMode::default(),
            warm_up: SpanIn::of_millis::<1000>(),
            budget: None,
            repeats: Ranged::of::<1>(),
            limits: LimitsOf::default(),
            then: Vec::new(),
        }
    }
}

/// Loads that a search may choose.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadLimits {
    /// Lowest load.
    pub min: Rate,
    /// Highest load. Left out: the line rate of the slowest link, or a ceiling below it; for virtual ports,
    /// whose nominal speed has no meaning, the offered load of a trial as fast as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Rate>,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { min: Rate::Pps(1000.0), max: None }
    }
}

/// Parts that belong to the path under test. A limit of the tester makes a result irregular; it never counts
/// as one of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsOf {
    /// The receiver: `path` where it is part of the path under test, such as a pod.
    pub receiver: PartOf,
    /// The sender's port: `path` where frames that it does not accept are losses of the device behind it,
    /// such as the far end of a memif.
    pub port: PartOf,
}

/// A goal: a name that has its attributes, or attributes in place of those of `ndr`.
#[derive(Debug, Clone, PartialEq)]
pub struct GoalSpec(pub Goal);

/// A goal's attributes, as written.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GoalFields {
    /// Its name: lower-case letters, digits and dashes.
    name: Name,
    /// A trial with more loss is a high-loss trial.
    loss: Option<Share>,
    /// Share of the time that may have high loss at a lower bound.
    exceed: Option<Share>,
    /// The search ends when the bounds are this close, as a share of the upper one.
    width: Option<Share>,
    /// Shortest trial for this goal.
    initial_duration: Option<SpanIn<1, DAY_MS>>,
    /// Shorter trials count less.
    duration: Option<SpanIn<1, DAY_MS>>,
    /// So much time of full-length trials always decides a load.
    sum: Option<SpanIn<1, DAY_MS>>,
    /// Coarser targets searched first.
    preceding_targets: Option<Ranged<0, 3>>,
}

impl From<GoalFields> for GoalSpec {
    fn from(fields: GoalFields) -> Self {
        let usual = Goal::named(fields.name.as_str()).unwrap_or_else(Goal::ndr);
        let ns = |span: SpanIn<1, DAY_MS>| span.millis() * NS_PER_MS;
        let final_ns = fields.duration.map_or(usual.final_duration_ns, ns);
        let initial_ns = fields.initial_duration.map_or(usual.initial_duration_ns.min(final_ns), ns);
        let sum_ns = fields.sum.map_or(usual.duration_sum_ns.max(final_ns), ns);
        let usual_targets = if initial_ns == sum_ns { 0 } else { u64::from(usual.preceding_targets.max(1)) };
        Self(Goal {
            name: fields.name.as_str().to_owned(),
            loss_ppb: fields.loss.map_or(usual.loss_ppb, Share::ppb),
            exceed_ppb: fields.exceed.map_or(usual.exceed_ppb, Share::ppb),
            width_ppb: fields.width.map_or(usual.width_ppb, Share::ppb),
            initial_duration_ns: initial_ns,
            final_duration_ns: final_ns,
            duration_sum_ns: sum_ns,
            preceding_targets: fields.preceding_targets.map_or(usual_targets, Ranged::get) as u32,
        })
    }
}

impl<'de> Deserialize<'de> for GoalSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrFields;

        impl<'de> Visitor<'de> for NameOrFields {
            type Value = GoalSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "one of {}, or a goal's attributes", Goal::NAMES.join(", "))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<GoalSpec, E> {
                let named = Goal::named(name).map(GoalSpec);
                named.ok_or_else(|| {
                    E::custom(format_args!(
                        "there is no goal '{name}'; there are {}; a goal of your own is {{name: {name}, loss: 0.1%}}",
                        Goal::NAMES.join(", ")
                    ))
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GoalSpec, A::Error> {
                GoalFields::deserialize(MapAccessDeserializer::new(map)).map(GoalSpec::from)
            }
        }

        deserializer.deserialize_any(NameOrFields)
    }
}

impl Serialize for GoalSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let goal = &self.0;
        if Goal::named(&goal.name).as_ref() == Some(goal) {
            return goal.name.serialize(serializer);
        }
        let span = |ns: u64| Span::from_millis(ns / NS_PER_MS).to_string();
        let share = |ppb: u64| Share::of_ppb(ppb).to_string();
        serde_json::json!({
            "name": goal.name,
            "loss": share(goal.loss_ppb),
            "exceed": share(goal.exceed_ppb),
            "width": share(goal.width_ppb),
            "initialDuration": span(goal.initial_duration_ns),
            "duration": span(goal.final_duration_ns),
            "sum": span(goal.duration_sum_ns),
            "precedingTargets": goal.preceding_targets,
        })
        .serialize(serializer)
    }
}

impl JsonSchema for GoalSpec {
    fn schema_name() -> Cow<'static, str> {
        "Goal".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<GoalFields>();
        json_schema!({
            "description": "A goal: a name that has its attributes, or attributes in place of those of `ndr`.",
            "oneOf": [{ "type": "string", "enum": Goal::NAMES }, fields],
        })
    }
}
