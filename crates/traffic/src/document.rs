//! Common parts of all documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of a document's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first.
    #[serde(rename = "linerate.dev/v1alpha1")]
    V1Alpha1,
}
