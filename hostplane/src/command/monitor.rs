//! `monitor`: what an interface and its host count, once a second or faster.

use std::time::Duration;

use clap::{Args, ValueEnum};
use linerate_logging::terminal::escaped;
use linerate_traffic::span::Span;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::Ending;
use super::output::{Failure, print_json, print_line, say};
use super::trial::{block_on, stop_at_signals};
use crate::monitor::sample::Sample;
use crate::monitor::{Monitor, form};

/// Shortest interval: CPU times have a grain of 10 ms.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(3600);
/// Counters of 32 bits are followed at least as often as this.
const KEEPING_UP: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  A line a second, until interrupted:
    linerate-hostplane monitor --interface eth0
  The line of the old kit, with the use of CPU 2, for two minutes:
    linerate-hostplane monitor --interface eth0 --form old --cpu 2 --count 120
  Its 14 columns, for its plotting script:
    linerate-hostplane monitor --interface eth0 --csv --count 120 > rx_1000pps_120_core_0_size_64_20240328115617.txt
  Everything that is known, ten times a second, an object per line:
    linerate-hostplane monitor --interface eth0 --interval 100ms --json

CPUs, interrupts and softnet are those of the whole node, also in a container. Interface, queues and protocols are those of this network
namespace. What is not known is null (JSON), nan (old line and columns) or ? (line), and never 0.";

/// Form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Rates, losses, and the CPU that works most
    Line,
    /// The old kit's line; with --cpu in its later form
    Old,
    /// The old kit's 14 columns
    Csv,
    /// A JSON object with everything that is known
    Json,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MonitorArgs {
    /// Interface of this network namespace
    #[arg(long, short, value_name = "NAME")]
    interface: String,
    /// Time between samples, 10ms to 1h; queues, interrupts by number and protocols are read once a second at most
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
    /// Number of samples [default: until interrupted]
    #[arg(long, short, value_name = "N")]
    count: Option<u64>,
    /// Form of the lines
    #[arg(long, value_name = "FORM", value_enum, default_value = "line", conflicts_with_all = ["csv", "json"])]
    form: Form,
    /// The same as --form csv: rx_pps, tx_pps, rx_drop, tx_drop, rx_err, tx_err, rx_bytes, tx_bytes, irq_rate, s_irq_rate, net_tx_rate,
    /// net_rx_rate, cpu_core, cpu_usage
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// CPU whose use the old kit's forms show [default: 0 in the columns, none in the line]
    #[arg(long, value_name = "N")]
    cpu: Option<u32>,
    /// The same as --form json; the last line is an object with the summary
    #[arg(long)]
    json: bool,
    /// No summary at the end
    #[arg(long, short)]
    quiet: bool,
}

/// A validated monitor.
#[derive(Debug)]
pub(super) struct MonitorCommand {
    interface: String,
    interval: Duration,
    count: Option<u64>,
    form: Form,
    cpu: Option<u32>,
    quiet: bool,
}

impl MonitorArgs {
    /// True when the output is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json || self.form == Form::Json
    }

    pub(super) fn validate(&self) -> Result<MonitorCommand, Failure> {
        if !(SHORTEST..=LONGEST).contains(&self.interval.0) {
            return Err(Failure::usage(format!("--interval {}: give 10ms to 1h", self.interval)));
        }
        if self.count == Some(0) {
            return Err(Failure::usage("--count must be at least 1"));
        }
        Ok(MonitorCommand {
            interface: self.interface.clone(),
            interval: self.interval.0,
            count: self.count,
            form: match (self.csv, self.json) {
                (true, _) => Form::Csv,
                (_, true) => Form::Json,
                _ => self.form,
            },
            cpu: self.cpu,
            quiet: self.quiet,
        })
    }
}

/// What monitoring itself did.
#[derive(Debug, Default, Serialize)]
struct Summary {
    samples: u64,
    elapsed_s: f64,
    /// Intervals of the grid that passed without a sample.
    missed: u64,
    /// Longest delay of a sample behind the grid.
    latest_s: f64,
    /// CPU time of the readings, and of the whole process.
    reading_cpu_s: f64,
    process_cpu_s: f64,
    /// Share of one CPU that the process took.
    process_cpu_share: f64,
}

pub(super) fn run(command: MonitorCommand) -> Result<Ending, Failure> {
    let MonitorCommand { interface, interval, count, form, cpu, quiet } = command;
    block_on(async move {
        let mut stop = stop_at_signals()?;
        // Its first readings are among the CPU time of all readings.
        let cpu_before_ns = linerate_agent::host::process_cpu_ns();
        let mut monitor = Monitor::new(&interface).map_err(|error| {
            let name = escaped(&interface);
            Failure::failed(format!(
                "interface {name}: {error}; `ip link` lists the interfaces of this network namespace"
            ))
        })?;
        let began = Instant::now();
        let mut due = began;
        let mut summary = Summary::default();
        while count.is_none_or(|count| summary.samples < count) {
            due += interval;
            // Late readings do not shift the grid; intervals that have passed meanwhile are skipped.
            let behind = Instant::now().saturating_duration_since(due);
            let missed = (behind.as_nanos() / interval.as_nanos()) as u32;
            due += interval * missed;
            summary.missed += u64::from(missed);
            let is_due = loop {
                let next = due.min(Instant::now() + KEEPING_UP);
                tokio::select! {
                    () = sleep_until(next) => {}
                    _ = stop.changed() => break false,
                }
                if next == due {
                    break true;
                }
                monitor.keep_up();
            };
            if !is_due {
                break;
            }
            let late_s = Instant::now().saturating_duration_since(due).as_secs_f64();
            let sample = monitor.sample(late_s);
            if !print(&sample, form, cpu)? {
                return Ok(Ending::Done);
            }
            summary.samples += 1;
            summary.latest_s = summary.latest_s.max(late_s);
        }
        summary.elapsed_s = began.elapsed().as_secs_f64();
        summary.reading_cpu_s = monitor.cpu_s();
        let cpu_ns = linerate_agent::host::process_cpu_ns().saturating_sub(cpu_before_ns);
        summary.process_cpu_s = cpu_ns as f64 / 1e9;
        summary.process_cpu_share = summary.process_cpu_s / summary.elapsed_s.max(f64::MIN_POSITIVE);
        if !quiet {
            report(&summary, form)?;
        }
        let is_whole = count.is_none_or(|count| summary.samples == count);
        Ok(if is_whole { Ending::Done } else { Ending::Interrupted })
    })
}

/// False when nobody reads standard output any more.
fn print(sample: &Sample, form: Form, cpu: Option<u32>) -> Result<bool, Failure> {
    match form {
        Form::Line => print_line(&escaped(&form::line(sample))),
        Form::Old => print_line(&escaped(&form::old(sample, cpu))),
        Form::Csv => print_line(&form::csv(sample, cpu.unwrap_or(0))),
        Form::Json => print_line(&serde_json::to_string(sample)?),
    }
}

/// Beside lines for people and programs the summary goes to standard error.
fn report(summary: &Summary, form: Form) -> Result<(), Failure> {
    if form == Form::Json {
        return print_json(&serde_json::json!({ "summary": summary }));
    }
    say(&format!(
        "{} samples in {:.1} s, {} missed, the latest {:.1} ms late; own CPU time {:.1} ms ({:.1} ms of it readings), {:.3} % of a CPU",
        summary.samples,
        summary.elapsed_s,
        summary.missed,
        1e3 * summary.latest_s,
        1e3 * summary.process_cpu_s,
        1e3 * summary.reading_cpu_s,
        100.0 * summary.process_cpu_share,
    ));
    Ok(())
}
