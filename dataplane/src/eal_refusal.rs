//! Explanations of EAL's refusals: the cause and the remedy.
//!
//! EAL states the cause in its log, on one of several lines and rarely on the last. The table below lists the
//! lines that name a cause; for any other refusal, EAL's first error is reported.

use std::fmt;

use super::eal_args::EalPlan;

/// Reason why EAL did not start, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The thing and the reason.
    pub cause: String,
    /// Remedy.
    pub remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  remedy: {}", self.cause, self.remedy)
    }
}

/// Traces of a failed start: EAL's log and its first error.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The whole log.
    pub log: &'a str,
    /// The first message of level error; may be empty.
    pub first_error: &'a str,
    /// The error number's text.
    pub errno: &'a str,
    /// CPUs that this process may use, as a list such as `0-1`.
    pub allowed_cpus: &'a str,
    /// Open files that this process may have; `None` without limit.
    pub open_files: Option<u64>,
}

/// Explanation for a lack of file descriptors, if EAL's log shows one: EAL then refuses pools although there
/// is memory, and devices although they are ready.
pub fn explain_lack_of_files(log: &str, open_files: Option<u64>) -> Option<Refusal> {
    let known = KNOWN.iter().find(|known| known.cause == NO_DESCRIPTOR && known.line_in(log).is_some())?;
    let cause = known.cause.replace("{line}", known.line_in(log)?).replace("{files}", &files(open_files));
    Some(Refusal { cause, remedy: known.remedy.to_owned() })
}

fn files(limit: Option<u64>) -> String {
    limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string())
}

/// A line of EAL's log, recognised by its parts, and its explanation. `{line}` stands for the line,
/// `{before}` for the one before it, `{first}` for EAL's first error, `{cpus}` for the allowed CPUs.
struct Known {
    parts: &'static [&'static str],
    cause: &'static str,
    remedy: &'static str,
}

/// EAL opens a file per hugepage, even with `--in-memory`, and then reports a lack of memory; vfio-pci opens
/// several files per device.
const NO_DESCRIPTOR: &str = "too few file descriptors: this process may open {files} files, and every hugepage and device takes some: {line}";
const DESCRIPTOR_REMEDY: &str = "raise the limit (ulimit -n 65536; docker and podman: --ulimit nofile=65536:65536), use larger pages, or keep many pages in \
     one file: --single-file-segments";

