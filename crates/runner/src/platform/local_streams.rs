//! Agents of streams as processes of this machine, on its loopback interface.

use std::cell::RefCell;
use std::path::PathBuf;

use futures_util::future::join_all;
use linerate_experiment::Experiment;
use linerate_experiment::document::LocalNetwork;

use super::launch::AgentLaunch;
use super::local::node_name;
use super::process::{AgentProcess, Invocation};
use super::{AgentEndpoint, Platform, PlatformError, Token};
use crate::session::Dialer;

/// An agent without a controller exits after this time.
const EXIT_WHEN_ORPHANED: &str = "10s";

/// What a run of streams starts. A dry run shows it.
#[derive(Debug, Clone)]
pub struct LocalStreamsPlan {
    /// How to start each agent.
    pub agents: Vec<AgentLaunch>,
    /// Notes for the user on the plan.
    pub notes: Vec<String>,
}

impl LocalStreamsPlan {
    /// The plan of an experiment.
    ///
    /// # Errors
    /// When the document asks for a network that this user cannot have.
    pub fn new(experiment: &Experiment) -> Result<Self, PlatformError> {
        let topology = experiment.streams_topology();
        let interfaces = topology.interfaces();
        if experiment.local().network != LocalNetwork::Namespaces && !interfaces.is_empty() {
            let names: Vec<&str> = interfaces.iter().map(|name| name.as_str()).collect();
            return Err(PlatformError::Network(format!(
                "spec.topology.interfaces: {} are not on the loopback interface; remove them",
                names.join(", ")
            )));
        }
        let launch = |name: String| {
            let mut arguments: Vec<String> = ["agent", "--listen", "127.0.0.1:0", "--streams", "127.0.0.1:0"]
                .into_iter()
                .chain(["--exit-when-orphaned", EXIT_WHEN_ORPHANED])
                .map(str::to_owned)
                .collect();
            // The agent gets the safety settings of the environment as options.
            arguments.extend(experiment.safety().options());
            AgentLaunch { name, arguments }
        };
        let agents = topology.agents().into_iter().map(|agent| launch(agent.name)).collect();
        Ok(Self { agents, notes: Vec::new() })
    }
}

/// Agents of streams as processes of this machine, each in a group of its own. Dropping it kills them.
#[derive(Debug)]
pub struct LocalStreams {
    plan: LocalStreamsPlan,
    program: PathBuf,
    log_directory: PathBuf,
    node: String,
    /// Recorded as soon as they listen, so that `stop` ends them even if the start fails later.
    processes: RefCell<Vec<(String, AgentProcess)>>,
}

impl LocalStreams {
    /// A platform that runs `program` as planned, with logs in `log_directory`.
    pub fn new(plan: LocalStreamsPlan, program: PathBuf, log_directory: PathBuf) -> Self {
        Self { plan, program, log_directory, node: node_name(), processes: RefCell::default() }
    }

    async fn start_agent(&self, launch: &AgentLaunch) -> Result<AgentEndpoint, PlatformError> {
        let token = Token::random()?;
        let log = self.log_directory.join(format!("{}.log", launch.name));
        let command = Invocation {
            program: &self.program,
            arguments: &launch.arguments,
            token: &token,
            runtime_directory: &self.log_directory,
        };
        let (process, address) = AgentProcess::start(&launch.name, command, &log).await?;
        let endpoint = AgentEndpoint {
            name: launch.name.clone(),
            node: self.node.clone(),
            pod: None,
            dialer: Dialer::tcp(address),
            token,
            command_line: std::iter::once(self.program.display().to_string())
                .chain(launch.arguments.iter().cloned())
                .collect(),
            exit: process.exit(),
        };
        self.processes.borrow_mut().push((launch.name.clone(), process));
        Ok(endpoint)
    }
}

impl Platform for LocalStreams {
    async fn start(&mut self, _say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        let started = join_all(self.plan.agents.iter().map(|launch| self.start_agent(launch))).await;
        started.into_iter().map(|endpoint| endpoint.map(|endpoint| vec![endpoint])).collect()
    }

    async fn restart(
        &mut self,
        number: usize,
        _say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, PlatformError> {
        let launch = self.plan.agents[number].clone();
        let (ended, others) =
            self.processes.take().into_iter().partition::<Vec<_>, _>(|(name, _)| *name == launch.name);
        self.processes.replace(others);
        for (_, mut process) in ended {
            process.stop(false).await;
        }
        Ok(vec![self.start_agent(&launch).await?])
    }

    async fn stop(&mut self, asked: bool) {
        let mut processes = self.processes.take();
        join_all(processes.iter_mut().map(|(_, process)| process.stop(asked))).await;
    }
}
