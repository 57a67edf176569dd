use std::sync::LazyLock;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Normal};

use super::*;
use linerate_results::fixtures::summary;
use linerate_results::fixtures::{rx, tx, with_clock};
use linerate_results::summary::{Status, TrialSummary};

/// A trial of ten million packets with these figures.
fn trial(profile: &str, repeat: u32, received_pps: f64, lost: u64, p99: u64) -> TrialSummary {
    // Simulations ask for a million of them.
    static TRIAL: LazyLock<TrialSummary> =
        LazyLock::new(|| with_clock(true, &tx(10_000_000), &rx(10_000_000)).unwrap());
    let mut trial = TRIAL.clone();
    (trial.received_packets, trial.lost_packets) = (10_000_000 - lost, lost);
    trial.profile = profile.to_owned();
    trial.repeat = repeat;
    trial.received_pps = received_pps;
    trial.offered_missed_intended = false;
    trial.latency_ns.as_mut().unwrap().p99 = p99;
    trial
}

fn experiment(id: &str, trials: Vec<TrialSummary>) -> Summary {
    let mut summary = summary(Status::Complete);
    summary.experiment.id = id.to_owned();
    summary.failures.clear();
    summary.trials = trials;
    summary
}

fn rates(id: &str, profile: &str, values: &[f64]) -> Summary {
    let trials = values.iter().zip(1..).map(|(pps, repeat)| trial(profile, repeat, *pps, 0, 20_000));
    experiment(id, trials.collect())
}

fn only(metric: Metric) -> Settings {
    Settings { metrics: vec![metric], ..Settings::default() }
}

const STEADY: [f64; 5] = [1.000e6, 1.002e6, 0.999e6, 1.001e6, 0.998e6];

#[test]
fn verdicts_follow_from_difference_spread_and_threshold() {
    let settings = only(Metric::named("received_pps"));
    let a = rates("aaaaaaaa", "p", &STEADY);
    for (b, verdict, whole) in [
        (&[0.900e6, 0.903e6, 0.898e6, 0.901e6, 0.899e6][..], Outcome::Worse, Overall::Regression),
        (&[1.100e6, 1.102e6, 1.099e6, 1.098e6, 1.101e6], Outcome::Better, Overall::NoRegression),
        (&[0.999e6, 1.001e6, 1.002e6, 1.000e6, 0.998e6], Outcome::Same, Overall::NoRegression),
        (&[0.930e6, 1.070e6, 1.000e6, 0.960e6, 1.060e6], Outcome::CannotTell, Overall::CannotTell),
        (&[0.900e6], Outcome::CannotTell, Overall::CannotTell),
    ] {
        let found = compare(&a, &rates("bbbbbbbb", "p", b), &settings).unwrap();
        assert_eq!((found.compared[0].verdict, found.verdict), (verdict, whole), "{found:?}");
        assert_eq!(found.compared[0].repeats_needed.is_some(), verdict == Outcome::CannotTell, "{found:?}");
    }
}

#[test]
fn a_longer_delay_and_more_loss_are_worse() {
    let with = |id, lost, p99: u64| {
        let repeats = 1..=5;
        experiment(id, repeats.map(|n| trial("p", n, 1e6, lost + u64::from(n), p99 + u64::from(n))).collect())
    };
    let (a, b) = (with("aaaaaaaa", 0, 20_000), with("bbbbbbbb", 100_000, 30_000));
    let verdicts = |a, b| -> Vec<Outcome> {
        let found = compare(a, b, &Settings::default()).unwrap();
        found.compared.iter().map(|one| one.verdict).collect()
    };
    assert_eq!(verdicts(&a, &b), [Outcome::Same, Outcome::Worse, Outcome::Worse]);
    assert_eq!(verdicts(&b, &a), [Outcome::Same, Outcome::Better, Outcome::Better]);
    assert_eq!(verdicts(&a, &a), [Outcome::Same; 3]);
}

#[test]
fn thresholds_are_relative_for_rates_and_absolute_for_shares() {
    let losing = |id, lost: u64| {
        experiment(id, (1..=5).map(|n| trial("p", n, 1e6, lost + u64::from(n % 2), 20_000)).collect())
    };
    let (a, b) = (losing("aaaaaaaa", 0), losing("bbbbbbbb", 5_000));
    let mut settings = only(Metric::named("lost_ratio"));
    let verdict = |settings: &Settings| compare(&a, &b, settings).unwrap().compared[0].verdict;
    assert_eq!(verdict(&settings), Outcome::Worse, "0.05 % of packets are more than one in ten thousand");
    settings.threshold = 0.5;
    assert_eq!(verdict(&settings), Outcome::Worse, "the threshold of rates is not that of shares");
    settings.thresholds = vec![(Metric::named("lost_ratio"), 0.01)];
    assert_eq!(verdict(&settings), Outcome::Same);
}

#[test]
fn only_common_trials_are_compared_and_the_others_are_listed() {
    let mut a = rates("aaaaaaaa", "p", &STEADY);
    let mut b = rates("bbbbbbbb", "p", &STEADY);
    a.trials.push(trial("only-a", 1, 1e6, 0, 1));
    b.trials.push(trial("only-b", 1, 1e6, 0, 1));
    for trial in &mut b.trials {
        trial.latency_ns = None;
        trial.flows += 1;
    }
    b.experiment.versions.linerate = "9".into();
    b.status = Status::Interrupted;
    let found = compare(&a, &b, &Settings::default()).unwrap();
    assert_eq!(found.compared.len(), 2);
    assert_eq!(found.verdict, Overall::CannotTell);
    let unmatched: Vec<_> = found
        .unmatched
        .iter()
        .map(|one| (one.profile.as_str(), one.metric.clone(), one.only_in.as_str()))
        .collect();
    assert_eq!(
        unmatched,
        [
            ("p", Some(Metric::named("latency_p99")), "aaaaaaaa"),
            ("only-a", None, "aaaaaaaa"),
            ("only-b", None, "bbbbbbbb")
        ]
    );
    let notes = found.notes.join("\n");
    for part in ["not complete: interrupted", "linerate differs", "different flows"] {
        assert!(notes.contains(part), "{notes}");
    }
    let message =
        compare(&a, &rates("bbbbbbbb", "q", &STEADY), &Settings::default()).unwrap_err().to_string();
    assert!(message.contains("no finished trial in common"), "{message}");
}

