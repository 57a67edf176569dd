//! Trials that are all known in advance: every profile with each of its repeats, under every setting of hosts. Pure.

use std::time::Duration;

use crate::Experiment;
use crate::determinants::{TrialKey, TrialKeys};
use crate::host_settings::HostSetting;
use crate::plan::PlanError;

/// A place of a matrix of traffic.
pub trait TrialProfile: Clone {
    /// Its name, under which results are filed.
    fn name(&self) -> &str;
    /// The same with another name.
    fn with_name(self, name: String) -> Self;
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
    /// The setting of hosts under which it is run; `None` where the document has none.
    pub host_setting: Option<HostSetting>,
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

/// The trials with `filter` in their name, in order.
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
    let (mut trials, mut names) = (Vec::new(), Vec::new());
    // A setting of hosts changes as seldom as possible.
    for setting in experiment.host_settings() {
        let first = trials.len();
        for profile in profiles {
            let name = HostSetting::name_under(setting, profile.name());
            names.push(name.clone());
            if filter.is_some_and(|text| !name.contains(text)) {
                continue;
            }
            profile.check(experiment)?;
            let named = profile.clone().with_name(name);
            for repeat in 1..=repeats {
                let key = keys.under(profile.key(&keys, repeat), setting);
                let (host_setting, profile) = (setting.cloned(), named.clone());
                trials.push(PlannedTrial { key, number: 0, profile, host_setting, repeat, repeats });
            }
        }
        experiment.trial().order.arrange(&mut trials[first..], |trial| trial.repeat);
    }
    trials.iter_mut().zip(1..).for_each(|(trial, number)| trial.number = number);
    if trials.is_empty() {
        return Err(PlanError::NothingSelected { filter: filter.unwrap_or_default().to_owned(), names });
    }
    Ok(trials)
}
