//! `agent`: serves the controller's trials.

use linerate_agent::{Agent, Identity, serve};
use linerate_command::signals::Signals;
use serde_json::json;

use super::Ending;
use super::output::{Failure, print_json};
use super::ready;
use super::trial::block_on;
use crate::control::program;
use crate::engine::KernelEngine;
use crate::streams::raise_descriptor_limit;

pub(super) fn run(args: ready::Agent) -> Result<Ending, Failure> {
    raise_descriptor_limit();
    let engine = KernelEngine::start(args.engine)?;
    let streams = engine.listening().to_vec();
    let identity = Identity { program: program(), host: args.host };
    let mut agent = Agent::new(engine, identity, args.orphan_ms);
    block_on(async {
        let mut signals = Signals::listen()?;
        serve(&mut agent, args.config, signals.next(), |address| {
            // A controller that does not read this line cannot connect; one that knows the address still can.
            let _ = print_json(&json!({ "listening": address, "streams": streams }));
        })
        .await
        .map_err(Failure::failed)
    })?;
    Ok(Ending::Done)
}
