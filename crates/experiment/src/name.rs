//! User-defined names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of an experiment: 1 to 63 lower-case letters, digits and dashes, a letter or digit at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
pub struct Name(#[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))] String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Name {
    fn default() -> Self {
        Self("experiment".to_owned())
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
        if ends && name.len() <= 63 && name.bytes().all(|byte| plain(byte) || byte == b'-') {
            Ok(Self(name))
        } else {
            Err(format!(
                "'{name}' is not a name of 1 to 63 lower-case letters, digits and inner dashes, such as first-light"
            ))
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}
