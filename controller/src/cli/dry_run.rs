//! `run --dry-run`: the plan that a run would carry out, and the agents it would start. Creates nothing.

use serde_json::json;

use super::output::{print, say};
use super::{RunArgs, run, table};
use crate::platform::binary::{PROGRAM, Places};

pub(super) fn dry_run(args: &RunArgs) -> anyhow::Result<()> {
    let (experiment, plan) = run::planned(args)?;
    let local = run::local_plan(&experiment, &plan)?;
    let program = match Places::of_process(args.dataplane.clone()).find() {
        Ok(path) => path.display().to_string(),
        Err(problem) => {
            say(&format!("warning: {problem}"));
            PROGRAM.to_owned()
        }
    };
    let agents = local.pairs.iter().flat_map(|pair| [&pair.rx, &pair.tx]);
    let view = plan.view(&experiment);
    if args.json {
        let agents: Vec<_> = agents
            .map(|agent| {
                let command_line: Vec<&String> = std::iter::once(&program).chain(&agent.arguments).collect();
                json!({ "name": agent.name, "command_line": command_line })
            })
            .collect();
        print(&serde_json::to_string(&json!({ "plan": view, "agents": agents, "notes": local.notes }))?)?;
        return Ok(());
    }
    print(&table::plan(&view))?;
    for agent in agents {
        print(&format!("{}: {program} {}", agent.name, agent.arguments.join(" ")))?;
    }
    for note in &local.notes {
        print(&format!("note: {note}"))?;
    }
    Ok(())
}
