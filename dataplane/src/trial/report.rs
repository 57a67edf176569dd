//! Creation of the report from the loops' results. Pure.

use linerate_traffic::apart::apart;
use linerate_wire::counters::TransmitCounters;
use linerate_wire::report::{
    ForeignFrames, FrameReport, ReceiveReport, Report, TransmitReport, blocking_explains,
};

use super::jobs::ReceiveOutcome;
use super::plan::Planned;
use crate::dpdk::port::Spread;
use linerate_measure::flow_table::FlowTable;
use linerate_measure::histogram::TickHistogram;
use linerate_measure::loops::reflect::ReflectOutcome;
use linerate_measure::loops::transmit::TransmitOutcome;
use linerate_measure::loss_timeline::SenderTimes;
use linerate_measure::pacer::Late;

/// A port's report of a trial.
pub type PortReport = Report<FrameReport>;

/// Longest working time of an lcore, in ticks: lcores that start one after the other do not lengthen a trial.
fn longest(times: impl Iterator<Item = (u64, u64)>) -> f64 {
    times.map(|(began, ended)| ended.saturating_sub(began)).max().unwrap_or(0) as f64
}

pub(super) fn transmit_report(
    outcomes: &[TransmitOutcome],
    intended_pps: Option<f64>,
    planned: &Planned,
    tick_hz: u64,
) -> TransmitReport {
    let counters: TransmitCounters = outcomes.iter().map(|outcome| outcome.counters).sum();
    let hz = tick_hz.max(1) as f64;
    let duration_s = longest(outcomes.iter().map(|outcome| (outcome.began, outcome.ended))) / hz;
    let mut departures = TickHistogram::default();
    outcomes.iter().for_each(|outcome| departures.merge(&outcome.departures));
    TransmitReport {
        counters,
        intended_pps,
        offered_pps: if duration_s > 0.0 { counters.packets as f64 / duration_s } else { 0.0 },
        duration_s,
        forgone_packets: outcomes.iter().map(|outcome| outcome.forgone).sum(),
        blocked_s: outcomes.iter().map(|outcome| outcome.blocked).sum::<u64>() as f64
            / (hz * outcomes.len().max(1) as f64),
        unsent_packets: outcomes.iter().map(|outcome| outcome.unsent).sum(),
        packets_per_lcore: outcomes.iter().map(|outcome| outcome.counters.packets).collect(),
        headroom: outcomes
            .iter()
            .map(|outcome| outcome.idle as f64 / outcome.ended.saturating_sub(outcome.began).max(1) as f64)
            .collect(),
        inter_departure: departures.read(tick_hz),
        burst: planned.burst.max(1),
    }
}

/// What a receiver reports.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) report: ReceiveReport,
    /// Results of every flow.
    pub(super) flows: FlowTable,
    /// Remarks, each in one sentence.
    pub(super) notes: Vec<String>,
}

/// A receiver's report, and the results of every flow. `sent_per_lcore` are the packets of each sender lcore;
/// empty when unknown, and `times` when the sender sent. `None` without receivers.
pub(super) fn receive_report(
    outcomes: Vec<ReceiveOutcome>,
    frames_per_queue: Vec<u64>,
    sent_per_lcore: &[u64],
    times: &SenderTimes,
) -> Option<Received> {
    let tick_hz = times.own_hz;
    let ns_per_tick = 1e9 / tick_hz.max(1) as f64;
    let packets_per_lcore =
        outcomes.iter().map(|outcome| outcome.analysis.counters(ns_per_tick).packets).collect();
    let headroom = outcomes.iter().map(|outcome| outcome.headroom).collect();
    let merged = outcomes.into_iter().map(|outcome| outcome.analysis).reduce(|mut merged, analysis| {
        merged.merge(&analysis);
        merged
    })?;
    let mut report = ReceiveReport {
        counters: merged.counters(ns_per_tick),
        sequence_gaps: merged.sequence_gaps(),
        before_first: merged.before_first(),
        beyond_window: merged.beyond_memory(),
        latency: merged.delays().read_delays(tick_hz),
        packets_per_lcore,
        frames_per_queue,
        headroom,
        foreign: merged.foreign(),
        reordering: merged.reordering(),
        ..ReceiveReport::default()
    };
    let several_trials = merged.several_trials();
    let flows = merged.into_flows(tick_hz);
    report.silent_flows = flows.silent(sent_per_lcore);
    report.worst_flows = flows.worst(sent_per_lcore);
    let lost = match sent_per_lcore {
        [] => report.sequence_gaps,
        sent => sent.iter().sum::<u64>().saturating_sub(report.counters.packets),
    };
    report.loss = flows.loss_timeline(lost, sent_per_lcore, times);
    let notes = [
        unchecked_note(&report),
        before_first_note(&report),
        several_trials.then(|| several_trials_note(report.counters.stale)),
    ];
    Some(Received { report, flows, notes: notes.into_iter().flatten().collect() })
}

