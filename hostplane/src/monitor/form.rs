//! Lines of text for a sample: the old kit's, its 14 columns, and one that says more.

use std::fmt::Write as _;

use super::sample::{CpuSample, Sample};

/// What is not known, in a column of numbers. Readers of numbers take it as one that is none.
const UNKNOWN: &str = "nan";

/// A number, or [`UNKNOWN`].
fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// A count as a whole number per second.
fn per_second(count: Option<u64>, elapsed_s: Option<f64>) -> Option<u64> {
    let (count, elapsed_s) = count.zip(elapsed_s)?;
    Some((count as f64 / elapsed_s).round() as u64)
}

/// Rates of a sample, as the old kit names them.
struct Rates {
    rx_pps: Option<u64>,
    tx_pps: Option<u64>,
    rx_drop: Option<u64>,
    tx_drop: Option<u64>,
    rx_err: Option<u64>,
    tx_err: Option<u64>,
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
    irq: Option<u64>,
    softirq: Option<u64>,
    net_tx: Option<u64>,
    net_rx: Option<u64>,
}

impl Rates {
    fn of(sample: &Sample) -> Self {
        let interface = sample.interface.as_ref();
        let of_interface = |count: fn(&super::sample::InterfaceSample) -> u64| {
            per_second(interface.map(count), interface.map(|interface| interface.elapsed_s))
        };
        let node = |count| per_second(count, sample.elapsed_s);
        Self {
            rx_pps: of_interface(|counts| counts.rx_packets),
            tx_pps: of_interface(|counts| counts.tx_packets),
            // As `/proc/net/dev` adds them.
            rx_drop: of_interface(|counts| counts.rx_dropped + counts.rx_missed.unwrap_or(0)),
            tx_drop: of_interface(|counts| counts.tx_dropped),
            rx_err: of_interface(|counts| counts.rx_errors),
            tx_err: of_interface(|counts| counts.tx_errors),
            rx_bytes: of_interface(|counts| counts.rx_bytes),
            tx_bytes: of_interface(|counts| counts.tx_bytes),
            irq: node(sample.node.interrupts),
            softirq: node(sample.node.softirqs),
            net_tx: node(sample.node.net_tx),
            net_rx: node(sample.node.net_rx),
        }
    }
}

/// Bytes per packet, rounded down; 0 without packets.
fn mean_size(bytes: u64, packets: u64) -> u64 {
    bytes.checked_div(packets).unwrap_or(0)
}

fn cpu(sample: &Sample, cpu: u32) -> Option<&CpuSample> {
    sample.node.cpus.iter().find(|sample| sample.cpu == cpu)
}

/// The old kit's line: the first form, with the mean size of all packets, or with a CPU the later one.
pub(crate) fn old(sample: &Sample, shown: Option<u32>) -> String {
    let rates = Rates::of(sample);
    let name = &sample.interface_name;
    let interface = sample.interface.as_ref();
    let mut line = format!(
        "TX {name}: {} pkts/s RX {name}: {} pkts/s TX DROP: {} pkts/s RX DROP: {} pkts/s IRQ Rate: {}, SIRQ Rate: {} \
         NET_TX_RATE: {}, NET_RX_RATE: {}",
        number(rates.tx_pps),
        number(rates.rx_pps),
        number(rates.tx_drop),
        number(rates.rx_drop),
        number(rates.irq),
        number(rates.softirq),
        number(rates.net_tx),
        number(rates.net_rx),
    );
    let _ = match shown {
        None => write!(
            line,
            " AVG_SIZE: {}",
            number(interface.map(|counts| {
                mean_size(counts.rx_bytes + counts.tx_bytes, counts.rx_packets + counts.tx_packets)
            }))
        ),
        Some(core) => write!(
            line,
            " AVG_RX_SIZE: {} AVG_TX_SIZE: {} CPU Core {core} Usage: {}%",
            number(interface.map(|counts| mean_size(counts.rx_bytes, counts.rx_packets))),
            number(interface.map(|counts| mean_size(counts.tx_bytes, counts.tx_packets))),
            number(cpu(sample, core).and_then(|cpu| cpu.shares.not_idle_percent)),
        ),
    };
    line
}

