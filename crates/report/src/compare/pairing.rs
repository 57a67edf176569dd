//! Matching of repeats of one experiment with those of the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::metric::Metric;
use super::statistics::Group;
use super::{Unmatched, group};
use crate::grouping::by_key;
use linerate_results::summary::{Status, Summary, TrialSummary};

/// What stands for the pair where a trial has one figure of all pairs or connections.
pub(super) const TOGETHER: &str = "together";

/// Largest relative difference of intended loads that count as equal.
const LOAD_TOLERANCE: f64 = 0.001;

/// A metric that both sides have, for one profile on one pair.
#[derive(Debug, Clone)]
pub(super) struct Matched<'s> {
    pub(super) profile: &'s str,
    pub(super) pair: &'s str,
    pub(super) metric: Metric,
    pub(super) a: Group,
    pub(super) b: Group,
}

/// Matched metrics, unmatched ones, notes, results of searches that are left out.
#[derive(Debug, Default)]
pub(super) struct Pairing<'s> {
    pub(super) matched: Vec<Matched<'s>>,
    pub(super) unmatched: Vec<Unmatched>,
    pub(super) notes: Vec<String>,
    pub(super) left_out: Vec<String>,
    /// True when both sides have searched for a goal, and one has no regular result.
    pub(super) is_irregular: bool,
    /// True when neither side has searched for a goal that is to be compared, and when repeats of a side lack a value.
    pub(super) is_missing: bool,
}

impl<'s> Pairing<'s> {
    /// Adds a metric that both sides have. Of each side, the experiment and its repeats: a repeat without a value may be
    /// the worst one, so what the others say is no verdict on all.
    pub(super) fn add(&mut self, matched: Matched<'s>, sides: [(&Summary, usize); 2]) {
        for ((summary, repeats), group) in sides.into_iter().zip([&matched.a, &matched.b]) {
            if group.repeats < repeats {
                let (id, missing) = (&summary.experiment.id, repeats - group.repeats);
                let Matched { profile, pair, metric, .. } = &matched;
                self.notes.push(format!(
                    "{id}: {missing} of {repeats} repeats of {profile} on {pair} have no {metric}"
                ));
                self.is_missing = true;
            }
        }
        self.matched.push(matched);
    }

    /// Notes the planned trials of the profiles compared that have no result.
    pub(super) fn note_missing(&mut self, summary: &Summary) {
        let id = &summary.experiment.id;
        let streams = summary.streams.iter().map(|trial| (trial.profile.as_str(), trial.repeat));
        let http = summary.http.iter().map(|trial| (trial.profile.as_str(), trial.repeat));
        let together: HashSet<(&str, u32)> = streams.chain(http).collect();
        let frames: HashSet<(&str, u32, &str)> = summary
            .trials
            .iter()
            .map(|trial| (trial.profile.as_str(), trial.repeat, trial.pair.as_str()))
            .collect();
        let compared = self.matched.iter().filter(|one| !matches!(one.metric, Metric::Goal(_)));
        let compared: HashSet<(&str, &str)> = compared.map(|one| (one.profile, one.pair)).collect();
        let mut failed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for failure in &summary.failures {
            let (profile, pair) = (failure.profile.as_str(), failure.pair.as_str());
            let has_result = together.contains(&(profile, failure.repeat))
                || frames.contains(&(profile, failure.repeat, pair));
            let place = [(profile, pair), (profile, TOGETHER)].into_iter().find(|at| compared.contains(at));
            if let Some(place) = place.filter(|_| !has_result) {
                *failed.entry(place).or_default() += 1;
            }
        }
        let told = |((profile, pair), count): (&(&str, &str), &usize)| {
            format!("{id}: {count} repeats of {profile} on {pair} have no result, because they failed")
        };
        self.is_missing |= !failed.is_empty();
        self.notes.extend(failed.iter().map(told));
        if summary.status != Status::Complete {
            let failures = summary.failures.iter().map(|failure| (failure.profile.as_str(), failure.repeat));
            let ended = frames.iter().map(|(profile, repeat, _)| (*profile, *repeat));
            let ended: HashSet<(&str, u32)> = ended.chain(together).chain(failures).collect();
            let planned = summary.experiment.planned_trials;
            if ended.len() < planned {
                self.notes.push(format!("{id}: {} of {planned} trials were not run", planned - ended.len()));
                self.is_missing = true;
            }
        }
    }
}

/// The repeats of one profile on one pair.
struct Repeats<'s> {
    profile: &'s str,
    pair: &'s str,
    trials: Vec<&'s TrialSummary>,
}

impl<'s> Repeats<'s> {
    fn group(&self, metric: &Metric) -> Option<Group> {
        group(&self.trials, metric)
    }

    /// What repeats that can be compared have in common. Round-trip delays and losses cannot be compared with one-way ones.
    fn key(&self) -> (&'s str, &'s str, bool) {
        (self.profile, self.pair, self.is_round_trip())
    }

