//! Profiles in files.

use std::path::Path;

use linerate_protocol::profile::Profile;
use serde::Deserialize;

use super::output::Failure;

/// Largest profile document that is read, in bytes.
const LARGEST_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: ApiVersion,
    kind: Kind,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    spec: Profile,
}

#[derive(Deserialize)]
enum ApiVersion {
    #[serde(rename = "linerate.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(Deserialize)]
enum Kind {
    Profile,
}

pub(super) fn read(path: &Path) -> Result<Profile, Failure> {
    let named = |reason: String| Failure::usage(format!("profile {}: {reason}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
    if length > LARGEST_BYTES {
        return Err(named(format!("{length} bytes is too large for a profile (at most {LARGEST_BYTES})")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    parse(&text).map_err(named)
}

fn parse(text: &str) -> Result<Profile, String> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let Document { api_version: ApiVersion::V1Alpha1, kind: Kind::Profile, spec, .. } = document;
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_and_a_wrong_one_named() {
        let good = "apiVersion: linerate.dev/v1alpha1\nkind: Profile\nmetadata:\n  name: x\nspec:\n  frameSize: 512\n  flows: 10\n  rate: 1mpps\n";
        assert_eq!(parse(good).unwrap().name(), "profile_10_flows_pkt_size_512B_1mpps_rate_s");
        for (text, part) in [
            (good.replace("512", "63"), "63"),
            (good.replace("Profile", "Experiment"), "Experiment"),
            (good.replace("flows", "flow"), "flow"),
            (String::new(), ""),
            ("{".repeat(10_000), ""),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
