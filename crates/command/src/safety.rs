//! The options of ceilings.

use clap::Args;
use linerate_traffic::rate::Rate;
use linerate_traffic::safety::{Ceilings, Network, Origin, Safety};
use linerate_traffic::span::Span;

use crate::output::Failure;

/// Ceilings on every trial, also on those of a controller. The environment may set its own; the tighter one applies.
#[derive(Debug, Clone, Default, Args)]
pub struct SafetyArgs {
    /// Refuse trials with a higher load, such as 1gbps or 100kpps. It holds within any 10 ms, so that bursts count; bit rates include headers.
    /// The environment variable LINERATE_MAX_RATE applies as well
    #[arg(long, value_name = "RATE")]
    pub max_rate: Option<Rate>,
    /// Refuse longer trials, and those without a duration. LINERATE_MAX_DURATION applies as well
    #[arg(long, value_name = "TIME")]
    pub max_duration: Option<Span>,
    /// Refuse trials with addresses outside these networks; may be repeated. LINERATE_ALLOW applies as well [default: any]
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub allow: Vec<Network>,
}

impl SafetyArgs {
    /// The ceilings of the options and of the environment.
    ///
    /// # Errors
    /// When a variable of the environment cannot be read.
    pub fn resolve(&self) -> Result<Ceilings, Failure> {
        let Self { max_rate, max_duration, allow } = self.clone();
        let environment = Safety::from_environment(|name| std::env::var_os(name))
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Ceilings::default()
            .with(Origin::Options, Safety { max_rate, max_duration, allow })
            .with(Origin::Environment, environment))
    }
}
