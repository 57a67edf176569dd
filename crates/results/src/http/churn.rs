//! Churn: what the absence of a backend cost. Pure.

use std::collections::BTreeMap;

use linerate_wire::http::AbsenceKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::HttpTrialRecord;

/// The absence of a backend in a trial. Errors are requests that failed or were answered with 5xx, at the time at which clients knew it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChurnSummary {
    /// The backend.
    pub backend: String,
    /// How it was away.
    pub kind: AbsenceKind,
    /// Seconds from the start of the trial until it left; null when it did not.
    pub left_s: Option<f64>,
    /// Seconds from the start of the trial until it listened again; null when it did not.
    pub returned_s: Option<f64>,
    /// Milliseconds from its return until it had read a request of a new connection; null when none reached it.
    pub first_request_ms: Option<f64>,
    /// Connections that it reset when it left.
    pub cut_connections: u64,
    /// Errors before it left; null when it did not, or when errors may have come before it whose times clients did not keep.
    pub errors_before: Option<u64>,
    /// Errors from then on; null likewise.
    pub errors: Option<u64>,
    /// Milliseconds in which there was an error, from when it left; null when it did not, or when errors came after the last that clients keep
    /// times of.
    pub error_ms: Option<u64>,
    /// Milliseconds from when it left to the first of these errors and to the last; null without one.
    pub first_error_ms: Option<u64>,
    /// To the last; null also when errors came after the last that clients keep times of.
    pub last_error_ms: Option<u64>,
    /// Milliseconds from when it left until the last new connection reached it while it was away; null without one.
    #[serde(default)]
    pub last_connection_ms: Option<u64>,
    /// Milliseconds by which these times may be wrong, because clients and backend have clocks of their own: errors so long before it left count
    /// from then on. Null in older results.
    #[serde(default)]
    pub uncertainty_ms: Option<u64>,
}

/// Errors of all clients, by millisecond since the start of the backend that was away.
struct Errors {
    bins: BTreeMap<i64, u64>,
    /// Errors after the last millisecond that a client keeps.
    later: u64,
    /// The earliest of these last milliseconds; `None` when every error has its time.
    complete_until: Option<i64>,
    /// Milliseconds by which the times of clients and backend may differ: at least the width of a bin; `None` in records that do not have the
    /// agents' starts.
    uncertainty_ms: Option<i64>,
}

impl Errors {
    fn of(record: &HttpTrialRecord, backend: &str) -> Self {
        let began =
            |agent: &str| record.starts.as_ref().and_then(|starts| starts.after_ns.get(agent)).copied();
        let uncertainty_ms = record.starts.as_ref().map(|starts| {
            i64::try_from(starts.uncertainty_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX).max(1)
        });
        let mut errors = Self { bins: BTreeMap::new(), later: 0, complete_until: None, uncertainty_ms };
        for (client, load) in record.loads() {
            let ahead_ns = began(client).zip(began(backend)).map_or(0, |(client, backend)| {
                i64::try_from(i128::from(client) - i128::from(backend)).unwrap_or(0)
            });
            let at = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_add(ahead_ns / 1_000_000);
            for (ms, count) in &load.failure_bins {
                let bin: &mut u64 = errors.bins.entry(at(*ms)).or_default();
                *bin = bin.saturating_add(*count);
            }
            if load.failures_without_time > 0 {
                errors.later = errors.later.saturating_add(load.failures_without_time);
                let last = load.failure_bins.last().map_or(i64::MIN, |(ms, _)| at(*ms));
                errors.complete_until = Some(errors.complete_until.map_or(last, |before| before.min(last)));
            }
        }
        errors
    }
}

fn sum<'e>(bins: impl Iterator<Item = (&'e i64, &'e u64)>) -> u64 {
    bins.map(|(_, errors)| *errors).fold(0, u64::saturating_add)
}

