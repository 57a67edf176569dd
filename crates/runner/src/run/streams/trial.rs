//! One trial of streams: all agents prepare, open their connections, start together, and report. An agent that is lost
//! does not end the trial of the others.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use linerate_experiment::document::TrialSection;
use linerate_experiment::streams::{Connection, StreamsTrial};
use linerate_wire::message::{Acknowledge, Command, Event, Start, Stop, TrialFailed};
use linerate_wire::report::{Report, ReportDetail};
use linerate_wire::streams::{Protocol, StreamKey, StreamsReport};
use linerate_wire::trial::{Drain, TrialSpec, Work};
use tempfile::NamedTempFile;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::samples::Samples;
use super::work::{Route, TrialWork};
use crate::events::StreamsReading;
use crate::platform::random_bytes;
use crate::run::observer::Observer;
use crate::run::part::{self, KernelAgent, NotRun, Part, step, to_idle, waiting_samples};
use crate::run::start::{Clocks, ComparedAgain};
use crate::run::trial::Stopped;
use crate::session::{ANSWER_TIME, WORK_TIME};

/// Time beyond its duration after which senders are told to end.
const GRACE: Duration = Duration::from_secs(10);
/// Time for the streams of TCP to end by themselves after all senders have ended: agents give up a stream that does not
/// move before that.
const CLOSING_TIME: Duration = Duration::from_secs(7);

/// What a trial needs besides its agents.
pub(super) struct Context<'a> {
    pub(super) trial: &'a StreamsTrial,
    pub(super) id: u32,
    pub(super) tag: u16,
    pub(super) of: usize,
    pub(super) settings: &'a TrialSection,
    pub(super) connections: &'a [Connection],
    pub(super) routes: &'a [Route],
    pub(super) directory: &'a Path,
    pub(super) observer: &'a dyn Observer,
    pub(super) interrupted: watch::Receiver<bool>,
}

/// An agent's part in a trial of streams.
pub(super) type StreamsPart = Part<StreamsReport>;

/// A trial that ran.
pub(super) struct Ran {
    pub(super) parts: Vec<StreamsPart>,
    pub(super) samples: NamedTempFile,
    pub(super) clocks: Clocks,
    /// The clocks once more, after a trial of datagrams between different machines.
    pub(super) clocks_again: Option<ComparedAgain>,
    pub(super) started_at: SystemTime,
}

/// Runs a trial.
pub(super) async fn run(context: &Context<'_>, agents: &[KernelAgent]) -> Result<Ran, NotRun> {
    let mut interrupted = context.interrupted.clone();
    let prepared = tokio::select! {
        prepared = prepare(context, agents) => prepared,
        Ok(_) = interrupted.wait_for(|flag| *flag) => Err(NotRun::Interrupted),
    };
    let (clocks, refused) = match prepared {
        Ok(prepared) => prepared,
        Err(not_run) => {
            join_all(agents.iter().map(to_idle)).await;
            return Err(not_run);
        }
    };
    let samples = Samples::new(context.directory, agents.len(), context.connections.len());
    let course = Course {
        context,
        samples: RefCell::new(samples.map_err(NotRun::Store)?),
        sending: RefCell::new(BTreeSet::new()),
        sent: RefCell::new(vec![None; context.connections.len()]),
        sending_over: watch::Sender::new(false),
    };
    let sends = |place: usize| context.connections.iter().any(|connection| connection.from == place);
    let takes_part = |place: &usize| refused[*place].is_none();
    course.sending.borrow_mut().extend((0..agents.len()).filter(takes_part).filter(|place| sends(*place)));
    let begins = clocks.soon();
    let started_at = SystemTime::now();
    let lead = Duration::from_nanos(begins.first().map_or(0, |at| at.saturating_sub(clocks.now_ns(0))));
    let parts =
        join_all(agents.iter().zip(refused).enumerate().map(
            async |(place, (agent, refused))| match refused {
                Some(part) => part,
                None => course.part(place, agent, begins[place]).await,
            },
        ));
    let parts = tokio::select! {
        parts = parts => parts,
        () = course.show(lead) => Vec::new(),
    };
    if *context.interrupted.borrow() && context.trial.duration().is_some() {
        return Err(NotRun::Interrupted);
    }
    let samples = course.samples.into_inner().finish(context.directory).map_err(NotRun::Store)?;
    let clocks_again = compare_again(context, &clocks, agents, &parts).await;
    Ok(Ran { parts, samples, clocks, clocks_again, started_at })
}

