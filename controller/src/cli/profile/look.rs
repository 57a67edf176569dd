//! `profile list`, `show` and `validate`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::output::{print, shown, width};
use crate::cli::{Ending, table};
use crate::profile::headers::headers;
use crate::profile::library::{self, Entry};
use crate::profile::{ProfileFileError, load, to_yaml};

pub(super) fn list(directory: &Path, as_json: bool) -> anyhow::Result<Ending> {
    let entries = library::list(directory)?;
    if as_json {
        let listed: Vec<Value> = entries.iter().map(entry).collect();
        print(&serde_json::to_string(&listed)?)?;
    } else if entries.is_empty() {
        print(&format!("no profiles in {}; `linerate profile generate` makes some", directory.display()))?;
    } else {
        print(&table::profiles(directory, &entries, width()))?;
    }
    Ok(Ending::Done)
}

fn entry((file, loaded): &Entry) -> Value {
    match loaded {
        Ok(loaded) => {
            let profile = &loaded.profile;
            let varied: Vec<&str> = profile.sweeps().iter().map(|sweep| sweep.field.name()).collect();
            json!({
                "file": shown(file), "name": profile.name(), "frame_size": profile.frame_sizes(), "flows": profile.flows(),
                "varied": varied, "rate": profile.raw().rate, "stages": profile.raw().stages,
            })
        }
        Err(error) => json!({ "file": shown(file), "error": error.to_string() }),
    }
}

pub(super) fn show(name: &str, directory: &Path, as_json: bool) -> anyhow::Result<Ending> {
    let (file, loaded) = library::find(name, directory)?;
    let profile = &loaded.profile;
    let rows = headers(profile);
    if as_json {
        let document = linerate_traffic::profile::ProfileDocument::from(profile);
        let shown =
            json!({ "file": shown(&file), "name": profile.name(), "document": document, "headers": rows });
        print(&serde_json::to_string(&shown)?)?;
    } else {
        print(&format!("# {}\n{}", file.display(), to_yaml(profile)?))?;
        print(&table::headers(&rows, profile.flows(), width()))?;
    }
    Ok(Ending::Done)
}

pub(super) fn validate(files: &[PathBuf], as_json: bool) -> anyhow::Result<Ending> {
    let checked: Vec<Entry> = files.iter().map(|file| (file.clone(), load(file))).collect();
    if as_json {
        let verdicts: Vec<Value> = checked.iter().map(verdict).collect();
        print(&serde_json::to_string(&verdicts)?)?;
    } else {
        for (file, loaded) in &checked {
            print(&match loaded {
                Ok(loaded) => format!("ok     {}: {}", file.display(), loaded.profile.name()),
                Err(error) => format!("wrong  {error}"),
            })?;
        }
    }
    let all_right = checked.iter().all(|(_, loaded)| loaded.is_ok());
    Ok(if all_right { Ending::Done } else { Ending::Failed })
}

fn verdict((file, loaded): &(PathBuf, Result<crate::profile::Loaded, ProfileFileError>)) -> Value {
    match loaded {
        Ok(loaded) => json!({ "file": shown(file), "ok": true, "name": loaded.profile.name() }),
        Err(error) => {
            let (line, column) = error.place().unzip();
            json!({ "file": shown(file), "ok": false, "line": line, "column": column, "error": error.to_string() })
        }
    }
}
