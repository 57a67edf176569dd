//! `spec.hostSettings`: settings of hosts under which all trials are run, one after the other. Pure.

use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use crate::Experiment;
use crate::document::{Document, PlatformKind};
use crate::name::Name;

/// Longest name that the kernel gives an interface.
const LONGEST_INTERFACE: usize = 15;
/// Longest value.
const LONGEST_VALUE: usize = 128;

/// How a host's packets reach CPUs, in the words of `linerate-hostplane tune`. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostSetting {
    /// Its name, with which the names of its trials end: lower-case letters, digits and dashes. By default what is set, such as `rps-on`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Interfaces of this machine; by default those that the agents have in network namespaces of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Queues among which the device chooses: `on` (all), `off` (the first), or the first N.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss: Option<SettingValue>,
    /// CPUs that process received packets: `on` (all), `off` (the interrupt's), or a list such as `2-3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rps: Option<SettingValue>,
    /// Flows that are followed to the CPU that reads them, or `off`; of the whole host, so it goes with one interface of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rfs: Option<SettingValue>,
    /// A transmit queue for each CPU (`on`), or any (`off`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xps: Option<SettingValue>,
    /// CPUs to which the interrupts of the queues are dealt out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irq_cpus: Option<SettingValue>,
    /// Number of queues: N, or by kind, such as `rx=2,tx=4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<SettingValue>,
    /// Descriptors of a ring: N, or `rx=N,tx=N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rings: Option<SettingValue>,
    /// Interrupt coalescing, such as `rx-usecs=50,adaptive-rx=off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<SettingValue>,
    /// Frequency governor of all CPUs, such as `performance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governor: Option<SettingValue>,
    /// Settings before it in the list that are the same by other names.
    #[serde(skip)]
    pub(crate) again: usize,
}

/// The value of a setting: a word or a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SettingValue(String);

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SettingValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl Visitor<'_> for Value {
            type Value = SettingValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("on, off, a number or a list")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_,=.".contains(c);
                let is_value = !value.is_empty()
                    && value.len() <= LONGEST_VALUE
                    && !value.starts_with('-')
                    && value.chars().all(is_plain);
                match is_value {
                    true => Ok(SettingValue(value.to_owned())),
                    false => Err(E::custom(format_args!(
                        "'{value}' is no value of a host setting; give on, off, a number, or a list such as 0-3 or rx-usecs=50"
                    ))),
                }
            }

            // Readers of YAML may take `on` and `off` for truth values.
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                self.visit_str(if value { "on" } else { "off" })
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                self.visit_str(&value.to_string())
            }
        }

        deserializer.deserialize_any(Value)
    }
}

impl JsonSchema for SettingValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SettingValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A word, a list, or a number.",
            "oneOf": [{ "type": "string", "maxLength": LONGEST_VALUE }, { "type": "integer", "minimum": 0 }, { "type": "boolean" }]
        })
    }
}

impl HostSetting {
    /// Its name.
    pub fn label(&self) -> &str {
        self.name.as_ref().map_or("as-it-is", Name::as_str)
    }

