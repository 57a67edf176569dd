//! Settings that are changed for a while: lock, journal, values, verification, and back.

mod made;
mod recovery;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use linerate_observe::queues::Direction;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::ethtool::{self, CHANNELS, Ethtool};
use crate::journal::{Lock, Record, Store};
use crate::place::{Place, Value};
use crate::plan::{Layout, Step, Wanted};
use crate::system::{Interface, System, read_text};

pub use recovery::recover;

/// Longest time that a link may take to come up after its device was closed. Negotiation takes 1 to 5 s.
const LINK: Duration = Duration::from_secs(15);

/// A setting that was wanted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its name, such as `rx-0 rps_cpus`.
    pub name: String,
    /// Its place.
    pub place: Place,
    /// The value before; null for queues and interrupts that were made since.
    pub before: Option<Value>,
    /// The value that was wanted.
    pub wanted: Value,
    /// The value in force after all changes; null when it cannot be read.
    pub now: Option<Value>,
    /// True when that is what was wanted.
    pub took: bool,
    /// Why it was refused, or cannot be read.
    pub error: Option<String>,
}

/// A value that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// The value until now; null when it could not be read.
    pub from: Option<Value>,
    /// The value before the changes, and now again.
    pub to: Value,
}

/// A value that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its name.
    pub name: String,
    /// The value before the changes.
    pub wanted: Value,
    /// Why it is not in force.
    pub reason: String,
}

/// What restoring did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restored {
    /// Values that were written.
    pub restored: Vec<Change>,
    /// Number of values that were as before.
    pub untouched: usize,
    /// Values that could not be restored.
    pub failed: Vec<Failed>,
    /// Why the link is not up again as it was; null when it is, or was not.
    pub link_down: Option<String>,
}

/// What was done with the journal of a process that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Its values are in force again, or some of them are not.
    Restored(Restored),
    /// There is nothing to restore, and why.
    Discarded(String),
    /// Its process is at work, and will restore them.
    AtWork,
    /// It is not for this process, and why.
    Left(String),
}

/// A journal, and what was done with it.
pub type Recovered = (Result<Record, Error>, Recovery);

/// Interrupts and queues of now.
pub fn layout<E: Ethtool>(system: &mut System<E>) -> Result<Layout, Error> {
    let mapping = system.mapping();
    let queue_of = |irq: u32| {
        let of = |wanted| {
            let mut queues = mapping.iter().filter(move |((direction, _), _)| *direction == wanted);
            let found = queues.find(|(_, served)| served.irq.is_some_and(|(number, _)| number == irq));
            found.map(|((_, queue), _)| *queue)
        };
        of(Direction::Rx).or_else(|| of(Direction::Tx))
    };
    let all = system.irqs().into_iter().map(|irq| (irq.number, irq.action, queue_of(irq.number)));
    let (of_queues, others): (Vec<_>, Vec<_>) = all.partition(|(_, _, queue)| queue.is_some());
    Ok(Layout {
        rx: system.rx_queues(),
        tx: system.tx_queues(),
        // Interrupts of links and commands are in nobody's way, where queues are known.
        irqs: if of_queues.is_empty() { others } else { of_queues },
        online: system.online()?,
        isolated: system.isolated(),
        rss_entries: ethtool::rss_table(&mut system.driver).map_or(0, |table| table.len()),
        rss_rings: ethtool::rx_rings(&mut system.driver).unwrap_or(0),
        channel_limits: CHANNELS.limits(&mut system.driver).unwrap_or_default(),
    })
}

/// Settings that are changed until they are restored, or this is dropped.
#[derive(Debug)]
pub struct Tuning<E: Ethtool> {
    system: System<E>,
    store: Store,
    /// `None` once it is restored.
    record: Option<Record>,
    locks: (Lock, Option<Lock>),
}

impl<E: Ethtool> Tuning<E> {
    /// Changes settings. What did not take is in the list; nothing is undone for it.
    ///
    /// # Errors
    /// When another process is at work, when there is nothing that could be changed, or when the old values cannot be
    /// read or are not on disk. Nothing has been changed then.
    pub fn apply(
        mut system: System<E>,
        store: Store,
        wanted: &Wanted,
    ) -> Result<(Self, Vec<Applied>), Error> {
        let lock = store.lock(system.interface())?;
        let host = if wanted.is_host_wide() { Some(store.lock_host()?) } else { None };
        refuse_leftovers(&store, system.interface(), wanted)?;
        let before_layout = layout(&mut system)?;
        let first = wanted.first(&before_layout)?;
        // With another number of queues, another plan follows.
        let second = if first.is_empty() { wanted.second(&before_layout)? } else { Vec::new() };
        // What is wanted of the queues of now must be readable then, too.
        let ahead =
            if first.is_empty() { Vec::new() } else { wanted.second(&before_layout).unwrap_or_default() };
        let is_wanted =
            |place: &Place| [&first, &second, &ahead].into_iter().any(|steps| is_among(place, steps));
        let mut before = Vec::new();
        for place in wanted.affected(&before_layout) {
            match system.read(&place) {
                Ok(value) => before.push((place, value)),
                Err(error) if is_wanted(&place) => return Err(error),
                // The driver has no such setting, and nobody asked for it.
                Err(_) => {}
            }
        }
        let record = Some(store.write(system.interface(), &before)?);
        let mut tuning = Self { system, store, record, locks: (lock, host) };
        let applied = tuning.write_all(wanted, first, second, &before.into_iter().collect());
        Ok((tuning, applied))
    }

