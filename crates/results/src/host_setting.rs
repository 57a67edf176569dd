//! Settings of hosts that trials are run under: what was set and read back, and how softirqs were spread over CPUs. Pure.

use linerate_wire::host_report::{CpuInterrupts, CpuReport, HostReport, NodeReport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::inner_path;
use crate::summary::Summary;

/// Most CPUs that a summary lists of a trial.
const MOST_CPUS: usize = 64;
/// Most interrupts that a summary lists of a trial.
const MOST_IRQS: usize = 32;

/// A setting of hosts that was put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSettingPeriod {
    /// Its name in the document.
    pub setting: String,
    /// When, in UTC (RFC 3339).
    pub began_at: String,
    /// When it was no longer in force, and everything before it was restored; absent: it is not known to be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<String>,
    /// What was set; empty for a setting that changes nothing.
    pub values: Vec<HostSettingValue>,
}

/// A value that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSettingValue {
    /// The agent whose interface it is; null for the machine's own.
    pub agent: Option<String>,
    /// The interface.
    pub interface: String,
    /// Its name, such as `rx-0 rps_cpus`.
    pub name: String,
    /// The value before; null for queues and interrupts that were made since.
    pub before: Option<String>,
    /// The value that was read back after all changes.
    pub now: Option<String>,
}

/// A trial under a setting of hosts. Of a trial of frames on several paths, which are on one node, the first path has the
/// node's CPUs and interrupts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialHostSetting {
    /// The setting's name.
    #[serde(deserialize_with = "inner_path::name")]
    pub name: String,
    /// Seconds of counting; null when no agent reported its host.
    pub elapsed_s: Option<f64>,
    /// The node's CPUs by their numbers; of more than 64 those with most softirqs of received packets. The trial's file has all.
    pub cpus: Vec<CpuSoftirqs>,
    /// Softirqs of received packets on all CPUs of the node; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_rx: Option<u64>,
    /// Interrupts of the node that came most often, at most 32, by their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupts: Vec<IrqRates>,
}

/// An interrupt of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IrqRates {
    /// Its number.
    pub irq: u32,
    /// Who handles it, such as `eth0-TxRx-3`; empty when the kernel does not tell.
    pub action: String,
    /// Interrupts per second on all CPUs, from before the trial to after its end.
    pub per_s: f64,
    /// Of those, on each CPU that had one; empty where only the total is known.
    pub cpus: Vec<CpuIrqRate>,
}

/// Interrupts of one number on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuIrqRate {
    /// The CPU's number.
    pub cpu: u32,
    /// Interrupts per second.
    pub per_s: f64,
}

/// Softirqs of a CPU. Null: not known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuSoftirqs {
    /// Its number.
    pub cpu: u32,
    /// Share of its time in softirqs, 0…1, which the kernel counts in steps of 10 ms.
    pub share: Option<f64>,
    /// Softirqs of received packets.
    pub net_rx: Option<u64>,
    /// Softirqs of sent packets.
    pub net_tx: Option<u64>,
}

impl TrialHostSetting {
    /// A trial under the setting of this name, whose agents reported these hosts. They run on one node; the agent that
    /// looked longest speaks for it, and one that was asked to for its interrupts.
    pub fn of<'h>(name: &str, hosts: impl Iterator<Item = &'h HostReport>) -> Self {
        let hosts: Vec<&HostReport> = hosts.collect();
        let longest = hosts.iter().copied().max_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
        let of = |cpu: &CpuReport| CpuSoftirqs {
            cpu: cpu.cpu,
            share: cpu.softirq,
            net_rx: cpu.net_rx,
            net_tx: cpu.net_tx,
        };
        let mut cpus: Vec<CpuSoftirqs> =
            longest.into_iter().flat_map(|host| &host.node.cpus).map(of).collect();
        let net_rx = cpus.iter().map(|cpu| cpu.net_rx).sum::<Option<u64>>().filter(|_| !cpus.is_empty());
        cpus.sort_by_key(|cpu| std::cmp::Reverse(cpu.net_rx));
        cpus.truncate(MOST_CPUS);
        cpus.sort_by_key(|cpu| cpu.cpu);
        let asked = hosts.iter().find(|host| host.node.irqs_elapsed_s.is_some());
        let interrupts = asked.map(|host| interrupts(&host.node)).unwrap_or_default();
        let elapsed_s = longest.map(|host| host.elapsed_s);
        Self { name: name.to_owned(), elapsed_s, cpus, net_rx, interrupts }
    }

    /// Leaves what is of the whole node to another path of the trial.
    pub fn leave_node(&mut self) {
        (self.cpus, self.net_rx, self.interrupts) = (Vec::new(), None, Vec::new());
    }

    /// A count per second of the trial.
    pub fn per_second(&self, count: Option<u64>) -> Option<f64> {
        let elapsed_s = self.elapsed_s.filter(|elapsed_s| *elapsed_s > 0.0)?;
        Some(count? as f64 / elapsed_s)
    }

    /// Share of the node's softirqs of received packets that the busiest CPU handled, 0…1; `None` when not known, or
    /// without any.
    pub fn busiest_share(&self) -> Option<f64> {
        let all = self.net_rx.filter(|all| *all > 0)?;
        let busiest = self.cpus.iter().filter_map(|cpu| cpu.net_rx).max()?;
        Some(busiest as f64 / all as f64)
    }
}

