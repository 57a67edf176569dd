//! Matching of the trials of streams of one experiment with those of the other.

use super::metric::{Measured, Metric};
use super::pairing::{Matched, Pairing, TOGETHER};
use super::statistics::Group;
use super::{Settings, Unmatched};
use linerate_results::streams::{Figure, StreamsTrialSummary, StreamsUnit};
use linerate_results::summary::Summary;

/// Payload of a segment on Ethernet.
const SEGMENT_BYTES: f64 = 1448.0;

/// A figure of the repeats of one profile; `None` when no repeat has it.
pub(crate) fn streams_group(
    repeats: &[&StreamsTrialSummary],
    figure: &Figure<StreamsTrialSummary>,
) -> Option<Group> {
    let measured: Vec<Measured> = repeats.iter().filter_map(|trial| measured(trial, figure)).collect();
    Group::of(&measured)
}

fn measured(trial: &StreamsTrialSummary, figure: &Figure<StreamsTrialSummary>) -> Option<Measured> {
    let value = (figure.of)(trial)?;
    let message_bits = f64::from(trial.message_bytes) * 8.0;
    let resolution = match figure.unit {
        StreamsUnit::BitsPerSecond => message_bits / trial.duration_s,
        StreamsUnit::Share => 1.0 / units(trial).filter(|units| *units > 0.0)?,
        // CPU time is known to the nanosecond.
        StreamsUnit::SecondsPerGigabit | StreamsUnit::Seconds | StreamsUnit::Probability => 0.0,
        StreamsUnit::Number
        | StreamsUnit::Bytes
        | StreamsUnit::Datagrams
        | StreamsUnit::Segments
        | StreamsUnit::Requests
        | StreamsUnit::RequestsPerSecond
        | StreamsUnit::Microseconds
        | StreamsUnit::Nanoseconds => 1.0,
    };
    Some(Measured { value, resolution }).filter(|one| one.value.is_finite() && one.resolution.is_finite())
}

/// Number of the datagrams or, about, of the segments that were sent.
fn units(trial: &StreamsTrialSummary) -> Option<f64> {
    let segments = |bytes: u64| bytes as f64 / SEGMENT_BYTES;
    trial.sent_datagrams.map(|sent| sent as f64).or_else(|| trial.written_bytes.map(segments))
}

/// The repeats of one profile.
struct Repeats<'s> {
    profile: &'s str,
    trials: Vec<&'s StreamsTrialSummary>,
}

impl Repeats<'_> {
    fn group(&self, metric: &Metric) -> Option<Group> {
        streams_group(&self.trials, metric.streams_figure()?)
    }
}

fn gather(summary: &Summary) -> Vec<Repeats<'_>> {
    let mut gathered: Vec<Repeats<'_>> = Vec::new();
    for trial in &summary.streams {
        match gathered.iter_mut().find(|one| one.profile == trial.profile) {
            Some(repeats) => repeats.trials.push(trial),
            None => gathered.push(Repeats { profile: &trial.profile, trials: vec![trial] }),
        }
    }
    gathered
}

/// Adds the metrics of trials of streams that both sides have.
pub(super) fn pair_up<'s>(a: &'s Summary, b: &'s Summary, settings: &Settings, pairing: &mut Pairing<'s>) {
    let (of_a, of_b) = (gather(a), gather(b));
    let only_in = |repeats: &Repeats<'_>, metric: Option<&Metric>, summary: &Summary| Unmatched {
        profile: repeats.profile.to_owned(),
        pair: TOGETHER.to_owned(),
        metric: metric.cloned(),
        only_in: summary.experiment.id.clone(),
    };
    pairing.notes.extend([a, b].into_iter().flat_map(notes));
    for ours in &of_a {
        let Some(theirs) = of_b.iter().find(|theirs| theirs.profile == ours.profile) else {
            pairing.unmatched.push(only_in(ours, None, a));
            continue;
        };
        pairing.notes.extend(not_alike(ours, theirs));
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
    let is_load = |one: &Matched<'_>| one.pair == TOGETHER && one.metric.to_string().contains("received_bps");
    if pairing.matched.iter().any(is_load) {
        pairing.notes.extend(other_definition(a, b).or_else(|| other_definition(b, a)));
    }
    let missing = of_b.iter().filter(|theirs| !of_a.iter().any(|ours| ours.profile == theirs.profile));
    pairing.unmatched.extend(missing.map(|theirs| only_in(theirs, None, b)));
}

