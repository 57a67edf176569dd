//! Trials of HTTP on agents in memory, of which one watches a node: in what order they are asked for what.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use linerate_experiment::http::{HttpPlan, HttpProfile};
use linerate_experiment::{Experiment, Overrides};
use linerate_results::store::Store;
use linerate_results::summary::{Status, Summary};
use linerate_runner::platform::balancer::{Balanced, Balancers};
use linerate_runner::platform::{
    AgentEndpoint, Exit, ExitWatch, NodeWatcher, Platform, PlatformError, Token,
};
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
}

impl Agent {
    fn endpoint(name: &str, world: &Arc<World>) -> AgentEndpoint {
        let agent = Self {
            name: name.to_owned(),
            world: Arc::clone(world),
            core: Mutex::new((AgentState::Idle, None)),
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
        let http = |part| ReportDetail::Http(Box::new(HttpReport { part, cpu: CpuUse::default() }));
        let requests = RequestCounts { intended: 7, sent: 7, answered: 7, ..RequestCounts::default() };
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

/// One client, one backend, one watcher.
struct Fleet(Arc<World>);

impl Platform for Fleet {
    async fn start(&mut self, _say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        Ok(["c0", "b0"].map(|name| vec![Agent::endpoint(name, &self.0)]).into())
    }

    async fn restart(&mut self, _: usize, _say: &dyn Fn(&str)) -> Result<Vec<AgentEndpoint>, PlatformError> {
        Err(PlatformError::Other("no agent is lost here".into()))
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

/// Runs so many trials; the summary, and what agents were asked for.
async fn trials(courses: &[Course]) -> (Summary, Vec<String>) {
    let text = format!(
        "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\n\
         spec: {{http: {{targets: [direct], backends: [1], connections: [1]}}, trial: {{duration: 1s, repeats: {}, retries: 0}}}}\n",
        courses.len()
    );
    let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
    let plan = HttpPlan::of(&experiment, None).unwrap().unwrap();
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    let (_flag, interrupted) = watch::channel(false);
    let world = Arc::new(World {
        courses: courses.to_vec(),
        gates: Mutex::default(),
        asked: Mutex::default(),
        exit: watch::Sender::new(None),
    });
    let job = HttpJob {
        experiment: &experiment,
        plan: &plan,
        filter: None,
        earlier: None,
        store: &store,
        interrupted,
    };
    let summary = run_http(job, &mut Fleet(Arc::clone(&world)), &NoObserver).await.unwrap();
    let asked = std::mem::take(&mut *world.asked.lock().unwrap());
    (summary, asked)
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
    let reasons: Vec<&str> = summary.failures.iter().map(|failure| failure.reason.as_str()).collect();
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
