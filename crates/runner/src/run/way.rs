//! The ways that packets take between the agents of a pair, each with a result of its own.

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Addressed, Profile};
use linerate_wire::flow_lines::FlowLines;
use linerate_wire::trial::Role;

use super::agent::{Agent, Pair};
use super::observer::WatchedPair;
use linerate_experiment::direction::Direction;
use linerate_experiment::plan::Trial;
use linerate_results::clock::{ClockVerdict, alone};
use linerate_results::figures::Subject;
use linerate_results::store::record::Observations;

/// One way of a trial on one pair.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Its name, such as `tx0-rx0`, and `rx0-tx0` for the way back.
    pub(super) name: String,
    /// The end that sends.
    pub(super) from: Role,
    /// The end that counts.
    pub(super) to: Role,
    /// What its times are good for.
    pub(super) clock: ClockVerdict,
    direction: Direction,
}

/// The other end of a pair.
pub(super) fn other(end: Role) -> Role {
    match end {
        Role::Tx => Role::Rx,
        Role::Rx => Role::Tx,
    }
}

/// The ways of a pair's trials.
pub(super) fn ways(direction: Direction, pair: &Pair) -> Vec<Way> {
    let way = |from: Role, to: Role, clock: ClockVerdict| Way {
        name: format!("{}-{}", pair.agent(from).name(), pair.agent(other(from)).name()),
        from,
        to,
        clock,
        direction,
    };
    let there = || way(Role::Tx, Role::Rx, pair.clock.clone());
    match direction {
        Direction::OneWay => vec![there()],
        Direction::Bidirectional => vec![there(), way(Role::Rx, Role::Tx, pair.clock.clone())],
        Direction::RoundTrip => {
            vec![way(Role::Tx, Role::Tx, alone(pair.tx.name(), &pair.tx.session.welcome().clock))]
        }
    }
}

impl Way {
    /// What a watcher needs to know of it before a trial.
    pub(super) fn watched(&self, pair: &Pair, trial: &Trial) -> WatchedPair {
        let link_bps = pair.agent(self.from).session.welcome().port.link_bps;
        WatchedPair {
            name: self.name.clone(),
            // A load that cannot be told makes the transmitter refuse the trial, with the reason.
            load: trial.profile.load(link_bps).ok().flatten(),
            delays_valid: self.clock.one_way_valid || self.clock.round_trip_valid,
            round_trip: self.direction.is_round_trip(),
        }
    }

    /// The profile as it is sent this way, with the ports' addresses where it names none. What cannot be addressed is not sent.
    pub(super) fn traffic(&self, profile: &Profile, pair: &Pair) -> Addressed {
        let as_written = |_| Addressed { profile: profile.clone(), notes: Vec::new() };
        pair.agent(self.from).addressing.profile(profile).unwrap_or_else(as_written)
    }

    /// What its figures are of; `traffic` is the trial's profile as it is sent.
    pub(super) fn subject<'a>(
        &'a self,
        trial: &'a Trial,
        traffic: &'a Profile,
        pair: &'a Pair,
        seen: &'a Observations,
    ) -> Subject<'a> {
        let far = other(self.from);
        Subject {
            trial,
            traffic,
            pair: &self.name,
            tx: pair.agent(self.from).name(),
            rx: pair.agent(self.to).name(),
            macs: self.macs(traffic, pair),
            clock: &self.clock,
            direction: self.direction,
            reflector: seen
                .report(far)
                .filter(|_| self.direction.is_round_trip())
                .map(|report| (pair.agent(far).name(), report)),
        }
    }

    /// What is said of each of its flows; `profile` is as it is sent.
    pub(super) fn flow_lines<'a>(
        &self,
        profile: &'a Profile,
        pair: &Pair,
        seen: &'a Observations,
    ) -> FlowLines<'a> {
        let receive = seen.report(self.to).and_then(|report| report.receive.as_ref());
        let negative =
            receive.and_then(|receive| receive.latency.as_ref()).map_or(0, |latency| latency.negative);
        FlowLines {
            traffic: Some((profile, self.macs(profile, pair))),
            sent: seen.report(self.from).and_then(|report| report.transmit.as_ref()),
            delays_valid: negative == 0 && (self.clock.one_way_valid || self.clock.round_trip_valid),
        }
    }

    /// Ethernet addresses of the frames that are sent this way.
    fn macs(&self, profile: &Profile, pair: &Pair) -> (MacAddr, MacAddr) {
        let (from, to) = (pair.agent(self.from), pair.agent(other(self.from)));
        (from.mac(), from.addressing.mac(profile).unwrap_or(to.mac()))
    }
}

impl Pair {
    /// The agent at that end.
    pub(super) fn agent(&self, end: Role) -> &Agent {
        match end {
            Role::Tx => &self.tx,
            Role::Rx => &self.rx,
        }
    }
}
