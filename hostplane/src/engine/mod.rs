//! Streams as the engine of an agent: many paths at once, each between two agents.
//!
//! Every path is a session of its own; all share the workers. Streams arrive at the engine's door, on a thread of
//! its own, so agents that connect to each other at the same time do not wait for each other.

mod describe;
mod doorkeeper;
mod paths;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hugepage_check::cpu_set::CpuSet;
use hugepage_check::requirements::Requirements;
use linerate_agent::engine::{Counter, Engine, EngineError, Finished};
use linerate_agent::host::monotonic_ns;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::{Ceilings, PacketLoad};
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::engine::EngineInfo;
use linerate_wire::message::Sent;
use linerate_wire::network::NextHop;
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::sample::Measures;
use linerate_wire::streams::{PathSide, PathWork, SendingEnd, StreamsMeasures, StreamsReport, StreamsWork};
use linerate_wire::time::{SendingTimes, TickRate, WorkerTime};
use linerate_wire::trial::Work;

use self::doorkeeper::Doorkeeper;
use self::paths::{ActivePath, open_connections};
use crate::door::ListenError;
use crate::streams::host::HostWatch;
use crate::streams::pool::{Pool, PoolError};

/// Most streams that samples show one by one.
const MOST_SAMPLED_STREAMS: u32 = 64;
/// Nanoseconds per second: the engine's counter is the raw monotonic clock itself.
const CLOCK_HZ: u64 = 1_000_000_000;

/// Configuration of an engine.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    /// Addresses at which streams arrive; port 0 takes a free one.
    pub(crate) listen: Vec<SocketAddr>,
    /// CPUs of the workers; without them, one worker per CPU.
    pub(crate) cpus: Option<CpuSet>,
    pub(crate) ceilings: Ceilings,
}

/// Error: the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("no thread for the streams that arrive: {0}")]
    Thread(std::io::Error),
}

/// Engine of an agent that moves streams.
#[derive(Debug)]
pub(crate) struct KernelEngine {
    pool: Arc<Pool>,
    doorkeeper: Doorkeeper,
    ceilings: Ceilings,
    requirements: Requirements,
    next_session: u64,
}

/// A planned trial: the paths whose streams come from other agents are awaited already.
#[derive(Debug)]
pub(crate) struct Prepared {
    trial: u32,
    work: StreamsWork,
    paths: Vec<ActivePath>,
}

/// A trial with its streams.
#[derive(Debug)]
pub(crate) struct Active {
    trial: u32,
    paths: RefCell<Vec<ActivePath>>,
    host: Option<HostWatch>,
    started_ns: u64,
    stopping: bool,
}

impl KernelEngine {
    /// Starts the workers and opens the door.
    pub(crate) fn start(config: EngineConfig) -> Result<Self, StartError> {
        Ok(Self {
            pool: Arc::new(Pool::start(config.cpus.as_ref(), usize::MAX)?),
            doorkeeper: Doorkeeper::start(config.listen)?,
            ceilings: config.ceilings,
            requirements: Requirements::default(),
            next_session: 1,
        })
    }

    /// Addresses at which streams arrive.
    pub(crate) fn listening(&self) -> &[SocketAddr] {
        self.doorkeeper.addresses()
    }

    /// Highest load of a path that ceilings admit: packets per second, and bytes per second with all headers.
    fn check(&self, path: &PathWork) -> Result<Option<(f64, f64)>, EngineError> {
        let (peer, ipv6): (Option<IpAddr>, bool) = match &path.side {
            PathSide::Connect { to, .. } => (Some(to.ip()), to.is_ipv6()),
            PathSide::Accept { at } => (None, at.is_ipv6()),
        };
        let (packets_per_second, packet_bytes) = path.streams.packets(ipv6);
        let limit = Limit { duration_ms: path.streams.duration_ms, packets: None };
        let load = PacketLoad { packets_per_second, packet_bytes };
        let refused = |error| EngineError::Refused(format!("path {}: {error}", path.path));
        self.ceilings.check_streams(&load, &limit, peer).map_err(refused)?;
        let most = self.ceilings.most_packets_per_second(packet_bytes).map_err(refused)?;
        Ok(most.map(|packets| (packets, packets * packet_bytes)))
    }
}

impl Engine for KernelEngine {
    type Prepared = Prepared;
    type Active = Active;

    fn describe(&self) -> Result<EngineInfo, EngineError> {
        let engine = describe::describe(self.listening(), self.pool.size());
        Ok(EngineInfo::Streams(Box::new(engine)))
    }

