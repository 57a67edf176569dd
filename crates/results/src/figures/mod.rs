//! Figures of a trial, computed from two agents' reports. Pure.

mod flow;
pub mod table;

use std::collections::BTreeMap;

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::Profile;
use linerate_wire::report::{Ended, Part, ReceiveReport};
use linerate_wire::time::WorkerTime;

use crate::clock::ClockVerdict;
use crate::engines::{EngineFigures, Lcores};
use crate::host::HostSummary;
use crate::host_setting::TrialHostSetting;
use crate::store::report::TrialReport;
use crate::summary::{LcoreSummary, LossTimes, ReflectorSummary, ReorderingSummary, TrialSummary};
use crate::verdict::{Absence, Busiest, Observed, Reflected, Sending, judge, sender_lost};
use linerate_experiment::direction::Direction;
use linerate_experiment::plan::Trial;

/// The trial and pair that the figures belong to.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The trial.
    pub trial: &'a Trial,
    /// The trial's profile as it was sent, with the ports' addresses if it names none.
    pub traffic: &'a Profile,
    /// The pair, such as `tx0-rx0`.
    pub pair: &'a str,
    /// The transmitter's name.
    pub tx: &'a str,
    /// The receiver's name; for a round trip, the transmitter's name.
    pub rx: &'a str,
    /// Ethernet addresses of the ports at both ends, the transmitter's first.
    pub macs: (MacAddr, MacAddr),
    /// Whether their clocks can be compared.
    pub clock: &'a ClockVerdict,
    /// Direction of the traffic.
    pub direction: Direction,
    /// Name and report of the far end of a round trip.
    pub reflector: Option<(&'a str, &'a TrialReport)>,
}

/// Why reports give no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    /// A report lacks the part of its agent's role.
    #[error("the report of {agent} is not that of a {role}")]
    WrongRole {
        /// Agent of the report.
        agent: String,
        /// Expected role.
        role: &'static str,
    },
    /// Packets still arrived at the end of the drain, so the loss is unknown.
    #[error(
        "packets still arrived at {agent} when the drain's time was over; give it more with trial.drain.limit"
    )]
    StillArriving {
        /// The receiver.
        agent: String,
    },
    /// An agent ended early.
    #[error("{agent} ended before its time: {}", match ended {
        Ended::Orphaned => "it received no message from the controller for longer than the orphan time",
        _ => "it was stopped",
    })]
    EndedEarly {
        /// The agent.
        agent: String,
        /// How it ended.
        ended: Ended,
    },
    /// The counts are contradictory.
    #[error(
        "{rx} counted {received} packets received, more than the {sent} that {tx} sent; one of the counts is wrong, so there is no result"
    )]
    MoreThanSent {
        /// The transmitter.
        tx: String,
        /// The receiver.
        rx: String,
        /// Packets sent.
        sent: u64,
        /// Packets received.
        received: u64,
    },
}

