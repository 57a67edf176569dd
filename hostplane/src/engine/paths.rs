//! One path of a trial at an agent.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use linerate_agent::engine::EngineError;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::{Ceilings, PacketLoad};
use linerate_wire::streams::{
    PathMeasures, PathReport, PathSide, PathWork, Protocol, StreamKey, StreamsSpec, StreamsWork,
};
use linerate_wire::time::WorkerTime;
use tokio::task::{JoinSet, LocalSet};

use crate::client::streams::{Opening, open_all};
use crate::door::{Arrivals, Arrived, Door};
use crate::spec::{Direction, Directions};
use crate::streams::pool::Pool;
use crate::streams::report::SentCounts;
use crate::streams::session::Session;
use crate::streams::socket::{Place as LocalPlace, peer, prepare_stream};
use crate::streams::{EndId, EndPlan, raise_descriptor_limit};

/// File descriptors that an agent keeps for other things than streams.
const SPARE_DESCRIPTORS: u64 = 64;

/// Number and ceilings of a path at this agent.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) session: u64,
    /// Highest load that ceilings admit: packets per second, and bytes per second with all headers.
    pub(super) ceiling: Option<(f64, f64)>,
    pub(super) ceilings: Ceilings,
}

/// One end of a path.
#[derive(Debug)]
pub(super) struct ActivePath {
    work: PathWork,
    place: Place,
    session: Session,
    /// Streams that the other end opens; `None` at the end that opens them.
    arrivals: Option<Arrivals>,
    /// Streams that are there.
    streams: u32,
    notes: Vec<String>,
}

/// Refuses more streams than there are file descriptors.
pub(super) fn check_descriptors(streams: u32) -> Result<(), String> {
    let needed = u64::from(streams) + SPARE_DESCRIPTORS;
    match raise_descriptor_limit().filter(|limit| *limit < needed) {
        Some(limit) => Err(format!(
            "{streams} streams need {needed} file descriptors with those to spare, and the agent may have {limit} (ulimit -n)"
        )),
        None => Ok(()),
    }
}

impl ActivePath {
    pub(super) fn new(
        pool: Arc<Pool>,
        door: &Door,
        trial: &StreamsWork,
        path: &PathWork,
        place: Place,
    ) -> Self {
        let connects = matches!(path.side, PathSide::Connect { .. });
        let name = (trial.key, path.path);
        let id = EndId {
            session: place.session,
            name,
            tag: trial.tag,
            directions: if connects == path.sends { Directions::Forward } else { Directions::Reverse },
            sends: if connects { Direction::Forward } else { Direction::Reverse },
        };
        let plan = EndPlan::new(id, path.streams.clone(), place.ceiling.map(|(packets, _)| packets));
        let arrivals = match path.side {
            PathSide::Accept { at, .. } => Some(door.expect(trial.key, path.path, path.streams.streams, at)),
            PathSide::Connect { .. } => None,
        };
        let session = Session::new(pool, plan, connects);
        Self { work: path.clone(), place, session, arrivals, streams: 0, notes: Vec::new() }
    }

