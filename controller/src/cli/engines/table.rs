//! Plans and results of engines as tables.

use linerate_experiment::Experiment;
use linerate_experiment::engines::EnginesPlan;
use linerate_results::engines::{EngineRow, comparison, rows};
use linerate_results::summary::Summary;

use crate::cli::grid::Grid;
use crate::cli::table::{closing_line, count, recoveries};
use crate::cli::words::mpps;

/// The trials of a plan.
pub(in crate::cli) fn plan(experiment: &Experiment, plan: &EnginesPlan, width: Option<usize>) -> String {
    let columns = ["#", "trial", "repeat", "seconds"];
    let mut table = Grid::new(&columns, 2..4).names(&[1]).expendable(&[2]);
    let frames = plan.frames().map(|trial| (trial.name.clone(), trial.repeat, trial.expected_duration));
    let datagrams =
        plan.datagrams().map(|trial| (trial.profile.name.clone(), trial.repeat, trial.duration()));
    let mut total_s = Some(0.0);
    for (index, (name, repeat, duration)) in frames.chain(datagrams).enumerate() {
        total_s = total_s.zip(duration).map(|(total, duration)| total + duration.as_secs_f64());
        table.add_row([
            (index + 1).to_string(),
            name,
            repeat.to_string(),
            duration.map_or("?".to_owned(), |duration| format!("{:.3}", duration.as_secs_f64())),
        ]);
    }
    let sending = total_s.map_or("not known before".to_owned(), |total| format!("{total:.0} s"));
    format!(
        "{}\n{}: {} of {}; time of sending {sending}",
        table.render(width),
        experiment.name(),
        count(plan.count(), "trial"),
        count(plan.parts.len(), "engine"),
    )
}

/// Trials of all engines, what the kernel's path costs, and failures, on a terminal of that `width`.
pub(in crate::cli) fn trials(summary: &Summary, width: Option<usize>) -> String {
    let rows = rows(summary);
    let columns = [
        "engine",
        "size",
        "flows",
        "cores",
        "intended",
        "offered",
        "received Mpps",
        "sent",
        "received",
        "lost",
        "agents CPU s/M",
        "softirq CPU s/M",
        "verdict",
        "lost in",
    ];
    let mut table = Grid::new(&columns, 1..12).names(&[12, 13]).expendable(&[13, 2, 5, 3, 8, 7]);
    for row in &rows {
        table.add_row(cells(row));
    }
    let mut text: String = comparison(&rows).iter().map(|sentence| format!("{sentence}\n")).collect();
    text.push_str(&format!("{}\n", table.render(width)));
    for failure in &summary.failures {
        text.push_str(&format!("not finished: {}: {}\n", failure.profile, failure.reason));
    }
    text.push_str(&recoveries(summary));
    text.push_str(&closing_line(summary));
    text
}

fn cells(row: &EngineRow<'_>) -> [String; 14] {
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let rate = |value: Option<f64>| value.map_or("-".to_owned(), mpps);
    let per_million = |seconds: Option<f64>| {
        row.per_million(seconds).map_or("-".to_owned(), |seconds| format!("{seconds:.2}"))
    };
    let places: Vec<String> =
        row.figures.losses.iter().map(|part| format!("{} {}", part.packets, part.place.words())).collect();
    [
        row.name(),
        row.frame_size().label(),
        row.flows.to_string(),
        row.cores(),
        row.intended_pps.map_or("max".to_owned(), mpps),
        rate(row.offered_pps),
        rate(row.received_pps),
        number(row.sent),
        number(row.received),
        number(row.lost),
        per_million(row.figures.agents_cpu_s),
        per_million(row.figures.softirq_cpu_s),
        row.limit.to_string(),
        places.join(", "),
    ]
}
