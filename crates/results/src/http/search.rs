//! Searches for the highest rate of requests: what their trials say. Pure.

use linerate_experiment::http::{HttpOutcome, HttpSearchSection};
use linerate_search::measurement::{Loss, TesterLimit};
use linerate_search::{Goal, Irregular, Limiter, Measurement, Next, PPB, Request, Search, SearchSpec};
use linerate_wire::http::RequestCounts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trial::{HttpTrialSummary, refusals};
use super::verdict::HttpLimit;
use crate::summary::{GoalAttributes, SearchEnd};

const NS_PER_MS: u64 = 1_000_000;

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpSearchSpec {
    /// The goals. Loss is the share of the intended requests that were skipped, failed, are unfinished or were refused.
    pub goals: Vec<GoalAttributes>,
    /// Highest 99th percentile of the corrected latency in nanoseconds; null when latency does not matter.
    pub p99_ns: Option<u64>,
    /// Lowest rate in requests per second.
    pub min_requests_per_s: u64,
    /// Highest rate.
    pub max_requests_per_s: u64,
}

/// A search for the highest rate of requests, all clients together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpSearchSummary {
    /// Its name: that of a profile, with `search` in place of a rate.
    pub search: String,
    /// How it ended.
    pub ended: SearchEnd,
    /// Trials that count.
    pub trials: u32,
    /// Seconds of sending in those.
    pub sending_s: f64,
    /// The result for each goal, in the order of the goals.
    pub goals: Vec<HttpGoalSummary>,
}

/// The result for one goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpGoalSummary {
    /// The goal.
    pub goal: GoalAttributes,
    /// Highest rate that meets the goal, in requests per second; null when none does.
    pub requests_per_s: Option<u64>,
    /// Lowest rate that misses it; null when none does.
    pub missing_requests_per_s: Option<u64>,
    /// Largest 99th percentile of the corrected latency in trials at the rate that meets it, in nanoseconds; null without one, and when
    /// 1 % or more of the requests of such a trial have no latency.
    pub p99_ns: Option<u64>,
    /// Why the result is irregular; null when it is regular: both rates are as close as the goal asks, and the higher one is the target's.
    pub irregular: Option<Irregular>,
    /// Limit of the result; null when unknown. The path is the target here, the generator the clients or their connections.
    pub limited_by: Option<Limiter>,
}

impl From<&HttpSearchSection> for HttpSearchSpec {
    fn from(section: &HttpSearchSection) -> Self {
        let SearchSpec { goals, min_pps, max_pps, .. } = section.spec();
        Self {
            goals: goals.iter().map(GoalAttributes::from).collect(),
            p99_ns: section.p99_ns(),
            min_requests_per_s: min_pps,
            max_requests_per_s: max_pps,
        }
    }
}

impl HttpSearchSpec {
    fn goals(&self) -> Vec<Goal> {
        self.goals.iter().map(Goal::from).collect()
    }

    /// What a search knows of a trial; `None` for a trial of no search.
    pub fn outcome(&self, trial: &HttpTrialSummary) -> Option<HttpOutcome> {
        let place = trial.search.as_ref()?;
        if !trial.complete {
            return Some(HttpOutcome::Failed);
        }
        let duration_ns = place.duration_ms * NS_PER_MS;
        Some(HttpOutcome::Measured(self.measurement(trial, duration_ns)))
    }

