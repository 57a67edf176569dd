//! Shares as users write them.

use std::fmt;
use std::str::FromStr;

use linerate_search::PPB;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parts per billion in a percent.
const PERCENT: u64 = PPB / 100;
/// Decimal places of a percentage that are kept.
const PLACES: usize = 7;

/// A share, written as a percentage: `0.5%`. Kept exactly, to 0.0000001 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Share(u64);

impl Share {
    /// A share of so many parts per billion.
    pub const fn of_ppb(ppb: u64) -> Self {
        Self(ppb)
    }

    /// The share in parts per billion.
    pub const fn ppb(self) -> u64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not a percentage from 0% to 100% such as 0.5%, with at most {PLACES} decimals"
            )
        };
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > 3
            || !digits(whole)
            || !digits(decimals)
            || decimals.len() > PLACES
        {
            return Err(wrong());
        }
        let decimals: u64 = format!("{decimals:0<PLACES$}").parse().map_err(|_| wrong())?;
        let ppb = whole.parse::<u64>().map_err(|_| wrong())? * PERCENT + decimals;
        if ppb > PPB { Err(wrong()) } else { Ok(Self(ppb)) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / PERCENT, self.0 % PERCENT);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{decimals:0PLACES$}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

impl TryFrom<String> for Share {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        for (text, ppb, shown) in [
            ("0.5%", 5_000_000, "0.5%"),
            ("0%", 0, "0%"),
            (" 50.0 %", 500_000_000, "50%"),
            ("0.0000001%", 1, "0.0000001%"),
            ("100%", PPB, "100%"),
        ] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.ppb(), share.to_string().as_str()), (ppb, shown), "{text}");
        }
        for text in ["0.5", "", "%", "-1%", "101%", "1e2%", "0.00000001%", ".5%", "٣%"] {
            assert!(text.parse::<Share>().unwrap_err().contains(&format!("'{text}'")), "{text}");
        }
    }
}
