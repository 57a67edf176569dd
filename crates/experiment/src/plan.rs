//! Plan: the trials of an experiment and their duration. Pure; a dry run prints exactly the trials that a run
//! carries out.

use std::time::Duration;

use linerate_search::SpecError;
use linerate_traffic::limit::Limit;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{FrameSizes, Profile};
use linerate_traffic::rate::Rate;
use linerate_traffic::safety::{Unsafe, UnsafeStreams};
use linerate_wire::flow_lines::FlowLines;
use serde::Serialize;

use crate::Experiment;
use crate::determinants::TrialKey;
use crate::direction::Direction;
use crate::engines::{Carrier, EnginesPlan};
use crate::host_settings::HostSetting;
use crate::search::{SearchTrial, SearchView};
use crate::strategy::Strategy;

/// Estimated time of a trial besides its sending: preparing, settling, storing.
pub(crate) const TRIAL_OVERHEAD: Duration = Duration::from_millis(150);
/// Estimated time to start, warm up and end the agents.
pub(crate) const START_AND_END: Duration = Duration::from_millis(1500);

/// One run of a profile on all paths at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Its key, which identifies it.
    pub key: TrialKey,
    /// Name of its profile, under which results are filed.
    pub name: String,
    /// Its traffic.
    pub profile: Profile,
    /// The engine that carries it, in an experiment of engines.
    pub engine: Option<Carrier>,
    /// The setting of hosts under which it is run; `None` where the document has none.
    pub host_setting: Option<HostSetting>,
    /// When its senders end.
    pub limit: Limit,
    /// Number of the repeat, from 1.
    pub repeat: u32,
    /// Repeats of the profile.
    pub repeats: u32,
    /// Sending time; `None` when it is unknown in advance.
    pub expected_duration: Option<Duration>,
    /// Its part in a rate search; `None` in other trials.
    pub search: Option<SearchTrial>,
    /// The only path that it loads; `None`: all.
    pub path: Option<String>,
    /// Time without traffic before it, for buffers of the path to empty.
    pub rest: Duration,
}

impl Trial {
    /// The trial's path below its pair's directory: the profile's name, and the repeat if there are several; in
    /// a search, the number of the search and that of the trial.
    pub fn directory(&self) -> String {
        match self.search {
            Some(SearchTrial { number, ordinal, .. }) => {
                format!("{}/search-{number}/trial-{ordinal}", self.name)
            }
            None if self.repeats > 1 => format!("{}/repeat-{}", self.name, self.repeat),
            None => self.name.clone(),
        }
    }

    /// The trial's label within its experiment: the profile's name and the repeat.
    pub fn label(&self) -> (String, u32) {
        (self.name.clone(), self.repeat)
    }

    /// True when results on these paths, each with its part in a search, are of this trial. Labels do not tell:
    /// they count the trials of all searches of a profile, and a search may have come further in another run.
    pub fn is_of<'r>(&self, results: impl IntoIterator<Item = (&'r str, Option<SearchTrial>)>) -> bool {
        results.into_iter().all(|(path, search)| search == self.search && self.loads(path))
    }

    /// True when the trial loads the path.
    pub fn loads(&self, path: &str) -> bool {
        self.path.as_deref().is_none_or(|only| only == path)
    }

    /// Checks the trial against the ceilings, on a link of `link_bps` bit/s.
    ///
    /// # Errors
    /// The ceiling that is exceeded.
    pub fn check(&self, experiment: &Experiment, link_bps: Option<u64>) -> Result<(), PlanError> {
        self.unless_unsafe(experiment.ceilings().check(&self.profile, &self.limit, link_bps))
    }

    pub(crate) fn unless_unsafe(&self, checked: Result<(), Unsafe>) -> Result<(), PlanError> {
        match checked {
            // If the profile names no destination, the sending agent knows and checks it.
            Err(Unsafe::Destination { .. }) if self.profile.raw().destination.written_ip().is_none() => {
                Ok(())
            }
            checked => checked.map_err(|problem| PlanError::Unsafe { profile: self.name.clone(), problem }),
        }
    }

    /// Size of the flow file of one path in bytes, by a low estimate.
    pub fn flow_bytes(&self) -> u64 {
        let nowhere = (MacAddr([0; 6]), MacAddr([0; 6]));
        FlowLines { traffic: Some((&self.profile, nowhere)), sent: None, delays_valid: true }.least_bytes()
    }
}

/// The trials of an experiment, in order; at least one, but in an experiment of engines without any that sends frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order of their runs.
    pub trials: Vec<Trial>,
}

