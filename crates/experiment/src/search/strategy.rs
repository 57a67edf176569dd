//! The strategy of a search: the trials of each profile's searches, one search after another.

use std::sync::OnceLock;
use std::time::Duration;

use linerate_search::methods::TrialLoad;
use linerate_search::{Goal, Next, Request, Search, SearchSpec};
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::Profile;
use linerate_traffic::rate::Rate;
use linerate_traffic::safety::Ceilings;

use super::follow::{self, Basis, FollowState};
use super::forecast::SearchView;
use super::state::{SearchOutcome, SearchState, SearchStep};
use super::then::FollowUp;
use super::{MaxLoadSource, SearchMode, SearchPurpose, SearchSection, SearchTrial};
use crate::Experiment;
use crate::determinants::{TrialKey, TrialKeys};
use crate::plan::{PlanError, Trial};
use crate::strategy::{Equipment, NextTrial, Outcomes, RecordedOutcome, Strategy};

const NS_PER_MS: u64 = 1_000_000;
/// Share of what a trial as fast as possible offered that is the highest load.
const SHARE_OF_MEASURED: f64 = 0.99;

/// The searches of an experiment, in order: for each profile all its whole searches, and in mode `each` one for
/// each path.
#[derive(Debug)]
pub struct Searches {
    section: SearchSection,
    ceilings: Ceilings,
    keys: TrialKeys,
    paths: usize,
    units: Vec<Unit>,
    /// For each search that has ended, its number of trials and the key of the last one: while that has an outcome,
    /// the search is not replayed again.
    ended: Vec<OnceLock<(u32, TrialKey)>>,
}

/// One search.
#[derive(Debug, Clone)]
struct Unit {
    name: String,
    profile: Profile,
    number: u32,
    path: Option<String>,
}

/// Highest load of a search.
enum MaxLoad {
    Known(u64, MaxLoadSource),
    /// A trial as fast as possible must tell it.
    Measure,
}

impl Searches {
    /// The searches of `experiment` for the profiles that have `filter` in their name; `None` when it is no
    /// search.
    ///
    /// # Errors
    /// When no profile is left, the loads cannot be, or the trials exceed a ceiling whatever their load.
    pub fn of(experiment: &Experiment, filter: Option<&str>) -> Result<Option<Self>, PlanError> {
        let Some(section) = experiment.search() else { return Ok(None) };
        let paths: Vec<String> = experiment.topology().paths().map(|path| path.name.clone()).collect();
        let alone: Vec<Option<String>> = match section.mode {
            SearchMode::Each => paths.iter().cloned().map(Some).collect(),
            SearchMode::Together | SearchMode::Every => vec![None],
        };
        let named = experiment.profiles.iter().map(|profile| (profile.search_name(), profile));
        let mut units = Vec::new();
        for (name, profile) in named.clone().filter(|(name, _)| filter.is_none_or(|text| name.contains(text)))
        {
            let repeats = (0..section.repeats.get()).flat_map(|_| alone.iter().cloned());
            units.extend(repeats.zip(1..).map(|(path, number)| Unit {
                name: name.clone(),
                profile: profile.clone(),
                number,
                path,
            }));
        }
        if units.is_empty() {
            return Err(PlanError::NothingSelected {
                filter: filter.unwrap_or_default().to_owned(),
                names: named.map(|(name, _)| name).collect(),
            });
        }
        let searches = Self {
            section: section.clone(),
            ceilings: experiment.ceilings(),
            keys: experiment.trial_keys()?,
            paths: paths.len(),
            ended: vec![OnceLock::new(); units.len()],
            units,
        };
        searches.check_ahead()?;
        Ok(Some(searches))
    }

    /// Checks the loads of each search, and its longest trial at the lowest one: a search must not meet a ceiling on
    /// durations or destinations in the middle.
    fn check_ahead(&self) -> Result<(), PlanError> {
        let durations = self.goals().map(|goal| goal.final_duration_ns / NS_PER_MS);
        let behind = self.section.then.iter().map(|follow| follow::longest_ns(follow) / NS_PER_MS);
        let longest = durations.chain([self.section.warm_up.millis()]).chain(behind).max();
        for unit in &self.units {
            let request =
                Request { load_pps: 1, duration_ns: longest.unwrap_or(0) * NS_PER_MS, counted: true };
            let mut trial = self.trial(unit, 0, 1, SearchPurpose::Search, Some(request));
            trial.profile = trial.profile.with_rate(self.section.load.min);
            trial.unless_unsafe(self.ceilings.check_ahead(&trial.profile, &trial.limit))?;
            // Percentages depend on the link.
            let pps = |rate: Rate| rate.packets_per_second(unit.profile.frame_sizes(), None).ok().flatten();
            let Some(min) = pps(self.section.load.min) else { continue };
            let max = self.section.load.max.and_then(pps).unwrap_or(u64::MAX as f64);
            let wrong = |problem| PlanError::Search { profile: unit.name.clone(), problem };
            self.spec(min.ceil() as u64, max as u64).check().map_err(wrong)?;
        }
        Ok(())
    }

