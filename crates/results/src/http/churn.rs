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
    /// Errors before it left; null when it did not.
    pub errors_before: Option<u64>,
    /// Errors from then on; null when it did not leave.
    pub errors: Option<u64>,
    /// Milliseconds in which there was an error, from when it left; null when it did not, or when errors came after the last that clients keep
    /// times of.
    pub error_ms: Option<u64>,
    /// Milliseconds from when it left to the first of these errors and to the last; null without one.
    pub first_error_ms: Option<u64>,
    /// To the last.
    pub last_error_ms: Option<u64>,
}

impl ChurnSummary {
    /// The absence in a trial; `None` when none was ordered, or its backend has no account.
    pub(super) fn of(record: &HttpTrialRecord) -> Option<Self> {
        let kind = record.spec.churn?.kind;
        let part = record.backends.last()?;
        let absence = part.report.as_ref()?.absence.unwrap_or_default();
        let mut bins: BTreeMap<u64, u64> = BTreeMap::new();
        let mut later = 0;
        for (_, load) in record.loads() {
            later += load.failures_without_time;
            for (ms, errors) in &load.failure_bins {
                *bins.entry(*ms).or_default() += errors;
            }
        }
        let left_ms = absence.left_ns.map(|ns| ns / 1_000_000);
        let seconds = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e9);
        let from = |left: u64| bins.range(left..);
        let since = |bin: Option<(&u64, &u64)>| bin.zip(left_ms).map(|((ms, _), left)| ms - left);
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
            errors_before: left_ms.map(|left| bins.range(..left).map(|(_, errors)| errors).sum()),
            errors: left_ms.map(|left| from(left).map(|(_, errors)| errors).sum::<u64>() + later),
            error_ms: left_ms.filter(|_| later == 0).map(|left| from(left).count() as u64),
            first_error_ms: since(left_ms.and_then(|left| from(left).next())),
            last_error_ms: since(left_ms.and_then(|left| from(left).next_back())),
        })
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
        let (Some(left), Some(returned), Some(errors)) = (self.left_s, self.returned_s, self.errors) else {
            return self.gap().unwrap_or_default();
        };
        let (backend, away) = (&self.backend, returned - left);
        let cost = match (errors, self.error_ms, self.last_error_ms) {
            (0, ..) => "no request failed".to_owned(),
            (_, Some(ms), Some(last)) => {
                format!("{errors} errors in {ms} ms, the last one {last} ms after it left")
            }
            _ => format!("{errors} errors"),
        };
        let back = match self.first_request_ms {
            Some(ms) => format!("the first request reached it {ms:.1} ms after its return"),
            None => "no request reached it after its return".to_owned(),
        };
        format!("{backend} was away for {away:.3} s from {left:.3} s on: {cost}; {back}")
    }
}

#[cfg(test)]
mod tests {
    use linerate_experiment::http::HttpTarget;
    use linerate_wire::http::{AbsenceReport, AbsenceWork, Arrivals};

    use super::*;
    use crate::fixtures::http::{context, record};
    use crate::http::HttpTrialSummary;

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

    #[test]
    fn what_is_not_known_is_not_told() {
        let later = trial(AWAY, &[(200, 4)], 2).churn.unwrap();
        assert_eq!((later.errors, later.error_ms), (Some(6), None));
        let lost = trial(AbsenceReport { returned_ns: None, first_request_ns: None, ..AWAY }, &[], 0);
        assert!(!lost.complete && lost.reasons[0].contains("did not come back"), "{:?}", lost.reasons);
        let never = trial(AbsenceReport::default(), &[(3, 1)], 0).churn.unwrap();
        assert_eq!((never.errors, never.errors_before, never.error_ms), (None, None, None));
        assert!(never.in_words().contains("was to go away, and did not"));
    }
}
