//! When to send: an exact average rate, and a bound on what leaves back to back.
//!
//! Two limits apply together. The *schedule* says how many packets should have left since the start; it makes the average exact over any
//! time. The *spacing* is a token bucket that fills 10 % faster than the rate. So a worker at rate R sends at most 1.1 R w + D packets in any
//! stretch of time w, where the depth D is what the rate has in 10 ms, but at most 512 packets, and at least two or the profile's burst.
//!
//! A debt is what the schedule has and the worker has not sent. A worker that was off its CPU for some milliseconds pays its debt at once,
//! up to D; what is larger is paid at 1.1 R. Longer debts than a tenth of a second are forgiven, and counted. Why 10 ms: threads that share a
//! CPU take turns of 3 to 4 ms on Linux, and two of them may come first. Why 512 packets: half of the smallest ring in common use.

use linerate_traffic::profile::StageRates;

/// How much faster than the rate a debt is paid back.
const CATCH_UP: f64 = 1.1;
/// Longest stall that is made good, in seconds.
const LONGEST_DEBT_S: f64 = 0.1;
/// How long a debt is paid at once, in seconds of the rate.
const AT_ONCE_S: f64 = 10e-3;
/// Bounds of that in packets. With fewer than two, a loop that looks late could never make up for it.
const AT_ONCE_PACKETS: (f64, f64) = (2.0, 512.0);

/// One worker's load.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// Rates over time; the last one stays. Packets become due `burst` at a time.
    Stages {
        /// The rates.
        stages: Vec<StageRates>,
        /// Packets that leave together: at least 1.
        burst: u32,
    },
    /// Packets at these times, in seconds from the first one, over and over. Between two rounds passes the mean time between packets.
    Recorded(Vec<f64>),
}

impl Load {
    /// A steady load of single packets.
    pub fn steady(pps: f64) -> Self {
        let stages = vec![StageRates { from_pps: pps, to_pps: pps, seconds: f64::INFINITY }];
        Self::Stages { stages, burst: 1 }
    }

    /// This share of the load; recorded times cannot be shared out.
    pub fn share(self, share: f64) -> Self {
        match self {
            Self::Stages { mut stages, burst } => {
                for stage in &mut stages {
                    stage.from_pps *= share;
                    stage.to_pps *= share;
                }
                Self::Stages { stages, burst }
            }
            recorded @ Self::Recorded(_) => recorded,
        }
    }

    /// Mean packets per second over the first `seconds`; without an end, of the first stage or of a whole round.
    pub fn mean_pps(&self, seconds: Option<f64>) -> f64 {
        const HZ: u64 = 1_000_000_000;
        let pacer = Pacer::new(&self.clone().unburst(), HZ, 0);
        let round_s = pacer.round.map(|round| round.ticks / HZ as f64);
        match (seconds.filter(|seconds| *seconds > 0.0), round_s) {
            (Some(seconds), _) | (None, Some(seconds)) => pacer.packets(seconds * HZ as f64) / seconds,
            (None, None) => pacer.rate(0.0) * HZ as f64,
        }
    }

    fn unburst(self) -> Self {
        match self {
            Self::Stages { stages, .. } => Self::Stages { stages, burst: 1 },
            recorded @ Self::Recorded(_) => recorded,
        }
    }
}

/// A schedule that begins anew.
#[derive(Debug, Clone, Copy)]
struct Round {
    ticks: f64,
    packets: u64,
}

/// A stretch of the schedule, in ticks from the start.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    begins: f64,
    /// Packets scheduled before it.
    before: f64,
    packets_per_tick: f64,
    /// How much that grows per tick.
    growth: f64,
}

impl Stretch {
    fn packets(&self, elapsed: f64) -> f64 {
        let ticks = elapsed - self.begins;
        self.before + ticks * (self.packets_per_tick + 0.5 * self.growth * ticks)
    }

    fn rate(&self, elapsed: f64) -> f64 {
        self.packets_per_tick + self.growth * (elapsed - self.begins)
    }
}

/// Says how many packets are due. Works on any clock of ticks.
#[derive(Debug)]
pub struct Pacer {
    stretches: Box<[Stretch]>,
    at: usize,
    /// A recorded schedule repeats, and its packets leave when they are due, however close to each other.
    round: Option<Round>,
    tick_hz: f64,
    /// Packets that leave together.
    burst: u64,
    start: u64,
    /// Packets of the schedule that are sent or forgiven.
    accounted: u64,
    tokens: f64,
    refilled: u64,
}

