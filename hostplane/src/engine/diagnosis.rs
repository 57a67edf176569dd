//! Diagnosis as the work of an agent: it answers measurements where its streams arrive, or makes them.
//!
//! Measurements are made on a thread of their own with workers of their own, as by hand. The thread ends by itself: every
//! measurement is bounded, and a stop is seen between two of them and within each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linerate_agent::engine::{EngineError, Finished};
use linerate_agent::host::monotonic_ns;
use linerate_agent::token::Token;
use linerate_wire::diagnosis::{
    DiagnosisAsk, DiagnosisFound, DiagnosisMeasures, DiagnosisReport, DiagnosisWork, Secret,
};
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::sample::Measures;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::KernelEngine;
use crate::client::{ClientError, Family};
use crate::diagnose::{Plan, run, text};
use crate::server::Hosting;
use crate::streams::socket::Place;

/// A planned part.
#[derive(Debug)]
pub(crate) struct PreparedDiagnosis {
    trial: u32,
    part: PreparedPart,
}

#[derive(Debug)]
enum PreparedPart {
    Answer(Token),
    Ask(Box<Plan>),
}

/// A part in progress. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Diagnosing {
    trial: u32,
    started_ns: u64,
    part: Part,
    /// Becomes true when the measurements are to end.
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
enum Part {
    Answer,
    /// It has not begun.
    Ready(Box<Plan>),
    Ask(Arc<Progress>),
}

/// What the measuring thread tells.
#[derive(Debug, Default)]
struct Progress {
    is_over: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    step: String,
    report: Option<DiagnosisReport>,
}

impl Progress {
    fn told(&self) -> MutexGuard<'_, Told> {
        // What is told stays whole whatever happens to the teller.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the thread as ended, even if it panics.
struct EndMark(Arc<Progress>);

impl Drop for EndMark {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

fn token(secret: &Secret) -> Result<Token, EngineError> {
    Token::load(None, Some(secret.0.clone().into())).map_err(|error| EngineError::refused(&error))
}

impl KernelEngine {
    /// Plans a part.
    pub(super) fn prepare_diagnosis(
        &mut self,
        trial: u32,
        work: &DiagnosisWork,
    ) -> Result<PreparedDiagnosis, EngineError> {
        let part = match work {
            DiagnosisWork::Answer { token: secret } => PreparedPart::Answer(token(secret)?),
            DiagnosisWork::Ask(ask) => {
                let DiagnosisAsk { host, port, token: secret, from, interface, spec } = &**ask;
                PreparedPart::Ask(Box::new(Plan {
                    host: host.clone(),
                    port: *port,
                    family: Family::Any,
                    place: Place { address: *from, interface: interface.clone() },
                    token: token(secret)?,
                    ceilings: self.ceilings.clone(),
                    spec: spec.clone(),
                }))
            }
        };
        Ok(PreparedDiagnosis { trial, part })
    }

    /// Begins to answer; measurements begin at the start.
    pub(super) fn arm_diagnosis(&mut self, prepared: PreparedDiagnosis) -> Diagnosing {
        let PreparedDiagnosis { trial, part } = prepared;
        let (stop, stopped) = watch::channel(false);
        let part = match part {
            PreparedPart::Ask(plan) => Part::Ready(plan),
            PreparedPart::Answer(token) => {
                let (ceilings, pool) = (self.ceilings.clone(), Arc::clone(&self.pool));
                self.doorkeeper.host(Some(Hosting { token, ceilings, pool, stop: stopped }));
                Part::Answer
            }
        };
        Diagnosing { trial, started_ns: monotonic_ns(), part, stop }
    }

    /// Ends a part.
    pub(super) fn finish_diagnosis(&mut self, diagnosing: &Diagnosing, ended: Ended) -> Finished {
        if matches!(diagnosing.part, Part::Answer) {
            self.doorkeeper.host(None);
        }
        let report = match &diagnosing.part {
            Part::Answer => DiagnosisReport::Answered,
            Part::Ready(_) => DiagnosisReport::Failed("it was ended before it began".to_owned()),
            Part::Ask(progress) => progress.told().report.take().unwrap_or_else(|| {
                DiagnosisReport::Failed(match diagnosing.is_stopped() {
                    true => "it was interrupted".to_owned(),
                    false => "the measuring thread panicked; the agent's log says where".to_owned(),
                })
            }),
        };
        let detail = ReportDetail::Diagnosis(report);
        let mut report = Report::new(diagnosing.trial, ended, diagnosing.started_ns, detail);
        report.ended_ns = monotonic_ns();
        Finished { report, flows: None }
    }
}

impl Diagnosing {
    pub(super) fn start(&mut self) {
        self.started_ns = monotonic_ns();
        let progress = Arc::new(Progress::default());
        let part = std::mem::replace(&mut self.part, Part::Ask(Arc::clone(&progress)));
        let Part::Ready(plan) = part else {
            self.part = part;
            return;
        };
        let (mark, stop) = (EndMark(Arc::clone(&progress)), self.stop.subscribe());
        let teller = Arc::clone(&progress);
        let measuring = move || {
            let _mark = mark;
            let report = measure(&plan, stop, &teller);
            teller.told().report = Some(report);
        };
        // The closure of a thread that cannot be spawned is dropped, and the end with it marked.
        if let Err(error) = std::thread::Builder::new().name("diagnosis".to_owned()).spawn(measuring) {
            progress.told().report =
                Some(DiagnosisReport::Failed(format!("no thread for the diagnosis: {error}")));
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) fn sample(&self) -> Measures {
        let step = match &self.part {
            Part::Ask(progress) => progress.told().step.clone(),
            Part::Answer | Part::Ready(_) => String::new(),
        };
        Measures::Diagnosis(DiagnosisMeasures { step })
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// True at once after a stop: the thread ends by itself soon.
    pub(super) fn is_over(&self) -> bool {
        match &self.part {
            Part::Ask(progress) => progress.is_over.load(Ordering::Acquire) || self.is_stopped(),
            Part::Answer | Part::Ready(_) => self.is_stopped(),
        }
    }
}

impl Drop for Diagnosing {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a diagnosis on this thread.
fn measure(plan: &Plan, stop: watch::Receiver<bool>, progress: &Progress) -> DiagnosisReport {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return DiagnosisReport::Failed(format!("no runtime for the diagnosis: {error}")),
    };
    let say = |step: &str| step.clone_into(&mut progress.told().step);
    match LocalSet::new().block_on(&runtime, run(plan, stop, &say)) {
        Ok(diagnosis) => match serde_json::to_value(&diagnosis) {
            Ok(value) => DiagnosisReport::Found(Box::new(DiagnosisFound {
                diagnosis: value,
                text: text::diagnosis(&diagnosis),
                has_fault: diagnosis.has_fault(),
            })),
            Err(error) => DiagnosisReport::Failed(format!("the diagnosis has no JSON form: {error}")),
        },
        Err(ClientError::Interrupted) => DiagnosisReport::Failed("it was interrupted".to_owned()),
        Err(error) => DiagnosisReport::Failed(error.to_string()),
    }
}
