//! Search for the highest rate of requests: its section, and the trials that it asks for. Pure and deterministic: it is a function of the
//! measurements so far, so a run that was killed goes on by replaying them.

use linerate_search::{Goal, Measurement, Next, PPB, Request, Search, SearchSpec};
use linerate_wire::http::Arrivals;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::plan::HttpTrial;
use super::profile::HttpProfile;
use super::section::ArrivalKind;
use crate::Experiment;
use crate::determinants::TrialKeys;
use crate::document::unplaced;
use crate::plan::PlanError;
use crate::planned::TrialProfile;
use crate::ranged::{Ranged, SpanIn};
use crate::search::GoalSpec;

const HOUR_MS: u64 = 3_600_000;
const NS_PER_MS: u64 = 1_000_000;

/// A search for the highest rate of each target, number of backends, connections and threads, in place of `rates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSearchSection {
    /// What to search for, as of `spec.search`: the loss of a goal is the share of the intended requests that were skipped, failed, are
    /// unfinished, or were answered with 4xx or 5xx.
    #[serde(default = "usual_goals")]
    #[schemars(with = "Vec<GoalSpec>", length(min = 1))]
    pub goals: Spanned<Vec<GoalSpec>>,
    /// Highest 99th percentile of the corrected latency; a trial above it misses every goal. Left out: latency does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<SpanIn<1, HOUR_MS>>,
    /// Lowest rate in requests per second.
    #[serde(default = "usual_min")]
    pub min: Ranged<1, 10_000_000>,
    /// Highest rate in requests per second.
    pub max: Ranged<1, 10_000_000>,
}

/// No error in trials of 2 s, of which 6 s decide a rate; bounds within 2 %.
fn usual_goals() -> Spanned<Vec<GoalSpec>> {
    const SECOND_NS: u64 = 1_000_000_000;
    unplaced(vec![GoalSpec(Goal {
        name: "no-errors".to_owned(),
        loss_ppb: 0,
        exceed_ppb: PPB / 2,
        width_ppb: PPB / 50,
        initial_duration_ns: SECOND_NS,
        final_duration_ns: 2 * SECOND_NS,
        duration_sum_ns: 6 * SECOND_NS,
        preceding_targets: 2,
    })])
}

fn usual_min() -> Ranged<1, 10_000_000> {
    Ranged::of::<100>()
}

impl HttpSearchSection {
    /// What the engine searches for. Its packets are requests here.
    pub fn spec(&self) -> SearchSpec {
        SearchSpec {
            goals: self.goals.value.iter().map(|goal| goal.0.clone()).collect(),
            min_pps: self.min.get(),
            max_pps: self.max.get(),
            warm_up_ns: 0,
        }
    }

    /// Highest 99th percentile of the corrected latency in nanoseconds.
    pub fn p99_ns(&self) -> Option<u64> {
        self.p99.map(|p99| p99.millis() * NS_PER_MS)
    }

    /// Checks goals and rates.
    ///
    /// # Errors
    /// The first that cannot be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let unit = |problem: String| {
            problem.replace("packets per second", "requests per second").replace("one packet", "one request")
        };
        self.spec().check().map_err(|error| unit(error.to_string()))
    }
}

/// A trial's part in a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpSearchPlace {
    /// Name of the search: that of the profile, with `search` in place of a rate.
    pub search: String,
    /// Number of the trial in it, from 1.
    pub ordinal: u32,
    /// Intended duration in milliseconds.
    pub duration_ms: u64,
}

/// The searches of an experiment, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSearches {
    /// What is searched for.
    pub section: HttpSearchSection,
    /// What each search loads, at no rate yet.
    units: Vec<HttpProfile>,
    keys: TrialKeys,
    arrivals: ArrivalKind,
}

/// What a search knows of a recorded trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpOutcome {
    /// What was measured.
    Measured(Measurement),
    /// It failed in every attempt; the search ends.
    Failed,
}

