//! The steps of a trial in one group of agents. Pure: takes an event, returns the next step.

use linerate_experiment::topology::{Group, Path};
use linerate_wire::message::Sent;
use linerate_wire::report::Part;

use super::Stopped;

/// Phase of a trial in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::run) enum TrialPhase {
    /// Agents receive their part.
    Prepare,
    /// Agents launch their senders and counters.
    Arm,
    /// Receivers and reflectors start.
    StartCounting,
    /// Senders start.
    StartSending,
    /// Packets are sent.
    Sending,
    /// Agents that only send report.
    ReportSenders,
    /// Receivers count until everything has arrived.
    Drain,
    /// Agents that sent and counted report.
    ReportExchanges,
    /// Reflectors stop: no packet is in flight any more.
    StopReflectors,
    /// Agents that only counted or reflected report.
    ReportRest,
    /// All reports are taken.
    Done,
}

/// A request to an agent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::run) enum AgentRequest {
    Prepare,
    Arm,
    Start,
    Stop,
    Report,
    /// Count until the packets that the senders report have arrived.
    Drain(Sent),
}

/// An event in a trial.
#[derive(Debug, Clone)]
pub(in crate::run) enum StepEvent {
    /// Continue from the current phase.
    Begin,
    /// All agents have answered their requests.
    Answered,
    /// An agent that also counts has sent everything.
    Sent { agent: usize, sent: Sent },
    /// An agent finished its part by itself.
    Ended { agent: usize },
    /// An agent gave the trial up, with the reason.
    GaveUp { agent: usize, message: String },
    /// An agent refused a request, or is lost.
    Failed(Stopped),
    /// The user interrupts the run.
    Interrupted,
    /// The trial failed in another group.
    FailedElsewhere,
    /// Agents that still send were silent for longer than they need.
    Overdue { after: std::time::Duration },
}

/// The next step.
#[derive(Debug, Clone)]
pub(in crate::run) enum NextStep {
    /// Send requests to these agents in parallel.
    Ask(Vec<(usize, AgentRequest)>),
    /// Wait for events of the agents that still send.
    Wait,
    /// The requested phase is reached, or the trial is done.
    Reached,
    /// The trial is over without a result.
    Stop(Stopped),
}

/// State of a trial in a group.
#[derive(Debug, Clone)]
pub(in crate::run) struct Steps {
    names: Vec<String>,
    paths: Vec<Path>,
    parts: Vec<Option<Part>>,
    /// The phase whose requests are next or in progress.
    phase: TrialPhase,
    /// Agents that still send.
    sending: Vec<usize>,
    /// Packets that each agent sent, as far as known.
    sent: Vec<Sent>,
}

impl Steps {
    /// A trial on `paths` of a group, not started yet.
    pub(in crate::run) fn new(group: &Group, paths: &[Path]) -> Self {
        let parts: Vec<_> = (0..group.agents.len()).map(|agent| Group::part(agent, paths)).collect();
        let sends = |agent: &usize| matches!(parts[*agent], Some(Part::Tx | Part::Exchange));
        Self {
            names: group.agents.iter().map(|agent| agent.name.clone()).collect(),
            paths: paths.to_vec(),
            sending: (0..parts.len()).filter(sends).collect(),
            sent: vec![Sent::default(); parts.len()],
            parts,
            phase: TrialPhase::Prepare,
        }
    }

    /// The agent's part in this trial.
    pub(in crate::run) fn part(&self, agent: usize) -> Option<Part> {
        self.parts[agent]
    }

    /// The trial's paths.
    pub(in crate::run) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// True when all senders have sent everything.
    pub(in crate::run) fn is_past_sending(&self) -> bool {
        self.phase > TrialPhase::Sending
    }

    /// The agents that send, in order.
    pub(in crate::run) fn senders(&self) -> impl Iterator<Item = usize> {
        let sends = |part: &Option<Part>| matches!(part, Some(Part::Tx | Part::Exchange));
        self.parts.iter().enumerate().filter(move |(_, part)| sends(part)).map(|(agent, _)| agent)
    }

    /// Stores the sent packets that an agent reports.
    pub(in crate::run) fn reported(&mut self, agent: usize, sent: Sent) {
        self.sent[agent] = sent;
    }

