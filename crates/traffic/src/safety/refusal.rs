//! Trials that a ceiling forbids.

use std::net::IpAddr;

use crate::apart::apart;
use crate::rate::{Rate, RateError};
use crate::span::Span;

/// Error: a ceiling forbids the trial.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unsafe {
    /// The load exceeds the ceiling.
    #[error(
        "the load of {} packets per second exceeds the ceiling of {} ({setting} {ceiling}); lower the rate",
        apart(*asked, *most)[0],
        apart(*asked, *most)[1]
    )]
    Rate {
        /// Highest requested load, in packets per second.
        asked: f64,
        /// Highest allowed load.
        most: f64,
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// A burst exceeds the ceiling.
    #[error(
        "bursts of {asked} packets exceed the {most} that the ceiling ({setting} {ceiling}) admits within 10 ms; make them smaller"
    )]
    Burst {
        /// Packets per burst.
        asked: u32,
        /// Allowed packets per burst.
        most: u64,
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// The bursts are too close together.
    #[error(
        "bursts of {burst} packets at {pps:.0} packets per second are {asked} packets within 10 ms, and the ceiling ({setting} {ceiling}) admits \
         {most}; make bursts smaller, or lower the rate"
    )]
    Bursts {
        /// Packets per burst.
        burst: u32,
        /// Highest requested load, in packets per second.
        pps: f64,
        /// Packets within the window.
        asked: u64,
        /// Allowed packets within the window.
        most: u64,
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// A part of the recording is too dense.
    #[error(
        "{packets} frames of the recording leave within 10 ms, {at_s:.3} s after its beginning, and the ceiling ({setting} {ceiling}) admits fewer; \
         give a lower steady rate (--rate)"
    )]
    Dense {
        /// Frames within the window.
        packets: usize,
        /// Beginning of the window, in seconds.
        at_s: f64,
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// A rate without a bound.
    #[error("rate 'max' has no bound, and there is a ceiling ({setting} {ceiling}); give a rate")]
    Unbounded {
        /// The ceiling as set.
        ceiling: Rate,
        /// Name of the setting.
        setting: &'static str,
    },
    /// The duration exceeds the ceiling, or there is none.
    #[error("the trial {} exceeds the ceiling of {most} ({setting}); give a shorter duration", asked.map_or("without a duration".to_owned(), |asked| format!("of {asked}")))]
    Duration {
        /// Requested duration.
        asked: Option<Span>,
        /// Longest allowed duration.
        most: Span,
        /// Name of the setting.
        setting: &'static str,
    },
    /// A destination outside the allowed networks.
    #[error(
        "destinations {first} to {last} do not lie within one of the allowed networks ({allowed}); change the profile's destination, or {setting}"
    )]
    Destination {
        /// First address.
        first: IpAddr,
        /// Last address.
        last: IpAddr,
        /// The allowed networks.
        allowed: String,
        /// Name of the setting.
        setting: &'static str,
    },
    /// Recorded frames, whose destinations cannot be checked against the allowed networks.
    #[error(
        "there is a list of allowed networks ({0}), and where recorded frames go is not checked; send a profile instead"
    )]
    RecordedDestinations(&'static str),
    /// The load cannot be computed.
    #[error(transparent)]
    UnknownRate(#[from] RateError),
}
