//! `results compare`: a verdict on two experiments, with an exit code for pipelines.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use anyhow::bail;
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, Args, Command, ValueEnum};

use super::super::output::{print, say, width};
use super::super::{Ending, comparison_table};
use super::PlaceArgs;
use linerate_report::compare::{Comparison, Metric, Overall, Settings, compare};
use linerate_results::store::{self, is_id};
use linerate_results::summary::Summary;

pub(super) const EXAMPLES: &str = "\
Examples:
  Compare with a release; exit code 1 if something has become worse:
    linerate results compare 1f3c09aa 7b21e0d4
  Against a baseline kept elsewhere, by delay only, for programs to read:
    linerate results compare baseline/1f3c09aa 7b21e0d4 --metric latency_p50,latency_p99 --json
  Ignore differences of up to 5 % and one lost packet in a thousand; the verdict `cannot tell` fails too:
    linerate results compare 1f3c09aa 7b21e0d4 --threshold 5%,lost_ratio=0.1% --strict

Exit codes: 0 nothing is known to be worse, 1 something is worse (with --strict also: a verdict is `cannot tell`), 2 wrong usage.
To have repeats to compare, set trial.repeats in the experiment document: docs/compare.md.";

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// The baseline: an experiment's 8 hexadecimal digits, or its directory
    a: String,
    /// The experiment to judge, likewise
    b: String,
    /// Metrics to compare; also GOAL_pps for one goal of searches, such as ndr_pps
    #[arg(long, value_name = "METRIC", value_parser = WantedParser, value_delimiter = ',', default_values_t = Wanted::default_list())]
    metric: Vec<Wanted>,
    /// Confidence of all verdicts together: 1 minus the probability of any false alarm
    #[arg(long, value_name = "SHARE", value_parser = confidence, default_value = "95%")]
    confidence: f64,
    /// Smallest relevant difference, for rates and delays as a share of A; METRIC=SHARE sets it for one metric. For shares
    /// (lost_ratio, reordered_ratio, retransmit_ratio, error_ratio) a share of packets or requests [default: 0.01%]
    #[arg(long, value_name = "SHARE", value_parser = threshold, value_delimiter = ',', default_value = "2%")]
    threshold: Vec<(Option<Metric>, f64)>,
    /// Also fail on the verdict `cannot tell`
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// One metric.
    Metric(Metric),
    /// What searches found for every goal.
    Goals,
}

/// Name of [`Wanted::Goals`].
const GOALS: &str = "goals";

impl Wanted {
    fn default_list() -> Vec<Self> {
        Metric::DEFAULT.into_iter().map(Wanted::Metric).chain([Wanted::Goals]).collect()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Metric(metric) => metric.fmt(f),
            Wanted::Goals => f.write_str(GOALS),
        }
    }
}

/// Parses a metric, or `goals`.
#[derive(Debug, Clone, Copy)]
struct WantedParser;

impl TypedValueParser for WantedParser {
    type Value = Wanted;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Wanted, clap::Error> {
        if value == GOALS {
            return Ok(Wanted::Goals);
        }
        match value.to_str().and_then(Metric::parse) {
            Some(metric) => Ok(Wanted::Metric(metric)),
            // For its message, which lists the metrics.
            None => EnumValueParser::<Metric>::new().parse_ref(cmd, arg, value).map(Wanted::Metric),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let goals = PossibleValue::new(GOALS).help("Conditional throughput of every goal of rate searches");
        let metrics = Metric::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        Some(Box::new(metrics.chain([goals])))
    }
}

/// Parses `95%` or `0.95`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&(value / unit)) => Ok(value / unit),
        _ => Err(format!("'{text}' is not a share from 0% to 100%, such as 2% or 0.02")),
    }
}

fn confidence(text: &str) -> Result<f64, String> {
    share(text)
        .ok()
        .filter(|share| (0.5..1.0).contains(share))
        .ok_or_else(|| format!("'{text}' is not a confidence from 50% to below 100%, such as 95% or 0.95"))
}

fn threshold(text: &str) -> Result<(Option<Metric>, f64), String> {
    let Some((name, value)) = text.split_once('=') else { return Ok((None, share(text)?)) };
    let metric = Metric::parse(name)
        .ok_or_else(|| format!("'{name}' is not a metric; --metric lists them in --help"))?;
    Ok((Some(metric), share(value)?))
}

/// Loads an experiment by its id below `results`, or by its directory.
fn load(results: &Path, text: &str) -> anyhow::Result<Summary> {
    if is_id(text) {
        return Ok(store::load(results, text)?);
    }
    let path = Path::new(text);
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(parent), Some(name)) if path.is_dir() => Ok(store::load(parent, name)?),
        _ => bail!(
            "'{text}' is neither the id of an experiment, which is 8 hexadecimal digits, nor the directory of one; see `linerate results list`"
        ),
    }
}

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<Ending> {
    let metrics = args.metric.iter().filter_map(|wanted| match wanted {
        Wanted::Metric(metric) => Some(metric.clone()),
        Wanted::Goals => None,
    });
    let mut settings = Settings {
        metrics: metrics.collect(),
        all_goals: args.metric.contains(&Wanted::Goals),
        confidence: args.confidence,
        ..Settings::default()
    };
    settings.metrics.sort();
    settings.metrics.dedup();
    for (metric, value) in &args.threshold {
        match metric {
            Some(metric) => settings.thresholds.push((metric.clone(), *value)),
            None => settings.threshold = *value,
        }
    }
    let a = load(&args.place.results, &args.a)?;
    let b = load(&args.place.results, &args.b)?;
    let comparison = compare(&a, &b, &settings)?;
    show(&comparison, args.place.json)?;
    Ok(match comparison.verdict {
        Overall::Regression => Ending::Failed,
        Overall::CannotTell if args.strict => Ending::Failed,
        Overall::CannotTell | Overall::NoRegression => Ending::Done,
    })
}

fn show(comparison: &Comparison, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        print(&serde_json::to_string(comparison)?)?;
    } else {
        print(&comparison_table::comparison(comparison, width()))?;
    }
    for note in &comparison.notes {
        say(&format!("note: {note}"));
    }
    if comparison.verdict == Overall::CannotTell {
        say("warning: some verdicts are `cannot tell`; --strict makes this a failure");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_in_two_ways() {
        assert_eq!((share("2%"), share("0.02"), share("0")), (Ok(0.02), Ok(0.02), Ok(0.0)));
        assert!(share("2").is_err() && share("-1%").is_err() && share("x").is_err() && share("nan").is_err());
        assert_eq!(confidence("99%"), Ok(0.99));
        assert!(confidence("100%").is_err() && confidence("10%").is_err());
        assert_eq!(threshold("lost_ratio=0.1%"), Ok((Some(Metric::named("lost_ratio")), 0.001)));
        assert_eq!(threshold("5%"), Ok((None, 0.05)));
        assert!(threshold("loss=1%").is_err());
    }
}