    /// What is set of interfaces, by the options of `linerate-hostplane tune apply`.
    pub fn of_interfaces(&self) -> Vec<(&'static str, &SettingValue)> {
        let all = [
            ("--rss", &self.rss),
            ("--rps", &self.rps),
            ("--rfs", &self.rfs),
            ("--xps", &self.xps),
            ("--irq-cpus", &self.irq_cpus),
            ("--channels", &self.channels),
            ("--rings", &self.rings),
            ("--coalesce", &self.coalesce),
        ];
        all.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?))).collect()
    }

    /// True when it changes something.
    pub fn changes(&self) -> bool {
        self.governor.is_some() || !self.of_interfaces().is_empty()
    }

    /// What determines results: all but the name and the order of interfaces.
    pub(crate) fn determinant(&self) -> Self {
        let mut same = Self { name: None, again: 0, ..self.clone() };
        same.interfaces.sort();
        same
    }

    /// Name of a profile's trials under a setting.
    pub(crate) fn name_under(setting: Option<&Self>, profile: &str) -> String {
        setting.map_or_else(|| profile.to_owned(), |setting| format!("{profile}_{}", setting.label()))
    }

    fn usual_name(&self) -> Option<Name> {
        let governor = self.governor.iter().map(|value| ("--governor", value));
        let parts = self.of_interfaces().into_iter().chain(governor);
        let parts = parts.map(|(option, value)| format!("{}-{value}", option.trim_start_matches('-')));
        let name = parts.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        let plain: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
        let plain = plain.trim_matches('-');
        Name::try_from(if plain.is_empty() { "as-it-is".to_owned() } else { plain.to_owned() }).ok()
    }

    fn check(&self) -> Result<(), String> {
        let is_cpus = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '-');
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        let switch = |text: &str| text == "on" || text == "off";
        let numbers = |text: &str| {
            let is_pair = |part: &str| {
                part.split_once('=')
                    .is_some_and(|(name, value)| !name.is_empty() && (is_number(value) || switch(value)))
            };
            text.split(',').all(is_pair)
        };
        type Form<'a> = (&'static str, &'a Option<SettingValue>, &'a dyn Fn(&str) -> bool, &'static str);
        let forms: [Form<'_>; 9] = [
            ("rss", &self.rss, &|text| switch(text) || is_number(text), "on, off, or a number of queues"),
            ("rps", &self.rps, &|text| switch(text) || is_cpus(text), "on, off, or CPUs such as 2-3"),
            ("rfs", &self.rfs, &|text| text == "off" || is_number(text), "off, or a number of flows"),
            ("xps", &self.xps, &switch, "on or off"),
            ("irqCpus", &self.irq_cpus, &is_cpus, "CPUs such as 2-3"),
            ("channels", &self.channels, &|text| is_number(text) || numbers(text), "N, or rx=N,tx=N"),
            ("rings", &self.rings, &|text| is_number(text) || numbers(text), "N, or rx=N,tx=N"),
            ("coalesce", &self.coalesce, &numbers, "NAME=VALUE, such as rx-usecs=50"),
            (
                "governor",
                &self.governor,
                &|text| !switch(text) && !is_number(text),
                "a name such as performance",
            ),
        ];
        for (field, value, is_right, allowed) in forms {
            if let Some(value) = value.as_ref().filter(|value| !is_right(&value.0)) {
                return Err(format!("{field}: '{value}' is not {allowed}"));
            }
        }
        let is_name = |name: &&String| {
            let is_plain = |c: char| c.is_ascii_graphic() && c != '/';
            !name.is_empty()
                && name.len() <= LONGEST_INTERFACE
                && !name.starts_with(['-', '.'])
                && name.chars().all(is_plain)
        };
        if let Some(other) = self.interfaces.iter().find(|name| !is_name(name)) {
            return Err(format!("interfaces: '{other}' is no name of an interface"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.interfaces.iter().find(|name| !seen.insert(*name)) {
            return Err(format!("interfaces: {twice} stands twice; remove one"));
        }
        if self.rfs.is_some() && self.interfaces.len() != 1 {
            return Err(
                "rfs: the flows that are followed are a setting of the whole host; give one interface of it in interfaces"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Experiment {
    /// Host settings under which all trials are run, in order; one `None` where the document has none.
    pub fn host_settings(&self) -> Vec<Option<&HostSetting>> {
        match &self.document.spec.host_settings {
            Some(list) => list.value.iter().map(Some).collect(),
            None => vec![None],
        }
    }

    /// True when its trials change settings of hosts.
    pub fn changes_hosts(&self) -> bool {
        self.host_settings().into_iter().flatten().any(HostSetting::changes)
    }
}

/// Refuses settings that cannot be, and names those without a name.
pub(crate) fn prepare(document: &mut Document) -> Result<(), (Location, String)> {
    let spec = &mut document.spec;
    let Some(settings) = &spec.host_settings else { return Ok(()) };
    let (place, defined) = (settings.referenced, settings.defined);
    let mut list = crate::not_empty("spec.hostSettings", settings)?.clone();
    let searches = spec.search.is_some() || spec.http.as_ref().is_some_and(|http| http.search.is_some());
    let refused = [
        (
            spec.platform == PlatformKind::Kubernetes,
            "pods cannot change settings of their nodes; use platform local, or run `linerate-hostplane tune apply` on the nodes around each run",
        ),
        (searches, "settings are compared at the same loads; give rates in place of the search"),
    ];
    if let Some((_, why)) = refused.into_iter().find(|(is_refused, _)| *is_refused) {
        return Err((place, format!("spec.hostSettings: {why}")));
    }
    let (mut names, mut seen) = (BTreeSet::new(), Vec::new());
    for (index, setting) in list.iter_mut().enumerate() {
        let wrong = |problem: String| (place, format!("spec.hostSettings[{index}].{problem}"));
        setting.check().map_err(wrong)?;
        if setting.name.is_none() {
            setting.name = setting.usual_name();
        }
        let determinant = setting.determinant();
        setting.again = seen.iter().filter(|earlier| **earlier == determinant).count();
        seen.push(determinant);
        if !names.insert(setting.label().to_owned()) {
            return Err(wrong(format!(
                "name: {} stands twice, and results are filed under it; give each setting a name of its own",
                setting.label()
            )));
        }
    }
    spec.host_settings = Some(Spanned::new(list, place, defined));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::EnginesPlan;
    use crate::http::HttpPlan;
    use crate::plan::plan;
    use crate::{Experiment, Overrides};

    fn parse(spec: &str) -> Result<Experiment, String> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
        Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
    }

    const MATRIX: &str = "hostSettings: [{}, {rps: off}, {name: spread, rps: on, xps: off, irqCpus: 0}]";

    #[test]
    fn every_trial_is_run_under_every_setting_and_settings_change_seldom() {
        let frames =
            parse(&format!("{MATRIX}, traffic: {{frameSizes: [64, 512]}}, trial: {{repeats: 2}}")).unwrap();
        let trials = plan(&frames, None).unwrap().trials;
        let ends = |name: &str| name.rsplit('_').next().unwrap().to_owned();
        let settings: Vec<String> = trials.iter().map(|trial| ends(&trial.name)).collect();
        assert_eq!(settings, [["as-it-is"; 4], ["rps-off"; 4], ["spread"; 4]].concat());
        let keys: BTreeSet<_> = trials.iter().map(|trial| trial.key.clone()).collect();
        assert_eq!(keys.len(), trials.len());
        assert!(plan(&frames, Some("512B_10_rate_s_spread")).unwrap().trials.len() == 2);
        let other =
            parse("hostSettings: [{name: same-by-another-name, rps: off}], traffic: {frameSizes: [64]}")
                .unwrap();
        assert_eq!(plan(&other, None).unwrap().trials[0].key, trials[4].key, "a name determines nothing");
        let without = parse("traffic: {frameSizes: [64]}").unwrap();
        assert_ne!(plan(&without, None).unwrap().trials[0].key, trials[0].key);
        assert!(frames.changes_hosts() && !without.changes_hosts());
        // Before and after: the second is a trial of its own.
        let twice = parse(
            "hostSettings: [{name: before}, {interfaces: [a, b], rps: off}, {name: after}, {name: turned, interfaces: [b, a], rps: off}], traffic: {frameSizes: [64]}",
        )
        .unwrap();
        let keys: BTreeSet<_> =
            plan(&twice, None).unwrap().trials.into_iter().map(|trial| trial.key).collect();
        assert_eq!(keys.len(), 4);
        assert!(keys.contains(&trials[0].key), "the first is as if it were alone");
        let determinants: Vec<_> = twice.host_settings().into_iter().flatten().map(|one| one.again).collect();
        assert_eq!(determinants, [0, 0, 1, 1]);

        let http = parse(&format!("{MATRIX}, http: {{backends: [1, 2]}}, trial: {{duration: 1s}}")).unwrap();
        let trials = HttpPlan::of(&http, None).unwrap().unwrap().trials;
        let names: Vec<&str> = trials.iter().map(|trial| trial.profile.name.as_str()).collect();
        assert_eq!(
            names[2..4],
            ["direct_1_backends_64_connections_max_rps-off", "direct_2_backends_64_connections_max_rps-off"]
        );
        assert_eq!(trials.iter().map(|trial| trial.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);

        let engines = parse(&format!(
            "{MATRIX}, engines: [memif, sockets], traffic: {{rates: [1kpps]}}, trial: {{duration: 1s}}"
        ));
        let engines = EnginesPlan::of(&engines.unwrap(), None).unwrap().unwrap();
        assert_eq!(engines.count(), 6);
        assert!(engines.datagrams().all(|trial| trial.profile.name.contains("_sockets_")));
    }

    #[test]
    fn the_document_in_force_reads_as_itself() {
        let experiment = parse(MATRIX).unwrap();
        let again =
            Experiment::parse(&experiment.to_yaml().unwrap(), "e.yaml", &Overrides::default()).unwrap();
        assert_eq!(again.host_settings(), experiment.host_settings());
        assert_eq!(again.determinants(None).unwrap(), experiment.determinants(None).unwrap());
        let options: Vec<String> = again.host_settings()[2]
            .unwrap()
            .of_interfaces()
            .iter()
            .map(|(o, v)| format!("{o} {v}"))
            .collect();
        assert_eq!(options, ["--rps on", "--xps off", "--irq-cpus 0"]);
    }

    #[test]
    fn what_cannot_be_set_is_refused_in_words() {
        for (spec, part) in [
            ("hostSettings: []", "spec.hostSettings"),
            ("hostSettings: [{rps: yes please}]", "no value of a host setting"),
            ("hostSettings: [{xps: 3}]", "[0].xps: '3' is not on or off"),
            ("hostSettings: [{rps: '--help'}]", "no value of a host setting"),
            ("hostSettings: [{governor: on}]", "a name such as performance"),
            ("hostSettings: [{coalesce: 50}]", "such as rx-usecs=50"),
            ("hostSettings: [{rfs: 32768}]", "give one interface"),
            ("hostSettings: [{interfaces: ['a/b'], rss: off}]", "'a/b' is no name"),
            ("hostSettings: [{rps: on}, {rps: on}]", "rps-on stands twice"),
            ("hostSettings: [{rps: on}], search: {}", "in place of the search"),
            ("hostSettings: [{rps: on}], platform: kubernetes", "pods cannot change"),
            ("hostSettings: [{rpc: on}]", "rpc"),
        ] {
            let message = parse(spec).unwrap_err();
            assert!(message.contains(part), "{spec}: {message}");
        }
    }
}
