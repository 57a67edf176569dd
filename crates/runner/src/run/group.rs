//! A connected group of agents that exchange packets: sessions, links between the agents, and the paths of a
//! trial.

use std::collections::BTreeMap;
use std::time::Duration;

use linerate_experiment::plan::Trial;
use linerate_experiment::topology::{self, Path};
use linerate_results::clock::{ClockVerdict, alone, compare};
use linerate_results::figures::Subject;
use linerate_results::store::record::AgentRecord;
use linerate_results::summary::AgentInfo;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Addressed, Profile};
use linerate_traffic::schedule::Schedule;
use linerate_wire::flow_lines::FlowLines;
use linerate_wire::report::Part;

use super::addressing::Addressing;
use super::agent::{Agent, Unreachable};
use super::observer::WatchedPath;
use super::path_times::PathTimes;
use crate::platform::AgentEndpoint;

/// A connected group of agents.
#[derive(Debug)]
pub(super) struct Group {
    /// Its place in the topology, from 0.
    pub(super) number: usize,
    /// Roles of its agents, and the paths between them.
    pub(super) plan: topology::Group,
    /// Its agents, in the order of the plan.
    pub(super) agents: Vec<Agent>,
    /// Links by the positions of sender and receiver: one for each path, and one for its way back.
    links: BTreeMap<(usize, usize), Link>,
    /// Interval between pings to an agent.
    pub(super) keep_alive: Duration,
}

/// A link from one agent to another.
#[derive(Debug, Default)]
struct Link {
    addressing: Addressing,
    /// Times that the warm-up measured.
    times: PathTimes,
}

