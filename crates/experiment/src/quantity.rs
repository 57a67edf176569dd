//! Amounts of memory in Kubernetes notation.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Suffixes and their factors: binary ones first, because they are used for display.
const SUFFIXES: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
];

/// An amount of memory in bytes, such as `2Gi` or `512Mi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not an amount of memory, such as 2Gi or 512Mi");
        let (number, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
            .unwrap_or((text, 1));
        let number: u64 = number.parse().map_err(|_| wrong())?;
        match number.checked_mul(factor) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SUFFIXES[..4].iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match exact {
            Some((suffix, factor)) => write!(f, "{}{suffix}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> String {
        bytes.to_string()
    }
}

/// An amount of the Kubernetes API in thousandths of its unit; `None` when the text is not an amount. CPUs
/// come as `1500m`, memory as `2Gi` or `16777216Ki`, devices as numbers, and large numbers with exponents
/// (`12e6`).
pub fn milli(text: &str) -> Option<u128> {
    if let Some(thousandths) = text.strip_suffix('m') {
        return thousandths.parse().ok();
    }
    if let Ok(Bytes(bytes)) = text.parse() {
        return Some(u128::from(bytes) * 1000);
    }
    let number: f64 =
        match SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor))) {
            Some((number, factor)) => number.parse::<f64>().ok()? * *factor as f64,
            None => text.parse().ok()?,
        };
    (number.is_finite() && number >= 0.0).then_some((number * 1000.0) as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_trip() {
        for (text, bytes, shown) in [
            ("2Gi", 2 << 30, "2Gi"),
            ("512Mi", 512 << 20, "512Mi"),
            ("2048", 2048, "2Ki"),
            ("1G", 1_000_000_000, "1000000000"),
        ] {
            let amount: Bytes = text.parse().unwrap();
            assert_eq!((amount.0, amount.to_string().as_str()), (bytes, shown));
        }
        for text in ["", "0", "2 Gi", "-1", "1.5Gi", "99999999Ti", "Gi"] {
            assert!(text.parse::<Bytes>().unwrap_err().contains("2Gi"), "{text}");
        }
    }

    #[test]
    fn the_apis_amounts_are_understood() {
        for (text, expected) in [
            ("1500m", Some(1500)),
            ("2", Some(2000)),
            ("0", Some(0)),
            ("16777216Ki", Some((16_777_216 * 1024) * 1000)),
            ("1.5Gi", Some((3 << 29) * 1000)),
            ("12e6", Some(12_000_000_000)),
            ("plenty", None),
            ("-1", None),
        ] {
            assert_eq!(milli(text), expected, "{text}");
        }
    }
}
