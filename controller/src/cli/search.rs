//! `search`: rate searches without traffic.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use linerate_search::conclusion::{Irregular, Limiter};
use linerate_search::model::Model;
use linerate_search::simulate::{Simulation, simulate};
use linerate_search::{Goal, GoalConclusion, SearchSpec, SpecError};
use linerate_traffic::rate::Rate;

use super::grid::Grid;
use super::output::{print, width};

const SIMULATE_EXAMPLES: &str = "\
Examples:
  How long does a search for NDR and PDR take on a system that forwards 1 Mpps?
    echo '{\"kind\": \"cliff\", \"capacity_pps\": 1e6}' > model.json
    linerate search simulate model.json
  Throughput as in RFC 2544 on the same system, for programs to read:
    linerate search simulate model.json --goals rfc2544 --json
  A system that stalls now and then, another time:
    echo '{\"kind\": \"stalls\", \"capacity_pps\": 1e6, \"stall_probability_per_s\": 0.1, \"stall_s\": 0.002}' > stalls.json
    linerate search simulate stalls.json --seed 7 --trials

Kinds of models: cliff, linear, buffer, floor, hole, stalls, jitter, warm-up, recovering,
generator-limited (docs/search.md).
Exit codes: 0 simulated, whatever the result, 1 the model cannot be read, 2 wrong usage or model.";

/// Rate searches without traffic.
#[derive(Debug, Subcommand)]
pub(super) enum SearchCommand {
    /// Run a search on a modelled system: how long it takes, and what it finds
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(SimulateArgs),
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// The model: a JSON object with its kind and parameters
    model: PathBuf,
    /// What to search for: ndr, pdr, rfc2544, tst009
    #[arg(long, value_name = "GOAL,…", value_delimiter = ',', value_parser = goal, default_values = ["ndr", "pdr"])]
    goals: Vec<Goal>,
    /// Lowest load that may be chosen, in packets per second: 9001, 10kpps
    #[arg(long, value_name = "PPS", value_parser = pps, default_value = "9001")]
    min_load: f64,
    /// Highest load that may be chosen
    #[arg(long, value_name = "PPS", value_parser = pps, default_value = "14880952")]
    max_load: f64,
    /// Draws other random values, in models that have any
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print every trial as well
    #[arg(long, conflicts_with = "json")]
    trials: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn goal(name: &str) -> Result<Goal, String> {
    Goal::named(name)
        .ok_or_else(|| format!("there is no goal '{name}'; there are {}", Goal::NAMES.join(", ")))
}

/// Parses a load: a number, or a rate in packets per second.
fn pps(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let rate = || match text.parse() {
        Ok(Rate::Pps(pps)) => Some(pps),
        _ => None,
    };
    number
        .or_else(rate)
        .filter(|pps| *pps >= 1.0 && *pps <= 1e15)
        .ok_or_else(|| format!("'{text}' is not a load in packets per second, such as 9001 or 10kpps"))
}

/// Error: what is asked cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub(super) enum SimulateError {
    /// The file is no model.
    #[error("{}: {reason}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The goals cannot be searched for between the limits.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

pub(super) fn dispatch(command: &SearchCommand) -> anyhow::Result<()> {
    let SearchCommand::Simulate(args) = command;
    let model = read(&args.model)?;
    let spec = SearchSpec {
        goals: args.goals.clone(),
        min_pps: args.min_load.ceil() as u64,
        max_pps: args.max_load.floor() as u64,
        warm_up_ns: 0,
    };
    let found = simulate(spec, &model, args.seed).map_err(SimulateError::from)?;
    if args.json {
        return Ok(print(&serde_json::to_string(&found)?)?);
    }
    if args.trials {
        print(&trials(&found))?;
    }
    Ok(print(&results(&args.goals, &found))?)
}

fn read(path: &Path) -> anyhow::Result<Model> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: cannot read the model", path.display()))?;
    let wrong = |reason: String| SimulateError::Model { path: path.to_owned(), reason };
    let model: Model = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    model.check().map_err(wrong)?;
    Ok(model)
}

fn trials(found: &Simulation) -> String {
    let mut table = Grid::new(&["#", "Mpps", "seconds", "lost", "loss %"], 0..5);
    for (index, (request, outcome)) in found.log.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            format!("{:.6}", request.load_pps as f64 / 1e6),
            format!("{:.3}", request.duration_ns as f64 / 1e9),
            outcome.lost.to_string(),
            format!("{:.6}", 100.0 * outcome.path_loss().ratio()),
        ]);
    }
    table.render(width())
}

fn results(goals: &[Goal], found: &Simulation) -> String {
    let columns = ["goal", "lower Mpps", "upper Mpps", "conditional throughput", "result"];
    let mut table = Grid::new(&columns, 1..4);
    let mpps = |pps: Option<f64>| pps.map_or("-".to_owned(), |pps| format!("{:.6}", pps / 1e6));
    for goal in goals {
        let Some(result) = found.goals.get(&goal.name) else { continue };
        table.add_row([
            goal.name.clone(),
            mpps(result.effective_lower_bound_pps.map(|pps| pps as f64)),
            mpps(result.relevant_upper_bound_pps.map(|pps| pps as f64)),
            mpps(result.conditional_throughput_pps),
            verdict(result),
        ]);
    }
    format!("{}\n{} trials, {:.3} s of sending", table.render(width()), found.trials, found.sending_s)
}

/// Whether a result is regular, in words.
fn verdict(result: &GoalConclusion) -> String {
    let limiter = match result.limited_by {
        Some(Limiter::Generator) => "the generator",
        Some(Limiter::Port) => "the sender's port",
        Some(Limiter::Receiver) => "the receiver",
        Some(Limiter::Path | Limiter::MaxLoad) | None => "the tester",
    };
    match result.irregular {
        None => "regular".to_owned(),
        Some(Irregular::MaxLoadReached) => {
            "irregular: at least this; the highest load meets the goal".to_owned()
        }
        Some(Irregular::MinLoadFails) => "irregular: the lowest load misses the goal".to_owned(),
        Some(Irregular::TesterLimited) => {
            let value = result.effective_lower_bound_pps.map_or("no result", |_| "at least this");
            format!("irregular: {value}; limited by {limiter}")
        }
        Some(Irregular::Unfinished) => "irregular: the bounds are too far apart".to_owned(),
    }
}
