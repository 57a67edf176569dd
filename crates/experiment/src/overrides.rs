//! Overrides: options of the command line that set fields of the document.

use std::str::FromStr;

use linerate_traffic::safety::Safety;
use linerate_traffic::span::Span;
use linerate_traffic::url::shown_within;
use serde_json::{Map, Value};

use super::ExperimentError;
use super::document::{Document, PlatformKind};
use crate::yaml::for_users;

/// Settings that replace values of the document, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    settings: Vec<Setting>,
    /// Ceilings of the environment. They apply in addition to the document's, and replace none.
    pub environment: Safety,
}

/// One field with its new value.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The option as written, for messages.
    option: String,
    /// Path of the field, from `spec` on.
    path: Vec<String>,
    /// The new value; `None` removes the field, so that its default applies.
    value: Option<Value>,
}

impl Overrides {
    /// Sets the field at `path`; `option` is the option as written.
    pub fn set<P: Into<String>>(
        &mut self,
        option: impl Into<String>,
        path: impl IntoIterator<Item = P>,
        value: impl Into<Value>,
    ) {
        let path = path.into_iter().map(Into::into).collect();
        self.settings.push(Setting { option: option.into(), path, value: Some(value.into()) });
    }

    /// Removes the field at `path`.
    pub fn clear<P: Into<String>>(&mut self, option: impl Into<String>, path: impl IntoIterator<Item = P>) {
        let path = path.into_iter().map(Into::into).collect();
        self.settings.push(Setting { option: option.into(), path, value: None });
    }

    /// Adds a setting that was written as `path=value`.
    pub fn push(&mut self, setting: Setting) {
        self.settings.push(setting);
    }

    /// Sets the platform.
    pub fn platform(&mut self, platform: PlatformKind) {
        self.set("--platform", ["spec", "platform"], platform.name());
    }

    /// Sets the sending time of each trial, in place of the document's duration and packets.
    pub fn duration(&mut self, duration: Span) {
        self.clear("--duration", ["spec", "trial", "packets"]);
        self.set("--duration", ["spec", "trial", "duration"], duration.to_string());
    }

    /// True when there are no settings.
    pub(super) fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// The option of the first setting in the field that `problem` begins with (`spec.traffic: …`), and the field that it sets.
    pub(super) fn behind(&self, problem: &str) -> Option<(&str, String)> {
        let field = problem.split([':', ' ']).next().unwrap_or_default();
        let inside = |path: &str| {
            path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let given = self.settings.iter().filter(|setting| setting.value.is_some());
        given.map(|setting| (setting.option.as_str(), setting.path.join("."))).find(|(_, path)| inside(path))
    }

    /// The options that set fields below `path`, as written, each once.
    pub fn options_below(&self, path: &[&str]) -> Vec<&str> {
        let below = |setting: &&Setting| {
            setting.path.len() > path.len()
                && setting.path.iter().zip(path).all(|(step, wanted)| step == wanted)
        };
        let mut options: Vec<&str> = Vec::new();
        for setting in self.settings.iter().filter(below) {
            if setting.value.is_some() && !options.contains(&setting.option.as_str()) {
                options.push(&setting.option);
            }
        }
        options
    }

    /// The document with these settings.
    ///
    /// # Errors
    /// The option of the first setting that the document does not allow.
    pub(super) fn apply(&self, document: Document) -> Result<Document, ExperimentError> {
        let mut document = document;
        for setting in &self.settings {
            document = setting.apply(&document)?;
        }
        Ok(document)
    }
}

impl Setting {
    fn apply(&self, document: &Document) -> Result<Document, ExperimentError> {
        let wrong = |problem: String| ExperimentError::Setting { option: self.option.clone(), problem };
        let mut tree = serde_json::to_value(document).map_err(|error| wrong(error.to_string()))?;
        let mut place = &mut tree;
        let Some((last, parents)) = self.path.split_last() else {
            return Err(wrong("no field is named".to_owned()));
        };
        for step in parents {
            place = child(place, step).map_err(wrong)?;
        }
        match &self.value {
            Some(value) => *child(place, last).map_err(wrong)? = value.clone(),
            None => {
                place.as_object_mut().and_then(|map| map.remove(last));
            }
        }
        // Through YAML, because the types are made for its reader.
        let yaml = serde_saphyr::to_string(&tree).map_err(|error| wrong(error.to_string()))?;
        serde_saphyr::from_str(&yaml).map_err(|error| {
            let text = for_users(&error.without_snippet().to_string());
            wrong(text.split(" at line ").next().unwrap_or(&text).to_owned())
        })
    }
}

/// The field `step` of `place`, created if missing.
fn child<'v>(place: &'v mut Value, step: &str) -> Result<&'v mut Value, String> {
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(map) => Ok(map.entry(step).or_insert(Value::Null)),
        Value::Array(list) => {
            let length = list.len();
            step.parse::<usize>()
                .ok()
                .and_then(|index| list.get_mut(index))
                .ok_or_else(|| format!("[{step}]: the list has {length} entries, numbered from 0"))
        }
        _ => Err(format!("'{step}': the field that it would be in is a plain value")),
    }
}

impl FromStr for Setting {
    type Err = String;

