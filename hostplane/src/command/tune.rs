//! `tune`: how an interface's packets reach CPUs, shown, changed for a while, and restored.

use std::path::Path;

use linerate_logging::terminal::escaped;
use linerate_netlink::interface_index;
use linerate_tune::journal::{Record, Store};
use linerate_tune::system::System;
use linerate_tune::tuning::{Recovery, Tuning, layout, recover};
use linerate_tune::{Error, settings};
use serde_json::{Value, json};

use super::Ending;
use super::output::{Failure, print_json, print_text, say};
use super::trial::block_on;
use super::tune_args::{Apply, TuneCommand};
use super::tune_run::{Stops, hold, until_eof};
use crate::sys::ethtool::Driver;
use crate::sys::sockopt::namespace_cookie;
use crate::tune_text as text;

const ROOT: &str = "/";

/// The settings of an interface of this network namespace.
fn open(interface: &str) -> Result<System<Driver>, Error> {
    let of = |reason| {
        let name = escaped(interface);
        Error::Other(format!(
            "interface {name}: {reason}; `ip link` lists the interfaces of this network namespace"
        ))
    };
    let ifindex = interface_index(interface).map_err(of)?;
    System::open(Path::new(ROOT), interface, ifindex, Driver::open(interface).map_err(of)?)
}

fn store(journals: &Path) -> Result<Store, Error> {
    Store::new(Path::new(ROOT), journals, namespace_cookie())
}

pub(super) fn run(command: TuneCommand) -> Result<Ending, Failure> {
    match command {
        TuneCommand::Show { interface, journals, json } => show(&interface, &journals, json),
        TuneCommand::Restore { journals, forget, json } => restore(&journals, forget, json),
        TuneCommand::Apply(apply) if apply.dry_run => dry_run(&apply),
        TuneCommand::Apply(apply) => block_on(async move { run_apply(*apply).await }),
    }
}

fn show(interface: &str, journals: &Path, json: bool) -> Result<Ending, Failure> {
    let mut system = open(interface)?;
    let settings = system.settings();
    let is_changed = store(journals)?.has_journal(system.interface());
    if json {
        let mut object = serde_json::to_value(&settings)?;
        if let Value::Object(object) = &mut object {
            object.insert("is_changed".to_owned(), is_changed.into());
        }
        print_json(&object)?;
    } else {
        print_text(&escaped(&text::settings(&settings, is_changed)))?;
    }
    Ok(Ending::Done)
}

fn dry_run(apply: &Apply) -> Result<Ending, Failure> {
    let mut system = open(&apply.interface)?;
    let layout = layout(&mut system)?;
    let first = apply.wanted.first(&layout)?;
    let renews = !first.is_empty();
    // For another number of queues the plan is made when they are there.
    let second = if renews {
        apply.wanted.second(&layout).unwrap_or_default()
    } else {
        apply.wanted.second(&layout)?
    };
    let steps: Vec<_> = first.into_iter().chain(second).collect();
    let values: Vec<_> = steps
        .into_iter()
        .map(|(place, wanted)| {
            let now = system.read(&place).map_err(|error| error.to_string());
            (place, now, wanted)
        })
        .collect();
    if apply.json {
        let list: Vec<Value> = values
            .iter()
            .map(|(place, now, wanted)| {
                json!({ "name": place.to_string(), "place": place, "now": now.as_ref().ok(), "wanted": wanted,
                        "error": now.as_ref().err() })
            })
            .collect();
        print_json(&json!({ "would_change": list, "for_the_queues_of_now": renews }))?;
    } else {
        print_text(&escaped(&text::plan(&values, renews)))?;
    }
    Ok(Ending::Done)
}

fn need_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::failed(
        "settings are changed by root alone (CAP_NET_ADMIN, and /sys and /proc/irq that can be written to); `tune show` and --dry-run need no privilege",
    ))
}

