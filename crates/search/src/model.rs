//! Models of systems under test, for simulation. Randomness depends on seed, ordinal of the trial and draw only,
//! so that other programs can draw the same.

use serde::Deserialize;

use crate::measurement::{Measurement, TesterLimit};
use crate::methods::{Delays, LossSpan, TrialLoad, TrialOutcome};
use crate::search::Request;

/// A modelled system. Loads in packets per second.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Model {
    /// Forwards up to a capacity and drops the rest.
    Cliff {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
    },
    /// Drops a share of what exceeds a knee.
    Linear {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Highest load without loss.
        knee_pps: f64,
        /// Share of the excess that is lost, 0…1.
        lost_share: f64,
    },
    /// A cliff behind a buffer.
    Buffer {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
        /// Packets that the buffer holds.
        buffer_packets: f64,
    },
    /// A cliff that loses a little at every load.
    Floor {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
        /// Share of all packets that is lost, 0…1.
        loss_floor: f64,
    },
    /// A cliff with a range of loads below it that lose more than those above.
    Hole {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
        /// Lowest load of the hole.
        hole_from_pps: f64,
        /// Highest load of the hole.
        hole_to_pps: f64,
        /// Loss within the hole, 0…1.
        hole_loss: f64,
    },
    /// A cliff that stops for a moment now and then.
    Stalls {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
        /// Probability of a stall in a second, 0…1.
        stall_probability_per_s: f64,
        /// Length of a stall in seconds.
        stall_s: f64,
    },
    /// A cliff whose capacity differs between trials.
    Jitter {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Mean capacity.
        capacity_pps: f64,
        /// Largest deviation as a share of the mean.
        spread: f64,
    },
    /// A cliff that is lower in the first trials.
    WarmUp {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
        /// Trials with the lower capacity.
        cold_trials: f64,
        /// Share of the capacity in those.
        cold_share: f64,
    },
    /// A cliff that goes on losing everything for a while after an overload.
    Recovering {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity.
        capacity_pps: f64,
        /// Seconds for which it loses everything after the load has come down.
        recovery_s: f64,
    },
    /// A generator that reaches its limit before the system does.
    GeneratorLimited {
        /// Name, for display.
        #[serde(default)]
        name: String,
        /// Capacity of the system.
        capacity_pps: f64,
        /// Highest rate of the generator.
        generator_pps: f64,
    },
}

impl Model {
    /// Checks the parameters' ranges.
    ///
    /// # Errors
    /// The first parameter out of range, with what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let load = |name, pps: f64| (name, pps, 0.0, 1e15);
        let share = |name, share: f64| (name, share, 0.0, 1.0);
        let ranges = match *self {
            Model::Cliff { capacity_pps, .. } => vec![load("capacity_pps", capacity_pps)],
            Model::Linear { knee_pps, lost_share, .. } => {
                vec![load("knee_pps", knee_pps), share("lost_share", lost_share)]
            }
            Model::Buffer { capacity_pps, buffer_packets, .. } => {
                vec![load("capacity_pps", capacity_pps), ("buffer_packets", buffer_packets, 0.0, 1e15)]
            }
            Model::Floor { capacity_pps, loss_floor, .. } => {
                vec![load("capacity_pps", capacity_pps), share("loss_floor", loss_floor)]
            }
            Model::Hole { capacity_pps, hole_from_pps, hole_to_pps, hole_loss, .. } => vec![
                load("capacity_pps", capacity_pps),
                load("hole_from_pps", hole_from_pps),
                load("hole_to_pps", hole_to_pps),
                share("hole_loss", hole_loss),
            ],
            Model::Stalls { capacity_pps, stall_probability_per_s, stall_s, .. } => vec![
                load("capacity_pps", capacity_pps),
                share("stall_probability_per_s", stall_probability_per_s),
                ("stall_s", stall_s, 0.0, 86_400.0),
            ],
            Model::Jitter { capacity_pps, spread, .. } => {
                vec![load("capacity_pps", capacity_pps), share("spread", spread)]
            }
            Model::WarmUp { capacity_pps, cold_trials, cold_share, .. } => vec![
                load("capacity_pps", capacity_pps),
                ("cold_trials", cold_trials, 0.0, 1e9),
                share("cold_share", cold_share),
            ],
            Model::Recovering { capacity_pps, recovery_s, .. } => {
                vec![load("capacity_pps", capacity_pps), ("recovery_s", recovery_s, 0.0, 86_400.0)]
            }
            Model::GeneratorLimited { capacity_pps, generator_pps, .. } => {
                vec![load("capacity_pps", capacity_pps), load("generator_pps", generator_pps)]
            }
        };
        match ranges.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            Some((name, value, least, most)) => Err(format!("{name}: {value} is outside {least} to {most}")),
            None => Ok(()),
        }
    }
}

