//! What every pod tells the scheduler and the kubelet, in the form of a pod's spec.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name of an object of Kubernetes, and longest prefix of a key.
const LONGEST_SUBDOMAIN: usize = 253;
/// Longest name behind a key's prefix, and longest value.
const LONGEST_LABEL: usize = 63;

/// Taints of nodes that pods tolerate, as in a pod's spec.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Toleration {
    /// Key of the taints; with `Exists`, all keys when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the value counts.
    pub operator: TolerationOperator,
    /// Value of the taints, with `Equal`; the empty one when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Effect of the taints; all effects when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// With `NoExecute`: seconds until a pod leaves its node after all; it stays when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// Whether a toleration compares values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The taint has the toleration's value.
    #[default]
    Equal,
    /// The taint may have any value.
    Exists,
}

impl TolerationOperator {
    /// Its name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Exists => "Exists",
        }
    }
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// No further ones come to the node.
    NoSchedule,
    /// They come to the node if there is no other.
    PreferNoSchedule,
    /// No further ones come, and those that are there leave.
    NoExecute,
}

impl TaintEffect {
    /// Its name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl Toleration {
    /// True when pods with it tolerate the taint with this key, value and effect.
    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        let is_of_effect = self.effect.is_none_or(|own| own.name() == effect);
        let is_of_key = self.key.as_deref().is_none_or(|own| own == key);
        let is_of_value = match self.operator {
            TolerationOperator::Equal => self.value.as_deref().unwrap_or_default() == value,
            TolerationOperator::Exists => true,
        };
        is_of_effect && is_of_key && is_of_value
    }

    /// Refuses what the API server would refuse.
    fn check(&self) -> Result<(), String> {
        match (self.key.as_deref(), self.operator, &self.value) {
            (None, TolerationOperator::Equal, _) => {
                return Err(
                    "no key, which only operator Exists goes without; give the key of the taint, or operator: Exists for all taints"
                        .to_owned(),
                );
            }
            (_, TolerationOperator::Exists, Some(value)) if !value.is_empty() => {
                return Err(format!(
                    "value '{value}' beside operator Exists, which holds for all values; remove one of them"
                ));
            }
            (Some(key), ..) if !is_key(key) => {
                return Err(format!("'{key}' is no key of a taint, such as example.com/dedicated"));
            }
            _ => {}
        }
        if let Some(value) = self.value.as_deref().filter(|value| !value.is_empty() && !is_label(value)) {
            return Err(format!(
                "'{value}' is no value of a taint: up to {LONGEST_LABEL} letters, digits, dashes, dots and underscores, with a letter or digit at both ends"
            ));
        }
        if self.toleration_seconds.is_some() && self.effect != Some(TaintEffect::NoExecute) {
            return Err(
                "tolerationSeconds goes with effect NoExecute alone; set it, or remove the time".to_owned()
            );
        }
        Ok(())
    }
}

/// A Secret of the pods' namespace with credentials of a registry, as in a pod's spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullSecret {
    /// Its name.
    pub name: ObjectName,
}

/// Name of an object of Kubernetes: lower-case letters, digits, inner dashes and dots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
pub struct ObjectName(
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))] String,
);

impl ObjectName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        if is_subdomain(&name) {
            Ok(Self(name))
        } else {
            Err(format!(
                "'{name}' is no name of an object of Kubernetes: up to {LONGEST_SUBDOMAIN} lower-case letters, digits, inner dashes and dots, such as registry-credentials"
            ))
        }
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> String {
        name.0
    }
}

/// Refuses what no pod can tell.
pub(super) fn check(tolerations: &[Toleration], scheduler: Option<&str>) -> Result<(), String> {
    for (index, toleration) in tolerations.iter().enumerate() {
        let named = |problem| format!("spec.kubernetes.tolerations[{index}]: {problem}");
        toleration.check().map_err(named)?;
    }
    let is_name = |name: &str| {
        (1..=LONGEST_SUBDOMAIN).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
    };
    match scheduler.filter(|name| !is_name(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "spec.kubernetes.schedulerName: '{name}' is no name of a scheduler, such as default-scheduler"
        )),
    }
}