    /// The section of the document.
    pub fn section(&self) -> &SearchSection {
        &self.section
    }

    /// The goals.
    pub fn goals(&self) -> impl Iterator<Item = &Goal> {
        self.section.goals.value.iter().map(|goal| &goal.0)
    }

    /// Names and profiles of the searches, in order.
    pub fn units(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.units.iter().map(|unit| (unit.name.as_str(), &unit.profile))
    }

    /// Specification of a search with these limits, in packets per second.
    pub fn spec(&self, min_pps: u64, max_pps: u64) -> SearchSpec {
        SearchSpec {
            goals: self.goals().cloned().collect(),
            min_pps,
            max_pps,
            warm_up_ns: self.section.warm_up.millis() * NS_PER_MS,
        }
    }

    /// State of a search; `before` trials belong to earlier searches of its profile.
    fn replay(&self, unit: &Unit, before: u32, outcomes: &Outcomes) -> SearchState {
        let mut state = SearchState {
            name: unit.name.clone(),
            profile: unit.profile.clone(),
            number: unit.number,
            path: unit.path.clone(),
            loaded: if unit.path.is_some() { 1 } else { self.paths },
            min_pps: None,
            max: None,
            search: None,
            steps: Vec::new(),
            follow: Vec::new(),
            follow_trials: 0,
            last: None,
            next: None,
            ended: None,
        };
        while state.ended.is_none() && state.next.is_none() {
            if let Err(why) = self.advance(unit, before, outcomes, &mut state) {
                state.ended = Some(SearchOutcome::Failed(why));
            }
        }
        if state.ended == Some(SearchOutcome::Finished) {
            self.follow(unit, before, outcomes, &mut state);
        }
        state
    }

    /// The benchmarks behind a finished search: takes their recorded trials, or says what comes next.
    fn follow(&self, unit: &Unit, before: u32, outcomes: &Outcomes, state: &mut SearchState) {
        let equipment = outcomes.equipment();
        let sizes = unit.profile.frame_sizes();
        let ceiling_pps = self.ceilings.most_pps(sizes, equipment.claimed_bps).ok().flatten();
        for benchmark in &self.section.then {
            let basis = Basis { search: state, equipment, ceiling_pps };
            let begun = benchmark.begin(basis);
            let reason = begun.as_ref().err().cloned();
            let (name, trials, is_complete) = (benchmark.name(), 0, false);
            let mut follow = FollowState { name, method: begun.ok(), reason, trials, is_complete };
            while let Some(method) = &mut follow.method {
                let Some(asked) = method.next() else {
                    follow.is_complete = true;
                    break;
                };
                let basis = Basis { search: state, equipment, ceiling_pps };
                if let Some(why) = basis.refusal(&asked.load) {
                    follow.reason = Some(why);
                    break;
                }
                let ordinal = state.all_trials() + 1;
                let trial = self.follow_trial(unit, before, ordinal, benchmark, &asked.load);
                let paths = match outcomes.of(&trial) {
                    None => {
                        state.next = Some(Box::new(trial));
                        break;
                    }
                    Some(RecordedOutcome::Failed) => {
                        state.follow_trials += 1;
                        follow.reason = Some("a trial failed in every attempt".to_owned());
                        break;
                    }
                    Some(RecordedOutcome::Measured(paths)) => paths,
                };
                state.follow_trials += 1;
                state.last = Some(trial.key);
                if paths.len() < state.loaded {
                    follow.reason = Some(format!(
                        "trial {ordinal} has results of {} of {} paths; the others left the run",
                        paths.len(),
                        state.loaded
                    ));
                    break;
                }
                let link_pps = equipment.real_bps.map(|bps| sizes.line_rate_pps(bps));
                let how = (self.section.mode, self.section.limits);
                method.record(follow::outcome(how, &asked, link_pps, paths));
                follow.trials += 1;
            }
            state.follow.push(follow);
            if state.next.is_some() {
                return;
            }
        }
    }

