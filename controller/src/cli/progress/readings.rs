//! Readings of a pair, from the samples of its two agents. Pure except for the current time.

use std::collections::BTreeMap;

use linerate_wire::counters::{ReceiveCounters, TransmitCounters};
use linerate_wire::sample::{FrameMeasures, Sample};
use linerate_wire::trial::Role;

use linerate_experiment::plan::Trial;
use linerate_runner::events::Reading;
use linerate_runner::run::observer::WatchedPath;

/// Readings of all pairs of a running trial.
#[derive(Debug, Default)]
pub(super) struct Readings {
    number: usize,
    of: usize,
    profile: String,
    repeat: u32,
    pairs: BTreeMap<String, Lane>,
}

/// A pair of the trial.
#[derive(Debug)]
struct Lane {
    pair: WatchedPath,
    sending: bool,
    tx: Side,
    rx: Side,
}

/// The last two samples of an agent.
#[derive(Debug, Default)]
struct Side {
    before: Option<Counted>,
    last: Option<Counted>,
    /// When the last one arrived, in seconds after sending began.
    last_at_s: f64,
    /// True when the last one is in no reading yet.
    fresh: bool,
}

/// An agent's counters, and when they were read on its clock.
#[derive(Debug)]
struct Counted {
    at_ns: u64,
    frames: FrameMeasures,
}

impl Readings {
    /// Readings before the first sample of a trial.
    pub(super) fn new(number: usize, of: usize, trial: &Trial, pairs: &[WatchedPath]) -> Self {
        let lane = |pair: &WatchedPath| Lane {
            pair: pair.clone(),
            sending: true,
            tx: Side::default(),
            rx: Side::default(),
        };
        Self {
            number,
            of,
            profile: trial.engine.map_or_else(|| trial.profile.name(), |_| trial.name.clone()),
            repeat: trial.repeat,
            pairs: pairs.iter().map(|pair| (pair.name.clone(), lane(pair))).collect(),
        }
    }

    /// Records that the pair's transmitter has finished sending.
    pub(super) fn sending_ended(&mut self, pair: &str) {
        if let Some(lane) = self.pairs.get_mut(pair) {
            lane.sending = false;
        }
    }

    /// Adds a sample, `at_s` seconds after sending began. Returns a reading when both ends have sent one, or
    /// when the other end is silent, like a transmitter that has finished.
    pub(super) fn sample(&mut self, pair: &str, role: Role, sample: &Sample, at_s: f64) -> Option<Reading> {
        let counted = Counted { at_ns: sample.at_ns, frames: sample.frames()?.clone() };
        let lane = self.pairs.get_mut(pair)?;
        let (side, other) = match role {
            Role::Tx => (&mut lane.tx, &lane.rx),
            Role::Rx => (&mut lane.rx, &lane.tx),
        };
        let again = side.fresh;
        side.add(counted, at_s);
        let drained = role == Role::Rx && !lane.sending;
        if !(again || other.fresh || drained) {
            return None;
        }
        let (tx, rx) = (lane.tx.transmitted(), lane.rx.received());
        let (sent_packets, received_packets) = (tx.packets, rx.packets);
        let port = lane.rx.last.as_ref().and_then(|last| last.frames.port);
        let delay = lane.rx.mean_delay_ns().filter(|_| lane.pair.delays_valid);
        let reading = Reading {
            number: self.number,
            planned_trials: self.of,
            profile: self.profile.clone(),
            repeat: self.repeat,
            pair: pair.to_owned(),
            at_s,
            sending: lane.sending,
            intended_pps: lane.pair.load_at(at_s),
            offered_pps: lane
                .tx
                .pps(|frames| frames.transmit.map_or(0, |tx| tx.packets))
                .filter(|_| lane.sending),
            received_pps: lane
                .rx
                .pps(|frames| frames.receive.map_or(0, |rx| rx.packets))
                .filter(|_| lane.sending),
            sent_packets,
            received_packets,
            lost_packets: sent_packets.saturating_sub(received_packets),
            rx_queue_pps: if lane.sending { lane.rx.queue_pps() } else { Vec::new() },
            delay_mean_ns: delay.filter(|_| !lane.pair.round_trip),
            round_trip: lane.pair.round_trip,
            round_trip_mean_ns: delay.filter(|_| lane.pair.round_trip),
            queue_full: tx.queue_full,
            tx_no_mbuf: tx.no_mbuf,
            rx_missed: port.map(|port| port.rx_missed),
            rx_nombuf: port.map(|port| port.rx_nombuf),
        };
        (lane.tx.fresh, lane.rx.fresh) = (false, false);
        Some(reading)
    }
}

