//! Events that `linerate run --json` prints during a run: one a line, before the summary.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use linerate_experiment::search::{SearchPurpose, SearchState};
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::{TrialFailure, TrialSummary};
use linerate_search::classify::{LoadClass, classify};

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Something begins that is no trial.
    Phase(Phase),
    /// How a trial goes on one pair.
    Sample(Box<Reading>),
    /// A trial has ended on one pair with a result: an entry of the summary's `trials`.
    Trial(Box<TrialSummary>),
    /// How a trial of streams goes.
    #[serde(rename = "streams-sample")]
    StreamsSample(Box<StreamsReading>),
    /// A trial of streams has ended with a result: an entry of the summary's `streams`.
    #[serde(rename = "streams-trial")]
    StreamsTrial(Box<StreamsTrialSummary>),
    /// How a trial of HTTP goes.
    #[serde(rename = "http-sample")]
    HttpSample(Box<HttpReading>),
    /// A trial of HTTP has ended with a result: an entry of the summary's `http`.
    #[serde(rename = "http-trial")]
    HttpTrial(Box<HttpTrialSummary>),
    /// How far a rate search has come, after each of its trials.
    Search(Box<SearchProgress>),
    /// A trial could not be finished on one pair: an entry of the summary's `failures`.
    Failure(Box<TrialFailure>),
}

/// Something that is no trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// What begins.
    pub text: String,
}

/// How a trial goes on one pair, from the latest samples of both ends. Counters are cumulative over the trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Which trial of the plan, from 1.
    pub number: usize,
    /// Trials of the plan.
    pub planned_trials: usize,
    /// Name of the profile.
    pub profile: String,
    /// Which time the profile is run.
    pub repeat: u32,
    /// Which pair.
    pub pair: String,
    /// Seconds since sending began, on the controller's clock.
    pub at_s: f64,
    /// False once the transmitter has sent all it will.
    pub sending: bool,
    /// Intended load at this moment in packets per second; null for as fast as possible.
    pub intended_pps: Option<f64>,
    /// Packets that the transmitting port accepted, per second since the transmitter's sample before; of its first sample, since sending
    /// began. Null once sending has ended, somewhere between two samples.
    pub offered_pps: Option<f64>,
    /// Packets received, per second between the receiver's last two samples; null likewise.
    pub received_pps: Option<f64>,
    /// Packets that the transmitting port accepted.
    pub sent_packets: u64,
    /// Of those, packets that arrived.
    pub received_packets: u64,
    /// Packets sent and not received. The two ends are read at different instants, and packets in flight
    /// count as well: only the trial's result has the loss.
    pub lost_packets: u64,
    /// Frames per second of each receive queue between the receiver's last two samples, queue 0 first; empty when the rates are not known.
    pub rx_queue_pps: Vec<f64>,
    /// Mean one-way delay in nanoseconds of the packets received between the receiver's last two samples; null when there were none, the
    /// clocks cannot be compared, or the trial is a round trip.
    pub delay_mean_ns: Option<f64>,
    /// True when the trial is a round trip.
    pub round_trip: bool,
    /// Mean time of the way there and back in nanoseconds, likewise; null in trials that are no round trip.
    pub round_trip_mean_ns: Option<f64>,
    /// Bursts that the transmitting port did not accept whole at the first offer.
    pub queue_full: u64,
    /// Times the transmitter found no buffer free.
    pub tx_no_mbuf: u64,
    /// Frames that the receiving port dropped because its queue was full; null when the port does not report
    /// them.
    pub rx_missed: Option<u64>,
    /// Receive buffers that could not be allocated; null when the port does not report them.
    pub rx_nombuf: Option<u64>,
}

/// How a trial of streams goes, all connections together, from the latest samples. Counters are cumulative over the trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsReading {
    /// Which trial of the plan, from 1.
    pub number: usize,
    /// Trials of the plan.
    pub planned_trials: usize,
    /// Name of the profile.
    pub profile: String,
    /// Which time the profile is run.
    pub repeat: u32,
    /// Seconds since sending began, on the controller's clock.
    pub at_s: f64,
    /// Connections of the trial.
    pub connections: u32,
    /// Of those, connections of which bytes arrived in their receiver's latest interval.
    pub connections_alive: u32,
    /// Bits of payload that the senders' kernels accepted per second since the reading before; null before two readings.
    pub offered_bps: Option<f64>,
    /// Bits of payload that the receivers read per second; null likewise.
    pub received_bps: Option<f64>,
    /// Bytes of payload that the senders' kernels accepted.
    pub sent_bytes: u64,
    /// Bytes of payload that the receivers read.
    pub received_bytes: u64,
    /// TCP segments sent again; null for UDP.
    pub retransmits: Option<u64>,
    /// UDP datagrams missing before the last one received of each stream; null for TCP.
    pub missing_datagrams: Option<u64>,
}