const KNOWN: &[Known] = &[
    Known { parts: &["Couldn't get fd on hugepage file"], cause: NO_DESCRIPTOR, remedy: DESCRIPTOR_REMEDY },
    Known { parts: &["Too many open files"], cause: NO_DESCRIPTOR, remedy: DESCRIPTOR_REMEDY },
    Known {
        parts: &["Too many lcores"],
        cause: "an lcore number is out of range: {line}",
        remedy: "choose lcores among the allowed CPUs ({cpus}), or map them with --lcores, as in --lcores 0@0,1@1",
    },
    Known {
        parts: &["core list syntax"],
        cause: "the list of lcores cannot be read: {line}",
        remedy: "write it as in -l 0-3 or -l 0,2,4; allowed CPUs are {cpus}",
    },
    Known {
        parts: &["core ", " unavailable"],
        cause: "an lcore is not available: {line}",
        remedy: "choose lcores among the allowed CPUs ({cpus}), or map them with --lcores, as in --lcores 0@0,1@1; in a pod, \
                 ask for more CPUs",
    },
    Known {
        parts: &["invalid parameter for --lcores"],
        cause: "the lcore map cannot be read: {line}",
        remedy: "write it as in --lcores 0@0,1@1; allowed CPUs are {cpus}",
    },
    Known {
        parts: &["Cannot set up DMA remapping"],
        cause: "packet memory cannot be mapped for the device: {line}",
        remedy: "raise the locked-memory limit (ulimit -l unlimited; in a pod, the IPC_LOCK capability)",
    },
    Known {
        parts: &["VFIO group is not viable"],
        cause: "the device shares its IOMMU group with one on a kernel driver: {line}",
        remedy: "bind every device of the group to vfio-pci, or use a device in a group of its own",
    },
    Known {
        parts: &["No supported IOMMU extensions"],
        cause: "VFIO has no IOMMU driver: {line}",
        remedy: "modprobe vfio_iommu_type1",
    },
    Known {
        parts: &["/dev/vfio", "Device or resource busy"],
        cause: "a device is in use by another process: {line}",
        remedy: "end the process that holds it (fuser -v /dev/vfio/*), or choose another device",
    },
    Known {
        parts: &["Cannot open /dev/vfio"],
        cause: "no permission for the device's VFIO group: {line}",
        remedy: "run as root, or give this user the group (chown USER /dev/vfio/GROUP)",
    },
    Known {
        parts: &["get_seg_fd", "Permission denied"],
        cause: "no permission for hugepage files: {line}",
        remedy: "add --in-memory (needs no files), or give this user the hugetlbfs mount, or run as root",
    },
    Known {
        parts: &["Failed to lock hugepage directory"],
        cause: "no permission for the hugetlbfs mount: {line}",
        remedy: "add --in-memory (needs no files), or give this user the hugetlbfs mount, or run as root",
    },
    Known {
        parts: &["Not enough memory available"],
        cause: "too few free hugepages: {line}",
        remedy: "reserve more (echo N > /proc/sys/vm/nr_hugepages), ask for less with --socket-mem or -m, or use --no-huge",
    },
    Known {
        parts: &["SIGBUS", "hugepages"],
        cause: "hugepages are free on the node, and this process may not have them: {line}",
        remedy: "raise the control group's limit (hugetlb.2MB.max; in a pod, the hugepages-2Mi or hugepages-1Gi limit), ask for less with \
                 --socket-mem or -m, or use --no-huge",
    },
    Known {
        parts: &["Cannot get hugepage information"],
        cause: "no free hugepages",
        remedy: "reserve some (echo 512 > /proc/sys/vm/nr_hugepages, as root), or run without them: --no-huge",
    },
    Known {
        parts: &["failed to parse device"],
        cause: "no driver knows this virtual device: {line}",
        remedy: "check the name's prefix (net_memif0, net_null0, net_ring0, net_pcap0, net_af_packet0, net_tap0) and that the \
                 driver's library is installed (Debian: librte-net-…, in package dpdk)",
    },
    Known {
        parts: &["open AF_PACKET socket"],
        cause: "af_packet may not open a packet socket: {line}",
        remedy: "run as root, or with the capabilities NET_RAW and NET_ADMIN (docker and podman: --cap-add; in a pod: capabilities add, and \
                 runAsUser 0, for other users' processes start without capabilities there)",
    },
    Known {
        parts: &["Invalid socket directory"],
        cause: "memif's socket cannot be made: {line}",
        remedy: "name a socket in a folder that exists and that this user may write to (in a container: a volume that both ends share)",
    },
    Known {
        parts: &["failed to initialize"],
        cause: "a virtual device cannot be made: {before}",
        remedy: "check its arguments in --vdev; DPDK's guide to the driver lists them",
    },
    Known {
        parts: &["not compatible with"],
        cause: "two EAL options exclude each other: {line}",
        remedy: "leave one of them out",
    },
    Known {
        parts: &["be used at the same time"],
        cause: "two EAL options exclude each other: {line}",
        remedy: "leave one of them out",
    },
    Known {
        parts: &["cannot be specified together with"],
        cause: "two EAL options exclude each other: {line}",
        remedy: "leave one of them out",
    },
    Known {
        parts: &["unknown argument"],
        cause: "EAL does not know an option: {line}",
        remedy: "EAL's own options stand before `--`, Linerate's after it; DPDK's guide lists EAL's",
    },
    Known {
        parts: &["annot allocate memory"],
        cause: "not enough memory: {first}",
        remedy: "ask for less with -m or --socket-mem",
    },
    Known {
        parts: &["error allocating"],
        cause: "not enough memory: {first}",
        remedy: "ask for less with -m or --socket-mem",
    },
    Known {
        parts: &["Cannot init memory"],
        cause: "packet memory is not available, and EAL gives no reason",
        remedy: "run hugepage-check --require socket-mem=MB: free pages and the control group's limit (hugetlb.*.max) decide",
    },
];

