//! A diagnosis for people: what was measured, then what was found. Pure.
//!
//! Names of hosts, interfaces and queues come from other programs and hosts: all text is escaped as a whole when
//! it is printed.

use super::judge::{describe_cpu, describe_route};
use super::ladder::Way;
use super::port::PortState;
use super::sweep::Sweep;
use super::view::{HostView, Link};
use super::{Both, Diagnosis, Finding, Step, StepKind};
use crate::result::DirectionResult;
use crate::result::text::time;
use crate::result::verdict::rate;
use crate::spec::Direction;

/// The whole diagnosis.
pub(crate) fn diagnosis(diagnosis: &Diagnosis) -> String {
    let mut lines = Vec::new();
    for (end, both) in [("client", Some(&diagnosis.client)), ("server", diagnosis.server.as_ref())] {
        lines.extend(both.map(|both| host_lines(end, both)).unwrap_or_default());
    }
    if let Some(addresses) = &diagnosis.addresses {
        lines.push(format!("addresses  client {}, server {}", addresses.client, addresses.server));
        if addresses.client != addresses.client_at_server {
            lines.push(format!("           the server sees the client as {}", addresses.client_at_server));
        }
    }
    if let Some(ladder) = &diagnosis.ladder {
        lines.push(format!("path MTU   forward {}, reverse {}", way(&ladder.forward), way(&ladder.reverse)));
    }
    for kind in [StepKind::Tcp, StepKind::TcpParallel, StepKind::Udp] {
        lines.extend(step_lines(diagnosis, kind));
    }
    lines.extend(diagnosis.sweeps.iter().flat_map(sweep_lines));
    for probe in &diagnosis.ports {
        let state = match probe.state {
            PortState::Open => "open: something listens",
            PortState::Refused => "refused: nothing listens",
            PortState::Filtered => "no answer: filtered",
            PortState::Unknown => "unknown",
        };
        // That nothing listens needs no further reason.
        let reason = probe.reason.as_ref().filter(|_| probe.state != PortState::Refused);
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        lines.push(format!("BGP port   {} {state}{reason}", probe.address));
    }
    lines.push(String::new());
    lines.extend(finding_lines(&diagnosis.findings));
    lines.join("\n")
}

fn host_lines(end: &str, both: &Both) -> Vec<String> {
    let view = both.last();
    let unknown = || "unknown".to_owned();
    let mut lines = vec![format!(
        "{end:<10} {}, kernel {}, {} of {} CPUs",
        view.host.clone().unwrap_or_else(unknown),
        view.kernel.clone().unwrap_or_else(unknown),
        view.allowed.len(),
        view.cpus.len()
    )];
    if let Some(route) = &view.route {
        lines.push(format!("  route    {}", describe_route(route)));
    }
    if let Some(link) = &view.link {
        lines.push(format!("  link     {}", link_words(link, view)));
    }
    lines.push(format!("  windows  {}", window_words(view)));
    if let Some(table) = &view.conntrack {
        let drops = table.drops.map_or_else(unknown, |drops| drops.to_string());
        lines.push(format!(
            "  conntrack {} of {} entries, {drops} packets dropped since boot",
            table.entries, table.most
        ));
    }
    let busiest = both.after.as_ref().and_then(|after| after.busiest_receiver(&both.before));
    if let Some((cpu, share)) = busiest {
        lines.push(format!("  softirq  CPU {cpu} received most packets ({:.0} % of NET_RX)", 100.0 * share));
    }
    lines
}

fn link_words(link: &Link, view: &HostView) -> String {
    let mut words = link.name.clone();
    match link.speed_mbps {
        Some(speed) => {
            words.push_str(&format!(
                ", {speed} Mbit/s {}",
                link.duplex.as_deref().unwrap_or("duplex unknown")
            ));
        }
        None if link.physical => words.push_str(", speed unknown"),
        None => words.push_str(", virtual"),
    }
    if let Some(mtu) = link.mtu {
        words.push_str(&format!(", MTU {mtu}"));
    }
    for queue in view.queues.iter().filter(|queue| queue.root) {
        words.push_str(&format!(", queue {}", queue.kind));
        if let Some(bps) = queue.rate_bps {
            words.push_str(&format!(" limited to {}", rate(bps as f64)));
        }
    }
    words
}

fn window_words(view: &HostView) -> String {
    let number =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let limits = &view.limits;
    format!(
        "rmem_max {}, wmem_max {}, tcp_rmem up to {}, tcp_wmem up to {}, {}",
        number(limits.receive_max),
        number(limits.send_max),
        number(limits.tcp_receive.map(|[_, _, most]| most)),
        number(limits.tcp_send.map(|[_, _, most]| most)),
        limits.congestion.as_deref().unwrap_or("congestion control unknown")
    )
}