    /// The counts of a trial. What the clients or the number of their connections limited says nothing of the target; neither do single
    /// requests that the clients kept back or failed to send: those count as lost at the tester's own end.
    fn measurement(&self, trial: &HttpTrialSummary, duration_ns: u64) -> Measurement {
        let intended = trial.requests.intended;
        let good = trial.requests.answered.saturating_sub(refusals(&trial.statuses)).min(intended);
        let lost = intended - good;
        let is_clean = trial.verdict.kind == HttpLimit::Clean;
        let local = trial.requests.failed.get("local").copied().unwrap_or(0);
        let own = (local + if is_clean { trial.requests.skipped } else { 0 }).min(lost);
        let late = self.p99_ns.is_some_and(|most| {
            // Requests without a latency are slower than any.
            let without = intended.saturating_sub(trial.requests.answered).saturating_sub(own);
            is_no_p99(without, intended) || trial.corrected_ns.is_none_or(|latency| latency.p99 > most)
        });
        // In time but for how late the clients were.
        let own_lateness = is_clean
            && late
            && self.p99_ns.is_some_and(|most| trial.service_ns.is_some_and(|latency| latency.p99 <= most));
        let losses = || self.goals().into_iter().map(|goal| goal.loss_ppb);
        let (strictest, laxest) = (losses().min().unwrap_or(0), losses().max().unwrap_or(0));
        let is_high = late || Loss { lost, all: intended }.exceeds(strictest);
        // What was not answered while requests were sent shows how far the rate is above what can be carried.
        let in_time = trial.requests_per_s.unwrap_or(0.0) * trial.duration_s;
        let behind = intended.saturating_sub(in_time.round() as u64);
        let measured = Measurement {
            load_pps: trial.intended_per_s.unwrap_or(0.0).round() as u64,
            duration_ns,
            effective_ns: duration_ns,
            sent: intended,
            lost,
            receiver_lost: 0,
            unsent: 0,
            limit: None,
            loss_elsewhere: None,
        };
        let are_ours = matches!(trial.verdict.kind, HttpLimit::ClientLimited | HttpLimit::ConnectionLimited);
        // In a clean trial the clients did in time what they had to: its errors are the target's, its latency may be theirs.
        let are_short = trial.verdict.clients_short && (!is_clean || late);
        if (are_ours || are_short) && is_high {
            let unsent = behind.max(lost).max(1);
            let limit = Some(TesterLimit::Generator);
            return Measurement { sent: intended.saturating_sub(unsent), lost: 0, unsent, limit, ..measured };
        }
        if !late {
            return own_loss(measured, own);
        }
        let least = u128::from(intended) * u128::from(laxest) / u128::from(PPB) + 1;
        let least = u64::try_from(least).unwrap_or(u64::MAX);
        let lost = (lost - own).max(behind).max(least).saturating_add(own).min(intended);
        own_loss(Measurement { lost, ..measured }, if own_lateness { lost } else { own })
    }
}

/// A trial of whose loss this much is the clients' own.
fn own_loss(measured: Measurement, own: u64) -> Measurement {
    Measurement { receiver_lost: own, limit: (own > 0).then_some(TesterLimit::Generator), ..measured }
}

/// The 99th percentile of a trial's corrected latency in nanoseconds; `None` when it is not known.
fn p99_ns(trial: &HttpTrialSummary) -> Option<u64> {
    let RequestCounts { intended, answered, .. } = trial.requests;
    let latency = trial.corrected_ns.filter(|_| !is_no_p99(intended.saturating_sub(answered), intended))?;
    Some(latency.p99)
}

/// True when so many requests without a latency leave no 99th percentile.
fn is_no_p99(without: u64, intended: u64) -> bool {
    without > 0 && without.saturating_mul(100) >= intended
}

