//! Check: no other process holds the VFIO group of a required device.
//!
//! The open files of all processes (`/proc/<pid>/fd`, `man 5 proc_pid_fd`) show a holder without disturbing
//! it, within this user's permissions and PID namespace. Opening the group is proof, but blocks other
//! processes from opening it for that moment, so it is done only when allowed.

use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{Access, Opened, ReadError, Reason, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "vfio.group",
    title: "VFIO group",
    why: "Only one process at a time can have a group. For the second EAL says \"Device or resource busy\" and \
          goes on without the device.",
};

/// The check `vfio.group`, once per group of a required device that this user may open.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let mut groups: Vec<_> = scene.devices.iter().filter_map(|device| device.group_file()).collect();
    groups.retain(|(_, access)| *access == Access::Granted);
    groups.sort_by_key(|&(file, _)| file);
    groups.dedup();
    let may_open = scene.wanted.may_open_groups && scene.root.is_host();
    groups
        .into_iter()
        .map(|(file, _)| TOPIC.judge(true, judge(scene.root, file, may_open)).about(file))
        .collect()
}

fn judge(root: &Root, file: &str, may_open: bool) -> Outcome {
    let seen = find_holder(root, file)?;
    let mut evidence = vec![match &seen.holder {
        Some(holder) => Evidence::new(root, &format!("/proc/{}/fd", holder.process), format!("→ {file}")),
        None => Evidence::new(
            root,
            "/proc/*/fd",
            format!("no link to {file} in {} processes, {} more are hidden", seen.open, seen.hidden),
        ),
    }];
    let opened = if may_open { Some(root.try_open(file)?) } else { None };
    if let Some(opened) = opened {
        evidence.push(Evidence::new(root, file, opened.as_str()));
    }
    Ok((decide(&seen, opened), evidence))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    process: u32,
    name: String,
}

/// Result of inspecting the processes' open files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Seen {
    holder: Option<Holder>,
    /// Number of processes whose files this user may see.
    open: u32,
    /// Number of processes whose files this user may not see.
    hidden: u32,
}

fn find_holder(root: &Root, file: &str) -> Result<Seen, ReadError> {
    let mut seen = Seen::default();
    for process in root.names("/proc")?.iter().filter_map(|name| name.parse::<u32>().ok()) {
        let files = match root.names(&format!("/proc/{process}/fd")) {
            Ok(files) => files,
            Err(ReadError { reason: Reason::Denied, .. }) => {
                seen.hidden += 1;
                continue;
            }
            // A process that has ended meanwhile holds no file.
            Err(_) => continue,
        };
        seen.open += 1;
        let holds = |number: &String| root.links_to(&format!("/proc/{process}/fd/{number}"), file);
        if files.iter().any(holds) {
            let name = root.read(&format!("/proc/{process}/comm")).unwrap_or_default();
            seen.holder = Some(Holder { process, name: name.trim().chars().take(40).collect() });
            break;
        }
    }
    Ok(seen)
}

fn decide(seen: &Seen, opened: Option<Opened>) -> Verdict {
    match (&seen.holder, opened) {
        (Some(Holder { process, name }), _) => Verdict::fail(
            format!("held by process {process} ({name})"),
            Remedy::type_in([format!("ps -o pid,user,lstart,args -p {process}")])
                .note("End that process in its own way, or take another device."),
        ),
        (None, Some(Opened::Busy)) => Verdict::fail(
            "held by a process that is not visible from here",
            Remedy::type_in(["fuser -v /dev/vfio/*"])
                .note("On the host, as root. End that process, or take another device."),
        ),
        (None, Some(Opened::Refused)) => Verdict::fail(
            "opening it is refused, although its permission bits allow it",
            Remedy::default().note(
                "In a container the device has to be passed in: --device, or a device plugin's resource. In \
                 no-IOMMU mode the process needs CAP_SYS_RAWIO.",
            ),
        ),
        (None, Some(Opened::Yes)) => Verdict::pass("free: it could be opened"),
        (None, None) if seen.hidden == 0 => Verdict::pass("free: no visible process holds it"),
        (None, None) => Verdict::pass(format!(
            "no visible process holds it; {} processes are hidden from this user",
            seen.hidden
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn a_holder_is_named() {
        let holder = Some(Holder { process: 4711, name: "dpdk-testpmd".to_owned() });
        for (holder, opened, status, words) in [
            (holder.clone(), None, Status::Fail, "process 4711 (dpdk-testpmd)"),
            (None, Some(Opened::Busy), Status::Fail, "not visible"),
            (None, Some(Opened::Refused), Status::Fail, "refused"),
            (None, Some(Opened::Yes), Status::Pass, "could be opened"),
            (None, None, Status::Pass, "2 processes are hidden"),
        ] {
            let verdict = decide(&Seen { holder, open: 1, hidden: 2 }, opened);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
