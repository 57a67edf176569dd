//! A profile document: a profile in its own file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Profile, ProfileError, RawProfile};
use crate::document::ApiVersion;

/// Largest profile document in bytes. Readers refuse larger ones without reading them.
pub const LARGEST_DOCUMENT_BYTES: u64 = 1 << 20;

/// A profile in a file of its own. It has the shape of a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Profile")]
pub struct ProfileDocument {
    /// Version of this document's form.
    pub api_version: ApiVersion,
    /// Kind of object.
    pub kind: ProfileKind,
    /// Name of the profile.
    #[serde(default, skip_serializing_if = "ProfileMetadata::is_empty")]
    pub metadata: ProfileMetadata,
    /// The traffic.
    pub spec: RawProfile,
}

/// Kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProfileKind {
    /// A profile.
    Profile,
}

/// Names of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfileMetadata {
    /// Name to find the profile by. Results are always filed under the name that follows from `spec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ProfileMetadata {
    fn is_empty(&self) -> bool {
        self.name.is_none()
    }
}

impl ProfileDocument {
    /// The profile in the document.
    ///
    /// # Errors
    /// When its values are inconsistent.
    pub fn profile(&self) -> Result<Profile, ProfileError> {
        self.spec.clone().try_into()
    }
}

impl From<&Profile> for ProfileDocument {
    /// The document with all defaults filled in, under the profile's own name.
    fn from(profile: &Profile) -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: ProfileKind::Profile,
            metadata: ProfileMetadata { name: Some(profile.name()) },
            spec: profile.raw().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_profile_is_read_back() {
        let profile = Profile::try_from(RawProfile { flows: 10, ..RawProfile::default() }).unwrap();
        let document = ProfileDocument::from(&profile);
        let text = serde_json::to_string(&document).unwrap();
        let again: ProfileDocument = serde_json::from_str(&text).unwrap();
        assert_eq!(again, document);
        assert_eq!(again.profile().unwrap(), profile);
        assert_eq!(again.metadata.name, Some(profile.name()));
    }

    #[test]
    fn metadata_may_be_left_out_and_heads_may_not() {
        let read =
            |text: &str| serde_json::from_str::<ProfileDocument>(text).map_err(|error| error.to_string());
        let bare = r#"{"apiVersion": "linerate.dev/v1alpha1", "kind": "Profile", "spec": {}}"#;
        assert_eq!(read(bare).unwrap().metadata.name, None);
        for (text, part) in [
            (bare.replace("Profile", "Experiment"), "unknown variant `Experiment`"),
            (bare.replace("v1alpha1", "v9"), "unknown variant `linerate.dev/v9`"),
            (bare.replace("spec", "specs"), "unknown field `specs`"),
            (bare.replace(", \"spec\": {}", ""), "missing field `spec`"),
        ] {
            let message = read(&text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
