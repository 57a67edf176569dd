//! A port, its queues and the lcores that serve it, kept over many trials.

use std::collections::HashMap;
use std::time::Duration;

use linerate_traffic::frame::FCS_BYTES;
use linerate_traffic::limit::Limit;
use linerate_traffic::rate::{Rate, RateError};
use linerate_traffic::safety::{Ceilings, Departure, Unsafe};
use linerate_wire::port::{FrameTooLarge, PortInfo};
use linerate_wire::report::Part;
use linerate_wire::time::TickRate;
use linerate_wire::trial::{FrameWork, ReceiveSpec, RoleSpec, TransmitSpec};

use super::answering::Answering;
use super::report::Planned;
use crate::dpdk::clock::{TickClock, workers_share};
use crate::dpdk::eal::Eal;
use crate::dpdk::error::DpdkError;
use crate::dpdk::lcore::{JobPanicked, LcoreId};
use crate::dpdk::port::{OpenPort, Port, PortConfig, PortId, describe};
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::network::{GivenAddresses, Network};
use linerate_agent::cpu_time::Quota;
use linerate_measure::analysis::{Analysis, Expect};
use linerate_measure::calibration::ClockEvents;
use linerate_measure::ceiling::{Ceiling, workers_under};
use linerate_measure::flows::FrameWriter;
use linerate_measure::frame::{Frames, HEAD_BYTES};
use linerate_measure::idle::Idle;
use linerate_measure::loops::queue::Clock;
use linerate_measure::loops::source::{Replay, Source};
use linerate_measure::loops::transmit::TransmitPlan;
use linerate_measure::pacer::{Load, whole_bursts_within};
use linerate_measure::recording::Recording;

/// Packets handed to the port at once.
const BURST: usize = 64;
/// The same in the bare loop.
const BARE_BURST: u16 = 64;

/// Configuration of a bench.
#[derive(Debug, Clone)]
pub struct BenchConfig {
    /// The port.
    pub port: PortId,
    /// Worker lcores: at least one.
    pub lcores: Vec<LcoreId>,
    /// Descriptors per receive queue.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue.
    pub tx_descriptors: u16,
    /// Receive queues; `None`: one per lcore, as far as the port has them.
    pub rx_queues: Option<u16>,
    /// Transmit queues; `None`: one per lcore, as far as the port has them.
    pub tx_queues: Option<u16>,
    /// Largest payload of a frame in bytes.
    pub mtu: u16,
    /// Ceilings on trials.
    pub safety: Ceilings,
    /// True when the bench can reflect frames. This prevents the port's bulk freeing of buffers.
    pub reflects: bool,
    /// Behaviour of loops without work; `None`: chosen by lcores, CPUs and quota.
    pub idle: Option<Idle>,
    /// Addresses of the port, and its routers. A port with addresses answers ARP, neighbour discovery and
    /// ping; this prevents the bulk freeing of buffers as well.
    pub given: GivenAddresses,
}

/// Error: a trial cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The port or an lcore reported an error.
    #[error(transparent)]
    Dpdk(#[from] DpdkError),
    /// A job panicked.
    #[error(transparent)]
    Panicked(#[from] JobPanicked),
    /// The load cannot be applied.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// A ceiling forbids the trial.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// The frame is too large for the port's configuration.
    #[error(transparent)]
    FrameTooLarge(#[from] FrameTooLarge),
    /// An exchange needs one lcore for sending and one for counting.
    #[error(
        "sending and counting at once needs two worker lcores, and there is one; give three lcores, as in -l 0-2 (they may share CPUs: --lcores 0@0,1@0,2@1)"
    )]
    TooFewLcores,
    /// The port was not set up to reflect frames.
    #[error("this port was not started to send frames back; start the agent with --reflector")]
    NoReflector,
    /// A queue was lost with a job that panicked or was not launched.
    #[error("a queue of the port was lost with a job that failed earlier; restart the program")]
    QueueLost,
}

