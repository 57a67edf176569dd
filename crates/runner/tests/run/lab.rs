//! Runs of experiments on agents in memory. The clock advances while all tasks wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use linerate_experiment::host_settings::HostSetting;
use linerate_experiment::plan::{Plan, plan};
use linerate_experiment::{Experiment, Overrides};
use linerate_results::host_setting::HostSettingValue;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::Summary;
use linerate_runner::platform::{AgentEndpoint, ExitWatch, NodeWatcher, Platform, PlatformError, Token};
use linerate_runner::run::observer::NoObserver;
use linerate_runner::run::{EarlierRun, Job, run};
use linerate_runner::session::Dialer;
use linerate_wire::trial::Role;
use tempfile::TempDir;
use tokio::sync::watch;

use super::agent::{Agent, Script, World};
use super::memory::Reach;
use super::watcher::{Fate, Watcher};

/// An experiment, its agents, and a directory for its results.
pub struct Lab {
    pub results: TempDir,
    pub experiment: Experiment,
    pub plan: Plan,
    filter: Option<&'static str>,
    scripts: BTreeMap<String, Script>,
    /// Why lost agents cannot be restarted.
    pub restarts_fail: Option<&'static str>,
    /// The setting of hosts that is not held to the end of its trials.
    pub unheld: Option<&'static str>,
    /// Why the last setting of hosts is not restored.
    pub unrestored: Option<&'static str>,
    /// What befalls the agents that watch nodes, one each.
    pub watchers: Vec<Fate>,
    /// Interrupts its runs.
    interrupt: watch::Sender<bool>,
}

impl Lab {
    pub fn new(spec: &str) -> Self {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
        let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
        let plan = plan(&experiment, None).unwrap();
        let (results, scripts) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        Self {
            results,
            experiment,
            plan,
            filter: None,
            scripts,
            restarts_fail: None,
            unheld: None,
            unrestored: None,
            watchers: Vec::new(),
            interrupt: watch::Sender::new(false),
        }
    }

    pub fn filter(mut self, filter: &'static str) -> Self {
        (self.filter, self.plan) = (Some(filter), plan(&self.experiment, Some(filter)).unwrap());
        self
    }

    pub fn agent(mut self, name: &str, script: Script) -> Self {
        self.scripts.insert(name.to_owned(), script);
        self
    }

    pub fn store(&self) -> Store {
        Store::create(self.results.path()).unwrap()
    }

    /// A run from the beginning.
    pub async fn run(&self) -> Summary {
        self.run_in(&self.store(), None).await.unwrap()
    }

    /// A run that resumes the latest one.
    pub async fn resume(&self) -> (Summary, PathBuf) {
        let determinants = self.experiment.determinants(self.filter).unwrap();
        let ways = self.experiment.topology().paths().count();
        let found = Earlier::find(self.results.path(), &determinants, &self.plan, ways).unwrap();
        let Earlier { store, summary, sums } = found.earlier.unwrap();
        let summary = self.run_in(&store, Some(&EarlierRun { summary, sums })).await.unwrap();
        (summary, store.directory().to_owned())
    }

    pub async fn run_in(&self, store: &Store, earlier: Option<&EarlierRun>) -> Result<Summary, StoreError> {
        let interrupted = self.interrupt.subscribe();
        let Self { experiment, plan, filter, .. } = self;
        let job = Job { experiment, strategy: plan, filter: *filter, earlier, store, interrupted };
        let mut fleet = Fleet { lab: self, world: Arc::default(), in_force: None };
        run(job, &mut fleet, &NoObserver).await
    }
}

struct Fleet<'l> {
    lab: &'l Lab,
    world: Arc<World>,
    in_force: Option<String>,
}

impl Fleet<'_> {
    fn pair(&self, number: usize) -> Vec<AgentEndpoint> {
        let endpoint = |end: Role| {
            let name = format!("{end}{number}");
            let script = self.lab.scripts.get(&name).cloned().unwrap_or_default();
            let agent = Agent::new(end, number, script, &self.world);
            AgentEndpoint {
                name,
                node: "node".to_owned(),
                address: None,
                pod: None,
                token: Token::none(),
                command_line: Vec::new(),
                exit: ExitWatch::new(agent.exit()),
                dialer: Dialer::new(Reach(agent)),
            }
        };
        vec![endpoint(Role::Tx), endpoint(Role::Rx)]
    }
}

impl Platform for Fleet<'_> {
    async fn start(&mut self, _say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        Ok((0..self.lab.experiment.pairs()).map(|number| self.pair(number)).collect())
    }

    async fn restart(
        &mut self,
        number: usize,
        _say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, PlatformError> {
        match self.lab.restarts_fail {
            Some(why) => Err(PlatformError::Other(why.into())),
            None => Ok(self.pair(number)),
        }
    }

    async fn watch_nodes(&mut self, _say: &dyn Fn(&str)) -> Vec<NodeWatcher> {
        let fates = self.lab.watchers.iter().enumerate();
        fates.map(|(number, fate)| Watcher::start(number, *fate, &self.lab.interrupt)).collect()
    }

    async fn tune(
        &mut self,
        setting: Option<&HostSetting>,
    ) -> Result<Option<Vec<HostSettingValue>>, PlatformError> {
        if let (None, Some(why)) = (setting, self.lab.unrestored) {
            return Err(PlatformError::HostSetting(why.to_owned()));
        }
        let wanted = setting.map(|setting| setting.label().to_owned());
        let is_other = std::mem::replace(&mut self.in_force, wanted) != self.in_force;
        Ok((is_other && setting.is_some()).then(Vec::new))
    }

    fn still_tuned(&mut self) -> Result<(), PlatformError> {
        match self.in_force.as_deref() {
            Some(name) if self.lab.unheld == Some(name) => {
                Err(PlatformError::HostSetting("its process ended".to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn stop(&mut self, _asked: bool) {}
}
