//! Trials of HTTP on agents in memory, of which one watches a node: in what order they are asked for what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use linerate_experiment::http::{HttpPlan, HttpProfile};
use linerate_experiment::{Experiment, Overrides};
use linerate_results::store::trial_log::LogRecord;
use linerate_results::store::{Store, load};
use linerate_results::summary::{Status, Summary};
use linerate_runner::platform::balancer::{Balanced, Balancers};
use linerate_runner::platform::{
    AgentEndpoint, Exit, ExitWatch, NodeWatcher, Platform, PlatformError, Token,
};
use linerate_runner::run::EarlierRun;
use linerate_runner::run::http::{HttpJob, run_http};
use linerate_runner::run::observer::NoObserver;
use linerate_runner::session::Dialer;
use linerate_wire::http::{
    GateReport, HttpDoor, HttpPart, HttpReport, HttpWork, LoadReport, RequestCounts, ServeReport,
};
use linerate_wire::message::{
    Acknowledge, Command, ErrorCode, Event, FromAgent, Outcome, Pong, Reply, Request, Welcome, WireError,
};
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::state::{AgentState, Step};
use linerate_wire::streams::CpuUse;
use linerate_wire::trial::{TrialSpec, Work};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::watch;

use crate::memory::{Reach, Serve, kernel_engine, welcome};

/// What becomes of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Runs,
    GateStaysClosed,
    /// Clients refuse their work, when the gate has passed.
    LoadIsRefused,
    /// Clients report more requests than there are numbers.
    CountsOverflow,
    /// Clients report a CPU time that can be recorded, of which no figure can.
    FiguresOverflow,
    /// A backend is gone when it is to start, and never comes back.
    LosesLastBackend,
}

/// What all agents of a run share.
#[derive(Debug)]
struct World {
    /// Of each trial; the last one of all further ones.
    courses: Vec<Course>,
    /// Gates that were prepared.
    gates: Mutex<usize>,
    /// What agents were asked for, such as `c0 gate`.
    asked: Mutex<Vec<String>>,
    /// True when starting a lost agent anew lasts until the user interrupts the run.
    restarts_last: bool,
    interrupt: watch::Sender<bool>,
    exit: watch::Sender<Option<Exit>>,
}

impl World {
    fn course(&self) -> Course {
        let trial = self.gates.lock().unwrap().saturating_sub(1);
        *self.courses.get(trial).or(self.courses.last()).unwrap()
    }
}

#[derive(Debug)]
struct Agent {
    name: String,
    world: Arc<World>,
    core: Mutex<(AgentState, Option<TrialSpec>)>,
    is_gone: AtomicBool,
}

impl Agent {
    fn endpoint(name: &str, world: &Arc<World>) -> AgentEndpoint {
        let agent = Self {
            name: name.to_owned(),
            world: Arc::clone(world),
            core: Mutex::new((AgentState::Idle, None)),
            is_gone: AtomicBool::new(false),
        };
        AgentEndpoint {
            name: name.to_owned(),
            node: "n".to_owned(),
            address: None,
            pod: None,
            token: Token::none(),
            command_line: Vec::new(),
            exit: ExitWatch::new(world.exit.subscribe()),
            dialer: Dialer::new(Reach(Arc::new(agent))),
        }
    }

    async fn converse(&self, stream: DuplexStream) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Request { id, command } = serde_json::from_str(&line).unwrap();
            let loses_backend = self.world.course() == Course::LosesLastBackend;
            if loses_backend && self.name == "b1" && matches!(command, Command::Start(_)) {
                self.is_gone.store(true, Ordering::Relaxed);
            }
            if self.is_gone.load(Ordering::Relaxed) {
                return;
            }
            let (result, error) = match self.answer(&command) {
                Ok(outcome) => (Some(outcome), None),
                Err(message) => (None, Some(WireError { code: ErrorCode::Refused, message })),
            };
            let reply = FromAgent::Reply(Reply { id: Some(id), result, error });
            let mut text = serde_json::to_string(&reply).unwrap() + "\n";
            if matches!(command, Command::Start(_))
                && let Some(event) = self.end_of_client()
            {
                text += &(serde_json::to_string(&FromAgent::Event(event)).unwrap() + "\n");
            }
            if write.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Clients end by themselves.
    fn end_of_client(&self) -> Option<Event> {
        let mut core = self.core.lock().unwrap();
        if !self.name.starts_with('c') {
            return None;
        }
        core.0 = core.0.after(Step::End).unwrap();
        Some(Event::Finished(Acknowledge { trial: core.1.as_ref()?.trial }))
    }

