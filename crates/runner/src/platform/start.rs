//! Start of an agent as a process of this machine, in a network namespace of its own or in this one.

use std::path::{Path, PathBuf};

use super::launch::AgentLaunch;
use super::namespaces::NamespaceDialer;
use super::process::{AgentProcess, Invocation};
use super::{AgentEndpoint, PlatformError, Token};
use crate::session::Dialer;

/// What the agents of a run have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starter<'a> {
    /// The agents' program.
    pub(super) program: &'a Path,
    /// Directory of their logs.
    pub(super) log_directory: &'a Path,
    /// An existing directory for EAL's runtime files.
    pub(super) runtime_directory: &'a Path,
    /// This machine.
    pub(super) node: &'a str,
}

impl Starter<'_> {
    /// Starts an agent and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be executed, or ends before it listens; then with the agent's own reason.
    pub(super) async fn start(
        &self,
        launch: &AgentLaunch,
        namespace: Option<String>,
    ) -> Result<(AgentProcess, AgentEndpoint), PlatformError> {
        let token = Token::random()?;
        let log = self.log_directory.join(format!("{}.log", launch.name));
        // `ip netns exec` becomes the agent.
        let (program, arguments) = match &namespace {
            Some(namespace) => {
                let program = self.program.display().to_string();
                let before = ["netns".to_owned(), "exec".to_owned(), namespace.clone(), program];
                let arguments: Vec<String> = before.into_iter().chain(launch.arguments.clone()).collect();
                (PathBuf::from("ip"), arguments)
            }
            None => (self.program.to_owned(), launch.arguments.clone()),
        };
        let command = Invocation {
            program: &program,
            arguments: &arguments,
            token: &token,
            runtime_directory: self.runtime_directory,
        };
        let (process, address) = AgentProcess::start(&launch.name, command, &log).await?;
        let endpoint = AgentEndpoint {
            name: launch.name.clone(),
            node: self.node.to_owned(),
            address: None,
            pod: None,
            dialer: match namespace {
                Some(namespace) => Dialer::new(NamespaceDialer::new(namespace, address)),
                None => Dialer::tcp(address),
            },
            token,
            command_line: std::iter::once(self.program.display().to_string())
                .chain(launch.arguments.iter().cloned())
                .collect(),
            exit: process.exit(),
        };
        Ok((process, endpoint))
    }
}