/// Explains why EAL did not start.
pub fn explain(plan: &EalPlan, evidence: &Evidence<'_>) -> Refusal {
    // The same line also appears, without harm, when no files are wanted.
    let unmounted = "but no mounted hugetlbfs found";
    if !plan.in_memory && !plan.no_huge && evidence.log.contains(unmounted) {
        return Refusal {
            cause: "hugepages are reserved but not mounted".into(),
            remedy: "add --in-memory (needs no mount), or: mount -t hugetlbfs none /dev/hugepages".into(),
        };
    }
    let fill = |text: &str, line: &str| {
        text.replace("{line}", line)
            .replace("{before}", before(evidence.log, line))
            .replace(
                "{first}",
                if evidence.first_error.is_empty() { line } else { evidence.first_error.trim() },
            )
            .replace("{cpus}", evidence.allowed_cpus)
            .replace("{files}", &files(evidence.open_files))
    };
    if let Some((known, line)) = KNOWN.iter().find_map(|known| Some((known, known.line_in(evidence.log)?))) {
        return Refusal { cause: fill(known.cause, line), remedy: fill(known.remedy, line) };
    }
    let first = if evidence.first_error.is_empty() { evidence.errno } else { evidence.first_error.trim() };
    Refusal {
        cause: format!("EAL refused to start: {first}"),
        remedy: format!("see EAL's messages above; it was called as: {}", plan.arguments.join(" ")),
    }
}

/// Explains why a device is missing although EAL started, if the log names a cause that concerns devices.
pub fn explain_missing_device(log: &str) -> Option<Refusal> {
    let about_devices =
        ["vfio", "VFIO", "DMA remapping", "IOMMU", "AF_PACKET", "socket directory", "initialize"];
    KNOWN.iter().filter(|known| about_devices.iter().any(|word| known.parts[0].contains(word))).find_map(
        |known| {
            let line = known.line_in(log)?;
            let cause = known.cause.replace("{line}", line).replace("{before}", before(log, line));
            Some(Refusal { cause, remedy: known.remedy.to_owned() })
        },
    )
}

/// The line before the given one, or the line itself when it is the first: drivers log the reason before the
/// bus logs the failure.
fn before<'a>(log: &'a str, line: &'a str) -> &'a str {
    let mut last = line;
    for candidate in log.lines().map(str::trim) {
        if candidate == line {
            break;
        }
        last = candidate;
    }
    last
}

