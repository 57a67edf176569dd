//! Prometheus metrics of a running experiment.
//!
//! Counters grow over the whole run with the agents' samples; warm-up is not counted. After a trial they have
//! grown by exactly its result, unless an agent was lost in it and it was repeated: then all attempts count.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use linerate_metrics::Traffic;
use linerate_wire::counters::PortCounters;
use linerate_wire::sample::{FrameMeasures, Sample};
use linerate_wire::trial::Role;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use linerate_experiment::plan::Trial;
use linerate_experiment::search::SearchState;
use linerate_results::summary::{TrialFailure, TrialSummary};
use linerate_runner::run::observer::{Observer, WatchedPath};

/// An end of a pair in trials of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    pair: String,
    profile: String,
    role: String,
}

/// A pair in trials of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PairLabels {
    pair: String,
    profile: String,
}

/// Like `PairLabels`, with the percentile of a trial's delay: `50`, `99`, `99.9` or `100`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DelayLabels {
    pair: String,
    profile: String,
    percentile: &'static str,
}

/// Labels of how a trial ended on a pair: `complete` or `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    pair: String,
    outcome: &'static str,
}

/// A goal of the searches of a profile; `pair` is `all` where all pairs are searched together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GoalLabels {
    pair: String,
    profile: String,
    goal: String,
}

type PairGauge = Family<PairLabels, Gauge<f64, AtomicU64>>;

/// The registered metrics.
#[derive(Debug, Clone)]
struct Metrics {
    traffic: Traffic<EndLabels>,
    delays: Family<PairLabels, Counter<f64, AtomicU64>>,
    lost: Family<PairLabels, Counter>,
    trials: Family<EndedLabels, Counter>,
    planned: Gauge,
    sending: Family<PairLabels, Gauge>,
    intended: PairGauge,
    received_pps: PairGauge,
    lost_ratio: PairGauge,
    trial_delay: Family<DelayLabels, Gauge<f64, AtomicU64>>,
    search_found: Family<GoalLabels, Gauge<f64, AtomicU64>>,
    search_regular: Family<GoalLabels, Gauge>,
}

/// Observer of a run that updates the metrics.
#[derive(Debug)]
pub struct RunMetrics {
    metrics: Metrics,
    now: RefCell<Now>,
}

/// The current trial.
#[derive(Debug)]
struct Now {
    profile: String,
    pairs: Vec<WatchedPath>,
    sending_since: Instant,
    /// The latest sample of each end.
    last: HashMap<(String, Role), FrameMeasures>,
}

/// A registry with what the metrics of every run begin with: the program and the experiment.
pub(crate) fn registry(id: &str, name: &str) -> Registry {
    let mut registry = Registry::with_prefix("linerate");
    let version = env!("CARGO_PKG_VERSION");
    registry.register("build", "The program", Info::new([("version", version)]));
    let experiment = Info::new([("id", id.to_owned()), ("name", name.to_owned())]);
    registry.register("experiment", "The experiment that runs", experiment);
    registry
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            traffic: Traffic::register(registry),
            delays: Family::default(),
            lost: Family::default(),
            trials: Family::default(),
            planned: Gauge::default(),
            sending: Family::default(),
            intended: Family::default(),
            received_pps: Family::default(),
            lost_ratio: Family::default(),
            trial_delay: Family::default(),
            search_found: Family::default(),
            search_regular: Family::default(),
        };
        registry.register_with_unit(
            "rx_delay",
            "One-way delays of the packets received, added up; only where the clocks can be compared",
            Unit::Seconds,
            metrics.delays.clone(),
        );
        registry.register(
            "lost_packets",
            "Packets sent that did not arrive, of trials that have a result",
            metrics.lost.clone(),
        );
        registry.register("trials", "Trials that have ended on a pair", metrics.trials.clone());
        registry.register("planned_trials", "Trials of the plan", metrics.planned.clone());
        registry.register("sending", "1 while a trial sends on the pair", metrics.sending.clone());
        registry.register(
            "intended_packets_per_second",
            "Intended load at this moment; absent for as fast as possible",
            metrics.intended.clone(),
        );
        registry.register(
            "trial_received_packets_per_second",
            "Packets received per second of sending, of the last trial with a result",
            metrics.received_pps.clone(),
        );
        registry.register(
            "trial_lost_ratio",
            "Share of the packets sent that did not arrive, of the last trial with a result",
            metrics.lost_ratio.clone(),
        );
        registry.register_with_unit(
            "trial_delay",
            "Percentile of the one-way delay, of the last trial with a result; only where the clocks can be compared",
            Unit::Seconds,
            metrics.trial_delay.clone(),
        );
        registry.register(
            "search_found_packets_per_second",
            "Conditional throughput that the last search to end found; absent where no load meets the goal",
            metrics.search_found.clone(),
        );
        registry.register(
            "search_regular",
            "1 where that result is regular, 0 where it is not: the path carries at least this",
            metrics.search_regular.clone(),
        );
        metrics
    }
}

impl RunMetrics {
    /// The metrics of an experiment, and the registry to serve.
    pub fn new(id: &str, name: &str) -> (Self, Arc<Registry>) {
        let mut registry = registry(id, name);
        let metrics = Metrics::register(&mut registry);
        let now = Now {
            profile: String::new(),
            pairs: Vec::new(),
            sending_since: Instant::now(),
            last: HashMap::new(),
        };
        (Self { metrics, now: RefCell::new(now) }, Arc::new(registry))
    }

