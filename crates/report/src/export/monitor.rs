//! Samples in the 14 columns of an older kit's monitor of the Linux stack, a file for each end under that kit's names.

use std::collections::HashSet;
use std::time::SystemTime;

use linerate_results::store::record::{TimedSample, TrialRecord};
use linerate_results::store::report::TrialReport;
use linerate_wire::counters::PortCounters;
use linerate_wire::host::{HostSample, KernelSample};

use super::place::instant;
use super::window::{Window, rows};

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
/// hosts. `taken` has what the names of earlier trials of the experiment have in common, with their pairs: trials that began in
/// the same second are numbered.
pub(super) fn files(
    record: &TrialRecord,
    start: SystemTime,
    taken: &mut HashSet<(String, String)>,
) -> Vec<(String, String)> {
    let Some(result) = &record.result else { return Vec::new() };
    let pps = result.intended_pps.unwrap_or(result.offered_pps).round();
    let stamp = instant(start, 0).replace(['-', ':', 'T'], "");
    let seconds = result.duration_s.round().max(1.0);
    let cores = |report: &Option<TrialReport>| report.as_ref().map(cores).unwrap_or_default();
    let (sender, receiver) = (cores(&record.tx), cores(&record.rx));
    // The kit's plotting script finds the two files of a trial by what their names have in common, which are the sender's CPUs.
    let named = span(if sender.is_empty() { &receiver } else { &sender });
    let size = result.frame_size.label();
    let common = format!("{pps}pps_{seconds}_core_{named}_size_{size}_{stamp}");
    let mut unique = common.clone();
    for number in 2_u32.. {
        if taken.insert((record.pair.clone(), unique.clone())) {
            break;
        }
        unique = format!("{common}_{number}");
    }
    let ends = [
        ("rx", receiver, &record.samples.rx, Window::of_receipt(record)),
        ("tx", sender, &record.samples.tx, Window::of_sending(record)),
    ];
    let of_end = |(role, cores, samples, window): (&str, Vec<u32>, &Vec<TimedSample>, Window)| {
        (format!("{role}_{unique}.txt"), lines(samples, window, cores.first().copied()))
    };
    let has_host = |samples: &Vec<TimedSample>| samples.iter().any(|sample| sample.host.is_some());
    ends.into_iter().filter(|(_, _, samples, _)| has_host(samples)).map(of_end).collect()
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

/// A line for each row of the window: rates since the one before, by the time that passed. What is not known is `nan`. A mean over lines is then one
/// over the time in which packets were sent or arrived, as the plotting script takes it.
fn lines(samples: &[TimedSample], window: Window, core: Option<u32>) -> String {
    let mut text = String::new();
    let mut before: Option<&TimedSample> = None;
    for sample in rows(samples, window).into_iter().map(|row| &samples[row]) {
        let began_ns = before.map_or(0, |before| before.at_ns);
        // The last counters were read after the drain; the port counted until the end of the window.
        let port_began_ns = before.map_or(window.start_ns, |before| before.at_ns);
        let port_ns = sample.at_ns.min(window.end_ns).saturating_sub(port_began_ns);
        if sample.at_ns <= began_ns || port_ns <= 0 {
            continue;
        }
        let (port_s, host_s) = (port_ns as f64 / 1e9, sample.at_ns.saturating_sub(began_ns) as f64 / 1e9);
        text.push_str(&line(before, sample, port_s, host_s, core));
        text.push('\n');
        before = Some(sample);
    }
    text
}

fn line(
    before: Option<&TimedSample>,
    now: &TimedSample,
    port_s: f64,
    host_s: f64,
    core: Option<u32>,
) -> String {
    // Counters begin with the trial.
    let since = |passed_s: f64, of: &dyn Fn(&TimedSample) -> Option<u64>| {
        let then = before.map_or(Some(0), of)?;
        Some(of(now)?.checked_sub(then)? as f64 / passed_s)
    };
    let port = |of: fn(&PortCounters) -> u64| since(port_s, &|sample| sample.port.as_ref().map(of));
    let host = |of: fn(&HostSample) -> Option<u64>| since(host_s, &|sample| of(sample.host.as_ref()?));
    let kernel =
        |of: fn(&KernelSample) -> Option<u64>| since(host_s, &|sample| of(sample.host?.kernel.as_ref()?));
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
    use linerate_wire::time::WorkerTime;

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
        let samples = [sample(1000, 1000, Some(10)), sample(3000, 3000, Some(30)), sample(5000, 5000, None)];
        let text = lines(&samples, Window { start_ns: 0, end_ns: 4_000_000_000 }, Some(3));
        // Packets arrived until 4 s, a second before the last counters were read.
        assert_eq!(
            text,
            "1000, 0, 0, nan, 0, 0, 60000, 0, 10, nan, nan, 1000, 3, 0\n1000, 0, 0, nan, 0, 0, 60000, 0, 10, nan, nan, 1000, 3, 0\n\
             2000, 0, 0, nan, 0, 0, 120000, 0, nan, nan, nan, 1000, 3, 0\n"
        );
        assert!(text.lines().all(|line| line.split(", ").count() == COLUMNS.len()));
    }

    #[test]
    fn any_times_have_lines() {
        let last = TimedSample { at_ns: i64::MAX, ..sample(0, 2000, None) };
        let window = Window { start_ns: i64::MIN, end_ns: i64::MAX };
        assert!(lines(&[sample(-1000, 1000, None), last], window, None).lines().count() <= 2);
    }

    #[test]
    fn files_have_the_names_of_the_older_kit() {
        let mut taken = HashSet::new();
        let mut files = |record: &TrialRecord| files(record, SystemTime::UNIX_EPOCH, &mut taken);
        assert!(files(&record()).is_empty(), "it has no samples of hosts");
        let mut record = record();
        record.samples.tx = vec![sample(500, 1000, None)];
        record.samples.rx = vec![sample(500, 1000, None)];
        for (end, cpu) in [(&mut record.tx, 2), (&mut record.rx, 5)] {
            let worker = WorkerTime { cpu: Some(cpu), ..WorkerTime::default() };
            end.iter_mut().for_each(|report| report.workers = vec![worker]);
        }
        let mut names = || files(&record).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let (names, again) = (names(), names());
        assert!(
            names.len() == 2
                && names.iter().all(|name| name.ends_with("_core_2_size_64_19700101000000.txt")
                    && name.contains("pps_")),
            "{names:?}"
        );
        assert_eq!(names[0].strip_prefix("rx"), names[1].strip_prefix("tx"), "they belong together");
        assert!(again[0].ends_with("_19700101000000_2.txt"), "another trial of the same second: {again:?}");
        assert_eq!(again[0].strip_prefix("rx"), again[1].strip_prefix("tx"));
    }
}
