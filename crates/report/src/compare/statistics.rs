//! Statistics: Welch's t-test for unequal variances, with a bound on the degrees of freedom, and Holm's
//! correction for multiple tests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::metric::Measured;

/// Repeats of one trial: their mean, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Number of repeats.
    pub repeats: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the repeats (n − 1); null for a single repeat.
    pub standard_deviation: Option<f64>,
    /// Smallest difference that a single measurement can show.
    pub resolution: f64,
}

/// An estimate and the interval that holds the true value at the stated confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Largest irrelevant difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// A share of A's mean: 0.02 for 2 %.
    Relative(f64),
    /// In the metric's own unit.
    Absolute(f64),
}

/// Two-sided probabilities of the observed values by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Probabilities {
    /// If the true means differ by no more than the threshold.
    pub(super) differs: f64,
    /// If they differ by more.
    pub(super) same: f64,
    /// True when B lies above A.
    pub(super) is_higher: bool,
}

/// A linear combination of means: its value and standard error, with Welch's degrees of freedom.
#[derive(Debug, Clone, Copy)]
struct Contrast {
    value: f64,
    error: f64,
    freedom: f64,
}

impl Group {
    /// A group of at least one measurement.
    pub(super) fn of(measured: &[Measured]) -> Option<Self> {
        let repeats = measured.len();
        let n = repeats as f64;
        let mean = |value: fn(&Measured) -> f64| measured.iter().map(value).sum::<f64>() / n;
        (repeats > 0).then(|| {
            let centre = mean(|one| one.value);
            let squares: f64 = measured.iter().map(|one| (one.value - centre).powi(2)).sum();
            Self {
                repeats,
                mean: centre,
                standard_deviation: (repeats > 1).then(|| (squares / (n - 1.0)).sqrt()),
                resolution: mean(|one| one.resolution),
            }
        })
    }

    /// Variance of one measurement. The resolution's part is added, because rounding may hide differences of
    /// that size.
    fn variance(&self) -> Option<f64> {
        Some(self.standard_deviation?.powi(2) + self.resolution.powi(2) / 12.0)
    }

    /// The mean with its confidence interval; `None` when the spread is unknown.
    pub(crate) fn interval(&self, confidence: f64) -> Option<Interval> {
        let error = (self.variance()? / self.repeats as f64).sqrt();
        let half = quantile(f64::midpoint(1.0, confidence), (self.repeats - 1) as f64) * error;
        Some(Interval { estimate: self.mean, lower: self.mean - half, upper: self.mean + half })
    }

    /// True when the interval of each side contains the other's mean; `None` when a spread is unknown.
    pub(crate) fn agrees_with(&self, other: &Group, confidence: f64) -> Option<bool> {
        let (ours, theirs) = (self.interval(confidence)?, other.interval(confidence)?);
        Some(ours.contains(other.mean) && theirs.contains(self.mean))
    }

    /// The same mean and spread, with another number of repeats.
    pub(super) fn with_repeats(self, repeats: usize) -> Self {
        Self { repeats, ..self }
    }
}

impl Interval {
    fn contains(&self, value: f64) -> bool {
        (self.lower..=self.upper).contains(&value)
    }
}

impl Contrast {
    /// `b − scale · a − offset`; `None` when a spread is unknown.
    fn new(a: &Group, b: &Group, scale: f64, offset: f64) -> Option<Self> {
        let of_a = scale.powi(2) * a.variance()? / a.repeats as f64;
        let of_b = b.variance()? / b.repeats as f64;
        let sum = of_a + of_b;
        let parts = of_a.powi(2) / (a.repeats - 1) as f64 + of_b.powi(2) / (b.repeats - 1) as f64;
        // Welch's degrees of freedom are too large if one side has few repeats that happen to lie close
        // together and the other has many: 3 and 20 repeats give five times the false alarms. Both sides are
        // therefore counted with the smaller number of repeats.
        let most = 2.0 * (a.repeats.min(b.repeats) - 1) as f64;
        let freedom = if parts > 0.0 { (sum.powi(2) / parts).min(most) } else { most };
        Some(Self { value: b.mean - scale * a.mean - offset, error: sum.sqrt(), freedom })
    }

