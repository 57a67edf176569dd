//! `run` for experiments of engines.

mod cluster;
mod table;

use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_experiment::engines::{EnginesPlan, PartTrials, PlannedPart};
use linerate_experiment::plan::{Plan, view};
use linerate_metrics::Listener;
use linerate_results::engines::rows;
use linerate_results::summary::Summary;
use linerate_runner::platform::binary::{DATAPLANE, HOSTPLANE};
use linerate_runner::platform::launch::AgentLaunch;
use linerate_runner::platform::local::{LocalPlan, LocalPlatform};
use linerate_runner::platform::local_kernel::{LocalKernel, LocalKernelPlan};
use linerate_runner::platform::{Platform, PlatformError};
use linerate_runner::run::engines::{EnginesJob, PartPlatform, end_engines, run_engines};
use serde_json::{Value, json};

use super::output::{print, say, width};
use super::planned::{self, Begun};
use super::run::{Place, hand_over, remove_rest_of, runtime};
use super::{Ending, RunArgs, metrics};

pub(super) use table::trials;

/// How the agents of a part are started.
enum PartPlan {
    Frames(LocalPlan),
    Datagrams(LocalKernelPlan),
}

impl PartPlan {
    /// The plans of all parts.
    fn of(plan: &EnginesPlan) -> Result<Vec<Self>, PlatformError> {
        let of = |part: &PlannedPart| match &part.trials {
            PartTrials::Frames(trials) => LocalPlan::new(&part.experiment, trials).map(Self::Frames),
            PartTrials::Datagrams(_) => LocalKernelPlan::new(&part.experiment).map(Self::Datagrams),
        };
        plan.parts.iter().map(of).collect()
    }

    fn notes(&self) -> &[String] {
        match self {
            PartPlan::Frames(plan) => &plan.notes,
            PartPlan::Datagrams(plan) => &plan.notes,
        }
    }

    /// The agents, in the order of their start.
    fn agents(&self) -> Vec<&AgentLaunch> {
        match self {
            PartPlan::Frames(plan) => plan.pairs.iter().flat_map(|pair| [&pair.rx, &pair.tx]).collect(),
            PartPlan::Datagrams(plan) => plan.agents.iter().collect(),
        }
    }
}

/// Each note of the parts once, with the engines that it is of.
fn engine_notes<'a>(plan: &EnginesPlan, notes: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    let mut told: Vec<(&String, Vec<String>)> = Vec::new();
    for (part, notes) in plan.parts.iter().zip(notes) {
        let engine = part.experiment.engine().map(|engine| engine.to_string()).unwrap_or_default();
        for note in notes {
            match told.iter_mut().find(|(known, _)| *known == note) {
                Some((_, engines)) => engines.push(engine.clone()),
                None => told.push((note, vec![engine.clone()])),
            }
        }
    }
    told.into_iter().map(|(note, engines)| format!("{}: {note}", engines.join(", "))).collect()
}

/// Runs an experiment of engines.
pub(super) async fn run(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &EnginesPlan,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let frames = Plan { trials: plan.frames().cloned().collect() };
    let kept = |summary: &Summary| summary.trials.len() + summary.streams.len();
    let planned = |_: &Summary| plan.count();
    let earlier = match planned::earlier(args, experiment, &frames, planned, kept)? {
        Begun::Complete(ending) => return Ok(ending),
        Begun::Measured(earlier) => {
            remove_rest_of(args, experiment, &earlier).await?;
            let summary = end_engines(experiment, plan, args.filter.as_deref(), &earlier)?;
            return hand_over(args, &summary, &earlier.store);
        }
        Begun::Partly(earlier) => Some(*earlier),
        Begun::Not => None,
    };
    if experiment.platform() == PlatformKind::Kubernetes {
        let parts = cluster::of_run(args, plan, earlier.as_ref()).await?;
        let place = Place::of(earlier, args)?;
        let (id, directory) = (place.store.id(), place.store.directory());
        let platforms = parts.into_iter().map(|part| part.map(|part| part.platform(id, directory))).collect();
        return measure(args, experiment, plan, &place, platforms, listener).await;
    }
    let parts = PartPlan::of(plan)?;
    let (dataplane, hostplane) = (args.dataplane.clone(), args.hostplane.clone());
    let find = |part: &PartPlan| match part {
        PartPlan::Frames(_) => DATAPLANE.find(dataplane.clone()),
        PartPlan::Datagrams(_) => HOSTPLANE.find(hostplane.clone()),
    };
    let programs = parts.iter().map(|part| find(part).map_err(PlatformError::from));
    let programs = programs.collect::<Result<Vec<_>, _>>()?;
    engine_notes(plan, parts.iter().map(PartPlan::notes)).iter().for_each(|note| args.note(note));
    let place = Place::of(earlier, args)?;
    let directory = || place.store.directory().to_owned();
    let tuner = args.tuner(experiment)?;
    let platform = |(part, program)| match part {
        PartPlan::Frames(plan) => {
            PartPlatform::Frames(LocalPlatform::new(plan, program, tuner.clone(), directory()))
        }
        PartPlan::Datagrams(plan) => PartPlatform::Datagrams(LocalKernel::new(plan, program, directory())),
    };
    let platforms = parts.into_iter().zip(programs).map(platform).map(Some).collect();
    measure(args, experiment, plan, &place, platforms, listener).await
}

