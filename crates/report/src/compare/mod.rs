//! Comparison of two experiments: metrics that became better or worse, metrics that stayed the same, and
//! metrics that the repeats cannot decide.
//!
//! Repeats of the same profile on the same pair are compared; so are whole rate searches of the same profile, and trials
//! of streams, all connections together. A verdict tests the difference against the
//! threshold by Welch's t; differences within the threshold count as the same. Holm's correction keeps the
//! probability of any false alarm in the whole comparison at the stated level. Pure.

mod decide;
mod http;
mod metric;
mod pairing;
mod searched;
mod statistics;
mod streams;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::decide::Outcome;
use self::decide::{Question, decide};
pub(crate) use self::http::http_group;
pub use self::metric::{Metric, Unit};
use self::pairing::{Pairing, pair_up};
use self::statistics::difference;
pub use self::statistics::{Group, Interval, Threshold};
pub(crate) use self::streams::streams_group;
use linerate_results::summary::{GoalSummary, Summary, TrialSummary};

/// Settings of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Metrics to compare.
    pub metrics: Vec<Metric>,
    /// True to compare what searches found for every goal, besides the goals among `metrics`.
    pub all_goals: bool,
    /// 1 minus the probability of any false alarm, between 0 and 1.
    pub confidence: f64,
    /// Largest irrelevant difference of rates and times, as a share of A's mean.
    pub threshold: f64,
    /// Thresholds of single metrics: a share of A's mean or, for metrics that are shares of packets, an
    /// absolute difference.
    pub thresholds: Vec<(Metric, f64)>,
}

/// Default threshold for shares of packets: a difference of one in ten thousand packets.
pub const SHARE_THRESHOLD: f64 = 1e-4;

impl Default for Settings {
    fn default() -> Self {
        Self {
            metrics: Metric::DEFAULT.to_vec(),
            all_goals: true,
            confidence: 0.95,
            threshold: 0.02,
            thresholds: Vec::new(),
        }
    }
}

impl Settings {
    fn threshold(&self, metric: &Metric) -> Threshold {
        let own = self.thresholds.iter().rev().find(|(of, _)| of == metric).map(|(_, value)| *value);
        match metric.unit().is_share() {
            true => Threshold::Absolute(own.unwrap_or(SHARE_THRESHOLD)),
            false => Threshold::Relative(own.unwrap_or(self.threshold)),
        }
    }
}

/// Two experiments side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Name of this form.
    pub schema: SchemaName,
    /// What it is compared with.
    pub a: Side,
    /// What is judged.
    pub b: Side,
    /// 1 less the probability of any false alarm in the whole comparison.
    pub confidence: f64,
    /// Overall verdict.
    pub verdict: Overall,
    /// One entry per profile, pair and metric.
    pub compared: Vec<Compared>,
    /// Profiles and pairs, or metrics of them, that only one side has.
    pub unmatched: Vec<Unmatched>,
    /// Reasons to take the comparison with care.
    pub notes: Vec<String>,
}

/// Name of the comparison's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaName {
    /// The first.
    #[serde(rename = "linerate.dev/comparison/v1alpha1")]
    V1Alpha1,
}

/// One of the two experiments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Its 8 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it began, in UTC (RFC 3339).
    pub started_at: String,
}

/// Verdict on a whole comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overall {
    /// Something is worse.
    Regression,
    /// Nothing is known to be worse, but at least one verdict is `cannot tell`.
    CannotTell,
    /// Everything is the same or better.
    NoRegression,
}

/// One metric of one profile: on one pair, or of its searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Name of the profile.
    pub profile: String,
    /// Which pair; of searches of several paths, `together` or `every`; of streams `together`.
    pub pair: String,
    /// Which figure.
    pub metric: Metric,
    /// Values of A's repeats, in the metric's unit.
    pub a: Group,
    /// Values of B's repeats.
    pub b: Group,
    /// Of HTTP: interval (Student) that holds A's true mean at the stated confidence; left out when it has one repeat only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a_interval: Option<Interval>,
    /// The same of B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_interval: Option<Interval>,
    /// Of HTTP: true when each of these intervals contains the other side's mean, so that the two runs repeat each other; left out likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats_agree: Option<bool>,
    /// B's mean less A's, with the interval (Welch) that holds the true difference at the stated confidence, this metric taken alone;
    /// null when a side has one repeat only.
    pub difference: Option<Interval>,
    /// Differences up to this are of no interest, in the metric's unit.
    pub threshold: f64,
    /// Probability of the observation if the difference were within the threshold, corrected for all metrics
    /// compared (Holm); null likewise.
    pub p_within_threshold: Option<f64>,
    /// Probability of the observation if the difference were beyond the threshold, corrected likewise.
    pub p_beyond_threshold: Option<f64>,
    /// What follows.
    pub verdict: Outcome,
    /// For the outcome `cannot tell`: repeats of each side that would decide with a probability of 80 %, with
    /// the same means and spreads; null otherwise, and when not even 10,000 would.
    pub repeats_needed: Option<usize>,
}

