//! The agent's main loop: connections, requests, the running trial, the end.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use linerate_wire::message::{CONTROLLER_VARIABLE, Command, ErrorCode, Outcome, Reply, Request};
use linerate_wire::state::AgentState;
use rustix::process::{Pid, getppid};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::sleep;

use crate::agent::{Agent, Answer};
use crate::connection::{Controller, Incoming, authenticate, failure};
use crate::engine::Engine;
use crate::metrics::AgentMetrics;
use crate::token::Token;

/// Interval of the loop while a trial needs it.
const LOOK_RUNNING: Duration = Duration::from_millis(2);
/// Interval of the loop while the engine needs tending.
const LOOK_TENDING: Duration = Duration::from_millis(10);
/// Interval of the loop otherwise.
const LOOK_IDLE: Duration = Duration::from_millis(100);
/// Least time that an agent waits for its first controller.
const FIRST_CONTROLLER: Duration = Duration::from_secs(60);
/// Most connections that have not authenticated yet. A further connection closes the oldest of them.
const MAX_UNAUTHENTICATED: usize = 64;
/// Most authenticated connections queued for the agent's loop.
const ADMISSION_QUEUE: usize = 8;

/// Condition for the end of an agent without a controller.
#[derive(Debug, Clone, Copy)]
pub struct OrphanRule {
    after: Duration,
    /// Process id of the controller that started the agent.
    parent: Option<Pid>,
}

impl OrphanRule {
    /// Ends the agent after this time without a controller. A controller that starts agents itself sets its
    /// process id in the environment.
    pub fn after(after: Duration) -> Self {
        let given = std::env::var(CONTROLLER_VARIABLE).ok().and_then(|text| text.parse().ok());
        Self { after, parent: given.and_then(Pid::from_raw) }
    }
}

/// Configuration of the server.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Loopback address to listen on.
    pub listen: SocketAddr,
    /// Token that a controller must present.
    pub token: Token,
    /// Ends the agent when no controller has been connected for this long.
    pub exit_when_orphaned: Option<OrphanRule>,
    /// Loopback address to serve metrics at.
    pub metrics: Option<SocketAddr>,
}

/// Serves controllers until `stop`, a shutdown request or the orphan condition ends it. `announce` receives the
/// bound address.
///
/// # Errors
/// When an address cannot be bound.
pub async fn serve<E: Engine>(
    agent: &mut Agent<E>,
    config: AgentConfig,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    if !config.listen.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is not a loopback address; the agent's port must not be reachable from any network",
                config.listen
            ),
        ));
    }
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", config.listen))
    })?;
    let metrics = match config.metrics {
        Some(address) => Some(AgentMetrics::serve(address).await.map_err(io::Error::other)?),
        None => None,
    };
    let mut stop = pin!(stop);
    announce(listener.local_addr()?);

    let (admit, mut admitted) = mpsc::channel::<Controller>(ADMISSION_QUEUE);
    let mut strangers = Strangers { token: config.token.clone(), admit, waiting: VecDeque::new() };
    let mut server = Server {
        agent,
        metrics,
        controller: None,
        was_found: false,
        last_heard: Instant::now(),
        stop_ids: Vec::new(),
        ending: false,
    };
    loop {
        let look = match (server.agent.needs_looks(), server.agent.has_background_work()) {
            (true, _) => LOOK_RUNNING,
            (false, true) => LOOK_TENDING,
            (false, false) => LOOK_IDLE,
        };
        tokio::select! {
            connection = listener.accept() => {
                match connection {
                    Ok((stream, _)) => {
                        strangers.take(stream);
                        // Lets the hello of an earlier connection be read before the next one is accepted.
                        yield_now().await;
                    }
                    Err(error) => {
                        // Probably out of file descriptors; an immediate retry would fail as well.
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(LOOK_IDLE).await;
                    }
                }
            }
            Some(newcomer) = admitted.recv() => server.admit(newcomer),
            incoming = next_request(&mut server.controller) => match incoming {
                Some(Ok(request)) => server.answer(request),
                Some(Err(reply)) => server.send(&reply),
                None => server.drop_controller("closed the connection"),
            },
            () = sleep(look) => {}
            () = &mut stop => break,
        }
        server.look();
        if server.ending || config.exit_when_orphaned.is_some_and(|limit| server.is_orphaned(limit)) {
            break;
        }
    }
    server.agent.orphaned();
    // Gives the writer's task a turn to send the remaining lines.
    drop(server);
    sleep(Duration::from_millis(20)).await;
    Ok(())
}

/// Connections that have not authenticated yet.
struct Strangers {
    token: Token,
    admit: mpsc::Sender<Controller>,
    /// Oldest first.
    waiting: VecDeque<AbortHandle>,
}

