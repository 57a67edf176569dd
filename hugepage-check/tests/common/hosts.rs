//! Hosts as they are met, each with what is asked of it.

use std::fs;
use std::os::unix::fs::symlink;

use super::{DEVICE, Host, PF};

/// A host and the options of the check.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) host: Host,
    pub(crate) options: &'static [&'static str],
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let case = |name, host, options| Case { name, host, options };
    vec![
        case("nothing", Host::bare(), &[]),
        case(
            "intel",
            intel(),
            &["--socket-mem", "0,1024", "--processes", "2", "--lcores", "2-3", "--device", DEVICE],
        ),
        case(
            "intel-in-trouble",
            intel_in_trouble(),
            &["--lcores", "0,4,9", "--device", DEVICE, "--interface", "ens1"],
        ),
        case("amd-pod", amd_pod(), &["--socket-mem", "2048", "--lcores", "2-3", "--device", DEVICE]),
        case("arm", arm(), &["--socket-mem", "512"]),
        case("pod-v1", pod_v1(), &["--socket-mem", "1024"]),
        case("mlx5", mlx5(), &["--socket-mem", "1024", "--device", DEVICE]),
        case("no-iommu", no_iommu(), &["--device", DEVICE]),
    ]
}

/// Two sockets, an Intel card with two VFs, isolated CPUs, all in order.
fn intel() -> Host {
    let host = Host::good();
    host.device("0000:03:02.1", Some("igbvf"), Some(8));
    for (file, text) in [("sriov_totalvfs", "7"), ("sriov_numvfs", "2")] {
        host.device_file(PF, file, text);
    }
    host.virtual_function(PF, 0, DEVICE);
    host.virtual_function(PF, 1, "0000:03:02.1");
    host.interface(PF, "ens1", "10000");
    host.link(PF, ("8.0 GT/s PCIe", "8"), ("8.0 GT/s PCIe", "8"));
    for group in [6, 7, 8] {
        let kind = if group == 6 { "DMA-FQ" } else { "identity" };
        host.put(&format!("sys/kernel/iommu_groups/{group}/type"), format!("{kind}\n"));
    }
    host.put("sys/devices/system/cpu/isolated", "2-3,6-7\n");
    host.put("sys/devices/system/cpu/nohz_full", "2-3,6-7\n");
    for cpu in 0..8 {
        host.put(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"), "performance\n");
    }
    host
}

/// The same, with a fault in every group.
fn intel_in_trouble() -> Host {
    let host = intel();
    host.device_file(PF, "net/ens1/flags", "0x1002");
    host.device_file(PF, "net/ens1/operstate", "down");
    host.link(PF, ("5.0 GT/s PCIe", "4"), ("8.0 GT/s PCIe", "8"));
    host.put(
        "proc/self/limits",
        "Max locked memory         8388608              8388608              bytes\n",
    );
    host.put("proc/4711/comm", "dpdk-testpmd\n");
    fs::create_dir_all(host.path("proc/4711/fd")).unwrap();
    symlink("/dev/vfio/6", host.path("proc/4711/fd/20")).unwrap();
    host.put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    host.put("proc/stat", "cpu0 100 0 0 800 0 0 0 100 0 0\ncpu4 100 0 0 900 0 0 0 0 0 0\n");
    host.buffers(212_992, 6_291_456);
    host.put("proc/sys/net/core/rps_sock_flow_entries", "32768\n");
    host.put("proc/sys/net/netfilter/nf_conntrack_count", "65000\n");
    host.put("proc/sys/net/netfilter/nf_conntrack_max", "65536\n");
    host.put("proc/net/stat/nf_conntrack", "entries drop early_drop\n0000fde8 0000000a 00000000\n");
    host.put("dev/hugepages/rtemap_0", "");
    host
}

/// A pod on an AMD host, version 2: two CPUs of its own, a device of a plugin, enough hugepages.
fn amd_pod() -> Host {
    let host = Host::good()
        .environment("PCIDEVICE_AMD_COM_VF", DEVICE)
        .environment("PCIDEVICE_AMD_COM_VF_INFO", r#"{"0000:03:02.0":{"vfio":{"dev-mount":"/dev/vfio/6"}}}"#);
    fs::remove_dir(host.path("sys/class/iommu/dmar0")).unwrap();
    fs::create_dir(host.path("sys/class/iommu/ivhd0")).unwrap();
    for group in [6, 7] {
        host.put(&format!("sys/kernel/iommu_groups/{group}/type"), "identity\n");
    }
    host.put("proc/cmdline", "root=/dev/nvme0n1p2 amd_iommu=on iommu=pt\n");
    host.allow("2-3");
    host.cgroup_v2(
        "/kubepods.slice/pod1.slice/cri-1.scope",
        &[
            ("kubepods.slice/pod1.slice/cri-1.scope/cpu.max", "200000 100000"),
            ("kubepods.slice/pod1.slice/cri-1.scope/cpuset.cpus.effective", "2-3"),
            ("kubepods.slice/pod1.slice/cri-1.scope/hugetlb.2MB.max", "0"),
            ("kubepods.slice/pod1.slice/cri-1.scope/hugetlb.2MB.current", "0"),
            ("kubepods.slice/pod1.slice/cri-1.scope/hugetlb.1GB.max", "2147483648"),
            ("kubepods.slice/pod1.slice/cri-1.scope/hugetlb.1GB.current", "0"),
            ("kubepods.slice/pod1.slice/cri-1.scope/hugetlb.1GB.rsvd.max", "max"),
            ("kubepods.slice/pod1.slice/hugetlb.1GB.max", "max"),
            ("kubepods.slice/cpu.max", "max 100000"),
        ],
    );
    host
}

/// A server with pages of 64 kB, so that the hugepages have sizes of their own.
fn arm() -> Host {
    let host = Host::bare();
    for node in [None, Some(0), Some(1)] {
        for kilobytes in [1_048_576, 2048] {
            let base = match node {
                Some(node) => format!("sys/devices/system/node/node{node}/hugepages"),
                None => "sys/kernel/mm/hugepages".to_owned(),
            };
            host.remove(&format!("{base}/hugepages-{kilobytes}kB"));
        }
        host.pool(node, 2048, 0, 0);
        host.pool(node, 524_288, if node == Some(1) { 0 } else { 2 }, if node == Some(1) { 0 } else { 2 });
    }
    host.put("proc/meminfo", "MemTotal: 1 kB\nHugepagesize:     524288 kB\n");
    host.mount("dev/hugepages", "rw,pagesize=512M");
    fs::create_dir_all(host.path("sys/class/iommu/smmu3.0x0000000100000000")).unwrap();
    host.device("0000:01:00.0", Some("hns3"), Some(0));
    host.interface("0000:01:00.0", "enp1s0f0", "25000");
    host.put("sys/kernel/iommu_groups/0/type", "DMA\n");
    host.cpus(8, 8);
    host
}

/// A pod on a host with version 1 whose hugepage limit is too small, although pages are free.
fn pod_v1() -> Host {
    let host = Host::good();
    host.allow("0-7");
    host.cgroup_v1(
        "/kubepods/pod1",
        &[
            (
                "hugetlb",
                &[
                    ("hugetlb.2MB.limit_in_bytes", "9223372036852678656"),
                    ("hugetlb.1GB.limit_in_bytes", "9223372036854771712"),
                    ("kubepods/pod1/hugetlb.2MB.limit_in_bytes", "536870912"),
                    ("kubepods/pod1/hugetlb.2MB.usage_in_bytes", "134217728"),
                    ("kubepods/pod1/hugetlb.2MB.rsvd.limit_in_bytes", "9223372036852678656"),
                    ("kubepods/pod1/hugetlb.1GB.limit_in_bytes", "0"),
                    ("kubepods/pod1/hugetlb.1GB.usage_in_bytes", "0"),
                ],
            ),
            (
                "cpu",
                &[
                    ("kubepods/pod1/cpu.cfs_quota_us", "150000"),
                    ("kubepods/pod1/cpu.cfs_period_us", "100000"),
                ],
            ),
            ("cpuset", &[("kubepods/pod1/cpuset.cpus", "0-7")]),
        ],
    );
    host
}

/// A card whose driver stays: no IOMMU, no VFIO, and all is well.
fn mlx5() -> Host {
    let host = Host::bare();
    host.pool(None, 1_048_576, 2, 2);
    host.pool(Some(1), 1_048_576, 2, 2);
    host.device(DEVICE, Some("mlx5_core"), None);
    host.verbs(DEVICE);
    host
}

/// A virtual machine without an IOMMU, where VFIO works all the same, at a price.
fn no_iommu() -> Host {
    let host = Host::good();
    for group in [6, 7] {
        host.put(&format!("sys/kernel/iommu_groups/{group}/name"), "vfio-noiommu\n");
    }
    fs::remove_dir(host.path("sys/class/iommu/dmar0")).unwrap();
    host.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    host.put("dev/vfio/noiommu-6", "");
    host
}
