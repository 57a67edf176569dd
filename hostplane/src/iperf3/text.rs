//! A test's result for people. Pure.

use linerate_wire::streams::Protocol;

use super::account::{Compared, TestResult};
use crate::result::text::{direction_lines, end_lines};
use crate::result::verdict::rate;
use crate::spec::Direction;

/// The result of a test.
pub(crate) fn result(result: &TestResult) -> String {
    let mut lines = Vec::new();
    for direction in &result.directions {
        let protocol = result.trial.each.protocol;
        let mut figures = direction_lines(protocol, &direction.figures);
        if protocol == Protocol::Tcp && receives(result, direction) {
            // After the load.
            let received = direction.figures.received_bytes.unwrap_or(0);
            figures.insert(2.min(figures.len()), format!("  account   {received} bytes received"));
        }
        lines.extend(figures);
        lines.extend(foreign_line(result, direction));
    }
    lines.extend(end_lines(result.role, &result.own));
    if let Some(percent) = result.peer.cpu_percent {
        lines.push(format!("peer says that its program used {percent:.1} % of a CPU"));
    }
    lines.extend(result.disagreements.iter().map(|words| format!("disagreement: {words}")));
    lines.extend(result.remarks.iter().map(|remark| format!("note: {remark}")));
    lines.extend(result.failures.iter().map(|failure| format!("warning: not complete: {failure}")));
    lines.join("\n")
}

/// True when this end receives in a direction.
fn receives(result: &TestResult, direction: &Compared) -> bool {
    let sends = if result.role == "client" { Direction::Forward } else { Direction::Reverse };
    direction.figures.direction != sends
}

/// What the peer says of a direction.
fn foreign_line(result: &TestResult, direction: &Compared) -> Option<String> {
    let foreign = direction.foreign.as_ref()?;
    let moved = if receives(result, direction) { "sent" } else { "received" };
    let mut line = format!("  peer      says: {moved} {} bytes", foreign.bytes);
    if let Some(seconds) = foreign.seconds.filter(|seconds| *seconds > 0.0) {
        line.push_str(&format!(" in {seconds:.3} s, {}", rate(foreign.bytes as f64 * 8.0 / seconds)));
    }
    if let Some(packets) = foreign.packets {
        line.push_str(&format!(", {packets} datagrams"));
    }
    if let Some(errors) = foreign.errors {
        line.push_str(&format!(", {errors} lost"));
    }
    if let Some(retransmits) = foreign.retransmits {
        line.push_str(&format!(", {retransmits} retransmits"));
    }
    Some(line)
}
