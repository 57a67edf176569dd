//! On a host of files and a driver in memory; the kernel's own answers are those of the end-to-end tests.

use std::fs;
use std::path::Path;

use linerate_hardware::CpuSet;

use super::*;
use crate::ethtool::fake::Fake;
use crate::plan::{RpsWish, RssWish};
use crate::system::tree;

fn store(root: &Path) -> Store {
    tree::write(root, "proc/sys/kernel/random/boot_id", "b-1\n");
    fs::create_dir_all(root.join("proc/self/ns")).unwrap();
    let _ = std::os::unix::fs::symlink("net:[4026531840]", root.join("proc/self/ns/net"));
    Store::new(root, &root.join("run/tune"), Some(7)).unwrap()
}

/// Every setting of the host of files.
fn state(root: &Path) -> Vec<String> {
    let mut texts = vec![tree::read(root, "proc/sys/net/core/rps_sock_flow_entries")];
    for queue in 0..2 {
        for file in ["rx-N/rps_cpus", "rx-N/rps_flow_cnt", "tx-N/xps_cpus"] {
            let file = file.replace('N', &queue.to_string());
            let text = tree::read(root, &format!("sys/class/net/eth0/queues/{file}"));
            texts.push(text.trim_start_matches('0').to_owned());
        }
    }
    texts
}

fn wanted() -> Wanted {
    Wanted {
        rss: Some(RssWish::Off),
        xps: Some(true),
        rps: Some(RpsWish::Cpus("1".parse::<CpuSet>().unwrap())),
        rfs: Some(4096),
        ..Wanted::default()
    }
}

fn files(root: &Path) -> usize {
    fs::read_dir(root.join("run/tune")).map_or(0, Iterator::count)
}

#[test]
fn settings_are_changed_verified_and_restored() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let before = state(root);
    let mut system = tree::system(root);
    let driver_before = system.driver.clone();
    for is_dropped in [false, true] {
        let mut driver = system.driver.clone();
        let system = System::open(root, "eth0", 2, &mut driver).unwrap();
        let (tuning, applied) = Tuning::apply(system, store(root), &wanted()).unwrap();
        assert!(applied.iter().all(|step| step.took && step.before.is_some()), "{applied:?}");
        assert_eq!(applied.len(), 1 + 2 + 2 + 3);
        assert_ne!(state(root), before);
        assert_eq!(files(root), 3, "the journal, its lock and that of the host");
        if is_dropped {
            drop(tuning);
        } else {
            let restored = tuning.restore().unwrap();
            assert!(restored.failed.is_empty() && restored.restored.len() == 8, "{restored:?}");
        }
        assert_eq!((state(root), files(root)), (before.clone(), 0));
        assert_eq!(driver.table, driver_before.table);
    }
    assert!(system.read(&Place::RssTable).is_ok());
}

#[test]
fn a_panic_restores() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    tree::host(&root);
    let before = state(&root);
    let result = std::panic::catch_unwind(|| {
        let _tuning = Tuning::apply(tree::system(&root), store(&root), &wanted()).unwrap();
        assert_eq!(state(&root), before, "they differ");
    });
    assert!(result.is_err());
    assert_eq!((state(&root), files(&root)), (before, 0));
}

/// What a process that was killed leaves behind: changes and a journal, and no lock.
fn killed(root: &Path) {
    let (mut tuning, _) = Tuning::apply(tree::system(root), store(root), &wanted()).unwrap();
    tuning.record = None;
}

fn open(root: &Path) -> impl FnMut(&str) -> Result<System<Fake>, Error> {
    move |name| match name {
        "eth0" => Ok(tree::system(root)),
        _ => System::open(root, name, 1, Fake::default()),
    }
}

#[test]
fn what_a_killed_process_left_behind_is_restored_first() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let before = state(root);
    killed(root);
    assert_ne!(state(root), before);
    let error = Tuning::apply(tree::system(root), store(root), &wanted()).unwrap_err().to_string();
    assert!(error.contains("tune restore"), "{error}");
    let done = recover(root, &store(root), open(root)).unwrap();
    let [(Ok(record), Recovery::Restored(restored))] = done.as_slice() else { panic!("{done:?}") };
    assert_eq!(record.pid, std::process::id());
    assert!(restored.failed.is_empty() && restored.restored.len() == 7, "{restored:?}");
    assert_eq!((state(root), files(root)), (before, 0));
    assert!(recover(root, &store(root), open(root)).unwrap().is_empty());
}

