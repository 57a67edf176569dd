//! Plans and results of HTTP as tables.

use linerate_experiment::http::HttpView;
use linerate_results::http::{HttpSearchSummary, HttpTrialSummary, LatencyBasis};
use linerate_results::summary::Summary;
use linerate_wire::http::Arrivals;
use linerate_wire::report::LatencySummary;

use crate::cli::grid::Grid;
use crate::cli::table::{count, recoveries};
use crate::cli::words::microseconds;

/// Mark before a number that tells of a fault.
const MARK: &str = "! ";

/// The trials of a plan.
pub(in crate::cli) fn plan(view: &HttpView, width: Option<usize>) -> String {
    let columns =
        ["#", "profile", "target", "backends", "connections", "threads", "rate", "repeat", "seconds"];
    let mut table = Grid::new(&columns, 3..9).names(&[1]).expendable(&[5, 2, 3]);
    for (index, trial) in view.trials.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            trial.profile.clone(),
            trial.target.clone(),
            trial.backends.to_string(),
            trial.connections.to_string(),
            trial.threads.to_string(),
            match trial.arrivals {
                Arrivals::Closed => "max".to_owned(),
                Arrivals::Constant(rate) => format!("{rate}/s"),
                Arrivals::Poisson(rate) => format!("{rate}/s poisson"),
            },
            trial.repeat.to_string(),
            format!("{:.3}", trial.duration_s),
        ]);
    }
    let clients = count(view.clients as usize, "client");
    let backends = count(view.backends as usize, "backend");
    let Some(estimated_s) = view.estimated_s else {
        let searches: String = view.searches.iter().map(|name| format!("{name}\n")).collect();
        return format!(
            "{searches}{}: {} of {clients} with {backends} at most, each until its bounds are close enough",
            view.experiment,
            count(view.searches.len(), "search"),
        );
    };
    format!(
        "{}\n{}: {} of {clients} with {backends} at most; total time about {estimated_s:.0} s",
        table.render(width),
        view.experiment,
        count(view.trials.len(), "trial"),
    )
}

/// Trials and failures of an experiment, on a terminal of that `width`.
pub(in crate::cli) fn trials(summary: &Summary, width: Option<usize>) -> String {
    let columns = [
        "profile",
        "repeat",
        "intended/s",
        "requests/s",
        "errors %",
        "p50 µs",
        "p99 µs",
        "max µs",
        "service p99 µs",
        "spread p",
        "gate s",
        "verdict",
    ];
    let mut table = Grid::new(&columns, 1..11).names(&[0]).expendable(&[10, 1, 8, 7, 2]);
    let rate = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
    let time = |latency: Option<LatencySummary>, of: fn(&LatencySummary) -> u64| {
        latency.map_or("-".to_owned(), |latency| microseconds(of(&latency) as f64))
    };
    for trial in &summary.http {
        let latency = trial.latency_ns();
        let errors = trial.error_share.map_or("-".to_owned(), |share| format!("{:.3}", share * 100.0));
        let bad = if trial.error_share.is_some_and(|share| share > 0.0) { MARK } else { "" };
        table.add_row([
            format!("{}{}", if trial.complete { "" } else { MARK }, trial.profile),
            trial.repeat.to_string(),
            trial.intended_per_s.map_or("max".to_owned(), |value| format!("{value:.0}")),
            rate(trial.requests_per_s),
            format!("{bad}{errors}"),
            time(latency, |one| one.p50),
            time(latency, |one| one.p99),
            time(latency, |one| one.max),
            time(trial.service_ns, |one| one.p99),
            trial.evenness.and_then(|one| one.p_value).map_or("-".to_owned(), |p| format!("{p:.3}")),
            format!("{:.2}", trial.gate.waited_s),
            trial.verdict.kind.to_string(),
        ]);
    }
    let mut text = String::new();
    if !summary.http.is_empty() {
        text.push_str(&format!("{}\n", table.render(width)));
    }
    for trial in &summary.http {
        remarks(trial, &mut text);
    }
    for result in summary.http_searches.iter().flat_map(HttpSearchSummary::in_words) {
        text.push_str(&format!("found: {result}\n"));
    }
    for failure in &summary.failures {
        text.push_str(&format!("not finished: {}: {}\n", failure.profile, failure.reason));
    }
    text.push_str(&recoveries(summary));
    if summary.http.iter().any(|trial| trial.latency_basis == LatencyBasis::Service) {
        text.push_str(
            "p50, p99 and max of closed loops are service times: while servers stall nothing is sent, so they look too good then\n",
        );
    }
    let info = &summary.experiment;
    text.push_str(&format!("{} {}: {}", info.id, info.name, summary.status));
    text
}

