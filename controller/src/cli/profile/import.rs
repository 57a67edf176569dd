//! `profile import`: profiles from Pktgen Lua scripts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use linerate_traffic::profile::{Profile, ProfileDocument};
use serde_json::{Value, json};

use super::ImportArgs;
use crate::cli::Ending;
use crate::cli::output::{print, report_error, say, shown};
use crate::profile::{file_in, to_yaml, write};
use linerate_pktgen::{Imported, LARGEST_SCRIPT_BYTES, Limits, Options, Script};

/// A script, and the result of its import.
type Outcome = (PathBuf, anyhow::Result<Placed>);

/// Profiles with their files, and the calls that do not shape traffic.
struct Placed {
    profiles: Vec<(Imported, Option<PathBuf>)>,
    left_out: Vec<String>,
}

pub(super) fn import(args: &ImportArgs) -> anyhow::Result<Ending> {
    let outcomes: Vec<Outcome> = args
        .files
        .iter()
        .map(|file| {
            let script = read(file, Options { grow: args.grow });
            (file.clone(), script.map(|script| placed(script, args.out.as_deref())))
        })
        .collect();
    write_all(&outcomes, args.force)?;
    if args.json {
        let all: Vec<Value> = outcomes.iter().map(|(script, outcome)| object(script, outcome)).collect();
        print(&serde_json::to_string(&all)?)?;
    } else {
        for (script, outcome) in &outcomes {
            tell(script, outcome)?;
        }
    }
    let all_right = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
    Ok(if all_right { Ending::Done } else { Ending::Failed })
}

fn read(path: &Path, options: Options) -> anyhow::Result<Script> {
    let named = || path.display().to_string();
    let mut script = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_SCRIPT_BYTES + 1).read_to_end(&mut script))
        .with_context(named)?;
    anyhow::ensure!(
        script.len() as u64 <= LARGEST_SCRIPT_BYTES,
        "{}: more than {LARGEST_SCRIPT_BYTES} bytes are too many for a script of profiles",
        named()
    );
    linerate_pktgen::import(&script, Limits::default(), options).with_context(named)
}

/// Files of a script's profiles. Several ports have a directory each, because they may send the same.
fn placed(script: Script, out: Option<&Path>) -> Placed {
    let several = script.profiles.iter().any(|one| one.port != script.profiles[0].port);
    let file = |one: &Imported| {
        let directory = out?;
        let directory =
            if several { directory.join(format!("port{}", one.port)) } else { directory.to_owned() };
        Some(file_in(&directory, &one.profile))
    };
    let profiles = script
        .profiles
        .into_iter()
        .map(|one| {
            let file = file(&one);
            (one, file)
        })
        .collect();
    Placed { profiles, left_out: script.left_out }
}

/// Writes the profiles; equal profiles of several scripts share a file.
fn write_all(outcomes: &[Outcome], force: bool) -> anyhow::Result<()> {
    let mut files: BTreeMap<PathBuf, &Profile> = BTreeMap::new();
    for (one, file) in
        outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).flat_map(|placed| &placed.profiles)
    {
        if let Some(file) = file {
            files.insert(file.clone(), &one.profile);
        }
    }
    write(&files.into_iter().collect::<Vec<_>>(), force)?;
    Ok(())
}

fn object(script: &Path, outcome: &anyhow::Result<Placed>) -> Value {
    match outcome {
        Ok(placed) => {
            let profiles: Vec<Value> = placed
                .profiles
                .iter()
                .map(|(one, file)| {
                    json!({
                        "port": one.port, "name": one.profile.name(), "file": file.as_deref().map(shown), "notes": one.notes,
                        "document": ProfileDocument::from(&one.profile),
                    })
                })
                .collect();
            json!({ "script": shown(script), "profiles": profiles, "left_out": placed.left_out })
        }
        Err(error) => json!({ "script": shown(script), "error": format!("{error:#}") }),
    }
}

fn tell(script: &Path, outcome: &anyhow::Result<Placed>) -> anyhow::Result<()> {
    let placed = match outcome {
        Ok(placed) => placed,
        Err(error) => {
            report_error(error);
            return Ok(());
        }
    };
    for (one, file) in &placed.profiles {
        let said = match file {
            Some(file) => format!("{} port {}: wrote {}", script.display(), one.port, file.display()),
            None => {
                format!(
                    "---\n# {} port {}\n{}",
                    script.display(),
                    one.port,
                    to_yaml(&one.profile)?.trim_end()
                )
            }
        };
        print(&said)?;
        for note in &one.notes {
            say(&format!("note: {} port {}: {note}", script.display(), one.port));
        }
    }
    if !placed.left_out.is_empty() {
        let names = placed.left_out.join(", ");
        say(&format!("note: {}: calls that shape no traffic are left out: {names}", script.display()));
    }
    Ok(())
}