#[test]
fn journals_of_other_boots_interfaces_and_namespaces_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    tree::write(root, "sys/class/net/lo/ifindex", "1\n");
    killed(root);
    let changed = state(root);
    let other = |change: &dyn Fn(&mut Store)| {
        let mut store = store(root);
        change(&mut store);
        store
    };
    let elsewhere = other(&|store| store.namespace = "net:[7]".into());
    let done = recover(root, &elsewhere, open(root)).unwrap();
    assert!(matches!(&done[0].1, Recovery::Left(reason) if reason.contains("another network namespace")));
    assert_eq!((state(root), files(root)), (changed.clone(), 1), "nothing was touched");

    let lock = store(root).lock(tree::system(root).interface()).unwrap();
    let done = recover(root, &store(root), open(root)).unwrap();
    assert_eq!(done[0].1, Recovery::AtWork);
    drop(lock);

    // The same number and another name and address: another interface. Settings of the host are restored all the same.
    fs::rename(root.join("sys/class/net/eth0"), root.join("sys/class/net/eth1")).unwrap();
    tree::write(root, "sys/class/net/eth1/address", "02:00:00:00:00:09\n");
    let open_any = |name: &str| System::open(root, name, if name == "lo" { 1 } else { 2 }, Fake::default());
    let done = recover(root, &store(root), open_any).unwrap();
    let Recovery::Restored(restored) = &done[0].1 else { panic!("{done:?}") };
    assert_eq!(restored.restored.len(), 1);
    assert_eq!(tree::read(root, "proc/sys/net/core/rps_sock_flow_entries"), "0");
    assert_eq!(files(root), 0);
    fs::rename(root.join("sys/class/net/eth1"), root.join("sys/class/net/eth0")).unwrap();

    store(root)
        .write(tree::system(root).interface(), &[(Place::RpsCpus { queue: 0 }, Value::Cpus("0".into()))])
        .unwrap();
    let later = other(&|store| store.boot_id = "b-2".into());
    let done = recover(root, &later, open(root)).unwrap();
    assert!(
        matches!(&done[0].1, Recovery::Discarded(reason) if reason.contains("started again")),
        "{done:?}"
    );
    assert_eq!((files(root), &state(root)[1]), (0, &changed[1]), "and nothing is written");
}

/// The kernel gives the number of a network namespace that is gone to the next one, in which `eth0` has the number of the one before.
#[test]
fn a_journal_of_a_namespace_that_had_the_number_of_this_one_changes_nothing_here() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let of_interface = Wanted { rfs: None, ..wanted() };
    // It has no device, and so no address on a bus.
    let driver = Fake { refuses: vec![0x03], ..tree::system(root).driver };
    let system = || System::open(root, "eth0", 2, driver.clone()).unwrap();
    let killed_with = |cookie| {
        let mut store = store(root);
        store.namespace_cookie = cookie;
        let (mut tuning, _) = Tuning::apply(system(), store, &of_interface).unwrap();
        tuning.record = None;
    };
    let recovered = || recover(root, &store(root), |_| Ok(system())).unwrap().remove(0).1;
    let before = state(root);
    killed_with(Some(6));
    let changed = state(root);
    assert_ne!(changed, before);
    // The next one is nobody's to wait for it.
    let (tuning, _) = Tuning::apply(system(), store(root), &of_interface).unwrap();
    assert_eq!(files(root), 3, "two journals and a lock");
    tuning.restore().unwrap();
    assert!(matches!(recovered(), Recovery::Discarded(reason) if reason.contains("interface is gone")));
    assert_eq!((state(root), files(root)), (changed.clone(), 0));

    // Without a cookie, the address tells.
    let address = "sys/class/net/eth0/address";
    let own = tree::read(root, address);
    tree::host(root);
    killed_with(None);
    let changed = state(root);
    tree::write(root, address, "02:00:00:00:00:09\n");
    assert!(matches!(recovered(), Recovery::Left(reason) if reason.contains("02:00:00:00:00:09")));
    assert_eq!((state(root), files(root)), (changed, 1));
    tree::write(root, address, &format!("{own}\n"));
    assert!(matches!(recovered(), Recovery::Restored(restored) if restored.failed.is_empty()));
    assert_eq!(files(root), 0);
}

