//! `results report`: human-readable reports of an experiment.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::output::{print, say, shown};
use super::PlaceArgs;
use super::look::check_id;
use linerate_report::pages::source::Source;
use linerate_report::pages::{ReportFormat, report};
use linerate_results::store;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// The experiment's 8 hexadecimal digits
    id: String,
    /// Formats, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "html")]
    format: Vec<ReportFormat>,
    /// Directory of the files, created if missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Writes the report in every requested format; prints the files' paths.
pub(in crate::cli) fn write(args: &ReportArgs) -> anyhow::Result<()> {
    check_id(&args.id)?;
    let source = Source::load(&args.place.results, &args.id)?;
    for reason in &source.unread {
        say(&format!("warning: the report lacks a trial's details: {reason}"));
    }
    let report = report(&source);
    let mut formats = args.format.clone();
    formats.sort_unstable();
    formats.dedup();
    let mut files = Vec::new();
    for format in formats {
        let path = store::write_report(
            &args.to,
            &format.file_name(&args.id),
            &format.render(&report, &source.summary)?,
        )?;
        files.push((format, path));
    }
    if args.place.json {
        let files: Vec<_> = files
            .iter()
            .map(|(format, path)| json!({ "format": format.name(), "path": shown(path) }))
            .collect();
        print(&serde_json::to_string(&json!({ "id": args.id, "files": files }))?)?;
    } else {
        files.iter().try_for_each(|(_, path)| print(&shown(path)))?;
    }
    Ok(())
}
