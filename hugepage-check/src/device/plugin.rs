//! Check: the devices that a Kubernetes device plugin assigned exist, and include the required ones.

use linerate_hardware::PciAddress;

use super::DEVICES;
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::environment::Assignment;
use crate::root::{Access, ReadError, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "device.plugin",
    title: "Device plugin",
    why: "A device plugin names the assigned devices in PCIDEVICE_* variables and passes in only their files. \
          sysfs shows all devices of the node, so another one can be seen, but not opened.",
};

/// A result for each variable, and one when required devices are in no variable.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let assignments = scene.environment.assignments();
    let one = |assignment: &Assignment| {
        TOPIC.judge(false, judge(scene.root, assignment)).about(assignment.variable.clone())
    };
    let mut checks: Vec<_> = assignments.iter().map(one).collect();
    let assigned = scene.environment.devices();
    if scene.wanted.assigned_devices && assigned.is_empty() {
        checks.push(nothing_assigned(&assignments));
    }
    let strangers: Vec<_> =
        scene.wanted.devices.iter().filter(|address| !assigned.contains(address)).collect();
    if !assignments.is_empty() && !strangers.is_empty() {
        checks.push(not_assigned(&strangers, &assignments));
    }
    checks
}

fn variable(assignment: &Assignment) -> Evidence {
    Evidence { source: format!("environment {}", assignment.variable), observed: assignment.text.clone() }
}

fn judge(root: &Root, assignment: &Assignment) -> Outcome {
    let mut evidence = vec![variable(assignment)];
    let devices = match &assignment.devices {
        Ok(devices) => devices,
        Err(problem) => return Ok((not_understood(problem), evidence)),
    };
    let absent = absent(root, devices.keys())?;
    let mut closed = Vec::new();
    for file in devices.values().flatten() {
        let access = root.access(file)?;
        evidence.push(Evidence::new(root, file, crate::vfio::access_words(access)));
        if access != Access::Granted {
            closed.push(file.clone());
        }
    }
    let addresses: Vec<_> = devices.keys().map(ToString::to_string).collect();
    Ok((decide(&addresses, &absent, &closed), evidence))
}

fn absent<'a>(
    root: &Root,
    addresses: impl Iterator<Item = &'a PciAddress>,
) -> Result<Vec<String>, ReadError> {
    let mut absent = Vec::new();
    for address in addresses.map(ToString::to_string) {
        if !root.contains(DEVICES, &address)? {
            absent.push(address);
        }
    }
    Ok(absent)
}

fn not_understood(problem: &str) -> Verdict {
    Verdict::warn(
        format!("not understood: {problem}"),
        Remedy::type_in(["env | grep ^PCIDEVICE_"]).note("Expected are PCI addresses, or JSON in …_INFO."),
    )
}

fn decide(addresses: &[String], absent: &[String], closed: &[String]) -> Verdict {
    if addresses.is_empty() {
        let ask = Remedy::default().note("Ask for the resource in the pod's resources.limits, at least 1.");
        return Verdict::warn("no device is assigned", ask);
    }
    let all = addresses.join(", ");
    match (absent, closed) {
        ([], []) => Verdict::pass(all),
        ([], closed) => Verdict::warn(
            format!("{all}; but {} cannot be opened by this user", closed.join(", ")),
            Remedy::type_in(closed.iter().map(|file| format!("ls -l {}", crate::check::shell_word(file))))
                .note("The pod's user or group must own the files: securityContext.runAsUser, or chown on the node."),
        ),
        (absent, _) => Verdict::warn(
            format!("{all}; but {} is not on this machine", absent.join(", ")),
            Remedy::type_in(["ls /sys/bus/pci/devices"])
                .note("Was the number of VFs changed after the pod was started? Then start the pod again."),
        ),
    }
}

fn nothing_assigned(assignments: &[Assignment]) -> Check {
    let verdict = Verdict::fail(
        "no device is assigned to this container, and one is required",
        Remedy::type_in(["env | grep ^PCIDEVICE_"]).note(
            "The device plugin must announce the resource that the pod asks for, and set PCIDEVICE_* to its addresses.",
        ),
    );
    verdict.on(&TOPIC, true, assignments.iter().map(variable).collect())
}

fn not_assigned(strangers: &[&PciAddress], assignments: &[Assignment]) -> Check {
    let strangers: Vec<_> = strangers.iter().map(ToString::to_string).collect();
    let verdict = Verdict::warn(
        format!("{} is required, but not assigned to this container", strangers.join(", ")),
        Remedy::type_in(["env | grep ^PCIDEVICE_"]).note("Take one of the assigned devices instead."),
    );
    verdict.on(&TOPIC, false, assignments.iter().map(variable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn assigned_devices_must_be_there_and_open() {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        for (addresses, absent, closed, status, words) in [
            (&["0000:03:02.0"][..], &[][..], &[][..], Status::Pass, "0000:03:02.0"),
            (&[], &[], &[], Status::Warn, "no device"),
            (&["0000:03:02.0"], &["0000:03:02.0"], &[], Status::Warn, "not on this machine"),
            (&["0000:03:02.0"], &[], &["/dev/vfio/6"], Status::Warn, "/dev/vfio/6 cannot be opened"),
        ] {
            let verdict = decide(&list(addresses), &list(absent), &list(closed));
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
