//! Profiles from Pktgen Lua scripts.
//!
//! A script is a program, so it is run: in a `sandbox` that has a `pktgen` table which keeps the calls (`recorder`) and
//! stand-ins for what scripts use besides (`prelude.lua`). What a port sends (`port`) becomes a profile (`convert`), or an error
//! that names what cannot.

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

/// Bytes of a script at most.
pub const LARGEST_SCRIPT_BYTES: u64 = 1 << 20;

/// A script that cannot become a profile: where, what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", line.map_or(String::new(), |line| format!("line {line}: ")))]
pub struct ImportError {
    /// Line of the script, where one is at fault.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub problem: String,
}

impl ImportError {
    fn new(line: Option<usize>, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// What importers may choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Frames too short for headers and probe become the shortest that hold them; otherwise they are an error.
    pub grow: bool,
}

/// What a script comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Profiles of its ports, at least one: one for each load that a port is started with.
    pub profiles: Vec<Imported>,
    /// Calls that shape no traffic, by name.
    pub left_out: Vec<String>,
}

/// The profile of a port that a script sets up.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The port's number, or `all`.
    pub port: String,
    /// What it sends.
    pub profile: Profile,
    /// What of the script has no place in a profile, or stands there in another form.
    pub notes: Vec<String>,
}

/// Runs a script and makes profiles of what its ports send.
///
/// # Errors
/// When the script fails, or describes traffic that no profile can.
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