    fn counter(&self) -> Counter {
        Counter {
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
        let Work::Streams(work) = work else {
            return Err(EngineError::Refused("this agent moves streams, and the work is of frames".into()));
        };
        let streams: u32 = work.paths.iter().map(|path| path.streams.streams).sum();
        paths::check_descriptors(streams).map_err(EngineError::Refused)?;
        let mut paths = Vec::with_capacity(work.paths.len());
        for path in &work.paths {
            let ceiling = self.check(path)?;
            let session = self.next_session;
            self.next_session += 1;
            let ceilings = self.ceilings.clone();
            let (pool, door) = (Arc::clone(&self.pool), self.doorkeeper.door());
            paths.push(ActivePath::new(pool, &door, work, path, paths::Place { session, ceiling, ceilings }));
        }
        Ok(Prepared { trial, work: (**work).clone(), paths })
    }

    fn arm(&mut self, prepared: Prepared) -> Result<Active, EngineError> {
        let Prepared { trial, work, mut paths } = prepared;
        open_connections(&mut paths, work.key)?;
        Ok(Active {
            trial,
            paths: RefCell::new(paths),
            host: None,
            started_ns: monotonic_ns(),
            stopping: false,
        })
    }

    fn start_at(&mut self, active: &mut Active, at_ns: u64) {
        active.started_ns = at_ns.max(monotonic_ns());
        active.host = Some(HostWatch::begin());
        for path in active.paths.get_mut() {
            path.take_arrivals();
            path.start(active.started_ns);
        }
    }

    fn background_work(&mut self, active: Option<&mut Active>) {
        if let Some(active) = active {
            active.paths.get_mut().iter_mut().for_each(ActivePath::take_arrivals);
        }
    }

    fn sample(&mut self, active: &mut Active) -> Measures {
        let paths = active.paths.get_mut();
        let each = paths.len() == 1 && paths[0].streams() <= MOST_SAMPLED_STREAMS;
        Measures::Streams(StreamsMeasures { paths: paths.iter_mut().map(|path| path.sample(each)).collect() })
    }

    fn received(&self, active: &Active) -> Option<ReceiveCounters> {
        let paths = active.paths.borrow();
        let of_paths = paths.iter().filter_map(ActivePath::received_datagrams);
        of_paths.reduce(|(packets, duplicates), (more, copies)| (packets + more, duplicates + copies)).map(
            |(packets, duplicates)| ReceiveCounters { packets, duplicates, ..ReceiveCounters::default() },
        )
    }

    fn sending_is_over(&self, active: &Active) -> Option<Sent> {
        let paths = active.paths.borrow();
        let senders = || paths.iter().filter(|path| path.sends());
        let receives = paths.iter().any(|path| !path.sends());
        let over = receives && senders().count() > 0 && senders().all(ActivePath::sending_is_over);
        over.then(|| {
            let counts: Vec<u64> = senders().map(ActivePath::sent_units).collect();
            Sent {
                trial: active.trial,
                packets: counts.iter().sum(),
                packets_per_lcore: counts,
                sending: None,
            }
        })
    }

    fn expect(&mut self, active: &mut Active, sent_per_lcore: Vec<u64>, _: Option<SendingTimes>) {
        let receivers = active.paths.get_mut().iter_mut().filter(|path| !path.sends());
        receivers.zip(sent_per_lcore).for_each(|(path, sent)| path.expect(sent));
    }

    fn stop(&mut self, active: &mut Active) {
        active.stopping = true;
        active.paths.get_mut().iter_mut().for_each(ActivePath::stop);
    }

    fn is_over(&self, active: &Active) -> bool {
        let mut paths = active.paths.borrow_mut();
        let over = |path: &mut ActivePath| {
            path.take_arrivals();
            path.is_over(active.stopping)
        };
        // Every path is looked at, not only those before the first that goes on.
        paths.iter_mut().map(over).filter(|is_over| !is_over).count() == 0
    }

    fn finish(&mut self, active: Active, ended: Ended) -> Result<Finished, EngineError> {
        let Active { trial, paths, host, started_ns, .. } = active;
        let (cpu, throttling) = host.as_ref().map(HostWatch::read).unwrap_or_default();
        let mut workers: BTreeMap<u32, WorkerTime> = BTreeMap::new();
        let mut reports = Vec::new();
        let mut ends = Vec::new();
        for path in paths.into_inner() {
            let (report, times) = path.finish();
            // The sessions of a worker are at the same time: its longest reading covers all.
            for time in times {
                let known = workers.entry(time.lcore).or_insert(time);
                if time.elapsed_s > known.elapsed_s {
                    *known = time;
                }
            }
            ends.extend(report.sending.as_ref().map(|sending| sending.ended));
            reports.push(report);
        }
        let all = |end: SendingEnd| !ends.is_empty() && ends.iter().all(|one| *one == end);
        let ended = match ended {
            Ended::Stopped if all(SendingEnd::Duration) => Ended::Duration,
            Ended::Stopped if all(SendingEnd::Bytes) => Ended::Packets,
            other => other,
        };
        let detail = ReportDetail::Streams(Box::new(StreamsReport { paths: reports, cpu }));
        let mut report = Report::new(trial, ended, started_ns, detail);
        report.ended_ns = monotonic_ns();
        report.workers = workers.into_values().collect();
        report.throttling = throttling;
        Ok(Finished { report, flows: None })
    }
}