/// That `earlier` states received loads until the last arrival, as earlier versions did, and `later` does not; `None`
/// when that is not so.
fn other_definition(earlier: &Summary, later: &Summary) -> Option<String> {
    let has = |summary: &Summary, is_stated: bool| {
        let mut connections = summary.streams.iter().flat_map(|trial| &trial.worst_connections);
        connections.any(|one| one.received_bps.is_some() && one.received_over_s.is_some() == is_stated)
    };
    (has(earlier, false) && has(later, true)).then(|| {
        format!(
            "the received loads of {} are until the last arrival, as earlier versions stated them; those of {} are over the time of sending, \
             or of arriving where that is longer",
            earlier.experiment.id, later.experiment.id
        )
    })
}

/// Trials of an experiment whose rate is not that of all of their connections.
fn notes(summary: &Summary) -> Option<String> {
    let partial =
        |trial: &&StreamsTrialSummary| !trial.complete || trial.connections_alive < trial.connections;
    let (partial, of) = (summary.streams.iter().filter(partial).count(), summary.streams.len());
    let id = &summary.experiment.id;
    (partial > 0).then(|| format!("{id}: {partial} of {of} trials had silent or incomplete connections"))
}

/// Why trials of the same name are different; `None` when they are alike.
fn not_alike(a: &Repeats<'_>, b: &Repeats<'_>) -> Option<String> {
    let (first, second) = (a.trials.first()?, b.trials.first()?);
    let differ: Vec<&str> = [
        (first.transport != second.transport, "transports"),
        (first.connections != second.connections, "numbers of connections"),
        (first.parallel != second.parallel, "numbers of streams"),
        (first.rate != second.rate, "intended loads"),
        (first.message_bytes != second.message_bytes, "sizes of messages"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect();
    (!differ.is_empty()).then(|| format!("{}: the two have different {}", a.profile, differ.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Overall, compare};
    use super::*;
    use linerate_results::fixtures::streams::{mesh, pair, summary_of};
    use linerate_results::summary::{Status, TrialFailure};
    use linerate_wire::streams::Protocol;

    fn repeats(id: &str, protocol: Protocol) -> Summary {
        let trials: Vec<_> = (1..=5).map(|repeat| pair(protocol, 1, repeat)).collect();
        summary_of(&trials, id)
    }

    fn names(comparison: &super::super::Comparison) -> Vec<String> {
        comparison.compared.iter().map(|one| one.metric.to_string()).collect()
    }

    #[test]
    fn streams_are_compared_by_rate_harm_time_and_cpu() {
        let (a, b) = (repeats("aaaaaaaa", Protocol::Tcp), repeats("bbbbbbbb", Protocol::Tcp));
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!(names(&found), ["received_bps", "retransmit_ratio", "rtt_us", "cpu_s_per_gbit"]);
        assert!(found.compared.iter().all(|one| one.verdict == Outcome::Same), "{found:?}");
        let (a, b) = (repeats("aaaaaaaa", Protocol::Udp), repeats("bbbbbbbb", Protocol::Udp));
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!(names(&found), ["lost_ratio", "received_bps", "delay_p99_ns", "cpu_s_per_gbit"]);
        assert_eq!((found.compared[0].pair.as_str(), found.compared[0].a.repeats), ("together", 5));
    }

    #[test]
    fn received_loads_of_two_definitions_are_noted() {
        let a = repeats("aaaaaaaa", Protocol::Tcp);
        let mut b = repeats("bbbbbbbb", Protocol::Tcp);
        for one in b.streams.iter_mut().flat_map(|trial| &mut trial.worst_connections) {
            one.received_over_s = None;
        }
        let notes = |a: &Summary, b: &Summary, metric: &str| {
            let metrics = vec![Metric::parse(metric).unwrap()];
            compare(a, b, &Settings { metrics, ..Settings::default() }).unwrap().notes.join("; ")
        };
        let expected = "the received loads of bbbbbbbb are until the last arrival";
        for (one, other) in [(&a, &b), (&b, &a)] {
            let said = notes(one, other, "received_bps");
            assert!(said.starts_with(expected) && said.contains("those of aaaaaaaa"), "{said}");
        }
        assert_eq!(notes(&a, &b, "rtt_us") + &notes(&b, &b, "received_bps"), "");
    }

    #[test]
    fn more_cpu_for_the_same_rate_is_worse_and_less_is_better() {
        let a = repeats("aaaaaaaa", Protocol::Tcp);
        let mut b = repeats("bbbbbbbb", Protocol::Tcp);
        for (trial, noise) in b.streams.iter_mut().zip([1.3, 1.31, 1.29, 1.3, 1.3]) {
            trial.cpu_s_per_gbit = trial.cpu_s_per_gbit.map(|seconds| seconds * noise);
        }
        let metrics = vec![Metric::parse("cpu_s_per_gbit").unwrap()];
        let settings = Settings { metrics, ..Settings::default() };
        let found = compare(&a, &b, &settings).unwrap();
        assert_eq!((found.verdict, found.compared[0].verdict), (Overall::Regression, Outcome::Worse));
        let found = compare(&b, &a, &settings).unwrap();
        assert_eq!(found.compared[0].verdict, Outcome::Better);
    }

    #[test]
    fn repeats_without_a_value_leave_no_verdict_on_all() {
        let a = repeats("aaaaaaaa", Protocol::Tcp);
        let settings = Settings { metrics: vec![Metric::parse("rtt_us").unwrap()], ..Settings::default() };
        let verdict = |b: &Summary| {
            let found = compare(&a, b, &settings).unwrap();
            (found.verdict, found.notes.join("; "))
        };
        let b = repeats("bbbbbbbb", Protocol::Tcp);
        assert_eq!(verdict(&b), (Overall::NoRegression, String::new()));
        // Without one repeat's value; without two of its trials; without one that was not run any more.
        let mut unknown = b.clone();
        unknown.streams[4].rtt_us = None;
        let profile = &b.streams[0].profile;
        let (overall, notes) = verdict(&unknown);
        assert_eq!(overall, Overall::CannotTell);
        assert_eq!(notes, format!("bbbbbbbb: 1 of 5 repeats of {profile} on together have no rtt_us"));
        let mut failed = b.clone();
        let fixture = linerate_results::fixtures::summary(Status::Complete);
        for trial in failed.streams.split_off(3) {
            let (profile, repeat) = (trial.profile, trial.repeat);
            failed.failures.push(TrialFailure { profile, repeat, ..fixture.failures[0].clone() });
        }
        let (overall, notes) = verdict(&failed);
        assert_eq!(overall, Overall::CannotTell);
        assert!(notes.contains(&format!("2 repeats of {profile} on together have no result")), "{notes}");
        let mut interrupted = Summary { status: Status::Interrupted, ..b };
        interrupted.experiment.planned_trials = 6;
        let (overall, notes) = verdict(&interrupted);
        assert_eq!(overall, Overall::CannotTell);
        assert!(notes.contains("bbbbbbbb: 1 of 6 trials were not run"), "{notes}");
    }

    #[test]
    fn what_only_one_side_has_is_said() {
        let a = repeats("aaaaaaaa", Protocol::Tcp);
        let mut b = repeats("bbbbbbbb", Protocol::Tcp);
        b.streams.iter_mut().for_each(|trial| (trial.rtt_us, trial.parallel) = (None, 2));
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!(found.unmatched[0].metric, Metric::parse("rtt_us"));
        assert!(found.notes.iter().any(|note| note.ends_with("different numbers of streams")), "{found:?}");
        let mesh = summary_of(&[mesh(Protocol::Tcp, 3, &["net0"])], "cccccccc");
        let found = compare(&a, &mesh, &Settings::default()).unwrap();
        let note = "cccccccc: 1 of 1 trials had silent or incomplete connections";
        assert!(found.notes.iter().any(|text| text == note), "{:?}", found.notes);
        let frames = linerate_results::fixtures::summary(linerate_results::summary::Status::Complete);
        assert!(compare(&a, &frames, &Settings::default()).is_err());
    }
}
