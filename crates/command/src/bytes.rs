//! Numbers of bytes on command lines.

use std::str::FromStr;

/// A number of bytes: 1500, 64k, 10M, 2G (powers of 1,000), 64KiB, 1MiB, 1GiB (powers of 1,024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("'{text}' is not a number of bytes such as 1500, 64KiB, 10M or 1GiB");
        let trimmed = text.trim();
        let unit_at = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(unit_at);
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return Err(error()),
        };
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)).map(Self).ok_or_else(error)
    }
}
