//! The trials of an experiment of engines, part by part. Pure.

use crate::Experiment;
use crate::plan::{Plan, PlanError, Trial, plan};
use crate::streams::{StreamsPlan, StreamsTrial};

/// The trials of an experiment of engines; at least one.
#[derive(Debug, Clone)]
pub struct EnginesPlan {
    /// The parts with trials, in the order of the engines.
    pub parts: Vec<PlannedPart>,
}

/// The trials of an engine.
#[derive(Debug, Clone)]
pub struct PlannedPart {
    /// The part, as an experiment of its own.
    pub experiment: Experiment,
    /// Its trials.
    pub trials: PartTrials,
}

/// Trials of a part, by the agents that carry them out.
#[derive(Debug, Clone)]
pub enum PartTrials {
    /// Frames on ports of DPDK.
    Frames(Plan),
    /// Datagrams through sockets.
    Datagrams(StreamsPlan),
}

impl EnginesPlan {
    /// The trials whose name has `filter` in it; `None` for an experiment without engines. Names end with the engine's.
    ///
    /// # Errors
    /// When no trial is left, or one exceeds a ceiling.
    pub fn of(experiment: &Experiment, filter: Option<&str>) -> Result<Option<Self>, PlanError> {
        if !experiment.is_of_engines() {
            return Ok(None);
        }
        let (mut parts, mut names) = (Vec::new(), Vec::new());
        for part in experiment.parts() {
            let planned = match StreamsPlan::of(&part, filter) {
                Ok(None) => plan(&part, filter).map(PartTrials::Frames),
                Ok(Some(plan)) => Ok(PartTrials::Datagrams(plan)),
                Err(error) => Err(error),
            };
            match planned {
                Ok(trials) => parts.push(PlannedPart { experiment: part, trials }),
                // The filter may select trials of other engines.
                Err(PlanError::NothingSelected { names: of_part, .. }) => names.extend(of_part),
                Err(other) => return Err(other),
            }
        }
        if parts.is_empty() {
            return Err(PlanError::NothingSelected { filter: filter.unwrap_or_default().to_owned(), names });
        }
        let mut planned = Self { parts };
        planned.number();
        Ok(Some(planned))
    }

    /// Trials of datagrams are numbered behind those of frames.
    fn number(&mut self) {
        let mut number = self.frames().count() as u32;
        for part in &mut self.parts {
            if let PartTrials::Datagrams(plan) = &mut part.trials {
                for trial in &mut plan.trials {
                    number += 1;
                    trial.number = number;
                }
            }
        }
    }

    /// All trials of frames.
    pub fn frames(&self) -> impl Iterator<Item = &Trial> {
        self.parts.iter().flat_map(|part| match &part.trials {
            PartTrials::Frames(plan) => plan.trials.as_slice(),
            PartTrials::Datagrams(_) => &[],
        })
    }

    /// All trials of datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = &StreamsTrial> {
        self.parts.iter().flat_map(|part| match &part.trials {
            PartTrials::Frames(_) => &[],
            PartTrials::Datagrams(plan) => plan.trials.as_slice(),
        })
    }

    /// Number of all trials; at least 1.
    pub fn count(&self) -> usize {
        self.frames().count() + self.datagrams().count()
    }
}
