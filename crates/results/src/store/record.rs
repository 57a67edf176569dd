//! All that is known of one trial on one pair: `trial.json`.

use linerate_wire::counters::{PortCounters, ReceiveCounters, Sample, TransmitCounters};
use linerate_wire::report::TrialReport;
use linerate_wire::trial::Role;
use serde::{Deserialize, Serialize};

use super::inner_path;
use crate::clock::ClockVerdict;
use crate::summary::TrialSummary;

/// Name of this form.
pub const TRIAL_SCHEMA: &str = "linerate.dev/trial/v1alpha1";

/// All that is known of one trial on one pair.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrialRecord {
    /// [`TRIAL_SCHEMA`].
    pub schema: String,
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Which pair.
    #[serde(deserialize_with = "inner_path::name")]
    pub pair: String,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Written into every probe of the trial.
    pub tag: u16,
    /// Why there is no result; null when there is one.
    pub reason: Option<String>,
    /// The figures; null when the trial could not be finished.
    pub result: Option<TrialSummary>,
    /// When sending began, in UTC (RFC 3339); null when it never did, absent in older records.
    #[serde(default)]
    pub started_at: Option<String>,
    /// What the zero of the samples' times is.
    pub time_axis: String,
    /// The transmitter's account.
    pub tx: Option<TrialReport>,
    /// The receiver's account, with the latency histogram; of a round trip, the reflector's, and the histogram is in the transmitter's.
    pub rx: Option<TrialReport>,
    /// Counters over time.
    pub samples: Samples,
}

/// Counters over time, at both ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Samples {
    /// At the transmitter.
    pub tx: Vec<TimedSample>,
    /// At the receiver.
    pub rx: Vec<TimedSample>,
}

/// Counters at an instant of the trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedSample {
    /// Nanoseconds since the trial's start.
    pub at_ns: i64,
    /// Transmitting side; absent on a receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transmit: Option<TransmitCounters>,
    /// Receiving side; absent on a transmitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<ReceiveCounters>,
    /// Frames of any kind per receive queue, queue 0 first; absent on a transmitter, and in older records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue_frames: Vec<u64>,
    /// The port's own counters; null when it was reset during the trial.
    pub port: Option<PortCounters>,
}

/// What the agents sent of one trial.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observations {
    /// Samples of the transmitter.
    pub tx_samples: Vec<Sample>,
    /// Samples of the receiver.
    pub rx_samples: Vec<Sample>,
    /// Report of the transmitter.
    pub tx_report: Option<TrialReport>,
    /// Report of the receiver.
    pub rx_report: Option<TrialReport>,
}

impl Observations {
    /// Report of the agent at that end.
    pub fn report(&self, end: Role) -> Option<&TrialReport> {
        match end {
            Role::Tx => self.tx_report.as_ref(),
            Role::Rx => self.rx_report.as_ref(),
        }
    }

    fn last_sample(&self, end: Role) -> Option<&Sample> {
        match end {
            Role::Tx => self.tx_samples.last(),
            Role::Rx => self.rx_samples.last(),
        }
    }

    /// Last counters known of what the agent at that end sent.
    pub fn last_transmit(&self, end: Role) -> Option<TransmitCounters> {
        let reported = self.report(end).and_then(|report| report.transmit.as_ref());
        let sampled = || self.last_sample(end).and_then(|sample| sample.transmit);
        reported.map(|transmit| transmit.counters).or_else(sampled)
    }

    /// Last counters known of what the agent at that end received.
    pub fn last_receive(&self, end: Role) -> Option<ReceiveCounters> {
        let reported = self.report(end).and_then(|report| report.receive.as_ref());
        let sampled = || self.last_sample(end).and_then(|sample| sample.receive);
        reported.map(|receive| receive.counters).or_else(sampled)
    }

    /// The same with the agent at `end` as the transmitter.
    pub fn from_end(&self, end: Role) -> Self {
        let Self { tx_samples, rx_samples, tx_report, rx_report } = self.clone();
        match end {
            Role::Tx => Self { tx_samples, rx_samples, tx_report, rx_report },
            Role::Rx => Self {
                tx_samples: rx_samples,
                rx_samples: tx_samples,
                tx_report: rx_report,
                rx_report: tx_report,
            },
        }
    }

    /// True when there is anything worth keeping.
    pub fn any(&self) -> bool {
        self != &Self::default()
    }

    /// Both ends' samples relative to the transmitter's start; where clocks cannot be compared, each relative to its own.
    pub fn on_one_axis(&self, clock: &ClockVerdict, started_ns: u64) -> (String, Samples) {
        let own = |report: &Option<TrialReport>, samples: &[Sample]| {
            report.as_ref().map(|report| report.started_ns).or(samples.first().map(|first| first.at_ns))
        };
        let tx_start = own(&self.tx_report, &self.tx_samples);
        if clock.one_way_valid {
            let origin = self.tx_report.as_ref().map_or(started_ns, |report| report.started_ns);
            let samples =
                Samples { tx: timed(&self.tx_samples, origin), rx: timed(&self.rx_samples, origin) };
            return ("zero is the transmitter's start, for both ends".to_owned(), samples);
        }
        let rx_start = own(&self.rx_report, &self.rx_samples);
        let samples = Samples {
            tx: timed(&self.tx_samples, tx_start.unwrap_or(0)),
            rx: timed(&self.rx_samples, rx_start.unwrap_or(0)),
        };
        ("zero is each end's own start; the clocks cannot be compared".to_owned(), samples)
    }
}

fn timed(samples: &[Sample], origin_ns: u64) -> Vec<TimedSample> {
    samples
        .iter()
        .map(|sample| TimedSample {
            at_ns: sample.at_ns.wrapping_sub(origin_ns) as i64,
            transmit: sample.transmit,
            receive: sample.receive,
            queue_frames: sample.queue_frames.clone(),
            port: sample.port,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_queues_over_time_are_read() {
        let older: TimedSample = serde_json::from_str(r#"{"at_ns": 7, "port": null}"#).unwrap();
        assert_eq!((older.at_ns, older.queue_frames.len()), (7, 0));
        let with_queues = TimedSample { queue_frames: vec![3, 4], ..older };
        let text = serde_json::to_string(&with_queues).unwrap();
        assert_eq!(serde_json::from_str::<TimedSample>(&text).unwrap(), with_queues);
    }

    fn sample(at_ns: u64) -> Sample {
        Sample { trial: 1, at_ns, transmit: None, receive: None, queue_frames: vec![], port: None }
    }

    #[test]
    fn both_ends_share_an_axis_when_their_clocks_do() {
        let seen = Observations {
            tx_samples: vec![sample(1_500), sample(2_000)],
            rx_samples: vec![sample(900), sample(2_100)],
            ..Observations::default()
        };
        let clock = |one_way_valid| ClockVerdict {
            one_way_valid,
            round_trip_valid: false,
            reason: String::new(),
            source: String::new(),
        };
        let times = |samples: &[TimedSample]| samples.iter().map(|sample| sample.at_ns).collect::<Vec<_>>();
        let (_, samples) = seen.on_one_axis(&clock(true), 1_000);
        assert_eq!((times(&samples.tx), times(&samples.rx)), (vec![500, 1_000], vec![-100, 1_100]));
        let (_, samples) = seen.on_one_axis(&clock(false), 1_000);
        assert_eq!((times(&samples.tx), times(&samples.rx)), (vec![0, 500], vec![0, 1_200]));
    }
}