/// What a reader must know of a trial.
fn remarks(trial: &HttpTrialSummary, text: &mut String) {
    let name = match trial.repeat {
        1 => trial.profile.clone(),
        repeat => format!("{} repeat {repeat}", trial.profile),
    };
    for lost in &trial.lost_agents {
        text.push_str(&format!("{MARK}{name}: {} took no part to the end: {}\n", lost.agent, lost.reason));
    }
    if !trial.complete {
        for reason in trial.reasons.iter().take(3) {
            text.push_str(&format!("{MARK}{name}: {reason}\n"));
        }
    }
    if trial.gate.failed > 0 {
        let last = trial.gate.last_failure.as_deref().unwrap_or("without a reason");
        text.push_str(&format!(
            "{name}: waited {:.1} s for {}; {} of {} probes were repeated, the latest because {last}\n",
            trial.gate.waited_s,
            trial.gate.last_backend.as_deref().unwrap_or("the target"),
            trial.gate.failed,
            trial.gate.probes,
        ));
    }
    if let Some(churn) = &trial.churn {
        text.push_str(&format!("{name}: {}\n", churn.in_words()));
    }
    if let Some(left_out) = trial.left_out() {
        text.push_str(&format!("{MARK}{name}: {left_out}\n"));
    }
    let requests = &trial.requests;
    let agree = agreement(trial);
    text.push_str(&format!(
        "{name}: {} intended = {} sent + {} skipped; sent = {} answered + {} failed + {} unfinished{agree}; {}\n",
        requests.intended,
        requests.sent,
        requests.skipped,
        requests.answered,
        requests.failures(),
        requests.unfinished,
        trial.verdict.evidence
    ));
}

/// What the backends' own counts say of the answers, where both ends agree; empty where a backend has none.
fn agreement(trial: &HttpTrialSummary) -> String {
    let shares = trial.by_backend.values().map(|share| Some((share.answered?, share.answers)));
    let Some(counts) = shares.collect::<Option<Vec<(u64, u64)>>>() else { return String::new() };
    if !trial.complete || trial.backends == 0 || counts.is_empty() {
        return String::new();
    }
    if counts.iter().all(|(wrote, arrived)| wrote == arrived) {
        return "; the backends counted the same".to_owned();
    }
    let sum = |of: fn(&(u64, u64)) -> u64| counts.iter().map(of).fold(0, u64::saturating_add);
    let (wrote, arrived) = (sum(|one| one.0), sum(|one| one.1));
    format!(
        "; the backends wrote {wrote} answers, {} more than arrived: those of requests that clients gave up",
        wrote.saturating_sub(arrived)
    )
}

#[cfg(test)]
mod tests {
    use linerate_experiment::http::HttpTarget;
    use linerate_results::fixtures::http::{context, record};

    use super::*;

    #[test]
    fn backends_counted_the_same_only_where_each_did() {
        let record = record(HttpTarget::NftablesRandom, Arrivals::Closed, &[40, 60]);
        let trial = HttpTrialSummary::of(&record, context());
        assert!(trial.complete, "{:?}", trial.reasons);
        assert_eq!(agreement(&trial), "; the backends counted the same");
        let with = |answered: Option<u64>| {
            let mut trial = trial.clone();
            trial.by_backend.values_mut().next().unwrap().answered = answered;
            agreement(&trial)
        };
        assert_eq!(
            with(Some(42)),
            "; the backends wrote 102 answers, 2 more than arrived: those of requests that clients gave up"
        );
        assert_eq!(with(None), "", "one has no account");
    }
}