/// Runs every part on its platform.
async fn measure(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &EnginesPlan,
    Place { store, recorded }: &Place,
    mut platforms: Vec<Option<PartPlatform<impl Platform, impl Platform>>>,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let metrics = |listener| metrics::serve(listener, store.id(), experiment.name());
    planned::measure(args, store, listener, metrics, async |interrupted, watchers| {
        let (filter, earlier) = (args.filter.as_deref(), recorded.as_ref());
        let job = EnginesJob { experiment, plan, filter, earlier, store, interrupted };
        run_engines(job, &mut platforms, watchers).await
    })
    .await
}

/// Prints the plan of a run and the agents that it would start.
pub(super) fn dry_run(args: &RunArgs, experiment: &Experiment, plan: &EnginesPlan) -> anyhow::Result<()> {
    if experiment.platform() == PlatformKind::Kubernetes {
        return runtime()?.block_on(cluster::dry_run(args, experiment, plan));
    }
    let parts = PartPlan::of(plan)?;
    let program = |part: &PartPlan| {
        let (wanted, given) = match part {
            PartPlan::Frames(_) => (DATAPLANE, args.dataplane.clone()),
            PartPlan::Datagrams(_) => (HOSTPLANE, args.hostplane.clone()),
        };
        match wanted.find(given) {
            Ok(path) => path.display().to_string(),
            Err(problem) => {
                say(&format!("warning: {problem}"));
                wanted.name.to_owned()
            }
        }
    };
    let programs: Vec<String> = parts.iter().map(program).collect();
    let notes = engine_notes(plan, parts.iter().map(PartPlan::notes));
    if args.json {
        let agents = parts.iter().zip(&programs).flat_map(|(part, program)| {
            part.agents().into_iter().map(move |agent| {
                let command_line: Vec<&String> = std::iter::once(program).chain(&agent.arguments).collect();
                json!({ "name": agent.name, "command_line": command_line })
            })
        });
        let agents: Vec<_> = agents.collect();
        print(&serde_json::to_string(&json!({ "parts": views(plan), "agents": agents, "notes": notes }))?)?;
        return Ok(());
    }
    print(&table::plan(experiment, plan, width()))?;
    for (part, program) in parts.iter().zip(&programs) {
        for agent in part.agents() {
            print(&format!("{}: {program} {}", agent.name, agent.arguments.join(" ")))?;
        }
    }
    for note in notes {
        print(&format!("note: {note}"))?;
    }
    Ok(())
}

/// The plans of all parts, as a dry run shows them.
fn views(plan: &EnginesPlan) -> Vec<Value> {
    let view = |part: &PlannedPart| {
        let of_part = match &part.trials {
            PartTrials::Frames(trials) => json!(view(&part.experiment, trials)),
            PartTrials::Datagrams(trials) => {
                json!(trials.view(&part.experiment, &[String::new(), String::new()]))
            }
        };
        json!({ "engine": part.experiment.engine(), "plan": of_part })
    };
    plan.parts.iter().map(view).collect()
}

/// True when a summary compares engines.
pub(super) fn is_of_engines(summary: &Summary) -> bool {
    !rows(summary).is_empty()
}
