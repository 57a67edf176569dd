//! Heat maps of a mesh: a map for each figure and interface.

use std::collections::BTreeMap;

use linerate_results::streams::{
    CONNECTION_FIGURES, ConnectionSummary, Figure, Spread, StreamsTrialSummary, StreamsUnit,
};

use super::super::super::heat_map::{HeatMap, STEPS, Sides, Spot};
use super::super::super::model::Block;
use super::super::super::number::count;
use crate::streams::StreamsDetail;
use crate::streams::number::{brief, heading, of_unit, unit};

type Connection = ConnectionSummary;

/// Shares of the intended or largest rate from which a cell has the next step.
const RATES: [f64; STEPS - 1] = [0.5, 0.8, 0.9, 0.95, 0.99];
/// Shares of losses below which a cell has the next step; the last step is none at all.
const LOSSES: [f64; STEPS - 1] = [0.1, 0.01, 0.001, 0.0001, 0.0];
/// Multiples of the median below which a cell has the next step.
const TIMES: [f64; STEPS - 1] = [10.0, 5.0, 2.0, 1.5, 1.1];

pub(super) fn blocks(trial: &StreamsTrialSummary, detail: &StreamsDetail) -> Vec<Block> {
    let all = &detail.connections;
    let (senders, receivers) = (names(all, |one| &one.from), names(all, |one| &one.to));
    // A table shows pairs and stars better.
    if senders.len() < 2 || receivers.len() < 2 || all.len() <= senders.len().max(receivers.len()) {
        return Vec::new();
    }
    let mut interfaces: Vec<Option<&String>> = Vec::new();
    for one in all {
        if !interfaces.contains(&one.interface.as_ref()) {
            interfaces.push(one.interface.as_ref());
        }
    }
    let figures = CONNECTION_FIGURES.iter().filter(|figure| figure.is_matrix);
    let figures = figures.filter(|figure| all.iter().any(|one| (figure.of)(one).is_some()));
    let maps = figures.flat_map(|figure| {
        let scale = Scale::of(figure, trial, all);
        let map = |interface: &Option<&String>| map(figure, &scale, all, *interface, interfaces.len() > 1);
        interfaces.iter().map(map).collect::<Vec<_>>()
    });
    vec![Block::Maps(maps.collect())]
}

/// Names of agents, in the order of their connections.
fn names(all: &[Connection], end: fn(&Connection) -> &String) -> Vec<&String> {
    let mut seen = std::collections::HashSet::new();
    all.iter().map(end).filter(|name| seen.insert(*name)).collect()
}

