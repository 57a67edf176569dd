//! In what order the trials of a matrix are run. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Order of the repeats of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TrialOrder {
    /// All repeats of a profile in a row.
    #[default]
    InARow,
    /// All profiles once, then all of them again: what changes slowly on the hosts or the path is in the spread of every profile's repeats, and not
    /// in the difference between profiles.
    Rounds,
}

impl TrialOrder {
    /// True for the default.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Puts trials, of which each profile's stand in a row, in this order; `repeat` tells a trial's number of the repeat.
    pub(crate) fn arrange<T>(self, trials: &mut [T], repeat: impl Fn(&T) -> u32) {
        if self == Self::Rounds {
            // Stable: within a round, profiles keep their order.
            trials.sort_by_key(repeat);
        }
    }
}