    fn answer(&self, command: &Command) -> Result<Outcome, String> {
        let mut core = self.core.lock().unwrap();
        let step = match command {
            Command::Hello(_) => return Ok(Outcome::Welcome(Box::new(self.welcome(core.0)))),
            Command::Ping => return Ok(Outcome::Pong(Pong { now_ns: 0, state: core.0, ready: true })),
            Command::Report => {
                return Ok(Outcome::Report(Box::new(self.report(core.1.as_ref().unwrap()))));
            }
            Command::Prepare(spec) => {
                let what = kind(&spec.work);
                self.note(what);
                if what == "gate" {
                    *self.world.gates.lock().unwrap() += 1;
                }
                if what == "load" && self.world.course() == Course::LoadIsRefused {
                    return Err("no such work".to_owned());
                }
                core.1 = Some((**spec).clone());
                Step::Prepare
            }
            Command::Arm => Step::Arm,
            Command::Start(_) => Step::Start,
            Command::Stop(_) => Step::Stop,
            Command::Acknowledge(_) => {
                self.note("acknowledged");
                Step::Acknowledge
            }
            Command::Shutdown => return Ok(Outcome::State(core.0)),
            other => return Err(format!("{other:?}: not asked for here")),
        };
        core.0 = core.0.after(step).map_err(|error| error.to_string())?;
        Ok(Outcome::State(core.0))
    }

    fn note(&self, what: &str) {
        self.world.asked.lock().unwrap().push(format!("{} {what}", self.name));
    }

    fn report(&self, spec: &TrialSpec) -> Report {
        let course = self.world.course();
        let process_s = if course == Course::FiguresOverflow { 1e19 } else { 0.0 };
        let cpu = CpuUse { process_s, ..CpuUse::default() };
        let http = |part| ReportDetail::Http(Box::new(HttpReport { part, cpu }));
        let intended = if course == Course::CountsOverflow { u64::MAX } else { 7 };
        let requests = RequestCounts { intended, sent: 7, answered: 7, ..RequestCounts::default() };
        let detail = match kind(&spec.work) {
            "gate" => http(HttpPart::Gate(GateReport {
                passed: self.world.course() != Course::GateStaysClosed,
                ..GateReport::default()
            })),
            "load" => http(HttpPart::Load(Box::new(LoadReport {
                duration_s: 1.0,
                requests,
                by_backend: [("b0".to_owned(), 7)].into(),
                statuses: [("2xx".to_owned(), 7)].into(),
                written: 7,
                answered_in_time: 7,
                ..LoadReport::default()
            }))),
            "serve" => {
                let name = self.name.clone();
                http(HttpPart::Serve(ServeReport {
                    name,
                    requests: 7,
                    answered: 7,
                    ..ServeReport::default()
                }))
            }
            _ => ReportDetail::Watch(Box::default()),
        };
        Report::new(spec.trial, Ended::Stopped, 0, detail)
    }

    fn welcome(&self, state: AgentState) -> Welcome {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let door = HttpDoor { listen, name: self.name.clone(), certificate: None };
        welcome(state, kernel_engine(Some(door)), "there")
    }
}

impl Serve for Agent {
    async fn serve(&self, stream: DuplexStream) {
        self.converse(stream).await;
    }
}

fn kind(work: &Work) -> &'static str {
    match work {
        Work::Http(work) => match **work {
            HttpWork::Gate(_) => "gate",
            HttpWork::Load(_) => "load",
            HttpWork::Serve | HttpWork::Churn(_) => "serve",
        },
        Work::Watch(_) => "watch",
        Work::Frames(_) | Work::Streams(_) | Work::Diagnosis(_) => "other",
    }
}

/// One client, two backends, one watcher.
struct Fleet(Arc<World>);

