//! Matching of the trials of HTTP of one experiment with those of the other.

use super::metric::{Measured, Metric};
use super::pairing::{Matched, Pairing, TOGETHER};
use super::statistics::Group;
use super::{Settings, Unmatched};
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::{Figure, StreamsUnit};
use linerate_results::summary::Summary;

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

    /// Of all repeats; `None` when one does not have it.
    fn mean(&self, of: fn(&HttpTrialSummary) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.trials.iter().map(|trial| of(trial)).collect();
        let values = values?;
        Some(values.iter().sum::<f64>() / values.len() as f64).filter(|mean| mean.is_finite() && *mean > 0.0)
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

/// From this change of the CPU time of an answer on, the CPUs may have changed: it is beyond what repeats on one machine scatter by.
const OTHER_CPUS_SHARE: f64 = 0.05;

/// A note when each answer took clients and backends more CPU time by the same share, or less, and they used as much of their CPUs
/// as before: answers per second then follow the CPU time of an answer, whatever has changed it.
fn other_cpus(a: &Repeats<'_>, b: &Repeats<'_>) -> Option<String> {
    let change = |of: fn(&HttpTrialSummary) -> Option<f64>| Some(b.mean(of)? / a.mean(of)? - 1.0);
    let (clients, backends) = (change(|trial| trial.client_cpu_us)?, change(|trial| trial.backend_cpu_us)?);
    let used = change(|trial| Some(trial.requests_per_s? * (trial.client_cpu_us? + trial.backend_cpu_us?)))?;
    let is_other = clients * backends > 0.0 && clients.abs().min(backends.abs()) >= OTHER_CPUS_SHARE;
    let is_alike = ((1.0 + clients) / (1.0 + backends) - 1.0).abs() < OTHER_CPUS_SHARE;
    (is_other && is_alike && used.abs() < OTHER_CPUS_SHARE).then(|| {
        format!(
            "{}: in B, an answer took clients {:+.0} % and backends {:+.0} % of CPU time, and both used as much of their CPUs: CPUs of another \
             speed would do that (another clock, a core shared with other machines), and so would a kernel that works more for each packet, \
             which is counted in the CPU time of both",
            a.profile,
            100.0 * clients,
            100.0 * backends
        )
    })
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
        pairing.notes.extend(other_cpus(ours, theirs));
        for metric in &settings.metrics {
            match (ours.group(metric), theirs.group(metric)) {
                (Some(of_a), Some(of_b)) => {
                    let (profile, pair, metric) = (ours.profile, TOGETHER, metric.clone());
                    let matched = Matched { profile, pair, metric, a: of_a, b: of_b };
                    pairing.add(matched, [(a, ours.trials.len()), (b, theirs.trials.len())]);
                }
                (Some(_), None) => pairing.unmatched.push(only_in(ours, Some(metric), a)),
                (None, Some(_)) => pairing.unmatched.push(only_in(ours, Some(metric), b)),
                (None, None) => {}
            }
        }
    }
    let missing = of_b.iter().filter(|theirs| !of_a.iter().any(|ours| ours.profile == theirs.profile));
    pairing.unmatched.extend(missing.map(|theirs| only_in(theirs, None, b)));
}

#[cfg(test)]
mod tests {
    use linerate_experiment::http::HttpTarget;
    use linerate_results::fixtures::http::{context, record};
    use linerate_results::fixtures::summary;
    use linerate_results::summary::Status;
    use linerate_wire::http::Arrivals;

    use super::*;

    /// Three repeats with these answers per second and µs of CPU time for each answer.
    fn run(requests_per_s: f64, client_us: f64, backend_us: f64) -> Summary {
        let trial =
            HttpTrialSummary::of(&record(HttpTarget::NftablesRandom, Arrivals::Closed, &[40, 60]), context());
        let repeat = |share: f64| HttpTrialSummary {
            requests_per_s: Some(requests_per_s * share),
            client_cpu_us: Some(client_us / share),
            backend_cpu_us: Some(backend_us / share),
            ..trial.clone()
        };
        Summary {
            trials: Vec::new(),
            http: [0.999, 1.0, 1.001].map(repeat).to_vec(),
            ..summary(Status::Complete)
        }
    }

    #[test]
    fn a_note_says_when_slower_cpus_explain_the_difference() {
        let a = run(86_000.0, 11.0, 11.2);
        let notes =
            |b: &Summary| super::super::compare(&a, b, &Settings::default()).unwrap().notes.join("; ");
        let slower = notes(&run(72_000.0, 13.1, 13.4));
        assert!(slower.contains("clients +19 % and backends +20 % of CPU time"), "{slower}");
        // The same CPUs; a backend that does more, alone and beside a client that does a little more; a balancer that lets both wait.
        for b in [
            run(85_000.0, 11.1, 11.3),
            run(72_000.0, 11.0, 15.5),
            run(72_000.0, 11.6, 15.0),
            run(60_000.0, 12.0, 12.2),
        ] {
            assert!(!notes(&b).contains("CPU time"), "{}", notes(&b));
        }
    }
}
