//! Whole hosts as directory trees: what each of them is told.

// Helpers of tests may panic, too; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{DEVICE, Host, PF};
use hugepage_check::check::{Check, Report, Status};
use hugepage_check::device::explain;
use hugepage_check::finding::DeviceState;
use hugepage_check::hugepages;

fn require_device() -> String {
    format!("device={DEVICE}")
}

fn find<'a>(report: &'a Report, id: &str) -> &'a Check {
    report.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

fn statuses(report: &Report) -> Vec<(&'static str, Status)> {
    report.checks.iter().map(|check| (check.id, check.status)).collect()
}

fn assert_observed(check: &Check, source: &str, observed: &str) {
    let seen =
        check.evidence.iter().any(|seen| seen.source.ends_with(source) && seen.observed.contains(observed));
    assert!(seen, "no evidence {source}: {observed} in {:#?}", check.evidence);
}

/// What holds for every report, whatever the host.
fn assert_well_formed(report: &Report) {
    for check in &report.checks {
        let id = check.id;
        assert!(!check.evidence.is_empty(), "{id} shows no evidence");
        assert!(!check.summary.is_empty() && !check.why.is_empty(), "{id} is silent");
        assert_eq!(check.remedy.is_none(), check.status == Status::Pass, "{id}: {:?}", check.status);
        if let Some(remedy) = &check.remedy {
            assert!(!remedy.commands.is_empty() || remedy.note.is_some(), "{id} has an empty remedy");
        }
    }
}

#[test]
fn a_good_host_passes() {
    let host = Host::good();
    let report = host.report(&["socket-mem=3072,2560", &require_device()]);
    assert_well_formed(&report);
    for (id, status) in statuses(&report) {
        assert_eq!(status, Status::Pass, "{id}: {}", find(&report, id).summary);
    }
    assert_eq!((report.status(), report.is_satisfied()), (Status::Pass, true));

    let free = find(&report, "hugepages.free");
    assert_eq!(
        free.summary,
        "5632 MB free of 6144 MB = 768 × 2 MB + 4 × 1 GB \
         (node 0: 512 × 2 MB + 2 × 1 GB, node 1: 256 × 2 MB + 2 × 1 GB)"
    );
    assert_observed(free, "mm/hugepages/hugepages-2048kB", "total 1024, free 768, reserved 0");
    assert_observed(free, "node1/hugepages/hugepages-1048576kB", "total 2, free 2");
    assert_observed(free, "proc/meminfo", "2 MB");
    assert_observed(free, "proc/cmdline", "hugepagesz=1G hugepages=4");
    assert_eq!(find(&report, "hugetlbfs.mount").summary, "/dev/hugepages (2 MB), /dev/hugepages-1G (1 GB)");
    assert_observed(find(&report, "iommu.groups"), "sys/class/iommu", "dmar0");
    assert_observed(find(&report, "iommu.groups"), "proc/cmdline", "intel_iommu=on iommu=pt");
    let device = find(&report, "device.binding");
    assert_eq!(device.subject.as_deref(), Some(DEVICE));
    assert_observed(device, "dev/vfio/6", "readable and writable");
    assert_observed(device, "numa_node", "1");
    assert!(!serde_json::to_string(&report).unwrap().contains("secret"), "other options stay private");

    assert_eq!(hugepages::free_bytes(&host.root()), Ok(5632 << 20));
    assert_eq!(hugepages::free_bytes_on(&host.root(), 1), Ok(2560 << 20));
    assert_eq!(hugepages::free_bytes_on(&host.root(), 2), Ok(0));
}

#[test]
fn a_bare_host_only_warns_while_nothing_is_required() {
    let report = Host::bare().report(&[]);
    assert_well_formed(&report);
    let warned: Vec<_> =
        statuses(&report).into_iter().filter(|&(_, status)| status != Status::Pass).collect();
    assert_eq!(
        warned,
        [
            ("hugepages.free", Status::Warn),
            ("hugetlbfs.mount", Status::Warn),
            ("iommu.groups", Status::Warn),
            ("vfio.driver", Status::Warn),
            ("vfio.iommu-type1", Status::Warn),
            ("vfio.container", Status::Warn),
        ]
    );
    assert!(report.is_satisfied());
    assert_eq!(hugepages::free_bytes(&Host::bare().root()), Ok(0));
}

