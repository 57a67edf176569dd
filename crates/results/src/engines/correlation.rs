//! Correlations with the load over the trials of an engine, with their confidence. Pure.

use std::collections::BTreeSet;

use super::EngineRow;

/// Fewest loads of which a correlation says something: with fewer, the interval of a strong one covers almost all.
pub const FEWEST_TRIALS: usize = 8;
/// 97.5th percentile of the normal distribution, for intervals of 95 %.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// A coefficient, −1…1, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficient {
    /// Its value.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Coefficient {
    /// Interval by Fisher's transformation, whose standard error is `error`, of a coefficient over so many loads. Where all
    /// trials lie on a line, the interval is that of the strongest relation that so many loads can tell from it.
    fn with_error(value: f64, error: f64, loads: usize) -> Self {
        let value = value.clamp(-1.0, 1.0);
        let strongest = 1.0 - 1.0 / (loads as f64).powi(2);
        let z = value.clamp(-strongest, strongest).atanh();
        Self { value, low: (z - NORMAL_95 * error).tanh(), high: (z + NORMAL_95 * error).tanh() }
    }
}

/// How a quantity of an engine's trials goes with the offered load.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// The quantity, in words.
    pub quantity: &'static str,
    /// Trials in which it is known.
    pub trials: usize,
    /// Pearson's coefficient: how linear the relation is.
    pub pearson: Coefficient,
    /// Spearman's coefficient: how monotonic it is.
    pub spearman: Coefficient,
}

/// A quantity of a trial that may go with its load.
type Quantity = (&'static str, fn(&EngineRow<'_>) -> Option<f64>);

const QUANTITIES: [Quantity; 7] = [
    ("received packets/s", |row| row.received_pps),
    ("share lost", |row| row.loss_share()),
    ("interrupts/s", |row| row.per_second(|host| host.interrupts)),
    ("NET_RX softirqs/s", |row| row.per_second(|host| host.net_rx)),
    ("NET_TX softirqs/s", |row| row.per_second(|host| host.net_tx)),
    ("CPU time of softirqs", |row| Some(row.figures.softirq_cpu_s? / row.figures.host.as_ref()?.elapsed_s)),
    ("use of all CPUs", |row| row.figures.host.as_ref()?.busy_share),
];

/// Correlations with the offered load over trials of one engine that differ in their load alone; none of quantities that
/// are known of fewer than [`FEWEST_TRIALS`] of them or of fewer loads, or that never change. Trials as fast as possible
/// have no load of their own and are left out.
pub fn correlations(rows: &[&EngineRow<'_>]) -> Vec<Correlation> {
    QUANTITIES.iter().filter_map(|(quantity, of)| correlation(quantity, rows, *of)).collect()
}

fn correlation(
    quantity: &'static str,
    rows: &[&EngineRow<'_>],
    of: fn(&EngineRow<'_>) -> Option<f64>,
) -> Option<Correlation> {
    let loaded = rows.iter().filter_map(|row| Some((row.intended_pps?, row.offered_pps?, of(row)?)));
    of_points(quantity, &loaded.collect::<Vec<_>>())
}

/// A correlation over points of intended load, offered load and quantity.
fn of_points(quantity: &'static str, points: &[(f64, f64, f64)]) -> Option<Correlation> {
    let loads: BTreeSet<u64> = points.iter().map(|(intended, ..)| intended.to_bits()).collect();
    // Repeats of a load are not independent of each other: the intervals are those of as many points as there are loads.
    let loads = loads.len();
    if loads < FEWEST_TRIALS {
        return None;
    }
    let pairs = points.iter().map(|(_, offered, value)| (*offered, *value));
    let (offered, values): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let free = (loads - 3) as f64;
    let linear = pearson(&offered, &values)?;
    let monotonic = pearson(&ranks(&offered), &ranks(&values))?;
    Some(Correlation {
        quantity,
        trials: points.len(),
        pearson: Coefficient::with_error(linear, (1.0 / free).sqrt(), loads),
        // The standard error of Bonett and Wright (2000).
        spearman: Coefficient::with_error(
            monotonic,
            ((1.0 + monotonic * monotonic / 2.0) / free).sqrt(),
            loads,
        ),
    })
}

/// Pearson's coefficient; `None` when one of both never changes.
fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (x_mean, y_mean) = (mean(x), mean(y));
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(x, y)| of(x - x_mean, y - y_mean)).sum::<f64>();
    let (xy, xx, yy) = (sum(&|x, y| x * y), sum(&|x, _| x * x), sum(&|_, y| y * y));
    let r = xy / (xx * yy).sqrt();
    r.is_finite().then_some(r)
}

/// Ranks from 1; equal values have the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let below = order.iter().take_while(|place| values[**place] < values[equal[0]]).count();
        let rank = below as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|place| ranks[*place] = rank);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_those_of_textbooks() {
        assert_eq!(ranks(&[10.0, 30.0, 20.0, 20.0]), [1.0, 4.0, 2.5, 2.5]);
        // Anscombe's first quartet.
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let r = pearson(&x, &y).unwrap();
        assert!((r - 0.816_42).abs() < 1e-5, "{r}");
        let rho = pearson(&ranks(&x), &ranks(&y)).unwrap();
        assert!((rho - 0.818_18).abs() < 1e-5, "{rho}");
        let interval = Coefficient::with_error(r, (1.0 / 8.0_f64).sqrt(), 11);
        assert!((interval.low - 0.424).abs() < 1e-3 && (interval.high - 0.951).abs() < 1e-3, "{interval:?}");
        assert_eq!(pearson(&x, &[1.0; 11]), None, "what never changes goes with nothing");
        let whole = Coefficient::with_error(1.0, (1.0 / 5.0_f64).sqrt(), 8);
        assert!(
            whole.value == 1.0 && whole.low < 0.99 && whole.high < 1.0,
            "eight trials are no certainty: {whole:?}"
        );
    }

    #[test]
    fn repeats_of_a_load_make_no_interval_narrower() {
        let noise = [0.3, -0.2, 0.9, -0.8, 0.1, 0.7, -0.4, -0.6];
        let points = |repeats: usize| -> Vec<(f64, f64, f64)> {
            let once = (1..=8).zip(noise).map(|(load, off)| (f64::from(load), f64::from(load), off));
            let once = once.map(|(intended, load, off)| (intended, load, 0.2 * load + off));
            once.flat_map(|point| std::iter::repeat_n(point, repeats)).collect()
        };
        let (one, ten) = (of_points("q", &points(1)).unwrap(), of_points("q", &points(10)).unwrap());
        assert_eq!((one.trials, ten.trials), (8, 80));
        for (one, ten) in [(one.pearson, ten.pearson), (one.spearman, ten.spearman)] {
            assert!((one.value - ten.value).abs() < 1e-9, "{one:?} {ten:?}");
            assert!((one.low - ten.low).abs() < 1e-9 && (one.high - ten.high).abs() < 1e-9, "{ten:?}");
        }
        assert_eq!(of_points("q", &points(10)[..70]), None, "seven loads, however often");
    }
}
