use std::cell::Cell;
use std::future::pending;
use std::net::IpAddr;
use std::rc::Rc;

use hugepage_check::requirements::Requirements;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::engine::EngineInfo;
use linerate_wire::message::{Hello, PROTOCOL_VERSION, Sent, Start, Stop};
use linerate_wire::network::NextHop;
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::sample::Measures;
use linerate_wire::streams::StreamsEngine;
use linerate_wire::time::{SendingTimes, TickRate};
use linerate_wire::trial::{TrialSpec, Work};
use linerate_wire::watch::{WatchMeasures, WatchWork};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::oneshot;

use super::*;
use crate::agent::Identity;
use crate::engine::{EngineError, Finished, TickCounter};
use crate::machine::machine;

const TOKEN: &str = "correct horse battery staple";

/// An engine that needs no looks, and counts those that it gets.
struct Still {
    looks: Rc<Cell<u64>>,
    /// True while its worker is inside a call that does not return.
    stuck: Rc<Cell<bool>>,
    requirements: Requirements,
}

struct Trial {
    number: u32,
    is_over: bool,
}

impl Engine for Still {
    type Prepared = u32;
    type Active = Trial;

    fn describe(&self) -> Result<EngineInfo, EngineError> {
        Ok(EngineInfo::Streams(Box::new(StreamsEngine {
            listen: Vec::new(),
            workers: 1,
            cpus: vec![0],
            congestion: None,
            interfaces: Vec::new(),
            descriptors: None,
            http: None,
        })))
    }

    fn counter(&self) -> TickCounter {
        let rate = TickRate::new(1_000_000_000, 1_000_000_000, 0.0);
        TickCounter { source: "monotonic".to_owned(), rate, invariant: true }
    }

    fn is_ready(&self) -> Result<bool, EngineError> {
        Ok(true)
    }

    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn next_hop(&mut self, _: IpAddr) -> Result<NextHop, EngineError> {
        Err(EngineError::Refused("there is none".to_owned()))
    }

    fn prepare(&mut self, trial: u32, _: &Work) -> Result<u32, EngineError> {
        Ok(trial)
    }

    fn arm(&mut self, number: u32) -> Result<Trial, EngineError> {
        Ok(Trial { number, is_over: false })
    }

    fn start_at(&mut self, _: &mut Trial, _: u64) {}

    fn needs_looks(&self, _: &Trial) -> bool {
        false
    }

    fn look(&mut self, _: &mut Trial, _: u64) {
        self.looks.set(self.looks.get() + 1);
    }

    fn sample(&mut self, _: &mut Trial) -> Measures {
        Measures::Watch(WatchMeasures {})
    }

    fn received(&self, _: &Trial) -> Option<ReceiveCounters> {
        None
    }

    fn sending_is_over(&self, _: &Trial) -> Option<Sent> {
        None
    }

    fn expect(&mut self, _: &mut Trial, _: Vec<u64>, _: Option<SendingTimes>) {}

    fn stop(&mut self, trial: &mut Trial) {
        trial.is_over = true;
    }

    fn is_over(&self, trial: &Trial) -> bool {
        trial.is_over && !self.stuck.get()
    }

    fn finish(&mut self, trial: Trial, ended: Ended) -> Result<Finished, EngineError> {
        let detail = ReportDetail::Watch(Box::default());
        Ok(Finished { report: Report::new(trial.number, ended, 0, detail), flows: None })
    }
}

struct Wire(BufReader<TcpStream>);

impl Wire {
    /// A session with the agent at that address.
    async fn connect(address: SocketAddr) -> Self {
        let mut wire = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        wire.ask(Command::Hello(Hello { protocol: PROTOCOL_VERSION, token: TOKEN.to_owned() })).await;
        wire
    }

    /// Takes a trial up to its start.
    async fn run_trial(&mut self) {
        let spec = TrialSpec {
            trial: 3,
            work: Work::Watch(WatchWork {}),
            sample_interval_ms: 60_000,
            orphan_ms: 600_000,
            interrupts: false,
        };
        assert_eq!(self.ask(Command::Prepare(Box::new(spec))).await["state"], "prepared");
        assert_eq!(self.ask(Command::Arm).await["state"], "armed");
        assert_eq!(self.ask(Command::Start(Start::default())).await["state"], "running");
    }