impl Strangers {
    /// Waits for the hello of a new connection. When too many wait, the oldest is closed: silent peers cannot
    /// keep out a controller, which sends its hello at once.
    fn take(&mut self, stream: TcpStream) {
        self.waiting.retain(|stranger| !stranger.is_finished());
        if self.waiting.len() >= MAX_UNAUTHENTICATED
            && let Some(oldest) = self.waiting.pop_front()
        {
            oldest.abort();
            tracing::debug!(
                "the oldest connection without a hello was closed: {MAX_UNAUTHENTICATED} others wait"
            );
        }
        let (token, admit) = (self.token.clone(), self.admit.clone());
        let stranger = tokio::spawn(async move {
            if let Some(controller) = authenticate(stream, token).await {
                let _ = admit.send(controller).await;
            }
        });
        self.waiting.push_back(stranger.abort_handle());
    }
}

async fn next_request(controller: &mut Option<Controller>) -> Option<Incoming> {
    match controller {
        Some(controller) => controller.inbox.recv().await,
        None => std::future::pending().await,
    }
}

struct Server<'a, E: Engine> {
    agent: &'a mut Agent<E>,
    metrics: Option<AgentMetrics>,
    controller: Option<Controller>,
    /// True once a controller has connected.
    was_found: bool,
    last_heard: Instant,
    /// Stop requests to answer at the end of the trial.
    stop_ids: Vec<u64>,
    ending: bool,
}

impl<E: Engine> Server<'_, E> {
    /// True when no controller has been connected for too long. The first controller gets more time while its
    /// process exists: it may still be starting other agents.
    fn is_orphaned(&self, OrphanRule { after, parent }: OrphanRule) -> bool {
        let may_come = !self.was_found && (parent.is_none() || parent == getppid());
        let limit = if may_come { after.max(FIRST_CONTROLLER) } else { after };
        self.controller.is_none() && self.last_heard.elapsed() > limit
    }

    fn admit(&mut self, newcomer: Controller) {
        let id = Some(newcomer.hello_id);
        if self.controller.is_some() {
            newcomer.send(&failure(id, ErrorCode::Busy, "another controller is connected".into()));
            return;
        }
        let reply = match self.agent.welcome() {
            Ok(welcome) => Reply { id, result: Some(Outcome::Welcome(Box::new(welcome))), error: None },
            Err(error) => Reply { id, result: None, error: Some(error) },
        };
        let admitted = reply.error.is_none();
        newcomer.send(&reply);
        if admitted {
            self.controller = Some(newcomer);
            self.was_found = true;
            self.last_heard = Instant::now();
        }
    }

    fn answer(&mut self, request: Request) {
        let Request { id, command } = request;
        self.ending |= command == Command::Shutdown;
        match self.agent.handle(command) {
            Ok(Answer::Now(outcome)) => {
                self.send(&Reply { id: Some(id), result: Some(outcome), error: None });
            }
            Ok(Answer::WhenFinished) => self.stop_ids.push(id),
            Err(error) => self.send(&Reply { id: Some(id), result: None, error: Some(error) }),
        }
        // The time that a request takes does not count as the controller's silence.
        self.last_heard = Instant::now();
    }

    /// Advances the trial, sends its events, and checks the controller's silence.
    fn look(&mut self) {
        let silent = self.last_heard.elapsed() > Duration::from_millis(u64::from(self.agent.orphan_ms()));
        let events = if silent {
            if self.controller.is_some() {
                let message = "no message for longer than the orphan time".to_owned();
                self.send(&failure(None, ErrorCode::TooSlow, message));
                self.drop_controller("has been silent for longer than the orphan time");
            }
            self.agent.orphaned()
        } else {
            self.agent.look()
        };
        for event in events {
            if let Some(metrics) = &mut self.metrics {
                metrics.note(&event);
            }
            self.send(&event);
        }
        if !self.agent.is_active() {
            let state = self.agent.state();
            for id in std::mem::take(&mut self.stop_ids) {
                if state == AgentState::Finished {
                    self.send(&Reply { id: Some(id), result: Some(Outcome::State(state)), error: None });
                } else {
                    let message = "the trial failed; see the agent's log".to_owned();
                    self.send(&failure(Some(id), ErrorCode::Failed, message));
                }
            }
        }
    }

    fn send(&mut self, line: &impl serde::Serialize) {
        if self.controller.as_ref().is_some_and(|controller| !controller.send(line)) {
            self.drop_controller("does not read what it is sent");
        }
    }

    fn drop_controller(&mut self, why: &str) {
        tracing::info!("the controller {why}");
        self.controller = None;
        self.stop_ids.clear();
    }
}

#[cfg(test)]
mod tests;