/// Compares the clocks of a trial of datagrams between different machines again, so that delays have a bound; those of the
/// agents that are left.
async fn compare_again(
    context: &Context<'_>,
    clocks: &Clocks,
    agents: &[KernelAgent],
    parts: &[StreamsPart],
) -> Option<ComparedAgain> {
    if clocks.are_one() || context.trial.profile.spec.protocol != Protocol::Udp {
        return None;
    }
    let is_left = |place: usize| parts.get(place).is_some_and(|part| !matches!(part, Part::Lost(_)));
    let left: Vec<Option<&KernelAgent>> =
        agents.iter().enumerate().map(|(place, agent)| is_left(place).then_some(agent)).collect();
    Some(Clocks::compare_again(&left).await)
}

/// Compares the clocks, gives the agents their work and lets them open their connections. Returns for each agent what
/// became of it when it does not take part.
async fn prepare(
    context: &Context<'_>,
    agents: &[KernelAgent],
) -> Result<(Clocks, Vec<Option<StreamsPart>>), NotRun> {
    let every: Vec<&KernelAgent> = agents.iter().collect();
    let clocks = Clocks::compare(&every)
        .await
        .map_err(|(place, stopped)| NotRun::Lost(vec![(place, stopped.to_string())]))?;
    let key = random_bytes(16).map_err(|error| NotRun::Refused(error.to_string()))?;
    let key = StreamKey(key.try_into().unwrap_or_default());
    let work = TrialWork {
        key,
        tag: context.tag,
        spec: &context.trial.profile.spec,
        connections: context.connections,
        routes: context.routes,
    };
    let ask = async |place: usize, agent: &KernelAgent| {
        let spec = TrialSpec {
            trial: context.id,
            work: Work::Streams(Box::new(work.of(place, |other| clocks.ahead_ns(other, place)))),
            sample_interval_ms: context.settings.sample_interval.millis_u32(),
            orphan_ms: context.settings.orphan.millis_u32(),
            // All agents are on one node.
            interrupts: place == 0 && context.trial.host_setting.is_some(),
        };
        step(agent, Command::Prepare(Box::new(spec)), WORK_TIME).await
    };
    let prepared = join_all(agents.iter().enumerate().map(|(place, agent)| ask(place, agent))).await;
    let lost: Vec<(usize, String)> = prepared
        .iter()
        .enumerate()
        .filter_map(|(place, result)| match result {
            Err(stopped) if stopped.loses_agent() => Some((place, stopped.to_string())),
            _ => None,
        })
        .collect();
    if !lost.is_empty() {
        return Err(NotRun::Lost(lost));
    }
    if let Some(refusal) = prepared.into_iter().find_map(Result::err) {
        return Err(NotRun::Refused(with_names(&refusal.to_string(), context.connections)));
    }
    let armed = join_all(agents.iter().map(|agent| step(agent, Command::Arm, WORK_TIME))).await;
    let refused: Vec<Option<StreamsPart>> =
        armed.into_iter().map(|result| Some(Part::of(&result.err()?))).collect();
    let sends = |place: &usize| context.connections.iter().any(|connection| connection.from == *place);
    let mut senders = (0..agents.len()).filter(sends).peekable();
    if senders.peek().is_some() && senders.all(|place| refused[place].is_some()) {
        let first = refused.iter().flatten().find_map(|part| match part {
            Part::Lost(reason) | Part::Failed(reason) => Some(reason.clone()),
            Part::Reported(_) => None,
        });
        return Err(NotRun::Refused(first.unwrap_or_default()));
    }
    Ok((clocks, refused))
}