/// One bench's part in a trial.
#[derive(Debug, Clone)]
pub struct Order {
    /// Number of the trial.
    pub trial: u32,
    /// Tag of its probes.
    pub tag: u16,
    /// Task of the bench.
    pub task: Task,
}

/// Work of a bench.
#[derive(Debug, Clone)]
pub enum Task {
    /// Send.
    Transmit(Box<TransmitSpec>),
    /// Count.
    Receive(Expect),
    /// Send and count.
    Exchange(Box<TransmitSpec>, Expect),
    /// Replay a recording.
    Replay(Box<Replayed>),
    /// Send received frames back.
    Reflect,
}

/// A recording to replay, by one lcore, so that its order is kept.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The frames.
    pub recording: Recording,
    /// Rate; `None`: as recorded.
    pub rate: Option<Rate>,
    /// End of sending.
    pub limit: Limit,
}

impl Task {
    pub(super) fn part(&self) -> Part {
        match self {
            Task::Transmit(_) | Task::Replay(_) => Part::Tx,
            Task::Receive(_) => Part::Rx,
            Task::Exchange(..) => Part::Exchange,
            Task::Reflect => Part::Reflect,
        }
    }
}

impl Order {
    /// What a controller asks for in the trial of this number.
    pub fn new(trial: u32, FrameWork { tag, role }: &FrameWork) -> Self {
        let expect = |receive: &ReceiveSpec| Expect::Trial { tag: *tag, flows: receive.flows };
        let task = match role {
            RoleSpec::Transmit(transmit) => Task::Transmit(transmit.clone()),
            RoleSpec::Receive(receive) => Task::Receive(expect(receive)),
            RoleSpec::Exchange(transmit, receive) => Task::Exchange(transmit.clone(), expect(receive)),
            RoleSpec::Reflect => Task::Reflect,
        };
        Self { trial, tag: *tag, task }
    }
}

/// A planned trial with its memory allocated.
#[derive(Debug)]
pub struct Prepared {
    pub(super) order: Order,
    pub(super) plans: Plans,
}

/// Plan of each lcore: senders first.
#[derive(Debug, Default)]
pub(super) struct Plans {
    pub(super) transmit: Vec<TransmitPlan>,
    pub(super) intended_pps: Option<f64>,
    /// Plan of the senders, for their report.
    pub(super) planned: Planned,
    pub(super) receive: Vec<Analysis>,
    pub(super) reflectors: usize,
}

/// A port, its queues and its lcores.
#[derive(Debug)]
pub struct Bench<'e> {
    pub(super) eal: &'e Eal,
    pub(super) config: BenchConfig,
    pub(super) clock: TickClock,
    /// The counter's events at its last measurement for this port.
    pub(super) clock_events: ClockEvents,
    pub(super) quota: Quota,
    pub(super) port: Port,
    pub(super) rx: Vec<RxQueue>,
    pub(super) tx: Vec<TxQueue>,
    queues: (usize, usize),
    /// Extended statistics when the last trial was armed.
    pub(super) before: Vec<(String, u64)>,
    pub(super) network: Network,
    /// Present when the port answers for its addresses itself.
    pub(super) answering: Option<Answering>,
}

