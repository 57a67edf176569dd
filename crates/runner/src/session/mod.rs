//! Session with one agent over one connection: requests with ids and time limits, events in order, keep-alive
//! pings.
//!
//! A fault other than a refusal ends the session: every waiting and every later request returns that fault.

mod dial;
mod error;
mod lines;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linerate_traffic::span::Span;
use linerate_wire::message::{
    Command, ErrorCode, Event, FlowRows, FlowsFrom, FromAgent, Hello, NextHopTo, Outcome, PROTOCOL_VERSION,
    Pong, Reply, Request, Welcome, WireError,
};
use linerate_wire::network::NextHop;
use linerate_wire::report::Report;
use linerate_wire::state::AgentState;
use serde::Deserialize;
use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use dial::{Dial, Dialer, Dialling, NoConnection, Stream};
pub use error::{Fault, SessionError};
pub(crate) use lines::next_line;

/// Time limit for the connection and for the hello.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Time limit for a reply that needs no work. A thousand agents on a few busy CPUs take more than five seconds.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Time limit for a reply that allocates memory or carries a report.
pub const WORK_TIME: Duration = Duration::from_secs(30);
/// Time limit for the reply to a shutdown. The platform watches the process in any case.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);
/// Events that may wait to be read.
const EVENTS_LIMIT: usize = 8192;

/// A connection to an agent. Dropping it closes it.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    welcome: Welcome,
    events: tokio::sync::Mutex<mpsc::Receiver<Event>>,
    /// Reader, writer and keep-alive; aborted when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    agent: String,
    outbox: mpsc::UnboundedSender<String>,
    waiting: Mutex<Waiting>,
    /// Wakes the reader when another task has ended the session.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    last_id: u64,
    replies: HashMap<u64, oneshot::Sender<Result<Outcome, WireError>>>,
    fault: Option<Fault>,
    /// Time of the agent's latest message.
    heard: Option<Instant>,
}

