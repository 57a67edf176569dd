//! Samples: an agent's measures at an instant of a trial.

use serde::{Deserialize, Serialize};

use crate::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use crate::diagnosis::DiagnosisMeasures;
use crate::host::HostSample;
use crate::http::HttpMeasures;
use crate::streams::StreamsMeasures;
use crate::watch::WatchMeasures;

/// Measures of one agent at an instant, cumulative since the trial was armed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Number of the trial.
    pub trial: u32,
    /// Instant on the agent's raw monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// Measures of the engine.
    pub measures: Measures,
    /// Measures of the agent's machine; absent from agents that take none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSample>,
}

/// Measures of an engine, by the kind of traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measures {
    /// Counters of frames.
    Frames(Box<FrameMeasures>),
    /// Counters of streams.
    Streams(StreamsMeasures),
    /// Counters of requests.
    Http(HttpMeasures),
    /// Progress of a diagnosis.
    Diagnosis(DiagnosisMeasures),
    /// None of its own: the agent watches its node.
    Watch(WatchMeasures),
}

/// Counters of frames.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameMeasures {
    /// Transmitting side; absent on a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<TransmitCounters>,
    /// Receiving side; absent on a transmitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<ReceiveCounters>,
    /// Frames per receive queue, queue 0 first; empty on a transmitter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue_frames: Vec<u64>,
    /// The port's own counters; absent when the port has none or was reset during the trial.
    pub port: Option<PortCounters>,
}

impl Sample {
    /// The counters of frames; `None` for other kinds of traffic.
    pub fn frames(&self) -> Option<&FrameMeasures> {
        match &self.measures {
            Measures::Frames(frames) => Some(frames),
            Measures::Streams(_) | Measures::Http(_) | Measures::Diagnosis(_) | Measures::Watch(_) => None,
        }
    }
}
