//! Check: the process may lock as much memory as VFIO pins for the device.
//!
//! VFIO pins all memory that a device may access, hugepages included, and counts it against
//! `RLIMIT_MEMLOCK` (`man 2 getrlimit`) unless the process has `CAP_IPC_LOCK` (`man 7 capabilities`).

use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::hugepages::megabytes;
use crate::requirements::MEGABYTE;
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const LIMITS: &str = "/proc/self/limits";
const STATUS: &str = "/proc/self/status";

/// The number of the capability in `linux/capability.h`.
const CAP_IPC_LOCK: u32 = 14;

/// Bytes assumed without required memory: EAL's default allocation (`MEMSIZE_IF_NO_HUGE_PAGE`).
const LEAST: u64 = 64 * MEGABYTE;

const TOPIC: Topic = Topic {
    id: "vfio.memlock",
    title: "Locked memory limit",
    why: "VFIO pins the memory that the device writes to and counts it against this limit. Where it is too \
          small EAL only says \"Cannot set up DMA remapping, error 12\".",
};

/// The check `vfio.memlock`.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(scene.needs_iommu(), judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let (limit, shown) = read_limit(scene.root)?;
    let may_exceed = read_capability(scene.root)?;
    let evidence = vec![
        Evidence::new(scene.root, LIMITS, format!("Max locked memory {shown}")),
        Evidence::new(
            scene.root,
            STATUS,
            if may_exceed { "CapEff with CAP_IPC_LOCK" } else { "CapEff without CAP_IPC_LOCK" },
        ),
    ];
    // The limit is per process, so the number of processes is irrelevant.
    let wanted = scene.wanted.socket_mem.as_ref().map(|memory| memory.total().saturating_mul(MEGABYTE));
    if may_exceed {
        return Ok((Verdict::pass("none for this process: it has CAP_IPC_LOCK"), evidence));
    }
    Ok((decide(limit, wanted.unwrap_or(LEAST), scene.needs_iommu()), evidence))
}

/// The soft limit in bytes, `None` for unlimited, and its text.
fn read_limit(root: &Root) -> Result<(Option<u64>, String), ReadError> {
    let text = root.read(LIMITS)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let line = line.ok_or_else(|| root.malformed(LIMITS, "no line \"Max locked memory\""))?;
    let soft = line.split_ascii_whitespace().next().unwrap_or_default();
    let limit = match soft {
        "unlimited" => None,
        number => Some(number.parse().map_err(|_| {
            root.malformed(
                LIMITS,
                format!("expected bytes or unlimited, found {}", crate::root::excerpt(soft)),
            )
        })?),
    };
    Ok((limit, format!("{soft}{}", if limit.is_some() { " bytes" } else { "" })))
}

fn read_capability(root: &Root) -> Result<bool, ReadError> {
    let text = root.read(STATUS)?;
    let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let mask = mask.ok_or_else(|| root.malformed(STATUS, "no line CapEff with a hexadecimal number"))?;
    Ok(mask & (1 << CAP_IPC_LOCK) != 0)
}

fn decide(limit: Option<u64>, wanted: u64, required: bool) -> Verdict {
    match limit {
        None => Verdict::pass("none"),
        Some(limit) if limit >= wanted => {
            Verdict::pass(format!("{}, {} needed", megabytes(limit), megabytes(wanted)))
        }
        Some(limit) => Verdict::fault(
            required,
            if required {
                format!("{} for this process, but VFIO will pin {}", megabytes(limit), megabytes(wanted))
            } else {
                format!("{} for this process; a device on vfio-pci needs at least {}", megabytes(limit), megabytes(wanted))
            },
            Remedy::type_in(["ulimit -l unlimited"]).note(
                "In the shell that starts the data plane. Also: LimitMEMLOCK=infinity in a systemd unit, docker \
                 --ulimit memlock=-1. On Kubernetes the container runtime's own unit sets it, or the container \
                 needs the capability IPC_LOCK.",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn what_vfio_pins_must_fit() {
        for (limit, wanted, required, status) in [
            (None, 4096, true, Status::Pass),
            (Some(4096), 4096, true, Status::Pass),
            (Some(8), 4096, true, Status::Fail),
            (Some(8), 4096, false, Status::Warn),
        ] {
            let verdict = decide(limit.map(|limit| limit * MEGABYTE), wanted * MEGABYTE, required);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
        }
    }
}