/// Share of the time below which a worker's wait for its CPU is ignored.
const WAITING_SHARE: f64 = 0.001;

/// A load that differs from the intended one, in one sentence, with the sending lcores' limitation.
pub(super) fn missed_load(report: &PortReport) -> Option<String> {
    let transmit = report.detail.transmit.as_ref().filter(|transmit| transmit.missed_intended())?;
    let (intended, offered) = (transmit.intended_pps?, transmit.offered_pps);
    let off = 100.0 * (offered / intended - 1.0);
    let [offered_text, intended_text] = apart(offered, intended);
    let mut note = format!(
        "the offered load missed the intended one: {offered_text} of {intended_text} packets per second ({off:+.2} %)"
    );
    let missing_share = 1.0 - offered / intended;
    if missing_share > 0.0 && blocking_explains(transmit.blocked_share(), missing_share) {
        let TransmitReport { blocked_s, duration_s, .. } = transmit;
        note.push_str(&format!(
            "; the port held packets back {:.1} % of the time ({blocked_s:.3} of {duration_s:.3} s)",
            100.0 * transmit.blocked_share()
        ));
    }
    let senders = report.workers.iter().take(transmit.packets_per_lcore.len());
    let worst = senders.max_by(|a, b| a.waiting_share().total_cmp(&b.waiting_share()));
    if let Some(worst) = worst.filter(|worst| worst.waiting_share() >= WAITING_SHARE) {
        note.push_str(&format!("; {worst}"));
    }
    if let Some(throttling) = report.throttling {
        note.push_str(&format!("; {throttling}"));
    }
    Some(note)
}

/// Packets of a recording that left late, in one sentence.
pub(super) fn late_note(outcomes: &[TransmitOutcome], tick_hz: u64) -> Option<String> {
    let Late { ticks, packets } =
        outcomes.iter().map(|outcome| outcome.late).max_by_key(|late| late.ticks)?;
    let late_ms = 1e3 * ticks as f64 / tick_hz.max(1) as f64;
    match packets {
        0 => None,
        1 => Some(format!("a frame of the recording left {late_ms:.1} ms behind its time")),
        _ => Some(format!(
            "frames of the recording left up to {late_ms:.1} ms behind their time; {packets} were due at once, and left as fast as the port and the \
             ceilings admit"
        )),
    }
}

/// Packets that were sent before the first that arrived of their flow, in one sentence.
fn before_first_note(receive: &ReceiveReport) -> Option<String> {
    let packets = receive.before_first.filter(|packets| *packets > 0)?;
    // A late one may have come from before the first.
    let at_most = if receive.counters.out_of_order > 0 { "at most " } else { "" };
    Some(format!(
        "{at_most}{packets} packets of the received flows were sent before the first that arrived of their flow, and did not arrive: this receiver began \
         late, or they were lost; they do not count as lost"
    ))
}

/// Packets of several trials in one receiver's counts, in one sentence.
fn several_trials_note(stale: u64) -> String {
    let between = match stale {
        0 => String::new(),
        _ => format!(
            "; {stale} packets of a trial came after the first of the next one, and count as stale only"
        ),
    };
    format!("packets of more than one trial arrived, and the counts are of all of them together{between}")
}

/// Packets without a UDP checksum, in one sentence.
fn unchecked_note(receive: &ReceiveReport) -> Option<String> {
    let packets = receive.counters.without_checksum;
    (packets > 0).then(|| {
        format!(
            "{packets} packets came with UDP checksum 0, which means none (RFC 768); they count as received, and damage to them cannot be detected"
        )
    })
}

