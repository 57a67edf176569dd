//! Ceiling of the generator on this host: what one lcore sends into a port that discards everything.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use linerate_traffic::profile::FrameSizes;
use serde::Deserialize;
use tokio::process::Command;

use crate::platform::cpus::allowed;
use crate::platform::{PlatformError, random_hex};

/// Added to the sending time: EAL starts and ends.
const START_AND_END: Duration = Duration::from_secs(20);

/// What a generator sent into a port that discards everything.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorCeiling {
    /// Packets per second.
    pub pps: f64,
    /// Share of the time, 0…1, in which it had no CPU.
    pub off_cpu: f64,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum CeilingError {
    /// This machine's CPUs cannot be read, or no random name can be made.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// The program cannot be run.
    #[error("{program}: {reason}")]
    Program {
        /// The program.
        program: String,
        /// The reason.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Report {
    offered_pps: f64,
    workers: Vec<Worker>,
}

#[derive(Deserialize)]
struct Worker {
    elapsed_s: f64,
    off_cpu_s: Option<f64>,
}

/// Measures with `program` for `duration`, with frames of `sizes`.
///
/// # Errors
/// When the program cannot be run, or says that it failed.
pub async fn generator_ceiling(
    program: &Path,
    sizes: &FrameSizes,
    duration: Duration,
) -> Result<GeneratorCeiling, CeilingError> {
    let cpus: Vec<usize> = allowed()?.into_iter().collect();
    let (main, worker) = (cpus.first().copied().unwrap_or(0), cpus.last().copied().unwrap_or(0));
    let wrong = |reason: String| CeilingError::Program { program: program.display().to_string(), reason };
    let running = Command::new(program)
        .args(["--lcores", &format!("0@{main},1@{worker}"), "--no-huge", "-m", "64", "--no-pci"])
        .args(["--file-prefix", &format!("linerate-{}", random_hex(8)?), "--vdev", "net_null0", "--"])
        .args(["tx", "--peer-mac", "02:00:00:00:00:02", "--rate", "max", "--quiet", "--json"])
        .args(["--size", &sizes.to_string(), "--duration", &format!("{}ms", duration.as_millis())])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(duration + START_AND_END, running)
        .await
        .map_err(|_| wrong(format!("it has not ended {} s after its time", START_AND_END.as_secs())))?
        .map_err(|error| wrong(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(wrong(said.trim().lines().last().unwrap_or("it failed without a word").to_owned()));
    }
    let report: Report =
        serde_json::from_slice(&output.stdout).map_err(|error| wrong(format!("its report: {error}")))?;
    let share = |worker: &Worker| worker.off_cpu_s.unwrap_or(0.0) / worker.elapsed_s.max(f64::MIN_POSITIVE);
    let off_cpu = report.workers.iter().map(share).fold(0.0, f64::max).min(1.0);
    Ok(GeneratorCeiling { pps: report.offered_pps, off_cpu })
}
