//! The gate: a trial begins when every backend has answered every client, several times in a row, in fresh connections.
//!
//! A backend that is ready is not yet balanced to: rules and tables follow later, on each node at its own time.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use linerate_results::http::GatePart;
use linerate_wire::http::{Destination, GateReport, HttpGate, HttpPart, HttpWork};
use linerate_wire::message::{Acknowledge, Command, Event, Start, TrialFailed};
use linerate_wire::report::ReportDetail;
use linerate_wire::trial::{TrialSpec, Work};
use tokio::time::{Instant, sleep, sleep_until};

use super::trial::Context;
use crate::run::part::{self, KernelAgent, NotRun, Part, step};
use crate::run::trial::Stopped;
use crate::session::{ANSWER_TIME, WORK_TIME};

/// Time beyond its limit for a client to give the gate up.
const GRACE: Duration = Duration::from_secs(10);
/// Time after which the observer is told of the wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Probes for each answer that is needed, below which they were too few.
const FEW_TIMES: u64 = 3;
/// Most silent backends that an error names.
const MOST_NAMED: usize = 8;

/// Waits at the gate; returns the clients' accounts.
pub(super) async fn pass(
    context: &Context<'_>,
    clients: &[KernelAgent],
    destination: &Destination,
    backends: &[String],
) -> Result<Vec<GatePart>, NotRun> {
    let profile = &context.trial.profile;
    let work = HttpWork::Gate(HttpGate {
        destination: destination.clone(),
        backends: backends.to_vec(),
        times: profile.gate_times,
        limit_ms: profile.gate_limit_ms,
    });
    let waiting = join_all(clients.iter().map(|client| wait(context, client, &work)));
    let told = async {
        sleep(PATIENCE).await;
        context.observer.phase(&format!(
            "{}: waiting until {} answers every client through {}",
            profile.name,
            match backends.len() {
                0 => "the target".to_owned(),
                several => format!("each of {several} backends"),
            },
            profile.target
        ));
        std::future::pending::<()>().await;
    };
    let parts = tokio::select! {
        parts = waiting => parts,
        () = told => Vec::new(),
    };
    let mut reports = Vec::with_capacity(clients.len());
    for (place, (client, part)) in clients.iter().zip(parts).enumerate() {
        match part {
            Part::Reported(report) => {
                reports.push(GatePart { agent: client.name().to_owned(), report: report.detail });
            }
            Part::Lost(reason) => return Err(NotRun::Lost(vec![(place, reason)])),
            Part::Failed(reason) => return Err(NotRun::Refused(reason)),
        }
    }
    match closed(&reports, profile.gate_limit_ms, profile.gate_times) {
        Some(reason) => Err(NotRun::Refused(reason)),
        None => Ok(reports),
    }
}

