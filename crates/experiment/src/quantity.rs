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

/// CPUs of a pod: a whole number, or thousandths such as `250m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Cpus {
    milli: u64,
}

/// CPUs as they are written.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    /// Whole CPUs.
    Whole(#[schemars(range(min = 1, max = 1024))] u64),
    /// Thousandths of a CPU.
    Part(#[schemars(regex(pattern = r"^[1-9][0-9]*m$|^[1-9][0-9]*$"))] String),
}

impl Cpus {
    /// Most CPUs of a pod.
    const MOST: u64 = 1024;

    /// A whole number of CPUs, at least 1.
    pub fn whole(count: u64) -> Self {
        Self { milli: count.clamp(1, Self::MOST) * 1000 }
    }

    /// Thousandths of a CPU.
    pub fn milli(self) -> u64 {
        self.milli
    }

    /// The number when it is whole.
    pub fn as_whole(self) -> Option<u64> {
        self.milli.is_multiple_of(1000).then_some(self.milli / 1000)
    }
}

impl FromStr for Cpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let milli = match text.strip_suffix('m') {
            Some(thousandths) => thousandths.parse().ok(),
            None => text.parse::<u64>().ok().and_then(|count| count.checked_mul(1000)),
        };
        match milli {
            Some(milli @ 1..) if milli <= Self::MOST * 1000 => Ok(Self { milli }),
            _ => Err(format!(
                "'{text}' is not an amount of CPUs, such as 2 or 250m, and at most {}",
                Self::MOST
            )),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_whole() {
            Some(count) => write!(f, "{count}"),
            None => write!(f, "{}m", self.milli),
        }
    }
}

impl TryFrom<Written> for Cpus {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Whole(count) => count.to_string().parse(),
            Written::Part(text) => text.parse(),
        }
    }
}

impl From<Cpus> for Written {
    fn from(cpus: Cpus) -> Self {
        cpus.as_whole().map_or_else(|| Written::Part(cpus.to_string()), Written::Whole)
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
    fn cpus_are_whole_or_thousandths() {
        for (text, milli, shown) in
            [("2", 2000, "2"), ("\"250m\"", 250, "\"250m\""), ("\"3000m\"", 3000, "3"), ("\"4\"", 4000, "4")]
        {
            let cpus: Cpus = serde_json::from_str(text).unwrap();
            assert_eq!((cpus.milli(), serde_json::to_string(&cpus).unwrap().as_str()), (milli, shown));
        }
        for text in ["0", "0m", "-1", "1.5", "1025", "m", "250 m"] {
            assert!(text.parse::<Cpus>().unwrap_err().contains("250m"), "{text}");
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
