//! The trials of one search.

use linerate_experiment::search::SearchPurpose;
use linerate_results::search::SearchedTrial;
use linerate_results::summary::SearchSummary;
use linerate_search::Goal;

use linerate_search::classify::{LoadClass, classify};

use super::super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::super::number::{count, percent_of, short};
use crate::search::label;

pub(super) fn blocks(search: &SearchSummary, trials: &[SearchedTrial<'_>]) -> Vec<Block> {
    if trials.is_empty() {
        return vec![Block::Text("No trial of this search has a result.".to_owned())];
    }
    let mut known = search.no_trials();
    let is_evidence: Vec<bool> =
        trials.iter().map(|trial| trial.is_counted() && known.add(trial.measurement)).collect();
    let mut columns = vec![
        Column::numbers("ordinal", "trial"),
        Column::words("purpose", "for"),
        Column::numbers("load_pps", "load pps"),
        Column::numbers("intended_duration_s", "s"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("loss", "loss %"),
        Column::numbers("unsent_packets", "not sent"),
        Column::words("limit", "limit of the tester"),
    ];
    columns.extend(search.goals.iter().map(|one| Column::words(&one.goal.name, label(&one.goal))));
    let rows = trials.iter().zip(is_evidence).map(|(trial, is_evidence)| {
        let measured = &trial.measurement;
        let loss = measured.path_loss();
        let tone = |lost: u64| if lost > 0 { Tone::Bad } else { Tone::Neutral };
        let short_of_load = if measured.unsent > 0 { Tone::Warning } else { Tone::Neutral };
        let mut cells: Vec<Cell> = vec![
            trial.place.ordinal.to_string().into(),
            purpose(trial.place.purpose).into(),
            load(trial).into(),
            short(measured.duration_ns as f64 / 1e9).into(),
            count(measured.sent).into(),
            Cell::toned(count(measured.lost), tone(measured.lost)),
            Cell::toned(percent_of(loss.lost, loss.all), tone(measured.lost.max(loss.lost))),
            Cell::toned(count(measured.unsent), short_of_load),
            measured.limit.map_or("-", |limit| limit.name()).into(),
        ];
        cells.extend(search.goals.iter().map(|one| -> Cell {
            if !trial.is_counted() {
                return "-".into();
            }
            if !is_evidence {
                let why = if measured.unsent > 0 {
                    "not offered"
                } else {
                    "lost by the tester, or too late to tell"
                };
                return format!("no evidence: {why}, repeated").into();
            }
            let goal = Goal::from(&one.goal);
            let loss = if measured.is_high_loss(goal.loss_ppb) { "high loss" } else { "low loss" };
            let class = class(classify(known.at(measured.load_pps), &goal.criterion()));
            format!("{loss}; {class}").into()
        }));
        let key = trial.paths.first().map(|path| path.trial.clone()).unwrap_or_default();
        Row { key, cells }
    });
    let rows: Vec<Row> = rows.collect();
    let caption = "Trials of the search; of each goal, the loss of the trial, and what all trials at its load make of the load".to_owned();
    vec![Block::Table(Table { caption, columns, rows })]
}

fn load(trial: &SearchedTrial<'_>) -> String {
    let as_fast_as_possible = trial.paths.iter().any(|path| path.intended_pps.is_none());
    if as_fast_as_possible { "max".to_owned() } else { count(trial.measurement.load_pps) }
}

fn purpose(purpose: SearchPurpose) -> &'static str {
    match purpose {
        SearchPurpose::Ceiling => "highest load; not counted",
        SearchPurpose::WarmUp => "warm-up; not counted",
        SearchPurpose::Search => "search",
        // These have tables of their own.
        SearchPurpose::Latency
        | SearchPurpose::LossCurve
        | SearchPurpose::BackToBack
        | SearchPurpose::Recovery
        | SearchPurpose::Service
        | SearchPurpose::Soak => "behind the search",
    }
}

fn class(class: LoadClass) -> &'static str {
    match class {
        LoadClass::Lower => "lower bound",
        LoadClass::Upper => "upper bound",
        LoadClass::Undecided => "not decided",
    }
}
