//! Traffic through the kernel's sockets as the engine of an agent: streams between agents, HTTP requests, and diagnoses.

mod describe;
mod diagnosis;
mod doorkeeper;
mod gate;
mod http;
mod paths;
mod readiness;
mod routes;
mod streams;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hugepage_check::requirements::Requirements;
use linerate_agent::engine::{Engine, EngineError, Finished, TickCounter};
use linerate_hardware::CpuSet;
use linerate_http::tls::SettingsError;
use linerate_http::tls::server::ServerTls;
use linerate_traffic::safety::Ceilings;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::engine::EngineInfo;
use linerate_wire::http::{BACKEND_SERVER_NAME, HttpDoor};
use linerate_wire::message::Sent;
use linerate_wire::network::NextHop;
use linerate_wire::report::Ended;
use linerate_wire::sample::Measures;
use linerate_wire::time::{SendingTimes, TickRate};
use linerate_wire::trial::Work;
use linerate_wire::watch::WatchMeasures;

use self::diagnosis::{Diagnosing, PreparedDiagnosis};
use self::doorkeeper::Doorkeeper;
use self::http::{Http, PreparedHttp};
use self::readiness::Readiness;
use self::streams::{PreparedStreams, Streams};
use self::watch::Watching;
use crate::door::ListenError;
use crate::http::backend::{Backend, BackendConfig, BackendError};
use crate::streams::pool::{Pool, PoolError};

/// Nanoseconds per second: the engine's counter is the raw monotonic clock itself.
const CLOCK_HZ: u64 = 1_000_000_000;

/// Configuration of an engine.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    /// Addresses at which streams arrive; port 0 takes a free one.
    pub(crate) listen: Vec<SocketAddr>,
    /// CPUs of the workers; without them, one worker per CPU.
    pub(crate) cpus: Option<CpuSet>,
    /// Most workers without `cpus`. Where this process may use more CPUs, they are not pinned.
    pub(crate) most_workers: usize,
    pub(crate) ceilings: Ceilings,
    /// The agent answers HTTP requests.
    pub(crate) backend: Option<BackendConfig>,
    /// Where connections are accepted while the backend is ready.
    pub(crate) ready: Option<SocketAddr>,
}

/// Error: the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("no certificate for the backend: {0}")]
    Certificate(#[from] SettingsError),
    #[error(
        "cannot listen at {address} for probes of readiness: {error}; choose another address (--http-ready)"
    )]
    Ready { address: SocketAddr, error: std::io::Error },
    #[error("no thread for the streams that arrive: {0}")]
    Thread(std::io::Error),
}

/// Engine of an agent that moves streams.
#[derive(Debug)]
pub(crate) struct KernelEngine {
    pool: Arc<Pool>,
    doorkeeper: Doorkeeper,
    /// Answers HTTP requests from the start on; `None` without an address for it.
    backend: Option<Backend>,
    _readiness: Option<Readiness>,
    door: Option<HttpDoor>,
    ceilings: Ceilings,
    requirements: Requirements,
    next_session: u64,
}

/// A planned trial.
#[derive(Debug)]
pub(crate) enum Prepared {
    Streams(PreparedStreams),
    Http(PreparedHttp),
    Diagnosis(PreparedDiagnosis),
    Watch(u32),
}

/// A trial in progress.
#[derive(Debug)]
pub(crate) enum Active {
    Streams(Box<Streams>),
    Http(Box<Http>),
    Diagnosis(Diagnosing),
    Watch(Box<Watching>),
}

impl KernelEngine {
    /// Starts the workers and opens the doors.
    pub(crate) fn start(config: EngineConfig) -> Result<Self, StartError> {
        let name = config.backend.as_ref().map(|backend| backend.name.clone());
        let (backend, certificate) = match config.backend {
            Some(backend) => {
                let names = [BACKEND_SERVER_NAME.to_owned()];
                let (tls, certificate) = ServerTls::self_signed_as(&backend.name, &names)?;
                let backend = BackendConfig { tls: Some(tls), plain_too: true, ..backend };
                (Some(Backend::start(backend)?), Some(certificate))
            }
            None => (None, None),
        };
        let readiness = config.ready.zip(backend.as_ref()).map(|(address, backend)| {
            Readiness::start(address, backend.presence())
                .map_err(|error| StartError::Ready { address, error })
        });
        let readiness = readiness.transpose()?;
        let mut engine = Self {
            pool: Arc::new(Pool::start(config.cpus.as_ref(), config.most_workers)?),
            doorkeeper: Doorkeeper::start(config.listen)?,
            _readiness: readiness,
            backend,
            door: None,
            ceilings: config.ceilings,
            requirements: Requirements::default(),
            next_session: 1,
        };
        let listen = engine.backend.as_ref().and_then(|backend| backend.addresses().first().copied());
        engine.door = listen.zip(name).map(|(listen, name)| HttpDoor { listen, name, certificate });
        Ok(engine)
    }

    /// Addresses at which streams arrive.
    pub(crate) fn listening(&self) -> &[SocketAddr] {
        self.doorkeeper.addresses()
    }
}

