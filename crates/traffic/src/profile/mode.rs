//! Short names for sets of varied fields, from kits of the Pktgen era.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ProfileError;
use super::field::Field;

/// Which fields differ between the flows of a profile: a shorthand for a list of fields.
///
/// Varied fields advance together, by one per flow; they do not multiply.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum FlowMode {
    /// Source address.
    #[default]
    S,
    /// Destination address.
    D,
    /// Both addresses.
    Sd,
    /// Source address and source port.
    Sp,
    /// Source address and destination port.
    Dp,
    /// Source address, source port and destination address.
    Spd,
    /// Both addresses and both ports.
    Sdpp,
    /// Both addresses and both ports (the same as `sdpp`).
    Sdpd,
}

impl FlowMode {
    /// Every mode, in the order of the documentation.
    pub const ALL: [FlowMode; 8] = [
        FlowMode::S,
        FlowMode::D,
        FlowMode::Sd,
        FlowMode::Sp,
        FlowMode::Dp,
        FlowMode::Spd,
        FlowMode::Sdpp,
        FlowMode::Sdpd,
    ];

    /// The mode's short name.
    pub fn name(self) -> &'static str {
        match self {
            FlowMode::S => "s",
            FlowMode::D => "d",
            FlowMode::Sd => "sd",
            FlowMode::Sp => "sp",
            FlowMode::Dp => "dp",
            FlowMode::Spd => "spd",
            FlowMode::Sdpp => "sdpp",
            FlowMode::Sdpd => "sdpd",
        }
    }

    /// The fields this mode varies.
    pub fn fields(self) -> &'static [Field] {
        use Field::{DestinationIp as D, DestinationPort as Dp, SourceIp as S, SourcePort as Sp};
        match self {
            FlowMode::S => &[S],
            FlowMode::D => &[D],
            FlowMode::Sd => &[S, D],
            FlowMode::Sp => &[S, Sp],
            FlowMode::Dp => &[S, Dp],
            FlowMode::Spd => &[S, D, Sp],
            FlowMode::Sdpp | FlowMode::Sdpd => &[S, D, Sp, Dp],
        }
    }
}

impl FromStr for FlowMode {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| ProfileError::UnknownFlowMode(text.to_owned()))
    }
}

impl fmt::Display for FlowMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
