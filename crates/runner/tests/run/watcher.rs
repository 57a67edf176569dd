//! An agent that watches a node: it speaks the protocol and reports what its script says.

use std::sync::{Arc, Mutex};

use linerate_runner::platform::{AgentEndpoint, Exit, ExitWatch, NodeWatcher, Token};
use linerate_runner::session::Dialer;
use linerate_wire::message::{Command, ErrorCode, FromAgent, Outcome, Pong, Reply, Request, WireError};
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::state::{AgentState, Step};
use linerate_wire::trial::Work;
use linerate_wire::watch::{WatchReport, WatchedInterface, WatchedQueue};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::watch;

use crate::memory::{Reach, Serve, kernel_engine, welcome};

/// What befalls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lives,
    /// Its program does not know the work.
    Refuses,
    /// Its process ends when it is to stop for the first time.
    Dies,
    /// It answers no more when it is to stop for the first time, and lets go of no connection.
    Hangs,
    /// The same, whenever it is to stop.
    HangsAlways,
    /// The same, and the user interrupts the run.
    HangsAndInterrupts,
    /// Its connection breaks when its report is acknowledged.
    LosesAcknowledgement,
    /// Its connection breaks when it is to stop for the first time.
    LosesConnection,
    /// It does not get to run.
    NeverRuns,
}

#[derive(Debug)]
pub struct Watcher {
    fate: Fate,
    exit: watch::Sender<Option<Exit>>,
    core: Mutex<(AgentState, u32, u32)>,
    /// Interrupts the run.
    interrupt: watch::Sender<bool>,
}

impl Watcher {
    pub fn start(number: usize, fate: Fate, interrupt: &watch::Sender<bool>) -> NodeWatcher {
        let node = format!("n{number}");
        let agent = match fate {
            Fate::NeverRuns => Err("not scheduled: Too many pods".to_owned()),
            _ => Ok(Self::endpoint(number, fate, interrupt.clone())),
        };
        NodeWatcher { node, agent }
    }

    fn endpoint(number: usize, fate: Fate, interrupt: watch::Sender<bool>) -> AgentEndpoint {
        let core = Mutex::new((AgentState::Idle, 0, 0));
        let agent = Arc::new(Self { fate, exit: watch::Sender::new(None), core, interrupt });
        AgentEndpoint {
            name: format!("node{number}"),
            node: format!("n{number}"),
            address: None,
            pod: None,
            token: Token::none(),
            command_line: Vec::new(),
            exit: ExitWatch::new(agent.exit.subscribe()),
            dialer: Dialer::new(Reach(agent)),
        }
    }

    async fn converse(&self, stream: DuplexStream) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Request { id, command } = serde_json::from_str(&line).unwrap();
            let is_stop = matches!(command, Command::Stop(_));
            let stops = is_stop && {
                let mut core = self.core.lock().unwrap();
                core.2 += 1;
                core.2 == 1
            };
            match self.fate {
                Fate::Dies if stops => {
                    let how = "was killed by signal 9".to_owned();
                    self.exit.send_replace(Some(Exit { how, error: None }));
                    return;
                }
                Fate::Hangs if stops => std::future::pending().await,
                Fate::HangsAlways if is_stop => std::future::pending().await,
                Fate::HangsAndInterrupts if stops => {
                    self.interrupt.send_replace(true);
                    std::future::pending::<()>().await;
                }
                Fate::LosesAcknowledgement if matches!(command, Command::Acknowledge(_)) => {
                    self.core.lock().unwrap().0 = AgentState::Idle;
                    return;
                }
                Fate::LosesConnection if stops => return,
                _ => {}
            }
            let (result, error) = match self.answer(&command) {
                Ok(outcome) => (Some(outcome), None),
                Err(message) => (None, Some(WireError { code: ErrorCode::Refused, message })),
            };
            let reply = FromAgent::Reply(Reply { id: Some(id), result, error });
            let text = serde_json::to_string(&reply).unwrap() + "\n";
            if write.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, command: &Command) -> Result<Outcome, String> {
        let mut core = self.core.lock().unwrap();
        let step = match command {
            Command::Hello(_) => {
                return Ok(Outcome::Welcome(Box::new(welcome(core.0, kernel_engine(None), "there"))));
            }
            Command::Ping => return Ok(Outcome::Pong(Pong { now_ns: 0, state: core.0, ready: true })),
            Command::Report => return Ok(Outcome::Report(Box::new(report(core.1)))),
            Command::Prepare(_) if self.fate == Fate::Refuses => {
                return Err("unknown work `watch`".to_owned());
            }
            Command::Prepare(spec) => {
                assert!(matches!(spec.work, Work::Watch(_)) && spec.interrupts, "{spec:?}");
                core.1 = spec.trial;
                Step::Prepare
            }
            Command::Arm => Step::Arm,
            Command::Start(_) => Step::Start,
            Command::Stop(_) => Step::Stop,
            Command::Acknowledge(_) => Step::Acknowledge,
            other => return Err(format!("{other:?}: a watcher is not asked for this")),
        };
        core.0 = core.0.after(step).map_err(|error| error.to_string())?;
        Ok(Outcome::State(core.0))
    }
}

impl Serve for Watcher {
    async fn serve(&self, stream: DuplexStream) {
        self.converse(stream).await;
    }
}

/// Two receive queues, of which one received 30 of 40 packets.
fn report(trial: u32) -> Report {
    let queue = |queue, packets| WatchedQueue {
        direction: "rx".to_owned(),
        queue,
        packets: Some(packets),
        ..WatchedQueue::default()
    };
    let seen = WatchReport {
        interfaces: vec![WatchedInterface {
            interface: "eth0".to_owned(),
            queues: vec![queue(0, 10), queue(1, 30)],
            ..WatchedInterface::default()
        }],
        ..WatchReport::default()
    };
    Report::new(trial, Ended::Stopped, 0, ReportDetail::Watch(Box::new(seen)))
}