    /// Adds a remark to its report.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn sends(&self) -> bool {
        self.work.sends
    }

    /// Streams that are there.
    pub(super) fn streams(&self) -> u32 {
        self.streams
    }

    fn is_udp(&self) -> bool {
        self.work.streams.protocol == Protocol::Udp
    }

    fn attach(&mut self, number: u32, socket: OwnedFd) {
        self.streams += 1;
        self.session.attach(number, socket);
    }

    /// Takes over the streams that have arrived.
    pub(super) fn take_arrivals(&mut self) {
        while let Some(arrivals) = &mut self.arrivals
            && let Ok(arrival) = arrivals.queue.try_recv()
        {
            match arrival {
                Ok(Arrived { stream, socket }) => match self.admit(&socket) {
                    Ok(()) => self.attach(stream, socket),
                    Err(reason) => self.notes.push(format!("stream {stream} was refused: {reason}")),
                },
                // It is asked for again and again.
                Err(error) => {
                    let note = format!("a stream of datagrams cannot be accepted: {error}");
                    if self.notes.last() != Some(&note) {
                        self.notes.push(note);
                    }
                }
            }
        }
    }

    /// Checks where a stream comes from, and sets its socket's options.
    fn admit(&self, socket: &OwnedFd) -> Result<(), String> {
        let peer = peer(socket).ok_or("its peer is gone")?.ip();
        let limit = Limit { duration_ms: self.work.streams.duration_ms, packets: None };
        let (packets_per_second, packet_bytes) = self.work.streams.packets(peer.is_ipv6());
        let load = PacketLoad { packets_per_second, packet_bytes };
        self.place.ceilings.check_streams(&load, &limit, Some(peer)).map_err(|error| error.to_string())?;
        self.prepare(socket, peer)
    }

    fn prepare(&self, socket: &OwnedFd, peer: IpAddr) -> Result<(), String> {
        let ceiling_bytes = self.place.ceiling.map(|(_, bytes)| bytes);
        prepare_stream(socket, &self.work.streams, self.work.sends, peer, ceiling_bytes)
            .map_err(|error| error.to_string())
    }

    pub(super) fn start(&mut self, at_ns: u64) {
        self.session.start(at_ns, self.work.peer_ahead_ns);
    }

    /// Measures; without each stream's unless `each`.
    pub(super) fn sample(&mut self, each: bool) -> PathMeasures {
        let sample = self.session.sample(0);
        let (mut sent, mut received) = (sample.sent, sample.received);
        if !each {
            sent.iter_mut().for_each(|sent| sent.streams.clear());
            received.iter_mut().for_each(|received| received.stream_bytes.clear());
        }
        // A path without streams yet has measures, too.
        if self.work.sends {
            sent.get_or_insert_default();
        } else {
            received.get_or_insert_default();
        }
        PathMeasures { path: self.work.path, sent, received }
    }

    /// First copies and duplicates of datagrams; `None` for a path that receives none.
    pub(super) fn received_datagrams(&self) -> Option<(u64, u64)> {
        (self.is_udp() && !self.work.sends).then(|| self.session.received_datagrams())
    }

    pub(super) fn sending_is_over(&self) -> bool {
        self.streams > 0 && self.session.sending_is_over()
    }

    /// Datagrams, or bytes of TCP, that have been sent.
    pub(super) fn sent_units(&self) -> u64 {
        let SentCounts { bytes, datagrams } = self.session.sent_counts();
        if self.is_udp() { datagrams.iter().sum() } else { bytes.iter().sum() }
    }

    /// The other end has sent so many datagrams, or bytes.
    pub(super) fn expect(&mut self, units: u64) {
        let counts = match self.is_udp() {
            true => SentCounts { bytes: Vec::new(), datagrams: vec![units] },
            false => SentCounts { bytes: vec![units], datagrams: Vec::new() },
        };
        self.session.expect(counts);
    }

    /// Ends the sending; what is received ends as soon as it rests.
    pub(super) fn stop(&mut self) {
        self.session.stop_sending();
        self.session.end_receiving();
    }

    /// True when all of its streams have ended. Streams that have not come are waited for until the trial is
    /// told to end.
    pub(super) fn is_over(&mut self, stopping: bool) -> bool {
        self.session.look();
        let all_came = self.streams >= self.work.streams.streams || self.failed();
        (all_came || stopping) && self.session.is_over()
    }

    /// True when its streams could not be opened.
    fn failed(&self) -> bool {
        self.arrivals.is_none() && self.streams == 0
    }

    pub(super) fn finish(mut self) -> (PathReport, Vec<WorkerTime>) {
        let (came, all) = (self.streams, self.work.streams.streams);
        if came < all && !self.failed() {
            self.notes.push(format!("{came} of {all} streams came"));
        }
        let report = self.session.finish("the trial was ended");
        self.notes.extend(report.notes);
        let path = PathReport {
            path: self.work.path,
            sending: report.sending,
            receiving: report.receiving,
            notes: self.notes,
        };
        (path, report.workers)
    }
}

/// What is needed to open the streams of a path.
struct Task {
    index: usize,
    to: std::net::SocketAddr,
    name: (StreamKey, u32),
    spec: StreamsSpec,
    place: LocalPlace,
    ceiling_bytes: Option<f64>,
    sends: bool,
}

impl Task {
    async fn open(self) -> (usize, Result<Vec<(u32, OwnedFd)>, String>) {
        let Self { index, to, name, spec, place, ceiling_bytes, sends } = self;
        let opening = Opening { to, name, spec: &spec, streams: spec.streams, place: &place, ceiling_bytes };
        (index, open_all(&opening, |_| sends).await.map_err(|error| error.to_string()))
    }
}

/// Opens the streams of all paths that this agent opens, at the same time. A path whose streams cannot be opened
/// has a note; when none can, the trial is refused.
pub(super) fn open_connections(paths: &mut [ActivePath], key: StreamKey) -> Result<(), EngineError> {
    let tasks: Vec<Task> =
        paths.iter().enumerate().filter_map(|(index, path)| task(index, path, key)).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let count = tasks.len();
    // The agent's own runtime is busy with this call: the connections are made on another thread.
    let opened = std::thread::scope(|scope| scope.spawn(|| open_tasks(tasks)).join());
    let opened = opened.map_err(|_| EngineError::Failed("the thread that opens streams panicked".into()))?;
    let opened = opened.map_err(|error| EngineError::failed(&error))?;
    let mut failures = Vec::new();
    for (index, result) in opened {
        match (paths.get_mut(index), result) {
            (Some(path), Ok(sockets)) => {
                sockets.into_iter().for_each(|(number, socket)| path.attach(number, socket));
            }
            (Some(path), Err(error)) => {
                path.notes.push(error.clone());
                failures.push(format!("path {}: {error}", path.work.path));
            }
            (None, _) => {}
        }
    }
    match failures.first() {
        Some(first) if failures.len() == count => Err(EngineError::Refused(first.clone())),
        _ => Ok(()),
    }
}

fn task(index: usize, path: &ActivePath, key: StreamKey) -> Option<Task> {
    let PathSide::Connect { to, from, interface } = &path.work.side else { return None };
    Some(Task {
        index,
        to: *to,
        name: (key, path.work.path),
        spec: path.work.streams.clone(),
        place: LocalPlace { address: *from, interface: interface.clone() },
        ceiling_bytes: path.place.ceiling.map(|(_, bytes)| bytes),
        sends: path.work.sends,
    })
}

type Opened = Vec<(usize, Result<Vec<(u32, OwnedFd)>, String>)>;

fn open_tasks(tasks: Vec<Task>) -> std::io::Result<Opened> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, async {
        let mut waiting = JoinSet::new();
        for task in tasks {
            waiting.spawn_local(task.open());
        }
        let mut opened = Vec::new();
        while let Some(done) = waiting.join_next().await {
            opened.extend(done);
        }
        opened
    }))
}