/// A reflector's report: frames received and sent back. Frames that the port did not accept are `unsent`.
pub(super) fn reflect_report(
    reflected: &[ReflectOutcome],
    frames_per_queue: Vec<u64>,
    tick_hz: u64,
) -> (TransmitReport, ReceiveReport) {
    let outcomes = || reflected.iter();
    let duration_s =
        longest(outcomes().map(|outcome| (outcome.began, outcome.ended))) / tick_hz.max(1) as f64;
    let sent: TransmitCounters = outcomes().map(|outcome| outcome.sent).sum();
    let transmit = TransmitReport {
        counters: sent,
        offered_pps: if duration_s > 0.0 { sent.packets as f64 / duration_s } else { 0.0 },
        duration_s,
        unsent_packets: outcomes().map(|outcome| outcome.dropped).sum(),
        packets_per_lcore: outcomes().map(|outcome| outcome.sent.packets).collect(),
        ..TransmitReport::default()
    };
    let mut foreign = ForeignFrames::default();
    outcomes().for_each(|outcome| foreign += outcome.foreign);
    let receive = ReceiveReport {
        counters: outcomes().map(|outcome| outcome.received).sum(),
        packets_per_lcore: outcomes().map(|outcome| outcome.received.packets).collect(),
        frames_per_queue,
        foreign,
        ..ReceiveReport::default()
    };
    (transmit, receive)
}

/// Note on the distribution of frames over several receive queues, when it is remarkable.
pub(super) fn spread_note(queues: usize, spread: Spread) -> Option<String> {
    if queues < 2 {
        return None;
    }
    match spread {
        Spread { ip: false, udp: false, tcp: false } => Some(format!(
            "{queues} RX queues, and the port has no RSS: how frames spread over them is up to its driver"
        )),
        Spread { udp: false, .. } => Some(format!(
            "{queues} RX queues, and the port's RSS looks at addresses only: flows that differ in ports alone share a queue"
        )),
        _ => None,
    }
}

/// Differences between the port's counters and Linerate's, each in one sentence. `own` are the number and
/// bytes of frames sent besides test traffic.
pub(super) fn disagreements(report: &PortReport, own: (u64, u64)) -> Vec<String> {
    let Some(port) = &report.detail.port else { return Vec::new() };
    let sent = report.detail.transmit.as_ref().map(|transmit| {
        let ours = &transmit.counters;
        [
            ("packets sent", ours.packets + own.0, port.tx_packets),
            ("bytes sent", ours.bytes + own.1, port.tx_bytes),
        ]
    });
    let received = report.detail.receive.as_ref().map(|receive| {
        let ours = &receive.counters;
        [("packets received", ours.frames, port.rx_packets), ("bytes received", ours.bytes, port.rx_bytes)]
    });
    sent.into_iter().chain(received).flat_map(differences).collect()
}