impl Pacer {
    /// A pacer for a load over time on a clock of `tick_hz`, beginning at `now`: the first packets are due at once.
    pub fn new(load: &Load, tick_hz: u64, now: u64) -> Self {
        let hz = tick_hz as f64;
        let (stretches, round, burst) = match load {
            Load::Stages { stages, burst } => (stages_to_stretches(stages, hz), None, (*burst).max(1)),
            Load::Recorded(departures_s) => {
                let (stretches, round) = departures_to_stretches(departures_s, hz);
                (stretches, Some(round), 1)
            }
        };
        let mut pacer = Self {
            stretches: stretches.into_boxed_slice(),
            at: 0,
            round,
            tick_hz: hz,
            burst: u64::from(burst),
            start: now,
            accounted: 0,
            tokens: 0.0,
            refilled: now,
        };
        pacer.tokens = pacer.depth(pacer.rate(0.0));
        pacer
    }

    /// Packets that may leave back to back at so many packets per tick.
    fn depth(&self, rate: f64) -> f64 {
        (rate * self.tick_hz * AT_ONCE_S).clamp(AT_ONCE_PACKETS.0, AT_ONCE_PACKETS.1).max(self.burst as f64)
    }

    fn rate(&self, elapsed: f64) -> f64 {
        self.stretches.get(self.at).map_or(0.0, |stretch| stretch.rate(elapsed))
    }

    /// Packets of whole bursts whose time has come.
    fn whole_bursts(&self, packets: f64) -> u64 {
        if self.burst == 1 { packets as u64 } else { (packets / self.burst as f64) as u64 * self.burst }
    }

    /// Packets that may leave now.
    #[inline]
    pub fn due(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.start) as f64;
        if self.round.is_some() {
            return self.due_of_recording(elapsed);
        }
        while self.stretches.get(self.at + 1).is_some_and(|next| next.begins <= elapsed) {
            self.at += 1;
        }
        let Some(stretch) = self.stretches.get(self.at).copied() else { return 0 };
        let scheduled = self.whole_bursts(stretch.packets(elapsed)).saturating_add(self.burst);
        let mut debt = scheduled.saturating_sub(self.accounted);
        if debt == 0 {
            return 0;
        }
        let rate = stretch.rate(elapsed);
        let depth = self.depth(rate);
        let longest_debt = (rate * self.tick_hz * LONGEST_DEBT_S).max(depth) as u64;
        if debt > longest_debt {
            self.accounted = scheduled - longest_debt;
            debt = longest_debt;
        }
        let refill = now.saturating_sub(self.refilled) as f64 * rate * CATCH_UP;
        self.tokens = (self.tokens + refill).min(depth);
        self.refilled = now;
        debt.min(self.tokens as u64)
    }

    fn due_of_recording(&mut self, elapsed: f64) -> u64 {
        (self.packets(elapsed) as u64).saturating_add(1).saturating_sub(self.accounted)
    }

    /// Accounts for `packets` that were built for sending.
    #[inline]
    pub fn took(&mut self, packets: u64) {
        self.accounted += packets;
        self.tokens -= packets as f64;
    }

    /// Packets that the schedule had before `end`.
    pub fn scheduled_before(&self, end: u64) -> u64 {
        // A packet due exactly at the end is not among them, whichever way the product rounds.
        const ROUNDING: f64 = 1e-3;
        let packets = self.packets(end.saturating_sub(self.start) as f64) - ROUNDING;
        (packets / self.burst as f64).ceil() as u64 * self.burst
    }

    /// Packets that the schedule has in its first `elapsed` ticks.
    fn packets(&self, elapsed: f64) -> f64 {
        let (before, elapsed) = match self.round {
            Some(round) => {
                let rounds = (elapsed / round.ticks).floor();
                (rounds * round.packets as f64, elapsed - rounds * round.ticks)
            }
            None => (0.0, elapsed),
        };
        let next = self.stretches.partition_point(|stretch| stretch.begins <= elapsed);
        let stretch = next.checked_sub(1).and_then(|at| self.stretches.get(at));
        before + stretch.map_or(0.0, |stretch| stretch.packets(elapsed))
    }
}

fn stages_to_stretches(stages: &[StageRates], hz: f64) -> Vec<Stretch> {
    let (mut begins, mut before) = (0.0, 0.0);
    let mut stretches = Vec::with_capacity(stages.len() + 1);
    for stage in stages {
        let ticks = stage.seconds * hz;
        let growth = (stage.to_pps - stage.from_pps) / hz / ticks;
        let stretch = Stretch { begins, before, packets_per_tick: stage.from_pps / hz, growth };
        stretches.push(stretch);
        begins += ticks;
        before = stretch.packets(begins);
    }
    // What follows the last stage goes on as it ended.
    if let (Some(stage), true) = (stages.last(), begins.is_finite()) {
        stretches.push(Stretch { begins, before, packets_per_tick: stage.to_pps / hz, growth: 0.0 });
    }
    stretches
}

