//! Forecast of a search's time, by simulated searches.

use std::time::Duration;

use linerate_search::Next;
use linerate_search::model::{Model, Simulated};
use linerate_search::simulate::{Simulation, simulate};
use linerate_traffic::profile::FrameSizes;
use linerate_traffic::rate::Rate;
use serde::Serialize;

use super::follow;
use super::state::SearchState;
use super::strategy::Searches;
use super::then::FollowUp;

/// Highest load that is assumed where it is known only during the run: a link of 10 Gbit/s.
const ASSUMED_LINK_BPS: u64 = 10_000_000_000;
/// Deviation of the assumed system's capacity between trials.
const LIKELY_SPREAD: f64 = 0.02;
/// Noisy searches whose median is forecast.
const SEEDS: u64 = 9;

/// The searches of one profile, as a dry run shows them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchView {
    /// Name of the profile, with `search` in place of a rate.
    pub profile: String,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Number of flows.
    pub flows: u32,
    /// Names of the goals.
    pub goals: Vec<String>,
    /// Searches of the profile: repeats, times paths where each is searched alone.
    pub searches: usize,
    /// Lowest load, as written.
    pub min_load: Rate,
    /// Highest load, as written; absent when the link, a ceiling or a trial tells it.
    pub max_load: Option<Rate>,
    /// Trials of a search on a system whose limit is the same in every trial.
    pub fewest_trials: usize,
    /// Median of the trials on a system whose limit varies by 2 %.
    pub likely_trials: usize,
    /// Seconds of the searches with the fewest trials.
    pub fewest_s: f64,
    /// Seconds of the searches with the likely number of trials, without the benchmarks that follow.
    pub likely_s: f64,
    /// The benchmarks that follow each search; absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<FollowView>,
}

/// A benchmark that follows a search, as a dry run shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FollowView {
    /// Its name.
    pub name: &'static str,
    /// Likely seconds of one.
    pub likely_s: f64,
}

impl Searches {
    /// Forecasts the searches; a trial takes `overhead` besides its sending.
    pub(super) fn forecasts(&self, overhead: Duration) -> Vec<SearchView> {
        let mut views: Vec<SearchView> = Vec::new();
        for (name, profile) in self.units() {
            if let Some(view) = views.iter_mut().find(|view| view.profile == name) {
                view.searches += 1;
                continue;
            }
            let sizes = profile.frame_sizes();
            let pps = |rate: Rate| rate.packets_per_second(sizes, Some(ASSUMED_LINK_BPS)).ok().flatten();
            let line_rate = sizes.line_rate_pps(ASSUMED_LINK_BPS);
            let load = &self.section().load;
            let min = pps(load.min).unwrap_or(1.0);
            // A search of more than the assumed link is on a faster one.
            let max = load.max.and_then(pps).unwrap_or(line_rate.max(10.0 * min));
            let capacity_pps = (min * max).sqrt();
            let searched = |model: Model, seed| {
                simulate(self.spec(min.ceil() as u64, max as u64), &model, seed)
                    .map(|found| (found.trials, seconds(&found, overhead)))
            };
            let steady = Model::Cliff { name: String::new(), capacity_pps };
            let Ok((fewest_trials, fewest_s)) = searched(steady, 0) else { continue };
            let noisy = Model::Jitter { name: String::new(), capacity_pps, spread: LIKELY_SPREAD };
            let mut likely: Vec<_> =
                (0..SEEDS).filter_map(|seed| searched(noisy.clone(), seed).ok()).collect();
            likely.sort_by(|one, other| one.1.total_cmp(&other.1));
            let (likely_trials, likely_s) =
                likely.get(likely.len() / 2).copied().unwrap_or((fewest_trials, fewest_s));
            let view = |follow: &FollowUp| FollowView {
                name: follow.name(),
                likely_s: follow::likely_s(follow, overhead, line_rate),
            };
            let then = self.section().then.iter().map(view).collect();
            views.push(SearchView {
                profile: name.to_owned(),
                frame_size: sizes.clone(),
                flows: profile.flows(),
                goals: self.goals().map(|goal| goal.name.clone()).collect(),
                searches: 1,
                min_load: load.min,
                max_load: load.max,
                fewest_trials,
                likely_trials,
                fewest_s,
                likely_s,
                then,
            });
        }
        let budget_s = self.section().budget.map_or(f64::INFINITY, |budget| budget.get().as_secs_f64());
        for view in &mut views {
            view.fewest_s = view.fewest_s.min(budget_s) * view.searches as f64;
            view.likely_s = view.likely_s.min(budget_s) * view.searches as f64;
        }
        views
    }
}

/// Longest forecast of what is left of a search, in trials.
const MOST_LEFT: usize = 500;

impl SearchState {
    /// Seconds that the rest of the search will take, if the limit lies between the bounds so far and is the same
    /// in every trial; `None` when that is not known.
    pub fn likely_left_s(&self) -> Option<f64> {
        if self.ended.is_some() {
            return Some(0.0);
        }
        let mut search = self.search.clone()?;
        let done = self.steps.len().max(1) as f64;
        let overhead_s =
            self.steps.iter().flat_map(|step| &step.paths).map(|path| path.overhead_s).sum::<f64>()
                / (done * self.loaded.max(1) as f64);
        let spec = search.spec();
        let (_, strictest) = search.conclusions().next()?;
        let lower = strictest.effective_lower_bound_pps.unwrap_or(spec.min_pps);
        let upper = strictest.relevant_upper_bound_pps.unwrap_or(spec.max_pps);
        let capacity_pps = (lower as f64 * upper as f64).sqrt();
        let model = Model::Cliff { name: String::new(), capacity_pps };
        let mut system = Simulated::new(&model, 0);
        let mut left_s = 0.0;
        for _ in 0..MOST_LEFT {
            let Next::Measure(request) = search.next() else { break };
            left_s += request.duration_ns as f64 / 1e9 + overhead_s;
            search.record(system.measure(&request));
        }
        Some(left_s)
    }
}

/// Time of a simulated search, the trial that does not count included.
fn seconds(found: &Simulation, overhead: Duration) -> f64 {
    let sending_ns: u64 = found.log.iter().map(|(request, _)| request.duration_ns).sum();
    sending_ns as f64 / 1e9 + found.log.len() as f64 * overhead.as_secs_f64()
}