impl HttpSearchSummary {
    /// Whether the result for each goal is regular: the search finished, and the highest rate is the target's own.
    pub fn regularity(&self) -> impl Iterator<Item = bool> + '_ {
        let is_finished = self.ended == SearchEnd::Finished;
        self.goals.iter().map(move |goal| is_finished && goal.irregular.is_none())
    }

    /// True when it finished and all of its results are regular.
    pub fn is_regular(&self) -> bool {
        self.ended == SearchEnd::Finished && self.regularity().all(|is_regular| is_regular)
    }

    /// The searches of an experiment, from its trials in order; none without a specification.
    pub fn all(spec: Option<&HttpSearchSpec>, trials: &[HttpTrialSummary]) -> Vec<Self> {
        let Some(spec) = spec else { return Vec::new() };
        let mut names: Vec<&str> = Vec::new();
        for place in trials.iter().filter_map(|trial| trial.search.as_ref()) {
            if !names.contains(&place.search.as_str()) {
                names.push(&place.search);
            }
        }
        names.into_iter().filter_map(|name| Self::of(name, spec, trials)).collect()
    }

    fn of(name: &str, spec: &HttpSearchSpec, trials: &[HttpTrialSummary]) -> Option<Self> {
        let mut placed: Vec<(u32, &HttpTrialSummary)> = trials
            .iter()
            .filter_map(|trial| {
                Some((trial.search.as_ref().filter(|place| place.search == name)?.ordinal, trial))
            })
            .collect();
        placed.sort_by_key(|(ordinal, _)| *ordinal);
        let (min_pps, max_pps) = (spec.min_requests_per_s, spec.max_requests_per_s);
        let mut search =
            Search::new(SearchSpec { goals: spec.goals(), min_pps, max_pps, warm_up_ns: 0 }).ok()?;
        let mut summary = Self {
            search: name.to_owned(),
            ended: SearchEnd::Interrupted,
            trials: 0,
            sending_s: 0.0,
            goals: Vec::new(),
        };
        for (_, trial) in &placed {
            let Some(HttpOutcome::Measured(measured)) = spec.outcome(trial) else {
                summary.ended = SearchEnd::Failed;
                break;
            };
            let asked = |request: &Request| {
                request.load_pps == measured.load_pps && request.duration_ns == measured.duration_ns
            };
            if !matches!(search.next(), Next::Measure(request) if asked(&request)) {
                summary.ended = SearchEnd::Failed;
                break;
            }
            search.record(measured);
            summary.trials += 1;
            summary.sending_s += trial.duration_s;
        }
        if search.next() == Next::Finished {
            summary.ended = SearchEnd::Finished;
        }
        summary.goals = search
            .conclusions()
            .map(|(goal, conclusion)| {
                let requests_per_s = conclusion.effective_lower_bound_pps;
                let at_it = placed.iter().filter(|(_, trial)| {
                    trial.intended_per_s.map(|rate| rate.round() as u64) == requests_per_s
                });
                let p99s: Option<Vec<u64>> = at_it.map(|(_, trial)| p99_ns(trial)).collect();
                HttpGoalSummary {
                    goal: goal.into(),
                    requests_per_s,
                    missing_requests_per_s: conclusion.relevant_upper_bound_pps,
                    p99_ns: p99s.and_then(|p99s| p99s.into_iter().max()),
                    irregular: conclusion.irregular,
                    limited_by: conclusion.limited_by,
                }
            })
            .collect();
        Some(summary)
    }

    /// Its results in sentences, one for each goal.
    pub fn in_words(&self) -> Vec<String> {
        self.goals_in_words().into_iter().map(|goal| format!("{}: {goal}", self.search)).collect()
    }

    /// As [`Self::in_words`], without its name.
    pub fn goals_in_words(&self) -> Vec<String> {
        self.goals.iter().map(|goal| goal.in_words(self.ended)).collect()
    }
}

impl HttpGoalSummary {
    fn in_words(&self, ended: SearchEnd) -> String {
        let name = &self.goal.name;
        let p99 = self.p99_ns.map_or(String::new(), |ns| format!(" with a p99 of {:.3} ms", ns as f64 / 1e6));
        let found = match (self.requests_per_s, self.irregular) {
            (None, Some(Irregular::MinLoadFails)) => "the lowest rate misses it".to_owned(),
            (None, _) => "no rate is known to meet it".to_owned(),
            (Some(rate), Some(Irregular::MaxLoadReached | Irregular::TesterLimited)) => {
                format!("at least {rate} requests/s{p99}")
            }
            (Some(rate), _) => format!("{rate} requests/s{p99}"),
        };
        let above = self.missing_requests_per_s.map_or(String::new(), |rate| format!(", {rate} miss it"));
        let limit = match self.limited_by {
            Some(Limiter::MaxLoad) => "; spec.http.search.max is the limit",
            Some(Limiter::Path) => "; the target is the limit",
            Some(Limiter::Generator | Limiter::Port | Limiter::Receiver) => {
                "; the clients or their connections are the limit, and nothing is known of the target"
            }
            None => "",
        };
        let ended = match (ended, self.irregular) {
            (SearchEnd::Failed, _) => "; the search ended early, because a trial failed",
            (_, Some(Irregular::Unfinished)) => "; the search did not come to its end",
            _ => "",
        };
        format!("{name}: {found}{above}{limit}{ended}")
    }
}

