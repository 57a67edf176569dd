//! Plans and results of streams as tables.

use linerate_experiment::streams::StreamsView;
use linerate_results::streams::{BoundedDelay, Spread, StreamsTrialSummary};
use linerate_results::summary::Summary;
use linerate_wire::streams::{Protocol, bit_rate};

use crate::cli::grid::Grid;
use crate::cli::table::{count, recoveries};
use crate::cli::words::microseconds;

/// Mark before a number that tells of a fault.
const MARK: &str = "! ";

/// The trials of a plan.
pub(in crate::cli) fn plan(view: &StreamsView, width: Option<usize>) -> String {
    let columns = ["#", "profile", "transport", "streams", "rate", "message", "repeat", "seconds"];
    let mut table = Grid::new(&columns, 3..8).names(&[1]).expendable(&[5, 3, 2]);
    for (index, trial) in view.trials.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            trial.profile.clone(),
            trial.transport.to_string(),
            trial.parallel.to_string(),
            trial.rate.clone(),
            trial.message_bytes.to_string(),
            trial.repeat.to_string(),
            trial.duration_s.map_or("endless".to_owned(), |seconds| format!("{seconds:.3}")),
        ]);
    }
    let estimate =
        view.estimated_s.map_or("without end".to_owned(), |seconds| format!("about {seconds:.0} s"));
    let interfaces = match view.interfaces.len() {
        0 => String::new(),
        _ => format!(" over {}", view.interfaces.join(", ")),
    };
    format!(
        "{}\n{}: {} of {} between {} ({}{interfaces}); total time {estimate}",
        table.render(width),
        view.experiment,
        count(view.trials.len(), "trial"),
        count(view.connections, "connection"),
        count(view.agents, "agent"),
        view.topology,
    )
}

/// Trials and failures of an experiment, on a terminal of that `width`.
pub(in crate::cli) fn trials(summary: &Summary, width: Option<usize>) -> String {
    let columns = [
        "profile",
        "repeat",
        "alive",
        "intended",
        "offered",
        "received",
        "slowest",
        "lost",
        "retransmits",
        "RTT µs",
        "p99 µs",
        "CPU s/Gbit",
        "verdict",
    ];
    let mut table = Grid::new(&columns, 1..12).names(&[0]).expendable(&[1, 6, 10, 3, 9]);
    let rate = |bps: Option<f64>| bps.map_or("-".to_owned(), bit_rate);
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    for trial in &summary.streams {
        let silent = if trial.connections_alive < trial.connections { MARK } else { "" };
        table.add_row([
            format!("{}{}", if trial.complete { "" } else { MARK }, trial.profile),
            trial.repeat.to_string(),
            format!("{silent}{}/{}", trial.connections_alive, trial.connections),
            trial.intended_bps.map_or("max".to_owned(), bit_rate),
            rate(trial.offered_bps),
            rate(trial.received_bps),
            rate(trial.connection_received_bps.map(|spread| spread.min)),
            number(trial.lost_datagrams),
            number(trial.retransmits),
            mean(trial.rtt_us),
            trial.delay_ns.map_or("-".to_owned(), |delay| microseconds(delay.p99 as f64)),
            trial.cpu_s_per_gbit.map_or("-".to_owned(), |seconds| format!("{seconds:.3}")),
            trial.verdict.kind.to_string(),
        ]);
    }
    let mut text = String::new();
    if !summary.streams.is_empty() {
        text.push_str(&format!("{}\n", table.render(width)));
    }
    for trial in &summary.streams {
        remarks(trial, &mut text);
    }
    for failure in &summary.failures {
        text.push_str(&format!("not finished: {}: {}\n", failure.profile, failure.reason));
    }
    text.push_str(&recoveries(summary));
    let info = &summary.experiment;
    text.push_str(&format!("{} {}: {}", info.id, info.name, summary.status));
    text
}

/// What a reader must know of a trial.
fn remarks(trial: &StreamsTrialSummary, text: &mut String) {
    let name = match trial.repeat {
        1 => trial.profile.clone(),
        repeat => format!("{} repeat {repeat}", trial.profile),
    };
    for lost in &trial.lost_agents {
        text.push_str(&format!("{MARK}{name}: {} took no part to the end: {}\n", lost.agent, lost.reason));
    }
    let silent = trial.connections.saturating_sub(trial.connections_alive);
    if silent > 0 {
        let named = trial.silent_connections.join(", ");
        let more = silent as usize - trial.silent_connections.len().min(silent as usize);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!(
            "{MARK}{name}: {} silent: {named}{more}\n",
            count(silent as usize, "connection")
        ));
    }
    if !trial.complete {
        for reason in trial.reasons.iter().take(3) {
            text.push_str(&format!("{MARK}{name}: {reason}\n"));
        }
    }
    if let Some(BoundedDelay { delay, uncertainty_ns }) = &trial.bounded_delay_ns {
        text.push_str(&format!(
            "{name}: delay between two clocks: median {}, 99 % within {} µs, each ±{} µs\n",
            microseconds(delay.p50 as f64),
            microseconds(delay.p99 as f64),
            microseconds(*uncertainty_ns as f64)
        ));
    }
    text.push_str(&format!("{name}: {}; {}\n", account(trial), trial.verdict.evidence));
}

/// The account of a trial in words.
fn account(trial: &StreamsTrialSummary) -> String {
    let known = |value: Option<u64>| value.map_or("unknown".to_owned(), |value| value.to_string());
    match trial.transport {
        Protocol::Tcp if trial.complete && trial.acked_bytes.is_some() => {
            format!("{} bytes written = acknowledged = received", known(trial.written_bytes))
        }
        Protocol::Tcp => format!(
            "{} bytes written, {} acknowledged, {} received",
            known(trial.written_bytes),
            known(trial.acked_bytes),
            known(trial.received_bytes)
        ),
        Protocol::Udp => format!(
            "{} datagrams sent = {} received + {} lost",
            known(trial.sent_datagrams),
            known(trial.received_datagrams),
            known(trial.lost_datagrams)
        ),
    }
}

fn mean(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{:.1}", spread.mean))
}