/// Trials that only one side has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unmatched {
    /// Name of the profile.
    pub profile: String,
    /// Which pair.
    pub pair: String,
    /// Which figure; null for all of them.
    pub metric: Option<Metric>,
    /// The experiment that has it.
    pub only_in: String,
}

/// The experiments have nothing to compare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{a} and {b} have {}", nothing(notes))]
pub struct NothingInCommon {
    /// Id of A.
    pub a: String,
    /// Id of B.
    pub b: String,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Most reasons that the error names.
const NAMED: usize = 2;

fn nothing(notes: &[String]) -> String {
    if notes.is_empty() {
        return "no finished trial in common whose metrics could be compared; run both from the same document (`linerate results show ID` names the profiles)".to_owned();
    }
    let named: Vec<&str> = notes.iter().take(NAMED).map(String::as_str).collect();
    let more = match notes.len() - named.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("nothing that could be compared: {}{more}", named.join("; "))
}

/// Compares B with A.
///
/// # Errors
/// When they have no trial and no result of a search in common.
pub fn compare(a: &Summary, b: &Summary, settings: &Settings) -> Result<Comparison, NothingInCommon> {
    let mut pairing = pair_up(a, b, &settings.metrics);
    searched::pair_up(a, b, settings, &mut pairing);
    streams::pair_up(a, b, settings, &mut pairing);
    http::pair_up(a, b, settings, &mut pairing);
    pairing.note_missing(a);
    pairing.note_missing(b);
    let Pairing { matched, unmatched, notes, left_out, is_irregular, is_missing } = pairing;
    if matched.is_empty() && !is_irregular {
        let (a, b) = (a.experiment.id.clone(), b.experiment.id.clone());
        return Err(NothingInCommon { a, b, notes: left_out });
    }
    let questions: Vec<Question> = matched
        .iter()
        .map(|one| Question {
            a: one.a,
            b: one.b,
            threshold: settings.threshold(&one.metric),
            more_is_better: one.metric.more_is_better(),
        })
        .collect();
    let answers = decide(&questions, 1.0 - settings.confidence);
    let compared: Vec<Compared> = matched
        .into_iter()
        .zip(questions.iter().zip(answers))
        .map(|(one, (question, answer))| Compared {
            profile: one.profile.to_owned(),
            pair: one.pair.to_owned(),
            metric: one.metric.clone(),
            a: one.a,
            b: one.b,
            a_interval: one.metric.http_figure().and_then(|_| one.a.interval(settings.confidence)),
            b_interval: one.metric.http_figure().and_then(|_| one.b.interval(settings.confidence)),
            repeats_agree: one
                .metric
                .http_figure()
                .and_then(|_| one.a.agrees_with(&one.b, settings.confidence)),
            difference: difference(&one.a, &one.b, settings.confidence),
            threshold: question.threshold.around(&one.a),
            p_within_threshold: answer.differs,
            p_beyond_threshold: answer.same,
            verdict: answer.outcome,
            repeats_needed: answer.repeats_needed,
        })
        .collect();
    Ok(Comparison {
        schema: SchemaName::V1Alpha1,
        a: side(a),
        b: side(b),
        confidence: settings.confidence,
        verdict: overall(&compared, &unmatched, is_irregular || is_missing),
        compared,
        unmatched,
        notes: notes.into_iter().chain(left_out).collect(),
    })
}

/// A metric of one profile's repeats on one pair; `None` when no repeat has it.
pub(crate) fn group(repeats: &[&TrialSummary], metric: &Metric) -> Option<Group> {
    let measured: Vec<_> = repeats.iter().filter_map(|trial| metric.of(trial)).collect();
    Group::of(&measured)
}

/// What repeated searches found for one goal; `None` when no result is regular.
pub(crate) fn search_group(results: &[&GoalSummary]) -> Option<Group> {
    let measured: Vec<_> = results.iter().filter_map(|result| metric::Measured::of_search(result)).collect();
    Group::of(&measured)
}

fn side(summary: &Summary) -> Side {
    let experiment = &summary.experiment;
    Side {
        id: experiment.id.clone(),
        name: experiment.name.clone(),
        started_at: experiment.started_at.clone(),
    }
}

fn overall(compared: &[Compared], unmatched: &[Unmatched], is_untold: bool) -> Overall {
    let any = |outcome| compared.iter().any(|one| one.verdict == outcome);
    if any(Outcome::Worse) {
        Overall::Regression
    } else if any(Outcome::CannotTell) || !unmatched.is_empty() || is_untold {
        Overall::CannotTell
    } else {
        Overall::NoRegression
    }
}
