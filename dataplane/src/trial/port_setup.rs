//! A port, its queues and the lcores that serve it, kept over many trials.

use std::collections::HashMap;
use std::time::Duration;

use linerate_traffic::safety::Ceilings;
use linerate_wire::port::PortInfo;
use linerate_wire::time::TickRate;

use super::answering::Answering;
use super::error::TrialError;
use super::left_queues::{LeftQueues, XdpInterface};
use crate::dpdk::clock::{TickClock, workers_share};
use crate::dpdk::eal::Eal;
use crate::dpdk::error::DpdkError;
use crate::dpdk::id::{LcoreId, PortId};
use crate::dpdk::port::{OpenPort, Port, PortConfig, describe};
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::network::{GivenAddresses, Network};
use linerate_agent::cpu_time::Quota;
use linerate_measure::calibration::ClockEvents;
use linerate_measure::idle::Idle;
use linerate_measure::loops::queue::Clock;
use linerate_measure::neighbour;

/// Packets handed to the port at once in the bare loop.
const BARE_BURST: u16 = 64;

/// Configuration of a port set-up.
#[derive(Debug, Clone)]
pub struct PortSetupConfig {
    /// The port.
    pub port: PortId,
    /// Worker lcores: at least one.
    pub lcores: Vec<LcoreId>,
    /// Descriptors per receive queue.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue.
    pub tx_descriptors: u16,
    /// Receive queues; `None`: one per lcore, as far as the port has them, and on AF_XDP, all of a few queues of its interface.
    pub rx_queues: Option<u16>,
    /// Transmit queues; `None`: one per lcore, as far as the port has them.
    pub tx_queues: Option<u16>,
    /// Largest payload of a frame in bytes.
    pub mtu: u16,
    /// Ceilings on trials.
    pub safety: Ceilings,
    /// True when trials may reflect frames. This prevents the port's bulk freeing of buffers.
    pub reflects: bool,
    /// Behaviour of loops without work; `None`: chosen by lcores, CPUs and quota.
    pub idle: Option<Idle>,
    /// Addresses of the port, and its routers. A port with addresses answers ARP, neighbour discovery and
    /// ping; this prevents the bulk freeing of buffers as well.
    pub given: GivenAddresses,
}

/// A port, its queues and its lcores.
#[derive(Debug)]
pub struct PortSetup<'e> {
    pub(super) eal: &'e Eal,
    pub(super) config: PortSetupConfig,
    pub(super) clock: TickClock,
    /// The counter's events at its last measurement for this port.
    pub(super) clock_events: ClockEvents,
    pub(super) quota: Quota,
    pub(super) port: Port,
    pub(super) rx: Vec<RxQueue>,
    pub(super) tx: Vec<TxQueue>,
    /// Number of receive and transmit queues.
    pub(super) queues: (usize, usize),
    /// Extended statistics when the last trial was armed.
    pub(super) before: Vec<(String, u64)>,
    pub(super) network: Network,
    /// Present when the port answers for its addresses itself.
    pub(super) answering: Option<Answering>,
    /// Present when frames that arrive may stay with the kernel, and nobody chose that.
    pub(super) left: Option<LeftQueues>,
}

impl<'e> PortSetup<'e> {
    /// Opens the port with a queue per lcore, as far as the port has queues.
    ///
    /// # Errors
    /// When the port reports one.
    pub fn open(eal: &'e Eal, config: PortSetupConfig) -> Result<Self, DpdkError> {
        let info = describe(eal, config.port)?;
        let interface = info.interface.as_ref().map(|interface| interface.name.as_str());
        let network = Network::new(&info.driver, interface, config.given.clone());
        let addresses = if network.answers { network.addresses() } else { Vec::new() };
        let per_lcore = |most: u16| (config.lcores.len() as u16).clamp(1, most.max(1));
        let xdp = XdpInterface::of(&info);
        let rx_queues = config.rx_queues.or(xdp.as_ref().and_then(XdpInterface::default_queues));
        let OpenPort { port, rx, tx, .. } = Port::open(
            eal,
            config.port,
            &PortConfig {
                rx_queues: rx_queues.unwrap_or(per_lcore(info.max_rx_queues)),
                tx_queues: config.tx_queues.unwrap_or(per_lcore(info.max_tx_queues)),
                workers: config.lcores.len() as u32,
                rx_descriptors: config.rx_descriptors,
                tx_descriptors: config.tx_descriptors,
                mtu: config.mtu,
                forwards: config.reflects,
                answers: network.answers,
                groups: neighbour::groups(&addresses),
            },
        )?;
        let queues = (rx.len(), tx.len());
        let left = xdp.and_then(|interface| interface.left(rx.len(), config.rx_queues.is_some()));
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
            left,
        })
    }

    /// Splits the queues into a sending and a receiving set-up of the same port, with these lcores.
    pub fn divide(mut self, tx_lcores: Vec<LcoreId>, rx_lcores: Vec<LcoreId>) -> (Self, Self) {
        let rx = std::mem::take(&mut self.rx);
        let half = |lcores, tx: Vec<TxQueue>, rx: Vec<RxQueue>| Self {
            eal: self.eal,
            config: PortSetupConfig { lcores, ..self.config.clone() },
            clock: self.clock,
            clock_events: self.clock_events,
            quota: self.quota.clone(),
            port: self.port.clone(),
            queues: (rx.len(), tx.len()),
            before: Vec::new(),
            network: self.network.clone(),
            answering: None,
            left: self.left.clone(),
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
}