/// How a trial of HTTP goes, all clients together, from the latest samples. Counters are cumulative over the trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpReading {
    /// Which trial of the plan, from 1.
    pub number: usize,
    /// Trials of the plan.
    pub planned_trials: usize,
    /// Name of the profile.
    pub profile: String,
    /// Which time the profile is run.
    pub repeat: u32,
    /// Seconds since sending began, on the controller's clock.
    pub at_s: f64,
    /// Requests answered per second since the reading before; null before two readings.
    pub requests_per_s: Option<f64>,
    /// Requests that were due.
    pub intended_requests: u64,
    /// Requests given to a connection.
    pub sent_requests: u64,
    /// Requests that were due and never sent.
    pub skipped_requests: u64,
    /// Requests with a whole answer.
    pub answered_requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
}

/// How far a rate search has come. Loads in packets per second of each sender in each direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchProgress {
    /// Name of the profile, with `search` in place of a rate.
    pub profile: String,
    /// Which of the profile's searches, from 1.
    pub number: u32,
    /// The only path that it loads; null when it loads all.
    pub pair: Option<String>,
    /// Trials so far.
    pub trials: usize,
    /// What the latest trial of the search was for; absent in older events.
    #[serde(default)]
    pub purpose: Option<SearchPurpose>,
    /// True when the latest trial is no evidence, because the tester was held up, and its load is tried again.
    #[serde(default)]
    pub repeated: bool,
    /// The benchmark behind the search that the latest trial belongs to; null during the search.
    #[serde(default)]
    pub benchmark: Option<BenchmarkProgress>,
    /// Load of the latest trial; null when it was sent as fast as possible, and in a benchmark.
    pub load_pps: Option<u64>,
    /// Intended seconds of the latest trial; null likewise.
    pub duration_s: Option<f64>,
    /// Loss of the latest trial, 0…1, of the packets sent; null when it does not count.
    pub loss_ratio: Option<f64>,
    /// Packets that the latest trial intended and did not send; null when it does not count.
    pub unsent_packets: Option<u64>,
    /// The goals, in order.
    pub goals: Vec<GoalProgress>,
    /// Seconds of the trials so far, preparing and draining included.
    pub elapsed_s: f64,
    /// Seconds that the rest will take on a system with a steady limit; null when it is not known.
    pub likely_left_s: Option<f64>,
    /// True when the search has ended.
    pub ended: bool,
}

/// A benchmark behind a rate search in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchmarkProgress {
    /// Its name in the document.
    pub name: String,
    /// Trials with a result so far.
    pub trials: u32,
    /// True when it has all its trials.
    pub complete: bool,
    /// Why it cannot go on; null when it can.
    pub reason: Option<String>,
}

/// A goal of a rate search in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GoalProgress {
    /// Its name.
    pub name: String,
    /// Class of the latest trial's load for the goal; null when the trial does not count.
    pub class: Option<LoadClass>,
    /// Highest load so far that meets the goal.
    pub lower_bound_pps: Option<u64>,
    /// Lowest load so far that misses it.
    pub upper_bound_pps: Option<u64>,
}

impl SearchProgress {
    /// The progress by a search's state.
    pub fn of(state: &SearchState) -> Self {
        let benchmark = state.latest_follow().map(|follow| BenchmarkProgress {
            name: follow.name.to_owned(),
            trials: follow.trials,
            complete: follow.is_complete,
            reason: follow.reason.clone(),
        });
        let step = state.steps.last().filter(|_| benchmark.is_none());
        let is_repeated = step.is_some_and(|step| step.is_repeated);
        let request = step.and_then(|step| step.request);
        let search = state.search.as_ref();
        let counted = request.filter(|request| request.counted).zip(search);
        let at_load = counted.map(|(request, search)| search.trials().at(request.load_pps));
        let latest = at_load.and_then(|trials| trials.last()).filter(|_| !is_repeated);
        let goals = search.into_iter().flat_map(|search| search.conclusions());
        Self {
            profile: state.name.clone(),
            number: state.number,
            pair: state.path.clone(),
            trials: state.steps.len(),
            purpose: step.map(|step| step.purpose),
            repeated: is_repeated,
            benchmark,
            load_pps: request.map(|request| request.load_pps),
            duration_s: request.map(|request| request.duration_ns as f64 / 1e9),
            loss_ratio: latest.map(|trial| trial.path_loss().ratio()),
            unsent_packets: latest.map(|trial| trial.unsent),
            goals: goals
                .map(|(goal, found)| GoalProgress {
                    name: goal.name.clone(),
                    class: at_load.map(|trials| classify(trials, &goal.criterion())),
                    lower_bound_pps: found.effective_lower_bound_pps,
                    upper_bound_pps: found.relevant_upper_bound_pps,
                })
                .collect(),
            elapsed_s: state.elapsed_s(),
            likely_left_s: state.likely_left_s(),
            ended: state.ended.is_some(),
        }
    }
}