#[test]
fn the_advice_on_repeats_is_enough_most_of_the_time() {
    let mut random = SmallRng::seed_from_u64(7);
    let settings = only(Metric::named("received_pps"));
    for (mean, verdict) in [(0.94e6, Outcome::Worse), (1.0e6, Outcome::Same)] {
        let (before, after) = (Normal::new(1e6, 2e4).unwrap(), Normal::new(mean, 2e4).unwrap());
        // Uses exact spreads instead of those that a few repeats happen to show.
        let exact = |mean: f64| {
            let aside = 2e4 / 2_f64.sqrt();
            [mean - aside, mean + aside]
        };
        let (a, b) = (rates("aaaaaaaa", "p", &exact(1e6)), rates("bbbbbbbb", "p", &exact(mean)));
        let needed = compare(&a, &b, &settings).unwrap().compared[0].repeats_needed.unwrap();
        let told = (0..400)
            .filter(|_| {
                let mut draw = |from: &Normal<f64>| -> Vec<f64> {
                    (0..needed).map(|_| from.sample(&mut random)).collect()
                };
                let a = rates("aaaaaaaa", "p", &draw(&before));
                let b = rates("bbbbbbbb", "p", &draw(&after));
                compare(&a, &b, &settings).unwrap().compared[0].verdict == verdict
            })
            .count();
        println!("{verdict}: {needed} repeats tell in {told} of 400 comparisons");
        assert!((4..200).contains(&needed), "{needed}");
        // `same` must exclude both ends of the threshold, which the advice ignores.
        assert!(
            told >= if verdict == Outcome::Same { 220 } else { 300 },
            "{told} of 400 with {needed} repeats"
        );
    }
}

/// Distribution of repeats.
#[derive(Debug, Clone, Copy)]
enum Scatter {
    /// A normal distribution.
    Normal,
    /// A long tail, as delays have.
    Skewed,
    /// Mostly zero, sometimes large, as loss is.
    Rare,
    /// So narrow that rounding gives steps of 1 %.
    Stepped,
}

fn simulated(id: &str, scatter: Scatter, repeats: u32, random: &mut SmallRng) -> Summary {
    let mut trials = Vec::new();
    for profile in ["p0", "p1", "p2", "p3", "p4", "p5"] {
        for repeat in 1..=repeats {
            let mut draw = || match scatter {
                Scatter::Normal => Normal::new(1.0, 0.03).unwrap().sample(random),
                Scatter::Skewed => LogNormal::new(0.0, 0.5).unwrap().sample(random),
                Scatter::Rare if random.random_bool(0.8) => 1.0,
                Scatter::Rare => 1.0 + random.random_range(0.0..1.0),
                Scatter::Stepped => {
                    let value: f64 = Normal::new(1.0, 0.004).unwrap().sample(random);
                    (value * 100.0).round() / 100.0
                }
            };
            let (pps, lost, p99) = (1e6 * draw(), 50_000.0 * draw(), 20_000.0 * draw());
            trials.push(trial(profile, repeat, pps, lost as u64, p99 as u64));
        }
    }
    experiment(id, trials)
}

/// Frequency of false alarms when an experiment is compared with itself. The threshold is zero, the worst
/// case.
#[test]
fn false_alarms_are_no_more_frequent_than_stated() {
    std::thread::scope(|scope| {
        for (case, scatter) in
            [Scatter::Normal, Scatter::Skewed, Scatter::Rare, Scatter::Stepped].into_iter().enumerate()
        {
            scope.spawn(move || {
                let mut random = SmallRng::seed_from_u64(20_301 + case as u64);
                for repeats in [(3, 3), (10, 10), (3, 20)] {
                    assert_few_false_alarms(scatter, repeats, &mut random);
                }
            });
        }
    });
}

fn assert_few_false_alarms(scatter: Scatter, (repeats_a, repeats_b): (u32, u32), random: &mut SmallRng) {
    const COMPARISONS: usize = 500;
    let thresholds = vec![(Metric::named("lost_ratio"), 0.0)];
    let settings = Settings { threshold: 0.0, thresholds, ..Settings::default() };
    let alarms = (0..COMPARISONS)
        .filter(|_| {
            let a = simulated("aaaaaaaa", scatter, repeats_a, random);
            let b = simulated("bbbbbbbb", scatter, repeats_b, random);
            let found = compare(&a, &b, &settings).unwrap();
            assert_eq!(found.compared.len(), 18);
            found.compared.iter().any(|one| matches!(one.verdict, Outcome::Better | Outcome::Worse))
        })
        .count();
    let rate = alarms as f64 / COMPARISONS as f64;
    let stated = 1.0 - settings.confidence;
    // Three standard errors of a binomial proportion.
    let most = stated + 3.0 * (stated * (1.0 - stated) / COMPARISONS as f64).sqrt();
    println!("{scatter:?}, {repeats_a} and {repeats_b} repeats: {alarms} of {COMPARISONS} ({rate:.4})");
    assert!(rate <= most, "{scatter:?}, {repeats_a} and {repeats_b} repeats: {rate} > {most}");
}
