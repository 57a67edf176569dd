//! When sending ends.

use serde::{Deserialize, Serialize};

/// When a transmitter or a stand-alone receiver ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Milliseconds from the start.
    pub duration_ms: Option<u64>,
    /// Frames.
    pub packets: Option<u64>,
}
