//! Profiles from Pktgen Lua scripts.
//!
//! A script is a program, so it is run: in a `sandbox` that has nothing but a `pktgen` table which keeps the calls
//! (`recorder`). What they leave on each port becomes a profile (`convert`), or an error that names what cannot.

mod argument;
mod convert;
mod range;
mod recorder;
mod sandbox;
mod settings;
#[cfg(test)]
mod tests;

use linerate_protocol::profile::Profile;

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

/// Runs a script and makes a profile of every port that it sets up.
///
/// # Errors
/// When the script fails, does more than describe traffic, or describes traffic that no profile can.
pub fn import(script: &[u8], limits: Limits) -> Result<Vec<Imported>, ImportError> {
    let recorder = sandbox::run(script.to_vec(), limits)?;
    let (ports, skipped) = recorder.finish()?;
    if ports.is_empty() {
        let problem =
            "the script sets up no port; it must call pktgen.set, pktgen.range or pktgen.start for one";
        return Err(ImportError::new(None, problem));
    }
    let mut imported = Vec::with_capacity(ports.len());
    for (port, settings) in ports {
        let (profile, mut notes) = convert::profile(&settings, &port)?;
        notes.extend(
            skipped.iter().map(|port| format!("port {port} is set up and never started: no profile")),
        );
        imported.push(Imported { port, profile, notes });
    }
    Ok(imported)
}
