//! `results list` and `show`.

use std::path::Path;

use anyhow::bail;
use serde_json::json;

use super::super::output::print;
use super::super::table;
use crate::store::{self, is_id};

pub(in crate::cli) fn list(results: &Path, as_json: bool) -> anyhow::Result<()> {
    let listed = store::list(results)?;
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
        print(&table::experiments(&listed))?;
    }
    Ok(())
}

/// Refuses what cannot be the id of an experiment.
pub(in crate::cli) fn check_id(id: &str) -> anyhow::Result<()> {
    if !is_id(id) {
        bail!(
            "'{id}' is not the id of an experiment, which is 8 hexadecimal digits; see `linerate results list`"
        );
    }
    Ok(())
}

pub(in crate::cli) fn show(results: &Path, id: &str, as_json: bool) -> anyhow::Result<()> {
    check_id(id)?;
    let summary = store::load(results, id)?;
    if as_json {
        print(&serde_json::to_string(&summary)?)?;
    } else {
        print(&format!("{} {} {}", id, summary.experiment.started_at, summary.experiment.name))?;
        print(&table::trials(&summary))?;
        if let Some(reason) = &summary.reason {
            print(&format!("reason: {reason}"))?;
        }
    }
    Ok(())
}