impl Platform for Fleet {
    async fn start(&mut self, _say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        Ok(["c0", "b0", "b1"].map(|name| vec![Agent::endpoint(name, &self.0)]).into())
    }

    async fn restart(&mut self, _: usize, _say: &dyn Fn(&str)) -> Result<Vec<AgentEndpoint>, PlatformError> {
        self.0.asked.lock().unwrap().push("start anew".to_owned());
        if self.0.restarts_last {
            self.0.interrupt.send_replace(true);
            std::future::pending::<()>().await;
        }
        Err(PlatformError::Other("no room".into()))
    }

    async fn watch_nodes(&mut self, _say: &dyn Fn(&str)) -> Vec<NodeWatcher> {
        vec![NodeWatcher { node: "n".to_owned(), agent: Ok(Agent::endpoint("node0", &self.0)) }]
    }

    async fn stop(&mut self, _asked: bool) {}
}

impl Balancers for Fleet {
    async fn set_up(
        &mut self,
        _profile: &HttpProfile,
        backends: &[SocketAddr],
    ) -> Result<Balanced, PlatformError> {
        self.0.asked.lock().unwrap().push("set up".to_owned());
        Ok(Balanced::direct(backends))
    }

    fn cpu_s(&self) -> Option<f64> {
        None
    }
}

/// An experiment with a directory for its results.
struct Lab {
    results: TempDir,
    experiment: Experiment,
    plan: HttpPlan,
    restarts_last: bool,
}

impl Lab {
    fn new(backends: &str, repeats: usize) -> Self {
        let text = format!(
            "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\n\
             spec: {{http: {{targets: [direct], backends: {backends}, connections: [2]}}, \
             trial: {{duration: 1s, repeats: {repeats}, retries: 0}}}}\n"
        );
        let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
        let plan = HttpPlan::of(&experiment, None).unwrap().unwrap();
        Self { results: tempfile::tempdir().unwrap(), experiment, plan, restarts_last: false }
    }

    fn store(&self) -> Store {
        Store::create(self.results.path()).unwrap()
    }

    /// Runs the trials; the summary, and what agents were asked for.
    async fn run(
        &self,
        store: &Store,
        courses: &[Course],
        earlier: Option<&EarlierRun>,
    ) -> (Summary, Vec<String>) {
        let (interrupt, interrupted) = watch::channel(false);
        let world = Arc::new(World {
            courses: courses.to_vec(),
            gates: Mutex::default(),
            asked: Mutex::default(),
            restarts_last: self.restarts_last,
            interrupt,
            exit: watch::Sender::new(None),
        });
        let Self { experiment, plan, .. } = self;
        let job = HttpJob { experiment, plan, filter: None, earlier, store, interrupted };
        let summary = run_http(job, &mut Fleet(Arc::clone(&world)), &NoObserver).await.unwrap();
        let asked = std::mem::take(&mut *world.asked.lock().unwrap());
        (summary, asked)
    }
}

/// Runs a trial of each course; the summary, and what agents were asked for.
async fn trials(courses: &[Course]) -> (Summary, Vec<String>) {
    let lab = Lab::new("[1]", courses.len());
    lab.run(&lab.store(), courses, None).await
}