/// Draws for the trials of one simulated search.
#[derive(Debug, Clone)]
pub struct Simulated<'m> {
    model: &'m Model,
    seed: u64,
    ordinal: u64,
}

impl<'m> Simulated<'m> {
    /// A system before its first trial.
    pub fn new(model: &'m Model, seed: u64) -> Self {
        Self { model, seed, ordinal: 0 }
    }

    /// Runs a trial.
    pub fn measure(&mut self, request: &Request) -> Measurement {
        let duration_s = request.duration_ns as f64 / 1e9;
        let load = request.load_pps as f64;
        let intended = (duration_s * load) as u64;
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let draw = || random(self.seed, ordinal, 0);
        let cliff = |sent: u64, capacity_pps: f64| sent.saturating_sub((duration_s * capacity_pps) as u64);
        let mut sent = intended;
        let lost = match *self.model {
            Model::Cliff { capacity_pps, .. } | Model::Recovering { capacity_pps, .. } => {
                cliff(sent, capacity_pps)
            }
            Model::Linear { knee_pps, lost_share, .. } => {
                ((sent as f64 / duration_s - knee_pps).max(0.0) * lost_share * duration_s) as u64
            }
            Model::Buffer { capacity_pps, buffer_packets, .. } => {
                cliff(sent, capacity_pps).saturating_sub(buffer_packets as u64)
            }
            Model::Floor { capacity_pps, loss_floor, .. } => {
                cliff(sent, capacity_pps).max((sent as f64 * loss_floor) as u64)
            }
            Model::Hole { capacity_pps, hole_from_pps, hole_to_pps, hole_loss, .. } => {
                let is_inside = load >= hole_from_pps && load <= hole_to_pps;
                let least = if is_inside { (sent as f64 * hole_loss) as u64 } else { 0 };
                cliff(sent, capacity_pps).max(least)
            }
            Model::Stalls { capacity_pps, stall_probability_per_s, stall_s, .. } => {
                let stalls = draw() < 1.0 - (1.0 - stall_probability_per_s).powf(duration_s);
                let stalled = if stalls { (sent as f64 / duration_s * stall_s) as u64 } else { 0 };
                cliff(sent, capacity_pps) + stalled
            }
            Model::Jitter { capacity_pps, spread, .. } => {
                cliff(sent, capacity_pps * (1.0 + spread * (2.0 * draw() - 1.0)))
            }
            Model::WarmUp { capacity_pps, cold_trials, cold_share, .. } => {
                cliff(sent, capacity_pps * if (ordinal as f64) < cold_trials { cold_share } else { 1.0 })
            }
            Model::GeneratorLimited { capacity_pps, generator_pps, .. } => {
                sent = sent.min((duration_s * generator_pps) as u64);
                cliff(sent, capacity_pps)
            }
        };
        let unsent = intended - sent;
        Measurement {
            load_pps: request.load_pps,
            duration_ns: request.duration_ns,
            effective_ns: request.duration_ns,
            sent,
            lost: lost.min(sent),
            receiver_lost: 0,
            unsent,
            limit: (unsent > 0).then_some(TesterLimit::Generator),
            loss_elsewhere: None,
        }
    }
}

/// Delay of a modelled system in nanoseconds, and what a full buffer adds for each packet in it.
const DELAY_NS: u64 = 10_000;

