//! Trials without a controller: run, show progress, end by limit or signal.

use std::future::Future;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use linerate_command::signals::Signals;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::Ceilings;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::network::NextHop;
use linerate_wire::report::Ended;
use linerate_wire::sample::FrameMeasures;
use linerate_wire::trial::Drain;

use super::Ending;
use super::args::RingArgs;
use super::output::Failure;
use super::ready::Show;
use super::report::progress_line;
use crate::dpdk::eal::Eal;
use crate::dpdk::id::{LcoreId, PortId};
use crate::host::monotonic_ns;
use crate::network::GivenAddresses;
use crate::trial::{Active, Order, PortSetup, PortSetupConfig};
use linerate_measure::drain::Drainer;

/// Interval at which a running trial is monitored.
pub(super) const LOOK: Duration = Duration::from_millis(2);

/// A random tag for a trial without a controller.
pub(super) fn random_tag() -> Result<u16, Failure> {
    let number =
        getrandom::u32().map_err(|error| Failure::failed(format!("no random number to be had: {error}")))?;
    Ok(number as u16)
}

/// Opens a port for the lcores.
pub(super) fn open<'e>(
    eal: &'e Eal,
    port: PortId,
    lcores: Vec<LcoreId>,
    ring: &RingArgs,
    safety: &Ceilings,
    given: &GivenAddresses,
    reflects: bool,
) -> Result<PortSetup<'e>, Failure> {
    let config = PortSetupConfig {
        port,
        lcores,
        rx_descriptors: ring.rxd,
        tx_descriptors: ring.txd,
        rx_queues: ring.rxq,
        tx_queues: ring.txq,
        mtu: ring.mtu,
        safety: safety.clone(),
        reflects,
        idle: ring.idle,
        given: given.clone(),
    };
    Ok(PortSetup::open(eal, config)?)
}

/// Closes a port, and reports missing buffers.
pub(super) fn close(setup: PortSetup<'_>) {
    match setup.close() {
        0 => tracing::debug!("the port is closed; all buffers came back"),
        missing => tracing::warn!("{missing} buffers did not come back when the port was closed"),
    }
}

/// Runs a future on this thread, the main lcore.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Answers for the port's addresses and monitors its link. Must be called often, before and during a trial.
pub(super) fn attend(active: &mut Active, setup: &mut PortSetup<'_>) {
    active.answer_requests(setup);
    active.look_at_link(setup, monotonic_ns());
}

/// Keeps a port without a trial open for this long, and answers for its addresses. A signal ends the wait.
pub(super) async fn linger(setup: &mut PortSetup<'_>, time: Duration, signals: &mut Signals) {
    let began = Instant::now();
    while let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        if signals.within(left.min(LOOK)).await {
            return;
        }
        setup.answer_requests(None);
    }
}

/// Waits until the port's link is up.
pub(super) async fn link_up(
    setup: &mut PortSetup<'_>,
    wait: Duration,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let (began, mut told) = (Instant::now(), false);
    loop {
        let info = setup.port_info()?;
        if info.link_up {
            return Ok(());
        }
        if !std::mem::replace(&mut told, true) {
            tracing::debug!("waiting for the link of port {} ({})", info.port, info.device);
        }
        if began.elapsed() >= wait {
            return Err(Failure::failed(format!(
                "port {} ({}): the link is still down after {:.0} s\n  remedy: start the peer (memif, vhost) or check the cable and the \
                 PF's state; --link-wait sets how long to wait",
                info.port,
                info.device,
                wait.as_secs_f64()
            )));
        }
        if signals.within(Duration::from_millis(20)).await {
            return Err(Failure::interrupted("interrupted while waiting for the link"));
        }
        setup.answer_requests(None);
    }
}

