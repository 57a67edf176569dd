//! `--flows-file`: a file of every flow, written completely or not at all.

use std::fs::Permissions;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use linerate_logging::terminal::escaped_path;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::Profile;
use linerate_wire::flow_lines::FlowLines;
use tempfile::NamedTempFile;

use super::output::Failure;
use linerate_measure::flow_table::FlowTable;

/// Prefix of unfinished files' names.
const UNFINISHED: &str = ".part-";
/// Approximate size in bytes of the pieces in which lines are written.
const PIECE_BYTES: usize = 1 << 16;

/// A file that will hold every flow. Dropping it unfinished removes it.
#[derive(Debug)]
pub(super) struct FlowsFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl FlowsFile {
    /// Checks that the file can be written, and creates it: its directory exists and is writable, and has
    /// room for the flows of `profile` from each of `receivers`.
    pub(super) fn create(path: &Path, profile: Option<&Profile>, receivers: u64) -> Result<Self, Failure> {
        if path.exists() && !path.is_file() {
            return Err(refused(
                path,
                "there is something else in its place that is no file",
                "choose another place",
            ));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)
            .map_err(|error| unwritable(path, &error))?;
        let lines = FlowLines { traffic: profile.map(nowhere), sent: None, delays_valid: true };
        let wanted = lines.least_bytes().saturating_mul(receivers);
        if let Ok(space) = rustix::fs::fstatvfs(file.as_file()) {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            if free < wanted {
                let reason = format!("its {wanted} bytes do not fit into the {free} that are free there");
                return Err(refused(
                    path,
                    &reason,
                    "free some space, choose another place, or ask for fewer flows",
                ));
            }
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the flows of each receiver, and moves the file to its path. With several receivers, lines begin
    /// with the receiver's port.
    pub(super) fn write(mut self, receivers: &[Received<'_>]) -> Result<(), Failure> {
        let written = write_flows(self.file.as_file_mut(), receivers);
        written
            .and_then(|()| self.file.as_file().sync_all())
            .map_err(|error| unwritable(&self.path, &error))?;
        self.file.persist(&self.path).map_err(|error| unwritable(&self.path, &error.error))?;
        Ok(())
    }
}

/// Flows that a port received.
#[derive(Debug)]
pub(super) struct Received<'a> {
    /// The port.
    pub(super) port: u16,
    /// Format of the lines.
    pub(super) lines: FlowLines<'a>,
    /// The flows.
    pub(super) flows: &'a FlowTable,
}

fn write_flows(file: impl Write, receivers: &[Received<'_>]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(PIECE_BYTES, file);
    let several = receivers.len() > 1;
    if let Some(first) = receivers.first() {
        write!(out, "{}{}", if several { "rx_port," } else { "" }, first.lines.header())?;
    }
    let mut line = String::new();
    for Received { port, lines, flows } in receivers {
        for flow in flows.reports() {
            line.clear();
            if several {
                line.push_str(&format!("{port},"));
            }
            lines.append(&flow, &mut line);
            out.write_all(line.as_bytes())?;
        }
    }
    out.flush()
}

/// A profile between ports that are not known yet.
fn nowhere(profile: &Profile) -> (&Profile, (MacAddr, MacAddr)) {
    (profile, (MacAddr([0; 6]), MacAddr([0; 6])))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, or choose another place",
        ErrorKind::NotFound => "choose a directory that is there",
        _ => "choose a place that you may write to",
    };
    refused(path, &error.to_string(), remedy)
}

fn refused(path: &Path, reason: &str, remedy: &str) -> Failure {
    Failure::failed(format!("--flows-file {}: {reason}\n  remedy: {remedy}", escaped_path(path)))
}