impl Session {
    /// Connects to the agent named `agent`, presents the token, and keeps the session alive by a ping every
    /// `keep_alive`.
    ///
    /// # Errors
    /// Names the agent: no connection, wrong token, another version, no reply.
    pub async fn connect(
        agent: &str,
        dialer: &Dialer,
        token: &str,
        keep_alive: Duration,
    ) -> Result<Self, SessionError> {
        let failed = |fault| SessionError { agent: agent.to_owned(), fault };
        let no_connection = |reason| {
            failed(match reason {
                NoConnection::Failed(reason) => Fault::Connect { address: dialer.to_string(), reason },
                NoConnection::Refused(reason) => Fault::Forbidden(reason),
            })
        };
        let late = || NoConnection::Failed(format!("no connection within {} s", HELLO_TIME.as_secs()));
        let dialled = timeout(HELLO_TIME, dialer.dial()).await.unwrap_or_else(|_| Err(late()));
        let stream = dialled.map_err(no_connection)?;
        let (read, write) = tokio::io::split(stream);
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let (event_in, events) = mpsc::channel(EVENTS_LIMIT);
        let shared = Arc::new(Shared {
            agent: agent.to_owned(),
            outbox,
            waiting: Mutex::default(),
            ended: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(write_lines(write, outgoing, shared.clone()));
        tasks.spawn(read_lines(read, event_in, shared.clone()));

        let hello = Command::Hello(Hello { protocol: PROTOCOL_VERSION, token: token.to_owned() });
        let welcome = match shared.request(hello, HELLO_TIME).await {
            Ok(Outcome::Welcome(welcome)) if welcome.protocol == PROTOCOL_VERSION => *welcome,
            Ok(Outcome::Welcome(welcome)) => {
                return Err(failed(Fault::Version(other_version(welcome.protocol))));
            }
            Ok(_) => return Err(failed(Fault::Unexpected { method: "hello" })),
            Err(SessionError { fault: Fault::Refused { error, .. }, .. })
                if error.code == ErrorCode::Version =>
            {
                return Err(failed(Fault::Version(error.message)));
            }
            Err(error) => return Err(error),
        };
        tasks.spawn(keep_alive_by_ping(shared.clone(), keep_alive));
        Ok(Self { shared, welcome, events: tokio::sync::Mutex::new(events), _tasks: tasks })
    }

    /// The agent's name.
    pub fn agent(&self) -> &str {
        &self.shared.agent
    }

    /// The agent's reply to the hello.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a request whose reply is a state.
    ///
    /// # Errors
    /// The agent's refusal, or the fault that ended the session.
    pub async fn step(&self, command: Command, limit: Duration) -> Result<AgentState, SessionError> {
        let method = method(&command);
        match self.shared.request(command, limit).await? {
            Outcome::State(state) => Ok(state),
            _ => Err(self.failed(Fault::Unexpected { method })),
        }
    }

    /// Pings the agent.
    ///
    /// # Errors
    /// The fault that ended the session.
    pub async fn ping(&self) -> Result<Pong, SessionError> {
        self.shared.ping().await
    }

    /// Requests the report of the finished trial.
    ///
    /// # Errors
    /// The agent's refusal, or the fault that ended the session.
    pub async fn report(&self) -> Result<Report, SessionError> {
        match self.shared.request(Command::Report, WORK_TIME).await? {
            Outcome::Report(report) => Ok(*report),
            _ => Err(self.failed(Fault::Unexpected { method: "report" })),
        }
    }

    /// Requests flows of the finished trial, from `first` on: as many as fit a reply, none after the last.
    ///
    /// # Errors
    /// The agent's refusal, or the fault that ended the session.
    pub async fn flows(&self, first: u32) -> Result<FlowRows, SessionError> {
        match self.shared.request(Command::Flows(FlowsFrom { first }), WORK_TIME).await? {
            Outcome::Flows(rows) if rows.first == first => Ok(rows),
            _ => Err(self.failed(Fault::Unexpected { method: "flows" })),
        }
    }

    /// Requests the report of hugepage-check on the agent's host, in its JSON form.
    ///
    /// # Errors
    /// The agent's refusal, or the fault that ended the session.
    pub async fn preflight(&self) -> Result<serde_json::Value, SessionError> {
        match self.shared.request(Command::Preflight, WORK_TIME).await? {
            Outcome::Preflight(report) => Ok(report),
            _ => Err(self.failed(Fault::Unexpected { method: "preflight" })),
        }
    }

    /// Requests the next hop on the way to an address.
    ///
    /// # Errors
    /// The agent's refusal, or the fault that ended the session.
    pub async fn next_hop(&self, to: IpAddr) -> Result<NextHop, SessionError> {
        match self.shared.request(Command::NextHop(NextHopTo { to }), WORK_TIME).await? {
            Outcome::NextHop(hop) => Ok(hop),
            _ => Err(self.failed(Fault::Unexpected { method: "nexthop" })),
        }
    }

    /// The next event. Events can be taken while a request waits for its reply; events that are not taken
    /// fill the queue, and a full queue ends the session.
    ///
    /// # Errors
    /// The fault that ended the session.
    pub async fn next_event(&self) -> Result<Event, SessionError> {
        let event = self.events.lock().await.recv().await;
        event.ok_or_else(|| self.failed(self.shared.fault()))
    }

    /// The next event that has already arrived.
    pub fn waiting_event(&self) -> Option<Event> {
        self.events.try_lock().ok()?.try_recv().ok()
    }

    /// Asks the agent to exit; errors are ignored.
    pub async fn shut_down(&self) {
        if let Err(error) = self.step(Command::Shutdown, SHUTDOWN_TIME).await {
            tracing::debug!(%error, "no answer to shutdown");
        }
    }

    fn failed(&self, fault: Fault) -> SessionError {
        SessionError { agent: self.shared.agent.clone(), fault }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, fault: Fault) -> SessionError {
        SessionError { agent: self.agent.clone(), fault }
    }

    fn fault(&self) -> Fault {
        self.waiting().fault.clone().unwrap_or(Fault::Closed)
    }

    /// Ends the session. The first fault is kept, and every waiting request returns it.
    fn end(&self, fault: Fault) {
        let mut waiting = self.waiting();
        waiting.fault.get_or_insert(fault);
        waiting.replies.clear();
        self.ended.notify_one();
    }

    async fn request(&self, command: Command, limit: Duration) -> Result<Outcome, SessionError> {
        let method = method(&command);
        let (id, reply) = {
            let mut waiting = self.waiting();
            if let Some(fault) = &waiting.fault {
                return Err(self.failed(fault.clone()));
            }
            waiting.last_id += 1;
            let (answer, reply) = oneshot::channel();
            let id = waiting.last_id;
            waiting.replies.insert(id, answer);
            (id, reply)
        };
        let line = serde_json::to_string(&Request { id, command })
            .map_err(|error| self.failed(Fault::Io(error.to_string())))?;
        if self.outbox.send(line + "\n").is_err() {
            return Err(self.failed(self.fault()));
        }
        match timeout(limit, reply).await {
            Ok(Ok(Ok(outcome))) => Ok(outcome),
            Ok(Ok(Err(error))) => Err(self.failed(Fault::Refused { method, error })),
            Ok(Err(_)) => Err(self.failed(self.fault())),
            Err(_) => {
                self.end(Fault::Silent { method, limit: Span(limit) });
                Err(self.failed(self.fault()))
            }
        }
    }

    async fn ping(&self) -> Result<Pong, SessionError> {
        match self.request(Command::Ping, ANSWER_TIME).await? {
            Outcome::Pong(pong) => Ok(pong),
            _ => Err(self.failed(Fault::Unexpected { method: "ping" })),
        }
    }

    /// Sends a ping and waits for the reply. An agent that works on another request answers the ping after
    /// it, so the time limit is then that of work.
    async fn keep_alive(&self) -> Result<(), SessionError> {
        let sent = Instant::now();
        let pong = self.request(Command::Ping, Duration::MAX);
        tokio::pin!(pong);
        loop {
            match timeout(ANSWER_TIME, &mut pong).await {
                Ok(answer) => return answer.map(drop),
                Err(_) => {
                    let (others, heard) = {
                        let waiting = self.waiting();
                        (waiting.replies.len() > 1, waiting.heard)
                    };
                    let silence = heard.map_or(sent, |heard| heard.max(sent)).elapsed();
                    let limit = if others { WORK_TIME } else { ANSWER_TIME };
                    if silence >= limit {
                        return Err(self.failed(Fault::Silent { method: "ping", limit: Span(limit) }));
                    }
                }
            }
        }
    }

    /// Passes a line to the request or the queue that waits for it.
    fn dispatch(&self, line: &[u8], events: &mpsc::Sender<Event>) -> Result<(), Fault> {
        let message = serde_json::from_slice(line).map_err(|error| unreadable(line, &error))?;
        self.waiting().heard = Some(Instant::now());
        match message {
            FromAgent::Event(event) => events.try_send(event).map_err(|_| Fault::Flood),
            FromAgent::Reply(Reply { id: Some(id), result, error }) => {
                let answer = match (result, error) {
                    (Some(outcome), None) => Ok(outcome),
                    (None, Some(error)) => Err(error),
                    _ => {
                        return Err(Fault::Malformed("a reply needs exactly one of result and error".into()));
                    }
                };
                if let Some(reply) = self.waiting().replies.remove(&id) {
                    let _ = reply.send(answer);
                }
                Ok(())
            }
            FromAgent::Reply(Reply { error: Some(error), .. }) if error.code == ErrorCode::TooSlow => {
                Err(Fault::LetGo)
            }
            FromAgent::Reply(Reply { error: Some(error), .. }) => {
                Err(Fault::Malformed(format!("it could not read a request: {error}")))
            }
            FromAgent::Reply(_) => Err(Fault::Malformed("a reply without id".into())),
        }
    }
}

/// Why a line is no message: a welcome of another version of the protocol, which has another form, or anything else.
fn unreadable(line: &[u8], error: &serde_json::Error) -> Fault {
    /// What welcomes of all versions have in common.
    #[derive(Deserialize)]
    struct Greeting {
        protocol: u32,
    }
    #[derive(Deserialize)]
    struct Greeted {
        welcome: Greeting,
    }
    #[derive(Deserialize)]
    struct Reply {
        result: Greeted,
    }
    match serde_json::from_slice(line) {
        Ok(Reply { result: Greeted { welcome: Greeting { protocol } } }) if protocol != PROTOCOL_VERSION => {
            Fault::Version(other_version(protocol))
        }
        _ => Fault::Malformed(error.to_string()),
    }
}

fn other_version(protocol: u32) -> String {
    format!("this agent speaks protocol {protocol}, not {PROTOCOL_VERSION}")
}

async fn write_lines(
    mut write: WriteHalf<Box<dyn Stream>>,
    mut outgoing: mpsc::UnboundedReceiver<String>,
    shared: Arc<Shared>,
) {
    while let Some(line) = outgoing.recv().await {
        if let Err(error) = write.write_all(line.as_bytes()).await {
            // The agent's last message explains more than a failed write; the reader gets to it.
            tracing::debug!(agent = shared.agent, %error, "the agent does not take requests");
            return;
        }
    }
}

/// Runs until the session ends. Dropping `events` then wakes the tasks that wait for an event.
async fn read_lines(read: ReadHalf<Box<dyn Stream>>, events: mpsc::Sender<Event>, shared: Arc<Shared>) {
    let mut reader = BufReader::new(read);
    let fault = loop {
        let line = tokio::select! {
            line = next_line(&mut reader) => line,
            () = shared.ended.notified() => return,
        };
        if let Err(fault) = line.and_then(|line| shared.dispatch(&line, &events)) {
            break fault;
        }
    };
    shared.end(fault);
}

async fn keep_alive_by_ping(shared: Arc<Shared>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = shared.keep_alive().await {
            shared.end(error.fault);
            return;
        }
    }
}

fn method(command: &Command) -> &'static str {
    match command {
        Command::Hello(_) => "hello",
        Command::Ping => "ping",
        Command::Preflight => "preflight",
        Command::NextHop(_) => "nexthop",
        Command::Prepare(_) => "prepare",
        Command::Arm => "arm",
        Command::Start(_) => "start",
        Command::Stop(_) => "stop",
        Command::Report => "report",
        Command::Flows(_) => "flows",
        Command::Acknowledge(_) => "acknowledge",
        Command::Shutdown => "shutdown",
    }
}