impl Simulated<'_> {
    /// Runs a trial of a method, over a link that carries `link_pps` packets per second at most. Bursts and steps
    /// need a model with one capacity; others forward a burst as they do a load at the rate of the link.
    pub fn send(&mut self, load: &TrialLoad, link_pps: f64) -> TrialOutcome {
        match *load {
            TrialLoad::Steady { pps, duration_ns } => {
                let outcome = self.measure(&Request { load_pps: pps, duration_ns, counted: true });
                let delays = (outcome.sent > outcome.lost).then(|| self.delays(pps as f64));
                let losses = (outcome.lost > 0).then(|| throughout(0, duration_ns));
                TrialOutcome {
                    sent: outcome.sent,
                    lost: outcome.lost,
                    unsent: outcome.unsent,
                    sending_ns: duration_ns,
                    limit: outcome.limit,
                    delays,
                    losses,
                    ..TrialOutcome::default()
                }
            }
            TrialLoad::Burst { packets } => {
                self.ordinal += 1;
                let (capacity_pps, buffer) = self.capacity();
                let forwarded = (packets as f64 * (capacity_pps / link_pps).min(1.0)) as u64;
                let lost = packets.saturating_sub(forwarded).saturating_sub(buffer);
                let sending_ns = (packets as f64 / link_pps * 1e9) as u64;
                let losses = (lost > 0).then(|| throughout(0, sending_ns));
                TrialOutcome {
                    sent: packets,
                    lost,
                    sending_ns,
                    is_gapless: Some(true),
                    losses,
                    ..TrialOutcome::default()
                }
            }
            TrialLoad::Step { first_pps, first_ns, then_pps, then_ns } => {
                self.ordinal += 1;
                let (capacity_pps, buffer) = self.capacity();
                let packets = |pps: f64, ns: u64| (pps * ns as f64 / 1e9) as u64;
                let excess = |pps: u64, ns| packets((pps as f64 - capacity_pps).max(0.0), ns);
                let recovery_ns = match *self.model {
                    Model::Recovering { recovery_s, .. } => (recovery_s * 1e9) as u64,
                    _ => 0,
                };
                let overload = excess(first_pps, first_ns).saturating_sub(buffer);
                let stuck_ns = if overload > 0 { recovery_ns.min(then_ns) } else { 0 };
                let stuck = packets(then_pps as f64, stuck_ns);
                let after = excess(then_pps, then_ns - stuck_ns);
                let lost = overload + stuck + after;
                let last_ns = if after > 0 { first_ns + then_ns } else { first_ns + stuck_ns };
                let losses = (lost > 0).then(|| throughout(0, last_ns));
                let sent = packets(first_pps as f64, first_ns) + packets(then_pps as f64, then_ns);
                let sending_ns = first_ns + then_ns;
                TrialOutcome { sent, lost, sending_ns, losses, ..TrialOutcome::default() }
            }
        }
    }

    /// Capacity and buffer of a model that has them.
    fn capacity(&self) -> (f64, u64) {
        match *self.model {
            Model::Buffer { capacity_pps, buffer_packets, .. } => (capacity_pps, buffer_packets as u64),
            Model::Cliff { capacity_pps, .. }
            | Model::Floor { capacity_pps, .. }
            | Model::Hole { capacity_pps, .. }
            | Model::Stalls { capacity_pps, .. }
            | Model::Jitter { capacity_pps, .. }
            | Model::WarmUp { capacity_pps, .. }
            | Model::Recovering { capacity_pps, .. }
            | Model::GeneratorLimited { capacity_pps, .. } => (capacity_pps, 0),
            Model::Linear { knee_pps, .. } => (knee_pps, 0),
        }
    }

    /// Delays at a load: longer when a buffer is full.
    fn delays(&self, pps: f64) -> Delays {
        let (capacity_pps, buffer) = self.capacity();
        let queued = if pps > capacity_pps { (buffer as f64 / capacity_pps * 1e9) as u64 } else { 0 };
        let at = |part: u64| DELAY_NS + DELAY_NS * part / 100 + queued;
        Delays {
            min: DELAY_NS,
            mean: at(20),
            p50: at(10),
            p90: at(50),
            p99: at(90),
            p999: at(100),
            max: at(200),
        }
    }
}

/// Losses from one instant to another, in nanoseconds.
fn throughout(first_ns: u64, last_ns: u64) -> LossSpan {
    const INTERVAL_NS: u64 = 10_000_000;
    LossSpan {
        first_ns: Some(first_ns),
        last_ns: Some(last_ns),
        unplaced: 0,
        intervals: (last_ns - first_ns).div_ceil(INTERVAL_NS),
        interval_ns: INTERVAL_NS,
        resolution_ns: 1,
    }
}

/// A number from 0 to below 1: the finaliser of SplitMix64 over seed, ordinal and draw.
fn random(seed: u64, ordinal: u64, draw: u64) -> f64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    const FIRST: u64 = 0xBF58_476D_1CE4_E5B9;
    const SECOND: u64 = 0x94D0_49BB_1331_11EB;
    let mut z = seed
        .wrapping_mul(GOLDEN)
        .wrapping_add(ordinal.wrapping_mul(FIRST))
        .wrapping_add(draw.wrapping_mul(SECOND))
        .wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(FIRST);
    z = (z ^ (z >> 27)).wrapping_mul(SECOND);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}
