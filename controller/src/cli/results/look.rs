//! `results list` and `show`.

use std::path::Path;

use anyhow::bail;
use serde_json::json;

use super::super::output::{print, say, width};
use super::super::table;
use super::plots::{self, Wanted};
use linerate_results::store::{self, Recorded, is_id};
use linerate_results::summary::TrialSummary;

pub(in crate::cli) fn list(results: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut listed = store::list(results)?;
    // The latest last, unreadable ones first.
    listed
        .sort_by_key(|(_, loaded)| loaded.as_ref().ok().map(|summary| summary.experiment.started_at.clone()));
    if as_json {
        let values: Vec<_> = listed
            .iter()
            .map(|(id, loaded)| match loaded {
                Ok(summary) => {
                    json!({ "id": id, "status": summary.status, "experiment": summary.experiment })
                }
                Err(error) => json!({ "id": id, "error": error.to_string() }),
            })
            .collect();
        print(&serde_json::to_string(&values)?)?;
    } else if listed.is_empty() {
        print(&format!("no experiments in {}", results.display()))?;
    } else {
        print(&table::experiments(&listed, width()))?;
    }
    Ok(())
}

/// Refuses a text that is not an experiment id.
pub(in crate::cli) fn check_id(id: &str) -> anyhow::Result<()> {
    if !is_id(id) {
        bail!(
            "'{id}' is not the id of an experiment, which is 8 hexadecimal digits; see `linerate results list`"
        );
    }
    Ok(())
}

pub(in crate::cli) fn show(results: &Path, id: &str, series: &[String], as_json: bool) -> anyhow::Result<()> {
    if let Some(unknown) = series.iter().find(|key| !plots::is_known(key)) {
        bail!("no series is called '{unknown}'; `--series all` shows every one");
    }
    let recorded = Recorded::open(results, id)?;
    let summary = &recorded.summary;
    if as_json {
        print(&serde_json::to_string(summary)?)?;
        return Ok(());
    }
    print(&format!("{} {} {}", id, summary.experiment.started_at, summary.experiment.name))?;
    print(&table::trials(summary, width()))?;
    if let Some(reason) = &summary.reason {
        print(&format!("reason: {reason}"))?;
    }
    let wanted = Wanted::of(series);
    // A search has many trials, which are drawn only when series are asked for.
    let drawn = |trial: &&TrialSummary| trial.search.is_none() || !series.is_empty();
    for trial in summary.trials.iter().filter(drawn) {
        print(&format!("\n{} {} {}", trial.profile, trial.pair, place(trial)))?;
        match recorded.trial(&trial.trial) {
            Ok(record) => print(&plots::series(&record, &wanted))?,
            Err(error) => say(&format!("error: {error}")),
        }
    }
    Ok(())
}

/// Which trial of its profile it is.
fn place(trial: &TrialSummary) -> String {
    match &trial.search {
        Some(place) => format!("search {} trial {}", place.number, place.ordinal),
        None => format!("repeat {}", trial.repeat),
    }
}
