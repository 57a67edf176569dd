//! A diagnosis of the path between two agents, or from an agent to a server: one measures, the other answers.

use std::time::Duration;

use futures_util::future::join_all;
use linerate_experiment::streams::{Connection, InterfaceName};
use linerate_wire::diagnosis::{
    DiagnosisAsk, DiagnosisFound, DiagnosisReport, DiagnosisSpec, DiagnosisWork, Secret,
};
use linerate_wire::message::{Acknowledge, Command, Event, Start, TrialFailed};
use linerate_wire::report::ReportDetail;
use linerate_wire::sample::Measures;
use linerate_wire::trial::{TrialSpec, Work};
use serde::Serialize;
use tokio::sync::watch;

use super::part::{self, KernelAgent, Part, step, to_idle};
use super::streams::work::Route;
use super::trial::Stopped;
use super::{Ending, LONGEST_KEEP_ALIVE, SIGNS_OF_LIFE};
use crate::platform::{AgentEndpoint, Platform, random_hex};
use crate::session::{ANSWER_TIME, WORK_TIME};

/// The only trial of the agents.
const TRIAL: u32 = 1;
/// Time between two reports of the step in progress, in milliseconds.
const SAMPLE_INTERVAL_MS: u32 = 200;

/// What to diagnose.
#[derive(Debug)]
pub struct DiagnosisJob<'a> {
    /// What is measured.
    pub spec: &'a DiagnosisSpec,
    /// What the first agent measures the path to.
    pub to: DiagnosisTarget,
    /// Interface of both agents; `None`: the kernel's choice.
    pub interface: Option<&'a InterfaceName>,
    /// An agent whose controller has been silent for this long gives up.
    pub orphan: Duration,
    /// Becomes true when the user interrupts it.
    pub interrupted: watch::Receiver<bool>,
}

/// The far end of a diagnosis.
#[derive(Debug)]
pub enum DiagnosisTarget {
    /// The second agent.
    Agent,
    /// A server that somebody started by hand.
    Server {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Secret that it demands.
        token: Secret,
    },
}

/// An agent of a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiagnosisEnd {
    /// The agent's name.
    pub agent: String,
    /// The node it ran on.
    pub node: String,
    /// The program and its version.
    pub program: String,
}

/// A diagnosis that was made.
#[derive(Debug)]
pub struct Diagnosed {
    /// The agent that measured: the client.
    pub from: DiagnosisEnd,
    /// The agent that answered: the server; `None` when it was no agent.
    pub to: Option<DiagnosisEnd>,
    /// What it found.
    pub found: DiagnosisFound,
}

/// Why there is no diagnosis.
#[derive(Debug, thiserror::Error)]
pub enum NoDiagnosis {
    /// The user interrupted it.
    #[error("interrupted")]
    Interrupted,
    /// Agents or measurements failed.
    #[error("{0}")]
    Failed(String),
}

