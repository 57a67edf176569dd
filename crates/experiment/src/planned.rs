//! Trials that are all known in advance: every profile with each of its repeats. Pure.

use std::time::Duration;

use crate::Experiment;
use crate::determinants::{TrialKey, TrialKeys};
use crate::plan::PlanError;

/// A place of a matrix of traffic.
pub trait TrialProfile: Clone {
    /// Its name, under which results are filed.
    fn name(&self) -> &str;
    /// Time of sending; `None`: until interrupted.
    fn duration(&self) -> Option<Duration>;
    /// Key of its trial with this number of the repeat.
    fn key(&self, keys: &TrialKeys, repeat: u32) -> TrialKey;
    /// Checks it against the ceilings of the experiment.
    ///
    /// # Errors
    /// When it exceeds one.
    fn check(&self, experiment: &Experiment) -> Result<(), PlanError>;
}

/// One run of a profile by all agents at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTrial<P> {
    /// Its key, which identifies it.
    pub key: TrialKey,
    /// Its number, from 1.
    pub number: u32,
    /// Its traffic.
    pub profile: P,
    /// Number of the repeat, from 1.
    pub repeat: u32,
    /// Repeats of the profile; 0 when they are not known in advance.
    pub repeats: u32,
}

impl<P: TrialProfile> PlannedTrial<P> {
    /// Directory of the trial's files: the profile's name, and the repeat if there are several.
    pub fn directory(&self) -> String {
        match self.repeats {
            1 => self.profile.name().to_owned(),
            _ => format!("{}/repeat-{}", self.profile.name(), self.repeat),
        }
    }

    /// Label within the experiment: the profile's name and the repeat.
    pub fn label(&self) -> (String, u32) {
        (self.profile.name().to_owned(), self.repeat)
    }

    /// Time of sending; `None`: until interrupted.
    pub fn duration(&self) -> Option<Duration> {
        self.profile.duration()
    }
}

/// The trials of the profiles with `filter` in their name, in order.
///
/// # Errors
/// When no profile is left, or a trial exceeds a ceiling.
pub(crate) fn trials<P: TrialProfile>(
    experiment: &Experiment,
    profiles: &[P],
    filter: Option<&str>,
) -> Result<Vec<PlannedTrial<P>>, PlanError> {
    let repeats = experiment.trial().repeats.get_u32();
    let keys = experiment.trial_keys()?;
    let selected = profiles.iter().filter(|profile| filter.is_none_or(|text| profile.name().contains(text)));
    let mut trials = Vec::new();
    for profile in selected {
        profile.check(experiment)?;
        for repeat in 1..=repeats {
            let (key, number) = (profile.key(&keys, repeat), trials.len() as u32 + 1);
            trials.push(PlannedTrial { key, number, profile: profile.clone(), repeat, repeats });
        }
    }
    if trials.is_empty() {
        return Err(PlanError::NothingSelected {
            filter: filter.unwrap_or_default().to_owned(),
            names: profiles.iter().map(|profile| profile.name().to_owned()).collect(),
        });
    }
    Ok(trials)
}
