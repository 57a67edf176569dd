//! Ceilings for streams through the kernel's sockets, whose load is given in packets of the path.

use std::net::IpAddr;

use super::{Ceilings, Network, Origin, Safety, list};
use crate::apart::apart;
use crate::limit::Limit;
use crate::rate::{Rate, RateError};
use crate::span::Span;

/// A load as packets of an Ethernet path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PacketLoad {
    /// Packets per second; `None`: as fast as the path takes them.
    pub packets_per_second: Option<f64>,
    /// Mean bytes of a packet, Ethernet header and check sequence included.
    pub packet_bytes: f64,
}

/// Error: a ceiling forbids a trial of streams.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UnsafeStreams {
    /// The load exceeds the ceiling.
    #[error(
        "the load of {} packets per second ({bps:.0} bit/s with all headers) exceeds the ceiling of {} ({setting} {ceiling}); lower the rate",
        apart(*asked, *most)[0],
        apart(*asked, *most)[1]
    )]
    Rate {
        /// Requested load, in packets per second.
        asked: f64,
        /// The same in bits per second of layer 2.
        bps: f64,
        /// Highest allowed load, in packets per second.
        most: f64,
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// A load without a bound.
    #[error(
        "a load without a rate has no bound, and there is a ceiling ({setting} {ceiling}); give a rate (--rate)"
    )]
    Unbounded {
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// The duration exceeds the ceiling, or there is none.
    #[error(
        "the trial {} exceeds the ceiling of {most} ({setting}); give a shorter duration",
        asked.map_or("without a duration".to_owned(), |asked| format!("of {asked}"))
    )]
    Duration {
        /// Requested duration.
        asked: Option<Span>,
        /// Longest allowed duration.
        most: Span,
        /// Name of the setting.
        setting: &'static str,
    },
    /// An address outside the allowed networks.
    #[error("{address} lies in none of the allowed networks ({allowed}); change {setting}")]
    Address {
        /// The other end.
        address: IpAddr,
        /// The allowed networks.
        allowed: String,
        /// Name of the setting.
        setting: &'static str,
    },
    /// The ceiling cannot be computed.
    #[error("{setting} {ceiling}: {error}")]
    UnknownRate {
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
        /// Reason.
        error: RateError,
    },
}

impl Ceilings {
    /// Checks a trial of streams with `peer`; `None`: its address is not known yet.
    ///
    /// # Errors
    /// The ceiling that forbids the trial.
    pub fn check_streams(
        &self,
        load: &PacketLoad,
        limit: &Limit,
        peer: Option<IpAddr>,
    ) -> Result<(), UnsafeStreams> {
        self.0.iter().try_for_each(|(origin, safety)| safety.check_streams(*origin, load, limit, peer))
    }

    /// The highest allowed load in packets of `packet_bytes` per second; `None` without a ceiling.
    ///
    /// # Errors
    /// A ceiling that needs the speed of a link.
    pub fn most_packets_per_second(&self, packet_bytes: f64) -> Result<Option<f64>, UnsafeStreams> {
        self.0.iter().try_fold(None, |least: Option<f64>, (origin, safety)| {
            let most = safety.most_packets(*origin, packet_bytes)?;
            Ok(match (least, most) {
                (Some(least), Some((_, most))) => Some(least.min(most)),
                (least, most) => least.or(most.map(|(_, most)| most)),
            })
        })
    }
}

impl Safety {
    fn most_packets(&self, origin: Origin, packet_bytes: f64) -> Result<Option<(Rate, f64)>, UnsafeStreams> {
        let Some(ceiling) = self.max_rate else { return Ok(None) };
        match ceiling.packets_per_second_of(packet_bytes, None) {
            Ok(most) => Ok(most.map(|most| (ceiling, most))),
            Err(error) => Err(UnsafeStreams::UnknownRate { ceiling, setting: origin.max_rate(), error }),
        }
    }

    fn check_streams(
        &self,
        origin: Origin,
        load: &PacketLoad,
        limit: &Limit,
        peer: Option<IpAddr>,
    ) -> Result<(), UnsafeStreams> {
        let outside = |address: &IpAddr| !self.allow.iter().any(|Network(network)| network.contains(address));
        if let Some(address) = peer.filter(|address| !self.allow.is_empty() && outside(address)) {
            let allowed = list(&self.allow).replace(',', ", ");
            return Err(UnsafeStreams::Address { address, allowed, setting: origin.allow() });
        }
        let asked = limit.duration_ms.map(Span::from_millis);
        if let Some(most) = self.max_duration.filter(|most| asked.is_none_or(|asked| asked > *most)) {
            return Err(UnsafeStreams::Duration { asked, most, setting: origin.max_duration() });
        }
        let setting = origin.max_rate();
        let Some((ceiling, most)) = self.most_packets(origin, load.packet_bytes)? else { return Ok(()) };
        let asked = load.packets_per_second.ok_or(UnsafeStreams::Unbounded { ceiling, setting })?;
        // Rates are inexact: a smaller difference is ignored.
        if asked > most * (1.0 + 1e-9) {
            let bps = asked * load.packet_bytes * 8.0;
            return Err(UnsafeStreams::Rate { asked, bps, most, ceiling, setting });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_ceiling_decides() {
        let set = |rate: &str, networks: &[&str]| Safety {
            max_rate: Some(rate.parse().unwrap()),
            max_duration: Some(Span::from_secs(10)),
            allow: networks.iter().map(|network| network.parse().unwrap()).collect(),
        };
        let ceilings = Ceilings::default()
            .with(Origin::Options, set("10mbps", &["127.0.0.0/8", "::1"]))
            .with(Origin::Environment, set("1000pps", &[]));
        let load = |pps| PacketLoad { packets_per_second: pps, packet_bytes: 1250.0 };
        let limit = |seconds: Option<u64>| Limit { duration_ms: seconds.map(|s| s * 1000), packets: None };
        let home: IpAddr = "127.0.0.1".parse().unwrap();
        let check = |pps, seconds, to: IpAddr| {
            ceilings.check_streams(&load(pps), &limit(seconds), Some(to)).map_err(|error| error.to_string())
        };
        assert_eq!(check(Some(1000.0), Some(10), home), Ok(()));
        assert_eq!(check(Some(1000.0), Some(10), "::1".parse().unwrap()), Ok(()));
        for (refusal, parts) in [
            (check(Some(1001.0), Some(10), home), ["ceiling of 1000", "--max-rate 10mbps"]),
            (check(None, Some(10), home), ["no bound", "--max-rate 10mbps"]),
            (check(Some(1.0), Some(11), home), ["of 11s", "--max-duration"]),
            (check(Some(1.0), None, home), ["without a duration", "--max-duration"]),
            (check(Some(1.0), Some(1), "10.0.0.1".parse().unwrap()), ["10.0.0.1", "--allow"]),
        ] {
            let refusal = refusal.unwrap_err();
            assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
        }
        let unknown = ceilings.check_streams(&load(Some(1.0)), &limit(Some(1)), None);
        assert_eq!(unknown, Ok(()));
        assert_eq!(ceilings.most_packets_per_second(125.0), Ok(Some(1000.0)));
        assert_eq!(ceilings.most_packets_per_second(12_500.0), Ok(Some(100.0)));
        assert_eq!(Ceilings::default().most_packets_per_second(1.0), Ok(None));
        let share = Ceilings::default().with(Origin::Environment, set("50%", &[]));
        let error = share.most_packets_per_second(64.0).unwrap_err().to_string();
        assert!(error.contains("LINERATE_MAX_RATE 50%") && error.contains("link's speed"), "{error}");
    }
}
