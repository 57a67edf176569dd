//! Check: the kernel keeps its own work and other tasks off the lcores' CPUs.

use linerate_hardware::CpuSet;

use super::{CPUS, read_list};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::kernel;
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "cpu.isolation",
    title: "Isolated CPUs",
    why: "On a CPU that is not isolated the scheduler puts other tasks beside an lcore, and the timer tick \
          interrupts it up to 1000 times per second.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    // An unmounted sysfs is an error, not a kernel without these files.
    scene.root.names(CPUS)?;
    let mut evidence = Vec::new();
    let mut list = |name| {
        let found = read_list(scene.root, name)?;
        let seen = found.as_ref().map_or("not there".to_owned(), ToString::to_string);
        evidence.push(Evidence::new(scene.root, &format!("{CPUS}/{name}"), seen));
        Ok(found.unwrap_or_default())
    };
    let (isolated, tickless) = (list("isolated")?, list("nohz_full")?);
    evidence.push(kernel::options(scene.root, kernel::CPU_OPTIONS));
    Ok((decide(scene.wanted.lcores.as_ref(), &isolated, &tickless), evidence))
}

fn decide(lcores: Option<&CpuSet>, isolated: &CpuSet, tickless: &CpuSet) -> Verdict {
    let sets = format!("isolated {isolated}, without tick {tickless}");
    let Some(lcores) = lcores else { return Verdict::pass(sets) };
    let (open, ticking) = (lcores.without(isolated), lcores.without(tickless));
    if open.is_empty() && ticking.is_empty() {
        return Verdict::pass(sets);
    }
    let remedy = Remedy::type_in([
        format!(
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&isolcpus={lcores} nohz_full={lcores} rcu_nocbs={lcores} /' \
             /etc/default/grub"
        ),
        "update-grub".to_owned(),
        "reboot".to_owned(),
    ]);
    Verdict::warn(
        format!("{sets}; of the lcores, {open} may get other tasks and {ticking} the tick"),
        remedy.note(
            "Worth it where a loss of one packet in a million matters. Without update-grub: grubby \
             --update-kernel=ALL --args=…. Leave CPU 0 to the kernel.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn lcores_are_best_isolated_and_without_tick() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        for (lcores, isolated, tickless, status) in [
            (None, "", "", Status::Pass),
            (Some("2-3"), "2-7", "2-7", Status::Pass),
            (Some("2-3"), "2-7", "", Status::Warn),
            (Some("2-3"), "3", "2-3", Status::Warn),
        ] {
            let verdict = decide(lcores.map(set).as_ref(), &set(isolated), &set(tickless));
            assert_eq!(verdict.status, status, "{}", verdict.summary);
        }
    }
}