fn way(way: &Way) -> String {
    match (way.passes, way.is_narrow()) {
        (None, _) => "unknown: nothing got through".to_owned(),
        (Some(passes), false) => format!("{passes} (the interface's)"),
        (Some(passes), true) => format!("{passes}, less than the interface's"),
    }
}

/// A kind of measurement: forward and reverse side by side.
fn step_lines(diagnosis: &Diagnosis, kind: StepKind) -> Vec<String> {
    let step =
        |direction| diagnosis.steps.iter().find(|step| step.kind == kind && step.direction == direction);
    let (forward, reverse) = (step(Direction::Forward), step(Direction::Reverse));
    let Some(some) = forward.or(reverse) else { return Vec::new() };
    let streams = some.result.as_ref().map_or(0, |result| result.trial.each.streams);
    let name = match kind {
        StepKind::Tcp => "TCP, one stream".to_owned(),
        StepKind::TcpParallel => format!("TCP, {streams} streams"),
        StepKind::Udp => "UDP".to_owned(),
    };
    let rows: Vec<[String; 3]> = figures(kind)
        .iter()
        .map(|(label, figure)| {
            let value = |step: Option<&Step>| {
                let direction = step.and_then(|step| step.result.as_ref()?.directions.first());
                direction.and_then(figure).unwrap_or_else(|| "unknown".to_owned())
            };
            [(*label).to_owned(), value(forward), value(reverse)]
        })
        .chain([cpu_row("client CPU s per Gbit", forward, reverse, true)])
        .chain([cpu_row("server CPU s per Gbit", forward, reverse, false)])
        .collect();
    let mut lines = vec![format!("{name:<25} {:<32} {}", "forward", "reverse")];
    lines.extend(
        rows.iter().map(|[label, forward, reverse]| format!("  {label:<23} {forward:<32} {reverse}")),
    );
    lines
}

fn cpu_row(label: &str, forward: Option<&Step>, reverse: Option<&Step>, client: bool) -> [String; 3] {
    let cost = |step: Option<&Step>| {
        let result = step.and_then(|step| step.result.as_ref());
        let end = result.map(|result| if client { &result.client } else { &result.server });
        end.and_then(|end| end.cpu_s_per_gbit)
            .map_or_else(|| "unknown".to_owned(), |cost| format!("{cost:.4}"))
    };
    [label.to_owned(), cost(forward), cost(reverse)]
}

type Figure = (&'static str, fn(&DirectionResult) -> Option<String>);

fn figures(kind: StepKind) -> &'static [Figure] {
    const RECEIVED: Figure = ("received", |direction| direction.received_bps.map(rate));
    const VERDICT: Figure = ("verdict", |direction| Some(direction.verdict.kind.to_string()));
    const TCP: [Figure; 4] = [
        RECEIVED,
        ("retransmits", |direction| direction.tcp.as_ref().map(|tcp| tcp.retransmits.to_string())),
        ("RTT min / mean / max", |direction| {
            let (least, mean, most) = direction.tcp.as_ref()?.rtt_us?;
            Some(format!("{least} / {mean:.0} / {most} µs"))
        }),
        VERDICT,
    ];
    const UDP: [Figure; 5] = [
        ("intended", |direction| direction.intended_bps.map(rate)),
        RECEIVED,
        ("lost / total", |direction| {
            let udp = direction.udp.as_ref()?;
            Some(format!("{} / {}", udp.lost?, udp.sent?))
        }),
        ("jitter", |direction| direction.udp.as_ref()?.jitter_ns.map(|(mean, _)| time(mean))),
        VERDICT,
    ];
    if kind == StepKind::Udp { &UDP } else { &TCP }
}

fn sweep_lines(sweep: &Sweep) -> Vec<String> {
    let with = sweep.other_cpu.map_or_else(String::new, |cpu| format!(", the other end on CPU {cpu}"));
    let mut lines =
        vec![format!("CPUs of the {}, one TCP stream {}{with}", sweep.end.name(), sweep.direction)];
    lines.extend(sweep.cpus.iter().map(|swept| format!("  {}", describe_cpu(swept))));
    if !sweep.left_out.is_empty() {
        lines.push(format!("  {} CPUs were not tried", sweep.left_out.len()));
    }
    lines
}

fn finding_lines(findings: &[Finding]) -> Vec<String> {
    if findings.is_empty() {
        return vec!["Found: nothing that limits or breaks this path.".to_owned()];
    }
    let mut lines = vec!["Found:".to_owned()];
    for finding in findings {
        lines.push(format!("{} {}: {}", finding.severity.name(), finding.name, finding.words));
        lines.extend(finding.evidence.iter().map(|fact| format!("    {fact}")));
        lines.extend(finding.remedy.commands.iter().map(|command| format!("  $ {command}")));
        lines.extend(finding.remedy.note.iter().map(|note| format!("    {note}")));
    }
    lines
}