/// Why the gate stayed closed; `None` when it is open.
fn closed(reports: &[GatePart], limit_ms: u32, times: u32) -> Option<String> {
    let shut = reports.iter().find(|part| !part.report.passed)?;
    let wanted = shut.report.backends.len().max(1) as u64 * u64::from(times);
    // The path was slow, not the backends silent: a balancer that picks at random needs some times as many.
    if shut.report.failed == 0 && shut.report.probes < FEW_TIMES * wanted {
        return Some(format!(
            "the gate stayed closed for {:.1} s: all {} probes of {} were answered, and they are too few for {times} answers of each of {} \
             backends in a row; raise spec.http.gate.timeout, or lower spec.http.gate.times",
            f64::from(limit_ms) / 1e3,
            shut.report.probes,
            shut.agent,
            shut.report.backends.len()
        ));
    }
    let silent: BTreeSet<&str> = reports
        .iter()
        .filter(|part| !part.report.passed)
        .flat_map(|part| &part.report.backends)
        .filter(|(_, answers)| answers.answers == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    let named: Vec<&str> = silent.iter().copied().take(MOST_NAMED).collect();
    let more = silent.len() - named.len();
    let who = match silent.len() {
        0 if shut.report.backends.is_empty() => "the target answered too seldom in a row".to_owned(),
        0 => "some backends answered too seldom in a row".to_owned(),
        _ if more > 0 => format!("{} and {more} more did not answer", named.join(", ")),
        _ => format!("{} did not answer", named.join(", ")),
    };
    let GateReport { probes, failed, last_failure, .. } = &shut.report;
    let last = last_failure.as_ref().map_or(String::new(), |why| format!(", the latest because {why}"));
    Some(format!(
        "the gate stayed closed for {:.1} s: {who} to {} ({failed} of its {probes} probes failed{last}); look after the backends, or raise \
         spec.http.gate.timeout",
        f64::from(limit_ms) / 1e3,
        shut.agent
    ))
}

/// Has a client probe, and takes its account.
async fn wait(context: &Context<'_>, client: &KernelAgent, work: &HttpWork) -> Part<GateReport> {
    let part = match probe(context, client, work).await {
        Ok(()) => {
            part::report(client, "HTTP", |detail| match detail {
                ReportDetail::Http(report) => match report.part {
                    HttpPart::Gate(gate) => Some(gate),
                    HttpPart::Load(_) | HttpPart::Serve(_) => None,
                },
                _ => None,
            })
            .await
        }
        Err(stopped) => stopped,
    };
    if let Part::Reported(_) = &part {
        let done = Command::Acknowledge(Acknowledge { trial: context.gate_id });
        if let Err(stopped) = step(client, done, ANSWER_TIME).await {
            return Part::of(&stopped);
        }
    }
    part
}

async fn probe(context: &Context<'_>, client: &KernelAgent, work: &HttpWork) -> Result<(), Part<GateReport>> {
    let gone = |stopped: Stopped| Part::of(&stopped);
    let spec = TrialSpec {
        trial: context.gate_id,
        work: Work::Http(Box::new(work.clone())),
        sample_interval_ms: context.settings.sample_interval.millis_u32(),
        orphan_ms: context.settings.orphan.millis_u32(),
        interrupts: false,
    };
    step(client, Command::Prepare(Box::new(spec)), WORK_TIME).await.map_err(gone)?;
    step(client, Command::Arm, WORK_TIME).await.map_err(gone)?;
    step(client, Command::Start(Start::default()), ANSWER_TIME).await.map_err(gone)?;
    let limit = Duration::from_millis(context.trial.profile.gate_limit_ms.into());
    let due = Instant::now() + limit + GRACE;
    loop {
        let event = tokio::select! {
            event = client.session.next_event() => event,
            () = sleep_until(due) => {
                return Err(Part::Lost(format!("{} did not end its probes", client.name())));
            }
        };
        match event {
            Ok(Event::Finished(Acknowledge { trial })) if trial == context.gate_id => return Ok(()),
            Ok(Event::Failed(TrialFailed { trial, message })) if trial == context.gate_id => {
                return Err(Part::Failed(format!("{} gave the gate up: {message}", client.name())));
            }
            Ok(_) => {}
            Err(error) => return Err(Part::Lost(Stopped::by(client, error).await.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_wire::http::GateAnswers;

    #[test]
    fn a_closed_gate_names_the_silent_backends() {
        let part = |agent: &str, passed, silent: &[&str]| {
            let answers = |answers| GateAnswers { answers, first_ns: None };
            let mut backends: std::collections::BTreeMap<String, GateAnswers> =
                silent.iter().map(|name| ((*name).to_owned(), answers(0))).collect();
            backends.insert("b0".to_owned(), answers(5));
            let report = GateReport {
                passed,
                probes: 9,
                failed: 2,
                last_failure: Some("connection refused".into()),
                backends,
                ..GateReport::default()
            };
            GatePart { agent: agent.to_owned(), report }
        };
        assert_eq!(closed(&[part("c0", true, &[])], 1000, 3), None);
        let told = closed(&[part("c0", true, &[]), part("c1", false, &["b2", "b1"])], 1500, 3).unwrap();
        assert!(told.starts_with("the gate stayed closed for 1.5 s: b1, b2 did not answer to c1"), "{told}");
        assert!(told.contains("2 of its 9 probes failed, the latest because connection refused"), "{told}");
        // Without a failure, so few probes say that the path is slow.
        let mut slow = part("c0", false, &["b1"]);
        slow.report.failed = 0;
        let told = closed(std::slice::from_ref(&slow), 1500, 3).unwrap();
        assert!(told.contains("all 9 probes of c0 were answered") && told.contains("gate.timeout"), "{told}");
        slow.report.probes = 18;
        let told = closed(&[slow], 1500, 3).unwrap();
        assert!(told.contains("b1 did not answer"), "{told}");
    }
}
