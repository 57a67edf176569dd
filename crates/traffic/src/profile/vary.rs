//! Values of a varied field by flow number.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::field::{Field, mac_bits};
use crate::mac::MacAddr;
use crate::random::split_mix;

/// How a field differs between flows. Left out: from the profile's own value on, by one per flow, a value for each flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Variation {
    /// Value of the first flow, in place of the profile's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Number>,
    /// Distance between values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Number>,
    /// Number of values; after the last one the first comes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<u32>,
    /// The values in an order drawn from this seed, each as often as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<u64>,
}

/// A value of a field: a number, or text in the form of an address (`0.0.1.0`, `::1:0`, `00:00:00:00:01:00`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Number(pub u128);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "neither a number nor an address")]
enum Written {
    Small(u64),
    Text(String),
}

impl TryFrom<Written> for Number {
    type Error = NumberError;
    fn try_from(written: Written) -> Result<Self, NumberError> {
        match written {
            Written::Small(number) => Ok(Self(number.into())),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Number> for Written {
    fn from(number: Number) -> Self {
        u64::try_from(number.0).map_or_else(|_| Self::Text(number.0.to_string()), Self::Small)
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl JsonSchema for Number {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or text in the form of an address: 0.0.1.0, ::1:0, 00:00:00:00:01:00",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }]
        })
    }
}

/// Error: a text that is neither a number nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a number nor an IPv4, IPv6 or Ethernet address")]
pub struct NumberError(String);

impl FromStr for Number {
    type Err = NumberError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        text.parse()
            .or_else(|_| text.parse::<Ipv4Addr>().map(|ip| ip.to_bits().into()))
            .or_else(|_| text.parse::<MacAddr>().map(mac_bits))
            .or_else(|_| text.parse::<Ipv6Addr>().map(Ipv6Addr::to_bits))
            .map(Self)
            .map_err(|_| NumberError(text.to_owned()))
    }
}

/// A varied field, which gives each flow its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// The field.
    pub field: Field,
    /// Value of the first flow; `None` for an Ethernet address that only the port knows.
    pub start: Option<u128>,
    /// Difference between consecutive values.
    pub step: u128,
    /// Number of values: at least 1.
    pub count: u32,
    /// Seed of a random order; `None`: ascending.
    pub random: Option<u64>,
}

impl Sweep {
    /// Offset of flow `index`'s value from the first one.
    pub fn offset(&self, index: u32) -> u128 {
        let position = index % self.count;
        let position = self.random.map_or(position, |seed| shuffled(position, self.count, seed));
        u128::from(position).wrapping_mul(self.step)
    }

    /// The largest offset; `None` when it exceeds 128 bits.
    pub fn reach(&self, flows: u32) -> Option<u128> {
        let values = if self.random.is_some() { self.count } else { self.count.min(flows) };
        u128::from(values.saturating_sub(1)).checked_mul(self.step)
    }
}

/// Number of different combinations of fields with these numbers of values, stepping together, before they
/// repeat.
pub fn distinct(counts: impl IntoIterator<Item = u32>) -> u128 {
    counts
        .into_iter()
        .map(u128::from)
        .fold(1, |distinct, count| (distinct / gcd(distinct, count)).saturating_mul(count))
}

/// The greatest common divisor.
pub fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Index of `position` in a random order of `count` positions drawn from `seed`. Every index occurs once.
///
/// The order is an invertible mixing of the next power of two; results beyond the range are mixed again until
/// they fall into it (cycle walking), so the whole is a permutation.
fn shuffled(position: u32, count: u32, seed: u64) -> u32 {
    let bits = u64::from(count.max(2) - 1).ilog2() + 1;
    let mask = (1u64 << bits) - 1;
    let half = bits.div_ceil(2);
    let mut value = u64::from(position);
    loop {
        let mut key = seed;
        for _ in 0..4 {
            key = split_mix(key);
            // Each step is invertible: an odd factor, an added key, a shift by at least half the width.
            value = value.wrapping_mul(key | 1).wrapping_add(key >> 32) & mask;
            value ^= value >> half;
        }
        if value < u64::from(count) {
            return value as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_orders_hold_every_value_once() {
        let most = if cfg!(miri) { 100 } else { 5000 };
        for count in [1u32, 2, 3, 7, 100, 1000, 4096, 5000].into_iter().filter(|count| *count <= most) {
            for seed in [0, 1, u64::MAX] {
                let values: HashSet<u32> = (0..count).map(|i| shuffled(i, count, seed)).collect();
                assert_eq!(values.len() as u32, count);
                assert!(values.iter().all(|value| *value < count));
            }
        }
        let order = |seed| (0..most).map(|i| shuffled(i, most, seed)).collect::<Vec<_>>();
        assert_ne!(order(1), order(2));
        let rising = order(1).windows(2).filter(|pair| pair[1] > pair[0]).count() as u32;
        assert!((most * 2 / 5..most * 3 / 5).contains(&rising), "{rising} of {most} steps rise");
    }

    #[test]
    fn fields_that_step_together_come_round_after_the_least_common_multiple() {
        assert_eq!(distinct([]), 1);
        assert_eq!(distinct([4, 6]), 12);
        assert_eq!(distinct([100, 100, 50]), 100);
        assert_eq!(distinct([u32::MAX, u32::MAX - 1, u32::MAX - 2, u32::MAX - 4, u32::MAX - 6]), u128::MAX);
    }

    #[test]
    fn numbers_may_be_written_as_addresses() {
        for (json, value) in [
            ("7", 7),
            ("\"7\"", 7),
            ("\"0.0.1.0\"", 256),
            ("\"::1:0\"", 65_536),
            ("\"00:00:00:00:01:00\"", 256),
            ("\"18446744073709551616\"", 1 << 64),
        ] {
            let number: Number = serde_json::from_str(json).unwrap();
            assert_eq!(number, Number(value), "{json}");
            let written = serde_json::to_string(&number).unwrap();
            assert_eq!(serde_json::from_str::<Number>(&written).unwrap(), number);
        }
        for bad in ["\"x\"", "-1", "1.5", "[]"] {
            assert!(serde_json::from_str::<Number>(bad).is_err(), "{bad}");
        }
    }
}