impl ChurnSummary {
    /// The absence in a trial; `None` when none was ordered, or its backend has no account.
    pub(super) fn of(record: &HttpTrialRecord) -> Option<Self> {
        let kind = record.spec.churn?.kind;
        let part = record.backends.last()?;
        let absence = part.report.as_ref()?.absence.unwrap_or_default();
        let Errors { bins, later, complete_until, uncertainty_ms } = Errors::of(record, &part.agent);
        let left_ms = absence.left_ns.map(|ns| (ns / 1_000_000) as i64);
        // Errors of its leave are not to count as earlier ones only because clocks differ.
        let from_ms = left_ms.map(|left| left.saturating_sub(uncertainty_ms.unwrap_or(0)));
        let seconds = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e9);
        let from = |ms: i64| bins.range(ms..);
        let since = |bin: Option<(&i64, &u64)>| {
            bin.zip(left_ms).map(|((ms, _), left)| u64::try_from(ms.saturating_sub(left)).unwrap_or(0))
        };
        // Errors without a time may be earlier ones, too.
        let known = from_ms.filter(|from| complete_until.is_none_or(|until| until >= *from));
        Some(Self {
            backend: part.agent.clone(),
            kind,
            left_s: seconds(absence.left_ns),
            returned_s: seconds(absence.returned_ns),
            first_request_ms: absence
                .first_request_ns
                .zip(absence.returned_ns)
                .map(|(first, returned)| first.saturating_sub(returned) as f64 / 1e6),
            cut_connections: absence.cut_connections,
            errors_before: known.map(|ms| sum(bins.range(..ms))),
            errors: known.map(|ms| sum(from(ms)).saturating_add(later)),
            error_ms: from_ms.filter(|_| later == 0).map(|ms| from(ms).count() as u64),
            first_error_ms: since(from_ms.and_then(|ms| from(ms).next())),
            last_error_ms: since(from_ms.filter(|_| later == 0).and_then(|ms| from(ms).next_back())),
            last_connection_ms: absence
                .last_connection_ns
                .zip(absence.left_ns)
                .map(|(last, left)| last.saturating_sub(left) / 1_000_000),
            uncertainty_ms: uncertainty_ms.and_then(|ms| u64::try_from(ms).ok()),
        })
    }

    /// Errors that were ordered: from when it left until requests that met its absence have reached their time limit. `None` where clocks were
    /// not compared, as in older results, and of a backend that was not ready: it serves all the time, so that nothing has to fail.
    pub(super) fn ordered(&self, record: &HttpTrialRecord) -> Option<u64> {
        let errors = self.errors.filter(|_| self.kind != AbsenceKind::NotReady)?;
        let uncertainty_ms = i64::try_from(self.uncertainty_ms?).unwrap_or(i64::MAX);
        let absence = record.backends.last()?.report.as_ref()?.absence?;
        let Some(returned_ns) = absence.returned_ns else { return Some(errors) };
        let slack_ms = uncertainty_ms.saturating_add(record.spec.timeout_ms.into());
        let until = ((returned_ns / 1_000_000) as i64).saturating_add(slack_ms);
        let Errors { bins, later, complete_until, .. } = Errors::of(record, &self.backend);
        let after = sum(bins.range(until.saturating_add(1)..));
        let later = if complete_until.is_some_and(|last| last >= until) { later } else { 0 };
        let after = after.saturating_add(later);
        Some(errors.saturating_sub(after))
    }

    /// Why it is not the absence that was ordered; `None` when it is.
    pub(super) fn gap(&self) -> Option<String> {
        let backend = &self.backend;
        match (self.left_s, self.returned_s) {
            (None, _) => Some(format!("{backend} was to go away, and did not")),
            (_, None) => Some(format!("{backend} went away, and did not come back")),
            _ => None,
        }
    }

    /// What it cost, in a sentence.
    pub fn in_words(&self) -> String {
        let (Some(left), Some(returned)) = (self.left_s, self.returned_s) else {
            return self.gap().unwrap_or_default();
        };
        let (backend, away) = (&self.backend, returned - left);
        let cost = match (self.errors, self.error_ms, self.last_error_ms) {
            (None, ..) => "how many requests failed is not known".to_owned(),
            (Some(0), ..) => "no request failed".to_owned(),
            (Some(errors), Some(ms), Some(last)) => {
                format!("{errors} errors in {ms} ms, the last one {last} ms after it left")
            }
            (Some(errors), ..) => format!("{errors} errors"),
        };
        // Connections that it kept may have brought requests all the time.
        let kept = self.kind != AbsenceKind::Killed;
        let back = match self.first_request_ms {
            Some(ms) if kept => {
                format!("the first request of a new connection reached it {ms:.1} ms after its return")
            }
            Some(ms) => format!("the first request reached it {ms:.1} ms after its return"),
            None if kept => "no new connection brought it a request after its return".to_owned(),
            None => "no request reached it after its return".to_owned(),
        };
        let (was, drained) = match (self.kind, self.last_connection_ms) {
            (AbsenceKind::NotReady, Some(ms)) => {
                ("not ready", format!("; new connections reached it for {ms} ms"))
            }
            (AbsenceKind::NotReady, None) => ("not ready", "; no new connection reached it".to_owned()),
            (AbsenceKind::Killed | AbsenceKind::NotAccepting, _) => ("away", String::new()),
        };
        format!("{backend} was {was} for {away:.3} s from {left:.3} s on: {cost}{drained}; {back}")
    }
}