impl Side {
    fn add(&mut self, counted: Counted, at_s: f64) {
        self.before = self.last.replace(counted);
        self.last_at_s = at_s;
        self.fresh = true;
    }

    fn transmitted(&self) -> TransmitCounters {
        self.last.as_ref().and_then(|last| last.frames.transmit).unwrap_or_default()
    }

    fn received(&self) -> ReceiveCounters {
        self.last.as_ref().and_then(|last| last.frames.receive).unwrap_or_default()
    }

    /// The last sample, if it is new, with the previous one.
    fn interval(&self) -> Option<(Option<&Counted>, &Counted)> {
        Some((self.before.as_ref(), self.last.as_ref().filter(|_| self.fresh)?))
    }

    /// Rate since the previous sample; for the first one, since sending began.
    fn pps(&self, packets: impl Fn(&FrameMeasures) -> u64) -> Option<f64> {
        let (before, last) = self.interval()?;
        let seconds = match before {
            Some(before) => last.at_ns.checked_sub(before.at_ns)? as f64 / 1e9,
            None => self.last_at_s,
        };
        let counted =
            packets(&last.frames).checked_sub(before.map_or(0, |before| packets(&before.frames)))?;
        (seconds > 0.0).then(|| counted as f64 / seconds)
    }

    /// Frames per second of each receive queue; empty when unknown.
    fn queue_pps(&self) -> Vec<f64> {
        let queues = self.last.as_ref().map_or(0, |last| last.frames.queue_frames.len());
        let of_queue =
            |queue: usize| move |frames: &FrameMeasures| frames.queue_frames.get(queue).copied().unwrap_or(0);
        (0..queues).map_while(|queue| self.pps(of_queue(queue))).collect()
    }

    fn mean_delay_ns(&self) -> Option<f64> {
        let (before, last) = self.interval()?;
        let before = before.and_then(|before| before.frames.receive).unwrap_or_default();
        let last = last.frames.receive?;
        let packets = last.packets.checked_sub(before.packets).filter(|packets| *packets > 0)?;
        Some(last.delay_sum_ns.checked_sub(before.delay_sum_ns)? as f64 / packets as f64)
    }
}

#[cfg(test)]
mod tests {
    use linerate_traffic::profile::StageRates;
    use linerate_traffic::schedule::Schedule;
    use linerate_wire::counters::PortCounters;
    use linerate_wire::sample::Measures;

    use super::*;

    fn readings(delays_valid: bool) -> Readings {
        let trial = Trial { repeat: 2, repeats: 2, ..linerate_results::fixtures::trial() };
        let load = Some(Schedule::new(&[StageRates::steady(4000.0)], 1.0));
        Readings::new(
            3,
            4,
            &trial,
            &[WatchedPath { name: "tx0-rx0".into(), load, delays_valid, round_trip: false }],
        )
    }

    fn sample(at_ms: u64, frames: FrameMeasures) -> Sample {
        Sample {
            trial: 1,
            at_ns: at_ms * 1_000_000,
            measures: Measures::Frames(Box::new(frames)),
            host: None,
        }
    }