fn interrupts(node: &NodeReport) -> Vec<IrqRates> {
    let Some(elapsed_s) = node.irqs_elapsed_s.filter(|elapsed_s| *elapsed_s > 0.0) else { return Vec::new() };
    let rate = |count: u64| count as f64 / elapsed_s;
    let of_cpu = |on: &CpuInterrupts| CpuIrqRate { cpu: on.cpu, per_s: rate(on.count) };
    let mut all: Vec<IrqRates> = node
        .irqs
        .iter()
        .map(|irq| IrqRates {
            irq: irq.irq,
            action: irq.action.clone(),
            per_s: rate(irq.total),
            cpus: irq.cpus.iter().map(of_cpu).collect(),
        })
        .collect();
    all.sort_by(|a, b| b.per_s.total_cmp(&a.per_s));
    all.truncate(MOST_IRQS);
    all.sort_by_key(|irq| irq.irq);
    all
}

/// A trial under a setting of hosts, of whatever kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SettingPoint<'s> {
    /// The setting, and the softirqs of the trial.
    pub setting: &'s TrialHostSetting,
    /// Name of the profile.
    pub profile: &'s str,
    /// Number of the repeat.
    pub repeat: u32,
    /// What arrived per second, in `unit`; `None` when not known.
    pub rate: Option<f64>,
    /// Unit of the rate.
    pub unit: &'static str,
}

/// The trials under settings of hosts; none where the document has no settings. Of trials of frames on several paths, each
/// path has a point.
pub fn points(summary: &Summary) -> Vec<SettingPoint<'_>> {
    let frames = summary.trials.iter().filter_map(|trial| {
        Some(SettingPoint {
            setting: trial.host_setting.as_ref()?,
            profile: &trial.profile,
            repeat: trial.repeat,
            rate: Some(trial.received_pps),
            unit: "packets/s",
        })
    });
    let streams = summary.streams.iter().filter_map(|trial| {
        let datagrams = trial.received_datagrams.filter(|_| trial.engine.is_some() && trial.duration_s > 0.0);
        let (rate, unit) = match datagrams {
            Some(datagrams) => (Some(datagrams as f64 / trial.duration_s), "packets/s"),
            None => (trial.received_bps, "bit/s"),
        };
        let setting = trial.host_setting.as_ref()?;
        Some(SettingPoint { setting, profile: &trial.profile, repeat: trial.repeat, rate, unit })
    });
    let http = summary.http.iter().filter_map(|trial| {
        Some(SettingPoint {
            setting: trial.host_setting.as_ref()?,
            profile: &trial.profile,
            repeat: trial.repeat,
            rate: trial.requests_per_s,
            unit: "requests/s",
        })
    });
    frames.chain(streams).chain(http).collect()
}

#[cfg(test)]
mod tests {
    use linerate_wire::host_report::IrqReport;

    use super::*;

    #[test]
    fn softirqs_of_a_node_are_those_of_the_agent_that_looked_longest() {
        let host = |elapsed_s, counts: &[Option<u64>]| {
            let cpu = |(cpu, net_rx): (usize, &Option<u64>)| CpuReport {
                cpu: cpu as u32,
                net_rx: *net_rx,
                ..CpuReport::default()
            };
            let node =
                NodeReport { cpus: counts.iter().enumerate().map(cpu).collect(), ..NodeReport::default() };
            HostReport { elapsed_s, node, ..HostReport::default() }
        };
        let hosts = [host(1.0, &[Some(9), Some(9)]), host(2.0, &[Some(300), Some(100)])];
        let trial = TrialHostSetting::of("rps-on", hosts.iter());
        assert_eq!(
            trial.cpus.iter().map(|cpu| trial.per_second(cpu.net_rx)).collect::<Vec<_>>(),
            [Some(150.0), Some(50.0)]
        );
        assert_eq!(trial.busiest_share(), Some(0.75));
        let unknown = TrialHostSetting::of("rps-on", [host(1.0, &[Some(1), None])].iter());
        assert_eq!(unknown.busiest_share(), None);
        let none = TrialHostSetting::of("rps-on", std::iter::empty());
        assert_eq!((none.elapsed_s, none.per_second(Some(1)), none.busiest_share()), (None, None, None));
        let mut busy = host(1.0, &[]);
        let irq = |irq: u32, total: u64| IrqReport {
            irq,
            total,
            cpus: vec![CpuInterrupts { cpu: 1, count: total }],
            ..IrqReport::default()
        };
        busy.node.irqs = (0..40).map(|number| irq(number, 10 * u64::from(number))).collect();
        busy.node.irqs_elapsed_s = Some(2.0);
        let rates = TrialHostSetting::of("rps-on", [busy].iter()).interrupts;
        assert_eq!((rates.len(), rates[0].irq, rates[0].per_s, rates[0].cpus[0].per_s), (32, 8, 40.0, 40.0));
        let many: Vec<Option<u64>> = (0..100).map(Some).collect();
        let most = TrialHostSetting::of("rps-on", [host(1.0, &many)].iter());
        assert_eq!((most.cpus.len(), most.cpus[0].cpu), (64, 36));
        let share = |counts: &[Option<u64>]| {
            TrialHostSetting::of("rps-on", [host(1.0, counts)].iter()).busiest_share()
        };
        assert_eq!(share(&[Some(5); 128]), Some(1.0 / 128.0), "of all CPUs, listed or not");
        let mut one_unknown = vec![Some(5); 128];
        one_unknown[100] = None;
        assert_eq!(share(&one_unknown), None);
        let mut of_another_path = most;
        of_another_path.leave_node();
        assert_eq!((of_another_path.busiest_share(), of_another_path.cpus.len()), (None, 0));
    }
}
