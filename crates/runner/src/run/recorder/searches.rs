//! Rate searches in the log: a line for each that has something new, so that the log grows with the searches.

use std::collections::BTreeSet;

use linerate_experiment::Experiment;
use linerate_experiment::search::{SearchSection, SearchState};
use linerate_experiment::strategy::Strategy;
use linerate_results::self_measurement::SelfMeasurement;
use linerate_results::store::StoreError;
use linerate_results::store::trial_log::LogRecord;
use linerate_results::summary::SearchSummary;
use linerate_traffic::profile::FrameSizes;

use super::Recorder;

impl Recorder<'_> {
    /// Records what a search, or a benchmark behind it, has found.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn search(
        &mut self,
        experiment: &Experiment,
        strategy: &dyn Strategy,
        state: &SearchState,
    ) -> Result<(), StoreError> {
        let Some(section) = experiment.search() else { return Ok(()) };
        if self.searches.is_empty() {
            // A resumed run also has those of before.
            return self.searches(experiment, strategy);
        }
        let Some(summary) = self.summaries(section, std::slice::from_ref(state)).pop() else { return Ok(()) };
        self.head.experiment.planned_trials = self.numbers.len();
        self.log.append(&[LogRecord::Search(Box::new(summary.clone()))])?;
        match self.searches.iter_mut().find(|known| known.key() == summary.key()) {
            Some(known) => *known = summary,
            None => self.searches.push(summary),
        }
        Ok(())
    }

    /// Records all searches so far, in their order, unless the log has them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(in crate::run) fn searches(
        &mut self,
        experiment: &Experiment,
        strategy: &dyn Strategy,
    ) -> Result<(), StoreError> {
        let Some(section) = experiment.search() else { return Ok(()) };
        let searches = self.summaries(section, &strategy.searches(&self.outcomes));
        self.head.experiment.planned_trials = self.numbers.len();
        if searches == self.searches {
            return Ok(());
        }
        let each = searches.iter().map(|search| LogRecord::Search(Box::new(search.clone())));
        let records: Vec<LogRecord> = std::iter::once(LogRecord::Searches(Vec::new())).chain(each).collect();
        self.log.append(&records)?;
        self.searches = searches;
        Ok(())
    }

    fn summaries(&self, section: &SearchSection, states: &[SearchState]) -> Vec<SearchSummary> {
        let real_bps = self.outcomes.equipment().real_bps;
        let measured = self.self_measurement();
        let hosts: BTreeSet<&str> =
            self.head.experiment.agents.iter().map(|agent| agent.node.as_str()).collect();
        // It was measured with one lcore: more of them send more.
        let alike = self.head.experiment.agents.iter().all(|agent| agent.lcores.len() == 1);
        let host = hosts.first().copied().filter(|_| hosts.len() == 1 && alike);
        let ceiling = |size: &FrameSizes| measured.as_ref()?.generator_pps(host?, size);
        let summary = |state: &SearchState| SearchSummary {
            generator_ceiling_pps: ceiling(state.profile.frame_sizes()),
            ..SearchSummary::of(state, section, real_bps)
        };
        states.iter().map(summary).collect()
    }

    /// What `linerate measure-self` kept beside the experiments, if it can be read.
    fn self_measurement(&self) -> Option<SelfMeasurement> {
        let results = self.store.directory().parent()?;
        SelfMeasurement::read(results).unwrap_or_else(|error| {
            tracing::warn!(%error, "the generator's ceiling is not known");
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_experiment::Overrides;
    use linerate_experiment::strategy::{NextTrial, strategy};
    use linerate_results::store::Store;
    use linerate_results::store::trial_log::{TRIAL_LOG_FILE, derive};

    #[test]
    fn the_log_grows_by_a_line_for_each_search() {
        let document = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {pairs: 3, traffic: {frameSizes: [64, 128]}, search: {mode: each, load: {max: 1mpps}}}";
        let experiment = Experiment::parse(document, "searches", &Overrides::default()).unwrap();
        let strategy = strategy(&experiment, None).unwrap();
        let results = tempfile::tempdir().unwrap();
        let store = Store::create(results.path()).unwrap();
        let mut recorder = Recorder::open(&store, &experiment, strategy.as_ref(), None, None).unwrap();
        while let NextTrial::Run(trial) = strategy.next(recorder.outcomes()) {
            // A trial that fails ends its search.
            recorder.round(&trial, &[], &[], None, None).unwrap();
            let state = strategy.search_of(&trial, recorder.outcomes()).unwrap();
            assert!(state.has_news());
            recorder.search(&experiment, strategy.as_ref(), &state).unwrap();
        }
        let lines = || {
            let text = std::fs::read_to_string(store.directory().join(TRIAL_LOG_FILE)).unwrap();
            text.lines().filter(|line| line.starts_with("{\"search\":")).count()
        };
        assert_eq!(lines(), 6);
        recorder.searches(&experiment, strategy.as_ref()).unwrap();
        assert_eq!(lines(), 6, "they are in the log");
        let read = derive(store.directory()).unwrap().unwrap().summary.searches;
        let states = strategy.searches(recorder.outcomes());
        assert_eq!(read, recorder.summaries(experiment.search().unwrap(), &states));
    }
}
