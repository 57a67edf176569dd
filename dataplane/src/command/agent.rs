//! `agent`: waits for the controller's trials.

use serde_json::json;

use super::Ending;
use super::environment::{port, requirements, workers};
use super::output::{Failure, print_json};
use super::ready::Agent;
use super::standalone::{block_on, close, open};
use crate::agent::desk::Desk;
use crate::agent::{AgentConfig, serve};
use crate::dpdk::eal::Eal;
use crate::eal_args::EalPlan;

pub(super) fn run(eal: &Eal, plan: &EalPlan, args: &Agent) -> Result<Ending, Failure> {
    let bench = open(
        eal,
        port(eal, args.port)?,
        workers(eal)?,
        &args.ring,
        &args.safety,
        &args.given,
        args.reflector,
    )?;
    let mut desk = Desk::new(bench, args.orphan_ms, plan.no_huge, requirements(plan), args.host.clone());
    let config = AgentConfig {
        listen: args.listen,
        token: args.token.clone(),
        exit_when_orphaned: args.exit_when_orphaned,
        metrics: args.metrics,
    };
    let served = block_on(async {
        serve(&mut desk, config, |address| {
            // A controller that does not read this line cannot connect; serving goes on for one that knows the address.
            let _ = print_json(&json!({ "listening": address }));
        })
        .await
        .map_err(Failure::failed)
    });
    close(desk.into_bench());
    served.map(|()| Ending::Done)
}
