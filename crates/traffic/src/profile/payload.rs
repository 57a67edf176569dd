//! Fill of a frame after the probe.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::split_mix;

/// Most bytes of a pattern.
const LONGEST_PATTERN: usize = 256;

/// Payload behind the probe: `zeros`, `increment` (00 01 02 …), `hex:deadbeef` (repeated), or `random:SEED`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Payload {
    /// Zeros.
    #[default]
    Zeros,
    /// Each byte one more than the one before, from zero.
    Increment,
    /// These bytes, repeated.
    Pattern(Vec<u8>),
    /// Bytes drawn from this seed, the same in every frame.
    Random(u64),
}

impl Payload {
    /// Writes the fill.
    pub fn fill(&self, bytes: &mut [u8]) {
        match self {
            Payload::Zeros => bytes.fill(0),
            Payload::Increment => bytes.iter_mut().zip(0u32..).for_each(|(byte, i)| *byte = i as u8),
            Payload::Pattern(pattern) => {
                bytes.iter_mut().zip(pattern.iter().cycle()).for_each(|(byte, fill)| *byte = *fill);
            }
            Payload::Random(seed) => {
                let mut state = *seed;
                for chunk in bytes.chunks_mut(8) {
                    state = split_mix(state);
                    chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }
}

impl FromStr for Payload {
    type Err = PayloadError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PayloadError(text.to_owned());
        match text.trim().split_once(':') {
            None if text.trim() == "zeros" => Ok(Self::Zeros),
            None if text.trim() == "increment" => Ok(Self::Increment),
            Some(("random", seed)) => seed.trim().parse().map(Self::Random).map_err(|_| error()),
            Some(("hex", digits)) => {
                let digits: Vec<u32> = digits
                    .chars()
                    .filter(|c| !c.is_whitespace())
                    .map(|c| c.to_digit(16).ok_or_else(error))
                    .collect::<Result<_, _>>()?;
                let (pairs, []) = digits.as_chunks::<2>() else { return Err(error()) };
                if pairs.is_empty() || pairs.len() > LONGEST_PATTERN {
                    return Err(error());
                }
                Ok(Self::Pattern(pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect()))
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Zeros => f.write_str("zeros"),
            Payload::Increment => f.write_str("increment"),
            Payload::Random(seed) => write!(f, "random:{seed}"),
            Payload::Pattern(bytes) => {
                f.write_str("hex:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl TryFrom<String> for Payload {
    type Error = PayloadError;
    fn try_from(text: String) -> Result<Self, PayloadError> {
        text.parse()
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> String {
        payload.to_string()
    }
}

/// Error: a text that is not a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no payload: zeros, increment, hex:DIGITS (1 to {LONGEST_PATTERN} bytes), or random:SEED")]
pub struct PayloadError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_match_their_names() {
        let fill = |text: &str| {
            let mut bytes = [0xaa; 5];
            let payload: Payload = text.parse().unwrap();
            payload.fill(&mut bytes);
            assert_eq!(payload.to_string().parse(), Ok(payload));
            bytes
        };
        assert_eq!(fill("zeros"), [0; 5]);
        assert_eq!(fill("increment"), [0, 1, 2, 3, 4]);
        assert_eq!(fill("hex:de ad"), [0xde, 0xad, 0xde, 0xad, 0xde]);
        assert_eq!(fill("random:1"), fill("random:1"));
        assert_ne!(fill("random:1"), fill("random:2"));
        for bad in [
            "",
            "zero",
            "hex:",
            "hex:abc",
            "hex:xy",
            "random:",
            "random:-1",
            &format!("hex:{}", "00".repeat(257)),
        ] {
            assert!(bad.parse::<Payload>().unwrap_err().to_string().contains("no payload"), "{bad}");
        }
    }
}
