//! The id of an experiment, which decides whether two runs are the same experiment.
//!
//! The rule is implemented here a second time, independently of the program: if it changed, runs that were
//! started before could not be resumed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::programs::{linerate, stderr};

/// Version that `linerate` reports; it is part of every id.
pub(crate) fn version() -> String {
    let text = crate::programs::printed(&mut linerate(Path::new("/"), &["--version"]));
    text.trim().rsplit(' ').next().unwrap().to_owned()
}

/// The id of the experiment whose document in force is `canonical`: SHA-256 of its JSON with sorted keys,
/// with defaults for the fields that do not affect results, with the filter and the version.
pub(crate) fn id(canonical: &str, filter: Option<&str>, version: &str) -> String {
    let mut document: Value = serde_saphyr::from_str(canonical).unwrap();
    document["metadata"] = json!({ "name": "experiment" });
    document["spec"]["safety"] = json!({});
    document["spec"]["trial"]["retries"] = json!(2);
    document["spec"]["kubernetes"]["readyTimeout"] = json!("2m");
    document["spec"]["kubernetes"]["keep"] = json!(false);
    let all = json!({ "document": document, "filter": filter, "version": version });
    let digest = Sha256::digest(serde_json::to_vec(&all).unwrap());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first message of `linerate run DOCUMENT --resume` when a run with this id was started and has no trial
/// yet.
pub(crate) fn resumed(document: &Path, options: &[&str], id: &str, directory: &Path) -> String {
    let results = directory.join("results");
    let begun = results.join(BEGUN);
    fs::create_dir_all(&begun).unwrap();
    let text = fs::read_to_string(crate::files::folder().join("documents/begun.json")).unwrap();
    let mut summary: Value = serde_json::from_str(&text).unwrap();
    summary["experiment"]["determinants"] = json!(id);
    fs::write(begun.join("summary.json"), summary.to_string()).unwrap();
    fs::copy(document, begun.join("experiment.yaml")).unwrap();
    let mut command =
        linerate(directory, &["run", "--resume", "--dataplane", "/nonexistent/linerate-dataplane"]);
    // No run follows: there is neither a data plane nor a cluster.
    let output = command.arg(document).args(options).output().unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    said.lines().next().unwrap_or_default().to_owned()
}

/// Name of a run that was started.
pub(crate) const BEGUN: &str = "0123abcd";