    fn ended(&self, pair: &str, profile: &str, outcome: &'static str) {
        self.metrics.trials.get_or_create(&EndedLabels { pair: pair.to_owned(), outcome }).inc();
        self.rest(&PairLabels { pair: pair.to_owned(), profile: profile.to_owned() });
    }

    /// Sets the rates to zero after sending has ended.
    fn rest(&self, labels: &PairLabels) {
        self.metrics.sending.get_or_create(labels).set(0);
        self.metrics.intended.remove(labels);
    }
}

/// The sending or the receiving part of a sample: an agent may do both at once, on different paths.
fn one_way(role: Role, sample: &FrameMeasures) -> FrameMeasures {
    let port = sample.port.map(|port| match role {
        Role::Tx => PortCounters {
            tx_packets: port.tx_packets,
            tx_bytes: port.tx_bytes,
            tx_errors: port.tx_errors,
            ..PortCounters::default()
        },
        Role::Rx => PortCounters { tx_packets: 0, tx_bytes: 0, tx_errors: 0, ..port },
    });
    let transmit = sample.transmit.filter(|_| role == Role::Tx);
    let receive = sample.receive.filter(|_| role == Role::Rx);
    FrameMeasures { transmit, receive, port, ..sample.clone() }
}

impl Now {
    fn labels(&self, pair: &str) -> PairLabels {
        PairLabels { pair: pair.to_owned(), profile: self.profile.clone() }
    }
}

impl Observer for RunMetrics {
    fn trial_began(&self, _number: usize, of: usize, trial: &Trial, pairs: &[WatchedPath]) {
        self.metrics.planned.set(i64::try_from(of).unwrap_or(i64::MAX));
        let mut now = self.now.borrow_mut();
        now.profile = trial.engine.map_or_else(|| trial.profile.name(), |_| trial.name.clone());
        now.pairs = pairs.to_vec();
    }

    fn sending_began(&self) {
        let mut now = self.now.borrow_mut();
        now.sending_since = Instant::now();
        // Agents count from zero in every trial, and in every repeated attempt.
        now.last.clear();
        for pair in &now.pairs {
            let labels = now.labels(&pair.name);
            self.metrics.sending.get_or_create(&labels).set(1);
            if let Some(pps) = pair.load_at(0.0) {
                self.metrics.intended.get_or_create(&labels).set(pps);
            }
        }
    }

    fn sample(&self, pair: &str, role: Role, sample: &Sample) {
        let Some(frames) = sample.frames() else { return };
        let sample = &one_way(role, frames);
        let mut now = self.now.borrow_mut();
        let labels = now.labels(pair);
        let before = now.last.insert((pair.to_owned(), role), sample.clone());
        let PairLabels { pair: name, profile } = labels.clone();
        let end = EndLabels { pair: name, profile, role: role.to_string() };
        self.metrics.traffic.add(&end, before.as_ref(), sample);
        let Some(watched) = now.pairs.iter().find(|watched| watched.name == pair) else { return };
        if let Some(received) = sample.receive.filter(|_| watched.delays_valid) {
            let before_ns = before.and_then(|before| before.receive).map_or(0, |before| before.delay_sum_ns);
            let delay_s = received.delay_sum_ns.saturating_sub(before_ns) as f64 / 1e9;
            self.metrics.delays.get_or_create(&labels).inc_by(delay_s);
        }
        let sends = self.metrics.sending.get_or_create(&labels).get() == 1;
        if let Some(pps) = watched.load_at(now.sending_since.elapsed().as_secs_f64()).filter(|_| sends) {
            self.metrics.intended.get_or_create(&labels).set(pps);
        }
    }

    fn sending_ended(&self, pair: &str) {
        self.rest(&self.now.borrow().labels(pair));
    }

    fn trial_ended(&self, result: &TrialSummary) {
        let (pair, profile) = (result.pair.clone(), result.profile.clone());
        self.ended(&pair, &profile, "complete");
        let labels = PairLabels { pair: pair.clone(), profile: profile.clone() };
        self.metrics.lost.get_or_create(&labels).inc_by(result.lost_packets);
        self.metrics.received_pps.get_or_create(&labels).set(result.received_pps);
        if result.sent_packets > 0 {
            let ratio = result.lost_packets as f64 / result.sent_packets as f64;
            self.metrics.lost_ratio.get_or_create(&labels).set(ratio);
        }
        if let Some(latency) = &result.latency_ns {
            for (percentile, ns) in
                [("50", latency.p50), ("99", latency.p99), ("99.9", latency.p999), ("100", latency.max)]
            {
                let labels = DelayLabels { pair: pair.clone(), profile: profile.clone(), percentile };
                self.metrics.trial_delay.get_or_create(&labels).set(ns as f64 / 1e9);
            }
        }
    }

    fn search_advanced(&self, state: &SearchState) {
        let Some(search) = state.search.as_ref().filter(|_| state.ended.is_some()) else { return };
        for (goal, found) in search.conclusions() {
            let labels = GoalLabels {
                pair: state.path.clone().unwrap_or_else(|| "all".to_owned()),
                profile: state.name.clone(),
                goal: goal.name.clone(),
            };
            self.metrics.search_regular.get_or_create(&labels).set(found.regular.into());
            match found.conditional_throughput_pps {
                Some(pps) => {
                    self.metrics.search_found.get_or_create(&labels).set(pps);
                }
                None => {
                    self.metrics.search_found.remove(&labels);
                }
            }
        }
    }

    fn trial_failed(&self, failure: &TrialFailure) {
        self.ended(&failure.pair, &failure.profile, "failed");
    }
}
