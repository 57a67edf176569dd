//! Queues and interrupts that are made with another number of queues: many drivers keep what is set of them after they
//! are gone, for when they come back.

use std::collections::BTreeMap;

use super::{Failed, present};
use crate::Error;
use crate::ethtool::Ethtool;
use crate::journal::{Record, Store};
use crate::place::{Place, Value};
use crate::plan::Step;
use crate::system::System;

/// Adds the values of places that were made since, and that these steps change, to the journal.
///
/// # Errors
/// When a value cannot be read or is not on disk. Nothing of the steps may be written then.
pub(super) fn journal<E: Ethtool>(
    system: &mut System<E>,
    store: &Store,
    record: &mut Record,
    steps: &[Step],
    before: &BTreeMap<Place, Value>,
) -> Result<(), Error> {
    let made = steps.iter().map(|(place, _)| place).filter(|place| !before.contains_key(place));
    let made =
        made.map(|place| Ok((place.clone(), system.read(place)?))).collect::<Result<Vec<_>, Error>>()?;
    if made.is_empty() {
        return Ok(());
    }
    record.made = made;
    store.write_again(record)
}

/// Writes their values back while they are there. Returns those that are there and other than before.
pub(super) fn restore<E: Ethtool>(system: &mut System<E>, made: &[(Place, Value)]) -> Vec<Failed> {
    let mut failed = Vec::new();
    for (place, value) in made {
        let Some(place) = present(system, place) else { continue };
        let Ok(now) = system.read(&place) else { continue };
        if value.is_met_by(&now) {
            continue;
        }
        let refused = system.write(&place, value).err();
        if let Ok(now) = system.read(&place)
            && !value.is_met_by(&now)
        {
            let reason = refused.map_or_else(|| format!("it is {now}"), |error| error.to_string());
            failed.push(Failed { name: place.to_string(), wanted: value.clone(), reason });
        }
    }
    failed
}
