//! Results and plans as tables.

use std::path::Path;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::plan::PlanView;
use crate::profile::headers::HeaderRow;
use crate::profile::library::Entry;
use crate::store::Listed;
use crate::summary::Summary;

/// A table whose columns are aligned right where they hold `numbers`.
fn table(columns: &[&str], numbers: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(rule)).set_header(columns.iter().copied());
    for index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number of things, in words.
fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn mpps(pps: f64) -> String {
    format!("{:.6}", pps / 1e6)
}

fn microseconds(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e3)
}

/// Trials and failures of an experiment.
pub(super) fn trials(summary: &Summary) -> String {
    let columns = [
        "profile",
        "pair",
        "size",
        "flows",
        "intended",
        "offered",
        "received Mpps",
        "lost",
        "p50 µs",
        "p99 µs",
        "verdict",
    ];
    let mut table = table(&columns, 2..10);
    for trial in &summary.trials {
        let latency = |figure: fn(&linerate_protocol::report::LatencySummary) -> u64| {
            trial.latency_ns.as_ref().map_or("-".to_owned(), |latency| microseconds(figure(latency)))
        };
        table.add_row([
            trial.profile.clone(),
            trial.pair.clone(),
            trial.frame_size.to_string(),
            trial.flows.to_string(),
            trial.intended_pps.map_or("max".to_owned(), mpps),
            mpps(trial.offered_pps),
            mpps(trial.received_pps),
            trial.lost_packets.to_string(),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            trial.verdict.kind.to_string(),
        ]);
    }
    let mut text = if summary.trials.is_empty() { String::new() } else { format!("{}\n", table.trim_fmt()) };
    for failure in &summary.failures {
        text.push_str(&format!("not finished: {} {}: {}\n", failure.profile, failure.pair, failure.reason));
    }
    text.push_str(&closing_line(summary));
    text
}

fn closing_line(summary: &Summary) -> String {
    let overhead = &summary.overhead;
    format!(
        "{}: {} of {} on {}; overhead {:.2} s (start-up {:.2}, warm-up {:.2}, trials {:.2}, tear-down {:.2})",
        summary.status,
        count(summary.trials.len(), "result"),
        count(summary.experiment.planned_trials, "planned trial"),
        count(summary.experiment.pairs, "pair"),
        overhead.total_s,
        overhead.start_up_s,
        overhead.warm_up_s,
        overhead.trials_s,
        overhead.tear_down_s,
    )
}

/// The trials of a plan.
pub(super) fn plan(view: &PlanView) -> String {
    let mut table = table(&["#", "profile", "size", "flows", "rate", "repeat", "seconds"], 2..7);
    for (index, trial) in view.trials.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            trial.profile.clone(),
            trial.frame_size.to_string(),
            trial.flows.to_string(),
            trial.rate.to_string(),
            trial.repeat.to_string(),
            trial.duration_s.map_or("?".to_owned(), |seconds| format!("{seconds:.3}")),
        ]);
    }
    let estimate =
        view.estimated_s.map_or("not known before".to_owned(), |seconds| format!("about {seconds:.0} s"));
    format!(
        "{}\n{}: {} on {}; total time {estimate}",
        table.trim_fmt(),
        view.experiment,
        count(view.trials.len(), "trial"),
        count(view.pairs, "pair")
    )
}

/// The experiments of a results directory.
pub(super) fn experiments(listed: &[Listed]) -> String {
    let mut table = table(&["id", "started", "name", "platform", "results", "trials", "status"], 4..6);
    for (id, loaded) in listed {
        let row = match loaded {
            Ok(Summary { experiment, status, trials, .. }) => [
                id.clone(),
                experiment.started_at.clone(),
                experiment.name.clone(),
                experiment.platform.clone(),
                trials.len().to_string(),
                experiment.planned_trials.to_string(),
                status.to_string(),
            ],
            Err(error) => {
                let mut row = [const { String::new() }; 7];
                row[0].clone_from(id);
                row[6] = error.to_string();
                row
            }
        };
        table.add_row(row);
    }
    table.trim_fmt()
}

/// The profiles of a directory.
pub(super) fn profiles(directory: &Path, entries: &[Entry]) -> String {
    let mut table = table(&["name", "size", "flows", "varied", "rate", "file"], 1..3);
    for (file, loaded) in entries {
        let file = file.strip_prefix(directory).unwrap_or(file).display().to_string();
        table.add_row(match loaded {
            Ok(loaded) => {
                let profile = &loaded.profile;
                let varied: Vec<&str> = profile.sweeps().iter().map(|sweep| sweep.field.name()).collect();
                [
                    profile.name(),
                    profile.frame_sizes().label(),
                    profile.flows().to_string(),
                    varied.join(" "),
                    profile.raw().rate.map_or("staged".to_owned(), |rate| rate.to_string()),
                    file,
                ]
            }
            Err(error) => {
                let mut row = [const { String::new() }; 6];
                row[0] = error.to_string().lines().next().unwrap_or_default().to_owned();
                row[5] = file;
                row
            }
        });
    }
    table.trim_fmt()
}

/// The headers of a profile's flows.
pub(super) fn headers(rows: &[HeaderRow], flows: u32) -> String {
    let last = format!("flow {}", flows - 1);
    let mut table = table(&["field", "flow 0", &last, "varies"], 0..0);
    for row in rows {
        let varies = row.varies.clone().unwrap_or_default();
        table.add_row([row.field.clone(), row.first.clone(), row.last.clone(), varies]);
    }
    table.trim_fmt()
}