impl<'e> Bench<'e> {
    /// Opens the port with a queue per lcore, as far as the port has queues.
    ///
    /// # Errors
    /// When the port reports one.
    pub fn open(eal: &'e Eal, config: BenchConfig) -> Result<Self, DpdkError> {
        let info = describe(eal, config.port)?;
        let interface = info.interface.as_ref().map(|interface| interface.name.as_str());
        let network = Network::new(&info.driver, interface, config.given.clone());
        let addresses = if network.answers { network.addresses() } else { Vec::new() };
        let per_lcore = |most: u16| (config.lcores.len() as u16).clamp(1, most.max(1));
        let OpenPort { port, rx, tx, .. } = Port::open(
            eal,
            config.port,
            PortConfig {
                rx_queues: config.rx_queues.unwrap_or(per_lcore(info.max_rx_queues)),
                tx_queues: config.tx_queues.unwrap_or(per_lcore(info.max_tx_queues)),
                workers: config.lcores.len() as u32,
                rx_descriptors: config.rx_descriptors,
                tx_descriptors: config.tx_descriptors,
                mtu: config.mtu,
                forwards: config.reflects,
                answers: network.answers,
                multicast: addresses.iter().any(|address| address.addr().is_ipv6()),
            },
        )?;
        let queues = (rx.len(), tx.len());
        let answering = network.answers.then(|| Answering::new(info.mac, addresses));
        let quota = Quota::find();
        let fitting = || Idle::fitting(eal.workers().len(), workers_share(eal), quota.cpus());
        let clock = TickClock::new(eal, config.idle.unwrap_or_else(fitting));
        tracing::info!(
            "with nothing to do, lcores {}{}",
            clock.idle(),
            match quota.cpus() {
                Some(cpus) => format!("; a quota allows {cpus} CPUs"),
                None => String::new(),
            }
        );
        Ok(Self {
            eal,
            config,
            clock,
            clock_events: ClockEvents::default(),
            quota,
            port,
            rx,
            tx,
            queues,
            before: Vec::new(),
            network,
            answering,
        })
    }

    /// Splits a bench into a sending and a receiving one, on the same port, with these lcores.
    pub fn divide(mut self, tx_lcores: Vec<LcoreId>, rx_lcores: Vec<LcoreId>) -> (Self, Self) {
        let rx = std::mem::take(&mut self.rx);
        let half = |lcores, tx: Vec<TxQueue>, rx: Vec<RxQueue>| Self {
            eal: self.eal,
            config: BenchConfig { lcores, ..self.config.clone() },
            clock: self.clock,
            clock_events: self.clock_events,
            quota: self.quota.clone(),
            port: self.port.clone(),
            queues: (rx.len(), tx.len()),
            before: Vec::new(),
            network: self.network.clone(),
            answering: None,
            rx,
            tx,
        };
        let tx = std::mem::take(&mut self.tx);
        (half(tx_lcores, tx, Vec::new()), half(rx_lcores, Vec::new(), rx))
    }

    /// The port's present state.
    ///
    /// # Errors
    /// When ethdev no longer has the port.
    pub fn port_info(&self) -> Result<PortInfo, DpdkError> {
        describe(self.eal, self.config.port)
    }

    /// Ticks per second of the clock in probes, as measured last.
    pub fn tick_hz(&self) -> u64 {
        self.clock.tick_hz()
    }

    /// Nominal and measured frequency of that clock.
    pub fn tick_rate(&self) -> TickRate {
        self.eal.tick_rate()
    }

    /// The worker lcores.
    pub fn lcores(&self) -> &[LcoreId] {
        &self.config.lcores
    }

    /// Packets per second of the bare loop on one lcore, for frames of `frame_bytes` (check sequence
    /// included): the limit of the port and the machine, for comparison.
    ///
    /// # Errors
    /// When the lcore is busy or the queue is lost.
    pub fn bare_transmit_pps(&mut self, frame_bytes: u16, time: Duration) -> Result<f64, TrialError> {
        if self.tx.is_empty() {
            return Err(TrialError::QueueLost);
        }
        let mut queue = self.tx.remove(0);
        let clock = self.clock;
        let job = self.eal.launch(self.config.lcores[0], move || {
            let began = clock.ticks();
            let length = clock.ticks_in_ms(time.as_millis() as u64);
            let mut sent = 0;
            while clock.ticks() - began < length {
                sent += queue.bare_loop(frame_bytes - 4, BARE_BURST, 256);
            }
            let seconds = (clock.ticks() - began) as f64 / clock.tick_hz() as f64;
            (queue, sent as f64 / seconds)
        })?;
        let (queue, pps) = job.join()?;
        self.tx.insert(0, queue);
        Ok(pps)
    }