    fn follow_trial(
        &self,
        unit: &Unit,
        before: u32,
        ordinal: u32,
        benchmark: &FollowUp,
        load: &TrialLoad,
    ) -> Trial {
        let (profile, limit, expected_duration) = follow::run_of(&unit.profile, load);
        let (purpose, rest) = (benchmark.purpose(), benchmark.rest());
        let intended_duration_ns = load.duration_ns();
        let search = SearchTrial { number: unit.number, ordinal, purpose, intended_duration_ns };
        let repeat = before + ordinal;
        Trial {
            // Bursts differ in their limit alone.
            key: self.keys.of_follow_up(&profile, &limit, rest, repeat, &search, unit.path.as_deref()),
            name: unit.name.clone(),
            profile,
            engine: None,
            host_setting: None,
            limit,
            repeat,
            repeats: repeat,
            expected_duration,
            search: Some(search),
            path: unit.path.clone(),
            rest,
        }
    }

    /// Takes one recorded trial, or says what comes next.
    fn advance(
        &self,
        unit: &Unit,
        before: u32,
        outcomes: &Outcomes,
        state: &mut SearchState,
    ) -> Result<(), String> {
        let (purpose, request) = match state.request() {
            Some(Next::Finished) => {
                state.ended = Some(SearchOutcome::Finished);
                return Ok(());
            }
            Some(Next::Measure(request)) if request.counted => (SearchPurpose::Search, Some(request)),
            Some(Next::Measure(request)) => (SearchPurpose::WarmUp, Some(request)),
            None => match self.limits(unit, outcomes.equipment(), state)? {
                true => return Ok(()),
                false => (SearchPurpose::Ceiling, None),
            },
        };
        let used_up = |budget| state.elapsed_s() >= Duration::as_secs_f64(&budget);
        if !state.steps.is_empty() && self.section.budget.is_some_and(|budget| used_up(budget.get())) {
            state.ended = Some(SearchOutcome::Budget);
            return Ok(());
        }
        let trial = self.trial(unit, before, state.steps.len() as u32 + 1, purpose, request);
        match outcomes.of(&trial) {
            None => state.next = Some(Box::new(trial)),
            Some(RecordedOutcome::Failed) => return Err("a trial failed in every attempt".to_owned()),
            Some(RecordedOutcome::Measured(paths)) => {
                let step = SearchStep { purpose, request, paths: paths.clone(), is_repeated: false };
                state.take(&self.section, step)?;
                state.last = Some(trial.key);
            }
        }
        Ok(())
    }

    /// Finds the limits of a search and begins it; false when its highest load must be measured first.
    fn limits(&self, unit: &Unit, equipment: &Equipment, state: &mut SearchState) -> Result<bool, String> {
        let sizes = unit.profile.frame_sizes();
        let pps = |rate: Rate| {
            let pps = rate.packets_per_second(sizes, equipment.claimed_bps);
            pps.map_err(|error| format!("spec.search.load: {error}"))
        };
        let min_pps = pps(self.section.load.min)?.map_or(1, |pps| pps.ceil() as u64);
        state.min_pps = Some(min_pps);
        let (max_pps, source) = match self.max_load(unit, equipment)? {
            MaxLoad::Known(pps, source) => (pps, source),
            MaxLoad::Measure => match state.steps.first() {
                Some(ceiling) => {
                    let slowest = ceiling.paths.iter().map(|path| path.offered_pps).reduce(f64::min);
                    ((slowest.unwrap_or(0.0) * SHARE_OF_MEASURED) as u64, MaxLoadSource::Measured)
                }
                None => return Ok(false),
            },
        };
        state.max = Some((max_pps, source));
        let search = Search::new(self.spec(min_pps, max_pps)).map_err(|error| error.to_string())?;
        state.search = Some(search);
        Ok(true)
    }