/// Restores what is left behind, and tells it. False when something is not restored.
fn recover_all(store: &Store, quiet: bool) -> Result<(bool, Vec<Value>), Failure> {
    let (mut is_whole, mut list) = (true, Vec::new());
    for (journal, recovery) in recover(Path::new(ROOT), store, open)? {
        let has_failed = match &recovery {
            Recovery::Restored(restored) => !restored.failed.is_empty(),
            Recovery::Discarded(_) | Recovery::AtWork => false,
            // One of another network namespace is in nobody's way.
            Recovery::Left(_) => !matches!(&journal, Ok(record) if !store.is_of_this_namespace(record)),
        };
        is_whole &= !has_failed;
        if has_failed || !quiet {
            say(&escaped(&text::recovery(journal.as_ref(), &recovery)));
        }
        list.push(match journal {
            Ok(Record { interface, pid, unix_s, .. }) => {
                json!({ "interface": interface, "pid": pid, "unix_s": unix_s, "outcome": recovery })
            }
            Err(error) => json!({ "error": error.to_string(), "outcome": recovery }),
        });
    }
    Ok((is_whole, list))
}

fn restore(journals: &Path, forget: bool, json: bool) -> Result<Ending, Failure> {
    need_root()?;
    let store = store(journals)?;
    let (mut is_whole, list) = recover_all(&store, json)?;
    let mut forgotten = Vec::new();
    if forget {
        for record in store.journals()?.into_iter().flatten() {
            // A process at work holds its lock, and restores by itself.
            let Ok(_lock) = store.lock_of(&record) else { continue };
            store.remove(&record)?;
            forgotten.push(record.interface.name);
        }
        is_whole |= store.journals()?.iter().all(Result::is_ok);
    }
    if json {
        print_json(&json!({ "journals": list, "forgotten": forgotten }))?;
    } else if list.is_empty() {
        print_text("nothing was left behind")?;
    } else if !forgotten.is_empty() {
        print_text(&escaped(&format!(
            "forgotten, and left as they are: settings of {}",
            forgotten.join(", ")
        )))?;
    }
    Ok(if is_whole { Ending::Done } else { Ending::Incomplete })
}

async fn run_apply(apply: Apply) -> Result<Ending, Failure> {
    need_root()?;
    let mut stops = Stops::new()?;
    let store = store(&apply.journals)?;
    let (is_whole, _) = recover_all(&store, apply.quiet)?;
    if !is_whole {
        return Err(Failure::failed(
            "what was left behind is not restored: `tune restore --forget` leaves it as it is; a journal that cannot be read is to be removed by hand",
        ));
    }
    let system = open(&apply.interface)?;
    look_for_irqbalance(&apply)?;
    if let Some(ending) = stops.pending().await {
        return Ok(ending);
    }
    let (tuning, applied) = Tuning::apply(system, store, &apply.wanted)?;
    if apply.json {
        print_json(&json!({ "applied": applied }))?;
    }
    let took = applied.iter().all(|step| step.took);
    if !apply.quiet || !took {
        say(&escaped(&text::applied(&applied)));
    }
    let ending = if took || apply.allow_partial {
        match tuning.share_locks() {
            Ok(()) if apply.until_eof => {
                until_eof(&mut stops).await;
                if apply.json {
                    // Whoever started it may be gone.
                    let _ = print_json(&json!({ "restoring": true }));
                }
                Ok(Ending::Done)
            }
            Ok(()) => hold(&apply.command, &mut stops, apply.quiet).await,
            Err(error) => Err(error.into()),
        }
    } else {
        Err(Failure::failed(
            "not every setting took, so nothing was run and all is restored; --allow-partial goes on all the same",
        ))
    };
    let restored = tuning.restore()?;
    if apply.json {
        print_json(&json!({ "restored": restored }))?;
    }
    if !apply.quiet || !restored.failed.is_empty() || restored.link_down.is_some() {
        say(&escaped(&text::restored(&restored)));
    }
    if !restored.failed.is_empty() {
        return Err(Failure::failed("not everything is restored; `tune restore` tries again"));
    }
    ending
}

fn look_for_irqbalance(apply: &Apply) -> Result<(), Failure> {
    let runs = settings::runs(Path::new(ROOT), "irqbalance");
    let moves = apply.wanted.irq_cpus.is_some();
    match runs {
        Some(true) if moves && !apply.with_irqbalance => Err(Failure::failed(
            "irqbalance runs and would move the interrupts again: stop it (systemctl stop irqbalance), or accept that with --with-irqbalance",
        )),
        Some(true) => {
            say("irqbalance runs: it may move interrupts meanwhile");
            Ok(())
        }
        None if moves => {
            say(
                "not all processes of the host are seen here: irqbalance, if it runs, moves the interrupts again",
            );
            Ok(())
        }
        _ => Ok(()),
    }
}
