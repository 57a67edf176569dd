//! CPUs that make a stream slower than others do, and packets that CPUs dropped.

use hugepage_check::check::Remedy;

use super::{Diagnosis, Finding, Severity, percent, rate_or_unknown};
use crate::diagnose::Both;
use crate::diagnose::sweep::{Sweep, SweptCpu};
use crate::diagnose::view::Relation;

/// Share of the best CPU's rate below which a CPU is told: in every round, against the best CPU's worst.
const SLOW: f64 = 0.8;
/// Share of the time from which a worker's wait for its CPU explains it.
const WAITING: f64 = 0.1;

pub(super) fn judge(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings: Vec<Finding> = diagnosis.sweeps.iter().filter_map(affinity).collect();
    for (end, both) in [("client", Some(&diagnosis.client)), ("server", diagnosis.server.as_ref())] {
        findings.extend(both.and_then(|both| drops(end, both)));
    }
    findings
}

fn affinity(sweep: &Sweep) -> Option<Finding> {
    let best = sweep.cpus.first()?;
    let floor = best.rounds_bps.iter().copied().collect::<Option<Vec<f64>>>()?;
    let floor = floor.into_iter().reduce(f64::min)?;
    let is_slow = |swept: &&SweptCpu| {
        let known: Vec<f64> = swept.rounds_bps.iter().flatten().copied().collect();
        !known.is_empty() && known.iter().all(|bps| *bps < SLOW * floor)
    };
    let slow: Vec<&SweptCpu> = sweep.cpus.iter().filter(is_slow).collect();
    let worst = slow.last()?;
    let end = sweep.end.name();
    let names: Vec<String> = slow.iter().map(|swept| swept.cpu.to_string()).collect();
    let share = worst.bps.zip(best.bps).map_or(0.0, |(worst, best)| worst / best);
    let mut words = format!(
        "The {end}'s CPU decides the rate: {} on CPU {}, {} on CPU {}, {} of it.",
        rate_or_unknown(best.bps),
        best.cpu,
        rate_or_unknown(worst.bps),
        worst.cpu,
        percent(share)
    );
    words.push(' ');
    words.push_str(&cause(worst));
    let remedy = Remedy::type_in([
        match end {
            "client" => format!("linerate-hostplane tcp … --cpus {}", best.cpu),
            _ => format!("linerate-hostplane serve … --cpus {}", best.cpu),
        },
        format!("ps -eLo psr,pcpu,comm --sort=-pcpu | awk '$1 == {}' | head", worst.cpu),
    ])
    .note(format!(
        "keep the program off CPU {} (taskset, cpuset, the CPU manager's static policy), or move what takes it; interrupts: \
         /proc/irq/*/smp_affinity_list",
        names.join(", ")
    ));
    let finding = Finding::new("cpu-affinity", Severity::Warning, words);
    Some(finding.facts(sweep.cpus.iter().map(describe)).remedy(remedy))
}

/// Why the slowest one is slow, as far as the measures tell.
fn cause(worst: &SweptCpu) -> String {
    match (worst.waiting_share, worst.relation) {
        (Some(share), _) if share >= WAITING => {
            format!("There the program waits for the CPU {} of the time: others use it.", percent(share))
        }
        (_, Relation::Same) => "It is the CPU that takes the packets in its softirq.".to_owned(),
        (_, Relation::Core) => {
            "It shares its core with the CPU that takes the packets in its softirq.".to_owned()
        }
        (_, Relation::Apart) => {
            "It is on another NUMA node than the CPU that takes the packets in its softirq.".to_owned()
        }
        (_, Relation::Node) => {
            "It shares no cache with the CPU that takes the packets in its softirq.".to_owned()
        }
        _ => "The measures do not tell why: see what else runs on it.".to_owned(),
    }
}

/// A CPU in one line.
pub(crate) fn describe(swept: &SweptCpu) -> String {
    let mut line = format!("CPU {:<3} {}", swept.cpu, rate_or_unknown(swept.bps));
    for (name, cost) in [("client", swept.client_s_per_gbit), ("server", swept.server_s_per_gbit)] {
        if let Some(cost) = cost {
            line.push_str(&format!(", {name} {cost:.3} CPU s per Gbit"));
        }
    }
    if let Some(share) = swept.waiting_share.filter(|share| *share >= 0.01) {
        line.push_str(&format!(", waited {}", percent(share)));
    }
    line.push_str(&format!(", {}", swept.verdict));
    if let Some(cpu) = swept.softirq_cpu {
        line.push_str(&match swept.relation {
            Relation::Unknown => format!(", softirq on CPU {cpu}"),
            relation => format!(", {} ({cpu})", relation.words()),
        });
    }
    line
}

/// Packets that an end's CPUs dropped or were too slow for while it measured.
fn drops(end: &str, both: &Both) -> Option<Finding> {
    let (before, after) = (both.before.softnet?, both.after.as_ref()?.softnet?);
    let dropped = after.dropped.saturating_sub(before.dropped);
    if dropped == 0 {
        return None;
    }
    let words = format!(
        "The {end}'s kernel dropped {dropped} received packets because a CPU's queue was full (softnet)."
    );
    let fact = format!("time squeezes: {}", after.squeezed.saturating_sub(before.squeezed));
    let remedy = Remedy::type_in(["sysctl net.core.netdev_max_backlog", "cat /proc/net/softnet_stat"])
        .note(format!("on the {end}: a longer queue, or more CPUs that receive (RSS, RPS)"));
    Some(Finding::new("softnet-drops", Severity::Warning, words).fact(fact).remedy(remedy))
}