    /// The next step after `event`, until the trial reaches `goal`.
    pub(in crate::run) fn next_step(&mut self, event: StepEvent, goal: TrialPhase) -> NextStep {
        match event {
            StepEvent::Begin => {}
            StepEvent::Answered => self.phase = self.phase.next(),
            StepEvent::Sent { agent, sent } => {
                self.sent[agent] = sent;
                self.has_sent(agent);
            }
            StepEvent::Ended { agent } if self.parts[agent] == Some(Part::Tx) => self.has_sent(agent),
            StepEvent::Ended { agent } => {
                return NextStep::Stop(Stopped::ReceiverEnded(self.names[agent].clone()));
            }
            StepEvent::GaveUp { agent, message } => {
                return NextStep::Stop(Stopped::GivenUp { agent: self.names[agent].clone(), message });
            }
            StepEvent::Failed(stopped) => return NextStep::Stop(stopped),
            StepEvent::Interrupted => return NextStep::Stop(Stopped::Interrupted),
            StepEvent::FailedElsewhere => return NextStep::Stop(Stopped::Elsewhere),
            StepEvent::Overdue { after } => {
                let agent = self.sending.first().map_or_else(String::new, |agent| self.names[*agent].clone());
                return NextStep::Stop(Stopped::NoEnd { agent, after });
            }
        }
        loop {
            if self.phase >= goal || self.phase == TrialPhase::Done {
                return NextStep::Reached;
            }
            if self.phase == TrialPhase::Sending {
                if !self.sending.is_empty() {
                    return NextStep::Wait;
                }
            } else {
                let requests = self.requests();
                if !requests.is_empty() {
                    return NextStep::Ask(requests);
                }
            }
            self.phase = self.phase.next();
        }
    }

    fn has_sent(&mut self, agent: usize) {
        self.sending.retain(|still| *still != agent);
    }

    /// Requests of the current phase; receivers come before senders.
    fn requests(&self) -> Vec<(usize, AgentRequest)> {
        use Part::{Exchange, Reflect, Rx, Tx};
        let of = |parts: &[Part], request: AgentRequest| {
            let asked = |agent: &usize| self.parts[*agent].is_some_and(|part| parts.contains(&part));
            (0..self.parts.len()).rev().filter(asked).map(|agent| (agent, request.clone())).collect()
        };
        match self.phase {
            TrialPhase::Prepare => of(&[Tx, Rx, Exchange, Reflect], AgentRequest::Prepare),
            TrialPhase::Arm => of(&[Tx, Rx, Exchange, Reflect], AgentRequest::Arm),
            TrialPhase::StartCounting => of(&[Rx, Reflect], AgentRequest::Start),
            TrialPhase::StartSending => of(&[Tx, Exchange], AgentRequest::Start),
            TrialPhase::ReportSenders => of(&[Tx], AgentRequest::Report),
            TrialPhase::Drain => {
                let counts = |agent: &usize| matches!(self.parts[*agent], Some(Rx | Exchange));
                let drain = |agent: usize| (agent, AgentRequest::Drain(self.expected(agent)));
                (0..self.parts.len()).filter(counts).map(drain).collect()
            }
            TrialPhase::ReportExchanges => of(&[Exchange], AgentRequest::Report),
            TrialPhase::StopReflectors => of(&[Reflect], AgentRequest::Stop),
            TrialPhase::ReportRest => of(&[Rx, Reflect], AgentRequest::Report),
            TrialPhase::Sending | TrialPhase::Done => Vec::new(),
        }
    }

    /// Packets that an agent should receive. Counts by lcore and times are given for a single sender only,
    /// because flows are identified by their sender's lcores.
    fn expected(&self, agent: usize) -> Sent {
        let mut senders = self.paths.iter().filter(|path| path.to == agent).map(|path| &self.sent[path.from]);
        let first = senders.next().cloned().unwrap_or_default();
        senders.fold(first, |all, more| Sent {
            packets: all.packets.saturating_add(more.packets),
            packets_per_lcore: Vec::new(),
            sending: None,
            ..all
        })
    }
}