    /// Probability of this value or a smaller one if the true value is zero.
    fn probability_below(&self) -> f64 {
        if self.error > 0.0 {
            distribution(self.freedom).map_or(0.5, |t| t.cdf(self.value / self.error))
        } else {
            // There is no variance, not even from the resolution.
            match self.value.total_cmp(&0.0) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Greater => 1.0,
            }
        }
    }
}

impl Threshold {
    /// The two contrasts that are zero if B's mean lies at the upper or lower end of the threshold.
    fn contrasts(self, a: &Group, b: &Group) -> Option<(Contrast, Contrast)> {
        let (upper, lower) = match self {
            Threshold::Relative(share) => ((1.0 + share, 0.0), (1.0 - share, 0.0)),
            Threshold::Absolute(offset) => ((1.0, offset), (1.0, -offset)),
        };
        Some((Contrast::new(a, b, upper.0, upper.1)?, Contrast::new(a, b, lower.0, lower.1)?))
    }

    /// The threshold in the metric's unit.
    pub(super) fn around(self, a: &Group) -> f64 {
        match self {
            Threshold::Relative(share) => share * a.mean,
            Threshold::Absolute(offset) => offset,
        }
    }
}

/// B's mean minus A's, with Welch's interval; `None` when a spread is unknown.
pub(super) fn difference(a: &Group, b: &Group, confidence: f64) -> Option<Interval> {
    let contrast = Contrast::new(a, b, 1.0, 0.0)?;
    let half = quantile(f64::midpoint(1.0, confidence), contrast.freedom) * contrast.error;
    Some(Interval { estimate: contrast.value, lower: contrast.value - half, upper: contrast.value + half })
}

/// Probabilities of the observed values by chance; `None` when a spread is unknown.
pub(super) fn probabilities(a: &Group, b: &Group, threshold: Threshold) -> Option<Probabilities> {
    let (upper, lower) = threshold.contrasts(a, b)?;
    let (not_above, below) = (1.0 - upper.probability_below(), lower.probability_below());
    Some(Probabilities {
        differs: (2.0 * not_above.min(below)).min(1.0),
        same: (2.0 * upper.probability_below().max(1.0 - lower.probability_below())).min(1.0),
        is_higher: b.mean > a.mean,
    })
}

/// Distance of the observed difference from the nearer end of the threshold, in standard errors, with the
/// degrees of freedom; `None` when a spread is unknown.
pub(super) fn clearance(a: &Group, b: &Group, threshold: Threshold) -> Option<(f64, f64)> {
    let (upper, lower) = threshold.contrasts(a, b)?;
    let nearer = if upper.value.abs() < lower.value.abs() { upper } else { lower };
    let errors = if nearer.error > 0.0 { nearer.value.abs() / nearer.error } else { f64::INFINITY };
    Some((errors, nearer.freedom))
}

/// Quantile of Student's t with `freedom` degrees of freedom.
pub(super) fn quantile(probability: f64, freedom: f64) -> f64 {
    distribution(freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(probability))
}

