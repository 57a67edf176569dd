//! Check: no CPU quota throttles lcores that poll without a pause.
//!
//! Source: `cpu.max` (version 2) and `cpu.cfs_quota_us` (version 1) of the cgroup and those above it; kernel
//! `Documentation/admin-guide/cgroup-v2.rst` and `Documentation/scheduler/sched-bwc.rst`.

use crate::cgroup::{self, Version};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "cpu.quota",
    title: "CPU quota",
    why: "An lcore polls all the time. Where a quota gives less than one CPU per lcore, the kernel stops all \
          of them for a part of every period, and packets are lost in bursts.",
};

/// A quota in thousandths of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quota(pub(super) u64);

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) => f.write_str(format!("{whole}.{part:03}").trim_end_matches('0')),
        }
    }
}

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    // A quota only slows lcores down, so an unknown one is not a failure.
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let (quota, evidence) = read(scene.root)?;
    let lcores = scene.wanted.lcores.as_ref().map(|lcores| lcores.len() as u64);
    Ok((decide(quota, lcores), evidence))
}

/// The smallest quota of the group and those above it, and the evidence; `None` when there is none.
pub(super) fn read(root: &Root) -> Result<(Option<Quota>, Vec<Evidence>), ReadError> {
    let Some(group) = cgroup::find(root, "cpu")? else {
        return Ok((
            None,
            vec![Evidence::new(root, "/proc/self/mountinfo", "no hierarchy with controller cpu")],
        ));
    };
    let (mut least, mut evidence) = (None, Vec::new());
    for dir in &group.dirs {
        let found = match group.version {
            Version::V1 => v1(root, dir)?,
            Version::V2 => v2(root, dir)?,
        };
        let Some((file, text, quota)) = found else { continue };
        if quota.is_some() && (least.is_none() || quota < least) {
            least = quota;
        }
        evidence.push(Evidence::new(root, &format!("{dir}/{file}"), text));
    }
    if evidence.is_empty() {
        evidence.push(Evidence::new(root, &group.dirs[0], "no file with a quota"));
    }
    Ok((least, evidence))
}

type Found = Option<(&'static str, String, Option<Quota>)>;

fn v1(root: &Root, dir: &str) -> Result<Found, ReadError> {
    let file = "cpu.cfs_quota_us";
    let Some(text) = cgroup::read(root, dir, file)? else { return Ok(None) };
    let text = text.trim();
    if text == "-1" {
        return Ok(Some((file, text.to_owned(), None)));
    }
    let period = root.read(&format!("{dir}/cpu.cfs_period_us"))?;
    let quota = share(text, period.trim());
    let quota =
        quota.ok_or_else(|| root.malformed(&format!("{dir}/{file}"), "expected -1 or microseconds"))?;
    Ok(Some((file, format!("{text} of {} µs", period.trim()), Some(quota))))
}

fn v2(root: &Root, dir: &str) -> Result<Found, ReadError> {
    let file = "cpu.max";
    let Some(text) = cgroup::read(root, dir, file)? else { return Ok(None) };
    let text = text.trim();
    let malformed = || root.malformed(&format!("{dir}/{file}"), "expected max or microseconds, and a period");
    let (quota, period) = text.split_once(' ').ok_or_else(malformed)?;
    let quota = match quota {
        "max" => None,
        quota => Some(share(quota, period).ok_or_else(malformed)?),
    };
    Ok(Some((file, text.to_owned(), quota)))
}

fn share(quota: &str, period: &str) -> Option<Quota> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    quota.checked_mul(1000)?.checked_div(period).map(Quota)
}

fn decide(quota: Option<Quota>, lcores: Option<u64>) -> Verdict {
    match (quota, lcores) {
        (None, _) => Verdict::pass("none"),
        (Some(quota), Some(lcores)) if quota.0 < lcores.saturating_mul(1000) => Verdict::warn(
            format!("{quota} CPUs for {lcores} lcores that poll all the time: they will be stopped again and again"),
            Remedy::default().note(
                "Give the container as many CPUs as lcores: docker --cpus; on Kubernetes whole CPUs, equal in \
                 resources.requests and resources.limits. Or use fewer lcores. nr_throttled of the group's \
                 cpu.stat counts the stops.",
            ),
        ),
        (Some(quota), _) => Verdict::pass(format!("{quota} CPUs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn a_quota_is_a_share_of_the_period() {
        for (quota, period, shown) in [
            ("200000", "100000", Some("2")),
            ("250000", "100000", Some("2.5")),
            ("1", "0", None),
            ("x", "100000", None),
            ("18446744073709551615", "1", None),
        ] {
            assert_eq!(share(quota, period).map(|quota| quota.to_string()).as_deref(), shown, "{quota}");
        }
    }

    #[test]
    fn lcores_need_a_whole_cpu_each() {
        for (quota, lcores, status) in [
            (None, Some(4), Status::Pass),
            (Some(Quota(4000)), Some(4), Status::Pass),
            (Some(Quota(3999)), Some(4), Status::Warn),
            (Some(Quota(500)), None, Status::Pass),
        ] {
            assert_eq!(decide(quota, lcores).status, status, "{quota:?} {lcores:?}");
        }
    }
}
