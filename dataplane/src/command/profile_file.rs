//! Profiles read from files.

use std::path::Path;

use linerate_logging::terminal::escaped_path;
use linerate_traffic::profile::document::LARGEST_DOCUMENT_BYTES;
use linerate_traffic::profile::{Profile, ProfileDocument};

use super::output::Failure;

pub(super) fn read(path: &Path) -> Result<Profile, Failure> {
    let named = |reason: String| Failure::usage(format!("profile {}: {reason}", escaped_path(path)));
    let length = std::fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
    if length > LARGEST_DOCUMENT_BYTES {
        return Err(named(format!(
            "{length} bytes is too large for a profile (at most {LARGEST_DOCUMENT_BYTES})"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    parse(&text).map_err(named)
}

fn parse(text: &str) -> Result<Profile, String> {
    let document: ProfileDocument = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    document.profile().map_err(|error| format!("spec.{error}"))
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