    /// The port's extended statistics since the last trial was armed, by the driver's names.
    pub fn extended_counters(&self) -> Vec<(String, u64)> {
        let before: HashMap<&str, u64> =
            self.before.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let mut now = self.port.extended_counters();
        for (name, value) in &mut now {
            // A statistic that decreased was reset, and counts from zero.
            *value = value.checked_sub(before.get(name.as_str()).copied().unwrap_or(0)).unwrap_or(*value);
        }
        now
    }

    /// Closes the port and returns the number of buffers that did not come back: 0 unless there is a leak.
    /// Drivers that leave buffers in the kernel's rings are not checked.
    pub fn close(self) -> u32 {
        let pools = if self.port.returns_buffers() { self.port.pools() } else { Vec::new() };
        drop(self);
        pools.iter().map(|pool| pool.size().saturating_sub(pool.available())).sum()
    }

    /// Plans a trial: flow tables, templates, analyses.
    ///
    /// # Errors
    /// When the port cannot run the trial as specified.
    pub fn prepare(&mut self, order: Order) -> Result<Prepared, TrialError> {
        if (self.rx.len(), self.tx.len()) != self.queues {
            return Err(TrialError::QueueLost);
        }
        // Loads and durations of the trial use the latest measurement. Notes are written at its end.
        self.recalibrate();
        let lcores = self.lcores().len();
        let mut plans = Plans::default();
        match &order.task {
            Task::Transmit(spec) => self.plan_transmit(order.tag, spec, lcores, &mut plans)?,
            Task::Receive(expect) => plans.receive = self.plan_receive(*expect, lcores),
            Task::Exchange(spec, expect) => {
                if lcores < 2 {
                    return Err(TrialError::TooFewLcores);
                }
                // A port with fewer TX queues than lcores has this number of senders.
                let senders = if self.tx.len() < lcores { self.tx.len() } else { lcores / 2 };
                self.plan_transmit(order.tag, spec, senders, &mut plans)?;
                plans.receive = self.plan_receive(*expect, lcores - senders);
            }
            Task::Replay(replayed) => self.plan_replay(replayed, &mut plans)?,
            Task::Reflect if !self.config.reflects => return Err(TrialError::NoReflector),
            Task::Reflect => plans.reflectors = self.rx.len().min(self.tx.len()).min(lcores),
        }
        Ok(Prepared { order, plans })
    }

    fn plan_replay(&mut self, replayed: &Replayed, plans: &mut Plans) -> Result<(), TrialError> {
        let Replayed { recording, rate, limit } = replayed;
        let info = self.port_info()?;
        let link_bps = info.link_bps;
        let mean_bytes = recording.mean_bytes() + f64::from(FCS_BYTES);
        let pps = rate.map(|rate| rate.packets_per_second_of(mean_bytes, link_bps)).transpose()?;
        // `None`: as fast as the port accepts them.
        let departures_s = match pps {
            None => Some(recording.departures_s()),
            Some(pps) => pps.map(|pps| (0..recording.count()).map(|frame| frame as f64 / pps).collect()),
        };
        let frames: Option<Vec<Departure>> = departures_s.as_ref().map(|times: &Vec<f64>| {
            times.iter().copied().zip(recording.lengths_bytes().map(|bytes| bytes + FCS_BYTES)).collect()
        });
        self.config.safety.check_recording(frames.as_deref(), limit, link_bps)?;
        let bytes: Vec<u32> = recording.lengths_bytes().map(|bytes| bytes + FCS_BYTES).collect();
        let times = self.config.safety.frame_times_ps(&bytes, link_bps)?;
        let load = match pps {
            None => departures_s.map(Load::Recorded),
            Some(pps) => pps.map(Load::steady),
        };
        let longest = recording.longest_bytes();
        info.carries(longest + FCS_BYTES)?;
        let queue = self.tx.first_mut().ok_or(TrialError::QueueLost)?;
        let room = vec![0; HEAD_BYTES.max(longest as usize)];
        queue.stamp(&room, longest).map_err(|_| too_large(info, longest + FCS_BYTES))?;
        let source = Replay::new(recording.clone().into_frames()).map(Source::Replay);
        let seconds = limit.duration_ms.map(|ms| ms as f64 / 1e3);
        plans.intended_pps = load.as_ref().map(|load| load.mean_pps(seconds));
        plans.transmit.extend(source.map(|source| TransmitPlan {
            source,
            load,
            ceilings: times.into_iter().map(Ceiling::Frames).collect(),
            duration_ticks: limit.duration_ms.map(|ms| self.clock.ticks_in_ms(ms)),
            packets: limit.packets,
            burst: BURST,
        }));
        Ok(())
    }