    fn write_all(
        &mut self,
        wanted: &Wanted,
        first: Vec<Step>,
        second: Vec<Step>,
        before: &BTreeMap<Place, Value>,
    ) -> Vec<Applied> {
        let mut written: Vec<(Place, Value, Option<String>)> = Vec::new();
        let renews = !first.is_empty();
        let mut write = |system: &mut System<E>, steps: Vec<Step>| {
            for (place, value) in steps {
                // A driver that is told the present number may reset all the same.
                let is_so = system.read(&place).is_ok_and(|now| value.is_met_by(&now));
                let error = if is_so { None } else { system.write(&place, &value).err() };
                written.push((place, value, error.map(|error| error.to_string())));
            }
        };
        let (makers, link) = (first.len(), self.system.link());
        write(&mut self.system, first);
        let link_down = if renews { self.system.await_link(link.as_deref(), LINK).err() } else { None };
        let planned = if renews { self.plan_again(wanted, before) } else { Ok(second) };
        let failure = planned.map(|steps| write(&mut self.system, steps)).err();
        let mut applied: Vec<Applied> = written
            .into_iter()
            .map(|(place, wanted, error)| self.verified(place, wanted, error, before))
            .collect();
        if let (Some(error), Some(last)) = (link_down, applied.get_mut(makers.saturating_sub(1))) {
            last.took = false;
            last.error = Some(error.to_string());
        }
        // The number of queues has not become what the rest was planned for.
        if let (Some(error), Some(last)) = (failure, applied.last_mut()) {
            last.took = false;
            last.error = Some(error.to_string());
        }
        applied
    }

    /// The plan for the queues that there are by now; what was made with them is in the journal.
    fn plan_again(&mut self, wanted: &Wanted, before: &BTreeMap<Place, Value>) -> Result<Vec<Step>, Error> {
        let layout = layout(&mut self.system)?;
        let steps = wanted.second(&layout)?;
        if let Some(record) = &mut self.record {
            made::journal(&mut self.system, &self.store, record, &steps, before)?;
        }
        Ok(steps)
    }

    fn verified(
        &mut self,
        place: Place,
        wanted: Value,
        error: Option<String>,
        before: &BTreeMap<Place, Value>,
    ) -> Applied {
        let now = self.system.read(&place);
        let unreadable = now.as_ref().err().map(ToString::to_string);
        let now = now.ok();
        let took = now.as_ref().is_some_and(|now| wanted.is_met_by(now));
        let error = if took { None } else { error.or(unreadable) };
        Applied {
            name: place.to_string(),
            before: before.get(&place).cloned(),
            place,
            wanted,
            now,
            took,
            error,
        }
    }

    /// Programs that are started from now on keep others from restoring under them, should this process be killed.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn share_locks(&self) -> Result<(), Error> {
        let (interface, host) = &self.locks;
        let shared = [Some(interface), host.as_ref()].into_iter().flatten().try_for_each(Lock::share);
        shared.map_err(|reason| Error::Other(format!("the lock cannot be shared with the command: {reason}")))
    }

    /// Restores everything. The journal goes when all of it is as before, and stays when something is not.
    ///
    /// # Errors
    /// When the journal cannot be removed.
    pub fn restore(mut self) -> Result<Restored, Error> {
        self.restore_now()
    }

    fn restore_now(&mut self) -> Result<Restored, Error> {
        let Some(record) = self.record.take() else { return Ok(Restored::default()) };
        let root = self.system.root();
        let restored = match name_of(root, record.interface.ifindex)? {
            // Another interface may have its name now.
            Some(name) if name != record.interface.name => renamed(&record, &name),
            None if !record.interface.is_elsewhere(root) => {
                restore(&mut self.system, &of_host(&record.before))
            }
            _ => restore_all(&mut self.system, &record),
        };
        if restored.failed.is_empty() {
            self.store.remove(&record)?;
        }
        Ok(restored)
    }
}

