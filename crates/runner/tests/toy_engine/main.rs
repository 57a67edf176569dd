//! The whole way from a document to a report, over agents with an engine that is not DPDK's: the real runner, the real agent, real
//! connections, the real store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{JoinHandle, spawn};

use engine::ToyEngine;
use linerate_agent::machine::machine;
use linerate_agent::{Agent, AgentConfig, Identity, serve};
use linerate_experiment::plan::plan;
use linerate_experiment::{Experiment, Overrides};
use linerate_report::pages::source::Source;
use linerate_report::pages::{ReportFormat, report};
use linerate_results::store::{Store, load_trial};
use linerate_results::summary::{Status, Summary};
use linerate_results::validate::validate;
use linerate_runner::platform::{AgentEndpoint, Exit, ExitWatch, Platform, PlatformError, Token};
use linerate_runner::run::observer::NoObserver;
use linerate_runner::run::{Job, run};
use linerate_runner::session::Dialer;
use tokio::sync::watch;

const TOKEN: &str = "correct horse battery staple";

/// Starts agents on threads of this process.
struct Threads {
    pairs: usize,
    agents: Vec<JoinHandle<()>>,
    /// Kept, so that no agent is taken for ended.
    exits: Vec<watch::Sender<Option<Exit>>>,
}

impl Threads {
    fn agent(&mut self, name: String) -> AgentEndpoint {
        let (announce, announced) = mpsc::channel();
        self.agents.push(spawn(move || serve_alone(&announce)));
        let (exit, exits) = watch::channel(None);
        self.exits.push(exit);
        AgentEndpoint {
            name,
            node: "here".into(),
            address: None,
            pod: None,
            dialer: Dialer::tcp(announced.recv().unwrap()),
            token: Token::known(TOKEN.into()),
            command_line: vec!["toy".into()],
            exit: ExitWatch::new(exits),
        }
    }

    fn pair(&mut self, number: usize) -> Vec<AgentEndpoint> {
        vec![self.agent(format!("tx{number}")), self.agent(format!("rx{number}"))]
    }
}

impl Platform for Threads {
    async fn start(&mut self, _say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        Ok((0..self.pairs).map(|number| self.pair(number)).collect())
    }

    async fn restart(
        &mut self,
        number: usize,
        _say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, PlatformError> {
        Ok(self.pair(number))
    }

    async fn stop(&mut self, asked: bool) {
        assert!(asked, "the run did not ask its agents to end");
        self.agents.drain(..).for_each(|agent| agent.join().unwrap());
    }
}

/// Serves until the controller ends the agent.
fn serve_alone(announce: &mpsc::Sender<SocketAddr>) {
    let identity = Identity { program: "toy 1".into(), host: machine() };
    let mut agent = Agent::new(ToyEngine::new(), identity, 5_000);
    let config = AgentConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: linerate_agent::token::Token::load(None, Some(TOKEN.into())).unwrap(),
        exit_when_orphaned: None,
        metrics: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(serve(&mut agent, config, pending(), |address| announce.send(address).unwrap()))
        .unwrap();
}

/// Runs an experiment, and checks what it left behind.
fn measure(pairs: usize, direction: &str) -> Summary {
    let text = format!(
        "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {{name: toy}}\nspec:\n  pairs: {pairs}\n  \
         traffic: {{frameSizes: [64, 512], flows: [10], rates: [2kpps]}}\n  \
         trial: {{duration: 400ms, sampleInterval: 50ms, direction: {direction}, allFlows: true}}\n"
    );
    let experiment = Experiment::parse(&text, "toy.yaml", &Overrides::default()).unwrap();
    let plan = plan(&experiment, None).unwrap();
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    let mut platform = Threads { pairs, agents: Vec::new(), exits: Vec::new() };
    let (_flag, interrupted) = watch::channel(false);
    let job = Job {
        experiment: &experiment,
        strategy: &plan,
        filter: None,
        earlier: None,
        store: &store,
        interrupted,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let summary = runtime.block_on(run(job, &mut platform, &NoObserver)).unwrap();

    assert_eq!((summary.status, &summary.reason), (Status::Complete, &None));
    for trial in &summary.trials {
        assert!(trial.sent_packets > 100, "{trial:?}");
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        assert!(trial.clock.one_way_valid && trial.latency_ns.is_some(), "{:?}", trial.clock);
        let record = load_trial(results.path(), store.id(), &trial.trial).unwrap();
        assert!(record.samples.tx.len() >= 3 && record.samples.rx.len() >= 3, "{}", trial.trial);
        assert_eq!(record.samples.rx.last().unwrap().receive.unwrap().packets, trial.received_packets);
    }
    let verdict = validate(results.path(), store.id(), None).unwrap();
    assert!(verdict.valid, "{:?}", verdict.problems);
    let source = Source::load(results.path(), store.id()).unwrap();
    let page = ReportFormat::Md.render(&report(&source), &source.summary).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("tx0") && page.contains("toy"), "{page}");
    summary
}

#[test]
fn one_pair_is_measured_validated_and_reported() {
    assert_eq!(measure(1, "one-way").trials.len(), 2);
}

#[test]
fn two_pairs_begin_together_and_add_up() {
    let summary = measure(2, "one-way");
    assert_eq!((summary.trials.len(), summary.aggregates.len()), (4, 2));
}

#[test]
fn an_engine_may_send_and_count_at_once() {
    assert_eq!(measure(1, "bidirectional").trials.len(), 4);
}