fn is_subdomain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let ends = part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain);
        ends && part.bytes().all(|byte| plain(byte) || byte == b'-')
    };
    text.len() <= LONGEST_SUBDOMAIN && text.split('.').all(is_part)
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    ends && text.len() <= LONGEST_LABEL && text.bytes().all(|byte| plain(byte) || b"-_.".contains(&byte))
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label(name),
        None => is_label(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Experiment, Overrides};

    fn parse(kubernetes: &str) -> Result<Experiment, String> {
        let text = format!(
            "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{platform: kubernetes, streams: {{}}, kubernetes: {{{kubernetes}}}}}\n"
        );
        Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
    }

    /// (the toleration, the key, value and effect of a taint)
    #[test]
    fn taints_are_tolerated_as_kubernetes_tolerates_them() {
        let gpu = ("nvidia.com/gpu", "present", "NoSchedule");
        for (toleration, (key, value, effect), expected) in [
            ("{key: nvidia.com/gpu, operator: Exists}", gpu, true),
            ("{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}", gpu, true),
            ("{key: nvidia.com/gpu, operator: Exists, effect: NoExecute}", gpu, false),
            ("{key: nvidia.com/gpu, value: present}", gpu, true),
            ("{key: nvidia.com/gpu, value: absent}", gpu, false),
            ("{key: nvidia.com/gpu}", gpu, false),
            ("{key: nvidia.com/gpu}", ("nvidia.com/gpu", "", "NoSchedule"), true),
            ("{key: dedicated, operator: Exists}", gpu, false),
            ("{operator: Exists}", gpu, true),
            ("{operator: Exists, effect: NoExecute, tolerationSeconds: 60}", ("a", "", "NoExecute"), true),
        ] {
            let experiment = parse(&format!("tolerations: [{toleration}]")).unwrap();
            let [only] = &experiment.kubernetes().tolerations[..] else { panic!("{toleration}") };
            assert_eq!(only.tolerates(key, value, effect), expected, "{toleration} {key}={value}:{effect}");
        }
    }

    #[test]
    fn what_no_pod_can_tell_is_refused_by_name() {
        for (kubernetes, reason) in [
            ("tolerations: [{operator: Exists}, {value: a}]", "spec.kubernetes.tolerations[1]: no key"),
            ("tolerations: [{key: a, operator: Exists, value: b}]", "value 'b' beside operator Exists"),
            ("tolerations: [{key: 'a b'}]", "'a b' is no key of a taint"),
            ("tolerations: [{key: Example.com/a}]", "no key of a taint"),
            ("tolerations: [{key: a, value: 'b c'}]", "'b c' is no value of a taint"),
            ("tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 3}]", "NoExecute alone"),
            ("tolerations: [{key: a, effect: Never}]", "Never"),
            ("tolerations: [{key: a, seconds: 3}]", "seconds"),
            ("imagePullSecrets: [{name: A}]", "'A' is no name of an object"),
            ("imagePullSecrets: [{name: ''}]", "'' is no name of an object"),
            ("schedulerName: ''", "spec.kubernetes.schedulerName: '' is no name"),
            ("schedulerName: a b", "schedulerName: 'a b' is no name"),
        ] {
            let error = parse(kubernetes).unwrap_err();
            assert!(error.contains(reason), "{kubernetes}: {error}");
        }
        let told = "imagePullSecrets: [{name: registry.example-1}], schedulerName: bin-packer";
        let experiment = parse(told).unwrap();
        let settings = experiment.kubernetes();
        assert_eq!(settings.image_pull_secrets[0].name.as_str(), "registry.example-1");
        assert_eq!(settings.scheduler_name.as_deref(), Some("bin-packer"));
    }
}