fn map(
    figure: &Figure<Connection>,
    scale: &Scale,
    all: &[Connection],
    interface: Option<&String>,
    several: bool,
) -> HeatMap {
    let rows = names(all, |one| &one.from);
    let mut columns = rows.clone();
    columns.extend(names(all, |one| &one.to).into_iter().filter(|name| !rows.contains(name)));
    columns.retain(|name| all.iter().any(|one| one.to == **name));
    let place = |names: &[&String]| -> BTreeMap<String, usize> {
        names.iter().zip(0..).map(|(name, at)| ((*name).clone(), at)).collect()
    };
    let (row_of, column_of) = (place(&rows), place(&columns));
    let mut values: Vec<Vec<Option<Option<f64>>>> = vec![vec![None; columns.len()]; rows.len()];
    for one in all.iter().filter(|one| one.interface.as_ref() == interface) {
        if let (Some(row), Some(column)) = (row_of.get(&one.from), column_of.get(&one.to)) {
            values[*row][*column] = Some((figure.of)(one));
        }
    }
    let cells =
        values.iter().map(|row| row.iter().map(|value| value.map(|value| scale.spot(value))).collect());
    let known: Vec<f64> = values.iter().flatten().filter_map(|value| value.flatten()).collect();
    let unknown = values.iter().flatten().filter(|value| **value == Some(None)).count();
    let over = match interface.filter(|_| several) {
        Some(interface) => format!(" over {interface}"),
        None => String::new(),
    };
    HeatMap {
        title: format!("{}{over}", capitalised(&heading(figure))),
        summary: summary(figure, &known, unknown),
        sides: Sides::CONNECTIONS,
        rows: rows.into_iter().cloned().collect(),
        columns: columns.into_iter().cloned().collect(),
        cells: cells.collect(),
        legend: scale.legend(known.iter().copied()),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

fn summary(figure: &Figure<Connection>, known: &[f64], unknown: usize) -> String {
    let mut text = match Spread::of(known.iter().copied()) {
        None => "No value is known".to_owned(),
        Some(Spread { min, p50, max, .. }) => {
            let show = |value| of_unit(figure.unit, value);
            format!(
                "{}: least {}, median {}, most {} {} of {}",
                figure.help,
                show(min),
                show(p50),
                show(max),
                unit(figure.unit),
                count(known.len() as u64),
            )
            .replace("  ", " ")
                + " connections"
        }
    };
    if unknown > 0 {
        text.push_str(&format!("; ? marks {} whose value is not known", count(unknown as u64)));
    }
    text.push('.');
    text
}

/// How values become steps; one scale for all maps of a figure, so that interfaces can be compared.
struct Scale {
    unit: StreamsUnit,
    bounds: [f64; STEPS - 1],
    more_is_better: bool,
    /// What the bounds are multiples of, in words; empty for bounds of their own.
    of: String,
    factors: [f64; STEPS - 1],
}

impl Scale {
    fn of(figure: &Figure<Connection>, trial: &StreamsTrialSummary, all: &[Connection]) -> Self {
        let spread = Spread::of(all.iter().filter_map(figure.of)).unwrap_or_default();
        let more_is_better = figure.more_is_better == Some(true);
        let (factors, reference, of) = match (figure.unit, more_is_better) {
            (StreamsUnit::Share, _) => (LOSSES, 1.0, String::new()),
            (_, true) => {
                let intended = trial.intended_bps.map(|all| all / f64::from(trial.connections.max(1)));
                let what = if intended.is_some() { "the intended" } else { "the fastest" };
                let reference = intended.unwrap_or(spread.max);
                (
                    RATES,
                    reference,
                    format!("{what} {} {}", of_unit(figure.unit, reference), unit(figure.unit)),
                )
            }
            (_, false) => {
                let what = format!("the median {} {}", of_unit(figure.unit, spread.p50), unit(figure.unit));
                (TIMES, spread.p50, what)
            }
        };
        Self { unit: figure.unit, bounds: factors.map(|one| one * reference), more_is_better, of, factors }
    }

    fn step(&self, value: f64) -> usize {
        let passed = |bound: &&f64| match (self.more_is_better, self.unit) {
            (true, _) => value >= **bound,
            (false, StreamsUnit::Share) if **bound == 0.0 => value <= 0.0,
            (false, _) => value < **bound,
        };
        if !self.more_is_better && value <= 0.0 {
            return STEPS - 1;
        }
        self.bounds.iter().take_while(passed).count()
    }

    fn spot(&self, value: Option<f64>) -> Spot {
        match value {
            None => Spot { text: "?".to_owned(), step: None },
            Some(value) => Spot { text: brief(self.unit, value), step: Some(self.step(value)) },
        }
    }

    /// The meaning of the steps that occur.
    fn legend(&self, values: impl Iterator<Item = f64>) -> Vec<(usize, String)> {
        let mut steps: Vec<usize> = values.map(|value| self.step(value)).collect();
        steps.sort_unstable();
        steps.dedup();
        steps.into_iter().map(|step| (step, self.meaning(step))).collect()
    }

    fn meaning(&self, step: usize) -> String {
        let percent = |at: usize| of_unit(StreamsUnit::Share, self.factors[at]);
        let percent = |at: usize| percent(at).trim_end_matches('0').trim_end_matches('.').to_owned();
        match (self.unit, self.more_is_better) {
            (StreamsUnit::Share, _) if step == STEPS - 1 => "none".to_owned(),
            (StreamsUnit::Share, _) if step == 0 => format!("{} % and more", percent(0)),
            (StreamsUnit::Share, _) if step == STEPS - 2 => format!("below {} %", percent(step - 1)),
            (StreamsUnit::Share, _) => format!("{} to below {} %", percent(step), percent(step - 1)),
            (_, true) if step == 0 => format!("below {} % of {}", percent(0), self.of),
            (_, true) if step == STEPS - 1 => format!("{} % and more of {}", percent(step - 1), self.of),
            (_, true) => format!("{} to below {} %", percent(step - 1), percent(step)),
            (_, false) if step == 0 => format!("{} times {} and more", self.factors[0], self.of),
            (_, false) if step == STEPS - 1 => format!("below {} times {}", self.factors[step - 1], self.of),
            (_, false) => format!("{} to below {} times", self.factors[step], self.factors[step - 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::streams::mesh;
    use linerate_wire::streams::Protocol;

    fn scale(name: &str, protocol: Protocol) -> Scale {
        let record = mesh(protocol, 3, &["net0"]).record;
        let figure = CONNECTION_FIGURES.iter().find(|figure| figure.name == name).unwrap();
        Scale::of(figure, record.result.as_ref().unwrap(), &record.connections)
    }

    #[test]
    fn steps_go_from_the_worst_to_the_best() {
        let loss = scale("lost_ratio", Protocol::Udp);
        let steps = [1.0, 0.1, 0.05, 0.005, 0.0005, 0.00005, 0.0].map(|share| loss.step(share));
        assert_eq!(steps, [0, 0, 1, 2, 3, 4, 5]);
        let rate = scale("received_bps", Protocol::Tcp);
        assert_eq!([0.0, 2.5e8, 4.6e8, 4.99e8].map(|bps| rate.step(bps)), [0, 1, 3, 5]);
        let time = scale("rtt_us", Protocol::Tcp);
        assert_eq!([0.0, 250.0, 300.0, 600.0, 2500.0].map(|us| time.step(us)), [5, 5, 4, 2, 0]);
        assert_eq!(time.meaning(5), "below 1.1 times the median 250 µs");
        assert_eq!(rate.meaning(0), "below 50 % of the intended 500 Mbit/s");
        assert_eq!(
            (loss.meaning(0).as_str(), loss.meaning(2).as_str()),
            ("10 % and more", "0.1 to below 1 %")
        );
    }
}
