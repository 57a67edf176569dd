//! An agent's report of a trial in the form of `trial.json`: that of the first release, whatever the version of the
//! control protocol.

use linerate_wire::counters::PortCounters;
use linerate_wire::host_report::HostReport;
use linerate_wire::report::{Ended, FrameReport, Part, ReceiveReport, Report, ReportDetail, TransmitReport};
use linerate_wire::time::{SendingTimes, Throttling, TrialClock, WorkerTime};
use serde::{Deserialize, Serialize};

/// One agent's report of a trial, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The controller's name for the trial.
    pub trial: u32,
    /// What the agent did.
    pub role: Part,
    /// Why it ended.
    pub ended: Ended,
    /// Start on the agent's raw monotonic clock, in nanoseconds.
    pub started_ns: u64,
    /// End on the same clock.
    pub ended_ns: u64,
    /// Time from the start to the last arrival, or to the beginning of the drain when nothing arrived in it, in nanoseconds; absent without a drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_arrival_ns: Option<u64>,
    /// Present on a transmitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<TransmitReport>,
    /// Present on a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<ReceiveReport>,
    /// The port's own counters over the trial; absent when the port has none or was reset during it.
    pub port: Option<PortCounters>,
    /// Counters of Linerate and of the port that should agree and do not, each in one sentence.
    pub disagreements: Vec<String>,
    /// What else should be known of how the port was used, each in one sentence.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The lcores that worked.
    pub lcores: Vec<u32>,
    /// How the agent kept time; absent in older reports.
    #[serde(default)]
    pub clock: Option<TrialClock>,
    /// How much of the trial each of those lcores had a CPU; empty in older reports.
    #[serde(default)]
    pub workers: Vec<WorkerTime>,
    /// How a CPU quota stopped the agent; absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
    /// The agent's host during the trial; absent in older reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
}

impl TrialReport {
    /// When a transmitter sent, on its counter; `None` for other agents, and where the counter was not
    /// measured.
    pub fn sending_times(&self) -> Option<SendingTimes> {
        let transmit = self.transmit.as_ref()?;
        Some(SendingTimes::of(&self.clock?, self.started_ns, transmit.duration_s))
    }
}

/// Error: the report is of streams, and a trial of frames has no place for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the report is of streams, not of frames")]
pub struct NotOfFrames;

impl TryFrom<Report> for TrialReport {
    type Error = NotOfFrames;
    fn try_from(report: Report) -> Result<Self, NotOfFrames> {
        let Report {
            trial,
            ended,
            started_ns,
            ended_ns,
            last_arrival_ns,
            disagreements,
            notes,
            clock,
            workers,
            throttling,
            host,
            detail: ReportDetail::Frames(frames),
        } = report
        else {
            return Err(NotOfFrames);
        };
        let FrameReport { role, transmit, receive, port, lcores } = *frames;
        Ok(Self {
            trial,
            role,
            ended,
            started_ns,
            ended_ns,
            last_arrival_ns,
            transmit,
            receive,
            port,
            disagreements,
            notes,
            lcores,
            clock,
            workers,
            throttling,
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver's and a transmitter's account as the first release wrote them.
    const FIRST_RELEASE: [&str; 2] = [
        concat!(
            r#"{"trial":7,"role":"rx","ended":"packets","started_ns":10,"ended_ns":30,"last_arrival_ns":15,"receive":{"counters":{"#,
            r#""frames":5,"bytes":300,"packets":5,"duplicates":0,"out_of_order":0,"stale":0,"bad_probes":0,"bad_checksums":0,"#,
            r#""without_checksum":0,"foreign":0,"delay_sum_ns":9},"sequence_gaps":0,"beyond_window":0,"latency":null,"packets_per_lcore":[5],"#,
            r#""frames_per_queue":[5],"headroom":[0.5],"foreign":{"arp":0,"icmp":0,"ipv6":0,"vlan":0,"other":0},"reordering":null,"#,
            r#""silent_flows":0,"worst_flows":[]},"port":null,"disagreements":["d"],"notes":["n"],"lcores":[1],"clock":null,"workers":[],"#,
            r#""throttling":{"quota_cpus":0.5,"periods":1,"stopped_s":0.1}}"#
        ),
        concat!(
            r#"{"trial":7,"role":"tx","ended":"duration","started_ns":10,"ended_ns":30,"transmit":{"counters":{"packets":5,"bytes":300,"#,
            r#""queue_full":0,"no_mbuf":0},"intended_pps":null,"offered_pps":1.5,"duration_s":2.0,"forgone_packets":0,"blocked_s":0.0,"#,
            r#""unsent_packets":0,"packets_per_lcore":[5],"headroom":[0.0],"inter_departure":null,"burst":1},"port":{"rx_packets":0,"#,
            r#""tx_packets":5,"rx_bytes":0,"tx_bytes":300,"rx_missed":0,"rx_errors":0,"tx_errors":0,"rx_nombuf":0},"disagreements":[],"#,
            r#""notes":[],"lcores":[1],"clock":null,"workers":[]}"#
        ),
    ];

    #[test]
    fn accounts_are_written_as_the_first_release_wrote_them() {
        for stored in FIRST_RELEASE {
            let read: TrialReport = serde_json::from_str(stored).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), stored);
            // What an agent of this version reports is stored in the same form, to the byte.
            let TrialReport { role, transmit, receive, port, lcores, .. } = read.clone();
            let frames = FrameReport { role, transmit, receive, port, lcores };
            let report = Report {
                ended_ns: read.ended_ns,
                last_arrival_ns: read.last_arrival_ns,
                disagreements: read.disagreements.clone(),
                notes: read.notes.clone(),
                clock: read.clock,
                workers: read.workers.clone(),
                throttling: read.throttling,
                ..Report::new(read.trial, read.ended, read.started_ns, ReportDetail::Frames(Box::new(frames)))
            };
            let line = serde_json::to_string(&report).unwrap();
            let arrived: Report = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_string(&TrialReport::try_from(arrived).unwrap()).unwrap(), stored);
        }
    }
}
