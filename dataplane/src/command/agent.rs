//! `agent`: serves the controller's trials.

use linerate_agent::{Agent, AgentConfig, Identity, serve};
use linerate_command::signals::Signals;
use serde_json::json;

use super::Ending;
use super::environment::{port, requirements, workers};
use super::output::{Failure, print_json};
use super::ready;
use super::standalone::{block_on, close, open};
use crate::dpdk::eal::Eal;
use crate::eal_args::EalPlan;
use crate::engine::DpdkEngine;

pub(super) fn run(eal: &Eal, plan: &EalPlan, args: &ready::Agent) -> Result<Ending, Failure> {
    let setup = open(
        eal,
        port(eal, args.port)?,
        workers(eal)?,
        &args.ring,
        &args.safety,
        &args.given,
        args.reflector,
    )?;
    let engine = DpdkEngine::new(setup, plan.no_huge, requirements(plan));
    let identity = Identity {
        program: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        host: args.host.clone(),
    };
    let mut agent = Agent::new(engine, identity, args.orphan_ms);
    let config = AgentConfig {
        listen: args.listen,
        token: args.token.clone(),
        exit_when_orphaned: args.exit_when_orphaned,
        metrics: args.metrics,
    };
    let served = block_on(async {
        let mut signals = Signals::listen()?;
        serve(&mut agent, config, signals.next(), |address| {
            // A controller that does not read this line cannot connect; one that knows the address still can.
            let _ = print_json(&json!({ "listening": address }));
        })
        .await
        .map_err(Failure::failed)
    });
    close(agent.into_engine().into_setup());
    served.map(|()| Ending::Done)
}
