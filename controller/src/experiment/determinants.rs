//! What determines an experiment's results, as one number: two experiments with the same one measure the same thing in the same way.

use linerate_protocol::safety::Safety;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Experiment;
use super::document::{Metadata, TrialSection};
use super::kubernetes::KubernetesSection;

impl Experiment {
    /// SHA-256, in hexadecimal digits, of everything that determines the results: the document in force, what selects its trials, and the version
    /// of this program. The experiment's name, how often a trial is tried, what no trial may exceed, and how long pods may take and how long they stay are not part of it.
    ///
    /// # Errors
    /// When the document cannot be written as JSON, which it has no reason to.
    pub fn determinants(&self, filter: Option<&str>) -> serde_json::Result<String> {
        let mut document = self.document.clone();
        document.metadata = Metadata::default();
        document.spec.trial.retries = TrialSection::default().retries;
        document.spec.safety = Safety::default();
        let (pods, usual) = (&mut document.spec.kubernetes, KubernetesSection::default());
        (pods.ready_timeout, pods.keep) = (usual.ready_timeout, usual.keep);
        // A JSON value has its fields in the order of their names, whatever order they are declared in.
        let all = serde_json::to_value(&document)?;
        let all = json!({ "document": all, "filter": filter, "version": env!("CARGO_PKG_VERSION") });
        let sum = Sha256::digest(serde_json::to_vec(&all)?);
        Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment::{Experiment, Overrides};

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
            ("", "pairs: 1, traffic: {frameSizes: [64]}"),
        ] {
            assert_eq!(determinants(metadata, spec), plain, "{metadata} {spec}");
        }
        for spec in ["pairs: 2", "trial: {repeats: 2}", "traffic: {rates: [11%]}", "agents: {memoryMb: 65}"] {
            assert_ne!(determinants("", spec), plain, "{spec}");
        }
    }
}
