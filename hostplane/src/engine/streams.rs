//! Streams as the work of an agent: many paths at once, each between two agents.
//!
//! Every path is a session of its own; all share the workers. Streams arrive at the engine's door, on a thread of
//! its own, so agents that connect to each other at the same time do not wait for each other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use linerate_agent::engine::{EngineError, Finished};
use linerate_agent::host::monotonic_ns;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::message::Sent;
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::sample::Measures;
use linerate_wire::streams::{PathSide, PathWork, SendingEnd, StreamsMeasures, StreamsReport, StreamsWork};
use linerate_wire::time::WorkerTime;

use super::KernelEngine;
use super::paths::{ActivePath, Place, check_descriptors, open_connections};
use super::routes;
use crate::streams::host::HostWatch;

/// Most streams that samples show one by one.
const MOST_SAMPLED_STREAMS: u32 = 64;

/// A planned trial: the paths whose streams come from other agents are awaited already.
#[derive(Debug)]
pub(crate) struct PreparedStreams {
    trial: u32,
    work: StreamsWork,
    paths: Vec<ActivePath>,
}

/// A trial with its streams.
#[derive(Debug)]
pub(crate) struct Streams {
    trial: u32,
    paths: RefCell<Vec<ActivePath>>,
    host: Option<HostWatch>,
    started_ns: u64,
    stopping: bool,
}

impl KernelEngine {
    /// Highest load of a path that ceilings admit: packets per second, and bytes per second with all headers.
    fn check_path(&self, path: &PathWork) -> Result<Option<(f64, f64)>, EngineError> {
        let (peer, ipv6): (Option<IpAddr>, bool) = match &path.side {
            PathSide::Connect { to, .. } => (Some(to.ip()), to.is_ipv6()),
            PathSide::Accept { at, .. } => (None, at.is_ipv6()),
        };
        let (packets_per_second, packet_bytes) = path.streams.packets(ipv6);
        let limit = Limit { duration_ms: path.streams.duration_ms, packets: None };
        let load = PacketLoad { packets_per_second, packet_bytes };
        let refused = |error| EngineError::Refused(format!("path {}: {error}", path.path));
        self.ceilings.check_streams(&load, &limit, peer).map_err(refused)?;
        let most = self.ceilings.most_packets_per_second(packet_bytes).map_err(refused)?;
        Ok(most.map(|packets| (packets, packets * packet_bytes)))
    }

    /// Plans the paths of a trial.
    pub(super) fn prepare_streams(
        &mut self,
        trial: u32,
        work: &StreamsWork,
    ) -> Result<PreparedStreams, EngineError> {
        let streams: u32 = work.paths.iter().map(|path| path.streams.streams).sum();
        check_descriptors(streams).map_err(EngineError::Refused)?;
        let notes = routes::check(&work.paths).map_err(EngineError::Refused)?;
        let mut paths = Vec::with_capacity(work.paths.len());
        for path in &work.paths {
            let ceiling = self.check_path(path)?;
            let session = self.next_session;
            self.next_session += 1;
            let ceilings = self.ceilings.clone();
            let (pool, door) = (Arc::clone(&self.pool), self.doorkeeper.door());
            let mut active = ActivePath::new(pool, &door, work, path, Place { session, ceiling, ceilings });
            let own = notes.iter().filter(|(number, _)| *number == path.path);
            own.for_each(|(_, note)| active.note(note.clone()));
            paths.push(active);
        }
        Ok(PreparedStreams { trial, work: work.clone(), paths })
    }
}

impl Streams {
    pub(super) fn arm(prepared: PreparedStreams) -> Result<Self, EngineError> {
        let PreparedStreams { trial, work, mut paths } = prepared;
        open_connections(&mut paths, work.key)?;
        Ok(Self {
            trial,
            paths: RefCell::new(paths),
            host: None,
            started_ns: monotonic_ns(),
            stopping: false,
        })
    }

    pub(super) fn start_at(&mut self, at_ns: u64) {
        self.started_ns = at_ns.max(monotonic_ns());
        self.host = Some(HostWatch::begin());
        for path in self.paths.get_mut() {
            path.take_arrivals();
            path.start(self.started_ns);
        }
    }

    pub(super) fn background_work(&mut self) {
        self.paths.get_mut().iter_mut().for_each(ActivePath::take_arrivals);
    }

    pub(super) fn sample(&mut self) -> Measures {
        let paths = self.paths.get_mut();
        let each = paths.len() == 1 && paths[0].streams() <= MOST_SAMPLED_STREAMS;
        Measures::Streams(StreamsMeasures { paths: paths.iter_mut().map(|path| path.sample(each)).collect() })
    }

    pub(super) fn received(&self) -> Option<ReceiveCounters> {
        let paths = self.paths.borrow();
        let of_paths = paths.iter().filter_map(ActivePath::received_datagrams);
        of_paths.reduce(|(packets, duplicates), (more, copies)| (packets + more, duplicates + copies)).map(
            |(packets, duplicates)| ReceiveCounters { packets, duplicates, ..ReceiveCounters::default() },
        )
    }

    pub(super) fn sending_is_over(&self) -> Option<Sent> {
        let paths = self.paths.borrow();
        let senders = || paths.iter().filter(|path| path.sends());
        let receives = paths.iter().any(|path| !path.sends());
        let over = receives && senders().count() > 0 && senders().all(ActivePath::sending_is_over);
        over.then(|| {
            let counts: Vec<u64> = senders().map(ActivePath::sent_units).collect();
            Sent { trial: self.trial, packets: counts.iter().sum(), packets_per_lcore: counts, sending: None }
        })
    }

    pub(super) fn expect(&mut self, sent_per_lcore: Vec<u64>) {
        let receivers = self.paths.get_mut().iter_mut().filter(|path| !path.sends());
        receivers.zip(sent_per_lcore).for_each(|(path, sent)| path.expect(sent));
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.paths.get_mut().iter_mut().for_each(ActivePath::stop);
    }

    pub(super) fn is_over(&self) -> bool {
        let mut paths = self.paths.borrow_mut();
        let over = |path: &mut ActivePath| {
            path.take_arrivals();
            path.is_over(self.stopping)
        };
        // Every path is looked at, not only those before the first that goes on.
        paths.iter_mut().map(over).filter(|is_over| !is_over).count() == 0
    }

    pub(super) fn finish(self, ended: Ended) -> Finished {
        let Self { trial, paths, host, started_ns, .. } = self;
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
        Finished { report, flows: None }
    }
}
