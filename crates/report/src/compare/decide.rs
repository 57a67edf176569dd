//! Verdicts on all metrics of a comparison, from the measured values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::statistics::{Group, Threshold, clearance, holm, probabilities, quantile};

/// Probability with which the advised number of repeats suffices.
const POWER: f64 = 0.8;
/// Upper limit of the advice on repeats.
const MANY_REPEATS: usize = 10_000;
/// Fewest repeats that can be compared.
const FEWEST_REPEATS: usize = 3;

/// Verdict on one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// B is better than A by more than the threshold.
    Better,
    /// B is worse than A by more than the threshold.
    Worse,
    /// B differs from A by less than the threshold.
    Same,
    /// Too few repeats, or too wide a spread.
    CannotTell,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outcome::Better => "better",
            Outcome::Worse => "worse",
            Outcome::Same => "same",
            Outcome::CannotTell => "cannot tell",
        })
    }
}

/// One metric of one profile and pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) a: Group,
    pub(super) b: Group,
    pub(super) threshold: Threshold,
    pub(super) more_is_better: bool,
}

/// The answer, with its evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// Probabilities after Holm's correction over all questions; `None` when a spread is unknown.
    pub(super) differs: Option<f64>,
    pub(super) same: Option<f64>,
    /// Repeats of each side that would decide the question; `None` when it is decided, or when even very many
    /// would not suffice.
    pub(super) repeats_needed: Option<usize>,
}

/// Answers all questions. The probability of any wrong `better` or `worse` among them is at most `level`; the
/// same holds for any wrong `same`.
pub(super) fn decide(questions: &[Question], level: f64) -> Vec<Answer> {
    let found: Vec<_> = questions
        .iter()
        .map(|question| probabilities(&question.a, &question.b, question.threshold))
        .collect();
    // Questions without an answer cannot be answered wrongly, so the correction leaves them out.
    let known: Vec<_> = found.iter().flatten().collect();
    let differs = holm(&known.iter().map(|one| one.differs).collect::<Vec<_>>());
    let same = holm(&known.iter().map(|one| one.same).collect::<Vec<_>>());
    let mut corrected = differs.into_iter().zip(same);
    let each_level = level / known.len().max(1) as f64;
    let mut answers = Vec::new();
    for (question, found) in questions.iter().zip(&found) {
        let corrected = found.and_then(|found| Some((found, corrected.next()?)));
        let outcome =
            match corrected {
                Some((found, (differs, _))) if differs <= level => {
                    if found.is_higher == question.more_is_better { Outcome::Better } else { Outcome::Worse }
                }
                Some((_, (_, same))) if same <= level => Outcome::Same,
                _ => Outcome::CannotTell,
            };
        answers.push(Answer {
            outcome,
            differs: corrected.map(|(_, (differs, _))| differs),
            same: corrected.map(|(_, (_, same))| same),
            repeats_needed: match outcome {
                Outcome::CannotTell => repeats_needed(question, each_level),
                _ => None,
            },
        });
    }
    answers
}

/// Fewest repeats of each side that decide with a probability of [`POWER`], if the true means and spreads are
/// those observed.
fn repeats_needed(question: &Question, level: f64) -> Option<usize> {
    let Question { a, b, threshold, .. } = question;
    if a.repeats < 2 || b.repeats < 2 {
        return Some(FEWEST_REPEATS);
    }
    let tells = |repeats: usize| {
        let (a, b) = (a.with_repeats(repeats), b.with_repeats(repeats));
        clearance(&a, &b, *threshold).is_some_and(|(errors, freedom)| {
            errors >= quantile(1.0 - level / 2.0, freedom) + quantile(POWER, freedom)
        })
    };
    let fewest = FEWEST_REPEATS.max(a.repeats.min(b.repeats) + 1);
    let (mut from, mut to) = (fewest, MANY_REPEATS + 1);
    while from < to {
        let middle = usize::midpoint(from, to);
        if tells(middle) { to = middle } else { from = middle + 1 }
    }
    (fewest..=MANY_REPEATS).contains(&from).then_some(from)
}
