//! From measurements to findings. Pure.

mod cpus;
mod firewall;
mod link;
mod mtu;
mod path;
mod windows;

#[cfg(test)]
mod tests;

pub(super) use self::cpus::describe as describe_cpu;
pub(super) use self::link::describe as describe_route;
use super::run::Plan;
use super::{Diagnosis, Finding, Severity};
use crate::result::verdict::rate;
use crate::spec::Direction;

/// All findings, the worst first.
pub(super) fn judge(diagnosis: &Diagnosis, plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(firewall::judge(diagnosis));
    findings.extend(path::judge(diagnosis));
    findings.extend(cpus::judge(diagnosis));
    findings.extend(windows::judge(diagnosis, plan.spec.window_bytes));
    findings.extend(mtu::judge(diagnosis));
    findings.extend(link::judge(diagnosis));
    // The order within a severity stays.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The end that sends in a direction, and the one that receives.
fn ends(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Forward => ("client", "server"),
        Direction::Reverse => ("server", "client"),
    }
}

/// A rate in words; `unknown` when it is.
fn rate_or_unknown(bps: Option<f64>) -> String {
    bps.map_or_else(|| "unknown".to_owned(), rate)
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 1.0 { format!("{percent:.4} %") } else { format!("{percent:.0} %") }
}
