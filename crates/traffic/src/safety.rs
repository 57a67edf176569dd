//! Ceilings: limits that a sender must not exceed, regardless of the request.
//!
//! They come from the experiment document, the agent's options and the environment; the tightest decides.
//!
//! A ceiling on the rate holds for short times as well: within any [`WINDOW_S`], at most as many packets may
//! leave as it admits in that time, plus one. This limits a profile's bursts and the densest part of a
//! recording. It holds for all lcores of a sender together, and for packets that leave late:
//! [`Ceilings::packets_within`] and [`Ceilings::frame_times_ps`] give the limits that senders apply.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::{self, EnvironmentError};
use crate::limit::Limit;
use crate::profile::{FrameSizes, Profile, StageRates};
use crate::rate::{Rate, RateError};
use crate::span::Span;

mod refusal;
mod streams;

pub use refusal::Unsafe;
pub use streams::{PacketLoad, UnsafeStreams};

/// Window over which a ceiling on the rate applies, in seconds.
pub const WINDOW_S: f64 = 0.01;
/// The same window in picoseconds.
pub const WINDOW_PS: u64 = 10_000_000_000;
/// Environment variable with the highest load.
pub const MAX_RATE_VARIABLE: &str = "LINERATE_MAX_RATE";
/// Environment variable with the longest trial.
pub const MAX_DURATION_VARIABLE: &str = "LINERATE_MAX_DURATION";
/// Environment variable with the allowed destination networks, separated by commas.
pub const ALLOW_VARIABLE: &str = "LINERATE_ALLOW";

/// A network that may be sent to, written `192.168.0.0/16`; a single address is a network of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>()
            .ok()
            .or_else(address)
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a network such as 192.168.0.0/16 or 2001:db8::/32"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

/// Ceilings on all trials. A trial that exceeds one is refused before anything is sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "SafetySection")]
pub struct Safety {
    /// Highest load of a trial and sender, such as 100kpps, 1gbps or 50%. Within any 10 ms no more packets may leave than this admits in that time, and
    /// one packet more: bursts count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Rate>,
    /// Longest trial. A trial without a duration is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Span>,
    /// Networks that may be sent to, such as 192.168.0.0/16; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Network>,
}

impl Safety {
    /// Reads the ceilings from the environment, whose variables `variable` looks up. An empty variable sets none.
    ///
    /// # Errors
    /// The variable that cannot be parsed, with the reason.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        fn read<T: FromStr<Err: fmt::Display>>(
            variable: &'static str,
            text: &str,
        ) -> Result<T, EnvironmentError> {
            text.parse().map_err(|error: T::Err| EnvironmentError { variable, reason: error.to_string() })
        }
        let given = |name| {
            let text = environment::text(name, variable(name))?;
            Ok(text.filter(|text| !text.trim().is_empty()))
        };
        let networks = |text: String| {
            let names = text.split(',').filter(|text| !text.trim().is_empty());
            let networks: Vec<Network> =
                names.map(|text| read(ALLOW_VARIABLE, text)).collect::<Result<_, _>>()?;
            if networks.is_empty() {
                let reason = format!(
                    "'{text}' names no network; give networks such as 192.168.0.0/16, or unset the variable"
                );
                return Err(EnvironmentError { variable: ALLOW_VARIABLE, reason });
            }
            Ok(networks)
        };
        Ok(Self {
            max_rate: given(MAX_RATE_VARIABLE)?.map(|text| read(MAX_RATE_VARIABLE, &text)).transpose()?,
            max_duration: given(MAX_DURATION_VARIABLE)?
                .map(|text| read(MAX_DURATION_VARIABLE, &text))
                .transpose()?,
            allow: given(ALLOW_VARIABLE)?.map(networks).transpose()?.unwrap_or_default(),
        })
    }

    /// The variables from which [`Self::from_environment`] reads these ceilings.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.settings([MAX_RATE_VARIABLE, MAX_DURATION_VARIABLE, ALLOW_VARIABLE])
    }

    /// Command-line options that give an agent these ceilings.
    pub fn options(&self) -> Vec<String> {
        let settings = self.settings(["--max-rate", "--max-duration", "--allow"]);
        settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value.replace(' ', "")]).collect()
    }

    fn settings(&self, [rate, duration, allow]: [&'static str; 3]) -> Vec<(&'static str, String)> {
        let Self { max_rate, max_duration, allow: networks } = self;
        let networks = Some(networks).filter(|networks| !networks.is_empty()).map(|networks| list(networks));
        let settings = [
            (rate, max_rate.map(|rate| rate.to_string())),
            (duration, max_duration.map(|span| span.to_string())),
            (allow, networks),
        ];
        settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn list(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Source of ceilings, which determines the names of settings in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Options of the command line.
    Options,
    /// Environment variables.
    Environment,
    /// The experiment document.
    Document,
}

impl Origin {
    fn max_rate(self) -> &'static str {
        match self {
            Origin::Options => "--max-rate",
            Origin::Environment => MAX_RATE_VARIABLE,
            Origin::Document => "spec.safety.maxRate",
        }
    }

    fn max_duration(self) -> &'static str {
        match self {
            Origin::Options => "--max-duration",
            Origin::Environment => MAX_DURATION_VARIABLE,
            Origin::Document => "spec.safety.maxDuration",
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Origin::Options => "--allow",
            Origin::Environment => ALLOW_VARIABLE,
            Origin::Document => "spec.safety.allow",
        }
    }
}

