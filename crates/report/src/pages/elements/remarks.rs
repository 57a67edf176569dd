//! Remarks on a trial: evidence, notes of the agents, counters that disagree, validity of the delay.

use super::super::model::{Block, Fact};
use super::super::number::{count, percent};
use super::super::source::{Source, Trial};
use super::losses_over_time;

pub(super) fn blocks(_: &Source, trial: &Trial<'_>) -> Vec<Block> {
    let figures = trial.figures;
    let mut facts = vec![Fact::new("evidence", &figures.verdict.evidence)];
    facts.extend(figures.disagreements.iter().map(|text| Fact::new("counters disagree", text)));
    facts.extend(figures.notes.iter().map(|text| Fact::new("note", text)));
    facts.push(Fact::new(
        if figures.clock.one_way_valid || figures.clock.round_trip_valid {
            "delay is valid"
        } else {
            "delay is not valid"
        },
        &figures.clock.reason,
    ));
    facts.extend(
        figures.loss_times.as_ref().map(|times| Fact::new("lost when", losses_over_time::told(times))),
    );
    let counters = [
        ("duplicate", figures.duplicate_packets),
        ("reordered", figures.reordering.packets),
        ("damaged", figures.bad_checksum_packets),
        ("without a UDP checksum (counted as received)", figures.without_checksum_packets),
        ("of another path or trial", figures.stale_packets),
        ("of an unknown flow", figures.bad_probe_packets),
        ("not Linerate's", figures.foreign_packets),
        ("too late to be judged", figures.beyond_window_packets),
    ];
    let seen: Vec<String> = counters
        .into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(name, number)| format!("{} {name}", count(number)))
        .collect();
    if !seen.is_empty() {
        facts.push(Fact::new("frames besides", seen.join(", ")));
    }
    if figures.silent_flows > 0 {
        facts.push(Fact::new("silent flows", count(figures.silent_flows.into())));
    }
    let headroom = |lcores: &[linerate_results::summary::LcoreSummary]| {
        lcores.iter().filter_map(|lcore| lcore.headroom).min_by(f64::total_cmp)
    };
    let least = [("TX", headroom(&figures.tx_lcores)), ("RX", headroom(&figures.rx_lcores))];
    let least: Vec<String> = least
        .iter()
        .filter_map(|(side, share)| share.map(|share| format!("{side} {} %", percent(share))))
        .collect();
    if !least.is_empty() {
        facts.push(Fact::new("least headroom of an lcore", least.join(", ")));
    }
    for (side, lcores) in [("TX", &figures.tx_lcores), ("RX", &figures.rx_lcores)] {
        let times = lcores.iter().filter_map(|lcore| lcore.cpu_time);
        let worst = times.max_by(|a, b| a.waiting_share().total_cmp(&b.waiting_share()));
        if let Some(worst) = worst {
            facts.push(Fact::new(format!("{side} lcore that waited longest for a CPU"), worst.to_string()));
        }
    }
    let throttled = figures.throttling.iter();
    facts.extend(throttled.map(|(agent, quota)| Fact::new(format!("{agent}: CPU quota"), quota.to_string())));
    let rates = figures.tick_rates.iter();
    facts.extend(rates.map(|(agent, rate)| Fact::new(format!("{agent}: counter"), rate.to_string())));
    vec![Block::Facts(facts)]
}