#[cfg(test)]
mod tests {
    use linerate_experiment::http::{HttpSearchPlace, HttpTarget};
    use linerate_wire::http::Arrivals;

    use super::*;
    use crate::fixtures::http::{context, record};

    fn spec(p99_ns: Option<u64>) -> HttpSearchSpec {
        let goal = Goal {
            name: "one".to_owned(),
            initial_duration_ns: 1_000_000_000,
            final_duration_ns: 1_000_000_000,
            duration_sum_ns: 1_000_000_000,
            preceding_targets: 0,
            width_ppb: PPB / 20,
            exceed_ppb: 0,
            ..Goal::ndr()
        };
        HttpSearchSpec {
            goals: vec![(&goal).into()],
            p99_ns,
            min_requests_per_s: 100,
            max_requests_per_s: 10_000,
        }
    }

    /// A trial of a second at this rate in front of a target that carries `capacity`, or of clients that do.
    fn trial(ordinal: u32, rate: u64, capacity: u64, limit: HttpLimit) -> HttpTrialSummary {
        let answered = rate.min(capacity);
        let record = record(HttpTarget::Direct, Arrivals::Constant(rate as f64), &[answered]);
        let mut trial = HttpTrialSummary::of(&record, context());
        let place = HttpSearchPlace { search: "x_search".to_owned(), ordinal, duration_ms: 1000 };
        trial.search = Some(place);
        (trial.requests.intended, trial.requests.skipped) = (rate, rate - answered);
        if rate > capacity {
            trial.verdict.kind = limit;
        }
        trial
    }

    fn searched(spec: &HttpSearchSpec, capacity: u64, limit: HttpLimit) -> HttpSearchSummary {
        let mut search = Search::new(SearchSpec {
            goals: spec.goals(),
            min_pps: spec.min_requests_per_s,
            max_pps: spec.max_requests_per_s,
            warm_up_ns: 0,
        })
        .unwrap();
        let mut trials = Vec::new();
        while let Next::Measure(request) = search.next() {
            let trial = trial(trials.len() as u32 + 1, request.load_pps, capacity, limit);
            let Some(HttpOutcome::Measured(measured)) = spec.outcome(&trial) else {
                panic!("no measurement")
            };
            search.record(measured);
            trials.push(trial);
        }
        let all = HttpSearchSummary::all(Some(spec), &trials);
        assert_eq!((all.len(), all[0].ended, all[0].trials as usize), (1, SearchEnd::Finished, trials.len()));
        all[0].clone()
    }

    #[test]
    fn the_target_limits_a_search() {
        let found = searched(&spec(None), 3000, HttpLimit::BackendLimited);
        let goal = &found.goals[0];
        let (lower, upper) = (goal.requests_per_s.unwrap(), goal.missing_requests_per_s.unwrap());
        assert!(lower <= 3000 && upper > 3000 && upper as f64 * 0.95 <= lower as f64, "{goal:?}");
        assert_eq!((goal.irregular, goal.limited_by), (None, Some(Limiter::Path)));
        assert!(found.is_regular());
        assert!(!HttpSearchSummary { ended: SearchEnd::Interrupted, ..found.clone() }.is_regular());
        assert!(found.in_words()[0].ends_with("miss it; the target is the limit"), "{:?}", found.in_words());
    }

    #[test]
    fn limits_of_clients_and_connections_are_none_of_the_target() {
        for limit in [HttpLimit::ClientLimited, HttpLimit::ConnectionLimited] {
            let found = searched(&spec(None), 3000, limit);
            let goal = &found.goals[0];
            assert!(goal.requests_per_s.is_some_and(|rate| rate <= 3000), "{goal:?}");
            assert_eq!(
                (goal.irregular, goal.limited_by),
                (Some(Irregular::TesterLimited), Some(Limiter::Generator))
            );
            assert!(!found.is_regular());
            assert!(found.in_words()[0].contains("at least"), "{:?}", found.in_words());
        }
    }

