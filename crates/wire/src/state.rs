//! State machine of a trial inside an agent.
//!
//! ```text
//! idle ──prepare──► prepared ──arm──► armed ──start──► running ──(end or stop)──► finished ──acknowledge──► idle
//!   ▲                   └───────────────┴─────stop (nothing sent, nothing to report)──┐
//!   └──────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// State of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// No trial.
    Idle,
    /// A trial's plan is accepted and its memory is allocated.
    Prepared,
    /// The lcores are launched: a receiver counts, a transmitter waits for the start.
    Armed,
    /// A transmitter sends; a receiver counts and streams samples.
    Running,
    /// The report waits for its acknowledgement.
    Finished,
}

/// Steps that change an agent's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Accept a trial.
    Prepare,
    /// Launch the lcores.
    Arm,
    /// Begin.
    Start,
    /// End early, or cancel before the start.
    Stop,
    /// The trial ended by itself.
    End,
    /// Send the report.
    Report,
    /// The controller has stored the report.
    Acknowledge,
}

impl AgentState {
    /// The state after `step`.
    ///
    /// # Errors
    /// [`IllegalStep`] when this state does not allow the step; the state is then unchanged.
    pub fn after(self, step: Step) -> Result<AgentState, IllegalStep> {
        use AgentState::{Armed, Finished, Idle, Prepared, Running};
        match (self, step) {
            (Idle, Step::Prepare) => Ok(Prepared),
            (Prepared, Step::Arm) => Ok(Armed),
            (Armed, Step::Start) => Ok(Running),
            (Prepared | Armed, Step::Stop) | (Finished, Step::Acknowledge) => Ok(Idle),
            (Running, Step::Stop | Step::End) | (Finished, Step::Report | Step::Stop) => Ok(Finished),
            (state, step) => Err(IllegalStep { state, step }),
        }
    }
}

impl fmt::Display for AgentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AgentState::Idle => "idle",
            AgentState::Prepared => "prepared",
            AgentState::Armed => "armed",
            AgentState::Running => "running",
            AgentState::Finished => "finished",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Prepare => "prepare",
            Step::Arm => "arm",
            Step::Start => "start",
            Step::Stop => "stop",
            Step::End => "end",
            Step::Report => "report",
            Step::Acknowledge => "acknowledge",
        })
    }
}

/// A step that the agent's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("'{step}' is not possible while the agent is {state}")]
pub struct IllegalStep {
    /// State of the agent.
    pub state: AgentState,
    /// Requested step.
    pub step: Step,
}

#[cfg(test)]
mod tests {
    use super::AgentState::{Armed, Finished, Idle, Prepared, Running};
    use super::Step::{Acknowledge, Arm, End, Prepare, Report, Start, Stop};

    #[test]
    fn exactly_these_steps_are_legal() {
        let legal = [
            (Idle, Prepare, Prepared),
            (Prepared, Arm, Armed),
            (Prepared, Stop, Idle),
            (Armed, Start, Running),
            (Armed, Stop, Idle),
            (Running, Stop, Finished),
            (Running, End, Finished),
            (Finished, Stop, Finished),
            (Finished, Report, Finished),
            (Finished, Acknowledge, Idle),
        ];
        for state in [Idle, Prepared, Armed, Running, Finished] {
            for step in [Prepare, Arm, Start, Stop, End, Report, Acknowledge] {
                let expected =
                    legal.iter().find(|(s, t, _)| (*s, *t) == (state, step)).map(|(_, _, next)| *next);
                assert_eq!(state.after(step).ok(), expected, "{state} + {step}");
            }
        }
        let refused = Idle.after(Start).unwrap_err();
        assert_eq!(refused.to_string(), "'start' is not possible while the agent is idle");
    }
}
