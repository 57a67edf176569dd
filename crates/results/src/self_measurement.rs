//! What the tester itself can do on a host, measured without a path: a file of the results directory, beside
//! the experiments.

use std::path::Path;

use linerate_traffic::profile::FrameSizes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;
use crate::store::atomic::replace_file;
use crate::store::error::at;
use crate::store::json;
use crate::verdict::VerdictKind;

/// Name of the file in the results directory.
pub const SELF_MEASUREMENT_FILE: &str = "self-measurement.json";

/// The tester's ceilings on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfMeasurement {
    /// Host on which it was measured.
    pub host: String,
    /// Its CPU; null when it is not known.
    pub cpu_model: Option<String>,
    /// When, in UTC (RFC 3339).
    pub measured_at: String,
    /// Version of the programs.
    pub linerate: String,
    /// Seconds of each measurement.
    pub duration_s: f64,
    /// One entry for each frame size.
    pub ceilings: Vec<Ceiling>,
}

/// The tester's ceilings for one frame size, one lcore at each end, in packets per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ceiling {
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// What the generator sends into a port that discards everything.
    pub generator_pps: f64,
    /// Share of the time, 0…1, in which the generator had no CPU: its ceiling is higher on an idle host.
    pub generator_off_cpu: f64,
    /// What a generator and a receiver on this host exchange over shared memory, both as fast as possible.
    pub pair_pps: f64,
    /// Packets of that exchange that were sent and not received.
    pub pair_lost_packets: u64,
    /// What limited that exchange.
    pub pair_limited_by: VerdictKind,
}

impl SelfMeasurement {
    /// Reads the file below `results`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(results: &Path) -> Result<Option<Self>, StoreError> {
        let path = results.join(SELF_MEASUREMENT_FILE);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &path)(error)),
            Ok(bytes) => json::parse(&bytes)
                .map(Some)
                .map_err(|error| at("read", &path)(std::io::Error::other(error.to_string()))),
        }
    }

    /// Writes the file below `results`, in place of an earlier one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, results: &Path) -> Result<(), StoreError> {
        std::fs::create_dir_all(results).map_err(at("create", results))?;
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| at("write", results)(std::io::Error::other(error.to_string())))?;
        bytes.push(b'\n');
        replace_file(results, SELF_MEASUREMENT_FILE, &bytes)
    }

    /// The generator's ceiling for a frame size on this host, when this version measured it.
    pub fn generator_pps(&self, host: &str, frame_size: &FrameSizes) -> Option<f64> {
        let same = self.host == host && self.linerate == env!("CARGO_PKG_VERSION");
        let ceiling = self.ceilings.iter().find(|ceiling| ceiling.frame_size == *frame_size);
        ceiling.filter(|_| same).map(|ceiling| ceiling.generator_pps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_read_back_for_the_same_host_and_size() {
        let results = tempfile::tempdir().unwrap();
        let place = results.path().join("new");
        assert_eq!(SelfMeasurement::read(&place).unwrap(), None);
        let size = |text: &str| text.parse::<FrameSizes>().unwrap();
        let measured = SelfMeasurement {
            host: "here".into(),
            cpu_model: None,
            measured_at: "2026-01-01T00:00:00Z".into(),
            linerate: env!("CARGO_PKG_VERSION").into(),
            duration_s: 1.0,
            ceilings: vec![Ceiling {
                frame_size: size("64"),
                generator_pps: 12.5e6,
                generator_off_cpu: 0.0,
                pair_pps: 5e6,
                pair_lost_packets: 0,
                pair_limited_by: VerdictKind::PortLimited,
            }],
        };
        measured.write(&place).unwrap();
        let read = SelfMeasurement::read(&place).unwrap().unwrap();
        assert_eq!(read, measured);
        assert_eq!(read.generator_pps("here", &size("64")), Some(12.5e6));
        assert_eq!(read.generator_pps("there", &size("64")), None);
        assert_eq!(read.generator_pps("here", &size("512")), None);
        std::fs::write(place.join(SELF_MEASUREMENT_FILE), "{").unwrap();
        assert!(SelfMeasurement::read(&place).unwrap_err().to_string().contains(SELF_MEASUREMENT_FILE));
    }
}
