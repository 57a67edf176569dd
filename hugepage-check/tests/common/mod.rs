//! Hosts as directory trees, built in code.

// Each test program uses a part of this.
#![allow(dead_code)]

pub(crate) mod hosts;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hugepage_check::check::Report;
use hugepage_check::device::explain;
use hugepage_check::finding::DeviceState;
use hugepage_check::requirements::Requirements;
use hugepage_check::root::Root;
use hugepage_check::run_with;
use tempfile::TempDir;

/// A VF on vfio-pci.
pub(crate) const DEVICE: &str = "0000:03:02.0";
/// Its PF.
pub(crate) const PF: &str = "0000:03:00.0";

pub(crate) const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max locked memory         unlimited            unlimited            bytes     
Max file locks            unlimited            unlimited            locks     
";

const STAT: &str = "\
cpu  800 0 800 8000 0 0 0 0 0 0
cpu0 100 0 100 1000 0 0 0 0 0 0
cpu1 100 0 100 1000 0 0 0 0 0 0
intr 5 1 2
";

/// A host under construction.
pub(crate) struct Host {
    dir: TempDir,
    /// Environment variables of the check.
    pub(crate) variables: Vec<(String, String)>,
}

impl Host {
    /// Mounted sysfs, procfs and devtmpfs with nothing for DPDK in them, and room for two sizes on two nodes.
    pub(crate) fn bare() -> Self {
        let host = Self::empty();
        for dir in ["sys/kernel/iommu_groups", "sys/class/iommu", "sys/module", "sys/bus/pci/drivers", "dev"]
        {
            fs::create_dir_all(host.path(dir)).unwrap();
        }
        fs::create_dir_all(host.path("sys/bus/pci/devices")).unwrap();
        host.put("proc/cmdline", "root=/dev/vda quiet\n");
        host.put("proc/meminfo", "MemTotal: 1 kB\nHugepagesize:       2048 kB\n");
        host.put("proc/self/mounts", "proc /proc proc rw 0 0\n");
        host.put("proc/locks", "");
        host.put("proc/self/mountinfo", "25 1 0:23 / /proc rw - proc proc rw\n");
        host.put("proc/self/cgroup", "0::/\n");
        host.put("proc/self/limits", LIMITS);
        host.allow("0-7");
        host.cpus(8, 4);
        host.put("proc/stat", STAT);
        fs::create_dir_all(host.path("sys/class/net")).unwrap();
        host.buffers(6_291_456, 6_291_456);
        for node in [None, Some(0), Some(1)] {
            host.pool(node, 2048, 0, 0);
            host.pool(node, 1_048_576, 0, 0);
        }
        host
    }

    /// All that DPDK wants: 512 + 256 pages of 2 MB and 2 + 2 of 1 GB, an IOMMU, and a device on vfio-pci.
    pub(crate) fn good() -> Self {
        let host = Self::bare();
        host.pool(None, 2048, 1024, 768);
        host.pool(Some(0), 2048, 512, 512);
        host.pool(Some(1), 2048, 512, 256);
        host.pool(None, 1_048_576, 4, 4);
        host.pool(Some(0), 1_048_576, 2, 2);
        host.pool(Some(1), 1_048_576, 2, 2);
        host.mount("dev/hugepages", "rw,relatime,pagesize=2M");
        host.mount("dev/hugepages-1G", "rw,relatime,pagesize=1024M");
        host.put(
            "proc/cmdline",
            "root=/dev/vda secret=42 intel_iommu=on iommu=pt hugepagesz=1G hugepages=4\n",
        );
        fs::create_dir_all(host.path("sys/class/iommu/dmar0")).unwrap();
        for module in ["vfio", "vfio_pci", "vfio_iommu_type1"] {
            fs::create_dir_all(host.path(&format!("sys/module/{module}"))).unwrap();
        }
        for driver in ["vfio-pci", "igb", "igbvf", "pcieport"] {
            fs::create_dir_all(host.path(&format!("sys/bus/pci/drivers/{driver}"))).unwrap();
        }
        host.put("dev/vfio/vfio", "");
        host.put("dev/vfio/6", "");
        host.put("dev/vfio/7", "");
        host.device(DEVICE, Some("vfio-pci"), Some(6));
        host.device(PF, Some("igb"), Some(7));
        host
    }