/// The old kit's 14 columns.
pub(crate) fn csv(sample: &Sample, core: u32) -> String {
    let rates = Rates::of(sample);
    let columns = [
        number(rates.rx_pps),
        number(rates.tx_pps),
        number(rates.rx_drop),
        number(rates.tx_drop),
        number(rates.rx_err),
        number(rates.tx_err),
        number(rates.rx_bytes),
        number(rates.tx_bytes),
        number(rates.irq),
        number(rates.softirq),
        number(rates.net_tx),
        number(rates.net_rx),
        core.to_string(),
        number(cpu(sample, core).and_then(|cpu| cpu.shares.not_idle_percent)),
    ];
    columns.join(", ")
}

/// A line that says where packets were lost and which CPU worked most.
pub(crate) fn line(sample: &Sample) -> String {
    let rates = Rates::of(sample);
    let shown = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let megabits = |bytes: Option<u64>| {
        bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.2}", bytes as f64 * 8e-6))
    };
    let mut line = format!(
        "{} rx {} pps {} Mbit/s drop {} err {} | tx {} pps {} Mbit/s drop {} err {} | irq {}/s softirq {}/s net_rx {}/s net_tx {}/s",
        sample.interface_name,
        shown(rates.rx_pps),
        megabits(rates.rx_bytes),
        shown(rates.rx_drop),
        shown(rates.rx_err),
        shown(rates.tx_pps),
        megabits(rates.tx_bytes),
        shown(rates.tx_drop),
        shown(rates.tx_err),
        shown(rates.irq),
        shown(rates.softirq),
        shown(rates.net_rx),
        shown(rates.net_tx),
    );
    let node = &sample.node;
    let _ = write!(
        line,
        " | softnet drop {} squeezed {}",
        shown(node.softnet_dropped),
        shown(node.softnet_squeezed)
    );
    let percent =
        |share: Option<f64>| share.map_or_else(|| "?".to_owned(), |share| format!("{:.0} %", 100.0 * share));
    let busiest = node.cpus.iter().filter(|cpu| cpu.shares.busy.is_some());
    if let Some(cpu) =
        busiest.max_by(|a, b| a.shares.busy.unwrap_or(0.0).total_cmp(&b.shares.busy.unwrap_or(0.0)))
    {
        let (busy, softirq) = (percent(cpu.shares.busy), percent(cpu.shares.softirq));
        let _ = write!(line, " | cpu{} {busy} busy, {softirq} softirq", cpu.cpu);
    }
    if let Some(steal) = node.all.and_then(|all| all.steal).filter(|steal| *steal >= 0.005) {
        let _ = write!(line, " | steal {}", percent(Some(steal)));
    }
    if let Some(throttling) = sample.throttling.filter(|throttling| throttling.stopped_s > 0.0) {
        let _ = write!(line, " | quota stopped {:.3} s", throttling.stopped_s);
    }
    if let Some(protocols) = &sample.protocols {
        for (name, count) in &protocols.counts {
            let is_loss =
                ["RcvbufErrors", "SndbufErrors", "RetransSegs", "ListenDrops", "BacklogDrop", "RcvQDrop"];
            if let Some(count) =
                count.filter(|count| *count > 0 && is_loss.iter().any(|loss| name.ends_with(loss)))
            {
                let _ = write!(line, " | {name} {count}");
            }
        }
    }
    if let Some(queues) = &sample.queues {
        for queue in &queues.list {
            for (what, count) in
                [("drops", queue.drops), ("full", queue.full), ("alloc_fail", queue.alloc_fail)]
            {
                if let Some(count) = count.filter(|count| *count > 0) {
                    let _ = write!(line, " | {} queue {} {what} {count}", queue.direction, queue.queue);
                }
            }
        }
        for (name, count) in queues.device_losses.iter().filter(|(_, count)| **count > 0) {
            let _ = write!(line, " | {name} {count}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use linerate_observe::procfs::interfaces::InterfaceCounters;
    use linerate_observe::procfs::stat::CpuTimes;

    use super::super::sample::{Cost, CpuShares, InterfaceSample, NodeSample, QueueSample, QueuesSample};
    use super::*;

    /// Two seconds.
    fn sample() -> Sample {
        let counts = InterfaceCounters {
            rx_packets: 2_000,
            rx_bytes: 176_000,
            rx_dropped: 1,
            rx_missed: Some(3),
            tx_packets: 3,
            tx_bytes: 300,
            ..InterfaceCounters::default()
        };
        let times = CpuTimes { user: 20, softirq: 49, idle: 130, iowait: 1, ..CpuTimes::default() };
        let cpu = CpuSample::new(0, times, None, None);
        Sample {
            interface_name: "eth0".into(),
            unix_s: 0.0,
            elapsed_s: Some(2.0),
            late_s: 0.0,
            interface: Some(InterfaceSample::new(&counts, 2.0)),
            node: NodeSample {
                all: Some(CpuShares::of(&times)),
                interrupts: Some(3_180),
                softirqs: Some(3_824),
                net_rx: Some(2_016),
                net_tx: Some(0),
                softnet_processed: Some(2_000),
                softnet_dropped: Some(7),
                softnet_squeezed: None,
                cpus: vec![cpu],
            },
            protocols: None,
            interrupts: None,
            queues: None,
            throttling: None,
            not_known: [].into(),
            cost: Cost { cpu_s: 0.0, cpu_share: None },
        }
    }

    /// Reads a line of the old kit: labels, each followed by a whole number.
    fn read(line: &str, labels: &[&str]) -> Vec<u64> {
        let mut rest = line;
        let mut numbers = Vec::new();
        for label in labels {
            rest = rest.strip_prefix(label).unwrap_or_else(|| panic!("'{label}' before '{rest}'"));
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            numbers.push(rest[..digits].parse().unwrap());
            rest = &rest[digits..];
        }
        assert!(matches!(rest, "" | "%"), "{rest}");
        numbers
    }

    const FIRST: [&str; 8] = [
        "TX eth0: ",
        " pkts/s RX eth0: ",
        " pkts/s TX DROP: ",
        " pkts/s RX DROP: ",
        " pkts/s IRQ Rate: ",
        ", SIRQ Rate: ",
        " NET_TX_RATE: ",
        ", NET_RX_RATE: ",
    ];

    #[test]
    fn the_old_line_has_its_form() {
        let rates = [2, 1_000, 0, 2, 1_590, 1_912, 0, 1_008];
        let line = old(&sample(), None);
        assert_eq!(read(&line, &[&FIRST[..], &[" AVG_SIZE: "]].concat()), [&rates[..], &[88]].concat());
        let later = [" AVG_RX_SIZE: ", " AVG_TX_SIZE: ", " CPU Core 0 Usage: "];
        let line = old(&sample(), Some(0));
        assert_eq!(read(&line, &[&FIRST[..], &later].concat()), [&rates[..], &[88, 100, 35]].concat());
    }

    #[test]
    fn what_is_not_known_is_never_zero() {
        let unknown = Sample { interface: None, elapsed_s: None, ..sample() };
        let columns = csv(&unknown, 5);
        assert_eq!(columns, "nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, 5, nan");
        assert!(old(&unknown, None).starts_with("TX eth0: nan pkts/s"));
        assert!(line(&unknown).starts_with("eth0 rx ? pps ? Mbit/s drop ?"), "{}", line(&unknown));
        assert!(line(&unknown).contains("squeezed ?"));
    }

    #[test]
    fn columns_are_fourteen_numbers() {
        let text = csv(&sample(), 0);
        let columns: Vec<f64> = text.split(", ").map(|column| column.parse().unwrap()).collect();
        assert_eq!(
            columns,
            [1000.0, 2.0, 2.0, 0.0, 0.0, 0.0, 88_000.0, 150.0, 1590.0, 1912.0, 0.0, 1008.0, 0.0, 35.0]
        );
    }

    #[test]
    fn the_line_names_losses_and_the_busiest_cpu() {
        let full = QueueSample {
            direction: "tx".into(),
            queue: 3,
            packets: Some(1),
            bytes: None,
            drops: Some(0),
            full: Some(9),
            wake: None,
            alloc_fail: None,
        };
        let queues = QueuesSample {
            source: "ethtool -S",
            elapsed_s: 1.0,
            list: vec![full],
            device_losses: [("rx_out_of_buffer".to_owned(), 5), ("rx_dropped".to_owned(), 0)].into(),
            driver: [].into(),
        };
        let text = line(&Sample { queues: Some(queues), ..sample() });
        for part in [
            "rx 1000 pps 0.70 Mbit/s drop 2",
            "softnet drop 7 squeezed ?",
            "cpu0 34 % busy, 24 % softirq",
            "tx queue 3 full 9",
            "rx_out_of_buffer 5",
        ] {
            assert!(text.contains(part), "'{part}' in '{text}'");
        }
        assert!(!text.contains("rx_dropped"), "{text}");
    }
}
