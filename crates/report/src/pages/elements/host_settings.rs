//! Settings of hosts: what was set and read back, and softirqs and interrupts of every CPU beside each trial.

use std::collections::BTreeSet;

use linerate_results::host_setting::{
    CpuSoftirqs, HostSettingPeriod, HostSettingValue, IrqRates, SettingPoint, points,
};

use super::super::heat_map::{HeatMap, STEPS, Sides, Spot};
use super::super::model::{Block, Column, Row, Section, Table};
use super::super::number::{percent, short, things};
use super::super::source::Source;

/// Most rows of each table; exports and the summary have all.
const MOST_ROWS: usize = 200;
/// Most heat maps.
const MOST_MAPS: usize = 12;

pub(super) fn section(source: &Source) -> Option<Section> {
    let (periods, points) = (&source.summary.experiment.host_settings, points(&source.summary));
    if periods.is_empty() && points.is_empty() {
        return None;
    }
    let is_restored = !periods.is_empty() && periods.iter().all(|period| period.restored_at.is_some());
    let restored = if is_restored { "; all were restored" } else { "; not all are known to be restored" };
    let text = format!(
        "All trials were run under each setting of the hosts in turn; each value was read again after it was written{restored}. \
         Softirqs and interrupts are those of the node's CPUs, with traffic of others; of several paths of a trial the first has \
         them. The kernel counts the time of softirqs in steps of 10 ms; interrupts are counted from before the trial to after \
         its end, waiting included."
    );
    let mut blocks = vec![Block::Text(text)];
    blocks.extend((!points.is_empty()).then(|| Block::Table(of_trials(&points))));
    let mut maps: Vec<HeatMap> = points.iter().filter_map(interrupts).collect();
    let left_out = maps.len().saturating_sub(MOST_MAPS);
    maps.truncate(MOST_MAPS);
    blocks.extend((!maps.is_empty()).then_some(Block::Maps(maps)));
    if left_out > 0 {
        let more = things(left_out, "map");
        blocks.push(Block::Text(format!("{more} of interrupts left out here; the summary has all.")));
    }
    blocks.push(Block::Table(of_values(periods)));
    Some(Section { id: "host_settings", title: "Host settings", blocks })
}