    fn tx(at_ms: u64, packets: u64) -> Sample {
        let transmit = Some(TransmitCounters { packets, queue_full: 5, ..TransmitCounters::default() });
        sample(at_ms, FrameMeasures { transmit, ..FrameMeasures::default() })
    }

    fn rx(at_ms: u64, packets: u64, delay_sum_ns: u64) -> Sample {
        let receive = Some(ReceiveCounters { packets, delay_sum_ns, ..ReceiveCounters::default() });
        let port = Some(PortCounters { rx_missed: 7, rx_nombuf: 8, ..PortCounters::default() });
        sample(
            at_ms,
            FrameMeasures { transmit: None, receive, queue_frames: vec![packets, 2 * packets], port },
        )
    }

    #[test]
    fn a_reading_needs_both_ends_and_has_rates_from_the_first_on() {
        let mut readings = readings(true);
        assert_eq!(readings.sample("tx0-rx0", Role::Tx, &tx(500, 1000), 0.5), None);
        let first = readings.sample("tx0-rx0", Role::Rx, &rx(510, 990, 990), 0.51).unwrap();
        assert_eq!((first.number, first.planned_trials, first.repeat), (3, 4, 2));
        assert_eq!((first.sent_packets, first.received_packets, first.lost_packets), (1000, 990, 10));
        let (offered, received) = (first.offered_pps.unwrap(), first.received_pps.unwrap());
        assert_eq!((offered, received.round(), first.delay_mean_ns), (2000.0, 1941.0, Some(1.0)));
        assert_eq!((first.queue_full, first.rx_missed, first.rx_nombuf), (5, Some(7), Some(8)));
        assert_eq!(readings.sample("tx0-rx0", Role::Rx, &rx(1010, 2990, 100_990), 1.0), None);
        let second = readings.sample("tx0-rx0", Role::Tx, &tx(1000, 3000), 1.01).unwrap();
        assert_eq!((second.offered_pps, second.received_pps), (Some(4000.0), Some(4000.0)));
        assert_eq!((second.intended_pps, second.delay_mean_ns), (Some(4000.0), Some(50.0)));
        assert_eq!(second.rx_queue_pps, [4000.0, 8000.0]);
        assert!(second.sending && second.round_trip_mean_ns.is_none());
        assert_eq!(readings.sample("tx9-rx9", Role::Tx, &tx(1000, 3000), 1.0), None);
    }

    #[test]
    fn delays_need_a_common_clock() {
        let mut readings = readings(false);
        for (at_ms, packets) in [(10, 10), (20, 20)] {
            readings.sample("tx0-rx0", Role::Tx, &tx(at_ms, packets), 0.0);
            let reading = readings.sample("tx0-rx0", Role::Rx, &rx(at_ms, packets, packets), 0.0).unwrap();
            assert_eq!(reading.delay_mean_ns, None);
        }
    }

    #[test]
    fn one_end_alone_is_read_when_the_other_is_silent() {
        let mut readings = readings(true);
        assert_eq!(readings.sample("tx0-rx0", Role::Tx, &tx(100, 100), 0.1), None);
        let silent = readings.sample("tx0-rx0", Role::Tx, &tx(200, 200), 0.2).unwrap();
        assert_eq!((silent.sent_packets, silent.received_packets), (200, 0));
        assert_eq!(
            (silent.offered_pps, silent.received_pps),
            (Some(1000.0), None),
            "the receiver told nothing"
        );
        readings.sending_ended("tx0-rx0");
        for (at_ms, packets) in [(210, 150), (310, 200)] {
            let drained = readings.sample("tx0-rx0", Role::Rx, &rx(at_ms, packets, 0), 0.3).unwrap();
            assert!(!drained.sending);
            assert_eq!(
                (drained.offered_pps, drained.received_pps),
                (None, None),
                "it ended somewhere in between"
            );
            assert_eq!(drained.lost_packets, 200 - packets);
        }
    }
}