    /// The result of a request; events before it are left out.
    async fn ask(&mut self, command: Command) -> Value {
        self.exchange(command).await.1["result"].take()
    }

    /// The events before the reply to a request, and the reply.
    async fn exchange(&mut self, command: Command) -> (Vec<Value>, Value) {
        let mut events = Vec::new();
        let request = serde_json::to_string(&Request { id: 1, command }).unwrap() + "\n";
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "the agent closed the connection");
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["id"] == 1 {
                return (events, said);
            }
            events.push(said);
        }
    }
}

/// Serves an agent that counts its looks, has a worker that may be stuck, and is told to shut down at the
/// end of `controller`.
async fn served_while<F: Future<Output = ()>>(
    looks: &Rc<Cell<u64>>,
    stuck: &Rc<Cell<bool>>,
    controller: impl FnOnce(SocketAddr) -> F,
) {
    let engine =
        Still { looks: Rc::clone(looks), stuck: Rc::clone(stuck), requirements: Requirements::default() };
    let identity = Identity { program: "still 1".to_owned(), host: machine() };
    let mut agent = Agent::new(engine, identity, 600_000);
    let config = AgentConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: Token::load(None, Some(TOKEN.into())).unwrap(),
        exit_when_orphaned: None,
        metrics: None,
    };
    let (announce, announced) = oneshot::channel();
    let served = serve(&mut agent, config, pending(), |address| announce.send(address).unwrap());
    let (served, ()) = tokio::join!(served, async { controller(announced.await.unwrap()).await });
    served.unwrap();
}

#[tokio::test]
async fn an_engine_that_needs_no_looks_sleeps_through_its_trial_and_stops_when_asked() {
    let (looks, stuck) = (Rc::default(), Rc::default());
    served_while(&looks, &stuck, async |address| {
        let mut wire = Wire::connect(address).await;
        let begun = Instant::now();
        wire.run_trial().await;
        sleep(4 * LOOK_IDLE).await;
        assert_eq!(wire.ask(Command::Stop(Stop::default())).await["state"], "finished");
        // One with each of the requests, else in intervals, which are longer on a busy machine.
        let most = 2 + begun.elapsed().as_millis() / LOOK_IDLE.as_millis();
        assert!(u128::from(looks.get()) <= most, "{} looks, at most {most}", looks.get());
        assert_eq!(wire.ask(Command::Report).await["report"]["trial"], 3);
        wire.ask(Command::Shutdown).await;
    })
    .await;
}

#[tokio::test]
async fn a_trial_whose_worker_does_not_end_is_given_up_and_the_agent_goes_on_serving() {
    let (looks, stuck) = (Rc::default(), Rc::new(Cell::new(true)));
    served_while(&looks, &stuck, async |address| {
        let mut wire = Wire::connect(address).await;
        wire.run_trial().await;
        let (events, reply) = wire.exchange(Command::Stop(Stop::default())).await;
        assert_eq!(reply["error"]["code"], "failed", "{reply}");
        let said = events.iter().map(Value::to_string).collect::<String>();
        assert!(said.contains("does not return") && said.contains("\"trial\":3"), "{said}");
        // It answers, and refuses what needs the worker.
        assert_eq!(wire.ask(Command::Ping).await["pong"]["state"], "running");
        let (_, again) = wire.exchange(Command::Stop(Stop::default())).await;
        assert!(again["error"]["message"].as_str().is_some_and(|text| text.contains("SIGKILL")), "{again}");
        stuck.set(false);
        while wire.ask(Command::Ping).await["pong"]["state"] == "running" {
            sleep(LOOK_RUNNING).await;
        }
        wire.run_trial().await;
        assert_eq!(wire.ask(Command::Stop(Stop::default())).await["state"], "finished");
        wire.ask(Command::Shutdown).await;
    })
    .await;
}