/// A plan, as a dry run shows it.
#[derive(Debug, Serialize)]
pub struct PlanView {
    /// The experiment's name.
    pub experiment: String,
    /// Pairs, which each trial loads at the same time.
    pub pairs: usize,
    /// Direction of the packets.
    pub direction: Direction,
    /// The trials that are known in advance, in order.
    pub trials: Vec<TrialView>,
    /// The rate searches, by profile; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<SearchView>,
    /// Estimated total time in seconds; absent when a trial's duration is unknown in advance.
    pub estimated_s: Option<f64>,
}

/// A trial, as a dry run shows it.
#[derive(Debug, Serialize)]
pub struct TrialView {
    /// Name of the profile.
    pub profile: String,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Number of flows.
    pub flows: u32,
    /// Intended load, as written.
    pub rate: Rate,
    /// Number of the repeat.
    pub repeat: u32,
    /// Sending time in seconds, when known in advance.
    pub duration_s: Option<f64>,
}

/// Why an experiment has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The filter selects no trial.
    #[error("no profile of the experiment has '{filter}' in its name; there are: {}", names.join(", "))]
    NothingSelected {
        /// The filter.
        filter: String,
        /// Names of the profiles.
        names: Vec<String>,
    },
    /// The document cannot be written as JSON, which is not expected.
    #[error("cannot distinguish the trials: {0}")]
    Key(#[from] serde_json::Error),
    /// The loads of a search cannot be.
    #[error("{profile}: spec.search: {problem}")]
    Search {
        /// Name of the profile.
        profile: String,
        /// What is wrong with them.
        problem: SpecError,
    },
    /// A trial exceeds a ceiling.
    #[error("{profile}: {problem}")]
    Unsafe {
        /// Name of the trial's profile.
        profile: String,
        /// The ceiling, and by how much it is exceeded.
        problem: Unsafe,
    },
    /// A trial of streams exceeds a ceiling.
    #[error("{profile}: {problem}")]
    UnsafeStreams {
        /// Name of the trial's profile.
        profile: String,
        /// The ceiling, and by how much it is exceeded.
        problem: UnsafeStreams,
    },
}

/// The trials of `experiment` whose profile has `filter` in its name: under every setting of
/// hosts, every profile in order, its repeats in a row or in rounds (`spec.trial.order`).
///
/// # Errors
/// When no profile is left, or a trial exceeds a ceiling. Ceilings and loads that depend on the link's speed
/// are checked by [`Trial::check`] when the speed is known.
pub fn plan(experiment: &Experiment, filter: Option<&str>) -> Result<Plan, PlanError> {
    if let Some(engines) = EnginesPlan::of(experiment, filter)? {
        return Ok(Plan { trials: engines.frames().cloned().collect() });
    }
    let repeats = experiment.trial().repeats.get_u32();
    let keys = &experiment.trial_keys()?;
    // A setting of hosts changes as seldom as possible.
    let mut trials: Vec<Trial> = Vec::new();
    for setting in experiment.host_settings() {
        let first = trials.len();
        for (profile, name) in named(experiment, setting) {
            if filter.is_some_and(|text| !name.contains(text)) {
                continue;
            }
            let expected_duration = expected_duration(experiment, profile);
            trials.extend((1..=repeats).map(|repeat| Trial {
                key: keys.under(keys.of(profile, repeat), setting),
                name: name.clone(),
                profile: profile.clone(),
                engine: experiment.carrier(),
                host_setting: setting.cloned(),
                limit: experiment.limit(),
                repeat,
                repeats,
                expected_duration,
                search: None,
                path: None,
                rest: Duration::ZERO,
            }));
        }
        experiment.trial().order.arrange(&mut trials[first..], |trial| trial.repeat);
    }
    if trials.is_empty() {
        let all = experiment.host_settings().into_iter().flat_map(|setting| named(experiment, setting));
        let names = all.map(|(_, name)| name).collect();
        return Err(PlanError::NothingSelected { filter: filter.unwrap_or_default().to_owned(), names });
    }
    let (ceilings, limit) = (experiment.ceilings(), experiment.limit());
    trials.iter().try_for_each(|trial| trial.unless_unsafe(ceilings.check_ahead(&trial.profile, &limit)))?;
    Ok(Plan { trials })
}

/// The profiles with the names of their trials under a setting of hosts.
fn named<'e>(
    experiment: &'e Experiment,
    setting: Option<&'e HostSetting>,
) -> impl Iterator<Item = (&'e Profile, String)> {
    let name = move |profile| HostSetting::name_under(setting, &experiment.profile_name(profile));
    experiment.profiles.iter().map(move |profile| (profile, name(profile)))
}

