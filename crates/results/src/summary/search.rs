//! Rate searches of the summary: what was searched for, and what was found.

use linerate_experiment::search::{
    FollowState, MaxLoadSource, PartOf, SearchMode, SearchOutcome, SearchSection, SearchState, SearchStep,
};
use linerate_search::methods::{Conclusion, Method, MethodSpec};
use linerate_search::{Goal, GoalConclusion, PPB};
use linerate_traffic::profile::FrameSizes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::inner_path;

/// A rate search of one profile. Loads are packets per second of each sender in each direction; losses are
/// summed over the paths of `mode`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchSummary {
    /// Name of the profile, with `search` in place of a rate.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Number of flows.
    pub flows: u32,
    /// Which of the profile's whole searches, from 1.
    pub number: u32,
    /// How the paths count.
    pub mode: SearchMode,
    /// The path searched in mode `each`; null in the other modes.
    #[serde(default, deserialize_with = "inner_path::optional_name")]
    pub pair: Option<String>,
    /// Paths that are loaded at the same time. The total load is this number times the load.
    pub paths: usize,
    /// Lowest load allowed; null when it was not known.
    pub min_load_pps: Option<u64>,
    /// Highest load allowed; null when it was to be measured and was not.
    pub max_load_pps: Option<u64>,
    /// Where the highest load comes from; null when it is not known.
    pub max_load_source: Option<MaxLoadSource>,
    /// Line rate of the slowest link for frames of this size, in packets per second; null when no link reports its speed.
    pub line_rate_pps: Option<f64>,
    /// Owner of the receivers: the tester, or the path under test.
    pub receiver: PartOf,
    /// Owner of the senders' ports.
    pub port: PartOf,
    /// The loss that shows, in mode `every`, that the path under test is the limit.
    #[serde(default)]
    pub evidence: PathEvidence,
    /// What the generator sends on this host into a port that discards everything, in packets per second, for frames of this size, with one lcore;
    /// null when `linerate measure-self` has not measured it, and when agents are on other hosts or have more lcores.
    #[serde(default)]
    pub generator_ceiling_pps: Option<f64>,
    /// How the search ended.
    pub ended: SearchEnd,
    /// Why it failed; null when it did not.
    pub reason: Option<String>,
    /// Trials that count.
    pub trials: u32,
    /// Seconds of sending in those.
    pub sending_s: f64,
    /// Seconds from the first trial to the last result, trials that do not count included; time without a result is not.
    pub elapsed_s: f64,
    /// The result for each goal, in the order of the goals.
    pub goals: Vec<GoalSummary>,
    /// Benchmarks that followed, in order; absent without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<FollowUpSummary>,
}

/// The loss that is evidence against the path under test, in a search in which every path counts alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PathEvidence {
    /// What the path with the most loss lost itself; the tester's part of that hides what others lost. So did earlier versions
    /// judge.
    #[default]
    WorstPath,
    /// The greatest loss that is a path's own.
    AnyPath,
}

/// A benchmark that followed a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FollowUpSummary {
    /// Its name in the document.
    pub name: String,
    /// True when it has all its trials.
    pub complete: bool,
    /// Trials with a result.
    pub trials: u32,
    /// Why it could not begin or go on; null when it could.
    pub reason: Option<String>,
    /// What it measures; null when it could not begin.
    pub spec: Option<MethodSpec>,
    /// What was found; null when it could not begin.
    pub conclusion: Option<Conclusion>,
}

impl From<&FollowState> for FollowUpSummary {
    fn from(follow: &FollowState) -> Self {
        Self {
            name: follow.name.to_owned(),
            complete: follow.is_complete,
            trials: follow.trials,
            reason: follow.reason.clone(),
            spec: follow.method.as_ref().map(Method::spec),
            conclusion: follow.method.as_ref().map(Method::conclusion),
        }
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SearchEnd {
    /// Every goal has its result.
    Finished,
    /// Its time was used up.
    Budget,
    /// A trial failed in every attempt.
    Failed,
    /// The run ended first.
    Interrupted,
}

/// The result for one goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GoalSummary {
    /// The goal.
    pub goal: GoalAttributes,
    /// What was found.
    #[serde(flatten)]
    pub conclusion: GoalConclusion,
    /// Loss of each path over the trials at the lower bound; empty without one.
    pub lower_bound_paths: Vec<PathLoss>,
    /// Loss of each path over the trials at the upper bound; empty without one.
    pub upper_bound_paths: Vec<PathLoss>,
}

/// The attributes of a goal (RFC 9971), those left at their defaults included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GoalAttributes {
    /// Its name.
    #[serde(deserialize_with = "inner_path::name")]
    pub name: String,
    /// A trial with more loss than this, 0…1, is a high-loss trial.
    pub loss_ratio: f64,
    /// Share of the time, 0…1, that may have high loss at a lower bound.
    pub exceed_ratio: f64,
    /// Distance of the bounds, as a share of the upper one, at which the search ends.
    pub relative_width: f64,
    /// Shortest trial for this goal, in seconds.
    pub initial_trial_duration_s: f64,
    /// Full-length trials last at least this many seconds.
    pub final_trial_duration_s: f64,
    /// This many seconds of full-length trials always decide a load.
    pub duration_sum_s: f64,
    /// Coarser targets searched before the goal itself.
    pub preceding_targets: u32,
}

