//! Transfer of a trial's flows from the receiver to a file. Memory holds one reply at a time.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use linerate_wire::flow_lines::FlowLines;
use linerate_wire::report::FlowReport;
use tempfile::NamedTempFile;

use super::agent::Agent;
use super::trial::Stopped;
use linerate_results::store::UNFINISHED;
use linerate_results::store::error::at;

/// Fetches every flow of the agent's finished trial into a file in `directory`. The file is removed unless
/// the caller persists it.
///
/// # Errors
/// When the agent does not reply, or the file cannot be written.
pub(super) async fn fetch(
    agent: &Agent,
    lines: FlowLines<'_>,
    directory: &Path,
) -> Result<NamedTempFile, Stopped> {
    let unfiled = |reason: io::Error| {
        let error = at("write every flow to", directory)(reason);
        Stopped::Unfiled(error.to_string())
    };
    let file = tempfile::Builder::new()
        .prefix(&format!("{UNFINISHED}flows-"))
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(unfiled)?;
    let mut out = BufWriter::new(file);
    let mut text = lines.header();
    let mut first = 0;
    loop {
        let rows = match agent.session.flows(first).await {
            Ok(rows) => rows.rows,
            Err(error) => return Err(Stopped::by(agent, error).await),
        };
        for (flow, row) in (first..).zip(&rows) {
            lines.append(&FlowReport::from_row(flow, row), &mut text);
        }
        out.write_all(text.as_bytes()).map_err(unfiled)?;
        text.clear();
        if rows.is_empty() {
            break;
        }
        first += rows.len() as u32;
    }
    let file = out.into_inner().map_err(|error| unfiled(error.into_error()))?;
    file.as_file().sync_all().map_err(unfiled)?;
    Ok(file)
}