fn expected_duration(experiment: &Experiment, profile: &Profile) -> Option<Duration> {
    let limit = experiment.limit();
    let by_time = limit.duration_ms.map(Duration::from_millis);
    let pps = profile.rate().packets_per_second(profile.frame_sizes(), None).ok().flatten();
    let by_packets = limit
        .packets
        .zip(pps)
        .and_then(|(packets, pps)| Duration::try_from_secs_f64(packets as f64 / pps).ok());
    match (by_time, by_packets) {
        (Some(time), Some(packets)) => Some(time.min(packets)),
        (one, other) => one.or(other),
    }
}

/// Estimated total time; `None` when a trial's duration is unknown in advance.
fn estimate(trials: &[Trial]) -> Option<Duration> {
    trials.iter().try_fold(START_AND_END, |total, trial| {
        trial.expected_duration.and_then(|duration| total.checked_add(duration)?.checked_add(TRIAL_OVERHEAD))
    })
}

/// The plan of an experiment, as a dry run shows it.
pub fn view(experiment: &Experiment, strategy: &dyn Strategy) -> PlanView {
    let trials = strategy.foreseen();
    let searches = strategy.forecast(TRIAL_OVERHEAD);
    let behind = |search: &SearchView| {
        let each = search.then.iter().map(|follow| follow.likely_s).sum::<f64>();
        search.likely_s + search.searches as f64 * each
    };
    let searched = searches.iter().map(behind).sum::<f64>();
    PlanView {
        experiment: experiment.name().to_owned(),
        pairs: experiment.pairs(),
        direction: experiment.direction(),
        trials: trials
            .iter()
            .map(|trial| TrialView {
                profile: trial.name.clone(),
                frame_size: trial.profile.frame_sizes().clone(),
                flows: trial.profile.flows(),
                rate: trial.profile.rate(),
                repeat: trial.repeat,
                duration_s: trial.expected_duration.map(|duration| duration.as_secs_f64()),
            })
            .collect(),
        searches,
        estimated_s: estimate(trials).map(|duration| duration.as_secs_f64() + searched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overrides;

    fn experiment(spec: &str) -> Experiment {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n{spec}");
        Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap()
    }

    #[test]
    fn every_profile_and_repeat_is_a_trial_in_order() {
        let experiment =
            experiment("  traffic: {frameSizes: [64, 512]}\n  trial: {duration: 2s, repeats: 2}\n");
        let plan = plan(&experiment, None).unwrap();
        let directories: Vec<_> = plan.trials.iter().map(Trial::directory).collect();
        let name = |size, repeat| format!("profile_1_flows_pkt_size_{size}B_10_rate_s/repeat-{repeat}");
        assert_eq!(directories, [name(64, 1), name(64, 2), name(512, 1), name(512, 2)]);
        let rounds = self::experiment(
            "  traffic: {frameSizes: [64, 512]}\n  trial: {duration: 2s, repeats: 2, order: rounds}\n",
        );
        let trials = super::plan(&rounds, None).unwrap().trials;
        let directories: Vec<_> = trials.iter().map(Trial::directory).collect();
        assert_eq!(directories, [name(64, 1), name(512, 1), name(64, 2), name(512, 2)]);
        // A run of one order is completed in the other.
        assert_eq!(trials[1].key, plan.trials[2].key);
        assert_eq!(
            estimate(&plan.trials),
            Some(START_AND_END + 4 * (Duration::from_secs(2) + TRIAL_OVERHEAD))
        );
    }

    #[test]
    fn a_filter_selects_by_name_and_must_leave_something() {
        let experiment = experiment("  traffic: {frameSizes: [64, 512]}\n");
        let left = plan(&experiment, Some("512B")).unwrap();
        assert_eq!(left.trials.len(), 1);
        assert_eq!(left.trials[0].directory(), "profile_1_flows_pkt_size_512B_10_rate_s");
        let message = plan(&experiment, Some("9000B")).unwrap_err().to_string();
        assert!(message.contains("'9000B'") && message.contains("profile_1_flows_pkt_size_64B"), "{message}");
    }

    #[test]
    fn durations_follow_from_time_or_packets() {
        for (trial, rate, expected) in [
            ("duration: 3s", "max", Some(3.0)),
            ("packets: 5000", "1kpps", Some(5.0)),
            ("packets: 5000, duration: 2s", "1kpps", Some(2.0)),
            ("packets: 1000, duration: 2s", "1kpps", Some(1.0)),
            ("packets: 1000", "max", None),
            ("packets: 1000", "10%", None),
        ] {
            let experiment = experiment(&format!("  traffic: {{rates: [{rate}]}}\n  trial: {{{trial}}}\n"));
            let plan = plan(&experiment, None).unwrap();
            assert_eq!(plan.trials[0].expected_duration.map(|d| d.as_secs_f64()), expected, "{trial} {rate}");
        }
    }
}