#[test]
fn without_hugepages_required_memory_fails_with_the_arithmetic() {
    let report = Host::bare().report(&["socket-mem=1024,512"]);
    let memory = find(&report, "hugepages.socket-mem");
    assert_eq!(memory.status, Status::Fail);
    assert_eq!(
        memory.summary,
        "node 0: 1024 MB wanted, 0 MB free, short of 1024 MB; node 1: 512 MB wanted, 0 MB free, short of 512 MB"
    );
    let commands = &memory.remedy.as_ref().unwrap().commands;
    assert_eq!(
        commands[0],
        "echo 512 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
    );
    assert_eq!(
        commands[2],
        "echo 256 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
    );
}

#[test]
fn reserved_pages_are_not_free() {
    let host = Host::good();
    host.put("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "768\n");
    assert_eq!(hugepages::free_bytes(&host.root()), Ok(4096 << 20));
}

#[test]
fn left_over_files_are_counted_and_files_in_use_are_not() {
    use std::os::linux::fs::MetadataExt;
    let host = Host::good();
    for number in 0..3 {
        host.put(&format!("dev/hugepages/rtemap_{number}"), "page");
    }
    host.put("dev/hugepages/libvirt", "");
    let report = host.report(&[]);
    let check = find(&report, "hugepages.leftover");
    assert_eq!(check.status, Status::Warn);
    assert!(check.summary.starts_with("3 files holding"), "{}", check.summary);
    assert_observed(check, "dev/hugepages", "3 files, rtemap_0 … rtemap_2");

    let locks: String = (0..3)
        .map(|number| {
            let file = fs::metadata(host.path(&format!("dev/hugepages/rtemap_{number}"))).unwrap();
            let (major, minor) = (rustix::fs::major(file.st_dev()), rustix::fs::minor(file.st_dev()));
            format!("{number}: FLOCK  ADVISORY  READ 4711 {major:02x}:{minor:02x}:{} 0 EOF\n", file.st_ino())
        })
        .collect();
    host.put("proc/locks", locks);
    let report = host.report(&[]);
    let check = find(&report, "hugepages.leftover");
    assert_eq!(check.status, Status::Pass);
    assert_eq!(check.summary, "none: 3 files, all in use by process 4711");
}

#[test]
fn a_page_size_without_a_mount_is_named() {
    let host = Host::good();
    host.put("proc/self/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n");
    let report = host.report(&[]);
    let check = find(&report, "hugetlbfs.mount");
    assert_eq!(check.status, Status::Warn);
    assert!(check.summary.contains("4 pages of 1 GB"), "{}", check.summary);
}

#[test]
fn a_read_only_mount_is_no_mount_for_eal() {
    let host = Host::bare();
    host.mount("dev/hugepages", "ro,pagesize=2M");
    let report = host.report(&[]);
    let check = find(&report, "hugetlbfs.mount");
    assert_eq!(check.status, Status::Warn);
    assert_eq!(check.remedy.as_ref().unwrap().commands, ["mount -o remount,rw /dev/hugepages"]);
}

#[test]
fn below_another_root_the_mounts_of_process_1_count() {
    let host = Host::bare();
    host.mount("dev/hugepages", "rw,pagesize=2M");
    host.put("proc/1/mounts", fs::read(host.path("proc/self/mounts")).unwrap());
    host.put("proc/self/mounts", "overlay / overlay rw 0 0\n");
    let report = host.report(&[]);
    let check = find(&report, "hugetlbfs.mount");
    assert_eq!(check.status, Status::Pass, "{}", check.summary);
    assert_observed(check, "proc/1/mounts", "1 line");
}

#[test]
fn without_an_iommu_a_required_device_fails() {
    let host = Host::good();
    for path in ["sys/kernel/iommu_groups", "sys/class/iommu/dmar0", "dev/vfio/6", "dev/vfio/7"] {
        host.remove(path);
    }
    fs::create_dir(host.path("sys/kernel/iommu_groups")).unwrap();
    host.remove(&format!("sys/devices/pci0000:00/{DEVICE}/iommu_group"));
    host.bind(DEVICE, "igbvf");

    let report = host.report(&[&require_device()]);
    assert_well_formed(&report);
    let iommu = find(&report, "iommu.groups");
    assert_eq!(iommu.status, Status::Fail);
    assert_observed(iommu, "sys/kernel/iommu_groups", "no group");
    assert_observed(iommu, "proc/cmdline", "intel_iommu=on");
    assert_eq!(host.state(), DeviceState::NoIommuGroup { driver: Some("igbvf".to_owned()) });
    assert_eq!(find(&host.report(&[]), "iommu.groups").status, Status::Warn);
}

#[test]
fn a_device_on_a_kernel_driver_has_a_remedy() {
    let host = Host::good();
    host.bind(DEVICE, "igbvf");
    fs::create_dir_all(host.path(&format!("sys/devices/pci0000:00/{DEVICE}/net/ens1v0"))).unwrap();
    let report = host.report(&[&require_device()]);
    let device = find(&report, "device.binding");
    assert_eq!(device.status, Status::Fail);
    assert_observed(device, "driver", "→ igbvf");
    assert_observed(device, "net", "ens1v0");
    assert_eq!(
        device.remedy.as_ref().unwrap().commands,
        [
            "echo vfio-pci > /sys/bus/pci/devices/0000:03:02.0/driver_override",
            "echo 0000:03:02.0 > /sys/bus/pci/devices/0000:03:02.0/driver/unbind",
            "echo 0000:03:02.0 > /sys/bus/pci/drivers_probe",
            "readlink /sys/bus/pci/devices/0000:03:02.0/driver",
        ]
    );
    let text = explain(&host.root(), "03:02.0").to_string();
    assert!(text.contains("igbvf") && text.contains("driver_override"), "{text}");
}

#[test]
fn every_fault_of_a_device_is_distinguished() {
    type Spoil = fn(&Host);
    let cases: &[(Spoil, DeviceState)] = &[
        (|_| {}, DeviceState::Ready { driver: "vfio-pci".to_owned() }),
        (|host| host.remove(&format!("sys/bus/pci/devices/{DEVICE}")), DeviceState::Absent),
        (|host| host.remove(&format!("sys/devices/pci0000:00/{DEVICE}/driver")), DeviceState::NoDriver),
        (
            |host| {
                host.bind(DEVICE, "igbvf");
                host.remove("sys/bus/pci/drivers/vfio-pci");
            },
            DeviceState::NoVfioDriver { driver: Some("igbvf".to_owned()) },
        ),
        (|host| host.remove("sys/module/vfio_iommu_type1"), DeviceState::NoIommuType1),
        (|host| host.remove("dev/vfio/6"), DeviceState::NoDeviceFile { path: "/dev/vfio/6".to_owned() }),
        (|host| host.remove("dev/vfio"), DeviceState::NoDeviceFile { path: "/dev/vfio/vfio".to_owned() }),
        (|host| host.bind(DEVICE, "mlx5_core"), DeviceState::NoVerbs { driver: "mlx5_core".to_owned() }),
        (|host| host.bind(DEVICE, "igb_uio"), DeviceState::Uio { driver: "igb_uio".to_owned() }),
    ];
    for (spoil, state) in cases {
        let host = Host::good();
        spoil(&host);
        assert_eq!(&host.state(), state);
        let report = host.report(&[&require_device()]);
        assert_well_formed(&report);
        let expected = match state {
            DeviceState::Ready { .. } => Status::Pass,
            DeviceState::Uio { .. } => Status::Warn,
            _ => Status::Fail,
        };
        assert_eq!(find(&report, "device.binding").status, expected, "{state:?}");
    }
    assert!(matches!(explain(&Host::good().root(), "eth0").state, DeviceState::Invalid(_)));
}

#[test]
fn a_group_shared_with_a_kernel_driver_is_not_viable() {
    let host = Host::good();
    host.device("0000:03:00.1", Some("igb"), Some(6));
    host.device("0000:00:01.0", Some("pcieport"), Some(6));
    host.device("0000:03:00.2", None, Some(6));
    let DeviceState::GroupNotViable { foreign } = host.state() else { panic!("{:?}", host.state()) };
    assert_eq!(foreign.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0000:03:00.1 (igb)"]);
}

#[test]
fn a_device_that_needs_no_vfio_does_not_require_it() {
    let host = Host::bare();
    host.device(DEVICE, Some("mlx5_core"), None);
    host.verbs(DEVICE);
    let report = host.report(&[&require_device()]);
    assert_eq!(find(&report, "device.binding").status, Status::Pass);
    assert_eq!(find(&report, "iommu.groups").status, Status::Warn);
    assert!(report.is_satisfied());
}

#[test]
fn groups_made_up_by_no_iommu_mode_are_no_iommu() {
    let host = Host::good();
    for group in [6, 7] {
        host.put(&format!("sys/kernel/iommu_groups/{group}/name"), "vfio-noiommu\n");
    }
    host.put("dev/vfio/noiommu-6", "");
    host.remove("sys/module/vfio_iommu_type1");
    let report = host.report(&[&require_device()]);
    assert_eq!(find(&report, "iommu.groups").status, Status::Warn);
    assert_eq!(find(&report, "vfio.iommu-type1").status, Status::Warn);
    assert_eq!(host.state(), DeviceState::Ready { driver: "vfio-pci".to_owned() });
}

#[test]
fn a_vf_shows_what_its_pf_allows() {
    let host = Host::good();
    host.virtual_function(PF, 0, DEVICE);
    host.interface(PF, "ens1", "10000");
    for (file, text) in [("mac", "02:00:00:00:00:09"), ("spoofcheck", "OFF"), ("trust", "ON")] {
        host.device_file(PF, &format!("sriov/0/{file}"), text);
    }
    let report = host.report(&[&require_device()]);
    let check = find(&report, "device.vf");
    assert_eq!(
        check.summary,
        "VF 0 of 0000:03:00.0 (ens1), which is up; mac 02:00:00:00:00:09, spoofcheck OFF, trust ON"
    );
    host.device_file(PF, "net/ens1/operstate", "down");
    assert_eq!(find(&host.report(&[&require_device()]), "device.vf").status, Status::Warn);
    host.device_file(PF, "net/ens1/flags", "0x1002");
    assert_eq!(find(&host.report(&[&require_device()]), "device.vf").status, Status::Fail);
}

#[test]
fn a_limit_above_the_own_group_counts() {
    let host = Host::good();
    let (own, parent) = ("pods/pod1", "pods");
    let file = |group: &str, file: &str| format!("{group}/hugetlb.2MB.{file}");
    let files = [
        (file(own, "max"), "max"),
        (file(own, "rsvd.max"), "1073741824"),
        (file(own, "rsvd.current"), "0"),
        (file(parent, "max"), "536870912"),
        (file(parent, "current"), "268435456"),
        (format!("{own}/hugetlb.1GB.max"), "0"),
        (format!("{own}/hugetlb.1GB.current"), "0"),
    ];
    let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), *text)).collect();
    host.cgroup_v2("/pods/pod1", &files);
    for (wanted, status) in [("socket-mem=256", Status::Pass), ("socket-mem=257", Status::Fail)] {
        let report = host.report(&[wanted]);
        let check = find(&report, "hugepages.cgroup");
        assert_eq!(check.status, status, "{}", check.summary);
        assert!(check.summary.contains("256 MB left below the limit"), "{}", check.summary);
        assert_observed(check, "pods/hugetlb.2MB.max", "512 MB, 256 MB used");
    }
}

