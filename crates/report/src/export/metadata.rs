//! Metadata of a trial, as lines of `key=value`.

use serde_json::Value;

use super::place::{ends, instant, started_at};
use super::search::{COLUMNS, Place};
use linerate_results::store::environment::{Environment, without_secrets};
use linerate_results::store::inner_path::bounded_name;
use linerate_results::store::record::TrialRecord;
use linerate_results::store::{DOCUMENT_FILE, Recorded, StoreError};
use linerate_results::summary::AgentInfo;

/// Value of a key from an agent's information.
type Field = fn(&AgentInfo) -> String;

/// The lines of `metadata.txt`: the older kits' keys first, then the data plane's command lines, the environment, and every option in force.
///
/// # Errors
/// When the experiment's files cannot be read.
pub(super) fn metadata(recorded: &Recorded, record: &TrialRecord) -> Result<String, StoreError> {
    let experiment = &recorded.summary.experiment;
    let period = record.result.as_ref().map_or(0, |result| result.environment_period);
    let environment = Environment::read(&recorded.directory)?.map(|known| known.of_period(period));
    let (tx, rx) = ends(&record.pair);
    let ends = [("tx", tx), ("rx", rx)];
    let agent = |name: &str| experiment.agents.iter().find(|agent| agent.name == name);
    let mut lines = Lines::default();
    lines.add("expid", &experiment.id);
    lines.add("timestamp", &instant(started_at(&recorded.summary, record), 0));
    lines.add("profile", &record.profile);
    let pod = |name: &str| {
        let known = environment.as_ref().and_then(|environment| environment.agent(name));
        known.and_then(|agent| agent.pod.clone()).unwrap_or_else(|| name.to_owned())
    };
    for (role, name) in ends {
        lines.add(&format!("{role}_pod"), &pod(name));
    }
    let of_agent: [(&str, Field); 3] = [
        ("node", |agent| agent.node.clone()),
        ("mac", |agent| agent.mac.to_string()),
        ("numa", |agent| agent.numa_node.map_or_else(|| "-1".to_owned(), |numa| numa.to_string())),
    ];
    for (key, value) in of_agent {
        for (role, name) in ends {
            lines.add(&format!("{role}_{key}"), &agent(name).map(value).unwrap_or_default());
        }
    }
    for (role, name) in ends {
        let node = agent(name).map(|agent| agent.node.clone()).unwrap_or_default();
        let kernel = recorded.text(&bounded_name(&node, "_cmdline.txt"))?.unwrap_or_default();
        lines.add(&format!("{role}_cmdline"), &without_secrets(kernel.trim()));
    }
    for (role, name) in ends {
        let command = agent(name).map(|agent| agent.command_line.join(" ")).unwrap_or_default();
        lines.add(&format!("{role}_dataplane_cmdline"), &without_secrets(&command));
    }
    lines.add("pair", &record.pair);
    lines.add("repeat", &record.repeat.to_string());
    if let Some(place) = record.result.as_ref().and_then(Place::of) {
        COLUMNS.iter().zip(place.texts()).for_each(|(key, value)| lines.add(key, &value));
    }
    lines.add("time_axis", &record.time_axis);
    lines.flatten("versions", &to_value(&experiment.versions));
    for (role, name) in ends {
        let Some((known, environment)) =
            environment.as_ref().and_then(|environment| Some((environment.agent(name)?, environment)))
        else {
            continue;
        };
        let mut fields = to_value(known);
        if let Some(fields) = fields.as_object_mut() {
            // The lines above contain it already.
            fields.remove("command_line");
        }
        let host = environment.nodes.iter().find(|node| node.node == known.node);
        lines.flatten(&format!("{role}_host"), &host.map(|node| to_value(&node.host)).unwrap_or_default());
        lines.flatten(&format!("{role}_environment"), &fields);
    }
    let document = recorded.text(DOCUMENT_FILE)?.unwrap_or_default();
    lines.flatten("option", &serde_saphyr::from_str(&document).unwrap_or_default());
    Ok(lines.text)
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Text without control characters. Keys also come from documents.
fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, key: &str, value: &str) {
        self.text.push_str(&format!("{}={}\n", on_one_line(key), on_one_line(value)));
    }

    /// Adds every value below `key`, each under its path with dots between the parts.
    fn flatten(&mut self, key: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| self.flatten(&format!("{key}.{name}"), value));
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.flatten(&format!("{key}.{index}"), value);
                }
            }
            Value::String(text) => self.add(key, text),
            other => self.add(key, &other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_key_nor_a_value_adds_a_line() {
        let mut lines = Lines::default();
        lines.flatten("option", &serde_json::json!({ "a\nexpid": "b\nc" }));
        assert_eq!(lines.text, "option.a expid=b c\n");
    }
}
