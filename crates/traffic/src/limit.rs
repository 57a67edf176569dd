//! End of sending.

use serde::{Deserialize, Serialize};

/// Limit at which a transmitter or a stand-alone receiver ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Milliseconds from the start.
    pub duration_ms: Option<u64>,
    /// Number of frames.
    pub packets: Option<u64>,
}
