//! JSON Schemas of what Linerate reads and writes.

use linerate_traffic::profile::ProfileDocument;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::compare::Comparison;
use crate::events::Event;
use crate::experiment::document::Document;
use crate::summary::Summary;

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaOf {
    /// `summary.json`, the result of an experiment
    Summary,
    /// A line that `run --json` prints before the summary
    Event,
    /// What `results compare --json` prints
    Comparison,
    /// The experiment document
    Experiment,
    /// The profile document
    Profile,
}

impl SchemaOf {
    /// Every schema.
    pub const ALL: [SchemaOf; 5] =
        [SchemaOf::Summary, SchemaOf::Event, SchemaOf::Comparison, SchemaOf::Experiment, SchemaOf::Profile];

    /// File name of the schema.
    pub fn file_name(self) -> &'static str {
        match self {
            SchemaOf::Summary => "summary.schema.json",
            SchemaOf::Event => "event.schema.json",
            SchemaOf::Comparison => "comparison.schema.json",
            SchemaOf::Experiment => "experiment.schema.json",
            SchemaOf::Profile => "profile.schema.json",
        }
    }

    /// The schema.
    pub fn schema(self) -> Schema {
        match self {
            SchemaOf::Summary => as_written::<Summary>(),
            SchemaOf::Event => as_written::<Event>(),
            SchemaOf::Comparison => as_written::<Comparison>(),
            SchemaOf::Experiment => schemars::schema_for!(Document),
            SchemaOf::Profile => schemars::schema_for!(ProfileDocument),
        }
    }

    /// The schema as text, as it is filed.
    ///
    /// # Errors
    /// When the writer of JSON fails, which it has no reason to.
    pub fn text(self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&self.schema()).map(|text| text + "\n")
    }
}

/// As written, not as read: every field is there, if only as null.
fn as_written<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
}
