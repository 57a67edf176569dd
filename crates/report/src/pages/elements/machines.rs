//! Machines and devices of an experiment, as recorded.

use linerate_wire::host::{HostInfo, HugepagePool};

use super::super::model::{Block, Column, Fact, Row, Table};
use super::super::number::{count, short, things};
use linerate_results::store::environment::{AgentEnvironment, Environment, NodeEnvironment};

/// Most nodes in one table: their facts are texts, which need room.
const NODES_ABREAST: usize = 4;

/// Processor, kernel and memory of every node.
pub(super) fn nodes(environment: &Environment) -> Vec<Block> {
    let mut blocks: Vec<Block> = environment.nodes.chunks(NODES_ABREAST).map(node_table).collect();
    let command_line = |node: &NodeEnvironment| {
        let line = node.host.as_ref()?.kernel_command_line.as_deref()?.trim().to_owned();
        Some(Fact::new(format!("{}: kernel command line", node.node), line))
    };
    let lines: Vec<Fact> = environment.nodes.iter().filter_map(command_line).collect();
    if !lines.is_empty() {
        blocks.push(Block::Facts(lines));
    }
    blocks
}

/// A row per fact, a column per node.
fn node_table(nodes: &[NodeEnvironment]) -> Block {
    type Field = (&'static str, fn(&HostInfo) -> Option<String>);
    let fields: [Field; 14] = [
        ("host name", |host| host.hostname.clone()),
        ("processor", |host| host.cpu_model.clone()),
        ("architecture", |host| Some(host.architecture.clone())),
        ("virtual machine", |host| host.virtual_machine.map(yes_or_no)),
        ("SMT", |host| host.smt.map(|on| if on { "on" } else { "off" }.to_owned())),
        ("NUMA nodes", |host| host.numa_nodes.clone()),
        ("CPUs online", |host| host.cpus_online.clone()),
        ("CPUs allowed", |host| host.cpus_allowed.clone()),
        ("CPUs isolated", |host| {
            host.cpus_isolated.as_ref().map(|cpus| if cpus.is_empty() { "none" } else { cpus }.to_owned())
        }),
        ("frequency governor", |host| host.governor.clone()),
        ("memory", |host| host.memory_kib.map(|kib| format!("{:.1} GiB", kib as f64 / 1_048_576.0))),
        ("hugepages", |host| Some(hugepages(&host.hugepages))),
        ("kernel", |host| host.kernel.clone()),
        ("system", |host| host.os.clone()),
    ];
    let mut columns = vec![Column::words("fact", "node")];
    columns.extend(nodes.iter().map(|node| Column::words(&node.node, &node.node)));
    let row = |(name, field): Field| {
        let value =
            |node: &NodeEnvironment| node.host.as_ref().and_then(field).filter(|text| !text.is_empty());
        let cells = nodes.iter().map(|node| value(node).unwrap_or_else(|| "unknown".to_owned()).into());
        Row { key: name.to_owned(), cells: std::iter::once(name.into()).chain(cells).collect() }
    };
    let rows = fields.into_iter().map(row).collect();
    Block::Table(Table { caption: things(nodes.len(), "machine"), columns, rows })
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn hugepages(pools: &[HugepagePool]) -> String {
    let pool = |pool: &HugepagePool| {
        let size = match pool.size_kib {
            size @ 1_048_576.. => format!("{} GiB", short(size as f64 / 1_048_576.0)),
            size => format!("{} MiB", short(size as f64 / 1024.0)),
        };
        format!("{size}: {} of {} free", count(pool.free), count(pool.total))
    };
    if pools.is_empty() { "none".to_owned() } else { pools.iter().map(pool).collect::<Vec<_>>().join("; ") }
}

/// Drivers and firmware of the ports, and the images that agents ran from.
pub(super) fn agents(environment: &Environment) -> Vec<Block> {
    let mut blocks = vec![Block::Table(ports(&environment.agents))];
    if environment.agents.iter().any(|agent| agent.pod.is_some() || agent.image.is_some()) {
        blocks.push(Block::Table(pods(&environment.agents)));
    }
    blocks
}

fn ports(agents: &[AgentEnvironment]) -> Table {
    let columns = vec![
        Column::words("name", "agent"),
        Column::words("version", "program"),
        Column::words("dpdk", "DPDK"),
        Column::words("driver", "poll mode driver"),
        Column::words("kernel_driver", "kernel driver"),
        Column::words("firmware", "firmware"),
        Column::numbers("mtu", "MTU"),
        Column::numbers("max_tx_queues", "TX queues at most"),
        Column::numbers("max_rx_queues", "RX queues at most"),
        Column::words("clock_source", "clock"),
    ];
    let rows = agents.iter().map(|agent| {
        let port = &agent.port;
        let or_none =
            |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).unwrap_or("-".to_owned());
        Row {
            key: agent.name.clone(),
            cells: vec![
                agent.name.clone().into(),
                agent.version.clone().into(),
                agent.dpdk.clone().into(),
                port.driver.clone().into(),
                or_none(&port.kernel_driver).into(),
                or_none(&port.firmware).into(),
                port.mtu.to_string().into(),
                port.max_tx_queues.to_string().into(),
                port.max_rx_queues.to_string().into(),
                agent.clock_source.clone().into(),
            ],
        }
    });
    Table { caption: "Programs and drivers".to_owned(), columns, rows: rows.collect() }
}

fn pods(agents: &[AgentEnvironment]) -> Table {
    let columns = vec![
        Column::words("name", "agent"),
        Column::words("pod", "pod"),
        Column::words("image", "image"),
        Column::words("image_digest", "image digest"),
    ];
    let rows = agents.iter().map(|agent| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or("-".to_owned());
        Row {
            key: agent.name.clone(),
            cells: vec![
                agent.name.clone().into(),
                or_none(&agent.pod).into(),
                or_none(&agent.image).into(),
                or_none(&agent.image_digest).into(),
            ],
        }
    });
    Table { caption: "Pods and images".to_owned(), columns, rows: rows.collect() }
}