impl From<Ending> for NoDiagnosis {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Interrupted => Self::Interrupted,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<Stopped> for NoDiagnosis {
    fn from(stopped: Stopped) -> Self {
        Ending::from(stopped).into()
    }
}

/// Starts the agents, has the first of them measure, and ends them in every case. `say` is told what goes on.
///
/// # Errors
/// Why nothing was found out.
pub async fn diagnose(
    job: DiagnosisJob<'_>,
    platform: &mut impl Platform,
    say: &dyn Fn(&str),
) -> Result<Diagnosed, NoDiagnosis> {
    let mut agents = Vec::new();
    let diagnosed = drive(&job, platform, &mut agents, say).await;
    join_all(agents.iter().map(|agent: &KernelAgent| agent.session.shut_down())).await;
    platform.stop(!agents.is_empty()).await;
    diagnosed
}

async fn drive(
    job: &DiagnosisJob<'_>,
    platform: &mut impl Platform,
    agents: &mut Vec<KernelAgent>,
    say: &dyn Fn(&str),
) -> Result<Diagnosed, NoDiagnosis> {
    let mut interrupted = job.interrupted.clone();
    say("starting the agents");
    tokio::select! {
        started = start(job, platform, agents, say) => started?,
        Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(NoDiagnosis::Interrupted),
    }
    let (from, to) = match (agents.as_slice(), &job.to) {
        ([from, to, ..], DiagnosisTarget::Agent) => (from, Some(to)),
        ([from, ..], DiagnosisTarget::Server { .. }) => (from, None),
        _ => return Err(NoDiagnosis::Failed("the platform started too few agents".to_owned())),
    };
    let measured = tokio::select! {
        measured = measure(job, from, to, say) => measured,
        Ok(_) = interrupted.wait_for(|flag| *flag) => Err(NoDiagnosis::Interrupted),
    };
    // After an interruption both may still be at it.
    join_all(agents.iter().map(to_idle)).await;
    let found = measured?;
    let end = |agent: &KernelAgent| DiagnosisEnd {
        agent: agent.name().to_owned(),
        node: agent.node().to_owned(),
        program: agent.session.welcome().agent.clone(),
    };
    let second = || agents.get(1).map(end);
    let to = matches!(job.to, DiagnosisTarget::Agent).then(second).flatten();
    Ok(Diagnosed { from: end(&agents[0]), to, found })
}

/// Starts the agents and connects to them.
async fn start(
    job: &DiagnosisJob<'_>,
    platform: &mut impl Platform,
    agents: &mut Vec<KernelAgent>,
    say: &dyn Fn(&str),
) -> Result<(), Ending> {
    let keep_alive = LONGEST_KEEP_ALIVE.min(job.orphan / SIGNS_OF_LIFE);
    let endpoints: Vec<AgentEndpoint> = platform.start(say).await?.into_iter().flatten().collect();
    for endpoint in endpoints {
        agents.push(KernelAgent::connect(endpoint, keep_alive).await?);
    }
    Ok(())
}

/// Has `from` measure the path to `to`, or to the server.
async fn measure(
    job: &DiagnosisJob<'_>,
    from: &KernelAgent,
    to: Option<&KernelAgent>,
    say: &dyn Fn(&str),
) -> Result<DiagnosisFound, NoDiagnosis> {
    let spec = |work: DiagnosisWork| TrialSpec {
        trial: TRIAL,
        work: Work::Diagnosis(work),
        sample_interval_ms: SAMPLE_INTERVAL_MS,
        interrupts: false,
        orphan_ms: u32::try_from(job.orphan.as_millis()).unwrap_or(u32::MAX),
    };
    let ask = match (&job.to, to) {
        (DiagnosisTarget::Server { host, port, token }, _) => DiagnosisAsk {
            host: host.clone(),
            port: *port,
            token: token.clone(),
            from: None,
            interface: job.interface.map(|name| name.as_str().to_owned()),
            spec: job.spec.clone(),
        },
        (DiagnosisTarget::Agent, Some(to)) => {
            let token = random_hex(32).map_err(|error| NoDiagnosis::Failed(error.to_string()))?;
            let ask = ask(job, from, to, Secret(token)).map_err(NoDiagnosis::Failed)?;
            begin(to, spec(DiagnosisWork::Answer { token: ask.token.clone() })).await?;
            ask
        }
        (DiagnosisTarget::Agent, None) => {
            return Err(NoDiagnosis::Failed("there is no second agent".to_owned()));
        }
    };
    begin(from, spec(DiagnosisWork::Ask(Box::new(ask)))).await?;
    let answers = async {
        match to {
            Some(to) => follow(to, &|_| ()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        measured = follow(from, say) => measured?,
        ended = answers => {
            ended?;
            return Err(NoDiagnosis::Failed("the agent that answers ended before the one that measures".to_owned()));
        }
    }
    // What was measured to an agent that is lost tells nothing of the path.
    if let Some(to) = to
        && let Err(error) = to.session.ping().await
    {
        return Err(Stopped::by(to, error).await.into());
    }
    let part = part::report(from, "a diagnosis", |detail| match detail {
        ReportDetail::Diagnosis(report) => Some(report),
        _ => None,
    });
    match part.await {
        Part::Reported(report) => match report.detail {
            DiagnosisReport::Found(found) => Ok(*found),
            DiagnosisReport::Failed(reason) => Err(NoDiagnosis::Failed(reason)),
            DiagnosisReport::Answered => {
                Err(NoDiagnosis::Failed(format!("{} answered, and was to measure", from.name())))
            }
        },
        Part::Lost(reason) | Part::Failed(reason) => Err(NoDiagnosis::Failed(reason)),
    }
}

/// Work of the agent that measures: where the other one is reached.
fn ask(
    job: &DiagnosisJob<'_>,
    from: &KernelAgent,
    to: &KernelAgent,
    token: Secret,
) -> Result<DiagnosisAsk, String> {
    let name = format!("{}-{}", from.name(), to.name());
    let connection = Connection { number: 0, name, from: 0, to: 1, interface: job.interface.cloned() };
    let names = (from.name(), to.name());
    let route =
        Route::find(&connection, names, from.streams_engine(), to.streams_engine(), None, to.address())?;
    let Route { to, from, interface } = route;
    let (host, port) = (to.ip().to_string(), to.port());
    Ok(DiagnosisAsk { host, port, token, from, interface, spec: job.spec.clone() })
}

/// Gives an agent its work and starts it.
async fn begin(agent: &KernelAgent, spec: TrialSpec) -> Result<(), Stopped> {
    step(agent, Command::Prepare(Box::new(spec)), WORK_TIME).await?;
    step(agent, Command::Arm, WORK_TIME).await?;
    step(agent, Command::Start(Start::default()), ANSWER_TIME).await
}

/// Follows an agent to the end of its part, which is bounded for the one that measures; its session tells when it is gone. Events
/// that nobody took would end the session.
async fn follow(agent: &KernelAgent, say: &dyn Fn(&str)) -> Result<(), NoDiagnosis> {
    let mut last = String::new();
    loop {
        let event = match agent.session.next_event().await {
            Ok(event) => event,
            Err(error) => return Err(Stopped::by(agent, error).await.into()),
        };
        match event {
            Event::Sample(sample) if sample.trial == TRIAL => {
                if let Measures::Diagnosis(measures) = sample.measures
                    && !measures.step.is_empty()
                    && measures.step != last
                {
                    say(&measures.step);
                    last = measures.step;
                }
            }
            Event::Finished(Acknowledge { trial: TRIAL }) => return Ok(()),
            Event::Failed(TrialFailed { trial: TRIAL, message }) => {
                return Err(NoDiagnosis::Failed(format!("{} gave up: {message}", agent.name())));
            }
            _ => {}
        }
    }
}