/// A frame of a recording: departure time in seconds from the first one, and bytes with check sequence.
pub type Departure = (f64, u32);

/// All ceilings in force; empty when there are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ceilings(Vec<(Origin, Safety)>);

impl Ceilings {
    /// These ceilings and the given ones.
    pub fn with(mut self, origin: Origin, safety: Safety) -> Self {
        self.0.push((origin, safety));
        self
    }

    /// True when a list of networks limits where packets may go.
    pub fn limits_destinations(&self) -> bool {
        self.0.iter().any(|(_, safety)| !safety.allow.is_empty())
    }

    /// Checks a trial on a link of `link_bps` bit/s.
    ///
    /// # Errors
    /// The ceiling that forbids the trial.
    pub fn check(&self, profile: &Profile, limit: &Limit, link_bps: Option<u64>) -> Result<(), Unsafe> {
        self.0.iter().try_for_each(|(origin, safety)| {
            safety.check_rate(*origin, profile, link_bps)?;
            safety.check_duration(*origin, limit)?;
            safety.check_destinations(*origin, profile)
        })
    }

    /// Checks a trial before the link is known; [`Self::check`] checks the limits that depend on its speed.
    ///
    /// # Errors
    /// The ceiling that forbids the trial.
    pub fn check_ahead(&self, profile: &Profile, limit: &Limit) -> Result<(), Unsafe> {
        self.0.iter().try_for_each(|(origin, safety)| {
            match safety.check_rate(*origin, profile, None) {
                Err(Unsafe::UnknownRate(RateError::UnknownLinkSpeed(_))) | Ok(()) => {}
                Err(other) => return Err(other),
            }
            safety.check_duration(*origin, limit)?;
            safety.check_destinations(*origin, profile)
        })
    }

    /// Checks the repeated replay of recorded frames, in order. `None`: as fast as the port accepts them.
    ///
    /// # Errors
    /// The ceiling that forbids it; a list of allowed networks forbids every recording.
    pub fn check_recording(
        &self,
        frames: Option<&[Departure]>,
        limit: &Limit,
        link_bps: Option<u64>,
    ) -> Result<(), Unsafe> {
        self.0.iter().try_for_each(|(origin, safety)| {
            if !safety.allow.is_empty() {
                return Err(Unsafe::RecordedDestinations(origin.allow()));
            }
            safety.check_duration(*origin, limit)?;
            safety.check_density(*origin, frames, link_bps)
        })
    }

    /// The highest allowed load for frames of these sizes, in packets per second; `None` without a ceiling.
    ///
    /// # Errors
    /// When a percentage applies to a link that reports no speed.
    pub fn most_pps(&self, sizes: &FrameSizes, link_bps: Option<u64>) -> Result<Option<f64>, RateError> {
        self.0.iter().filter_map(|(_, safety)| safety.max_rate).try_fold(None, |most: Option<f64>, rate| {
            let pps = rate.packets_per_second(sizes, link_bps)?;
            Ok(match (most, pps) {
                (Some(most), Some(pps)) => Some(most.min(pps)),
                (one, other) => one.or(other),
            })
        })
    }

    /// Packets of these sizes that all lcores together may send within any [`WINDOW_S`]; `None`: no ceiling.
    ///
    /// # Errors
    /// When a percentage applies to a link that reports no speed.
    pub fn packets_within(
        &self,
        sizes: &FrameSizes,
        link_bps: Option<u64>,
    ) -> Result<Option<u64>, RateError> {
        Ok(self.most_pps(sizes, link_bps)?.map(admitted))
    }

    /// Time of each frame (bytes with check sequence) at each ceiling on the rate, in picoseconds. The frames
    /// that leave within any [`WINDOW_PS`] may take that time, plus one frame.
    ///
    /// # Errors
    /// When a percentage applies to a link that reports no speed.
    pub fn frame_times_ps(
        &self,
        frames_bytes: &[u32],
        link_bps: Option<u64>,
    ) -> Result<Vec<Arc<[u64]>>, RateError> {
        let ceilings = self.0.iter().filter_map(|(_, safety)| safety.max_rate);
        let times = |rate: Rate| {
            let time = |bytes: &u32| {
                let pps = rate.packets_per_second_of(f64::from(*bytes), link_bps)?;
                Ok(pps.map_or(0, |pps| (1e12 / pps) as u64))
            };
            frames_bytes.iter().map(time).collect::<Result<Arc<[u64]>, RateError>>()
        };
        ceilings.filter(|rate| *rate != Rate::Max).map(times).collect()
    }

    /// The longest allowed trial; `None` without a ceiling.
    pub fn longest(&self) -> Option<Span> {
        self.0.iter().filter_map(|(_, safety)| safety.max_duration).min()
    }
}

