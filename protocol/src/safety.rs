//! Ceilings: what a sender may not exceed, whoever asks.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::profile::Profile;
use crate::rate::{Rate, RateError};
use crate::span::Span;
use crate::trial::Limit;

/// What a sender may not exceed. Nothing set: no ceiling.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Safety {
    /// Highest load of a trial.
    pub max_rate: Option<Rate>,
    /// Longest trial.
    pub max_duration: Option<Span>,
    /// Networks that may be sent to; empty: any.
    pub allowed: Vec<IpNet>,
}

/// A trial that a ceiling forbids.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unsafe {
    /// Faster than allowed.
    #[error(
        "the load of {asked:.0} packets per second exceeds the ceiling of {most:.0} (--max-rate {ceiling}); lower the rate"
    )]
    Rate {
        /// Highest load asked for, in packets per second.
        asked: f64,
        /// Highest load allowed.
        most: f64,
        /// The ceiling as it was set.
        ceiling: Rate,
    },
    /// No rate at all.
    #[error("rate 'max' has no bound, and there is a ceiling (--max-rate {0}); give a rate")]
    Unbounded(Rate),
    /// Longer than allowed, or without end.
    #[error("the trial {} exceeds the ceiling of {most} (--max-duration); give a shorter duration", asked.map_or("without a duration".to_owned(), |asked| format!("of {asked}")))]
    Duration {
        /// Duration asked for.
        asked: Option<Span>,
        /// Longest allowed.
        most: Span,
    },
    /// To a network that is not on the list.
    #[error(
        "destinations {first} to {last} do not lie within one of the allowed networks ({allowed}); change the profile's destination, or --allow"
    )]
    Destination {
        /// First address.
        first: IpAddr,
        /// Last address.
        last: IpAddr,
        /// The list.
        allowed: String,
    },
    /// Recorded frames and a list of networks.
    #[error(
        "there is a list of allowed networks (--allow), and where recorded frames go is not checked; send a profile instead"
    )]
    RecordedDestinations,
    /// The load cannot be told.
    #[error(transparent)]
    UnknownRate(#[from] RateError),
}

impl Safety {
    /// Checks a trial on a link of `link_bps` bit/s.
    ///
    /// # Errors
    /// The ceiling that forbids it.
    pub fn check(&self, profile: &Profile, limit: &Limit, link_bps: Option<u64>) -> Result<(), Unsafe> {
        self.check_rate(profile, link_bps)?;
        self.check_duration(limit)?;
        let (first, last) = profile.destinations();
        let within = |network: &IpNet| network.contains(&first) && network.contains(&last);
        if !self.allowed.is_empty() && !self.allowed.iter().any(within) {
            let allowed: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            return Err(Unsafe::Destination { first, last, allowed: allowed.join(", ") });
        }
        Ok(())
    }

    /// Checks the sending of recorded frames of a mean size in bytes at a mean rate; `None`: as fast as the port takes them.
    ///
    /// # Errors
    /// The ceiling that forbids it. Recorded frames go wherever they went, so a list of networks forbids them all.
    pub fn check_recording(
        &self,
        pps: Option<f64>,
        mean_bytes: f64,
        limit: &Limit,
        link_bps: Option<u64>,
    ) -> Result<(), Unsafe> {
        if !self.allowed.is_empty() {
            return Err(Unsafe::RecordedDestinations);
        }
        self.check_duration(limit)?;
        let Some(ceiling) = self.max_rate else { return Ok(()) };
        let Some(most) = ceiling.packets_per_second_of(mean_bytes, link_bps)? else { return Ok(()) };
        let asked = pps.ok_or(Unsafe::Unbounded(ceiling))?;
        if asked > most { Err(Unsafe::Rate { asked, most, ceiling }) } else { Ok(()) }
    }

    fn check_duration(&self, limit: &Limit) -> Result<(), Unsafe> {
        let Some(most) = self.max_duration else { return Ok(()) };
        let asked = limit.duration_ms.map(Span::from_millis);
        if asked.is_none_or(|asked| asked > most) { Err(Unsafe::Duration { asked, most }) } else { Ok(()) }
    }

    fn check_rate(&self, profile: &Profile, link_bps: Option<u64>) -> Result<(), Unsafe> {
        let Some(ceiling) = self.max_rate else { return Ok(()) };
        let Some(most) = ceiling.packets_per_second(profile.frame_sizes(), link_bps)? else { return Ok(()) };
        let Some(stages) = profile.load(link_bps)? else { return Err(Unsafe::Unbounded(ceiling)) };
        let asked = stages.iter().map(|stage| stage.from_pps.max(stage.to_pps)).fold(0.0, f64::max);
        if asked > most { Err(Unsafe::Rate { asked, most, ceiling }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ceiling_names_what_was_asked_and_what_is_allowed() {
        let safety = Safety {
            max_rate: Some("1mpps".parse().unwrap()),
            max_duration: Some(Span::from_secs(60)),
            allowed: vec!["192.168.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        };
        let check = |profile: &str, duration_ms| {
            let profile: Profile = serde_json::from_str(profile).unwrap();
            let limit = Limit { duration_ms, packets: Some(5) };
            safety.check(&profile, &limit, Some(10_000_000_000)).map_err(|refused| refused.to_string())
        };
        let minute = Some(60_000);
        assert_eq!(check(r#"{"rate": "1mpps"}"#, minute), Ok(()));
        for (profile, duration_ms, part) in [
            (r#"{"rate": "1.1mpps"}"#, minute, "1100000 packets per second exceeds the ceiling of 1000000"),
            (r#"{"rate": "max"}"#, minute, "'max' has no bound"),
            (r#"{"rate": "10%"}"#, minute, "1488095 packets"),
            (r#"{"stages": [{"rate": "1pps", "to": "2mpps", "duration": "1s"}]}"#, minute, "2000000 packets"),
            (r#"{"rate": "1pps"}"#, Some(60_001), "of 1m 1ms exceeds the ceiling of 1m"),
            (r#"{"rate": "1pps"}"#, None, "without a duration"),
            (
                r#"{"rate": "1pps", "destination": {"ip": "10.0.0.1", "port": 1}}"#,
                minute,
                "10.0.0.1 to 10.0.0.1 do not lie within one of the allowed networks (192.168.0.0/16, 2001:db8::/32)",
            ),
            (
                r#"{"rate": "1pps", "flows": 9, "flowMode": "d", "destination": {"ip": "192.168.255.250", "port": 1}}"#,
                minute,
                "192.168.255.250 to 192.169.0.2",
            ),
        ] {
            let message = check(profile, duration_ms).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        let open = Safety::default();
        let profile: Profile = serde_json::from_str(r#"{"rate": "max"}"#).unwrap();
        assert_eq!(open.check(&profile, &Limit::default(), None), Ok(()));
    }
}