fn differences([packets, bytes]: [(&str, u64, u64); 2]) -> Vec<String> {
    let (_, ours, theirs) = bytes;
    // Some ports count the check sequence, some do not, and some count no bytes; all of these are correct.
    let bytes_differ_by_habit = theirs == ours + 4 * packets.1 || theirs == 0;
    [(packets, false), (bytes, bytes_differ_by_habit)]
        .into_iter()
        .filter(|((_, ours, theirs), by_habit)| ours != theirs && !by_habit)
        .map(|((what, ours, theirs), _)| format!("{what}: counted {ours}, the port says {theirs}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use linerate_wire::counters::PortCounters;
    use linerate_wire::report::{Ended, Part};
    use linerate_wire::time::{Throttling, WorkerTime};

    use super::*;

    fn report(port: Option<PortCounters>) -> PortReport {
        let counters = TransmitCounters { packets: 10, bytes: 600, ..TransmitCounters::default() };
        let outcome = TransmitOutcome { counters, began: 1_000, ended: 3_000, ..TransmitOutcome::default() };
        let intended_pps = Some(20.0);
        let transmit = transmit_report(&[outcome.clone(), outcome], intended_pps, &Planned::default(), 1_000);
        let frames = FrameReport { transmit: Some(transmit), port, ..FrameReport::new(Part::Tx) };
        Report::new(1, Ended::Duration, 0, frames)
    }

    #[test]
    fn a_load_is_missed_by_more_than_each_workers_burst() {
        // (burst, packets of each lcore, intended packets per second in 0.1 s, missed)
        let rows: &[(u32, &[u64], f64, bool)] = &[
            (1, &[6, 6, 6, 6], 200.0, false),
            (1, &[7, 6, 6, 6], 200.0, true),
            (32, &[32, 32, 32, 32], 1_000.0, false),
            (1, &[128], 1_000.0, true),
            (64, &[64], 10.0, false),
        ];
        for (burst, packets, intended_pps, missed) in rows {
            let sent: u64 = packets.iter().sum();
            let transmit = TransmitReport {
                intended_pps: Some(*intended_pps),
                offered_pps: sent as f64 / 0.1,
                duration_s: 0.1,
                packets_per_lcore: packets.to_vec(),
                burst: *burst,
                ..TransmitReport::default()
            };
            assert_eq!(transmit.missed_intended(), *missed, "{burst} {packets:?} {intended_pps}");
            let mut report = report(None);
            report.detail.transmit = Some(transmit);
            assert_eq!(missed_load(&report).is_some(), *missed);
        }
    }

    #[test]
    fn a_missed_load_names_the_cpu_that_was_lacking() {
        let mut report = report(None);
        report.detail.transmit = Some(TransmitReport {
            intended_pps: Some(1000.0),
            offered_pps: 500.0,
            duration_s: 1.0,
            packets_per_lcore: vec![250, 250],
            ..TransmitReport::default()
        });
        let worker = |lcore, waited_s| WorkerTime {
            lcore,
            cpu: Some(7),
            elapsed_s: 1.0,
            waited_s: Some(waited_s),
            ..WorkerTime::default()
        };
        report.workers = vec![worker(1, 0.1), worker(2, 0.4), worker(3, 0.9)];
        report.throttling = Some(Throttling { quota_cpus: Some(0.5), periods: 4, stopped_s: 0.2 });
        let mut note = missed_load(&report).unwrap();
        assert!(!note.contains("the port"), "{note}");
        for part in
            ["500 of 1000", "lcore 2 waited for CPU 7 40.0 %", "quota of 0.50 CPUs stopped it for 0.200 s"]
        {
            assert!(note.contains(part), "{note}");
        }
        report.detail.transmit.as_mut().unwrap().blocked_s = 0.4;
        note = missed_load(&report).unwrap();
        let part = "the port held packets back 40.0 % of the time (0.400 of 1.000 s); lcore 2 waited";
        assert!(note.contains(part), "{note}");
    }

    #[test]
    fn workers_add_up() {
        let transmit = report(None).detail.transmit.unwrap();
        assert_eq!((transmit.counters.packets, transmit.duration_s, transmit.offered_pps), (20, 2.0, 10.0));
    }

    #[test]
    fn a_trial_lasts_as_long_as_its_longest_lcore_sends() {
        let outcome = |began, ended, packets| TransmitOutcome {
            counters: TransmitCounters { packets, ..TransmitCounters::default() },
            began,
            ended,
            ..TransmitOutcome::default()
        };
        // The second lcore started half a second later.
        let outcomes = [outcome(1_000, 2_000, 500), outcome(1_500, 2_500, 500)];
        let report = transmit_report(&outcomes, Some(1_000.0), &Planned::default(), 1_000);
        assert_eq!((report.duration_s, report.offered_pps, report.missed_intended()), (1.0, 1_000.0, false));
        let reflected = |began, ended| ReflectOutcome { began, ended, ..ReflectOutcome::default() };
        let (transmit, _) =
            reflect_report(&[reflected(0, 4_000), reflected(3_000, 5_000)], Vec::new(), 1_000);
        assert_eq!(transmit.duration_s, 4.0);
    }

    #[test]
    fn a_disagreement_is_named_with_both_numbers() {
        let port =
            |tx_packets, tx_bytes| Some(PortCounters { tx_packets, tx_bytes, ..PortCounters::default() });
        assert!(disagreements(&report(port(20, 1200)), (0, 0)).is_empty());
        assert!(disagreements(&report(port(20, 1280)), (0, 0)).is_empty(), "with check sequence");
        assert!(disagreements(&report(port(20, 0)), (0, 0)).is_empty(), "a port that counts packets only");
        assert!(disagreements(&report(port(22, 1320)), (2, 120)).is_empty(), "with frames of its own");
        assert_eq!(
            disagreements(&report(port(19, 1200)), (0, 0)),
            ["packets sent: counted 20, the port says 19"]
        );
    }
}
