//! Load that changes over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rate::Rate;
use crate::span::Span;

/// Most stages of a profile.
pub const MAX_STAGES: usize = 1000;

/// A stretch of time with a steady load, or with one that changes steadily.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// Load at its beginning.
    pub rate: Rate,
    /// Load at its end, reached linearly; left out: the load is constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Rate>,
    /// How long it lasts.
    pub duration: Span,
}

/// A stage as numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageRates {
    /// Packets or requests per second at the beginning.
    pub from_per_s: f64,
    /// Packets or requests per second at the end.
    pub to_per_s: f64,
    /// Duration in seconds.
    pub seconds: f64,
}

impl StageRates {
    /// A load that stays the same.
    pub fn steady(per_s: f64) -> Self {
        Self { from_per_s: per_s, to_per_s: per_s, seconds: f64::INFINITY }
    }

    /// Highest rate of stages; 0 without any.
    pub fn peak_per_s(stages: &[Self]) -> f64 {
        stages.iter().map(|stage| stage.from_per_s.max(stage.to_per_s)).fold(0.0, f64::max)
    }
}