#[cfg(test)]
mod tests {
    use linerate_experiment::http::HttpTarget;
    use linerate_wire::http::{AbsenceReport, AbsenceWork, Arrivals};

    use super::*;
    use crate::fixtures::http::{context, record};
    use crate::http::{AgentStarts, HttpTrialSummary};

    fn trial(absence: AbsenceReport, bins: &[(u64, u64)], later: u64) -> HttpTrialSummary {
        let mut record = record(HttpTarget::NftablesRandom, Arrivals::Constant(100.0), &[40, 60]);
        record.spec.churn = Some(AbsenceWork { after_ms: 200, for_ms: 300, kind: AbsenceKind::Killed });
        record.backends[1].report.as_mut().unwrap().absence = Some(absence);
        let load = record.clients[0].report.as_mut().unwrap();
        (load.failure_bins, load.failures_without_time) = (bins.to_vec(), later);
        HttpTrialSummary::of(&record, context())
    }

    const AWAY: AbsenceReport = AbsenceReport {
        left_ns: Some(200_400_000),
        returned_ns: Some(500_100_000),
        first_request_ns: Some(510_100_000),
        cut_connections: 4,
        last_connection_ns: None,
    };

    #[test]
    fn errors_count_from_when_the_backend_left() {
        let trial = trial(AWAY, &[(10, 1), (200, 4), (201, 2), (499, 3)], 0);
        assert_eq!(trial.evenness, None, "the balancer is not uneven for it");
        let churn = trial.churn.unwrap();
        assert_eq!(churn.backend, "b1");
        assert_eq!((churn.errors_before, churn.errors, churn.error_ms), (Some(1), Some(9), Some(3)));
        assert_eq!((churn.first_error_ms, churn.last_error_ms), (Some(0), Some(299)));
        assert_eq!(churn.first_request_ms, Some(10.0));
        assert!(trial.complete, "{:?}", trial.reasons);
        assert_eq!(
            churn.in_words(),
            "b1 was away for 0.300 s from 0.200 s on: 9 errors in 3 ms, the last one 299 ms after it left; the first request reached it \
             10.0 ms after its return"
        );
    }