impl TrialPhase {
    fn next(self) -> Self {
        use TrialPhase::{
            Arm, Done, Drain, Prepare, ReportExchanges, ReportRest, ReportSenders, Sending, StartCounting,
            StartSending, StopReflectors,
        };
        match self {
            Prepare => Arm,
            Arm => StartCounting,
            StartCounting => StartSending,
            StartSending => Sending,
            Sending => ReportSenders,
            ReportSenders => Drain,
            Drain => ReportExchanges,
            ReportExchanges => StopReflectors,
            StopReflectors => ReportRest,
            ReportRest | Done => Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use linerate_experiment::direction::Direction;

    use super::*;

    fn steps(direction: Direction) -> Steps {
        let group = Group::pair(0, direction);
        Steps::new(&group, &group.paths.clone())
    }

    /// Short text for a next step; the agents are `t` and `r`.
    fn words(next: &NextStep) -> String {
        match next {
            NextStep::Ask(requests) => requests
                .iter()
                .map(|(agent, request)| {
                    let what = match request {
                        AgentRequest::Drain(sent) => format!("drain {}", sent.packets),
                        other => format!("{other:?}").to_lowercase(),
                    };
                    format!("{}:{what}", ["t", "r"][*agent])
                })
                .collect::<Vec<_>>()
                .join(" "),
            NextStep::Wait => "wait".to_owned(),
            NextStep::Reached => "reached".to_owned(),
            NextStep::Stop(stopped) => format!("stop: {stopped}"),
        }
    }

    /// Runs a trial to its end, with senders of 7 and 9 packets. Returns every step as text.
    fn course(direction: Direction) -> Vec<String> {
        let mut steps = steps(direction);
        let mut shown = Vec::new();
        let mut event = StepEvent::Begin;
        loop {
            let next = steps.next_step(event, TrialPhase::Done);
            shown.push(words(&next));
            event = match next {
                NextStep::Ask(requests) => {
                    for (agent, request) in requests {
                        if request == AgentRequest::Report && steps.part(agent) == Some(Part::Tx) {
                            steps.reported(agent, Sent { packets: 7, ..Sent::default() });
                        }
                    }
                    StepEvent::Answered
                }
                NextStep::Wait => {
                    let agent = steps.sending[0];
                    match steps.part(agent) {
                        Some(Part::Tx) => StepEvent::Ended { agent },
                        _ => StepEvent::Sent {
                            agent,
                            sent: Sent { packets: [7, 9][agent], ..Sent::default() },
                        },
                    }
                }
                NextStep::Reached | NextStep::Stop(_) => return shown,
            };
        }
    }

    #[test]
    fn every_direction_has_its_course() {
        let set_up = ["r:prepare t:prepare", "r:arm t:arm"];
        let rows: [(Direction, &[&str]); 3] = [
            (
                Direction::OneWay,
                &["r:start", "t:start", "wait", "t:report", "r:drain 7", "r:report", "reached"],
            ),
            (
                Direction::Bidirectional,
                &["r:start t:start", "wait", "wait", "t:drain 9 r:drain 7", "r:report t:report", "reached"],
            ),
            (
                Direction::RoundTrip,
                &["r:start", "t:start", "wait", "t:drain 7", "t:report", "r:stop", "r:report", "reached"],
            ),
        ];
        for (direction, rest) in rows {
            let expected: Vec<&str> = set_up.iter().chain(rest).copied().collect();
            assert_eq!(course(direction), expected, "{direction:?}");
        }
    }

    #[test]
    fn an_agent_lost_at_any_step_ends_the_trial() {
        for direction in [Direction::OneWay, Direction::Bidirectional, Direction::RoundTrip] {
            for lost_after in 0..course(direction).len() - 1 {
                let mut steps = steps(direction);
                let mut event = StepEvent::Begin;
                for _ in 0..=lost_after {
                    let next = steps.next_step(event, TrialPhase::Done);
                    event = match next {
                        NextStep::Wait => {
                            let agent = steps.sending[0];
                            match steps.part(agent) {
                                Some(Part::Tx) => StepEvent::Ended { agent },
                                _ => StepEvent::Sent { agent, sent: Sent::default() },
                            }
                        }
                        _ => StepEvent::Answered,
                    };
                }
                let lost = Stopped::Agent { cause: "tx0 was killed".into(), refusal: false };
                let next = steps.next_step(StepEvent::Failed(lost), TrialPhase::Done);
                assert_eq!(words(&next), "stop: tx0 was killed", "{direction:?} {lost_after}");
            }
        }
    }

    #[test]
    fn what_ends_a_trial_early_is_named() {
        let sending = |direction| {
            let mut steps = steps(direction);
            let mut event = StepEvent::Begin;
            while !matches!(steps.next_step(event, TrialPhase::Done), NextStep::Wait) {
                event = StepEvent::Answered;
            }
            steps
        };
        let after = Duration::from_secs(13);
        let rows: [(Direction, StepEvent, &str); 6] = [
            (Direction::OneWay, StepEvent::Ended { agent: 1 }, "rx0 ended before the transmitter did"),
            (Direction::RoundTrip, StepEvent::Ended { agent: 0 }, "tx0 ended before the transmitter did"),
            (
                Direction::OneWay,
                StepEvent::GaveUp { agent: 0, message: "the port is gone".into() },
                "tx0 gave the trial up: the port is gone",
            ),
            (Direction::OneWay, StepEvent::Interrupted, "interrupted"),
            (
                Direction::OneWay,
                StepEvent::FailedElsewhere,
                "stopped, because the trial failed on another pair",
            ),
            (
                Direction::Bidirectional,
                StepEvent::Overdue { after },
                "tx0 has neither ended the trial nor got on with it for 13s",
            ),
        ];
        for (direction, event, text) in rows {
            assert_eq!(
                words(&sending(direction).next_step(event, TrialPhase::Done)),
                format!("stop: {text}")
            );
        }
    }

    #[test]
    fn groups_wait_for_each_other_at_a_goal() {
        let mut steps = steps(Direction::OneWay);
        let mut event = StepEvent::Begin;
        let mut asked = 0;
        while !matches!(steps.next_step(event, TrialPhase::StartCounting), NextStep::Reached) {
            event = StepEvent::Answered;
            asked += 1;
        }
        assert_eq!(asked, 2);
        assert_eq!(words(&steps.next_step(StepEvent::Begin, TrialPhase::Sending)), "r:start");
    }
}
