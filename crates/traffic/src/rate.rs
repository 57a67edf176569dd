//! Intended load.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::frame::WIRE_OVERHEAD_BYTES;
use crate::sizes::FrameSizes;

/// Upper limit of a rate, in packets or bits per second: a thousand links of 1 Tbit/s.
const FASTEST: f64 = 1e15;

/// An intended load, written `50%`, `1.5mpps`, `1000pps`, `2gbps` or `max`.
///
/// A percentage is of the link's line rate. A bit rate counts the frame with its check sequence and without
/// preamble and gap (layer 2). `max` is as fast as the port accepts frames, regardless of its nominal speed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Rate {
    /// Share of line rate, in percent: above 0, at most 100.
    Percent(f64),
    /// Frames per second.
    Pps(f64),
    /// Bits per second of layer 2.
    Bps(f64),
    /// As fast as the port takes it.
    Max,
}

impl Rate {
    /// The load in frames per second for frames of these sizes on a link of `link_bps` bit/s; `None` for
    /// [`Rate::Max`].
    ///
    /// # Errors
    /// [`RateError::UnknownLinkSpeed`] when a percentage applies to a link that reports no speed.
    pub fn packets_per_second(
        self,
        sizes: &FrameSizes,
        link_bps: Option<u64>,
    ) -> Result<Option<f64>, RateError> {
        self.packets_per_second_of(sizes.mean_bytes(), link_bps)
    }

    /// The same for frames of a mean size in bytes, frame check sequence included.
    ///
    /// # Errors
    /// As above.
    pub fn packets_per_second_of(
        self,
        mean_bytes: f64,
        link_bps: Option<u64>,
    ) -> Result<Option<f64>, RateError> {
        match self {
            Rate::Percent(percent) => {
                let link_bps = link_bps.filter(|bps| *bps > 0).ok_or(RateError::UnknownLinkSpeed(self))?;
                let wire_bits = (mean_bytes + f64::from(WIRE_OVERHEAD_BYTES)) * 8.0;
                Ok(Some(link_bps as f64 / wire_bits * percent / 100.0))
            }
            Rate::Pps(pps) => Ok(Some(pps)),
            Rate::Bps(bps) => Ok(Some(bps / (mean_bytes * 8.0))),
            Rate::Max => Ok(None),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || RateError::Syntax(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        if lower == "max" {
            return Ok(Rate::Max);
        }
        let unit_at = lower.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, unit) = lower.split_at(unit_at);
        let value: f64 = number.parse().map_err(|_| error())?;
        let unit = unit.trim_start();
        if unit == "%" {
            return if value > 0.0 && value <= 100.0 { Ok(Rate::Percent(value)) } else { Err(error()) };
        }
        let (scale, unit) = match unit.as_bytes().first() {
            Some(b'k') => (1e3, &unit[1..]),
            Some(b'm') => (1e6, &unit[1..]),
            Some(b'g') => (1e9, &unit[1..]),
            _ => (1.0, unit),
        };
        let scaled = value * scale;
        if !(scaled > 0.0 && scaled <= FASTEST) {
            return Err(error());
        }
        match unit {
            "pps" => Ok(Rate::Pps(scaled)),
            "bps" => Ok(Rate::Bps(scaled)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self {
            Rate::Percent(percent) => return write!(f, "{percent}%"),
            Rate::Max => return f.write_str("max"),
            Rate::Pps(value) => (*value, "pps"),
            Rate::Bps(value) => (*value, "bps"),
        };
        match value {
            v if v >= 1e9 => write!(f, "{}g{unit}", v / 1e9),
            v if v >= 1e6 => write!(f, "{}m{unit}", v / 1e6),
            v if v >= 1e4 => write!(f, "{}k{unit}", v / 1e3),
            v => write!(f, "{v}{unit}"),
        }
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

/// Error: a rate that cannot be parsed or applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RateError {
    /// Not one of the accepted forms.
    #[error("'{0}' is not a rate such as 50% (above 0, at most 100), 1.5mpps, 1000pps, 2gbps or max")]
    Syntax(String),
    /// A percentage without a known line rate.
    #[error(
        "rate {0} needs the link's speed, which the port does not report; give packets or bits per second"
    )]
    UnknownLinkSpeed(Rate),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, rate, shown) in [
            ("50%", Rate::Percent(50.0), "50%"),
            ("0.5 %", Rate::Percent(0.5), "0.5%"),
            ("1.5mpps", Rate::Pps(1.5e6), "1.5mpps"),
            ("1000pps", Rate::Pps(1000.0), "1000pps"),
            ("20kpps", Rate::Pps(20e3), "20kpps"),
            ("2Gbps", Rate::Bps(2e9), "2gbps"),
            ("MAX", Rate::Max, "max"),
        ] {
            let parsed: Rate = text.parse().unwrap();
            assert_eq!(parsed, rate);
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(shown.parse::<Rate>().unwrap(), rate);
        }
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        for bad in [
            "",
            "100",
            "0%",
            "101%",
            "-5%",
            "1.2.3pps",
            "5 mph",
            "0pps",
            "pps",
            "1kk pps",
            "infpps",
            "5%%",
            "99999999999gpps",
        ] {
            assert!(bad.parse::<Rate>().unwrap_err().to_string().contains(&format!("'{bad}'")), "{bad}");
        }
    }

    #[test]
    fn loads_in_packets_per_second() {
        let sizes = FrameSizes::default();
        let at = |text: &str, link| text.parse::<Rate>().unwrap().packets_per_second(&sizes, link);
        assert_eq!(at("100%", Some(10_000_000_000)).unwrap().map(|r| r as u64), Some(14_880_952));
        assert_eq!(at("512kbps", None).unwrap(), Some(1000.0));
        assert_eq!(at("max", None).unwrap(), None);
        for link in [None, Some(0)] {
            assert!(matches!(at("50%", link), Err(RateError::UnknownLinkSpeed(_))));
        }
    }
}