impl HttpSearches {
    /// The searches of an experiment whose name has `filter` in it; `None` when it is no search.
    ///
    /// # Errors
    /// When none is left, or the highest rate exceeds a ceiling.
    pub(super) fn of(experiment: &Experiment, filter: Option<&str>) -> Result<Option<Self>, PlanError> {
        let Some(http) = &experiment.document.spec.http else { return Ok(None) };
        let Some(section) = &http.search else { return Ok(None) };
        let named = |unit: &&HttpProfile| filter.is_none_or(|text| unit.name.contains(text));
        let units: Vec<HttpProfile> = experiment.http.iter().filter(named).cloned().collect();
        if units.is_empty() {
            return Err(PlanError::NothingSelected {
                filter: filter.unwrap_or_default().to_owned(),
                names: experiment.http.iter().map(|unit| unit.name.clone()).collect(),
            });
        }
        let keys = experiment.trial_keys()?;
        let searches = Self { section: section.clone(), units, keys, arrivals: http.arrivals };
        let longest =
            searches.section.spec().goals.iter().map(|goal| goal.final_duration_ns).max().unwrap_or(0);
        let highest = Request { load_pps: searches.section.max.get(), duration_ns: longest, counted: true };
        for unit in &searches.units {
            searches.profile(unit, &highest, 1).check(experiment)?;
        }
        Ok(Some(searches))
    }