impl From<&Goal> for GoalAttributes {
    fn from(goal: &Goal) -> Self {
        let ratio = |ppb: u64| ppb as f64 / PPB as f64;
        Self {
            name: goal.name.clone(),
            loss_ratio: ratio(goal.loss_ppb),
            exceed_ratio: ratio(goal.exceed_ppb),
            relative_width: ratio(goal.width_ppb),
            initial_trial_duration_s: ratio(goal.initial_duration_ns),
            final_trial_duration_s: ratio(goal.final_duration_ns),
            duration_sum_s: ratio(goal.duration_sum_ns),
            preceding_targets: goal.preceding_targets,
        }
    }
}

/// Packets of a path over several trials. `sent = received + lost`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathLoss {
    /// Which path.
    #[serde(deserialize_with = "inner_path::name")]
    pub pair: String,
    /// Packets sent.
    pub sent_packets: u64,
    /// Of those, packets that did not arrive.
    pub lost_packets: u64,
}

impl SearchSummary {
    /// What tells it from the other searches of its experiment: profile, number and path.
    pub fn key(&self) -> (&str, u32, Option<&str>) {
        (&self.profile, self.number, self.pair.as_deref())
    }

    /// True when it finished with a regular result for every goal.
    pub fn is_regular(&self) -> bool {
        self.ended == SearchEnd::Finished && self.goals.iter().all(|goal| goal.conclusion.regular)
    }

    /// The summary of a search of `experiment` by its state; `real_bps` is the speed of the slowest link.
    pub fn of(state: &SearchState, section: &SearchSection, real_bps: Option<u64>) -> Self {
        let profile = &state.profile;
        let sending_ns: u64 =
            state.counted().filter_map(|step| step.request).map(|request| request.duration_ns).sum();
        let (ended, reason) = match &state.ended {
            Some(SearchOutcome::Finished) => (SearchEnd::Finished, None),
            Some(SearchOutcome::Budget) => (SearchEnd::Budget, None),
            Some(SearchOutcome::Failed(why)) => (SearchEnd::Failed, Some(why.clone())),
            None => (SearchEnd::Interrupted, None),
        };
        let goal = |(goal, conclusion): (&Goal, GoalConclusion)| GoalSummary {
            goal: goal.into(),
            lower_bound_paths: losses(state, conclusion.effective_lower_bound_pps),
            upper_bound_paths: losses(state, conclusion.relevant_upper_bound_pps),
            conclusion,
        };
        Self {
            profile: state.name.clone(),
            frame_size: profile.frame_sizes().clone(),
            flows: profile.flows(),
            number: state.number,
            mode: section.mode,
            pair: state.path.clone(),
            paths: state.loaded,
            min_load_pps: state.min_pps,
            max_load_pps: state.max.map(|(pps, _)| pps),
            max_load_source: state.max.map(|(_, source)| source),
            line_rate_pps: real_bps.map(|bps| profile.frame_sizes().line_rate_pps(bps)),
            receiver: section.limits.receiver,
            port: section.limits.port,
            evidence: PathEvidence::AnyPath,
            generator_ceiling_pps: None,
            ended,
            reason,
            trials: state.counted().count() as u32,
            sending_s: sending_ns as f64 / 1e9,
            elapsed_s: state.elapsed_s(),
            goals: state.search.iter().flat_map(|search| search.conclusions().map(goal)).collect(),
            then: state.follow.iter().map(FollowUpSummary::from).collect(),
        }
    }
}

/// Packets of each path over the counted trials at a load.
fn losses(state: &SearchState, load_pps: Option<u64>) -> Vec<PathLoss> {
    let mut losses: Vec<PathLoss> = Vec::new();
    let at_load = |step: &&SearchStep| step.request.is_some_and(|request| Some(request.load_pps) == load_pps);
    for path in state.counted().filter(at_load).flat_map(|step| &step.paths) {
        let lost = path.sent_packets.saturating_sub(path.received_packets);
        match losses.iter_mut().find(|loss| loss.pair == path.path) {
            Some(loss) => {
                loss.sent_packets = loss.sent_packets.saturating_add(path.sent_packets);
                loss.lost_packets = loss.lost_packets.saturating_add(lost);
            }
            None => losses.push(PathLoss {
                pair: path.path.clone(),
                sent_packets: path.sent_packets,
                lost_packets: lost,
            }),
        }
    }
    losses
}