    /// Nothing at all: neither sysfs nor procfs.
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// The directory that plays `/`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, path: &str) -> std::path::PathBuf {
        // Joined to an absolute path, the directory is dropped, and the test would write to the real machine.
        assert!(!path.starts_with('/') && !path.contains(".."), "{path} leaves the host's directory");
        self.dir.path().join(path)
    }

    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .unwrap();
    }

    pub(crate) fn pool(&self, node: Option<u32>, kilobytes: u64, total: u64, free: u64) {
        let dir = match node {
            Some(node) => format!("sys/devices/system/node/node{node}/hugepages/hugepages-{kilobytes}kB"),
            None => format!("sys/kernel/mm/hugepages/hugepages-{kilobytes}kB"),
        };
        self.put(&format!("{dir}/nr_hugepages"), format!("{total}\n"));
        self.put(&format!("{dir}/free_hugepages"), format!("{free}\n"));
        self.put(&format!("{dir}/surplus_hugepages"), "0\n");
        if node.is_none() {
            self.put(&format!("{dir}/resv_hugepages"), "0\n");
        }
    }

    pub(crate) fn mount(&self, path: &str, options: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
        let mut mounts = fs::read_to_string(self.path("proc/self/mounts")).unwrap();
        mounts.push_str(&format!("hugetlbfs /{path} hugetlbfs {options} 0 0\n"));
        self.put("proc/self/mounts", mounts);
    }

    /// A PCI device as sysfs lays it out: a directory, named by links from the bus and from its group.
    pub(crate) fn device(&self, address: &str, driver: Option<&str>, group: Option<u32>) {
        let real = format!("sys/devices/pci0000:00/{address}");
        fs::create_dir_all(self.path(&real)).unwrap();
        self.put(&format!("{real}/class"), "0x020000\n");
        self.put(&format!("{real}/numa_node"), "1\n");
        let bus = self.path(&format!("sys/bus/pci/devices/{address}"));
        symlink(format!("../../../devices/pci0000:00/{address}"), bus).unwrap();
        if let Some(driver) = driver {
            self.bind(address, driver);
        }
        if let Some(group) = group {
            symlink(
                format!("../../../kernel/iommu_groups/{group}"),
                self.path(&format!("{real}/iommu_group")),
            )
            .unwrap();
            let members = self.path(&format!("sys/kernel/iommu_groups/{group}/devices"));
            fs::create_dir_all(&members).unwrap();
            symlink(format!("../../../../devices/pci0000:00/{address}"), members.join(address)).unwrap();
        }
    }

    pub(crate) fn bind(&self, address: &str, driver: &str) {
        let link = self.path(&format!("sys/devices/pci0000:00/{address}/driver"));
        let _ = fs::remove_file(&link);
        symlink(format!("../../../bus/pci/drivers/{driver}"), link).unwrap();
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(self.dir.path())
    }

    pub(crate) fn report(&self, requirements: &[&str]) -> Report {
        let mut wanted = Requirements::default();
        for requirement in requirements {
            wanted.add(requirement.parse().unwrap()).unwrap();
        }
        run_with(&self.root(), &wanted, &self.variables.iter().cloned().collect())
    }

    pub(crate) fn state(&self) -> DeviceState {
        explain(&self.root(), DEVICE).state
    }

    /// Sets a variable of a device plugin.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The CPUs and capabilities of the process: root in a container has no CAP_IPC_LOCK.
    pub(crate) fn allow(&self, cpus: &str) {
        let text = format!("Name:\tcheck\nCapEff:\t00000000a80425fb\nCpus_allowed_list:\t{cpus}\n");
        self.put("proc/self/status", text);
    }

    /// `count` CPUs that are on; CPU n shares its core with CPU n + `count / 2`, and the first half of the cores
    /// is on node 0. `cores` is the number of cores.
    pub(crate) fn cpus(&self, count: u32, cores: u32) {
        let base = "sys/devices/system/cpu";
        self.put(&format!("{base}/online"), format!("0-{}\n", count - 1));
        self.put(&format!("{base}/isolated"), "\n");
        for cpu in 0..count {
            let core: Vec<_> = (0..count).filter(|other| other % cores == cpu % cores).collect();
            let list: Vec<_> = core.iter().map(u32::to_string).collect();
            let file = format!("{base}/cpu{cpu}/topology/thread_siblings_list");
            self.put(&file, format!("{}\n", list.join(",")));
        }
        for node in 0..2 {
            let cpus = (0..count).filter(|cpu| (cpu % cores) / cores.div_ceil(2) == node);
            let list: Vec<_> = cpus.map(|cpu| cpu.to_string()).collect();
            self.put(&format!("sys/devices/system/node/node{node}/cpulist"), format!("{}\n", list.join(",")));
        }
    }

    pub(crate) fn buffers(&self, core: u64, tcp: u64) {
        for letter in ["r", "w"] {
            self.put(&format!("proc/sys/net/core/{letter}mem_max"), format!("{core}\n"));
            self.put(&format!("proc/sys/net/ipv4/tcp_{letter}mem"), format!("4096\t131072\t{tcp}\n"));
        }
        self.put("proc/sys/net/core/rps_sock_flow_entries", "0\n");
    }

    /// Puts the process into a group of version 2, and files into it and its parents.
    pub(crate) fn cgroup_v2(&self, group: &str, files: &[(&str, &str)]) {
        self.put("proc/self/cgroup", format!("0::{group}\n"));
        self.put("proc/self/mountinfo", "30 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        for (file, text) in files {
            self.put(&format!("sys/fs/cgroup/{file}"), format!("{text}\n"));
        }
    }

    /// Puts the process into a group of version 1 for some controllers, each in a hierarchy of its own.
    pub(crate) fn cgroup_v1(&self, group: &str, files: &[(&str, &[(&str, &str)])]) {
        let (mut groups, mut mounts) = (String::new(), String::new());
        for (number, (controller, files)) in files.iter().enumerate() {
            groups.push_str(&format!("{number}:{controller}:{group}\n"));
            let path = format!("sys/fs/cgroup/{controller}");
            mounts.push_str(&format!(
                "3{number} 24 0:3{number} / /{path} rw - cgroup cgroup rw,{controller}\n"
            ));
            for (file, text) in *files {
                self.put(&format!("{path}/{file}"), format!("{text}\n"));
            }
        }
        self.put("proc/self/cgroup", groups);
        self.put("proc/self/mountinfo", mounts);
    }

    /// A file of a device made by [`Host::device`].
    pub(crate) fn device_file(&self, address: &str, file: &str, text: &str) {
        self.put(&format!("sys/devices/pci0000:00/{address}/{file}"), format!("{text}\n"));
    }

    /// Makes `vf` VF number `number` of `pf`.
    pub(crate) fn virtual_function(&self, pf: &str, number: u32, vf: &str) {
        let dir = self.path("sys/devices/pci0000:00");
        symlink(format!("../{pf}"), dir.join(vf).join("physfn")).unwrap();
        symlink(format!("../{vf}"), dir.join(pf).join(format!("virtfn{number}"))).unwrap();
    }

    /// A PCIe link: speed and width now, and at most.
    pub(crate) fn link(&self, address: &str, now: (&str, &str), most: (&str, &str)) {
        for (file, text) in [
            ("current_link_speed", now.0),
            ("current_link_width", now.1),
            ("max_link_speed", most.0),
            ("max_link_width", most.1),
        ] {
            self.device_file(address, file, text);
        }
    }

    /// A network interface on a device, up and with one queue.
    pub(crate) fn interface(&self, address: &str, name: &str, speed: &str) {
        let real = format!("sys/devices/pci0000:00/{address}/net/{name}");
        for (file, text) in [
            ("address", "02:00:00:00:00:01"),
            ("operstate", "up"),
            ("flags", "0x1003"),
            ("speed", speed),
            ("duplex", "full"),
            ("mtu", "1500"),
            ("queues/rx-0/rps_cpus", "00"),
            ("queues/rx-0/rps_flow_cnt", "0"),
        ] {
            self.put(&format!("{real}/{file}"), format!("{text}\n"));
        }
        symlink(format!("../../../{address}"), self.path(&real).join("device")).unwrap();
        let class = self.path("sys/class/net");
        fs::create_dir_all(&class).unwrap();
        symlink(format!("../../devices/pci0000:00/{address}/net/{name}"), class.join(name)).unwrap();
    }

    /// The RDMA half of a device, with its files, and an interface.
    pub(crate) fn verbs(&self, address: &str) {
        for dir in ["infiniband/mlx5_0", "infiniband_verbs/uverbs0"] {
            fs::create_dir_all(self.path(&format!("sys/devices/pci0000:00/{address}/{dir}"))).unwrap();
        }
        self.put("dev/infiniband/uverbs0", "");
        self.interface(address, "ens1", "100000");
    }
}
