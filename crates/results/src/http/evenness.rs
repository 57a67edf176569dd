//! Evenness of a balancer: Pearson's chi-squared test. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Fewest expected counts per backend for which the chi-squared distribution is a good approximation (Cochran 1954).
const FEWEST_EXPECTED: f64 = 5.0;

/// How evenly a balancer spread what it balances. Null hypothesis: each is given to a backend by a fair die. A small p
/// says that the spread is less even than that; round robin is more even, so its p is near 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evenness {
    /// What is counted.
    pub unit: EvennessUnit,
    /// Number of them.
    pub count: u64,
    /// Pearson's statistic.
    pub chi_squared: f64,
    /// Degrees of freedom: backends less one.
    pub degrees: u32,
    /// Probability of so uneven a spread, or a more uneven one, by chance; null when fewer than 5 are expected per backend.
    pub p_value: Option<f64>,
    /// Share of the backend with fewest, 0…1.
    pub smallest_share: f64,
    /// Share of the backend with most.
    pub largest_share: f64,
}

/// What a balancer gives to backends one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EvennessUnit {
    /// Connections: all requests of a connection go to one backend, so requests are not independent.
    Connections,
    /// Requests, each balanced by itself.
    Requests,
}

impl std::fmt::Display for EvennessUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EvennessUnit::Connections => "connections",
            EvennessUnit::Requests => "requests",
        })
    }
}

impl Evenness {
    /// The test of these counts, one per backend; `None` for fewer than two backends, and when nothing was counted.
    pub fn of(unit: EvennessUnit, counts: &[u64]) -> Option<Self> {
        let total = counts.iter().copied().fold(0, u64::saturating_add);
        if counts.len() < 2 || total == 0 {
            return None;
        }
        let expected = total as f64 / counts.len() as f64;
        let chi_squared: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        let degrees = counts.len() as u32 - 1;
        let distribution = ChiSquared::new(f64::from(degrees)).ok();
        let p_value = distribution.filter(|_| expected >= FEWEST_EXPECTED).map(|chi| chi.sf(chi_squared));
        let share = |count: Option<&u64>| count.map_or(0.0, |count| *count as f64 / total as f64);
        Some(Self {
            unit,
            count: total,
            chi_squared,
            degrees,
            p_value,
            smallest_share: share(counts.iter().min()),
            largest_share: share(counts.iter().max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_tables() {
        let test = |counts: &[u64]| Evenness::of(EvennessUnit::Connections, counts);
        // 5 % points of the distribution: 3.841 for 1 degree of freedom, 7.815 for 3.
        let one = test(&[590, 652]).unwrap();
        assert!((one.chi_squared - 3.095).abs() < 0.01 && one.degrees == 1, "{one:?}");
        assert!((one.p_value.unwrap() - 0.0785).abs() < 0.001, "{one:?}");
        let even = test(&[100, 100, 100, 100]).unwrap();
        assert_eq!((even.chi_squared, even.p_value, even.largest_share), (0.0, Some(1.0), 0.25));
        let uneven = test(&[400, 0, 0, 0]).unwrap();
        assert!(uneven.p_value.unwrap() < 1e-100 && uneven.chi_squared == 1200.0, "{uneven:?}");
        assert_eq!(test(&[3, 4, 2]).unwrap().p_value, None);
        assert_eq!((test(&[5]), test(&[0, 0])), (None, None));
    }
}
