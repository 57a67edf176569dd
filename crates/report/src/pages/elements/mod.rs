//! Elements of a report, one file each: an element turns data of the store into a section.

mod closely;
mod delay;
mod engines;
mod environment;
mod figure_repeats;
mod flows;
mod host;
mod host_settings;
mod http;
mod loss;
mod losses_over_time;
mod machines;
mod matrix;
mod node_view;
mod nodes;
mod queues;
mod queues_over_time;
mod rates;
mod recoveries;
mod remarks;
mod repeats;
mod round_trips;
mod searches;
mod streams;
mod throughput;
mod topology;
mod trials;
mod verdicts;

use super::model::{Block, Fact, Report, Section};
use super::source::{Source, Trial};

/// An element of the report; `None` when the experiment has no data for it.
type Element = fn(&Source) -> Option<Section>;
/// An element of a trial's details.
type Part = fn(&Source, &Trial<'_>) -> Vec<Block>;

/// The elements, in the order of the report.
const ELEMENTS: &[Element] = &[
    engines::section,
    streams::section,
    http::section,
    host_settings::section,
    searches::section,
    verdicts::section,
    recoveries::section,
    topology::section,
    trials::section,
    repeats::section,
    round_trips::section,
    matrix::section,
    nodes::section,
    throughput::section,
    loss::section,
    delay::section,
    closely::section,
    host::section,
    node_view::section,
    environment::section,
];

/// The elements of a trial's details, in order.
const PARTS: &[Part] = &[
    remarks::blocks,
    rates::blocks,
    losses_over_time::blocks,
    delay::blocks,
    queues_over_time::blocks,
    queues::blocks,
    flows::blocks,
];

/// The report of an experiment.
pub(super) fn report(source: &Source) -> Report {
    let experiment = &source.summary.experiment;
    let mut facts = vec![
        Fact::new("experiment", &experiment.id),
        Fact::new("started", &experiment.started_at),
        Fact::new("ended", experiment.ended_at.as_deref().unwrap_or("-")),
        Fact::new("status", source.summary.status.to_string()),
        Fact::new("platform", &experiment.platform),
        Fact::new("linerate", &experiment.versions.linerate),
    ];
    facts.extend(experiment.versions.dpdk.iter().map(|dpdk| Fact::new("data plane", dpdk)));
    facts.extend(experiment.filter.iter().map(|filter| Fact::new("only profiles with", filter)));
    Report {
        title: experiment.name.clone(),
        facts,
        sections: ELEMENTS.iter().filter_map(|element| element(source)).collect(),
    }
}
