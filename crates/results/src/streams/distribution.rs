//! Distributions: a figure over the connections of a trial, and delays of several connections together.

use linerate_wire::report::LatencySummary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure over the connections of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` when there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let p50 = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { min, p50, mean: values.iter().sum::<f64>() / values.len() as f64, max })
    }
}

/// Times of several connections together, each with its summary and histogram; `None` when there are none. Percentiles
/// are upper bounds of the histograms' buckets.
pub(crate) fn together<'l>(
    all: impl Iterator<Item = (&'l LatencySummary, &'l [(u64, u64)])>,
) -> Option<LatencySummary> {
    let mut buckets = std::collections::BTreeMap::<u64, u64>::new();
    let mut whole: Option<(u64, u64, u128)> = None;
    for (summary, histogram) in all {
        let count = histogram.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
        if count == 0 {
            continue;
        }
        for (bound, count) in histogram {
            let bucket = buckets.entry(*bound).or_default();
            *bucket = bucket.saturating_add(*count);
        }
        let LatencySummary { min, max, mean, .. } = *summary;
        let (least, most, sum) = whole.unwrap_or((min, max, 0));
        whole =
            Some((least.min(min), most.max(max), sum.saturating_add(u128::from(mean) * u128::from(count))));
    }
    // Of an account that contradicts itself, nothing is known.
    let (min, max, sum) = whole.filter(|(min, max, _)| min <= max)?;
    let total = buckets.values().copied().fold(0, u64::saturating_add);
    let quantile = |share: f64| {
        let rank = (share * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let bound = buckets.iter().find_map(|(bound, count)| {
            seen = seen.saturating_add(*count);
            (seen >= rank).then_some(*bound)
        });
        bound.unwrap_or(max).clamp(min, max)
    };
    Some(LatencySummary {
        min,
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max,
        mean: u64::try_from(sum / u128::from(total.max(1))).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median_of_the_middle() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()).unwrap();
        assert_eq!((spread.min, spread.p50, spread.mean, spread.max), (1.0, 2.5, 2.5, 4.0));
        assert_eq!(Spread::of([7.0].into_iter()).unwrap().p50, 7.0);
        assert_eq!(Spread::of(std::iter::empty()), None);
    }

    #[test]
    fn delays_of_connections_are_added_up() {
        let of = |min, max, mean, histogram: &[(u64, u64)]| {
            (LatencySummary { min, max, mean, ..LatencySummary::default() }, histogram.to_vec())
        };
        let two = [of(5, 10, 8, &[(10, 90)]), of(20, 100, 50, &[(30, 9), (100, 1)]), of(0, 0, 0, &[])];
        let all = together(two.iter().map(|(summary, histogram)| (summary, histogram.as_slice()))).unwrap();
        assert_eq!((all.min, all.p50, all.p99, all.max, all.mean), (5, 10, 30, 100, 12));
        assert_eq!(together(std::iter::empty()), None);
        // Numbers that no clock and no counter gave: no panic, and no figures of what contradicts itself.
        let together = |one: (LatencySummary, Vec<(u64, u64)>)| together([(&one.0, &one.1[..])].into_iter());
        assert_eq!(together(of(9, 5, 7, &[(7, 1)])), None);
        let most = u64::MAX;
        let all = together(of(0, most, most, &[(5, most), (most, most)])).unwrap();
        assert_eq!((all.p50, all.max), (5, most));
    }
}