/// A stretch from each packet to the next, in which one packet becomes due at its end.
fn departures_to_stretches(departures_s: &[f64], hz: f64) -> (Vec<Stretch>, Round) {
    // Two packets of one time are a tick apart, so that every stretch has a length.
    let last = departures_s.last().copied().unwrap_or(0.0);
    let mean = if departures_s.len() > 1 { last / (departures_s.len() - 1) as f64 } else { 1e-3 };
    let ends = departures_s.iter().skip(1).copied().chain([last + mean]);
    let (mut begins, mut stretches) = (0.0f64, Vec::with_capacity(departures_s.len()));
    for (packet, end) in ends.enumerate() {
        let end = (end * hz).max(begins + 1.0);
        stretches.push(Stretch {
            begins,
            before: packet as f64,
            packets_per_tick: 1.0 / (end - begins),
            growth: 0.0,
        });
        begins = end;
    }
    (stretches, Round { ticks: begins.max(1.0), packets: departures_s.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 1_000_000_000;

    fn steady(pps: f64, now: u64) -> Pacer {
        Pacer::new(&Load::steady(pps), HZ, now)
    }

    /// Sends whatever is due every `step` ticks until `end`; returns the packets and the largest number due at once.
    fn run(pacer: &mut Pacer, from: u64, end: u64, step: u64) -> (u64, u64) {
        let (mut sent, mut largest) = (0, 0);
        for now in (from..end).step_by(step as usize) {
            let due = pacer.due(now);
            pacer.took(due);
            sent += due;
            largest = largest.max(due);
        }
        (sent, largest)
    }

    #[test]
    fn the_average_is_exact_from_one_packet_per_second_to_many() {
        for (pps, step) in
            [(1.0, 1_000_000), (3.0, 999_983), (1000.0, 10_000), (1.234_567e6, 700), (20e6, 1000)]
        {
            let mut pacer = steady(pps, 5);
            let (sent, _) = run(&mut pacer, 5, 5 + 2 * HZ, step);
            assert!((sent as f64 - 2.0 * pps).abs() <= 1.0 + pps * step as f64 / HZ as f64, "{pps}: {sent}");
            assert_eq!(pacer.scheduled_before(5 + 2 * HZ), (2.0 * pps) as u64);
        }
    }

    #[test]
    fn the_first_packet_is_due_at_once_and_the_second_one_interval_later() {
        let mut pacer = steady(10.0, 1000);
        assert_eq!(pacer.due(1000), 1);
        pacer.took(1);
        assert_eq!(pacer.due(1000 + HZ / 10 - 1), 0);
        assert_eq!(pacer.due(1000 + HZ / 10), 1);
    }

    #[test]
    fn a_stall_of_milliseconds_is_paid_at_once_up_to_the_bound_and_then_slowly() {
        let mut pacer = steady(1e6, 0);
        run(&mut pacer, 0, HZ / 10, 1000);
        // 5 ms held up: 5,000 packets of debt. 512 leave at once, the others at 10 % above the rate within 45 ms.
        let (first, _) = run(&mut pacer, HZ / 10 + 5_000_000, HZ / 10 + 5_000_001, 1);
        assert_eq!(first, 512);
        let (sent, largest) = run(&mut pacer, HZ / 10 + 5_001_000, HZ / 5, 1000);
        assert!(largest <= 2, "{largest}");
        assert!(((first + sent) as i64 - 100_000).abs() <= 2, "{sent}");
    }

    #[test]
    fn no_stretch_of_time_has_more_than_the_bound() {
        for (pps, depth) in [(1e3, 10), (5e3, 50), (50e3, 500), (1e6, 512), (20e6, 512)] {
            let mut pacer = steady(pps, 0);
            let mut departures = Vec::new();
            // Stalls of 7 ms, one soon after the other, and looks 5 µs apart in between.
            let mut now = 0;
            while now < HZ {
                let due = pacer.due(now);
                pacer.took(due);
                departures.push((now, due));
                now += if now % 11_000_000 < 5_000 { 7_000_000 } else { 5_000 };
            }
            for (from, (start, _)) in departures.iter().enumerate().step_by(97) {
                let mut packets = 0;
                for (at, due) in departures[from..].iter().take(400) {
                    packets += due;
                    let most = 1.1 * pps * (at - start) as f64 / HZ as f64 + f64::from(depth) + 1.0;
                    assert!(packets as f64 <= most, "{pps}: {packets} from {start} to {at}");
                }
            }
        }
    }

    #[test]
    fn a_worker_that_has_every_other_turn_of_4_ms_holds_its_rate() {
        for pps in [1e3, 5e3, 20e3, 50e3] {
            let mut pacer = steady(pps, 0);
            let mut sent = 0;
            for turn in 0..125u64 {
                sent += run(&mut pacer, turn * 8_000_000, turn * 8_000_000 + 4_000_000, 1_000).0;
            }
            // Of the last turn off its CPU only the debt is missing.
            let missing = pps - sent as f64;
            assert!((0.0..=pps * 0.004 + 1.0).contains(&missing), "{sent} of {pps}");
        }
    }

    #[test]
    fn a_long_stall_is_forgiven() {
        let mut pacer = steady(1e6, 0);
        let (before, _) = run(&mut pacer, 0, HZ / 10, 1000);
        let (after, largest) = run(&mut pacer, HZ / 10 + 3 * HZ, 5 * HZ, 1000);
        assert!(largest <= 512, "{largest}");
        // 1.9 s at the rate, and at most 100 ms of debt.
        assert!((after as i64 - 2_000_000).abs() <= 2, "{after}");
        let forgone = pacer.scheduled_before(5 * HZ) - before - after;
        assert!((forgone as i64 - 2_900_000).abs() <= 2, "{forgone}");
    }

    #[test]
    fn an_absurd_rate_is_only_fast() {
        let mut pacer = steady(1e300, 0);
        for now in [0, HZ, u64::MAX] {
            assert!(pacer.due(now) <= 512);
        }
    }

    #[test]
    fn load_follows_its_stages_and_then_stays() {
        let stage = |from_pps, to_pps, seconds| StageRates { from_pps, to_pps, seconds };
        let stages = vec![stage(1e4, 1e4, 1.0), stage(1e4, 3e4, 2.0), stage(5e3, 5e3, 0.5)];
        let load = Load::Stages { stages, burst: 1 };
        let half = load.clone().share(0.5);
        assert_eq!((load.mean_pps(Some(2.0)), half.mean_pps(None)), (12_500.0, 5_000.0));
        let mut pacer = Pacer::new(&load, HZ, 0);
        let mut sent = Vec::new();
        for second in 0..5u64 {
            sent.push(run(&mut pacer, second * HZ, (second + 1) * HZ, 10_000).0 as i64);
        }
        for (sent, expected) in sent.iter().zip([10_000i64, 15_000, 25_000, 5_000, 5_000]) {
            assert!((sent - expected).abs() <= 2, "{sent} for {expected}");
        }
        assert_eq!(pacer.scheduled_before(3 * HZ), 50_000);
    }

    #[test]
    fn bursts_leave_whole_and_the_average_stays() {
        let stages = vec![StageRates { from_pps: 1000.0, to_pps: 1000.0, seconds: f64::INFINITY }];
        let mut pacer = Pacer::new(&Load::Stages { stages, burst: 32 }, HZ, 0);
        let (mut sent, mut sizes) = (0, std::collections::BTreeSet::new());
        for now in (0..HZ).step_by(50_000) {
            let due = pacer.due(now);
            pacer.took(due);
            sent += due;
            sizes.insert(due);
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [0, 32]);
        assert_eq!((sent, pacer.scheduled_before(HZ)), (1024, 1024));
    }

    #[test]
    fn recorded_packets_leave_at_their_times_and_again() {
        // 0, 1 and 1 ms, 5 ms; then, after the mean of 5/3 ms, again.
        let load = Load::Recorded(vec![0.0, 0.001, 0.001, 0.005]);
        let mut pacer = Pacer::new(&load, HZ, 0);
        let mut departures = Vec::new();
        for now in (0..20_000_000u64).step_by(10_000) {
            let due = pacer.due(now);
            pacer.took(due);
            departures.extend(std::iter::repeat_n(now / 10_000, due as usize));
        }
        // A packet leaves at the first look after its time: that of the second one of two is a tick later.
        let first: Vec<u64> = vec![0, 100, 101, 500];
        assert_eq!(departures[..4], first);
        let round = 667;
        assert!(
            departures[4..8].iter().zip(&first).all(|(now, then)| now.abs_diff(then + round) <= 1),
            "{departures:?}"
        );
        assert!((load.mean_pps(None) - 600.0).abs() < 0.1, "{}", load.mean_pps(None));
        assert_eq!(pacer.scheduled_before(6_666_000), 4);
    }
}