impl Engine for KernelEngine {
    type Prepared = Prepared;
    type Active = Active;

    fn describe(&self) -> Result<EngineInfo, EngineError> {
        let engine = describe::describe(self.listening(), self.pool.size(), self.door.clone());
        Ok(EngineInfo::Streams(Box::new(engine)))
    }

    fn counter(&self) -> TickCounter {
        TickCounter {
            source: "monotonic_raw".to_owned(),
            rate: TickRate::new(CLOCK_HZ, CLOCK_HZ, 0.0),
            invariant: true,
        }
    }

    fn is_ready(&self) -> Result<bool, EngineError> {
        Ok(true)
    }

    fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    fn next_hop(&mut self, _to: IpAddr) -> Result<NextHop, EngineError> {
        Err(EngineError::Refused(
            "streams go where the kernel routes them; there is no next hop to resolve".into(),
        ))
    }

    fn prepare(&mut self, trial: u32, work: &Work) -> Result<Prepared, EngineError> {
        match work {
            Work::Streams(work) => Ok(Prepared::Streams(self.prepare_streams(trial, work)?)),
            Work::Http(work) => Ok(Prepared::Http(self.prepare_http(trial, work)?)),
            Work::Diagnosis(work) => Ok(Prepared::Diagnosis(self.prepare_diagnosis(trial, work)?)),
            Work::Watch(_) => Ok(Prepared::Watch(trial)),
            Work::Frames(_) => Err(EngineError::Refused(
                "this agent moves streams and HTTP requests, and the work is of frames".into(),
            )),
        }
    }

    fn arm(&mut self, prepared: Prepared) -> Result<Active, EngineError> {
        match prepared {
            Prepared::Streams(prepared) => Ok(Active::Streams(Box::new(Streams::arm(prepared)?))),
            Prepared::Http(prepared) => Ok(Active::Http(Box::new(self.arm_http(prepared)?))),
            Prepared::Diagnosis(prepared) => Ok(Active::Diagnosis(self.arm_diagnosis(prepared))),
            Prepared::Watch(trial) => Ok(Active::Watch(Box::new(Watching::arm(trial)))),
        }
    }

    fn start_at(&mut self, active: &mut Active, at_ns: u64) {
        match active {
            Active::Streams(streams) => streams.start_at(at_ns),
            Active::Http(http) => http.start_at(at_ns, self.backend.as_ref()),
            Active::Diagnosis(diagnosing) => diagnosing.start(),
            Active::Watch(watching) => watching.start_at(at_ns),
        }
    }

    fn background_work(&mut self, active: Option<&mut Active>) {
        if let Some(Active::Streams(streams)) = active {
            streams.background_work();
        }
    }

    fn needs_looks(&self, active: &Active) -> bool {
        // The node is watched for what its CPUs do.
        !matches!(active, Active::Watch(_))
    }

    fn sample(&mut self, active: &mut Active) -> Measures {
        match active {
            Active::Streams(streams) => streams.sample(),
            Active::Http(http) => Measures::Http(http.sample(self.backend.as_ref())),
            Active::Diagnosis(diagnosing) => diagnosing.sample(),
            Active::Watch(_) => Measures::Watch(WatchMeasures {}),
        }
    }

    fn received(&self, active: &Active) -> Option<ReceiveCounters> {
        match active {
            Active::Streams(streams) => streams.received(),
            Active::Http(_) | Active::Diagnosis(_) | Active::Watch(_) => None,
        }
    }

    fn sending_is_over(&self, active: &Active) -> Option<Sent> {
        match active {
            Active::Streams(streams) => streams.sending_is_over(),
            Active::Http(_) | Active::Diagnosis(_) | Active::Watch(_) => None,
        }
    }

    fn expect(&mut self, active: &mut Active, sent_per_lcore: Vec<u64>, _: Option<SendingTimes>) {
        if let Active::Streams(streams) = active {
            streams.expect(sent_per_lcore);
        }
    }

    fn stop(&mut self, active: &mut Active) {
        match active {
            Active::Streams(streams) => streams.stop(),
            Active::Http(http) => http.stop(),
            Active::Diagnosis(diagnosing) => diagnosing.stop(),
            Active::Watch(watching) => watching.stop(),
        }
    }

    fn is_over(&self, active: &Active) -> bool {
        match active {
            Active::Streams(streams) => streams.is_over(),
            Active::Http(http) => http.is_over(),
            Active::Diagnosis(diagnosing) => diagnosing.is_over(),
            Active::Watch(watching) => watching.is_over(),
        }
    }

    fn finish(&mut self, active: Active, ended: Ended) -> Result<Finished, EngineError> {
        Ok(match active {
            Active::Streams(streams) => streams.finish(ended),
            Active::Http(http) => http.finish(ended, self.backend.as_ref()),
            Active::Diagnosis(diagnosing) => self.finish_diagnosis(&diagnosing, ended),
            Active::Watch(watching) => watching.finish(ended),
        })
    }
}