#[test]
fn what_did_not_take_is_said_and_what_cannot_be_restored_stays_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let wanted = Wanted { rps: Some(RpsWish::On), rss: Some(RssWish::Off), ..Wanted::default() };
    let mut driver = tree::system(root).driver;
    driver.refuses = vec![0x39];
    let system = System::open(root, "eth0", 2, driver).unwrap();
    let (tuning, applied) = Tuning::apply(system, store(root), &wanted).unwrap();
    let failed: Vec<_> = applied.iter().filter(|step| !step.took).collect();
    assert_eq!((failed.len(), failed[0].name.as_str()), (1, "RSS table"));
    assert!(failed[0].error.as_deref().unwrap().contains("busy"), "{failed:?}");
    // A queue that is gone.
    fs::remove_dir_all(root.join("sys/class/net/eth0/queues/rx-1")).unwrap();
    let restored = tuning.restore().unwrap();
    assert_eq!((restored.restored.len(), restored.failed.len()), (1, 1), "{restored:?}");
    assert_eq!((restored.failed[0].name.as_str(), files(root)), ("rx-1 rps_cpus", 1));
    tree::write(root, "sys/class/net/eth0/queues/rx-1/rps_cpus", "3\n");
    let done = recover(root, &store(root), open(root)).unwrap();
    assert!(matches!(&done[0].1, Recovery::Restored(restored) if restored.failed.is_empty()), "{done:?}");
    assert_eq!(files(root), 0);
}

#[test]
fn two_of_one_interface_or_of_the_host_do_not_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let first = Tuning::apply(tree::system(root), store(root), &wanted()).unwrap();
    let error = Tuning::apply(tree::system(root), store(root), &wanted()).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Busy(name) if name == "eth0"), "{error}");
    assert!(matches!(store(root).lock_host(), Err(Error::Busy(_))));
    first.0.restore().unwrap();
    assert_eq!(files(root), 0);
}

#[test]
fn another_number_of_queues_is_undone_with_what_hung_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let mut driver = tree::system(root).driver;
    let before = driver.clone();
    let wanted = Wanted {
        channels: Some([(String::new(), 1)].into()),
        rings: Some([("rx".to_owned(), 1024)].into()),
        rss: Some(RssWish::On),
        ..Wanted::default()
    };
    let system = System::open(root, "eth0", 2, &mut driver).unwrap();
    let (tuning, applied) = Tuning::apply(system, store(root), &wanted).unwrap();
    let names: Vec<&str> = applied.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["channels", "rings", "RSS table"]);
    assert!(applied.iter().all(|step| step.took), "{applied:?}");
    assert_eq!(applied[2].now, Some(Value::Table(vec![0; 8])), "planned for one queue");
    let restored = tuning.restore().unwrap();
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!((driver.channels, driver.rings, driver.table), (before.channels, before.rings, before.table));
}

#[test]
fn interrupts_are_found_again_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let interrupts = |first: u32| {
        for directory in ["sys/bus/pci/devices/0000:01:00.0/msi_irqs", "sys/kernel/irq"] {
            let _ = fs::remove_dir_all(root.join(directory));
        }
        for (number, action) in (first..).zip(["eth0", "eth0-TxRx-0", "eth0-TxRx-1"]) {
            tree::write(root, &format!("sys/bus/pci/devices/0000:01:00.0/msi_irqs/{number}"), "msix\n");
            tree::write(root, &format!("sys/kernel/irq/{number}/actions"), &format!("{action}\n"));
            tree::write(root, &format!("proc/irq/{number}/smp_affinity_list"), "0-1\n");
        }
    };
    let affinity = |number: u32| tree::read(root, &format!("proc/irq/{number}/smp_affinity_list"));
    interrupts(40);
    let wanted = Wanted { irq_cpus: Some("0-1".parse().unwrap()), ..Wanted::default() };
    let (tuning, applied) = Tuning::apply(tree::system(root), store(root), &wanted).unwrap();
    assert!(applied.iter().all(|step| step.took), "{applied:?}");
    assert_eq!([40, 41, 42].map(affinity), ["0-1", "0", "1"], "that of the link stays");
    // The driver has been reset.
    interrupts(60);
    tree::write(root, "proc/irq/61/smp_affinity_list", "1\n");
    let restored = tuning.restore().unwrap();
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!([60, 61, 62].map(affinity), ["0-1"; 3]);
    assert_eq!(restored.restored[0].name, "irq 61 (eth0-TxRx-0) affinity");

    let (tuning, _) = Tuning::apply(tree::system(root), store(root), &wanted).unwrap();
    interrupts(62);
    tree::write(root, "sys/kernel/irq/64/actions", "other\n");
    let restored = tuning.restore().unwrap();
    let failed: Vec<_> = restored.failed.iter().map(|failed| failed.name.as_str()).collect();
    assert_eq!(failed, ["irq 62 (eth0-TxRx-1) affinity"], "62 has another name now, and nobody has this one");
}