/// Packets that a ceiling in packets per second admits within any [`WINDOW_S`].
fn admitted(most_pps: f64) -> u64 {
    (most_pps * WINDOW_S) as u64 + 1
}

/// Most packets that bursts of `burst` at `pps` packets per second put into [`WINDOW_S`].
fn packets_of_bursts(burst: u32, pps: f64) -> u64 {
    // Rates are inexact: an excess over whole bursts below this is ignored.
    const ROUNDING: f64 = 1e-9;
    let bursts = (pps * WINDOW_S / f64::from(burst.max(1)) - ROUNDING).ceil();
    (bursts as u64).saturating_mul(u64::from(burst))
}

impl Safety {
    fn check_duration(&self, origin: Origin, limit: &Limit) -> Result<(), Unsafe> {
        let Some(most) = self.max_duration else { return Ok(()) };
        let asked = limit.duration_ms.map(Span::from_millis);
        if asked.is_some_and(|asked| asked <= most) {
            return Ok(());
        }
        Err(Unsafe::Duration { asked, most, setting: origin.max_duration() })
    }

    fn check_destinations(&self, origin: Origin, profile: &Profile) -> Result<(), Unsafe> {
        let (first, last) = profile.destinations();
        let within = |Network(network): &Network| network.contains(&first) && network.contains(&last);
        if self.allow.is_empty() || self.allow.iter().any(within) {
            return Ok(());
        }
        let allowed = list(&self.allow).replace(',', ", ");
        Err(Unsafe::Destination { first, last, allowed, setting: origin.allow() })
    }

    fn check_rate(&self, origin: Origin, profile: &Profile, link_bps: Option<u64>) -> Result<(), Unsafe> {
        let Some(ceiling) = self.max_rate else { return Ok(()) };
        let setting = origin.max_rate();
        let load = profile.load(link_bps);
        if load == Ok(None) && ceiling != Rate::Max {
            return Err(Unsafe::Unbounded { ceiling, setting });
        }
        let Some(most) = ceiling.packets_per_second(profile.frame_sizes(), link_bps)? else { return Ok(()) };
        let (asked, allowed) = (profile.burst(), admitted(most));
        if u64::from(asked) > allowed {
            return Err(Unsafe::Burst { asked, most: allowed, ceiling, setting });
        }
        let pps = StageRates::peak_per_s(&load?.unwrap_or_default());
        if pps > most {
            return Err(Unsafe::Rate { asked: pps, most, ceiling, setting });
        }
        let (burst, asked) = (profile.burst(), packets_of_bursts(profile.burst(), pps));
        if asked > allowed {
            return Err(Unsafe::Bursts { burst, pps, asked, most: allowed, ceiling, setting });
        }
        Ok(())
    }

    /// Checks every window: the time that its frames take at the ceiling may exceed the window by one frame.
    fn check_density(
        &self,
        origin: Origin,
        frames: Option<&[Departure]>,
        link_bps: Option<u64>,
    ) -> Result<(), Unsafe> {
        let Some(ceiling) = self.max_rate.filter(|rate| *rate != Rate::Max) else { return Ok(()) };
        let setting = origin.max_rate();
        let Some(frames) = frames else { return Err(Unsafe::Unbounded { ceiling, setting }) };
        let pps_of =
            |bytes: f64| ceiling.packets_per_second_of(bytes, link_bps).map(Option::unwrap_or_default);
        let (Some(&(last_s, _)), false) = (frames.last(), frames.is_empty()) else { return Ok(()) };
        let count = frames.len() as f64;
        // Two rounds are separated by the mean time between packets.
        let round_s = if frames.len() > 1 { last_s * count / (count - 1.0) } else { f64::INFINITY };
        let mean_bytes = frames.iter().map(|(_, bytes)| f64::from(*bytes)).sum::<f64>() / count;
        let (asked, most) = (count / round_s, pps_of(mean_bytes)?);
        // Recorded times are inexact: a smaller difference is ignored.
        if asked > most * (1.0 + 1e-6) {
            return Err(Unsafe::Rate { asked, most, ceiling, setting });
        }
        let twice = || frames.iter().copied().chain(frames.iter().map(|(at, bytes)| (at + round_s, *bytes)));
        let (mut within_s, mut first) = (0.0, twice().enumerate().peekable());
        for (index, (at_s, bytes)) in twice().enumerate() {
            let frame_s = 1.0 / pps_of(f64::from(bytes))?;
            while let Some((_, (first_s, first_bytes))) =
                first.next_if(|(_, (first_s, _))| at_s - first_s >= WINDOW_S)
            {
                debug_assert!(first_s <= at_s);
                within_s -= 1.0 / pps_of(f64::from(first_bytes))?;
            }
            within_s += frame_s;
            if let Some((begin, (first_s, _))) = first.peek()
                && within_s > (WINDOW_S + frame_s) * (1.0 + 1e-6)
            {
                let packets = index + 1 - begin;
                return Err(Unsafe::Dense { packets, at_s: *first_s, ceiling, setting });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
