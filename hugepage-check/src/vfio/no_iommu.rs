//! Check: VFIO's no-IOMMU mode is on, off or absent, and its drawbacks.

use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::iommu;
use crate::scene::Scene;

const MODULES: &str = "/sys/module";
const SWITCH: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

const TOPIC: Topic = Topic {
    id: "vfio.no-iommu",
    title: "No-IOMMU mode",
    why: "In this mode nothing stands between a device and memory: a wrong address in one descriptor, or one \
          hostile process, overwrites the kernel. It needs CAP_SYS_RAWIO and taints the kernel.",
};

/// The check `vfio.no-iommu`.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let root = scene.root;
    if !root.contains(MODULES, "vfio")? {
        let evidence = vec![Evidence::new(root, &format!("{MODULES}/vfio"), "not there")];
        return Ok((Verdict::pass("off: VFIO is not loaded"), evidence));
    }
    let Some(text) = root.read_if_there(SWITCH)? else {
        let evidence = vec![Evidence::new(root, SWITCH, "not there")];
        return Ok((Verdict::pass("this kernel is built without it"), evidence));
    };
    let is_on = iommu::has_fake_mode(root)?;
    Ok((decide(is_on), vec![Evidence::new(root, SWITCH, text.trim())]))
}

fn decide(is_on: bool) -> Verdict {
    if !is_on {
        return Verdict::pass("off");
    }
    Verdict::warn(
        "on: devices without an IOMMU group are taken without protection of memory",
        Remedy::type_in([format!("echo 0 > {SWITCH}")]).note(
            "Turn it off where there is an IOMMU. Where there is none, run nothing else of value on the machine.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn the_mode_is_never_passed_over() {
        assert_eq!(decide(true).status, Status::Warn);
        assert_eq!(decide(false).status, Status::Pass);
    }
}