/// Figures of a trial, without its overhead and file.
///
/// # Errors
/// When the reports are incomplete or contradictory.
pub fn figures(of: Subject<'_>, tx: &TrialReport, rx: &TrialReport) -> Result<TrialSummary, NoResult> {
    let wrong = |agent: &str, role| NoResult::WrongRole { agent: agent.to_owned(), role };
    let transmit = tx.transmit.as_ref().ok_or_else(|| wrong(of.tx, "transmitter"))?;
    let receive = rx.receive.as_ref().ok_or_else(|| wrong(of.rx, "receiver"))?;
    // For an agent that sends and receives, `ended` describes the end of receiving.
    if tx.role != Part::Exchange && !matches!(tx.ended, Ended::Duration | Ended::Packets) {
        return Err(NoResult::EndedEarly { agent: of.tx.to_owned(), ended: tx.ended });
    }
    match rx.ended {
        Ended::Packets | Ended::Settled => {}
        Ended::Expired => return Err(NoResult::StillArriving { agent: of.rx.to_owned() }),
        ended => return Err(NoResult::EndedEarly { agent: of.rx.to_owned(), ended }),
    }
    let (sent, received) = (transmit.counters.packets, receive.counters.packets);
    let lost = sent.checked_sub(received).ok_or_else(|| NoResult::MoreThanSent {
        tx: of.tx.to_owned(),
        rx: of.rx.to_owned(),
        sent,
        received,
    })?;
    let headroom = transmit.intended_pps.map_or(&[][..], |_| &transmit.headroom);
    let tx_lcores = lcores(&tx.lcores, &transmit.packets_per_lcore, headroom, &tx.workers);
    // An agent that sends and receives lists its sending lcores first.
    let senders = rx.transmit.as_ref().map_or(0, |transmit| transmit.packets_per_lcore.len());
    let rx_lcores = lcores(
        rx.lcores.get(senders..).unwrap_or_default(),
        &receive.packets_per_lcore,
        &receive.headroom,
        rx.workers.get(senders..).unwrap_or_default(),
    );
    let tx_waiting = waited_longest(&tx_lcores);
    let reflecting = of.reflector.map_or(&[][..], |(_, report)| &report.workers);
    // Waits that the kernel counts: a sender that sleeps until a packet is due is off its CPU, too.
    let waited = |worker: WorkerTime| worker.waited_s.map_or(0.0, |_| worker.waiting_share());
    let sending =
        Sending { sent, duration_s: transmit.duration_s, waiting_share: tx_waiting.map_or(0.0, waited) };
    let receiving = shares(&rx_lcores, reflecting, received);
    let rx_absence = Absence::among(&receiving, sending);
    let observed = Observed {
        intended_pps: transmit.intended_pps,
        offered_pps: transmit.offered_pps,
        sent,
        lost,
        damaged: receive.counters.bad_checksums,
        blocked_s: transmit.blocked_s,
        beyond_window: receive.beyond_window,
        stale: receive.counters.stale,
        tx_errors: tx.port.map_or(0, |port| port.tx_errors),
        sender_lost: sender_lost(sent, tx.port),
        forgone: transmit.forgone_packets,
        duration_s: transmit.duration_s,
        slack_packets: transmit.slack_packets(),
        tx_waiting,
        rx_waiting: waited_longest(&rx_lcores),
        tx_throttling: tx.throttling,
        rx_throttling: rx.throttling,
        rx_absence,
        rx_port: rx.port.map(Into::into),
        tx_busiest: busiest(&tx_lcores),
        rx_busiest: busiest(&rx_lcores),
        reflected: of.reflector.and_then(|(_, report)| reflected(report, received)),
    };
    let said = |agent: &str, texts: &[String]| -> Vec<String> {
        texts.iter().map(|text| format!("{agent}: {text}")).collect()
    };
    // In a round trip, the transmitter's report is also the receiver's; the far end's is the reflector's.
    let (far, far_report) = of.reflector.unwrap_or((of.rx, rx));
    let mut disagreements = [said(of.tx, &tx.disagreements), said(far, &far_report.disagreements)].concat();
    if receive.sequence_gaps > lost {
        let gaps = receive.sequence_gaps;
        disagreements
            .push(format!("{}: {gaps} sequence numbers are missing, but only {lost} packets", of.rx));
    }
    let rate = |report: &TrialReport| report.clock.map(|clock| clock.rate);
    let mut clock = of.clock.clone();
    if let Some(negative @ 1..) = receive.latency.as_ref().map(|latency| latency.negative) {
        (clock.one_way_valid, clock.round_trip_valid) = (false, false);
        clock.reason =
            format!("{negative} packets arrived before they were sent: the CPUs' counters are not in step");
    }
    let one_way = receive.latency.as_ref().filter(|_| clock.one_way_valid);
    let round_trip = receive.latency.as_ref().filter(|_| clock.round_trip_valid);
    let profile = &of.trial.profile;
    let lcores = Lcores { tx: &tx_lcores, rx: &rx_lcores };
    let engine = of.trial.engine;
    let engine =
        engine.map(|carrier| EngineFigures::of_frames((carrier, profile), (tx, rx), lcores, (sent, lost)));
    let hosts = || [tx, far_report].into_iter().filter_map(|report| report.host.as_ref());
    let setting = of.trial.host_setting.as_ref();
    let host_setting = setting.map(|setting| TrialHostSetting::of(setting.label(), hosts()));
    Ok(TrialSummary {
        profile: of.trial.name.clone(),
        pair: of.pair.to_owned(),
        direction: of.direction,
        repeat: of.trial.repeat,
        search: of.trial.search,
        environment_period: 0,
        engine,
        host_setting,
        // Nodes are watched beside the trial.
        nodes: Vec::new(),
        frame_size: profile.frame_sizes().clone(),
        flows: profile.flows(),
        intended_pps: transmit.intended_pps,
        offered_pps: transmit.offered_pps,
        offered_missed_intended: observed.missed_intended(),
        received_pps: if transmit.duration_s > 0.0 { received as f64 / transmit.duration_s } else { 0.0 },
        sent_packets: sent,
        received_packets: received,
        lost_packets: lost,
        loss_times: receive.loss.clone().map(|timeline| LossTimes::from(&timeline.of_lost(lost))),
        duplicate_packets: receive.counters.duplicates,
        stale_packets: receive.counters.stale,
        bad_probe_packets: receive.counters.bad_probes,
        bad_checksum_packets: receive.counters.bad_checksums,
        without_checksum_packets: receive.counters.without_checksum,
        foreign_packets: receive.counters.foreign,
        foreign: receive.foreign,
        reordering: reordering(receive),
        forgone_packets: transmit.forgone_packets,
        unsent_packets: transmit.unsent_packets,
        queue_full: transmit.counters.queue_full,
        blocked_s: transmit.blocked_s,
        beyond_window_packets: receive.beyond_window,
        tx_lcores,
        rx_lcores,
        receiver_absence: rx_absence,
        tick_rates: by_agent([(of.tx, rate(tx)), (far, rate(far_report))]),
        throttling: by_agent([(of.tx, tx.throttling), (far, far_report.throttling)]),
        hosts: by_agent([(of.tx, host(tx)), (far, host(far_report))]),
        rx_queue_frames: receive.frames_per_queue.clone(),
        tx_port: tx.port,
        rx_port: rx.port,
        disagreements,
        notes: [said(of.tx, &tx.notes), said(far, &far_report.notes), said_of(&of, &observed)].concat(),
        duration_s: transmit.duration_s,
        inter_departure_ns: transmit.inter_departure.as_ref().map(|departures| departures.summary),
        latency_ns: one_way.map(|latency| latency.summary),
        latency_variation_ns: one_way.map(|latency| latency.variation),
        round_trip_ns: round_trip.map(|latency| latency.summary),
        round_trip_variation_ns: round_trip.map(|latency| latency.variation),
        reflector: of.reflector.and_then(|(_, report)| reflector(report)),
        silent_flows: receive.silent_flows,
        worst_flows: receive
            .worst_flows
            .iter()
            .map(|flow| flow::summary(of.traffic, of.macs, flow, &clock))
            .collect(),
        clock,
        verdict: judge(&observed),
        overhead_s: 0.0,
        trial: String::new(),
        flows_file: None,
    })
}