    fn plan_receive(&self, expect: Expect, lcores: usize) -> Vec<Analysis> {
        let analysis = |_| {
            let mut analysis = Analysis::new(expect);
            if let Some(answering) = &self.answering {
                analysis.forward_foreign(answering.mailbox());
            }
            analysis
        };
        (0..self.rx.len().min(lcores)).map(analysis).collect()
    }

    fn plan_transmit(
        &mut self,
        tag: u16,
        spec: &TransmitSpec,
        lcores: usize,
        plans: &mut Plans,
    ) -> Result<(), TrialError> {
        let info = self.port_info()?;
        let TransmitSpec { profile, peer_mac, limit } = spec;
        self.config.safety.check(profile, limit, info.link_bps)?;
        let stages = profile.load(info.link_bps)?;
        let load = stages.map(|stages| Load::Stages { stages, burst: profile.burst() });
        let frames = Frames::new(profile, info.mac, *peer_mac);
        let template = frames.template();
        let largest = profile.frame_sizes().largest();
        info.carries(largest.bytes())?;
        let flows = profile.flows();
        let most_workers = (self.tx.len().min(lcores) as u32).min(flows);
        let admitted = self.config.safety.packets_within(profile.frame_sizes(), info.link_bps)?;
        let peak_pps = load.as_ref().map_or(0.0, Load::peak_pps);
        let (workers, shares) = workers_under(admitted, most_workers, flows, (profile.burst(), peak_pps));
        plans.planned.left_out = most_workers - workers;
        let mut before = 0;
        for (worker, queue) in (0..workers).zip(&mut self.tx) {
            queue
                .stamp(&template, largest.port_bytes())
                .map_err(|_| too_large(info.clone(), largest.bytes()))?;
            let Some(writer) = FrameWriter::new(profile, &frames, tag, worker, workers) else { continue };
            let mine = writer.flow_count();
            // Packets are divided in proportion to flows, without losing any to rounding.
            let share = |packets: u64, flows_before: u32| {
                (u128::from(packets) * u128::from(flows_before) / u128::from(flows)) as u64
            };
            plans.transmit.push(TransmitPlan {
                source: Source::Flows(writer),
                load: load.clone().map(|load| load.share(f64::from(mine) / f64::from(flows))),
                ceilings: shares
                    .get(worker as usize)
                    .map(|share| Ceiling::Packets(*share))
                    .into_iter()
                    .collect(),
                duration_ticks: limit.duration_ms.map(|ms| self.clock.ticks_in_ms(ms)),
                packets: limit.packets.map(|packets| share(packets, before + mine) - share(packets, before)),
                burst: whole_bursts_within(BURST, profile.burst()),
            });
            before += mine;
            plans.planned.flows_per_lcore.push(mine);
        }
        plans.planned.burst = if load.is_some() { profile.burst() } else { 1 };
        let seconds = limit.duration_ms.map(|ms| ms as f64 / 1e3);
        plans.intended_pps = load.map(|load| load.mean_pps(seconds));
        Ok(())
    }
}

/// Error: frames larger than the buffers. The port's MTU in force does not exceed the one that the buffers
/// were made for.
fn too_large(port: PortInfo, asked: u32) -> FrameTooLarge {
    FrameTooLarge { asked, port: Box::new(port) }
}
