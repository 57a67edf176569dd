//! What killed processes left behind is restored from their journals.

use std::path::Path;

use super::{Recovered, Recovery, name_of, of_host, restore, restore_all};
use crate::Error;
use crate::ethtool::Ethtool;
use crate::journal::{Record, Store};
use crate::place::Place;
use crate::system::System;

/// Restores what killed processes left behind. `open` opens an interface of this network namespace by its name.
///
/// # Errors
/// When journals cannot be read at all.
pub fn recover<E: Ethtool>(
    root: &Path,
    store: &Store,
    mut open: impl FnMut(&str) -> Result<System<E>, Error>,
) -> Result<Vec<Recovered>, Error> {
    let mut all = Vec::new();
    for journal in store.journals()? {
        let recovery = match &journal {
            Err(_) => Recovery::Left("it cannot be read".to_owned()),
            Ok(record) => match recover_one(root, store, record, &mut open) {
                Ok(recovery) => recovery,
                Err(Error::Busy(_)) => Recovery::AtWork,
                Err(error) => Recovery::Left(error.to_string()),
            },
        };
        all.push((journal, recovery));
    }
    Ok(all)
}

fn recover_one<E: Ethtool>(
    root: &Path,
    store: &Store,
    record: &Record,
    open: &mut impl FnMut(&str) -> Result<System<E>, Error>,
) -> Result<Recovery, Error> {
    if record.boot_id != store.boot_id {
        let _lock = store.lock_of(record)?;
        store.remove(record)?;
        return Ok(Recovery::Discarded(
            "the machine has started again since, without these settings".to_owned(),
        ));
    }
    if record.namespace != store.namespace {
        return recover_governors(store, record, open);
    }
    let _lock = store.lock(&record.interface)?;
    let is_host_wide = record.before.iter().any(|(place, _)| place.is_host_wide());
    let _host = if is_host_wide { Some(store.lock_host()?) } else { None };
    // Its process may have ended between the two.
    if !store.journals()?.into_iter().flatten().any(|now| now == *record) {
        return Ok(Recovery::Discarded("its process has restored everything".to_owned()));
    }
    let present = name_of(root, record.interface.ifindex)?.map(|name| open(&name)).transpose()?;
    let present = present
        .filter(|system| system.interface().is(&record.interface) && !store.is_of_its_predecessor(record));
    if let Some(system) = &present
        && store.may_be_of_its_predecessor(record)
        && !system.interface().has_an_address_of(&record.interface)
    {
        return Ok(Recovery::Left(format!(
            "{} has the address {} now, and not {}: it may be an interface of a later network namespace with the same number; \
             `tune restore --forget` leaves it as it is",
            record.interface.name,
            system.interface().mac,
            record.interface.mac
        )));
    }
    let (mut system, before) = match present {
        Some(mut system) => {
            let restored = restore_all(&mut system, record);
            if restored.failed.is_empty() {
                store.remove(record)?;
            }
            return Ok(Recovery::Restored(restored));
        }
        // Settings of the host need no interface, and every namespace has this one.
        None if is_host_wide => (open("lo")?, of_host(&record.before)),
        None if record.interface.is_elsewhere(root) => return Ok(elsewhere()),
        None => {
            store.remove(record)?;
            return Ok(Recovery::Discarded("the interface is gone, and its settings with it".to_owned()));
        }
    };
    let restored = restore(&mut system, &before);
    let is_part = before.len() < record.before.len();
    if is_part && restored.failed.is_empty() && record.interface.is_elsewhere(root) {
        return Ok(elsewhere());
    }
    if restored.failed.is_empty() {
        store.remove(record)?;
    }
    Ok(Recovery::Restored(restored))
}

/// Of a journal of another network namespace, which may be gone, restores the governors: CPUs are those of every namespace.
fn recover_governors<E: Ethtool>(
    store: &Store,
    record: &Record,
    open: &mut impl FnMut(&str) -> Result<System<E>, Error>,
) -> Result<Recovery, Error> {
    let left = || Recovery::Left(format!("it is of another network namespace, {}", record.namespace));
    let (governors, others): (Vec<_>, Vec<_>) =
        record.before.iter().cloned().partition(|(place, _)| matches!(place, Place::Governor { .. }));
    if governors.is_empty() {
        return Ok(left());
    }
    let (_lock, _host) = (store.lock_of(record)?, store.lock_host()?);
    // Its process may have ended between the two.
    if !store.journals()?.into_iter().flatten().any(|now| now == *record) {
        return Ok(Recovery::Discarded("its process has restored everything".to_owned()));
    }
    let restored = restore(&mut open("lo")?, &governors);
    if !restored.failed.is_empty() {
        return Ok(Recovery::Restored(restored));
    }
    if others.is_empty() && record.made.is_empty() {
        store.remove(record)?;
        return Ok(Recovery::Restored(restored));
    }
    let mut rest = record.clone();
    rest.before = others;
    store.write_again(&rest)?;
    Ok(left())
}

/// The old values stay known: the device keeps its settings in every namespace.
fn elsewhere() -> Recovery {
    let reason = "the interface is in another network namespace now, with its settings: `tune restore` when it is back";
    Recovery::Left(reason.to_owned())
}