/// Counts that are remarkable whether or not packets were lost, each in one sentence.
fn said_of(of: &Subject<'_>, observed: &Observed) -> Vec<String> {
    let Observed { stale, tx_errors, .. } = *observed;
    let mut notes = Vec::new();
    if stale > 0 {
        notes.push(format!(
            "{}: {stale} packets of another path or trial arrived, which do not count as received: what lies between the ports \
             floods or loops frames, or they are late",
            of.rx
        ));
    }
    if tx_errors > 0 {
        notes
            .push(format!("{}: the port counts {tx_errors} failed packets, as when its link is down", of.tx));
    }
    notes
}

fn reflector(report: &TrialReport) -> Option<ReflectorSummary> {
    let (receive, transmit) = (report.receive.as_ref()?, report.transmit.as_ref()?);
    Some(ReflectorSummary {
        received_packets: receive.counters.packets,
        sent_packets: transmit.counters.packets,
        dropped_packets: transmit.unsent_packets,
        port: report.port,
    })
}

/// Reflector's part in the verdict; `back` of its packets arrived at the transmitter.
fn reflected(report: &TrialReport, back: u64) -> Option<Reflected> {
    let ReflectorSummary { received_packets, sent_packets, dropped_packets, port } = reflector(report)?;
    Some(Reflected {
        received: received_packets,
        dropped: dropped_packets,
        lost_back: sent_packets.saturating_sub(back),
        port: port.map(Into::into),
    })
}