#[test]
fn an_interface_that_is_gone_renamed_or_moved_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let flows = || tree::read(root, "proc/sys/net/core/rps_sock_flow_entries");
    let [own, other] = ["eth0", "eth9"].map(|name| root.join("sys/class/net").join(name));
    tree::host(root);
    tree::write(root, "sys/class/net/lo/ifindex", "1\n");
    let apply = || Tuning::apply(tree::system(root), store(root), &wanted()).unwrap().0;

    let tuning = apply();
    fs::remove_dir_all(&own).unwrap();
    let restored = tuning.restore().unwrap();
    assert!(restored.failed.is_empty() && restored.restored.len() == 1, "{restored:?}");
    assert_eq!((flows().as_str(), files(root)), ("0", 0), "that of the host, and nothing is left");

    tree::host(root);
    let before = state(root);
    let tuning = apply();
    fs::rename(&own, &other).unwrap();
    let restored = tuning.restore().unwrap();
    assert!(restored.failed.len() == 8 && restored.failed[0].reason.contains("eth9"), "{restored:?}");
    assert_eq!(files(root), 1);
    let driver = tree::system(&{
        tree::host(root);
        root.to_owned()
    })
    .driver;
    fs::remove_dir_all(&own).unwrap();
    let open_any = |name: &str| System::open(root, name, if name == "lo" { 1 } else { 2 }, driver.clone());
    let done = recover(root, &store(root), open_any).unwrap();
    assert!(matches!(&done[0].1, Recovery::Restored(restored) if restored.failed.is_empty()), "{done:?}");
    fs::rename(&other, &own).unwrap();
    assert_eq!((state(root), files(root)), (before, 0));

    killed(root);
    tree::write(root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x8086\n");
    std::os::unix::fs::symlink("../../drivers/iavf", root.join("sys/bus/pci/devices/0000:01:00.0/driver"))
        .unwrap();
    fs::rename(&own, root.join("moved")).unwrap();
    let done = recover(root, &store(root), open_any).unwrap();
    assert!(matches!(&done[0].1, Recovery::Left(reason) if reason.contains("namespace now")), "{done:?}");
    assert_eq!((flows().as_str(), files(root)), ("0", 1), "that of the host, and the journal stays");
    fs::rename(root.join("moved"), &own).unwrap();
    let done = recover(root, &store(root), open(root)).unwrap();
    assert!(matches!(&done[0].1, Recovery::Restored(restored) if restored.failed.is_empty()), "{done:?}");
    assert_eq!(files(root), 0);
}

#[test]
fn what_is_made_with_queues_is_restored_while_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    let mut system = tree::system(root);
    let store = store(root);
    let old = |queue: u32| (Place::RpsCpus { queue }, system_value(root, queue));
    let mut record = store.write(system.interface(), &[old(0)]).unwrap();
    let before: BTreeMap<Place, Value> = record.before.iter().cloned().collect();
    let wanted = |queue: u32| (Place::RpsCpus { queue }, Value::Cpus("1".into()));
    made::journal(&mut system, &store, &mut record, &[wanted(0), wanted(1)], &before).unwrap();
    assert_eq!(record.made, [old(1)]);
    let [Ok(on_disk)] = &store.journals().unwrap()[..] else { panic!("one journal") };
    assert_eq!(on_disk, &record, "it is on disk before anything is written");
    let unreadable = [wanted(7)];
    assert!(made::journal(&mut system, &store, &mut record, &unreadable, &before).is_err());
    for (place, value) in [wanted(0), wanted(1)] {
        system.write(&place, &value).unwrap();
    }
    let restored = restore_all(&mut system, &record);
    assert!(restored.failed.is_empty(), "{restored:?}");
    assert_eq!([0, 1].map(|queue| system_value(root, queue)), [old(0).1, old(1).1]);
    // What went with its queue is nobody's failure.
    fs::remove_dir_all(root.join("sys/class/net/eth0/queues/rx-1")).unwrap();
    assert!(restore_all(&mut system, &record).failed.is_empty());
}

fn system_value(root: &Path, queue: u32) -> Value {
    tree::system(root).read(&Place::RpsCpus { queue }).unwrap()
}

#[test]
fn governors_of_a_namespace_that_is_gone_are_restored_from_another() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree::host(root);
    tree::write(root, "sys/class/net/lo/ifindex", "1\n");
    let governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    tree::write(root, governor, "performance\n");
    let system = tree::system(root);
    let rps = (Place::RpsCpus { queue: 0 }, Value::Cpus("none".into()));
    let places = [(Place::Governor { cpu: 0 }, Value::Word("powersave".into())), rps.clone()];
    store(root).write(system.interface(), &places).unwrap();
    let mut elsewhere = store(root);
    elsewhere.namespace = "net:[7]".into();
    let done = recover(root, &elsewhere, open(root)).unwrap();
    assert!(matches!(&done[0].1, Recovery::Left(_)), "{done:?}");
    assert_eq!(tree::read(root, governor).trim(), "powersave");
    let [Ok(left)] = &elsewhere.journals().unwrap()[..] else { panic!("the rest stays") };
    assert_eq!(left.before, [rps]);
}