    fn is_round_trip(&self) -> bool {
        self.trials.iter().any(|trial| trial.direction.is_round_trip())
    }
}

/// The pair that a trial is compared on.
fn pair_of(trial: &TrialSummary) -> &str {
    // A part of an experiment of engines has one pair, whose number depends on the parts before it.
    if trial.engine.is_some() { TOGETHER } else { &trial.pair }
}

/// Repeats by profile and pair, in the order of their first run.
fn gather(summary: &Summary) -> Vec<Repeats<'_>> {
    by_key(summary.matrix_trials(), |trial| (trial.profile.as_str(), pair_of(trial)))
        .into_iter()
        .filter_map(|trials| {
            let first = trials.first()?;
            Some(Repeats { profile: &first.profile, pair: pair_of(first), trials })
        })
        .collect()
}

/// Matches the repeats of both experiments.
pub(super) fn pair_up<'s>(a: &'s Summary, b: &'s Summary, metrics: &[Metric]) -> Pairing<'s> {
    let (of_a, of_b) = (gather(a), gather(b));
    let mut pairing = Pairing { notes: notes(a, b), ..Pairing::default() };
    let only_in = |repeats: &Repeats<'_>, metric, summary: &Summary| Unmatched {
        profile: repeats.profile.to_owned(),
        pair: repeats.pair.to_owned(),
        metric,
        only_in: summary.experiment.id.clone(),
    };
    let by_place: HashMap<_, &Repeats<'s>> = of_b.iter().map(|theirs| (theirs.key(), theirs)).collect();
    for ours in &of_a {
        let Some(theirs) = by_place.get(&ours.key()) else {
            pairing.unmatched.push(only_in(ours, None, a));
            continue;
        };
        pairing.notes.extend(not_alike(ours, theirs));
        for metric in metrics {
            match (ours.group(metric), theirs.group(metric)) {
                (Some(of_a), Some(of_b)) => {
                    let (profile, pair, metric) = (ours.profile, ours.pair, metric.clone());
                    let matched = Matched { profile, pair, metric, a: of_a, b: of_b };
                    pairing.add(matched, [(a, ours.trials.len()), (b, theirs.trials.len())]);
                }
                (Some(_), None) => pairing.unmatched.push(only_in(ours, Some(metric.clone()), a)),
                (None, Some(_)) => pairing.unmatched.push(only_in(ours, Some(metric.clone()), b)),
                (None, None) => {}
            }
        }
    }
    let of_both: HashSet<_> = of_a.iter().map(Repeats::key).collect();
    let missing = of_b.iter().filter(|theirs| !of_both.contains(&theirs.key()));
    pairing.unmatched.extend(missing.map(|theirs| only_in(theirs, None, b)));
    pairing
}

/// Why trials of the same name are different; `None` when they are alike.
fn not_alike(a: &Repeats<'_>, b: &Repeats<'_>) -> Option<String> {
    let (first, second) = (a.trials.first()?, b.trials.first()?);
    let loads = match (first.intended_pps, second.intended_pps) {
        (Some(a), Some(b)) => (a - b).abs() > LOAD_TOLERANCE * a.max(b),
        (a, b) => a.is_some() != b.is_some(),
    };
    let differ: Vec<&str> = [
        (first.frame_size != second.frame_size, "frame sizes"),
        (first.flows != second.flows, "flows"),
        (loads, "intended loads"),
        (first.direction != second.direction, "directions"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect();
    (!differ.is_empty())
        .then(|| format!("{} on {}: the two have different {}", a.profile, a.pair, differ.join(", ")))
}

/// Notes on the experiments as a whole.
fn notes(a: &Summary, b: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    for summary in [a, b] {
        let id = &summary.experiment.id;
        if summary.status != Status::Complete {
            notes.push(format!("{id} is not complete: {}", summary.status));
        }
        let missed = summary.matrix_trials().filter(|trial| trial.offered_missed_intended).count();
        if missed > 0 {
            let of = summary.matrix_trials().count();
            notes.push(format!("{id}: {missed} of {of} results missed their intended load"));
        }
    }
    let (of_a, of_b) = (&a.experiment, &b.experiment);
    for (what, a, b) in [
        ("platform", Some(&of_a.platform), Some(&of_b.platform)),
        ("linerate", Some(&of_a.versions.linerate), Some(&of_b.versions.linerate)),
        ("agent", of_a.versions.agent.as_ref(), of_b.versions.agent.as_ref()),
        ("DPDK", of_a.versions.dpdk.as_ref(), of_b.versions.dpdk.as_ref()),
    ] {
        if let (Some(a), Some(b)) = (a, b)
            && a != b
        {
            notes.push(format!("{what} differs: {a} and {b}"));
        }
    }
    notes
}