fn of_trials(points: &[SettingPoint<'_>]) -> Table {
    let columns = vec![
        Column::words("setting", "setting"),
        Column::words("trial", "trial"),
        Column::numbers("repeat", "repeat"),
        Column::numbers("rate", "received"),
        Column::words("unit", "unit"),
        Column::numbers("busiest", "NET_RX on the busiest CPU %"),
        Column::words("cpus", "softirqs of each CPU: share of its time, NET_RX/s, NET_TX/s"),
    ];
    let row = |(place, point): (usize, &SettingPoint<'_>)| Row {
        // Paths of a trial have one profile and repeat.
        key: format!("{} {} {place}", point.profile, point.repeat),
        cells: vec![
            point.setting.name.clone().into(),
            point.profile.to_owned().into(),
            point.repeat.to_string().into(),
            point.rate.map_or_else(|| "-".to_owned(), |rate| short(rate.round())).into(),
            point.unit.to_owned().into(),
            point.setting.busiest_share().map_or_else(|| "-".to_owned(), percent).into(),
            point.setting.cpus.iter().map(|cpu| of_cpu(point, cpu)).collect::<Vec<_>>().join("; ").into(),
        ],
    };
    let rows: Vec<Row> = points.iter().enumerate().take(MOST_ROWS).map(row).collect();
    Table { caption: caption("Trials", rows.len(), points.len()), columns, rows }
}

fn of_cpu(point: &SettingPoint<'_>, cpu: &CpuSoftirqs) -> String {
    let rate = |count: Option<u64>| {
        point.setting.per_second(count).map_or_else(|| "-".to_owned(), |rate| short(rate.round()))
    };
    let share = cpu.share.map_or_else(|| "-".to_owned(), |share| format!("{} %", percent(share)));
    format!("CPU {}: {share}, {}, {}", cpu.cpu, rate(cpu.net_rx), rate(cpu.net_tx))
}

/// Interrupts per second of each number on each CPU.
fn interrupts(point: &SettingPoint<'_>) -> Option<HeatMap> {
    let irqs = &point.setting.interrupts;
    let cpus: BTreeSet<u32> = irqs.iter().flat_map(|irq| irq.cpus.iter().map(|on| on.cpu)).collect();
    let most = irqs.iter().flat_map(|irq| irq.cpus.iter().map(|on| on.per_s)).fold(0.0, f64::max);
    if cpus.is_empty() || most <= 0.0 {
        return None;
    }
    // The highest rate has the first step.
    let step = |rate: f64| (((1.0 - rate / most) * STEPS as f64) as usize).min(STEPS - 1);
    let spot = |rate: f64| Spot { text: short(rate.round()), step: Some(step(rate)) };
    let on_cpu = |irq: &IrqRates, cpu: u32| irq.cpus.iter().find(|on| on.cpu == cpu).map(|on| on.per_s);
    let cells: Vec<Vec<Option<Spot>>> =
        irqs.iter().map(|irq| cpus.iter().map(|cpu| on_cpu(irq, *cpu).map(spot)).collect()).collect();
    let steps: BTreeSet<usize> = cells.iter().flatten().flatten().filter_map(|spot| spot.step).collect();
    let bound = |step: usize| short((most * (STEPS - step) as f64 / STEPS as f64).round());
    let name = |irq: &IrqRates| match irq.action.as_str() {
        "" => irq.irq.to_string(),
        action => format!("{} {action}", irq.irq),
    };
    Some(HeatMap {
        title: format!("Interrupts per second: {}, repeat {}", point.profile, point.repeat),
        summary: format!("{} on {}", things(irqs.len(), "interrupt"), things(cpus.len(), "CPU")),
        sides: Sides::INTERRUPTS,
        rows: irqs.iter().map(name).collect(),
        columns: cpus.iter().map(|cpu| format!("CPU {cpu}")).collect(),
        cells,
        legend: steps
            .into_iter()
            .map(|step| (step, format!("{} to {}", bound(step + 1), bound(step))))
            .collect(),
    })
}

fn of_values(periods: &[HostSettingPeriod]) -> Table {
    let columns = vec![
        Column::words("setting", "setting"),
        Column::words("from", "in force from"),
        Column::words("interface", "interface"),
        Column::words("value", "value"),
        Column::words("before", "before"),
        Column::words("now", "read back"),
    ];
    let known = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    let values = periods.iter().flat_map(|period| {
        let nothing = period.values.is_empty().then_some((period, None));
        nothing.into_iter().chain(period.values.iter().map(move |value| (period, Some(value))))
    });
    let row = |(place, (period, of)): (usize, (&HostSettingPeriod, Option<&HostSettingValue>))| {
        let interface = of.map(|value| match &value.agent {
            Some(agent) => format!("{} of {agent}", value.interface),
            None => value.interface.clone(),
        });
        Row {
            key: place.to_string(),
            cells: vec![
                period.setting.clone().into(),
                period.began_at.clone().into(),
                known(interface.as_ref()).into(),
                of.map_or("nothing is changed".to_owned(), |value| value.name.clone()).into(),
                known(of.and_then(|value| value.before.as_ref())).into(),
                known(of.and_then(|value| value.now.as_ref())).into(),
            ],
        }
    };
    let all = periods.iter().map(|period| period.values.len().max(1)).sum();
    let rows: Vec<Row> = values.take(MOST_ROWS).enumerate().map(row).collect();
    Table { caption: caption("Values", rows.len(), all), columns, rows }
}

fn caption(what: &str, shown: usize, all: usize) -> String {
    match shown == all {
        true => format!("{what} under settings of hosts"),
        false => format!("The first {shown} of {}", things(all, "row")),
    }
}

#[cfg(test)]
mod tests {
    use linerate_results::fixtures;
    use linerate_results::host_setting::{CpuIrqRate, TrialHostSetting};
    use linerate_results::store::Recorded;
    use linerate_results::summary::{Status, Summary, TrialSummary};

    use super::super::super::{ReportFormat, report};
    use super::*;

    #[test]
    fn what_was_set_and_the_softirqs_of_each_cpu_stand_beside_the_trials() {
        let mut summary: Summary = fixtures::summary(Status::Complete);
        let cpu = |cpu, net_rx| CpuSoftirqs { cpu, share: Some(0.25), net_rx: Some(net_rx), net_tx: None };
        let setting = TrialHostSetting {
            name: "rps-on".to_owned(),
            elapsed_s: Some(2.0),
            cpus: vec![cpu(0, 600), cpu(1, 200)],
            net_rx: Some(800),
            interrupts: vec![IrqRates {
                irq: 41,
                action: "eth0-TxRx-0".to_owned(),
                per_s: 5000.0,
                cpus: vec![CpuIrqRate { cpu: 0, per_s: 5000.0 }],
            }],
        };
        let trial = fixtures::with_clock(true, &fixtures::tx(100), &fixtures::rx(100)).unwrap();
        summary.trials = vec![TrialSummary { host_setting: Some(setting), ..trial }];
        let value = HostSettingValue {
            agent: Some("rx0".to_owned()),
            interface: "net0".to_owned(),
            name: "rx-0 rps_cpus".to_owned(),
            before: Some("none".to_owned()),
            now: Some("0-1".to_owned()),
        };
        let period = |setting: &str, values: Vec<HostSettingValue>| HostSettingPeriod {
            setting: setting.to_owned(),
            began_at: "2026-01-01T00:00:00Z".to_owned(),
            restored_at: (setting == "as-it-is").then(|| "2026-01-01T00:01:00Z".to_owned()),
            values,
        };
        summary.experiment.host_settings =
            vec![period("as-it-is", Vec::new()), period("rps-on", vec![value])];
        let recorded = Recorded { directory: std::env::temp_dir().join("none"), summary };
        let source = Source::without_records(&recorded).unwrap();
        let page = ReportFormat::Md.render(&report(&source), &source.summary).unwrap();
        let text = String::from_utf8(page).unwrap().replace('\\', "");
        for part in [
            "# Host settings",
            "CPU 0: 25.0000 %, 300, -; CPU 1: 25.0000 %, 100, -",
            "| interrupt  CPU | CPU 0 |",
            "41 eth0-TxRx-0",
            "| rps-on | 2026-01-01T00:00:00Z | net0 of rx0 | rx-0 rps_cpus | none | 0-1 |",
            "nothing is changed",
            "after it was written; not all are known to be restored.",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