/// An agent's words with the name of the connection behind the first `path N:`; agents know numbers only.
fn with_names(words: &str, connections: &[Connection]) -> String {
    const PATH: &str = "path ";
    let named = || {
        let (before, rest) = words.split_once(PATH)?;
        let (number, after) = rest.split_once(':')?;
        let connection = connections.get(number.parse::<usize>().ok()?)?;
        Some(format!("{before}{PATH}{number} ({}):{after}", connection.name))
    };
    named().unwrap_or_else(|| words.to_owned())
}

/// A trial in progress.
struct Course<'a> {
    context: &'a Context<'a>,
    samples: RefCell<Samples>,
    /// Agents that still send.
    sending: RefCell<BTreeSet<usize>>,
    /// Units that each connection sent, as far as known.
    sent: RefCell<Vec<Option<u64>>>,
    /// Becomes true when all agents have sent everything.
    sending_over: watch::Sender<bool>,
}

/// What an agent waits for.
enum Happened {
    Event(Event),
    Gone(String),
    Overdue,
    SendingOver,
    Interrupted,
}

impl Course<'_> {
    /// Starts an agent, follows it to its end and takes its report.
    async fn part(&self, place: usize, agent: &KernelAgent, begins_ns: u64) -> StreamsPart {
        let part = self.follow(place, agent, begins_ns).await;
        let part = match part {
            Ok(()) => {
                part::report(agent, "streams", |detail| match detail {
                    ReportDetail::Streams(streams) => Some(*streams),
                    _ => None,
                })
                .await
            }
            Err(part) => part,
        };
        if let Part::Reported(report) = &part {
            self.note_sent(report);
        }
        self.has_sent(place);
        part
    }

    /// From the start to the agent's end.
    async fn follow(&self, place: usize, agent: &KernelAgent, begins_ns: u64) -> Result<(), StreamsPart> {
        let gone = |stopped: Stopped| Part::of(&stopped);
        let id = self.context.id;
        step(agent, Command::Start(Start { at_ns: Some(begins_ns) }), ANSWER_TIME).await.map_err(gone)?;
        let duration = self.context.trial.duration();
        // A duration of centuries has no end that a clock could show.
        let due = duration.and_then(|duration| Instant::now().checked_add(duration + GRACE));
        let mut over = self.sending_over.subscribe();
        let mut interrupted = self.context.interrupted.clone();
        let (mut told, mut closing) = (false, None::<Instant>);
        loop {
            let overdue = async {
                match closing.or(due) {
                    Some(at) if !told => sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            let happened = tokio::select! {
                event = agent.session.next_event() => match event {
                    Ok(event) => Happened::Event(event),
                    Err(error) => Happened::Gone(Stopped::by(agent, error).await.to_string()),
                },
                Ok(_) = interrupted.wait_for(|flag| *flag), if !told => Happened::Interrupted,
                Ok(_) = over.wait_for(|flag| *flag), if !told && closing.is_none() => Happened::SendingOver,
                () = overdue => Happened::Overdue,
            };
            match happened {
                Happened::Event(Event::Finished(Acknowledge { trial })) if trial == id => return Ok(()),
                Happened::Event(Event::Failed(TrialFailed { trial, message })) if trial == id => {
                    return Err(Part::Failed(format!("{} gave the trial up: {message}", agent.name())));
                }
                Happened::Event(Event::Sent(sent)) if sent.trial == id => {
                    let own = self.context.connections.iter().filter(|connection| connection.from == place);
                    let mut known = self.sent.borrow_mut();
                    for (connection, units) in own.zip(sent.packets_per_lcore) {
                        known[connection.number as usize] = Some(units);
                    }
                    drop(known);
                    self.has_sent(place);
                }
                Happened::Event(Event::Sample(sample)) if sample.trial == id => {
                    self.samples.borrow_mut().add(place, agent.name(), &sample, begins_ns);
                }
                Happened::Event(_) => {}
                Happened::Gone(reason) => return Err(Part::Lost(reason)),
                Happened::SendingOver if self.is_udp() => {
                    told = true;
                    self.stop(agent, Some(place)).await.map_err(gone)?;
                }
                Happened::SendingOver => closing = Some(Instant::now() + CLOSING_TIME),
                Happened::Overdue | Happened::Interrupted => {
                    told = true;
                    self.stop(agent, None).await.map_err(gone)?;
                }
            }
            // The reply to a stop comes when the agent has finished.
            if told {
                for sample in waiting_samples(agent, id) {
                    self.samples.borrow_mut().add(place, agent.name(), &sample, begins_ns);
                }
                return Ok(());
            }
        }
    }

    /// Tells an agent to end; as `receiver`, when what was sent to it has arrived.
    async fn stop(&self, agent: &KernelAgent, receiver: Option<usize>) -> Result<(), Stopped> {
        let mut stop = Stop::default();
        if let Some(place) = receiver {
            let into = self.context.connections.iter().filter(|connection| connection.to == place);
            let sent = self.sent.borrow();
            stop.sent_per_lcore = into.map(|one| sent[one.number as usize].unwrap_or(0)).collect();
            let section = &self.context.settings.drain;
            stop.drain = (!stop.sent_per_lcore.is_empty()).then(|| Drain {
                expected_packets: stop.sent_per_lcore.iter().copied().fold(0, u64::saturating_add),
                settle_ms: section.settle.millis_u32(),
                limit_ms: section.limit.millis_u32(),
                ..Drain::default()
            });
        }
        let limit = stop.drain.map_or(0, |drain| drain.limit_ns());
        let limit = Duration::from_nanos(limit).saturating_add(WORK_TIME);
        let stopping = step(agent, Command::Stop(stop), limit);
        tokio::pin!(stopping);
        stopping.await
    }

    fn is_udp(&self) -> bool {
        self.context.trial.profile.spec.protocol == Protocol::Udp
    }

    /// Notes what a report says was sent.
    fn note_sent(&self, report: &Report<StreamsReport>) {
        let mut sent = self.sent.borrow_mut();
        for path in &report.detail.paths {
            let (Some(sending), Some(slot)) = (&path.sending, sent.get_mut(path.path as usize)) else {
                continue;
            };
            let streams = &sending.streams;
            let units =
                streams.iter().map(|stream| if self.is_udp() { stream.datagrams } else { stream.bytes });
            *slot = Some(units.fold(0, u64::saturating_add));
        }
    }

    /// The agent sends nothing more.
    fn has_sent(&self, place: usize) {
        let mut sending = self.sending.borrow_mut();
        sending.remove(&place);
        if sending.is_empty() {
            self.sending_over.send_replace(true);
        }
    }

    /// Passes a reading to the observer in each interval of samples; never ends.
    async fn show(&self, lead: Duration) {
        sleep(lead).await;
        self.context.observer.sending_began();
        let begun = Instant::now();
        let period = self.context.settings.sample_interval.get();
        // The agents' samples arrive shortly after the interval's end.
        let mut ticks = interval(period);
        ticks.tick().await;
        let late = period.min(Duration::from_millis(100)) / 2;
        loop {
            ticks.tick().await;
            sleep(late).await;
            let reading = self.samples.borrow_mut().reading((begun.elapsed() - late).as_secs_f64());
            let StreamsTrial { number, profile, repeat, .. } = self.context.trial;
            self.context.observer.streams_reading(&StreamsReading {
                number: *number as usize,
                planned_trials: self.context.of,
                profile: profile.name.clone(),
                repeat: *repeat,
                retransmits: reading.retransmits.filter(|_| !self.is_udp()),
                missing_datagrams: reading.missing_datagrams.filter(|_| self.is_udp()),
                ..reading
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_a_path_name_its_connection() {
        let connection = |number: u32, name: &str| Connection {
            number,
            name: name.to_owned(),
            from: 0,
            to: 1,
            interface: None,
        };
        let connections = [connection(0, "a0-a1"), connection(1, "a1-a0:net1")];
        for (words, with) in [
            ("a0: refused: path 1: it is long", "a0: refused: path 1 (a1-a0:net1): it is long"),
            ("path 7: unknown", "path 7: unknown"),
            ("path of no number: x", "path of no number: x"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(with_names(words, &connections), with);
        }
    }
}
