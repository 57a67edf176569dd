//! Determinants: a hash of everything that determines an experiment's results. Two experiments with the same
//! hash measure the same thing in the same way.

use std::time::Duration;

use linerate_traffic::limit::Limit;
use linerate_traffic::safety::Safety;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use linerate_traffic::profile::Profile;

use super::Experiment;
use super::document::{Document, Metadata, TrialSection};
use super::host_settings::HostSetting;
use super::http::HttpProfile;
use super::kubernetes::KubernetesSection;
use super::search::SearchTrial;
use super::streams::StreamsProfile;

/// Hexadecimal digits of a trial's key.
const KEY_DIGITS: usize = 32;

impl Experiment {
    /// SHA-256, in hexadecimal digits, of everything that determines the results: the document in force, the
    /// filter of its trials, and the version of this program. The experiment's name, the number of retries,
    /// the ceilings, and how long pods may take to start and are kept are not part of it.
    ///
    /// # Errors
    /// When the document cannot be written as JSON, which is not expected.
    pub fn determinants(&self, filter: Option<&str>) -> serde_json::Result<String> {
        // The fields of a JSON value are sorted by name, whatever the order of their declaration.
        let all = json!({ "document": self.determining_document(), "filter": filter, "version": env!("CARGO_PKG_VERSION") });
        Ok(hexadecimal(&serde_json::to_vec(&all)?))
    }

    /// The keys of the experiment's trials.
    ///
    /// # Errors
    /// When the document cannot be written as JSON, which is not expected.
    pub fn trial_keys(&self) -> serde_json::Result<TrialKeys> {
        let mut document = self.determining_document();
        document.spec.traffic = None;
        document.spec.profiles = None;
        document.spec.streams = None;
        document.spec.http = None;
        document.spec.host_settings = None;
        document.spec.trial.repeats = TrialSection::default().repeats;
        // What follows a search does not change its trials.
        document.spec.search.iter_mut().for_each(|search| search.then.clear());
        let rest = json!({ "document": document, "version": env!("CARGO_PKG_VERSION") });
        Ok(TrialKeys { rest: hexadecimal(&serde_json::to_vec(&rest)?) })
    }

    /// The document without the fields that do not affect the results.
    fn determining_document(&self) -> Document {
        let mut document = self.document.clone();
        document.metadata = Metadata::default();
        document.spec.trial.retries = TrialSection::default().retries;
        document.spec.trial.order = TrialSection::default().order;
        document.spec.safety = Safety::default();
        if let Some(search) = &mut document.spec.search {
            search.budget = None;
        }
        let (pods, usual) = (&mut document.spec.kubernetes, KubernetesSection::default());
        (pods.ready_timeout, pods.keep, pods.node_view) = (usual.ready_timeout, usual.keep, usual.node_view);
        pods.image_pull_secrets = usual.image_pull_secrets;
        document
    }
}

/// Hash of everything that determines a trial: the first 128 bits of a SHA-256, in hexadecimal digits. It
/// identifies the trial; names are for display.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrialKey(String);

impl std::fmt::Display for TrialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keys of trials: hashes of their determinants. A trial's key does not depend on the other trials of the
/// experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialKeys {
    /// Hash of the trials' common determinants.
    rest: String,
}

impl TrialKeys {
    /// The key of a trial; `repeat` is the number of the repeat.
    pub fn of(&self, profile: &Profile, repeat: u32) -> TrialKey {
        self.of_value(&json!({ "profile": profile, "repeat": repeat, "rest": self.rest }))
    }

    /// The key of a trial that is run under a setting of hosts, from its key without one. The same setting later in the list
    /// gives another key: it is run again, to see what has drifted.
    pub fn under(&self, key: TrialKey, setting: Option<&HostSetting>) -> TrialKey {
        match setting {
            Some(setting) => {
                let mut own = json!({ "trial": key, "host": setting.determinant(), "rest": self.rest });
                if setting.again > 0 {
                    own["again"] = setting.again.into();
                }
                self.of_value(&own)
            }
            None => key,
        }
    }

    /// The key of a trial of streams.
    pub fn of_streams(&self, profile: &StreamsProfile, repeat: u32) -> TrialKey {
        self.of_value(&json!({ "streams": profile.spec, "repeat": repeat, "rest": self.rest }))
    }

    /// The key of a trial of HTTP.
    pub fn of_http(&self, profile: &HttpProfile, repeat: u32) -> TrialKey {
        self.of_value(&json!({ "http": profile, "repeat": repeat, "rest": self.rest }))
    }

    /// The key of a trial of a search; `repeat` counts the trials of all searches of the profile, and `path` is
    /// the only path loaded.
    pub fn of_search(
        &self,
        profile: &Profile,
        repeat: u32,
        search: &SearchTrial,
        path: Option<&str>,
    ) -> TrialKey {
        self.of_value(
            &json!({ "profile": profile, "repeat": repeat, "search": search, "path": path, "rest": self.rest }),
        )
    }

    /// The key of a trial of a benchmark that follows a search; `limit` is its end, and `rest` the time without traffic
    /// before it.
    pub fn of_follow_up(
        &self,
        profile: &Profile,
        limit: &Limit,
        rest: Duration,
        repeat: u32,
        search: &SearchTrial,
        path: Option<&str>,
    ) -> TrialKey {
        self.of_value(&json!({
            "profile": profile, "limit": limit, "pause_ms": rest.as_millis() as u64, "repeat": repeat,
            "search": search, "path": path, "rest": self.rest
        }))
    }

    fn of_value(&self, own: &Value) -> TrialKey {
        let mut key = hexadecimal(own.to_string().as_bytes());
        key.truncate(KEY_DIGITS);
        TrialKey(key)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Experiment, Overrides};

    fn determinants(metadata: &str, spec: &str) -> String {
        let text = format!(
            "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n"
        );
        let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
        experiment.determinants(None).unwrap()
    }

    #[test]
    fn what_changes_results_changes_the_number() {
        let plain = determinants("", "");
        assert_eq!(plain.len(), 64);
        for (metadata, spec) in [
            ("name: other", ""),
            ("", "trial: {retries: 7}"),
            ("", "safety: {maxRate: 100gbps, maxDuration: 1h, allow: [192.168.2.0/24]}"),
            ("", "kubernetes: {keep: true, readyTimeout: 3s}"),
            ("", "kubernetes: {nodeView: true, imagePullSecrets: [{name: registry}]}"),
            ("", "pairs: 1, traffic: {frameSizes: [64]}"),
        ] {
            assert_eq!(determinants(metadata, spec), plain, "{metadata} {spec}");
        }
        for spec in ["pairs: 2", "trial: {repeats: 2}", "traffic: {rates: [11%]}", "agents: {memoryMb: 65}"] {
            assert_ne!(determinants("", spec), plain, "{spec}");
        }
    }

    #[test]
    fn a_trial_has_the_same_key_whatever_others_there_are() {
        let keys = |spec: &str| {
            let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
            let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
            let keys = experiment.trial_keys().unwrap();
            experiment.profiles.iter().map(|profile| keys.of(profile, 1)).collect::<Vec<_>>()
        };
        let alone = keys("traffic: {frameSizes: [64]}");
        assert_eq!(alone[0].to_string().len(), super::KEY_DIGITS);
        let several = keys("traffic: {frameSizes: [128, 64]}, trial: {repeats: 9}");
        assert_eq!(several[1], alone[0]);
        assert_ne!(several[0], several[1]);
        assert_ne!(keys("traffic: {frameSizes: [64]}, trial: {duration: 7s}"), alone);
    }
}
