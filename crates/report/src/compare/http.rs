//! Matching of the trials of HTTP of one experiment with those of the other.

use super::metric::{Measured, Metric};
use super::pairing::{Matched, Pairing};
use super::statistics::Group;
use super::{Settings, Unmatched};
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::{Figure, StreamsUnit};
use linerate_results::summary::Summary;

/// What stands for the pair: all clients of a trial together.
const TOGETHER: &str = "together";

/// A figure of the repeats of one profile; `None` when no repeat has it.
pub(crate) fn http_group(repeats: &[&HttpTrialSummary], figure: &Figure<HttpTrialSummary>) -> Option<Group> {
    let measured: Vec<Measured> = repeats.iter().filter_map(|trial| measured(trial, figure)).collect();
    Group::of(&measured)
}

fn measured(trial: &HttpTrialSummary, figure: &Figure<HttpTrialSummary>) -> Option<Measured> {
    let value = (figure.of)(trial)?;
    let resolution = match figure.unit {
        StreamsUnit::RequestsPerSecond => 1.0 / trial.duration_s,
        StreamsUnit::Share => 1.0 / trial.requests.sent as f64,
        // CPU time is known to the nanosecond; a probability is a number without a grain.
        StreamsUnit::Microseconds | StreamsUnit::Seconds | StreamsUnit::Probability => 0.0,
        _ => 1.0,
    };
    Some(Measured { value, resolution }).filter(|one| one.value.is_finite() && one.resolution.is_finite())
}

/// The repeats of one profile.
struct Repeats<'s> {
    profile: &'s str,
    trials: Vec<&'s HttpTrialSummary>,
}

impl Repeats<'_> {
    fn group(&self, metric: &Metric) -> Option<Group> {
        http_group(&self.trials, metric.http_figure()?)
    }
}

fn gather(summary: &Summary) -> Vec<Repeats<'_>> {
    let mut gathered: Vec<Repeats<'_>> = Vec::new();
    for trial in &summary.http {
        match gathered.iter_mut().find(|one| one.profile == trial.profile) {
            Some(repeats) => repeats.trials.push(trial),
            None => gathered.push(Repeats { profile: &trial.profile, trials: vec![trial] }),
        }
    }
    gathered
}

/// Adds the metrics of trials of HTTP that both sides have.
pub(super) fn pair_up<'s>(a: &'s Summary, b: &'s Summary, settings: &Settings, pairing: &mut Pairing<'s>) {
    let (of_a, of_b) = (gather(a), gather(b));
    let only_in = |repeats: &Repeats<'_>, metric: Option<&Metric>, summary: &Summary| Unmatched {
        profile: repeats.profile.to_owned(),
        pair: TOGETHER.to_owned(),
        metric: metric.cloned(),
        only_in: summary.experiment.id.clone(),
    };
    for summary in [a, b] {
        let partial = summary.http.iter().filter(|trial| !trial.complete).count();
        if partial > 0 {
            let (id, of) = (&summary.experiment.id, summary.http.len());
            pairing.notes.push(format!("{id}: the account of {partial} of {of} trials is not complete"));
        }
    }
    for ours in &of_a {
        let Some(theirs) = of_b.iter().find(|theirs| theirs.profile == ours.profile) else {
            pairing.unmatched.push(only_in(ours, None, a));
            continue;
        };
        for metric in &settings.metrics {
            match (ours.group(metric), theirs.group(metric)) {
                (Some(a), Some(b)) => pairing.matched.push(Matched {
                    profile: ours.profile,
                    pair: TOGETHER,
                    metric: metric.clone(),
                    a,
                    b,
                }),
                (Some(_), None) => pairing.unmatched.push(only_in(ours, Some(metric), a)),
                (None, Some(_)) => pairing.unmatched.push(only_in(ours, Some(metric), b)),
                (None, None) => {}
            }
        }
    }
    let missing = of_b.iter().filter(|theirs| !of_a.iter().any(|ours| ours.profile == theirs.profile));
    pairing.unmatched.extend(missing.map(|theirs| only_in(theirs, None, b)));
}