    /// The client began `ahead_ms` later than the backend; their clocks may differ by `uncertainty_ms`.
    fn apart(ahead_ms: u64, uncertainty_ms: u64, bins: &[(u64, u64)]) -> ChurnSummary {
        let mut record = record(HttpTarget::NftablesRandom, Arrivals::Constant(100.0), &[40, 60]);
        record.spec.churn = Some(AbsenceWork { after_ms: 200, for_ms: 300, kind: AbsenceKind::Killed });
        record.backends[1].report.as_mut().unwrap().absence = Some(AWAY);
        record.clients[0].report.as_mut().unwrap().failure_bins = bins.to_vec();
        let after_ns = [("c0", ahead_ms * 1_000_000), ("b1", 0)].map(|(name, ns)| (name.to_owned(), ns));
        record.starts =
            Some(AgentStarts { after_ns: after_ns.into(), uncertainty_ns: uncertainty_ms * 1_000_000 });
        HttpTrialSummary::of(&record, context()).churn.unwrap()
    }

    #[test]
    fn clocks_of_clients_and_backend_are_one() {
        for (ahead_ms, uncertainty_ms, at_ms, before, from_then_on) in [
            (0, 0, 196, 5, 0),
            (0, 0, 199, 0, 5),
            // A client that began later knew of them later.
            (20, 0, 185, 0, 5),
            (20, 0, 170, 5, 0),
            // What may be an error of the leave is one.
            (0, 10, 192, 0, 5),
        ] {
            let churn = apart(ahead_ms, uncertainty_ms, &[(at_ms, 5)]);
            let found = (churn.errors_before, churn.errors, churn.uncertainty_ms);
            let expected = (Some(before), Some(from_then_on), Some(uncertainty_ms.max(1)));
            assert_eq!(found, expected, "{ahead_ms} {uncertainty_ms} {at_ms}");
        }
        assert_eq!(apart(0, 10, &[(192, 5)]).first_error_ms, Some(0));
    }

    #[test]
    fn a_backend_that_is_not_ready_tells_how_long_it_was_still_balanced_to() {
        let mut record = record(HttpTarget::ClusterIp, Arrivals::Constant(100.0), &[40, 60]);
        record.spec.churn = Some(AbsenceWork { after_ms: 200, for_ms: 300, kind: AbsenceKind::NotReady });
        let absence = AbsenceReport { last_connection_ns: Some(300_400_000), cut_connections: 0, ..AWAY };
        record.backends[1].report.as_mut().unwrap().absence = Some(absence);
        let churn = HttpTrialSummary::of(&record, context()).churn.unwrap();
        assert_eq!(churn.last_connection_ms, Some(100));
        assert_eq!(
            churn.in_words(),
            "b1 was not ready for 0.300 s from 0.200 s on: no request failed; new connections reached it for 100 ms; the first request of a \
             new connection reached it 10.0 ms after its return"
        );
        let never = ChurnSummary { first_request_ms: None, ..churn };
        let words = never.in_words();
        assert!(words.ends_with("no new connection brought it a request after its return"), "{words}");
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let later = trial(AWAY, &[(200, 4)], 2).churn.unwrap();
        assert_eq!((later.errors, later.error_ms, later.last_error_ms), (Some(6), None, None));
        // The times that were kept end before it left.
        let earlier = trial(AWAY, &[(100, 4)], 2).churn.unwrap();
        assert_eq!((earlier.errors, earlier.errors_before), (None, None));
        assert!(earlier.in_words().contains("is not known"), "{}", earlier.in_words());
        let lost = trial(AbsenceReport { returned_ns: None, first_request_ns: None, ..AWAY }, &[], 0);
        assert!(!lost.complete && lost.reasons[0].contains("did not come back"), "{:?}", lost.reasons);
        let never = trial(AbsenceReport::default(), &[(3, 1)], 0).churn.unwrap();
        assert_eq!((never.errors, never.errors_before, never.error_ms), (None, None, None));
        assert!(never.in_words().contains("was to go away, and did not"));
    }
}