/// Finds the next hop from the port towards an address.
pub(super) async fn next_hop(
    setup: &mut PortSetup<'_>,
    to: IpAddr,
    signals: &mut Signals,
) -> Result<NextHop, Failure> {
    let mut search = setup.search_hop(to)?;
    tracing::debug!("searching for the next hop to {to}");
    loop {
        if let Some(hop) = setup.look_for_hop(&mut search)? {
            return Ok(hop);
        }
        if signals.within(search.interval()).await {
            return Err(Failure::interrupted(format!(
                "interrupted while waiting for the Ethernet address of the next hop to {to}"
            )));
        }
    }
}

/// Prepares a trial and launches its loops.
pub(super) fn begin(setup: &mut PortSetup<'_>, order: Order) -> Result<Active, Failure> {
    let prepared = setup.prepare(order)?;
    Ok(setup.arm(prepared)?)
}

/// Waits until all sent packets have arrived or no more arrive. `look` attends to the ports and returns the
/// receive counters. `gap_ns` is the mean time between packets, or between bursts, as sent.
pub(super) async fn drained(
    mut look: impl FnMut() -> ReceiveCounters,
    expected_packets: u64,
    gap_ns: u64,
    signals: &mut Signals,
) -> Ended {
    let drain = Drain { expected_packets, gap_ns, ..Drain::STAND_ALONE };
    let mut drainer = Drainer::new(drain, monotonic_ns());
    loop {
        let received = look();
        if let Some(ended) = drainer.look(monotonic_ns(), &received) {
            return ended;
        }
        if signals.within(LOOK).await {
            return Ended::Stopped;
        }
    }
}

/// Packets sent minus packets received.
pub(super) fn lost(sent: u64, received: u64) -> Result<u64, Failure> {
    sent.checked_sub(received).ok_or_else(|| {
        Failure::failed(format!(
            "{received} packets received of {sent} sent: the path duplicates packets beyond recognition, and loss is unknown"
        ))
    })
}

/// Prints a progress line at every interval.
pub(super) struct Progress {
    show: Show,
    shown: Instant,
    /// The last samples, and when they were taken in nanoseconds.
    before: Vec<(u64, FrameMeasures)>,
}

impl Progress {
    pub(super) fn new(show: Show) -> Self {
        Self { show, shown: Instant::now(), before: Vec::new() }
    }

    pub(super) fn show(&mut self, trials: &mut [(&mut Active, &PortSetup<'_>)]) {
        let now_ns = monotonic_ns();
        trials.iter_mut().for_each(|(active, setup)| active.look_at_link(setup, now_ns));
        if self.shown.elapsed() < self.show.interval {
            return;
        }
        self.shown = Instant::now();
        // Samples are taken even without output: they detect a reset of the port during the trial.
        let now: Vec<(u64, FrameMeasures)> =
            trials.iter_mut().map(|(active, setup)| (monotonic_ns(), active.sample(setup))).collect();
        if self.show.quiet {
            return;
        }
        let lines: Vec<String> = now
            .iter()
            .enumerate()
            .map(|(i, (at_ns, sample))| match self.before.get(i) {
                Some((before_ns, before)) => progress_line(before, sample, at_ns.saturating_sub(*before_ns)),
                None => progress_line(&blank(sample), sample, self.show.interval.as_nanos() as u64),
            })
            .collect();
        let _ = writeln!(io::stderr(), "{}", lines.join("   "));
        self.before = now;
    }
}

/// The counters before the first sample.
fn blank(sample: &FrameMeasures) -> FrameMeasures {
    FrameMeasures {
        transmit: sample.transmit.map(|_| Default::default()),
        receive: sample.receive.map(|_| Default::default()),
        queue_frames: vec![0; sample.queue_frames.len()],
        port: None,
    }
}

/// Reason for the end of a trial that a signal may have ended: a trial without limits is meant to end by a
/// signal.
pub(super) fn ending(limit: &Limit, interrupted: bool) -> Ending {
    if interrupted && *limit != Limit::default() { Ending::Interrupted } else { Ending::Done }
}
