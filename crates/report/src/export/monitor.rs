//! Samples in the 14 columns of an older kit's monitor of the Linux stack, a file for each end under that kit's names.

use std::time::SystemTime;

use linerate_results::store::record::{TimedSample, TrialRecord};
use linerate_results::store::report::TrialReport;
use linerate_wire::counters::PortCounters;
use linerate_wire::host::{HostSample, KernelSample};

use super::place::instant;

/// The columns, in their order; the files have no header.
#[cfg(test)]
const COLUMNS: [&str; 14] = [
    "rx_pps",
    "tx_pps",
    "rx_drop",
    "tx_drop",
    "rx_err",
    "tx_err",
    "rx_bytes",
    "tx_bytes",
    "irq_rate",
    "s_irq_rate",
    "net_tx_rate",
    "net_rx_rate",
    "cpu_core",
    "cpu_usage",
];

/// Name and text of each end's file; none for a trial without result, and for older records, which have no samples of
/// hosts.
pub(super) fn files(record: &TrialRecord, start: SystemTime) -> Vec<(String, String)> {
    let Some(result) = &record.result else { return Vec::new() };
    let pps = result.intended_pps.unwrap_or(result.offered_pps).round();
    let stamp = instant(start, 0).replace(['-', ':', 'T'], "");
    let seconds = result.duration_s.round().max(1.0);
    let ends = [("rx", &record.rx, &record.samples.rx), ("tx", &record.tx, &record.samples.tx)];
    let of_end = |(role, report, samples): (&str, &Option<TrialReport>, &Vec<TimedSample>)| {
        let cores = report.as_ref().map(cores).unwrap_or_default();
        let name = format!(
            "{role}_{pps}pps_{seconds}_core_{}_size_{}_{stamp}.txt",
            span(&cores),
            result.frame_size.label()
        );
        (name, lines(samples, cores.first().copied()))
    };
    let has_host = |samples: &Vec<TimedSample>| samples.iter().any(|sample| sample.host.is_some());
    ends.into_iter().filter(|(_, _, samples)| has_host(samples)).map(of_end).collect()
}

/// CPUs of the end's workers.
fn cores(report: &TrialReport) -> Vec<u32> {
    let mut cores: Vec<u32> = report.workers.iter().filter_map(|worker| worker.cpu).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// `0`, or `0-1` for several; `x` when no CPU is known.
fn span(cores: &[u32]) -> String {
    match cores {
        [] => "x".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
    }
}

/// A line for each sample: rates since the one before, by the time that passed. What is not known is `nan`.
fn lines(samples: &[TimedSample], core: Option<u32>) -> String {
    let mut text = String::new();
    let mut before: Option<&TimedSample> = None;
    for sample in samples {
        let passed_ns = sample.at_ns - before.map_or(0, |before| before.at_ns);
        if passed_ns <= 0 {
            continue;
        }
        text.push_str(&line(before, sample, passed_ns as f64 / 1e9, core));
        text.push('\n');
        before = Some(sample);
    }
    text
}

fn line(before: Option<&TimedSample>, now: &TimedSample, passed_s: f64, core: Option<u32>) -> String {
    // Counters begin with the trial.
    let since = |of: &dyn Fn(&TimedSample) -> Option<u64>| {
        let then = before.map_or(Some(0), of)?;
        Some(of(now)?.checked_sub(then)? as f64 / passed_s)
    };
    let port = |of: fn(&PortCounters) -> u64| since(&|sample| sample.port.as_ref().map(of));
    let host = |of: fn(&HostSample) -> Option<u64>| since(&|sample| of(sample.host.as_ref()?));
    let kernel = |of: fn(&KernelSample) -> Option<u64>| since(&|sample| of(sample.host?.kernel.as_ref()?));
    let rates = [
        port(|port| port.rx_packets),
        port(|port| port.tx_packets),
        port(|port| port.rx_missed),
        // A port does not tell what was dropped behind it.
        None,
        port(|port| port.rx_errors),
        port(|port| port.tx_errors),
        port(|port| port.rx_bytes),
        port(|port| port.tx_bytes),
        kernel(|kernel| kernel.node_interrupts),
        kernel(|kernel| kernel.node_softirqs),
        kernel(|kernel| kernel.node_net_tx),
        kernel(|kernel| kernel.node_net_rx),
    ];
    let number = |value: Option<f64>| value.map_or("nan".to_owned(), |value| format!("{value:.0}"));
    let usage = host(|host| host.process_cpu_ns).map(|ns| ns / 1e7);
    let core = core.map_or("nan".to_owned(), |core| core.to_string());
    rates.into_iter().map(number).chain([core, number(usage)]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::record;

    fn sample(at_ms: i64, packets: u64, irq: Option<u64>) -> TimedSample {
        let kernel =
            KernelSample { node_interrupts: irq, node_net_rx: Some(packets), ..KernelSample::default() };
        TimedSample {
            at_ns: at_ms * 1_000_000,
            transmit: None,
            receive: None,
            queue_frames: Vec::new(),
            port: Some(PortCounters {
                rx_packets: packets,
                rx_bytes: packets * 60,
                ..PortCounters::default()
            }),
            host: Some(HostSample {
                process_cpu_ns: Some(packets * 1000),
                kernel: Some(kernel),
                ..HostSample::default()
            }),
        }
    }

    #[test]
    fn rates_are_those_of_the_time_that_passed_and_unknown_ones_are_not_numbers() {
        let samples = [sample(500, 1000, Some(10)), sample(2500, 3000, Some(30)), sample(2500, 3000, None)];
        let text = lines(&samples, Some(3));
        assert_eq!(
            text,
            "2000, 0, 0, nan, 0, 0, 120000, 0, 20, nan, nan, 2000, 3, 0\n1000, 0, 0, nan, 0, 0, 60000, 0, 10, nan, nan, 1000, 3, 0\n"
        );
        assert!(text.lines().all(|line| line.split(", ").count() == COLUMNS.len()));
    }

    #[test]
    fn files_have_the_names_of_the_older_kit() {
        assert!(files(&record(), SystemTime::UNIX_EPOCH).is_empty(), "it has no samples of hosts");
        let mut record = record();
        record.samples.tx = vec![sample(500, 1000, None)];
        let names: Vec<String> =
            files(&record, SystemTime::UNIX_EPOCH).into_iter().map(|(name, _)| name).collect();
        assert!(
            names.len() == 1
                && names.iter().all(|name| name.ends_with("_19700101000000.txt")
                    && name.contains("pps_")
                    && name.contains("_core_")
                    && name.contains("_size_64_")),
            "{names:?}"
        );
    }
}
