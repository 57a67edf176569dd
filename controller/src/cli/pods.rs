//! `pods`: sets of pods that are kept beyond a run.

use anyhow::Context;
use clap::Subcommand;
use linerate_command::signals::Signals;
use serde_json::json;

use super::Ending;
use super::output::{print, say};
use super::run::{NO_SIGNALS, runtime};
use super::spec_args::SpecArgs;
use linerate_experiment::Experiment;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, lease, plan, remove, survey};
use linerate_runner::platform::{Platform, PlatformError, random_hex};

const EXAMPLES: &str = "\
Examples:
  linerate pods create -n 2 --same-node --cpu 4
  linerate pods status
  linerate pods delete 1f3c09aa
  linerate pods delete --all";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum PodsCommand {
    /// Start pods that are kept until they are deleted
    Create {
        /// Experiment document (YAML) [default: the built-in first-light.yaml]
        #[arg(value_name = "FILE")]
        file: Option<std::path::PathBuf>,
        #[command(flatten)]
        spec: Box<SpecArgs>,
    },
    /// List Linerate's pods and their runs
    Status {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        spec: Box<SpecArgs>,
    },
    /// Delete the pods and other objects of a run
    Delete {
        /// The run's 8 hexadecimal digits
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All runs that have ended or whose pods are kept; not a running one
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        spec: Box<SpecArgs>,
    },
}

pub(super) fn dispatch(command: PodsCommand) -> anyhow::Result<Ending> {
    let runtime = runtime()?;
    match command {
        PodsCommand::Create { file, spec } => {
            let mut overrides = spec.overrides();
            overrides.platform(linerate_experiment::document::PlatformKind::Kubernetes);
            overrides.set("pods create", ["spec", "kubernetes", "keep"], true);
            let experiment = Experiment::load(file.as_deref(), &overrides)?;
            return runtime.block_on(create(experiment));
        }
        PodsCommand::Status { json, spec } => {
            let experiment = Experiment::load(None, &spec.overrides())?;
            runtime.block_on(status(&experiment, json))?;
        }
        PodsCommand::Delete { ids, all, spec } => {
            let experiment = Experiment::load(None, &spec.overrides())?;
            runtime.block_on(delete(&experiment, ids, all))?;
        }
    }
    Ok(Ending::Done)
}

async fn create(experiment: Experiment) -> anyhow::Result<Ending> {
    let mut plan = KubernetesPlan::new(&experiment, &experiment.profiles, None, &say)
        .await
        .map_err(PlatformError::from)?;
    plan.remove_leftovers(&say).await.map_err(PlatformError::from)?;
    plan.validate(&experiment).await.map_err(PlatformError::from)?;
    plan.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let id = random_hex(4)?;
    let mut platform = KubernetesPlatform::new(plan, experiment, &id, std::path::Path::new("."));
    let mut signals = Signals::listen().context(NO_SIGNALS)?;
    let started = tokio::select! {
        started = platform.start(&say) => Some(started),
        () = signals.next() => None,
    };
    match started {
        Some(Ok(groups)) => {
            for group in groups {
                let places = group.iter().map(|agent| format!("{} on {}", agent.name, agent.node));
                print(&places.collect::<Vec<_>>().join(", "))?;
            }
            print(&id)?;
            Ok(Ending::Done)
        }
        Some(Err(error)) => {
            platform.give_up().await;
            Err(error.into())
        }
        None => {
            say(&format!("interrupted: removing what was made of {id}; once more to leave at once"));
            tokio::select! {
                () = platform.give_up() => {}
                () = signals.next() => {
                    say(&format!("left at once; `linerate pods delete {id}` removes what was made"));
                }
            }
            Ok(Ending::Interrupted)
        }
    }
}

async fn status(experiment: &Experiment, as_json: bool) -> anyhow::Result<()> {
    let (client, namespace, _) = plan::connect(experiment).await.map_err(PlatformError::from)?;
    let found = survey::pods(&client, &namespace).await.map_err(PlatformError::from)?;
    if as_json {
        return Ok(print(&serde_json::to_string(&found)?)?);
    }
    if found.is_empty() {
        return Ok(print(&format!("no pods of Linerate in namespace {namespace}"))?);
    }
    for pod in found {
        print(&format!(
            "{} {:<6} {:<10} {}",
            pod.run,
            pod.name,
            pod.node.as_deref().unwrap_or("-"),
            pod.standing
        ))?;
    }
    Ok(())
}

async fn delete(experiment: &Experiment, mut ids: Vec<String>, all: bool) -> anyhow::Result<()> {
    let (client, namespace, _) = plan::connect(experiment).await.map_err(PlatformError::from)?;
    let settled = lease::settled(&client, &namespace, |_| false, &say).await;
    let leases = settled.map_err(PlatformError::from)?;
    if all {
        ids = leases
            .iter()
            .filter(|found| found.state != lease::LeaseState::Alive)
            .map(|found| found.id.clone())
            .collect();
    }
    for id in &ids {
        if !linerate_results::store::is_id(id) {
            anyhow::bail!(
                "'{id}' is not the id of a run, which is 8 hexadecimal digits; see `linerate pods status`"
            );
        }
        match leases.iter().find(|found| found.id == *id) {
            Some(found) if found.state == lease::LeaseState::Alive => {
                anyhow::bail!("run {id} is still active ({}); end it first, with Ctrl-C", found.holder);
            }
            Some(found) => lease::claim(&client, &namespace, found).await.map_err(PlatformError::from)?,
            None => {}
        }
        remove::remove(&client, &namespace, id).await.map_err(PlatformError::from)?;
        say(&format!("deleted what belonged to run {id}"));
    }
    if ids.is_empty() {
        say(&format!("nothing to delete in namespace {namespace}"));
    }
    tracing::debug!(ids = %json!(ids), "deleted");
    Ok(())
}
