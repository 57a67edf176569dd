//! Settings of an interface, and what was done to them, in words.

use std::fmt::Write;

use linerate_tune::Error;
use linerate_tune::journal::Record;
use linerate_tune::place::{Place, Value, list};
use linerate_tune::queues::QueueSettings;
use linerate_tune::settings::{Limited, Settings};
use linerate_tune::tuning::{Applied, Recovery, Restored};

/// Width of the names of settings.
const NAME: usize = 12;

fn or_unknown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

/// Everything that is known, a line each, and why the rest is not.
pub(crate) fn settings(settings: &Settings, is_changed: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:NAME$} {value}");
        }
    };
    let interface = &settings.interface;
    line("interface", format!("{}, number {}, {}", interface.name, interface.ifindex, interface.mac));
    if let Some(driver) = &settings.driver {
        let parts = [
            Some(driver.name.clone()),
            driver.version.as_ref().map(|version| format!("version {version}")),
            driver.firmware.as_ref().map(|firmware| format!("firmware {firmware}")),
            driver.bus_address.clone(),
            settings.numa_node.map(|node| format!("NUMA node {node}")),
        ];
        line("driver", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    line("speed", settings.speed_mbps.map_or_else(String::new, |speed| format!("{speed} Mbit/s")));
    let limited = |limited: &Option<Limited>| {
        limited.as_ref().map_or_else(String::new, |Limited { now, limits }| {
            let is_there = |(name, value): &(&String, &u32)| **value > 0 || limits.get(*name) > Some(&0);
            let parts = now.iter().filter(is_there).map(|(name, value)| match limits.get(name) {
                Some(most) if *most > 0 => format!("{name} {value} of at most {most}"),
                _ => format!("{name} {value}"),
            });
            parts.collect::<Vec<_>>().join(", ")
        })
    };
    line("channels", limited(&settings.channels));
    line("rings", limited(&settings.rings));
    line("coalescing", settings.coalesce.as_ref().map_or_else(String::new, list));
    if let Some(rss) = &settings.rss {
        let queues = rss.queues.len();
        let rings = rss.rings.map_or_else(String::new, |rings| format!(" of {rings}"));
        line("RSS", format!("{queues}{rings} queues receive, {} entries", rss.entries));
    }
    let flows = settings.rps_sock_flow_entries;
    line(
        "RFS",
        flows.map_or_else(String::new, |flows| format!("{flows} flows of the host (rps_sock_flow_entries)")),
    );
    let governors = settings.governors.as_ref().map(|governors| {
        governors.iter().map(|(name, cpus)| format!("{name} on {cpus} CPUs")).collect::<Vec<_>>().join(", ")
    });
    line("governor", governors.unwrap_or_default());
    let irqbalance = settings.irqbalance.map(|runs| if runs { "runs" } else { "does not run" });
    line("irqbalance", irqbalance.unwrap_or_default().to_owned());
    for queue in &settings.queues {
        line(&format!("{} queue {}", queue.direction, queue.queue), of_queue(queue));
    }
    if is_changed {
        line("changed", "by a `tune apply` that is at work, or that was killed: `tune restore`".to_owned());
    }
    for (name, reason) in &settings.not_known {
        line("not known", format!("{name}: {reason}"));
    }
    text.truncate(text.trim_end().len());
    text
}

fn of_queue(queue: &QueueSettings) -> String {
    let mut parts = Vec::new();
    match (queue.irq, &queue.action) {
        (Some(irq), Some(action)) => parts.push(format!("irq {irq} ({action})")),
        (Some(irq), None) => parts.push(format!("irq {irq}")),
        (None, _) => parts.push("irq ?".to_owned()),
    }
    if queue.irq.is_some() {
        let effective = or_unknown(queue.effective.as_ref());
        parts.push(format!("on CPU {effective} of {}", or_unknown(queue.affinity.as_ref())));
    }
    parts.extend(queue.rps_cpus.as_ref().map(|cpus| format!("rps_cpus {cpus}")));
    parts.extend(queue.rps_flow_cnt.map(|flows| format!("rps_flow_cnt {flows}")));
    parts.extend(queue.xps_cpus.as_ref().map(|cpus| format!("xps_cpus {cpus}")));
    parts.join(", ")
}

/// What would be changed.
pub(crate) fn plan(values: &[(Place, Result<Value, String>, Value)], renews: bool) -> String {
    let mut lines: Vec<String> = values
        .iter()
        .map(|(place, now, wanted)| match now {
            Ok(now) if wanted.is_met_by(now) => format!("{place}: {now}, as wanted"),
            Ok(now) => format!("{place}: {now} -> {wanted}"),
            Err(reason) => format!("{place}: ? -> {wanted} ({reason})"),
        })
        .collect();
    if renews {
        lines.push(
            "What follows the channels and rings is planned anew for the queues that there are then."
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// What was changed, and what did not take.
pub(crate) fn applied(steps: &[Applied]) -> String {
    let line = |step: &Applied| {
        let before = or_unknown(step.before.as_ref());
        let wanted = &step.wanted;
        match (&step.took, &step.now, &step.error) {
            (true, ..) if step.before.as_ref().is_some_and(|before| wanted.is_met_by(before)) => {
                format!("{}: {before}, as before", step.name)
            }
            (true, ..) => format!("{}: {before} -> {wanted}", step.name),
            (false, now, Some(error)) => {
                format!(
                    "{}: did not take: {error}; wanted {wanted}, it is {}",
                    step.name,
                    or_unknown(now.as_ref())
                )
            }
            (false, now, None) => {
                format!("{}: did not take: wanted {wanted}, it is {}", step.name, or_unknown(now.as_ref()))
            }
        }
    };
    steps.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What was restored, and what was not.
pub(crate) fn restored(restored: &Restored) -> String {
    let Restored { restored, untouched, failed, link_down } = restored;
    let mut lines = vec![format!("restored: {} settings; {untouched} were as before", restored.len())];
    lines.extend(failed.iter().map(|failed| {
        format!("NOT restored: {}, which was {}: {}", failed.name, failed.wanted, failed.reason)
    }));
    lines.extend(link_down.clone());
    lines.join("\n")
}

/// What became of a journal.
pub(crate) fn recovery(journal: Result<&Record, &Error>, recovery: &Recovery) -> String {
    let of = match journal {
        Ok(record) => format!("settings of {} that process {} changed", record.interface.name, record.pid),
        Err(error) => format!("a journal, {error}"),
    };
    match recovery {
        Recovery::Restored(what) => format!("{of}: {}", restored(what)),
        Recovery::Discarded(reason) => format!("{of}: the journal is discarded, {reason}"),
        Recovery::AtWork => {
            format!("{of}: it is at work, or a command that it ran is; they are restored afterwards")
        }
        Recovery::Left(reason) => format!("{of}: left as they are, {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_say_what_they_did() {
        let step = |before: Option<&str>, now: Option<&str>, took, error: Option<&str>| Applied {
            name: "rx-0 rps_cpus".into(),
            place: Place::RpsCpus { queue: 0 },
            before: before.map(|text| Value::Cpus(text.into())),
            wanted: Value::Cpus("0-1".into()),
            now: now.map(|text| Value::Cpus(text.into())),
            took,
            error: error.map(ToOwned::to_owned),
        };
        for (step, expected) in [
            (step(Some("none"), Some("0-1"), true, None), "rx-0 rps_cpus: none -> 0-1"),
            (step(Some("0-1"), Some("0-1"), true, None), "rx-0 rps_cpus: 0-1, as before"),
            (step(None, Some("0-1"), true, None), "rx-0 rps_cpus: ? -> 0-1"),
            (step(None, Some("0"), false, None), "rx-0 rps_cpus: did not take: wanted 0-1, it is 0"),
            (step(None, None, false, Some("gone")), "rx-0 rps_cpus: did not take: gone; wanted 0-1, it is ?"),
        ] {
            assert_eq!(applied(&[step]), expected);
        }
    }
}
