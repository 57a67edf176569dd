//! Import of profiles from Pktgen Lua scripts.
//!
//! A script is a program, so it is executed: in a `sandbox` with a `pktgen` table that records the calls
//! (`recorder`) and substitutes for the other functions that scripts use (`prelude.lua`). The traffic of a
//! port (`port`) becomes a profile (`convert`), or an error that names what cannot be expressed.

mod argument;
mod calls;
mod convert;
mod port;
mod range;
mod recorder;
mod sandbox;
#[cfg(test)]
mod script_tests;
mod sequence;
mod settings;
#[cfg(test)]
mod tests;

use linerate_traffic::profile::Profile;

use recorder::Finished;
pub use sandbox::Limits;

/// Largest size of a script in bytes.
pub const LARGEST_SCRIPT_BYTES: u64 = 1 << 20;

/// Why a script cannot become a profile: place, problem and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", line.map_or(String::new(), |line| format!("line {line}: ")))]
pub struct ImportError {
    /// Line of the script, if a line is the cause.
    pub line: Option<usize>,
    /// The problem, with the remedy.
    pub problem: String,
}

impl ImportError {
    fn new(line: Option<usize>, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// Options of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// True to enlarge frames that are too short for headers and probe; otherwise they are an error.
    pub grow: bool,
}

/// Result of importing a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Profiles of its ports, at least one: one for each load that a port is started with.
    pub profiles: Vec<Imported>,
    /// Calls that do not shape traffic, by name.
    pub left_out: Vec<String>,
}

/// The profile of a port.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The port's number, or `all`.
    pub port: String,
    /// Its traffic.
    pub profile: Profile,
    /// Notes on settings that the profile cannot express, or expresses in another form.
    pub notes: Vec<String>,
}

/// Runs a script and converts the traffic of its ports to profiles.
///
/// # Errors
/// When the script fails, or describes traffic that a profile cannot express.
pub fn import(script: &[u8], limits: Limits, options: Options) -> Result<Script, ImportError> {
    let Finished { loads, skipped, left_out, measured } =
        sandbox::run(sandbox::text(script), limits)?.finish()?;
    if loads.is_empty() {
        let only = match &left_out[..] {
            [] => String::new(),
            names => format!(" (what it calls shapes no traffic: {})", names.join(", ")),
        };
        let problem = format!(
            "the script sets up no port, so there is no profile in it{only}; traffic is what pktgen.set, pktgen.range, \
             pktgen.seqTable and pktgen.start give a port"
        );
        return Err(ImportError::new(None, problem));
    }
    let mut profiles: Vec<Imported> = Vec::with_capacity(loads.len());
    for (port, sent) in loads {
        let (profile, mut notes) = convert::profile(&sent, &port, options)?;
        if profiles.iter().any(|other| other.port == port && other.profile == profile) {
            continue;
        }
        notes.extend(
            skipped.iter().map(|port| format!("port {port} is set up and never started: no profile")),
        );
        notes.extend(measured.map(|at| {
            let line = at.0.map_or(String::new(), |line| format!(" (line {line})"));
            format!("the script reads counters or port states{line}: counters are 0 here, and what it decides by them may differ")
        }));
        profiles.push(Imported { port, profile, notes });
    }
    Ok(Script { profiles, left_out })
}