    fn max_load(&self, unit: &Unit, equipment: &Equipment) -> Result<MaxLoad, String> {
        let sizes = unit.profile.frame_sizes();
        let asked = match self.section.load.max {
            Some(rate) => rate
                .packets_per_second(sizes, equipment.claimed_bps)
                .map_err(|error| format!("spec.search.load.max: {error}"))?,
            None => None,
        };
        let ceiling = self
            .ceilings
            .most_pps(sizes, equipment.claimed_bps)
            .map_err(|error| format!("spec.safety.maxRate: {error}"))?;
        let link = equipment.real_bps.map(|bps| sizes.line_rate_pps(bps));
        let known =
            [(asked, MaxLoadSource::User), (ceiling, MaxLoadSource::Ceiling), (link, MaxLoadSource::Link)];
        let lowest = known
            .into_iter()
            .filter_map(|(pps, source)| Some((pps?, source)))
            .min_by(|(one, _), (other, _)| one.total_cmp(other));
        Ok(match lowest {
            Some((pps, source)) => MaxLoad::Known(pps as u64, source),
            None => MaxLoad::Measure,
        })
    }

    fn trial(
        &self,
        unit: &Unit,
        before: u32,
        ordinal: u32,
        purpose: SearchPurpose,
        request: Option<Request>,
    ) -> Trial {
        let longest = self.goals().map(|goal| goal.initial_duration_ns).max().unwrap_or(0);
        let intended_duration_ns = request.map_or(longest, |request| request.duration_ns);
        let rate = request.map_or(Rate::Max, |request| Rate::Pps(request.load_pps as f64));
        let profile = unit.profile.clone().with_rate(rate);
        let search = SearchTrial { number: unit.number, ordinal, purpose, intended_duration_ns };
        let repeat = before + ordinal;
        let duration_ms = intended_duration_ns / NS_PER_MS;
        Trial {
            key: self.keys.of_search(&profile, repeat, &search, unit.path.as_deref()),
            name: unit.name.clone(),
            profile,
            engine: None,
            host_setting: None,
            limit: Limit { duration_ms: Some(duration_ms), packets: None },
            repeat,
            repeats: repeat,
            expected_duration: Some(Duration::from_millis(duration_ms)),
            search: Some(search),
            path: unit.path.clone(),
            rest: Duration::ZERO,
        }
    }

    /// Calls `take` with the searches in order until it returns false. Without `whole`, searches that are known
    /// to have ended are left out.
    fn walk(&self, outcomes: &Outcomes, whole: bool, mut take: impl FnMut(SearchState) -> bool) {
        let (mut name, mut before) = ("", 0);
        for (unit, ended) in self.units.iter().zip(&self.ended) {
            if unit.name != name {
                (name, before) = (&unit.name, 0);
            }
            if let Some((trials, _)) = ended.get().filter(|(_, last)| !whole && outcomes.has(last)) {
                before += trials;
                continue;
            }
            let state = self.replay(unit, before, outcomes);
            let trials = state.all_trials();
            if matches!(state.ended, Some(SearchOutcome::Finished | SearchOutcome::Budget))
                && state.next.is_none()
                && let Some(last) = &state.last
            {
                // Set before: then it is the same.
                let _ = ended.set((trials, last.clone()));
            }
            // The trial that failed has a number as well.
            before += trials + u32::from(matches!(state.ended, Some(SearchOutcome::Failed(_))));
            if !take(state) {
                return;
            }
        }
    }
}

impl Strategy for Searches {
    fn next(&self, outcomes: &Outcomes) -> NextTrial {
        let mut next = NextTrial::Finished;
        self.walk(outcomes, false, |state| match state.next {
            Some(trial) => {
                next = NextTrial::Run(trial);
                false
            }
            None => true,
        });
        next
    }

    fn foreseen(&self) -> &[Trial] {
        &[]
    }

    fn profiles(&self) -> Vec<Profile> {
        let mut profiles: Vec<Profile> = Vec::new();
        for unit in self.units.iter().filter(|unit| unit.number == 1) {
            profiles.push(unit.profile.clone());
        }
        profiles
    }

    fn searches(&self, outcomes: &Outcomes) -> Vec<SearchState> {
        let mut searches = Vec::new();
        self.walk(outcomes, true, |state| {
            let begun = !state.steps.is_empty() || state.ended.is_some();
            searches.push(state);
            begun
        });
        // The search that has not begun says nothing.
        searches.retain(|state| !state.steps.is_empty() || state.ended.is_some());
        searches
    }

    fn forecast(&self, overhead: Duration) -> Vec<SearchView> {
        self.forecasts(overhead)
    }

    fn search_of(&self, trial: &Trial, outcomes: &Outcomes) -> Option<SearchState> {
        let search = trial.search?;
        let is_it = |unit: &&Unit| unit.name == trial.name && unit.number == search.number;
        let unit = self.units.iter().find(is_it)?;
        Some(self.replay(unit, trial.repeat.saturating_sub(search.ordinal), outcomes))
    }
}