/// Figures of each lcore; `headroom` and `times` may be empty.
fn lcores(names: &[u32], packets: &[u64], headroom: &[f64], times: &[WorkerTime]) -> Vec<LcoreSummary> {
    let one = |(index, (lcore, packets)): (usize, (&u32, &u64))| LcoreSummary {
        lcore: *lcore,
        packets: *packets,
        headroom: headroom.get(index).copied(),
        cpu_time: times.get(index).copied(),
    };
    names.iter().zip(packets).enumerate().map(one).collect()
}

fn busiest(lcores: &[LcoreSummary]) -> Option<Busiest> {
    lcores
        .iter()
        .filter_map(|one| Some(Busiest { lcore: one.lcore, headroom: one.headroom? }))
        .min_by(|a, b| a.headroom.total_cmp(&b.headroom))
}

fn waited_longest(lcores: &[LcoreSummary]) -> Option<WorkerTime> {
    let times = lcores.iter().filter_map(|one| one.cpu_time);
    times.max_by(|a, b| a.waiting_share().total_cmp(&b.waiting_share()))
}

/// The lcores that receive with the share of the packets of each, and those that reflect. What was lost is not known
/// by lcore: each one's share is that of what arrived.
fn shares(receiving: &[LcoreSummary], reflecting: &[WorkerTime], received: u64) -> Vec<(WorkerTime, f64)> {
    let share = |packets: u64| match received {
        0 => 1.0 / receiving.len().max(1) as f64,
        all => packets as f64 / all as f64,
    };
    let near = receiving.iter().filter_map(|one| Some((one.cpu_time?, share(one.packets))));
    let far = reflecting.iter().map(|time| (*time, 1.0 / reflecting.len() as f64));
    near.chain(far).collect()
}

/// Reported values of the two agents by name. In a round trip both ends are one agent, with one value.
fn by_agent<T>(known: [(&str, Option<T>); 2]) -> BTreeMap<String, T> {
    known.into_iter().filter_map(|(agent, value)| Some((agent.to_owned(), value?))).collect()
}

/// The host of an agent that read it.
fn host(report: &TrialReport) -> Option<HostSummary> {
    report.host.as_ref().map(HostSummary::from)
}

fn reordering(receive: &ReceiveReport) -> ReorderingSummary {
    let (packets, received) = (receive.counters.out_of_order, receive.counters.packets);
    let known = receive.reordering.filter(|reordering| reordering.extents > 0);
    ReorderingSummary {
        packets,
        ratio: if received > 0 { packets as f64 / received as f64 } else { 0.0 },
        extents: known.map_or(0, |known| known.extents),
        extent_mean: known.map(|known| known.extent_mean),
        extent_max: known.map(|known| known.extent_max),
    }
}

#[cfg(test)]
pub(crate) mod tests;