    /// Names of the searches, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(|unit| unit.name.as_str())
    }

    /// Most backends of a trial.
    pub(super) fn most_backends(&self) -> u32 {
        self.units.iter().map(|unit| unit.backends).max().unwrap_or(0)
    }

    /// The recorded trials in order, and the next one; `None` when all searches have ended. A trial without an outcome ends what is known
    /// of its own search: those after it may be recorded, as it can have been refused. The trials have numbers in their order here, and the
    /// next one has the number after them.
    pub fn replay(
        &self,
        outcome: impl Fn(&HttpTrial) -> Option<HttpOutcome>,
    ) -> (Vec<HttpTrial>, Option<HttpTrial>) {
        let mut recorded: Vec<HttpTrial> = Vec::new();
        let mut first_missing = None;
        for unit in &self.units {
            // Checked when the document was read.
            let Ok(mut search) = Search::new(self.section.spec()) else { continue };
            let first = recorded.len();
            while let Next::Measure(request) = search.next() {
                let ordinal = (recorded.len() - first) as u32 + 1;
                let profile = self.profile(unit, &request, ordinal);
                let same = |trial: &&HttpTrial| trial.profile.name == profile.name;
                let repeat = recorded[first..].iter().filter(same).count() as u32 + 1;
                let trial = HttpTrial {
                    key: profile.key(&self.keys, repeat),
                    number: recorded.len() as u32 + 1,
                    profile,
                    host_setting: None,
                    repeat,
                    repeats: 0,
                };
                let Some(outcome) = outcome(&trial) else {
                    first_missing.get_or_insert(trial);
                    break;
                };
                recorded.push(trial);
                match outcome {
                    HttpOutcome::Measured(measured) => search.record(measured),
                    HttpOutcome::Failed => break,
                }
            }
        }
        let number = recorded.len() as u32 + 1;
        (recorded, first_missing.map(|trial| HttpTrial { number, ..trial }))
    }

    fn profile(&self, unit: &HttpProfile, request: &Request, ordinal: u32) -> HttpProfile {
        let rate = request.load_pps as f64;
        let duration_ms = request.duration_ns / NS_PER_MS;
        HttpProfile {
            name: format!("{}_{}_per_s", unit.name, request.load_pps),
            arrivals: match self.arrivals {
                ArrivalKind::Constant => Arrivals::Constant(rate),
                ArrivalKind::Poisson => Arrivals::Poisson(rate),
            },
            duration_ms,
            search: Some(HttpSearchPlace { search: unit.name.clone(), ordinal, duration_ms }),
            ..unit.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overrides;
    use crate::http::HttpPlan;

    fn plan(spec: &str) -> Result<HttpPlan, String> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
        let experiment =
            Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())?;
        HttpPlan::of(&experiment, None).map(Option::unwrap).map_err(|error| error.to_string())
    }

    /// A target that carries so many requests per second, and skips the others.
    fn carries(capacity: u64, trial: &HttpTrial) -> HttpOutcome {
        let load_pps = trial.profile.arrivals.per_second().unwrap() as u64;
        let duration_ns = trial.profile.duration_ms * NS_PER_MS;
        let sent = load_pps * trial.profile.duration_ms / 1000;
        let lost = sent.saturating_sub(capacity * trial.profile.duration_ms / 1000);
        HttpOutcome::Measured(Measurement {
            load_pps,
            duration_ns,
            effective_ns: duration_ns,
            sent,
            lost,
            receiver_lost: 0,
            unsent: 0,
            limit: None,
            loss_elsewhere: None,
        })
    }

    #[test]
    fn a_search_finds_what_the_target_carries() {
        let plan =
            plan("http: {backends: [1, 2], connections: [8], search: {min: 100, max: 20000}}").unwrap();
        let searches = plan.searches.unwrap();
        let capacity = |trial: &HttpTrial| u64::from(trial.profile.backends) * 5000;
        let (trials, next) = searches.replay(|trial| Some(carries(capacity(trial), trial)));
        assert_eq!(next, None);
        for backends in [1, 2] {
            let of_it = trials.iter().filter(|trial| trial.profile.backends == backends);
            let rates = of_it.map(|trial| trial.profile.arrivals.per_second().unwrap());
            let capacity = f64::from(backends) * 5000.0;
            let (below, above): (Vec<f64>, Vec<f64>) = rates.partition(|rate| *rate <= capacity);
            let lower = below.into_iter().fold(0.0, f64::max);
            let upper = above.into_iter().fold(f64::INFINITY, f64::min);
            assert!(upper - lower <= 0.02 * upper, "{lower} {upper}");
        }
        let mut names: Vec<_> =
            trials.iter().map(|trial| (trial.profile.name.clone(), trial.repeat)).collect();
        assert_eq!(names[0], ("direct_1_backends_8_connections_search_20000_per_s".to_owned(), 1));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), trials.len(), "each trial has a place of its own");
        assert!(trials.iter().zip(1..).all(|(trial, number)| trial.number == number));
        // What is recorded is replayed up to the trial that is not.
        let known = trials[4].key.clone();
        let (again, next) =
            searches.replay(|trial| (trial.key != known).then(|| carries(capacity(trial), trial)));
        let second = trials.iter().position(|trial| trial.profile.backends == 2).unwrap();
        let labels = |trials: &[HttpTrial]| trials.iter().map(HttpTrial::label).collect::<Vec<_>>();
        let kept = [&trials[..4], &trials[second..]].concat();
        assert_eq!(labels(&again), labels(&kept), "the other search is kept");
        assert!(again.iter().chain(&next).zip(1..).all(|(trial, number)| trial.number == number));
        assert_eq!(next.map(|trial| trial.label()), Some(trials[4].label()));
        let (failed, next) = searches.replay(|_| Some(HttpOutcome::Failed));
        assert_eq!((failed.len(), next), (2, None));
    }

    #[test]
    fn impossible_searches_are_refused() {
        for (spec, part) in [
            ("http: {search: {}}", "max"),
            ("http: {search: {min: 500, max: 400}}", "must be below the highest, 400"),
            (
                "http: {search: {min: 1, max: 400}}",
                "spec.http.search: the width of goal 'no-errors' is less than one request",
            ),
            ("http: {search: {max: 4000}, rates: [5]}", "spec.http.rates: given beside spec.http.search"),
            (
                "http: {search: {max: 4000}, churn: {after: 1s, for: 1s}}",
                "spec.http.churn: given beside spec.http.search",
            ),
            (
                "http: {search: {max: 4000}}, trial: {duration: 5s}",
                "spec.trial.duration: given beside spec.http.search",
            ),
            ("http: {search: {max: 4000}}, safety: {maxRate: 1mbps}", "exceeds the ceiling"),
        ] {
            let problem = plan(spec).unwrap_err();
            assert!(problem.contains(part), "{spec}: {problem}");
        }
    }
}