impl Group {
    /// Connects to all agents, and resolves the addressing of these profiles between them. Addressing that
    /// only the warm-up uses may stay unresolved.
    ///
    /// # Errors
    /// The reason, in a text that names the agent.
    pub(super) async fn connect(
        number: usize,
        plan: topology::Group,
        endpoints: Vec<AgentEndpoint>,
        keep_alive: Duration,
        profiles: &[Profile],
    ) -> Result<Self, Unreachable> {
        let mut agents = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            agents.push(Agent::connect(endpoint, keep_alive).await?);
        }
        let mut group = Self { number, plan, agents, links: BTreeMap::new(), keep_alive };
        for path in group.plan.paths.clone() {
            for (from, to) in [(path.from, path.far()), (path.far(), path.from)] {
                if !group.links.contains_key(&(from, to)) {
                    let link = match group.find_link(from, to, profiles).await {
                        Err(problem) if !group.uses(from, to) => {
                            Link { addressing: Addressing::unknown(problem), times: PathTimes::default() }
                        }
                        found => found.map_err(Unreachable::Failed)?,
                    };
                    group.links.insert((from, to), link);
                }
            }
        }
        Ok(group)
    }

    /// True when packets of trials are sent or reflected from one agent to the other.
    fn uses(&self, from: usize, to: usize) -> bool {
        self.paths().iter().any(|path| {
            let back = path.reflector.map(|reflector| (reflector, path.to));
            (path.from, path.far()) == (from, to) || back == Some((from, to))
        })
    }

    /// True when the agent sends or reflects packets in trials.
    pub(super) fn sends(&self, agent: usize) -> bool {
        !matches!(topology::Group::part(agent, self.paths()), None | Some(Part::Rx))
    }

    async fn find_link(&self, from: usize, to: usize, profiles: &[Profile]) -> Result<Link, String> {
        let (from, to) = (&self.agents[from], &self.agents[to]);
        let addressing = Addressing::find(from, to, profiles).await?;
        for hop in addressing.describe(from.name(), to.name()) {
            tracing::info!("{hop}");
        }
        Ok(Link { addressing, times: PathTimes::default() })
    }

    /// Reconnects to all agents, all of which are live.
    ///
    /// # Errors
    /// Why an agent cannot be reached.
    pub(super) async fn reconnect(&mut self, time_limit: Duration) -> Result<(), Unreachable> {
        for agent in &mut self.agents {
            agent.reconnect(self.keep_alive, time_limit).await?;
        }
        Ok(())
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }

    /// The paths of its trials.
    pub(super) fn paths(&self) -> &[Path] {
        &self.plan.paths
    }

    /// The entries of its agents in the summary.
    pub(super) fn info(&self) -> impl Iterator<Item = AgentInfo> {
        self.agents.iter().map(Agent::info)
    }

    /// The next hops from an agent, for all links.
    pub(super) fn next_hops(&self, agent: usize) -> Vec<linerate_wire::network::NextHop> {
        let links = self.links.range((agent, 0)..=(agent, usize::MAX));
        links.flat_map(|(_, link)| link.addressing.next_hops()).collect()
    }

    /// Whether the clocks at a path's two ends can be compared; for a round trip, whether its times are
    /// valid.
    pub(super) fn clock(&self, path: &Path) -> ClockVerdict {
        match path.reflector {
            Some(_) => {
                let from = &self.agents[path.from];
                alone(from.name(), &from.session.welcome().clock)
            }
            None => self.clocks(path.from, path.to),
        }
    }

    /// Whether two agents' clocks can be compared.
    pub(super) fn clocks(&self, a: usize, b: usize) -> ClockVerdict {
        compare(&self.agents[a].session.welcome().clock, &self.agents[b].session.welcome().clock)
    }

    /// Times of the path that the warm-up measured.
    pub(super) fn times(&self, path: &Path) -> PathTimes {
        self.links.get(&(path.from, path.far())).map(|link| link.times).unwrap_or_default()
    }

    /// Stores times of the path that the warm-up measured.
    pub(super) fn set_times(&mut self, path: &Path, times: PathTimes) {
        self.links.entry((path.from, path.far())).or_default().times = times;
    }

    /// Why nothing can be sent on the path; `None` when its addressing is resolved.
    pub(super) fn problem(&self, path: &Path) -> Option<&str> {
        self.addressing(path)?.problem()
    }

    fn addressing(&self, path: &Path) -> Option<&Addressing> {
        self.links.get(&(path.from, path.far())).map(|link| &link.addressing)
    }

    /// The profile as it is sent on a path, with the ports' addresses if it names none.
    ///
    /// # Errors
    /// When it cannot be sent between the ports' addresses.
    pub(super) fn addressed(
        &self,
        path: &Path,
        profile: &Profile,
    ) -> Result<Addressed, linerate_traffic::profile::ProfileError> {
        match self.addressing(path) {
            Some(addressing) => addressing.profile(profile),
            None => Ok(Addressed { profile: profile.clone(), notes: Vec::new() }),
        }
    }

    /// Like `addressed`, for records: a profile that cannot be addressed was not sent, and stays as written.
    pub(super) fn traffic(&self, path: &Path, profile: &Profile) -> Addressed {
        let as_written = |_| Addressed { profile: profile.clone(), notes: Vec::new() };
        self.addressed(path, profile).unwrap_or_else(as_written)
    }

    /// Source and destination Ethernet addresses of the frames that are sent on a path.
    pub(super) fn macs(&self, path: &Path, profile: &Profile) -> (MacAddr, MacAddr) {
        let (from, far) = (&self.agents[path.from], &self.agents[path.far()]);
        let next = self.addressing(path).and_then(|addressing| addressing.mac(profile));
        (from.mac(), next.unwrap_or(far.mac()))
    }

    /// Properties of a path that an observer needs before a trial.
    pub(super) fn watched(&self, path: &Path, trial: &Trial) -> WatchedPath {
        let link_bps = self.agents[path.from].port().link_bps;
        let clock = self.clock(path);
        WatchedPath {
            name: path.name.clone(),
            // The transmitter refuses a trial whose load cannot be computed, and reports the reason.
            load: trial.profile.load(link_bps).ok().flatten().map(|stages| Schedule::new(&stages, 1.0)),
            delays_valid: clock.one_way_valid || clock.round_trip_valid,
            round_trip: path.reflector.is_some(),
        }
    }

    /// Description of the path that a record's figures belong to; `traffic` is the trial's profile as it is
    /// sent.
    pub(super) fn subject<'a>(
        &'a self,
        path: &'a Path,
        trial: &'a Trial,
        traffic: &'a Profile,
        clock: &'a ClockVerdict,
        direction: linerate_experiment::direction::Direction,
        seen: &'a [AgentRecord],
    ) -> Subject<'a> {
        let reflected = |agent: usize| Some((self.agents[agent].name(), seen[agent].report.as_ref()?));
        Subject {
            trial,
            traffic,
            pair: &path.name,
            tx: self.agents[path.from].name(),
            rx: self.agents[path.to].name(),
            macs: self.macs(path, traffic),
            clock,
            direction,
            reflector: path.reflector.and_then(reflected),
        }
    }

    /// Common part of the flow lines of a path; `traffic` is the trial's profile as it is sent.
    pub(super) fn flow_lines<'a>(
        &self,
        path: &Path,
        traffic: &'a Profile,
        seen: &'a [AgentRecord],
    ) -> FlowLines<'a> {
        let receive = seen[path.to].report.as_ref().and_then(|report| report.receive.as_ref());
        let negative =
            receive.and_then(|receive| receive.latency.as_ref()).map_or(0, |latency| latency.negative);
        let clock = self.clock(path);
        FlowLines {
            traffic: Some((traffic, self.macs(path, traffic))),
            sent: seen[path.from].report.as_ref().and_then(|report| report.transmit.as_ref()),
            delays_valid: negative == 0 && (clock.one_way_valid || clock.round_trip_valid),
        }
    }
}
