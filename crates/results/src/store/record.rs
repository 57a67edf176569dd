//! Record of one trial on one pair: `trial.json`.

use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::host::HostSample;
use linerate_wire::loss::LossTimeline;
use linerate_wire::sample::{FrameMeasures, Sample};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::report::TrialReport;
use super::{inner_path, json};
use crate::clock::ClockVerdict;
use crate::nodes::WatchedNode;
use crate::summary::TrialSummary;
use linerate_experiment::direction::Direction;

/// Name of the file's schema.
pub const TRIAL_SCHEMA: &str = "linerate.dev/trial/v1alpha1";

/// Record of one trial on one pair.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrialRecord {
    /// [`TRIAL_SCHEMA`].
    pub schema: String,
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Name of the pair.
    #[serde(deserialize_with = "inner_path::name")]
    pub pair: String,
    /// Number of the repeat.
    pub repeat: u32,
    /// Tag in every probe of the trial.
    pub tag: u16,
    /// Why there is no result; null when there is one.
    pub reason: Option<String>,
    /// The figures; null when the trial was not finished.
    pub result: Option<TrialSummary>,
    /// When sending began, in UTC (RFC 3339); null if it did not begin, absent in older records.
    #[serde(default)]
    pub started_at: Option<String>,
    /// Meaning of zero in the samples' times.
    pub time_axis: String,
    /// The transmitter's report.
    pub tx: Option<TrialReport>,
    /// The receiver's report, with the latency histogram; in a round trip, the reflector's report, and the
    /// histogram is in the transmitter's.
    pub rx: Option<TrialReport>,
    /// When packets were lost; absent when none was, when that is not known, and in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossTimeline>,
    /// Nodes beside the trial, as agents in the nodes' own networks saw them; absent where none watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<WatchedNode>,
    /// Counters over time.
    pub samples: Samples,
}

impl TrialRecord {
    /// Moves the times of losses from the report of the end that counted to the record. Those of a trial with a
    /// result are of the packets that it lost.
    pub fn settle_loss(&mut self, direction: Direction) {
        let counted = if direction.is_round_trip() { &mut self.tx } else { &mut self.rx };
        let receive = counted.as_mut().and_then(|report| report.receive.as_mut());
        let loss = receive.and_then(|receive| receive.loss.take());
        let lost = self.result.as_ref().map(|result| result.lost_packets);
        self.loss = loss.map(|timeline| match lost {
            Some(lost) => timeline.of_lost(lost),
            None => timeline,
        });
    }

    /// Removes parts that could not be read back after writing: a report, or the result, with a fraction that
    /// is not a number or is larger than any measurement. Returns the parts and reasons; `None` when
    /// everything is readable.
    pub fn without_unreadable(&mut self) -> Option<String> {
        let Self { result, tx, rx, pair, .. } = self;
        let said = [
            kept_if_readable(tx, "the report of the transmitter"),
            kept_if_readable(rx, "the report of the receiver"),
            kept_if_readable(result, "the result"),
        ];
        let first = said.into_iter().flatten().next()?;
        Some(format!(
            "{first}; counters of the agents of {pair} are implausible: restart them, and look at their logs"
        ))
    }
}

/// Clears a part that could not be read back, and returns the reason.
fn kept_if_readable<T: Serialize + DeserializeOwned>(part: &mut Option<T>, name: &str) -> Option<String> {
    let error = json::can_be_read(part).err()?;
    *part = None;
    Some(format!("{name} cannot be recorded: {error}"))
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
    /// The end's host since the trial began; absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSample>,
}

/// An agent's samples and report of one trial.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentRecord {
    /// Its samples, in the order of arrival.
    pub samples: Vec<Sample>,
    /// Its report.
    pub report: Option<TrialReport>,
}

impl AgentRecord {
    /// Last known counters of sending.
    pub fn last_transmit(&self) -> Option<TransmitCounters> {
        let reported = self.report.as_ref().and_then(|report| report.transmit.as_ref());
        let sampled = || self.samples.last().and_then(|sample| sample.frames()?.transmit);
        reported.map(|transmit| transmit.counters).or_else(sampled)
    }

    /// Last known counters of receiving.
    pub fn last_receive(&self) -> Option<ReceiveCounters> {
        let reported = self.report.as_ref().and_then(|report| report.receive.as_ref());
        let sampled = || self.samples.last().and_then(|sample| sample.frames()?.receive);
        reported.map(|receive| receive.counters).or_else(sampled)
    }

    /// True when there is a sample or a report.
    pub fn any(&self) -> bool {
        self != &Self::default()
    }

    /// When the agent started the trial, on its own clock.
    fn started_ns(&self) -> Option<u64> {
        let first = self.samples.first().map(|first| first.at_ns);
        self.report.as_ref().map(|report| report.started_ns).or(first)
    }
}

impl Samples {
    /// Samples of a path's two ends relative to the transmitter's start, with the meaning of zero; if their
    /// clocks cannot be compared (`clocks`), each relative to its own start.
    pub fn on_one_axis(tx: &AgentRecord, rx: &AgentRecord, clocks: &ClockVerdict) -> (String, Self) {
        let tx_start = tx.started_ns().unwrap_or(0);
        let (axis, rx_start) = if clocks.one_way_valid {
            ("zero is the transmitter's start, for both ends", tx_start)
        } else {
            let own = rx.started_ns().unwrap_or(0);
            ("zero is each end's own start; the clocks cannot be compared", own)
        };
        let samples = Self { tx: timed(&tx.samples, tx_start), rx: timed(&rx.samples, rx_start) };
        (axis.to_owned(), samples)
    }
}

fn timed(samples: &[Sample], origin_ns: u64) -> Vec<TimedSample> {
    let timed = |sample: &Sample| {
        let FrameMeasures { transmit, receive, queue_frames, port } = sample.frames()?.clone();
        let at_ns = sample.at_ns.wrapping_sub(origin_ns) as i64;
        Some(TimedSample { at_ns, transmit, receive, queue_frames, port, host: sample.host })
    };
    samples.iter().filter_map(timed).collect()
}

#[cfg(test)]
mod tests {
    use linerate_wire::sample::Measures;

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
        Sample { trial: 1, at_ns, measures: Measures::Frames(Box::default()), host: None }
    }

    #[test]
    fn both_ends_share_an_axis_when_their_clocks_do() {
        let seen = |times: [u64; 2]| AgentRecord { samples: times.map(sample).to_vec(), report: None };
        let (tx, rx) = (seen([1_500, 2_000]), seen([900, 2_100]));
        let clock = |one_way_valid| ClockVerdict {
            one_way_valid,
            round_trip_valid: false,
            reason: String::new(),
            source: String::new(),
        };
        let times = |samples: &[TimedSample]| samples.iter().map(|sample| sample.at_ns).collect::<Vec<_>>();
        let (_, samples) = Samples::on_one_axis(&tx, &rx, &clock(true));
        assert_eq!((times(&samples.tx), times(&samples.rx)), (vec![0, 500], vec![-600, 600]));
        let (_, samples) = Samples::on_one_axis(&tx, &rx, &clock(false));
        assert_eq!((times(&samples.tx), times(&samples.rx)), (vec![0, 500], vec![0, 1_200]));
    }
}