impl<E: Ethtool> Drop for Tuning<E> {
    fn drop(&mut self) {
        match self.restore_now() {
            Ok(restored) => {
                for Failed { name, reason, .. } in restored.failed {
                    tracing::error!("{name} is not restored: {reason}");
                }
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// Settings of the host outlive the interface, whose own are gone with it.
fn of_host(before: &[(Place, Value)]) -> Vec<(Place, Value)> {
    before.iter().filter(|(place, _)| place.is_host_wide()).cloned().collect()
}

fn renamed(record: &Record, name: &str) -> Restored {
    let failed = |(place, value): &(Place, Value)| Failed {
        name: place.to_string(),
        wanted: value.clone(),
        reason: format!("the interface is called {name} now: `tune restore` finds it"),
    };
    Restored { failed: record.before.iter().map(failed).collect(), ..Restored::default() }
}

fn is_among(place: &Place, steps: &[Step]) -> bool {
    steps.iter().any(|(wanted, _)| wanted == place)
}

/// Old values would be taken from what a killed process left behind.
fn refuse_leftovers(store: &Store, interface: &Interface, wanted: &Wanted) -> Result<(), Error> {
    for record in store.journals()?.into_iter().flatten().filter(|record| record.boot_id == store.boot_id) {
        let is_own = store.is_of_this_namespace(&record) && record.interface.ifindex == interface.ifindex;
        let is_shared = wanted.is_host_wide() && record.before.iter().any(|(place, _)| place.is_host_wide());
        if is_own || is_shared {
            return Err(Error::Other(format!(
                "settings of {} that process {} changed are not restored: `linerate-hostplane tune restore` in its network namespace, {}, restores them",
                record.interface.name, record.pid, record.namespace
            )));
        }
    }
    Ok(())
}

/// Restores what a journal has: first what was made, which goes with the queues.
fn restore_all<E: Ethtool>(system: &mut System<E>, record: &Record) -> Restored {
    let failed = made::restore(system, &record.made);
    let mut restored = restore(system, &record.before);
    restored.failed.extend(failed);
    restored
}

/// Writes values back, in the order of their places, and reads them all again.
fn restore<E: Ethtool>(system: &mut System<E>, before: &[(Place, Value)]) -> Restored {
    let mut result = Restored::default();
    let mut wanted: Vec<&(Place, Value)> = before.iter().collect();
    wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut refused = BTreeMap::new();
    let (link, mut is_renewed) = (system.link(), false);
    for (place, value) in &wanted {
        let Some(place) = &present(system, place) else { continue };
        let from = system.read(place).ok();
        if from.as_ref().is_some_and(|now| value.is_met_by(now)) {
            result.untouched += 1;
            continue;
        }
        is_renewed |= matches!(place, Place::Channels | Place::Rings);
        match system.write(place, value) {
            Ok(()) => {
                result.restored.push(Change { name: place.to_string(), from, to: value.clone() });
            }
            Err(error) => drop(refused.insert(place.clone(), error.to_string())),
        }
    }
    if is_renewed {
        result.link_down = system.await_link(link.as_deref(), LINK).err().map(|error| error.to_string());
    }
    for (place, value) in wanted {
        let (name, reason) = match present(system, place) {
            None => (place.to_string(), "no interrupt of the device has this name now".to_owned()),
            Some(place) => match system.read(&place) {
                Ok(now) if value.is_met_by(&now) => continue,
                Ok(now) => {
                    (place.to_string(), refused.remove(&place).unwrap_or_else(|| format!("it is {now}")))
                }
                Err(error) => {
                    (place.to_string(), refused.remove(&place).unwrap_or_else(|| error.to_string()))
                }
            },
        };
        result.restored.retain(|change| change.name != name);
        result.failed.push(Failed { name, wanted: value.clone(), reason });
    }
    result
}

/// Where a setting is now. The driver may have taken other interrupts for its queues meanwhile: one that has a name is
/// found by it, and is `None` when its number has gone to another.
fn present<E: Ethtool>(system: &System<E>, place: &Place) -> Option<Place> {
    let Place::IrqAffinity { irq, action } = place else { return Some(place.clone()) };
    let now = system.action(*irq);
    // Several interrupts may have one name.
    if now == *action || action.is_empty() {
        return Some(place.clone());
    }
    let mut same = system.irqs().into_iter().filter(|irq| irq.action == *action);
    let found = same.next().map(|irq| Place::IrqAffinity { irq: irq.number, action: irq.action });
    // Of an interface that is down nobody handles the interrupts.
    found.or_else(|| now.is_empty().then(|| place.clone()))
}

/// Name of the interface with this number. Without `/sys` nobody knows whether it is gone.
fn name_of(root: &Path, ifindex: u32) -> Result<Option<String>, Error> {
    let path = root.join("sys/class/net");
    let entries = fs::read_dir(&path).map_err(Error::file(&path))?;
    Ok(entries.filter_map(Result::ok).find_map(|entry| {
        let number = read_text(&entry.path().join("ifindex")).ok()?;
        (number.parse() == Ok(ifindex)).then(|| entry.file_name().to_str().map(ToOwned::to_owned))?
    }))
}

#[cfg(test)]
mod tests;