impl Known {
    fn line_in<'a>(&self, log: &'a str) -> Option<&'a str> {
        log.lines().find(|line| self.parts.iter().all(|part| line.contains(part))).map(str::trim)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn explained(options: &str, log: &str, first_error: &str) -> Refusal {
        let user: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
        let evidence = Evidence {
            log,
            first_error,
            errno: "Invalid argument (errno 22)",
            allowed_cpus: "0-1",
            open_files: Some(64),
        };
        explain(&EalPlan::new("lp", &user), &evidence)
    }

    #[test]
    fn each_refusal_names_cause_and_remedy() {
        for (options, log, cause, remedy) in [
            (
                "-l 0-9",
                "EAL: lcore 2 unavailable\nEAL: invalid core list, please check",
                "EAL: lcore 2 unavailable",
                "allowed CPUs (0-1)",
            ),
            (
                "-l 0-999",
                "EAL: Too many lcores provided. Cannot exceed RTE_MAX_LCORE (128)\nEAL: invalid core list syntax",
                "Too many lcores provided",
                "--lcores",
            ),
            (
                "--socket-mem 64",
                "EAL: No free 2048 kB hugepages reported on node 0\nEAL: FATAL: Cannot get hugepage information.",
                "no free hugepages",
                "nr_hugepages",
            ),
            (
                "--socket-mem 1024",
                "EAL: 256 hugepages of size 2097152 reserved, but no mounted hugetlbfs found for that size\nEAL: Not enough memory available on socket 0! Requested: 1024MB, available: 512MB",
                "Requested: 1024MB, available: 512MB",
                "--no-huge",
            ),
            (
                "--huge-dir /x",
                "EAL: 256 hugepages of size 2097152 reserved, but no mounted hugetlbfs found for that size\nEAL: FATAL: Cannot get hugepage information.",
                "not mounted",
                "--in-memory",
            ),
            (
                "--huge-dir /x",
                "EAL: get_seg_fd(): open '/x/rtemap_0' failed: Permission denied",
                "no permission for hugepage files",
                "--in-memory",
            ),
            (
                "--socket-mem 64",
                "EAL: alloc_seg(): Couldn't get fd on hugepage file\nEAL: Not enough memory available on socket 0! Requested: 64MB, available: 0MB",
                "may open 64 files",
                "ulimit -n",
            ),
            ("--vdev nonsense", "EAL: failed to parse device \"nonsense\"", "\"nonsense\"", "net_memif0"),
            (
                "--a --b",
                "EAL: Options 'a' and 'b' can't be used at the same time",
                "exclude each other",
                "leave one",
            ),
            (
                "--no-huge --socket-mem 4",
                "EAL: Options --socket-mem cannot be specified together with --no-huge",
                "exclude each other",
                "leave one",
            ),
            ("--bogus", "ARGPARSE: unknown argument --bogus!", "--bogus", "before `--`"),
            ("-a 03:00.0", "EAL: Cannot open /dev/vfio/6: Permission denied", "VFIO group", "chown"),
            ("-a 03:00.0", "EAL: Cannot open /dev/vfio/6: Device or resource busy", "in use", "fuser"),
            (
                "-l 0-9 --huge-dir /x",
                "EAL: Physical addresses are unavailable, selecting IOVA as VA mode.\nEAL: Cannot get hugepage information.",
                "no free hugepages",
                "--no-huge",
            ),
            (
                "-a 03:00.0",
                "Cannot set up DMA remapping, error 12 (Cannot allocate memory)",
                "cannot be mapped",
                "ulimit -l",
            ),
        ] {
            let refusal = explained(options, log, "");
            assert!(refusal.cause.contains(cause), "{options}: {refusal}");
            assert!(refusal.remedy.contains(remedy), "{options}: {refusal}");
        }
    }

    #[test]
    fn a_device_that_is_missing_is_explained_by_its_driver() {
        let harmless = "EAL: Error creating '/tmp/dpdk/rte': Permission denied\n";
        for (log, cause, remedy) in [
            (
                "open_packet_iface(): Could not open AF_PACKET socket\nvdev_probe(): failed to initialize net_af_packet0 device",
                "may not open a packet socket",
                "NET_RAW",
            ),
            (
                "memif_check_socket_filename(): Invalid socket directory.\nvdev_probe(): failed to initialize net_memif0 device",
                "memif's socket",
                "may write to",
            ),
            (
                "rte_pmd_init_internals(): ioctl failed (SIOCGIFINDEX):No such device\nvdev_probe(): failed to initialize net_af_packet0 device",
                "cannot be made: rte_pmd_init_internals(): ioctl failed",
                "--vdev",
            ),
        ] {
            let refusal = explain_missing_device(&format!("{harmless}{log}")).unwrap();
            assert!(refusal.cause.contains(cause), "{refusal}");
            assert!(refusal.remedy.contains(remedy), "{refusal}");
        }
        assert_eq!(explain_missing_device(harmless), None);
    }

    #[test]
    fn a_lack_of_file_descriptors_differs_from_one_of_memory_or_devices() {
        for log in [
            "EAL: Cannot set up eventfd, error 24 (Too many open files)\nEAL: Error setting up interrupts!",
            "EAL: alloc_seg(): Couldn't get fd on hugepage file\nEAL: Failed to allocate memory",
        ] {
            let refusal = explain_lack_of_files(log, Some(24)).unwrap();
            assert!(refusal.cause.contains("may open 24 files"), "{refusal}");
            assert!(refusal.remedy.contains("ulimit -n"), "{refusal}");
        }
        assert_eq!(explain_lack_of_files("EAL: Not enough memory available", Some(24)), None);
    }

    #[test]
    fn an_unknown_refusal_quotes_eal() {
        assert!(
            explained("--bogus", "", "EAL: something new\n")
                .cause
                .ends_with("refused to start: EAL: something new")
        );
        let silent = explained("--bogus", "", "");
        assert!(silent.cause.contains("errno 22") && silent.remedy.contains("lp --bogus"), "{silent}");
    }
}
