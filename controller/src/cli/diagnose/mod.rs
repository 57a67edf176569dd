//! `diagnose`: what is wrong with the path between two agents, in words, with the numbers and what to type.

mod args;

use anyhow::Context;
use linerate_command::signals::Signals;
use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_kubernetes::error::ClusterError;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform};
use linerate_results::store::Store;
use linerate_runner::platform::binary::HOSTPLANE;
use linerate_runner::platform::local_kernel::{LocalKernel, LocalKernelPlan};
use linerate_runner::platform::{Platform, PlatformError};
use linerate_runner::run::diagnosis::{Diagnosed, DiagnosisEnd, DiagnosisJob, NoDiagnosis, diagnose};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

pub(super) use self::args::{DiagnoseArgs, Usage};
use self::args::{Place, Ready};
use super::Ending;
use super::interrupt::twice;
use super::output::{print, say};
use super::run::{NO_SIGNALS, runtime};

/// Directory of the diagnoses below that of the results.
const DIRECTORY: &str = "diagnoses";
/// File with what was found.
const FILE: &str = "diagnosis.json";

/// A diagnosis as it is stored and printed.
#[derive(Debug, Serialize)]
struct Record<'a> {
    id: &'a str,
    from: End<'a>,
    /// Null when it was no agent of this diagnosis.
    to: Option<End<'a>>,
    /// Address of the server that somebody started by hand; null for an agent.
    server: Option<&'a str>,
    /// What `linerate-hostplane diagnose --json` prints.
    diagnosis: &'a Value,
}

#[derive(Debug, Serialize)]
struct End<'a> {
    #[serde(flatten)]
    agent: &'a DiagnosisEnd,
    in_host_network: bool,
}

/// Runs a diagnosis and prints what it found.
pub(super) fn run(args: &DiagnoseArgs) -> anyhow::Result<Ending> {
    let ready = args.validate()?;
    runtime()?.block_on(async {
        match ready.experiment.platform() {
            PlatformKind::Local => {
                let mut local = LocalKernelPlan::new(&ready.experiment)?;
                local.agents.truncate(ready.agents());
                let program = HOSTPLANE.find(args.hostplane.clone()).map_err(PlatformError::from)?;
                let store = store(args)?;
                let platform = LocalKernel::new(local, program, store.directory().to_owned());
                measure(args, ready, &store, platform).await
            }
            PlatformKind::Kubernetes => {
                let cluster = cluster(args, &ready).await.map_err(refused)?;
                let store = store(args)?;
                let (id, directory) = (store.id(), store.directory());
                let platform = KubernetesPlatform::new(cluster, ready.experiment.clone(), id, directory);
                measure(args, ready, &store, platform).await
            }
        }
    })
}

/// A node that cannot be had is an option that is wrong.
fn refused(error: ClusterError) -> anyhow::Error {
    match error {
        ClusterError::Node { .. } => Usage(error.to_string()).into(),
        other => PlatformError::from(other).into(),
    }
}

fn store(args: &DiagnoseArgs) -> anyhow::Result<Store> {
    Ok(Store::create(&args.results.join(DIRECTORY))?)
}

/// The pods in their places, for which the cluster has room.
async fn cluster(args: &DiagnoseArgs, ready: &Ready) -> Result<KubernetesPlan, ClusterError> {
    let say = |text: &str| args.note(text);
    let experiment: &Experiment = &ready.experiment;
    let mut cluster = KubernetesPlan::new(experiment, &[], None, &say).await?;
    let places = [&ready.from, &ready.to].map(Place::choice);
    cluster.place_pods(&places[..ready.agents()])?;
    cluster.remove_leftovers(&say).await?;
    cluster.validate(experiment).await?;
    cluster.notes.iter().for_each(|note| args.note(note));
    Ok(cluster)
}

async fn measure(
    args: &DiagnoseArgs,
    ready: Ready,
    store: &Store,
    mut platform: impl Platform,
) -> anyhow::Result<Ending> {
    let (flag, interrupted) = watch::channel(false);
    let signals = Signals::listen().context(NO_SIGNALS)?;
    let Ready { experiment, spec, target, server, interface, from, to } = ready;
    let orphan = experiment.trial().orphan.get();
    let job = DiagnosisJob { spec: &spec, to: target, interface: interface.as_ref(), orphan, interrupted };
    let progress = |text: &str| {
        if !args.quiet {
            say(text);
        }
    };
    let diagnosed = tokio::select! {
        diagnosed = diagnose(job, &mut platform, &progress) => diagnosed,
        // Dropping the platform kills its processes; pods end without their controller.
        () = twice(signals, flag) => return Ok(Ending::Interrupted),
    };
    let Diagnosed { from: asked, to: answered, found } = match diagnosed {
        Ok(diagnosed) => diagnosed,
        Err(NoDiagnosis::Interrupted) => return Ok(Ending::Interrupted),
        Err(NoDiagnosis::Failed(reason)) => anyhow::bail!("{reason}"),
    };
    let record = Record {
        id: store.id(),
        from: End { agent: &asked, in_host_network: from.in_host_network },
        to: answered.as_ref().map(|agent| End { agent, in_host_network: to.in_host_network }),
        server: server.as_deref(),
        diagnosis: &found.diagnosis,
    };
    store.write_text(FILE, &serde_json::to_string_pretty(&record)?)?;
    if args.json {
        print(&serde_json::to_string(&record)?)?;
    } else {
        print(&format!("client     {}", words(&record.from)))?;
        let to = record.to.as_ref().map_or_else(|| server.clone().unwrap_or_default(), words);
        print(&format!("server     {to}"))?;
        print(&found.text)?;
        print(&store.directory().join(FILE).display().to_string())?;
    }
    Ok(if found.has_fault { Ending::Failed } else { Ending::Done })
}

/// An end for people.
fn words(end: &End<'_>) -> String {
    let network = if end.in_host_network { ", in the node's own network" } else { "" };
    format!("agent {} on {}{network}", end.agent.agent, end.agent.node)
}
