//! What a port is to do in a trial.

use linerate_traffic::limit::Limit;
use linerate_traffic::rate::Rate;
use linerate_wire::report::Part;
use linerate_wire::trial::{FrameWork, ReceiveSpec, RoleSpec, TransmitSpec};

use linerate_measure::analysis::Expect;
use linerate_measure::recording::Recording;

/// A port's part in a trial.
#[derive(Debug, Clone)]
pub struct Order {
    /// Number of the trial.
    pub trial: u32,
    /// Tag of the probes that it sends.
    pub tag: u16,
    /// Its task.
    pub task: Task,
}

/// Work of a port and its lcores in a trial.
#[derive(Debug, Clone)]
pub enum Task {
    /// Send.
    Transmit(Box<TransmitSpec>),
    /// Count.
    Receive(Expect),
    /// Send and count.
    Exchange(Box<TransmitSpec>, Expect),
    /// Replay a recording.
    Replay(Box<Replayed>),
    /// Send received frames back.
    Reflect,
}

/// A recording to replay, by one lcore, so that its order is kept.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The frames.
    pub recording: Recording,
    /// Rate; `None`: as recorded.
    pub rate: Option<Rate>,
    /// End of sending.
    pub limit: Limit,
}

impl Task {
    pub(super) fn part(&self) -> Part {
        match self {
            Task::Transmit(_) | Task::Replay(_) => Part::Tx,
            Task::Receive(_) => Part::Rx,
            Task::Exchange(..) => Part::Exchange,
            Task::Reflect => Part::Reflect,
        }
    }
}

impl Order {
    /// What a controller asks for in the trial of this number.
    pub fn new(trial: u32, work: &FrameWork) -> Self {
        let expect = |receive: &ReceiveSpec| Expect::Trial { tag: work.received_tag(), flows: receive.flows };
        let task = match &work.role {
            RoleSpec::Transmit(transmit) => Task::Transmit(transmit.clone()),
            RoleSpec::Receive(receive) => Task::Receive(expect(receive)),
            RoleSpec::Exchange(transmit, receive) => Task::Exchange(transmit.clone(), expect(receive)),
            RoleSpec::Reflect => Task::Reflect,
        };
        Self { trial, tag: work.tag, task }
    }
}