fn reasons(summary: &Summary) -> Vec<&str> {
    summary.failures.iter().map(|failure| failure.reason.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_watched_from_behind_the_gate_of_http_to_the_end_of_its_trial() {
    let (summary, asked) = trials(&[Course::Runs]).await;
    assert_eq!(summary.status, Status::Complete, "{:?} {:?}", summary.reason, summary.failures);
    let nodes = &summary.http[0].nodes;
    assert_eq!((nodes.len(), &nodes[0].reason), (1, &None));
    let of_trial = ["c0 gate", "c0 acknowledged", "node0 watch", "b0 serve", "c0 load", "node0 acknowledged"];
    assert_eq!(
        asked[..7],
        [&["set up"], &of_trial[..]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_stays_closed_or_work_that_is_refused_leaves_the_watcher_to_the_next_trial() {
    let (summary, asked) = trials(&[Course::GateStaysClosed, Course::LoadIsRefused, Course::Runs]).await;
    let reasons = reasons(&summary);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons[0].contains("the gate stayed closed") && reasons[1].contains("no such work"),
        "{reasons:?}"
    );
    let nodes = &summary.http[0].nodes;
    assert_eq!((summary.http.len(), nodes.len(), &nodes[0].reason), (1, 1, &None));
    let watched: Vec<&str> = asked
        .iter()
        .map(String::as_str)
        .filter(|asked| asked.starts_with("node0") || asked.ends_with("gate"))
        .collect();
    let (gate, watch, seen) = ("c0 gate", "node0 watch", "node0 acknowledged");
    assert_eq!(watched, [gate, gate, watch, seen, gate, watch, seen]);
}

#[tokio::test(start_paused = true)]
async fn numbers_that_no_agent_can_have_counted_fail_their_trial_alone() {
    let lab = Lab::new("[1]", 3);
    let store = lab.store();
    let courses = [Course::CountsOverflow, Course::FiguresOverflow, Course::Runs];
    let (summary, _) = lab.run(&store, &courses, None).await;
    assert_eq!(summary.status, Status::Failed, "{:?}", summary.reason);
    // Of the first trial, the account of one client is missing.
    let lost = &summary.http[0].lost_agents;
    assert_eq!((summary.http.len(), summary.http[0].complete, lost.len()), (2, false, 1));
    assert!(lost[0].reason.contains("the report of c0 cannot be recorded: requests: 18446744"), "{lost:?}");
    let reasons = reasons(&summary);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("the result cannot be recorded: client_cpu_us"), "{reasons:?}");
    assert!(summary.http[1].complete);
    // What is on disk can be read.
    assert_eq!(load(lab.results.path(), store.id()).unwrap(), summary);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_resumed_run_begins_with_what_is_kept() {
    let lab = Lab::new("[1]", 2);
    let store = lab.store();
    let (summary, _) = lab.run(&store, &[Course::Runs, Course::LoadIsRefused], None).await;
    assert_eq!((summary.http.len(), summary.failures.len()), (1, 1));
    let earlier = EarlierRun { summary, sums: BTreeMap::new() };
    let (summary, _) = lab.run(&store, &[Course::Runs], Some(&earlier)).await;
    assert_eq!((summary.status, summary.http.len()), (Status::Complete, 2), "{:?}", summary.reason);
    // A head without the results behind it would be all that is left of them after a sudden end.
    let log = std::fs::read_to_string(store.directory().join("trials.jsonl")).unwrap();
    let second: LogRecord = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
    assert!(matches!(&second, LogRecord::Http(kept) if kept.result == earlier.summary.http[0]));
}

#[tokio::test(start_paused = true)]
async fn trials_that_need_no_lost_backend_go_on_without_it() {
    let lab = Lab::new("[2, 1]", 2);
    let courses = [Course::LosesLastBackend];
    let (summary, asked) = lab.run(&lab.store(), &courses, None).await;
    let ran: Vec<(u32, bool)> = summary.http.iter().map(|trial| (trial.backends, trial.complete)).collect();
    // The first trial has the account of the other backend; the second trial of both cannot be run.
    assert_eq!(ran, [(2, false), (1, true), (1, true)], "{:?}", reasons(&summary));
    assert_eq!(asked.iter().filter(|asked| *asked == "start anew").count(), 1);
    let reasons = reasons(&summary);
    assert!(reasons.len() == 1 && reasons[0].contains("b1 is given up"), "{reasons:?}");
    assert!(reasons[0].contains("no room"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_lost_in_the_last_trial_is_not_brought_back() {
    let lab = Lab::new("[2]", 1);
    let (summary, asked) = lab.run(&lab.store(), &[Course::LosesLastBackend], None).await;
    assert_eq!((summary.http.len(), asked.contains(&"start anew".to_owned())), (1, false));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_the_recovery_of_an_agent() {
    let lab = Lab { restarts_last: true, ..Lab::new("[2]", 2) };
    let (summary, _) = lab.run(&lab.store(), &[Course::LosesLastBackend], None).await;
    assert_eq!((summary.status, summary.http.len()), (Status::Interrupted, 1), "{:?}", summary.reason);
}