    #[test]
    fn what_clients_did_not_send_is_no_evidence_against_the_target() {
        let measured = |change: &dyn Fn(&mut HttpTrialSummary), p99_ns| {
            let mut trial = trial(1, 10_000, 9_998, HttpLimit::Clean);
            change(&mut trial);
            let Some(HttpOutcome::Measured(measured)) = spec(p99_ns).outcome(&trial) else {
                panic!("no measurement")
            };
            measured
        };
        let failed = |kind: &str, trial: &mut HttpTrialSummary| {
            trial.requests.skipped = 0;
            trial.requests.failed = [(kind.to_owned(), 2)].into();
        };
        let skipped = measured(&|_| {}, None);
        assert!(skipped.is_high_loss(0) && !skipped.is_witnessed(0), "{skipped:?}");
        assert!(!skipped.is_high_loss(PPB / 1000), "a goal that allows them is met");
        assert!(!measured(&|trial| failed("local", trial), None).is_witnessed(0));
        assert!(measured(&|trial| failed("reset", trial), None).is_witnessed(0));
        // Ports and descriptors are the clients', whatever else was the limit.
        let backend = |trial: &mut HttpTrialSummary| trial.verdict.kind = HttpLimit::BackendLimited;
        let local = |trial: &mut HttpTrialSummary| {
            failed("local", trial);
            backend(trial);
        };
        assert!(!measured(&local, None).is_witnessed(0));
        assert!(measured(&backend, None).is_witnessed(0));
        let short = |trial: &mut HttpTrialSummary| {
            backend(trial);
            trial.verdict.clients_short = true;
        };
        assert!(measured(&short, None).is_high_loss(0) && !measured(&short, None).is_witnessed(0));
        // Corrected 2 ms, service 1 ms: the clients were late.
        let late = measured(&|_| {}, Some(1_500_000));
        assert!(late.is_high_loss(0) && !late.is_witnessed(0), "{late:?}");
        assert!(measured(&|_| {}, Some(500_000)).is_witnessed(0));
    }

    #[test]
    fn requests_without_a_latency_are_above_any_p99() {
        let mut trial = trial(1, 10_000, 9_850, HttpLimit::BackendLimited);
        assert_eq!(p99_ns(&trial), None);
        let lax = Goal { loss_ppb: PPB / 50, ..spec(None).goals()[0].clone() };
        let lax = HttpSearchSpec { goals: vec![(&lax).into()], ..spec(Some(10_000_000)) };
        let is_high = |trial: &HttpTrialSummary| matches!(lax.outcome(trial), Some(HttpOutcome::Measured(one)) if one.is_high_loss(PPB / 50));
        assert!(is_high(&trial));
        trial.requests.answered = 9_950;
        assert!(!is_high(&trial));
        assert_eq!(p99_ns(&trial), Some(2_000_000));
    }

    #[test]
    fn latency_above_the_limit_misses_the_goal() {
        // Trials have a p99 of 2 ms, and of 1 ms without the wait to be sent.
        let found = searched(&spec(Some(900_000)), 50_000, HttpLimit::BackendLimited);
        assert_eq!(found.goals[0].irregular, Some(Irregular::MinLoadFails), "{found:?}");
        let found = searched(&spec(Some(2_000_000)), 50_000, HttpLimit::BackendLimited);
        let goal = &found.goals[0];
        assert_eq!((goal.requests_per_s, goal.irregular), (Some(10_000), Some(Irregular::MaxLoadReached)));
        assert!(found.in_words()[0].contains("at least 10000 requests/s with a p99 of 2.000 ms"));
    }

    #[test]
    fn a_trial_without_a_whole_account_ends_a_search() {
        let mut lost = trial(1, 10_000, 50_000, HttpLimit::BackendLimited);
        lost.complete = false;
        let all = HttpSearchSummary::all(Some(&spec(None)), &[lost]);
        assert_eq!((all[0].ended, all[0].trials), (SearchEnd::Failed, 0));
        assert!(HttpSearchSummary::all(None, &[]).is_empty());
    }
}
