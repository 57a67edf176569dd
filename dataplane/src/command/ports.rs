//! `ports`: the list of ports.

use linerate_wire::port::PortInfo;

use super::Ending;
use super::args::PortsArgs;
use super::output::{Failure, print_json, print_text};
use crate::dpdk::eal::Eal;
use crate::dpdk::port::describe;

pub(super) fn run(eal: &Eal, args: &PortsArgs) -> Result<Ending, Failure> {
    let ports: Vec<PortInfo> =
        eal.ports().into_iter().map(|port| describe(eal, port)).collect::<Result<_, _>>()?;
    if args.json {
        print_json(&ports)?;
        return Ok(Ending::Done);
    }
    if ports.is_empty() {
        print_text("no ports: name a device with -a 0000:03:02.0 or --vdev net_…, before `--`")?;
    }
    for port in &ports {
        let speed =
            port.link_bps.map_or("speed unknown".to_owned(), |bps| format!("{} Gbit/s", bps as f64 / 1e9));
        print_text(&format!(
            "port {}  {}  {}  {}  link {} ({speed})  NUMA node {}  up to {} RX and {} TX queues  MTU {}",
            port.port,
            port.device,
            port.driver,
            port.mac,
            if port.link_up { "up" } else { "down" },
            port.numa_node.map_or("-".to_owned(), |node| node.to_string()),
            port.max_rx_queues,
            port.max_tx_queues,
            port.mtu,
        ))?;
    }
    Ok(Ending::Done)
}
