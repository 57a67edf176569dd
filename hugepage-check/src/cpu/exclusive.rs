//! Check: the CPUs appear to be exclusive to this process.
//!
//! Kubernetes' static CPU manager gives containers of a Guaranteed pod with whole CPUs an exclusive cpuset;
//! all other containers share the rest. Its state file, `/var/lib/kubelet/cpu_manager_state`, is rarely
//! visible; without it, the answer is an estimate from the cpuset and the quota.

use linerate_hardware::CpuSet;

use super::quota::{self, Quota};
use super::{CPUS, STATUS, read_list, read_online};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const STATE: &str = "/var/lib/kubelet/cpu_manager_state";

const TOPIC: Topic = Topic {
    id: "cpu.exclusive",
    title: "Exclusive CPUs",
    why: "A neighbour on the same CPU stops an lcore for milliseconds, and the receive queue overflows in one.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let allowed = scene.allowed.as_ref().map_err(Clone::clone)?;
    let online = read_online(scene.root)?;
    let (quota, mut evidence) = quota::read(scene.root)?;
    evidence.insert(0, Evidence::new(scene.root, STATUS, format!("Cpus_allowed_list {allowed}")));
    let state = read_state(scene.root);
    if let Some(state) = &state {
        evidence.push(match state {
            Ok(state) => Evidence::new(
                scene.root,
                STATE,
                format!("policy {}, shared CPUs {}", state.policy, state.shared),
            ),
            Err(error) => Evidence::from(error),
        });
    }
    let state = state.and_then(Result::ok);
    let isolated = read_list(scene.root, "isolated")?.unwrap_or_default();
    evidence.push(Evidence::new(scene.root, &format!("{CPUS}/isolated"), isolated.to_string()));
    let guess = match &scene.wanted.lcores {
        Some(lcores) if lcores.without(&isolated).is_empty() => Guess::Isolated,
        _ => guess(allowed, &online, quota, state.as_ref()),
    };
    Ok((decide(guess, allowed, scene.wanted.lcores.is_some()), evidence))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    policy: String,
    shared: CpuSet,
}

/// The kubelet's state, if its file is visible.
fn read_state(root: &Root) -> Option<Result<State, ReadError>> {
    let text = match root.read_if_there(STATE) {
        // Only root on the node may read it, and a pod does not see it.
        Ok(None) => return None,
        Ok(Some(text)) => text,
        Err(error) => return Some(Err(error)),
    };
    let parse = || {
        let state: serde_json::Value = serde_json::from_str(&text).ok()?;
        let shared = state["defaultCpuSet"].as_str()?.parse().ok()?;
        Some(State { policy: state["policyName"].as_str()?.chars().take(40).collect(), shared })
    };
    Some(parse().ok_or_else(|| root.malformed(STATE, "expected JSON with policyName and defaultCpuSet")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// The scheduler places no tasks on the lcores' CPUs by itself.
    Isolated,
    /// The kubelet's state shows it.
    Exclusive,
    /// The number of CPUs equals the quota, as the static CPU manager sets it.
    Likely,
    /// A part of the machine, which others may share.
    Subset,
    /// Every CPU of the machine.
    Everything,
}

fn guess(allowed: &CpuSet, online: &CpuSet, quota: Option<Quota>, state: Option<&State>) -> Guess {
    if online.without(allowed).is_empty() {
        return Guess::Everything;
    }
    match state {
        Some(state) if state.policy == "static" && allowed.and(&state.shared).is_empty() => Guess::Exclusive,
        Some(_) => Guess::Subset,
        None if quota == Some(Quota(allowed.len() as u64 * 1000)) => Guess::Likely,
        None => Guess::Subset,
    }
}

fn decide(guess: Guess, allowed: &CpuSet, has_lcores: bool) -> Verdict {
    let summary = match guess {
        Guess::Isolated => return Verdict::pass("the kernel puts no other task on the lcores' CPUs"),
        Guess::Exclusive => return Verdict::pass(format!("{allowed}: assigned by the static CPU manager")),
        Guess::Likely => {
            return Verdict::pass(format!("{allowed}: likely, there are as many as the quota pays for"));
        }
        Guess::Subset => format!("{allowed} is a part of the machine's CPUs that others may share"),
        Guess::Everything => format!("no: {allowed} is every CPU of the machine"),
    };
    // Without required lcores, exclusive CPUs are not needed.
    if !has_lcores {
        return Verdict::pass(summary);
    }
    let remedy = Remedy::default().note(
        "On Kubernetes: kubelet --cpu-manager-policy=static, and a pod with whole CPUs whose requests equal its \
         limits. Elsewhere keep others away: isolcpus= on the kernel command line, or a cpuset per service.",
    );
    Verdict::warn(summary, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_exclusive_cpus() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        let state = |policy: &str, shared| Some(State { policy: policy.to_owned(), shared: set(shared) });
        for (allowed, quota, state, expected) in [
            ("0-7", None, None, Guess::Everything),
            ("2-3", Some(Quota(2000)), None, Guess::Likely),
            ("2-3", None, None, Guess::Subset),
            ("0-5", Some(Quota(2000)), None, Guess::Subset),
            ("2-3", None, state("static", "0-1,4-7"), Guess::Exclusive),
            ("0-3", Some(Quota(4000)), state("static", "0-1,4-7"), Guess::Subset),
            ("2-3", None, state("none", ""), Guess::Subset),
        ] {
            assert_eq!(guess(&set(allowed), &set("0-7"), quota, state.as_ref()), expected, "{allowed}");
        }
    }

    #[test]
    fn only_required_lcores_cause_a_warning() {
        let cpus: CpuSet = "0-7".parse().unwrap();
        assert!(decide(Guess::Everything, &cpus, true).remedy.is_some());
        assert!(decide(Guess::Everything, &cpus, false).remedy.is_none());
    }
}