#[test]
fn nothing_fails_that_is_not_required() {
    for case in common::hosts::all() {
        let report = case.host.report(&[]);
        assert_well_formed(&report);
        assert!(report.is_satisfied(), "{}: {:?}", case.name, statuses(&report));
        assert!(report.status() < Status::Fail, "{}: {:?}", case.name, statuses(&report));
    }
}

#[test]
fn an_empty_tree_is_unknown_and_not_bare() {
    let host = Host::empty();
    let report = host.report(&["socket-mem=64", &require_device()]);
    assert_well_formed(&report);
    for check in &report.checks {
        assert_eq!(check.status, Status::Unknown, "{}: {}", check.id, check.summary);
        assert!(check.summary.contains(host.dir().to_str().unwrap()), "{}", check.summary);
    }
    assert!(!report.is_satisfied());
}

#[test]
fn every_broken_file_is_unknown_and_named() {
    let huge = vec![b'1'; (1 << 20) + 1];
    let pool = "sys/kernel/mm/hugepages/hugepages-2048kB";
    let contents: [(&[u8], &str); 7] = [
        (b"\xff\xfe\n", "not UTF-8"),
        (&huge, "larger than 1048576 bytes"),
        (b"many\n", r#"found "many""#),
        (b"", r#"found """#),
        (b"-1\n", r#"found "-1""#),
        (b"99999999999999999999\n", "expected a number"),
        (b"18446744073709551615\n", "cannot be"),
    ];
    for (content, reason) in contents {
        let host = Host::good();
        host.put(&format!("{pool}/free_hugepages"), content);
        let report = host.report(&["socket-mem=99999"]);
        assert_well_formed(&report);
        for id in ["hugepages.free", "hugepages.socket-mem"] {
            let check = find(&report, id);
            assert_eq!(check.status, Status::Unknown, "{id}: {}", check.summary);
            assert!(check.summary.contains(&format!("{pool}/free_hugepages: ")), "{}", check.summary);
            assert!(check.summary.contains(reason), "{}", check.summary);
        }
        assert!(hugepages::free_bytes(&host.root()).is_err());
        assert!(!report.is_satisfied());
    }
}

#[test]
fn a_directory_in_place_of_each_file_causes_no_panic() {
    for path in [
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        "proc/meminfo",
        "proc/cmdline",
        "proc/self/mounts",
        "proc/locks",
        "sys/bus/pci/devices/0000:03:02.0/driver",
        "sys/bus/pci/devices/0000:03:02.0/iommu_group",
    ] {
        let host = Host::good();
        host.put("dev/hugepages/rtemap_0", "");
        host.remove(path);
        fs::create_dir(host.path(path)).unwrap();
        let report = host.report(&["socket-mem=64", &require_device()]);
        assert_well_formed(&report);
        let name = path.rsplit('/').next().unwrap();
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            text.contains(&format!("{name}\",\"observed\":\"not a plain file"))
                || text.contains("expected a symbolic link"),
            "{path} is not named in {text}"
        );
    }
}

#[test]
fn a_file_in_place_of_each_directory_causes_no_panic() {
    for (path, id) in [
        ("sys/kernel/mm/hugepages", "hugepages.free"),
        ("sys/devices/system/node", "hugepages.free"),
        ("dev/hugepages", "hugepages.leftover"),
        ("sys/kernel/iommu_groups", "iommu.groups"),
        ("sys/bus/pci/drivers", "vfio.driver"),
        ("sys/module", "vfio.iommu-type1"),
        ("dev", "vfio.container"),
        ("sys/bus/pci/devices", "device.binding"),
        ("sys/kernel/iommu_groups/6/devices", "device.binding"),
    ] {
        let host = Host::good();
        host.remove(path);
        host.put(path, "surprise");
        let report = host.report(&[&require_device()]);
        assert_well_formed(&report);
        let check = find(&report, id);
        assert_eq!(check.status, Status::Unknown, "{path}: {}", check.summary);
        assert!(check.summary.contains("not a directory"), "{path}: {}", check.summary);
    }
}

#[test]
fn odd_names_and_links_cause_no_panic() {
    let host = Host::good();
    fs::create_dir(host.path("sys/kernel/mm/hugepages/hugepages-manykB")).unwrap();
    host.put("proc/locks", "\u{1b}[2J not a lock\n");
    host.put("dev/hugepages/rtemap_0", "");
    host.remove(&format!("sys/devices/pci0000:00/{DEVICE}/iommu_group"));
    symlink("/", host.path(&format!("sys/devices/pci0000:00/{DEVICE}/iommu_group"))).unwrap();
    symlink("node0", host.path("sys/devices/system/node/node4294967296")).unwrap();
    let report = host.report(&[&require_device()]);
    assert_well_formed(&report);
    assert!(find(&report, "hugepages.free").summary.contains("hugepages-manykB"));
    assert!(find(&report, "hugepages.leftover").summary.contains("in use or left over"));
    assert!(find(&report, "device.binding").summary.contains("a link that names nothing"));
    assert!(!hugepage_check::report::render(&report, Default::default()).contains('\u{1b}'));
}

#[test]
fn a_loop_of_links_ends() {
    let host = Host::bare();
    host.remove("proc/self/mounts");
    symlink("mounts", host.path("proc/self/mounts")).unwrap();
    assert_eq!(find(&host.report(&[]), "hugetlbfs.mount").status, Status::Unknown);
}

#[test]
fn looking_changes_nothing() {
    let host = Host::good();
    let snapshot = || snapshot(host.dir());
    let before = snapshot();
    host.report(&["socket-mem=1024,1024", &require_device()]);
    assert_eq!(before, snapshot());
}

fn snapshot(dir: &Path) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            found.extend(snapshot(&path));
        }
        let content = kind.is_file().then(|| fs::read(&path).unwrap());
        found.push((path, content));
    }
    found.sort();
    found
}
