//! Check: a device that its kernel driver shares with DPDK has a network interface and an RDMA device; it
//! does not need VFIO.
//!
//! Source: `/sys/bus/pci/devices/<address>/infiniband_verbs` (kernel
//! `Documentation/ABI/stable/sysfs-class-infiniband`) and `/dev/infiniband`.

use super::{DEVICES, DeviceFacts, interfaces};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{Access, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "device.rdma",
    title: "RDMA access",
    why: "DPDK works on queues of this card while the kernel keeps it: it opens the card's verbs file and asks \
          the kernel's interface for its address and link. Both must be in this container.",
};

/// A result for each required device on such a driver.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let judge = |facts: &DeviceFacts| {
        let address = facts.address().to_string();
        TOPIC.judge(true, judge(scene.root, &address)).about(address)
    };
    scene.devices.iter().filter(|facts| facts.is_shared()).map(judge).collect()
}

fn judge(root: &Root, address: &str) -> Outcome {
    let dir = format!("{DEVICES}/{address}");
    let verbs = if root.contains(&dir, "infiniband_verbs")? {
        root.names(&format!("{dir}/infiniband_verbs"))?
    } else {
        Vec::new()
    };
    let shown = if verbs.is_empty() { "not there".to_owned() } else { verbs.join(" ") };
    let mut evidence = vec![Evidence::new(root, &format!("{dir}/infiniband_verbs"), shown)];
    let mut files = Vec::new();
    for name in verbs {
        let file = format!("/dev/infiniband/{name}");
        let access = root.access(&file)?;
        evidence.push(Evidence::new(root, &file, crate::vfio::access_words(access)));
        files.push((file, access));
    }
    let interfaces = interfaces(root, &dir);
    let shown = if interfaces.is_empty() { "not there".to_owned() } else { interfaces.join(" ") };
    evidence.push(Evidence::new(root, &format!("{dir}/net"), shown));
    Ok((decide(&files, &interfaces), evidence))
}

fn decide(files: &[(String, Access)], interfaces: &[String]) -> Verdict {
    let Some((file, access)) = files.iter().find(|(_, access)| *access == Access::Granted).or(files.first())
    else {
        return Verdict::fail(
            "the card has no verbs file",
            Remedy::type_in(["modprobe -a ib_uverbs mlx5_ib"])
                .note("For ConnectX-3: mlx4_ib instead of mlx5_ib."),
        );
    };
    match access {
        Access::Granted => {}
        Access::Denied => {
            return Verdict::fail(
                format!("this user may not open {file}"),
                Remedy::type_in([format!("chmod 0666 {file}")])
                    .note("The usual mode; rights are checked behind it."),
            );
        }
        Access::Missing => {
            return Verdict::fail(
                format!("{file} is not there"),
                Remedy::type_in([format!("ls -l {file}")]).note(
                    "In a container it has to be passed in: --device, or a device plugin whose resource is made \
                     with isRdma.",
                ),
            );
        }
    }
    if interfaces.is_empty() {
        return Verdict::fail(
            format!("{file} is open, but the card has no interface in this network namespace"),
            Remedy::type_in(["ip -br link"]).note(
                "The interface has to be moved here, too: by Multus and the SR-IOV CNI, or ip link set IF netns PID.",
            ),
        );
    }
    Verdict::pass(format!("{file} and {}", interfaces.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn verbs_file_and_interface_are_both_needed() {
        let file = |access| vec![("/dev/infiniband/uverbs0".to_owned(), access)];
        let interface = vec!["ens1".to_owned()];
        for (files, interfaces, status, words) in [
            (file(Access::Granted), interface.clone(), Status::Pass, "uverbs0 and ens1"),
            (file(Access::Granted), vec![], Status::Fail, "no interface"),
            (file(Access::Denied), interface.clone(), Status::Fail, "may not open"),
            (file(Access::Missing), interface.clone(), Status::Fail, "is not there"),
            (vec![], interface, Status::Fail, "no verbs file"),
        ] {
            let verdict = decide(&files, &interfaces);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