fn distribution(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

/// Holm's step-down correction: adjusted probabilities, each to be compared with the level of all tests
/// together.
pub(super) fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let mut raised = vec![1.0; probabilities.len()];
    let mut least = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max((probabilities.len() - rank) as f64 * probabilities[index]).min(1.0);
        raised[index] = least;
    }
    raised
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(values: &[f64]) -> Group {
        let measured: Vec<_> =
            values.iter().map(|value| Measured { value: *value, resolution: 0.0 }).collect();
        Group::of(&measured).unwrap()
    }

    #[test]
    fn a_mean_has_students_interval() {
        // scipy.stats.t.interval(0.95, 4, 3.0, sqrt(2.5 / 5))
        let interval = group(&[1.0, 2.0, 3.0, 4.0, 5.0]).interval(0.95).unwrap();
        assert_close(interval.lower, 1.036_756_838_522_439);
        assert_close(interval.upper, 4.963_243_161_477_561);
        assert!(group(&[1.0]).interval(0.95).is_none());
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1e-3), "{found} for {expected}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (probability, freedom, expected) in [
            (0.975, 1.0, 12.706_204_736),
            (0.975, 4.0, 2.776_445_105),
            (0.995, 10.0, 3.169_272_673),
            (0.999_5, 2.5, 18.277_893_528),
            (0.95, 1000.0, 1.646_378_818),
        ] {
            let found = quantile(probability, freedom);
            assert!((found / expected - 1.0).abs() < 1e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn holm_steps_down_and_stays_monotone() {
        let raised = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in raised.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert_close(*found, expected);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn equal_repeats_are_only_as_equal_as_the_measurement_shows() {
        let alike = |value: f64| Group::of(&[Measured { value, resolution: 1.0 }; 3]).unwrap();
        let close = probabilities(&alike(100.0), &alike(100.5), Threshold::Relative(0.0)).unwrap();
        assert!(close.differs > 0.05, "{close:?}");
        let apart = probabilities(&alike(100.0), &alike(110.0), Threshold::Relative(0.02)).unwrap();
        assert!(apart.differs < 0.001 && apart.is_higher, "{apart:?}");
    }

    /// Expected values are from SciPy 1.16: `ttest_ind(equal_var=False)`, and `t.cdf` of the contrasts.
    #[test]
    fn intervals_and_probabilities_are_those_of_an_independent_program() {
        let a = group(&[27.5, 21.0, 19.0, 23.6, 17.0, 17.9]);
        let b = group(&[27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8]);
        let Interval { lower, upper, .. } = difference(&a, &b, 0.95).unwrap();
        assert_close(lower, -1.516_079_088_7);
        assert_close(upper, 6.944_650_517_3);
        assert_close(probabilities(&a, &b, Threshold::Relative(0.0)).unwrap().differs, 0.174_933_550_7);
        assert_close(probabilities(&a, &b, Threshold::Relative(0.02)).unwrap().differs, 0.250_479_967_2);
    }

    #[test]
    fn repeats_agree_when_each_interval_contains_the_other_mean() {
        let steady = group(&[100.0, 101.0, 99.0, 100.5]);
        for (other, agree) in [
            (&[100.2, 100.9, 99.3, 100.1][..], Some(true)),
            (&[110.0, 111.0, 109.5, 110.2], Some(false)),
            // A wide interval contains the other mean, and not the other way round.
            (&[90.0, 120.0, 100.0, 110.0], Some(false)),
            (&[100.0], None),
        ] {
            assert_eq!(steady.agrees_with(&group(other), 0.95), agree, "{other:?}");
            assert_eq!(group(other).agrees_with(&steady, 0.95), agree, "{other:?}");
        }
    }

    #[test]
    fn one_repeat_has_no_spread() {
        let (one, two) = (group(&[1.0]), group(&[1.0, 2.0]));
        assert_eq!(difference(&one, &two, 0.95), None);
        assert_eq!(probabilities(&two, &one, Threshold::Relative(0.0)), None);
    }

    #[test]
    fn what_is_the_same_does_not_differ() {
        let a = group(&[100.0, 101.0, 99.0, 100.5]);
        for (b, threshold, same) in [
            (&[100.2, 100.9, 99.3, 100.1], Threshold::Relative(0.05), true),
            (&[100.2, 100.9, 99.3, 100.1], Threshold::Absolute(5.0), true),
            (&[110.0, 111.0, 109.5, 110.2], Threshold::Relative(0.05), false),
            (&[90.0, 91.0, 89.5, 90.2], Threshold::Relative(0.05), false),
        ] {
            let found = probabilities(&a, &group(b), threshold).unwrap();
            assert_eq!((found.same < 0.05, found.differs < 0.05), (same, !same), "{found:?}");
        }
    }
}