    /// Parses `spec.trial.repeats=3` or `spec.kubernetes.resources[intel.com/dpdk]=1`. The value is YAML; an
    /// empty one removes the field.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{}' is not PATH=VALUE, such as spec.trial.repeats=3", shown_within(text));
        let mut path = Vec::new();
        let mut step = String::new();
        let mut bracket = false;
        let mut letters = text.char_indices();
        let value = loop {
            match letters.next().ok_or_else(wrong)? {
                (_, '[') if !bracket => bracket = true,
                (_, ']') if bracket => bracket = false,
                (at, '=') if !bracket => break &text[at + 1..],
                (_, '.') if !bracket => path.push(std::mem::take(&mut step)),
                (_, letter) => {
                    step.push(letter);
                    continue;
                }
            }
            if bracket && !step.is_empty() {
                path.push(std::mem::take(&mut step));
            }
        };
        path.push(step);
        path.retain(|step| !step.is_empty());
        if path.is_empty() {
            return Err(wrong());
        }
        let value = if value.is_empty() {
            None
        } else {
            let read = serde_saphyr::from_str::<Value>(value);
            Some(read.map_err(|error| shown_within(&format!("'{value}': {error}")))?)
        };
        Ok(Self { option: shown_within(&format!("--set {text}")), path, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;

    #[test]
    fn settings_do_not_show_passwords_of_urls() {
        for text in ["spec.http.targets[0]=u:hunter2@h", "spec.x=[http://a:80/,http://u:hunter2@h/]"] {
            let setting: Setting = text.parse().unwrap();
            assert!(setting.option.contains("***@h") && !setting.option.contains("hunter2"), "{setting:?}");
        }
        for text in ["u:hunter2@h", "spec.x={u:hunter2@h"] {
            let said = text.parse::<Setting>().unwrap_err();
            assert!(said.contains("***@h") && !said.contains("hunter2"), "{said}");
        }
    }

    fn with(settings: &[&str]) -> Result<Experiment, String> {
        let mut overrides = Overrides::default();
        for text in settings {
            overrides.push(text.parse()?);
        }
        Experiment::load(None, &overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_can_be_set() {
        let experiment = with(&[
            "spec.trial.repeats=3",
            "spec.traffic.frameSizes=[64, imix]",
            "spec.kubernetes.resources[intel.com/dpdk]=2",
            "spec.kubernetes.link.kind=afPacket",
            "metadata.name=other",
        ])
        .unwrap();
        assert_eq!((experiment.name(), experiment.trial().repeats.get()), ("other", 3));
        let resources = &experiment.kubernetes().resources;
        assert_eq!(
            resources.iter().map(|(name, count)| (name.as_str(), count.get())).collect::<Vec<_>>(),
            [("intel.com/dpdk", 2)]
        );
    }

    #[test]
    fn a_contradiction_that_an_option_makes_names_the_option_and_not_the_file() {
        let head = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: ";
        let parse = |spec: &str, overrides: &Overrides| {
            Experiment::parse(&format!("{head}{spec}\n"), "s.yaml", overrides).unwrap_err().to_string()
        };
        let mut rate = Overrides::default();
        rate.set("--rate", ["spec", "traffic", "rates"], serde_json::json!(["100mbps"]));
        let message = parse("{streams: {rates: [1mbps]}}", &rate);
        let expected = "--rate: it sets spec.traffic.rates; spec.traffic: given beside spec.streams";
        assert!(message.starts_with(expected) && message.contains("--set 'spec.streams.rates="), "{message}");
        let message = parse("{http: {}}", &rate);
        assert!(message.starts_with("--rate: ") && message.contains("--set 'spec.http.rates="), "{message}");

        // The document has the field itself.
        let message = parse("{streams: {rates: [1mbps]}, traffic: {}}", &rate);
        assert!(message.starts_with("s.yaml: line 3"), "{message}");
        // The option sets another field.
        let mut repeats = Overrides::default();
        repeats.set("--repeats", ["spec", "trial", "repeats"], 2);
        let message = parse("{streams: {rates: [1mbps]}, trial: {packets: 1}}", &repeats);
        assert!(message.starts_with("s.yaml: "), "{message}");
    }

    #[test]
    fn options_below_a_field_are_named_once() {
        let mut overrides = Overrides::default();
        for name in ["intel.com/dpdk", "intel.com/sriov"] {
            overrides.set("--resource", ["spec", "kubernetes", "resources", name], 1);
        }
        overrides.set("--keep", ["spec", "kubernetes", "keep"], true);
        overrides.set("--pairs", ["spec", "pairs"], 2);
        assert_eq!(overrides.options_below(&["spec", "kubernetes"]), ["--resource", "--keep"]);
    }

    #[test]
    fn mistakes_name_the_option_and_what_is_allowed() {
        for (setting, parts) in [
            ("spec.trial.repeats=0", &["--set spec.trial.repeats=0", "1 to 1000"][..]),
            ("spec.trail.repeats=1", &["--set spec.trail", "trail"]),
            ("spec.pairs=many", &["many", "1 to 1000"]),
            ("spec.traffic.flows[9]=1", &["[9]", "entries"]),
            ("spec.trial.repeats", &["not PATH=VALUE"]),
        ] {
            let message = with(&[setting]).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{setting}: {message}");
            }
        }
    }
}
