//! Validation of a trial's file of flows against its result: totals and worst flows.

use std::path::Path;

use linerate_wire::report::FlowReport;
use linerate_wire::worst_flows::{Badness, WorstFlows};

use crate::summary::{FlowSummary, TrialSummary};

/// Columns that are compared.
const COLUMNS: [&str; 6] = ["flow", "sent", "received", "lost", "duplicates", "reordered"];

/// Contradictions between the file and `trial`, one sentence each. Worst flows of older records without sent
/// packets are not compared.
///
/// # Errors
/// When the file cannot be read, or a line is not a flow.
pub(super) fn contradictions(file: &Path, trial: &TrialSummary) -> Result<Vec<String>, csv::Error> {
    let mut reader = csv::Reader::from_path(file)?;
    let header = reader.headers()?.clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    let places = COLUMNS.map(place);
    let known = |flow: &FlowSummary| flow.sent_packets.is_some();
    let named: Vec<u32> = trial.worst_flows.iter().map(|flow| flow.flow).collect();
    let (mut seen, mut totals, mut worst) = (Vec::new(), [0_u64; 3], WorstFlows::default());
    for line in reader.records() {
        let line = line?;
        let number = |place: Option<usize>| place.and_then(|place| line.get(place)?.parse::<u64>().ok());
        let [Some(flow), Some(sent), Some(received), Some(lost), Some(duplicates), Some(reordered)] =
            places.map(number)
        else {
            return Ok(vec![format!(
                "line {} is not that of a flow",
                line.position().map_or(0, |at| at.line())
            )]);
        };
        for (total, value) in totals.iter_mut().zip([sent, received, lost]) {
            *total = total.saturating_add(value);
        }
        let flow = u32::try_from(flow).unwrap_or(u32::MAX);
        let report = FlowReport {
            flow,
            sent: Some(sent),
            received,
            lost,
            duplicates,
            reordered,
            ..FlowReport::default()
        };
        if sent > 0 || received > 0 {
            worst.offer(Badness::of(&report), || report);
        }
        if named.contains(&flow) {
            seen.push(report);
        }
    }
    let mut found = Vec::new();
    let stated = [trial.sent_packets, trial.received_packets, trial.lost_packets];
    for ((what, total), stated) in ["sent", "received", "lost"].iter().zip(totals).zip(stated) {
        if total != stated {
            found.push(format!("its flows have {total} packets {what}, the result has {stated}"));
        }
    }
    if trial.worst_flows.iter().all(known) {
        found.extend(trial.worst_flows.iter().filter_map(|stated| differs(stated, &seen)));
        found.extend(wrong_order(trial, &worst.into_reports()));
    }
    Ok(found)
}

/// A difference between a flow of the result and the file, if there is one.
fn differs(stated: &FlowSummary, seen: &[FlowReport]) -> Option<String> {
    let flow = stated.flow;
    let Some(line) = seen.iter().find(|line| line.flow == flow) else {
        return Some(format!("the result names flow {flow}, which it does not have"));
    };
    let stated = (
        stated.sent_packets,
        stated.received_packets,
        stated.lost_packets,
        stated.duplicate_packets,
        stated.reordered_packets,
    );
    let line = (line.sent, line.received, line.lost, line.duplicates, line.reordered);
    (stated != line).then(|| {
        format!(
            "of flow {flow} it says received {}, lost {}; the result says received {}, lost {}",
            line.1, line.2, stated.1, stated.2
        )
    })
}

/// Checks that the result's worst flows are as bad as those of the file, in order. The order of equally bad
/// flows depends on delays, which the file may lack.
fn wrong_order(trial: &TrialSummary, worst: &[FlowReport]) -> Option<String> {
    let stated: Vec<(u64, u64)> = trial
        .worst_flows
        .iter()
        .map(|flow| (flow.lost_packets, flow.reordered_packets.saturating_add(flow.duplicate_packets)))
        .collect();
    let found: Vec<(u64, u64)> = worst.iter().map(|flow| Badness::of(flow).packets()).collect();
    (stated != found).then(|| {
        let names: Vec<String> = worst.iter().map(|flow| flow.flow.to_string()).collect();
        format!("its worst flows are {}, the result names others or another order", names.join(", "))
    })
}
