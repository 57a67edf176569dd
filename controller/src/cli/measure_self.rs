//! `measure-self`: what the tester itself can do on this host, without a path.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::Args;
use linerate_experiment::plan::plan;
use linerate_experiment::{Experiment, Overrides};
use linerate_results::self_measurement::{Ceiling, SELF_MEASUREMENT_FILE, SelfMeasurement};
use linerate_results::store::Store;
use linerate_results::summary::{Status, Summary};
use linerate_runner::generator_ceiling::generator_ceiling;
use linerate_runner::platform::PlatformError;
use linerate_runner::platform::binary::DATAPLANE;
use linerate_runner::platform::local::{LocalPlan, LocalPlatform, node_name};
use linerate_runner::run::observer::NoObserver;
use linerate_runner::run::{self, Job};
use linerate_traffic::profile::FrameSizes;
use linerate_traffic::span::Span;
use tokio::sync::watch;

use super::grid::Grid;
use super::output::{print, say, width};
use super::run::runtime;

pub(super) const EXAMPLES: &str = "\
Examples:
  Generator and receiver on this host, for three frame sizes; kept in results/self-measurement.json:
    linerate measure-self
  Longer, for two sizes, for programs to read:
    linerate measure-self --size 64,9000 --duration 10s --json

Run it on an idle host. Results of later runs below the same directory tell the generator's ceiling.";

/// Longest frame that memif carries here.
const LARGEST_PAIR_FRAME: u32 = 1518;

#[derive(Debug, Args)]
pub(super) struct MeasureSelfArgs {
    /// Frame sizes in bytes, check sequence included
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',', default_values = ["64", "512", "1518"])]
    size: Vec<FrameSizes>,
    /// How long each measurement takes
    #[arg(long, value_name = "TIME", default_value = "2s")]
    duration: Span,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = super::RESULTS)]
    results: PathBuf,
    /// The data-plane program [default: LINERATE_DATAPLANE, or linerate-dataplane beside linerate or in PATH]
    #[arg(long, value_name = "PATH")]
    dataplane: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn measure_self(args: &MeasureSelfArgs) -> anyhow::Result<()> {
    let program = DATAPLANE.find(args.dataplane.clone()).map_err(PlatformError::from)?;
    if let Some(large) = args.size.iter().find(|size| size.largest().bytes() > LARGEST_PAIR_FRAME) {
        bail!(
            "--size {large}: shared memory carries frames of up to {LARGEST_PAIR_FRAME} bytes; give smaller ones"
        );
    }
    let mut measured = SelfMeasurement {
        host: node_name(),
        cpu_model: cpu_model(),
        measured_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        linerate: env!("CARGO_PKG_VERSION").to_owned(),
        duration_s: args.duration.0.as_secs_f64(),
        ceilings: Vec::new(),
    };
    runtime()?.block_on(async {
        for size in &args.size {
            if !args.quiet {
                say(&format!("frames of {size} bytes: the generator alone, then with a receiver"));
            }
            let generator = generator_ceiling(&program, size, args.duration.0).await?;
            let pair = pair(&program, size, args.duration.0).await?;
            let Some(trial) = pair.trials.first().filter(|_| pair.status == Status::Complete) else {
                bail!(
                    "the generator and a receiver over shared memory: {}",
                    pair.reason.unwrap_or_else(|| "no result".to_owned())
                );
            };
            measured.ceilings.push(Ceiling {
                frame_size: size.clone(),
                generator_pps: generator.pps,
                generator_off_cpu: generator.off_cpu,
                pair_pps: trial.received_pps,
                pair_lost_packets: trial.lost_packets,
                pair_limited_by: trial.verdict.kind,
            });
        }
        Ok(())
    })?;
    measured.write(&args.results)?;
    if args.json {
        return Ok(print(&serde_json::to_string(&measured)?)?);
    }
    print(&table(&measured))?;
    Ok(print(&args.results.join(SELF_MEASUREMENT_FILE).display().to_string())?)
}

/// A trial between two processes over shared memory, both as fast as possible; its records are not kept.
async fn pair(program: &std::path::Path, size: &FrameSizes, duration: Duration) -> anyhow::Result<Summary> {
    let text = format!(
        "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n  traffic: {{frameSizes: ['{size}'], rates: [max]}}\n  \
         trial: {{duration: {}ms}}\n",
        duration.as_millis()
    );
    let experiment = Experiment::parse(&text, "measure-self", &Overrides::default())?;
    let plan = plan(&experiment, None)?;
    let scratch = tempfile::tempdir()?;
    let store = Store::create(scratch.path())?;
    let local = LocalPlan::new(&experiment, &plan)?;
    let mut platform = LocalPlatform::new(local, program.to_owned(), None, store.directory().to_owned());
    let (_flag, interrupted) = watch::channel(false);
    let job = Job {
        experiment: &experiment,
        strategy: &plan,
        filter: None,
        earlier: None,
        store: &store,
        interrupted,
    };
    Ok(run::run(job, &mut platform, &NoObserver).await?)
}

fn cpu_model() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

fn table(measured: &SelfMeasurement) -> String {
    let columns = ["size", "generator Mpps", "without a CPU %", "pair Mpps", "pair lost", "pair limited by"];
    let mut table = Grid::new(&columns, 0..5);
    for ceiling in &measured.ceilings {
        table.add_row([
            ceiling.frame_size.to_string(),
            format!("{:.6}", ceiling.generator_pps / 1e6),
            format!("{:.1}", 100.0 * ceiling.generator_off_cpu),
            format!("{:.6}", ceiling.pair_pps / 1e6),
            ceiling.pair_lost_packets.to_string(),
            ceiling.pair_limited_by.to_string(),
        ]);
    }
    let cpu = measured.cpu_model.as_deref().unwrap_or("an unknown CPU");
    format!("{}\none lcore at each end on {}, {cpu}", table.render(width()), measured.host)
}
