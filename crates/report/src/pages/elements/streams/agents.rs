//! The agents of an experiment of streams, and the CPU time of each in a trial.

use linerate_results::streams::{AgentCpu, StreamsAgentInfo, StreamsTrialSummary};

use super::super::super::model::{Block, Column, Row, Table};
use super::super::super::number::{percent, things};
use super::super::super::source::Source;
use crate::streams::StreamsDetail;

/// Most agents of a table of CPU time; exports have all.
const MOST_ROWS: usize = 20;

/// CPU time of the agents, those with most of it first.
pub(super) fn cpu(trial: &StreamsTrialSummary, detail: &StreamsDetail) -> Vec<Block> {
    if trial.agents.is_empty() {
        return Vec::new();
    }
    let share = |agent: &AgentCpu| (agent.elapsed_s > 0.0).then(|| agent.process_s / agent.elapsed_s);
    let mut agents: Vec<&AgentCpu> = trial.agents.iter().collect();
    agents.sort_by(|a, b| share(b).unwrap_or(0.0).total_cmp(&share(a).unwrap_or(0.0)));
    let columns = vec![
        Column::words("agent", "agent"),
        Column::numbers("process_s", "CPU s"),
        Column::numbers("cpu_share", "CPUs in use on average"),
        Column::numbers("cpu_s_per_gbit", "CPU s/Gbit sent and received"),
        Column::numbers("host_busy_share", "host busy %"),
        Column::numbers("host_interrupt_share", "host in interrupts %"),
        Column::words("throttling", "CPU quota"),
    ];
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let row = |one: &&AgentCpu| Row {
        key: one.agent.clone(),
        cells: vec![
            one.agent.clone().into(),
            number(Some(one.process_s)).into(),
            number(share(one)).into(),
            number(detail.cpu_s_per_gbit.get(&one.agent).copied()).into(),
            one.host_busy_share.map_or("-".to_owned(), percent).into(),
            one.host_interrupt_share.map_or("-".to_owned(), percent).into(),
            one.throttling.map_or("-".to_owned(), |quota| quota.to_string()).into(),
        ],
    };
    let caption = match agents.len() {
        few @ ..=MOST_ROWS => format!("CPU time of {}", things(few, "agent")),
        many => format!("CPU time of {MOST_ROWS} of {}, most first", things(many, "agent")),
    };
    vec![Block::Table(Table { caption, columns, rows: agents.iter().take(MOST_ROWS).map(row).collect() })]
}

/// The agents and where they ran.
pub(in super::super) fn blocks(source: &Source) -> Vec<Block> {
    let agents = &source.summary.experiment.streams_agents;
    if agents.is_empty() {
        return Vec::new();
    }
    let columns =
        ["agent", "node", "pod", "version", "listens", "workers", "CPUs", "congestion", "interfaces"];
    let row = |one: &StreamsAgentInfo| {
        let interfaces = one.interfaces.iter().map(|interface| {
            let mtu = interface.mtu.map_or(String::new(), |mtu| format!(", MTU {mtu}"));
            let speed = interface.speed_mbps.map_or(String::new(), |speed| format!(", {speed} Mbit/s"));
            format!("{} {}{mtu}{speed}", interface.name, interface.addresses.join(" "))
        });
        let cells = [
            one.name.clone(),
            one.node.clone(),
            one.pod.clone().unwrap_or_else(|| "-".to_owned()),
            one.version.clone(),
            one.listen.join(", "),
            one.workers.to_string(),
            one.cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
            one.congestion.clone().unwrap_or_else(|| "-".to_owned()),
            interfaces.collect::<Vec<_>>().join("; "),
        ];
        Row { key: one.name.clone(), cells: cells.into_iter().map(Into::into).collect() }
    };
    vec![Block::Table(Table {
        caption: things(agents.len(), "agent"),
        columns: columns.into_iter().map(|title| Column::words(title, title)).collect(),
        rows: agents.iter().map(row).collect(),
    })]
}
