//! JSON Schemas of Linerate's documents and outputs.

use linerate_traffic::profile::ProfileDocument;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use linerate_experiment::document::Document;
use linerate_report::compare::Comparison;
use linerate_results::summary::Summary;
use linerate_runner::events::Event;

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

    /// The schema as text, as it is stored.
    ///
    /// # Errors
    /// When the JSON writer fails, which is not expected.
    pub fn text(self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&self.schema()).map(|text| text + "\n")
    }
}

/// Schema of the type as serialized: every field is present, possibly null.
fn as_written<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use linerate_experiment::DEFAULT_DOCUMENT;
    use linerate_results::fixtures::summary;
    use linerate_results::summary::Status;

    use super::*;

    #[test]
    fn summaries_match_their_schema() {
        let schema = serde_json::to_value(SchemaOf::Summary.schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let mut value = serde_json::to_value(summary(Status::Failed)).unwrap();
        assert!(validator.is_valid(&value));
        value["failures"][0].as_object_mut().unwrap().remove("transmit");
        assert!(!validator.is_valid(&value));
    }

    #[test]
    fn documents_match_their_schema() {
        let schema = serde_json::to_value(SchemaOf::Experiment.schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let head = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\n";
        for (text, valid) in [
            (DEFAULT_DOCUMENT, true),
            (head, true),
            (&format!("{head}spec: {{profiles: [{{frameSize: 512, rate: max}}]}}"), true),
            (&format!("{head}spec: {{pairs: 0}}"), false),
            (&format!("{head}spec: {{traffic: {{frameSizes: [63]}}}}"), false),
            (&format!("{head}spec: {{traffic: {{rates: []}}}}"), false),
            (&format!("{head}spec: {{speed: 1}}"), false),
            ("kind: Experiment", false),
        ] {
            let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
            assert_eq!(validator.is_valid(&value), valid, "{text}");
        }
    }
}
