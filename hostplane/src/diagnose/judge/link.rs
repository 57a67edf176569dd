//! Interfaces and routes of both ends.

use hugepage_check::check::{Remedy, shell_word};

use super::{Diagnosis, Finding, Severity, percent};
use crate::diagnose::view::{HostView, Link, Route};
use crate::diagnose::{Both, StepKind};
use crate::result::verdict::rate;
use crate::spec::Direction;

/// Share of a link's speed from which the link is the limit: payload is less than what the link carries.
const FULL: f64 = 0.9;
/// Received packets that may be dropped without a warning: a switch sends a frame of spanning tree every 2 s, and one of
/// LLDP every 30 s, and the kernel counts frames of protocols that nobody speaks as dropped.
const FEW_DROPPED: u64 = 30;

pub(super) fn judge(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings = Vec::new();
    let client = diagnosis.client.last();
    let server = diagnosis.server.as_ref().map(Both::last);
    for (end, both) in [("client", Some(&diagnosis.client)), ("server", diagnosis.server.as_ref())] {
        findings.extend(both.and_then(|both| duplex(end, both.last())));
        findings.extend(both.and_then(|both| errors(end, both)));
    }
    findings.extend(server.and_then(|server| speeds(client, server)));
    findings.extend(server.and_then(|server| mtus(client, server)));
    findings.extend(full(diagnosis, client, server));
    findings.extend(server.and_then(|server| way_back(diagnosis, server)));
    findings
}

fn duplex(end: &str, view: &HostView) -> Option<Finding> {
    let link = view.link.as_ref().filter(|link| link.duplex.as_deref() == Some("half"))?;
    let words = format!("The {end}'s interface {} runs at half duplex.", link.name);
    let remedy = Remedy::type_in([format!("ethtool {}", shell_word(&link.name))])
        .note(format!("on the {end}: both ends of the cable must negotiate"));
    Some(Finding::new("half-duplex", Severity::Fault, words).remedy(remedy))
}

/// Packets that an interface lost, and links that went down, while the path was measured.
fn errors(end: &str, both: &Both) -> Option<Finding> {
    let (before, after) = (both.before.link.as_ref()?, both.after.as_ref()?.link.as_ref()?);
    if before.name != after.name {
        return None;
    }
    let more = |field: fn(&Link) -> Option<u64>| {
        field(before).zip(field(after)).map_or(0, |(before, after)| after.saturating_sub(before))
    };
    let dropped = more(|link| link.received_dropped);
    let counts = [
        ("received and dropped", dropped),
        ("missed by the device", more(|link| link.received_missed)),
        ("received with errors", more(|link| link.received_errors)),
        ("dropped before sending", more(|link| link.sent_dropped)),
        ("not sent because of errors", more(|link| link.sent_errors)),
        ("changes of the carrier", more(|link| link.carrier_changes)),
    ];
    let facts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
    if facts.is_empty() {
        return None;
    }
    let (severity, words) = if facts.len() == 1 && (1..=FEW_DROPPED).contains(&dropped) {
        let words = format!(
            "The {end}'s interface {} dropped a few received frames while the path was measured. They may be of protocols that \
             nobody here speaks, such as LLDP and spanning tree.",
            after.name
        );
        (Severity::Note, words)
    } else {
        let words = format!("The {end}'s interface {} lost packets while the path was measured.", after.name);
        (Severity::Warning, words)
    };
    let remedy = Remedy::type_in([
        format!("ip -s -s link show dev {}", shell_word(&after.name)),
        format!("ethtool -S {}", shell_word(&after.name)),
    ])
    .note(format!("on the {end}"));
    Some(Finding::new("interface-drops", severity, words).facts(facts).remedy(remedy))
}

fn speeds(client: &HostView, server: &HostView) -> Option<Finding> {
    let (one, other) = (client.link.as_ref()?, server.link.as_ref()?);
    let (client, server) = (one.speed_mbps?, other.speed_mbps?);
    if client == server {
        return None;
    }
    let words = format!(
        "The ends' links differ in speed: {client} Mbit/s at the client ({}), {server} Mbit/s at the server ({}). The faster one \
         overruns the slower one's queue.",
        one.name, other.name
    );
    let remedy = Remedy::type_in([format!("ethtool {}", shell_word(&one.name))])
        .note(format!("and at the server: ethtool {}", shell_word(&other.name)));
    Some(Finding::new("speed-mismatch", Severity::Warning, words).remedy(remedy))
}

fn mtus(client: &HostView, server: &HostView) -> Option<Finding> {
    let (one, other) = (client.link.as_ref()?, server.link.as_ref()?);
    let (client, server) = (one.mtu?, other.mtu?);
    if client == server {
        return None;
    }
    let words = format!(
        "The ends' interfaces differ in MTU: {client} at the client ({}), {server} at the server ({}).",
        one.name, other.name
    );
    let remedy = Remedy::default()
        .note("give both the same, or see that what is between them tells of the smaller one");
    Some(Finding::new("mtu-mismatch", Severity::Warning, words).remedy(remedy))
}

/// A direction that fills the link.
fn full(diagnosis: &Diagnosis, client: &HostView, server: Option<&HostView>) -> Vec<Finding> {
    let speed = |view: &HostView| view.link.as_ref().and_then(|link| link.speed_mbps);
    let Some(least) = [speed(client), server.and_then(speed)].into_iter().flatten().min() else {
        return Vec::new();
    };
    let bps = least as f64 * 1e6;
    let reached = |direction: Direction| {
        let kinds = [StepKind::Tcp, StepKind::TcpParallel];
        let most =
            kinds.into_iter().filter_map(|kind| diagnosis.received_bps(kind, direction)).reduce(f64::max)?;
        (most >= FULL * bps).then(|| {
            let words = format!("TCP {direction} fills the link of {}: {}.", rate(bps), percent(most / bps));
            Finding::new("link-full", Severity::Note, words).fact(format!("{} of payload", rate(most)))
        })
    };
    [Direction::Forward, Direction::Reverse].into_iter().filter_map(reached).collect()
}

/// A server that answers by another way than the client came.
fn way_back(diagnosis: &Diagnosis, server: &HostView) -> Option<Finding> {
    let addresses = diagnosis.addresses?;
    let route = server.route.as_ref()?;
    let source = route.source.filter(|source| *source != addresses.server_at_server.ip())?;
    let words = format!(
        "The way back is another one: the client reaches the server at {}, and the server's route to the client uses {source}.",
        addresses.server_at_server.ip()
    );
    let client = diagnosis.client.last().route.as_ref();
    let finding = Finding::new("route-asymmetry", Severity::Warning, words)
        .facts(client.map(|route| format!("client's route: {}", describe(route))))
        .fact(format!("server's route: {}", describe(route)));
    let remedy = Remedy::type_in([format!("ip route get {}", addresses.client_at_server.ip())])
        .note("on the server; a rule or route for the client's network brings both ways together");
    Some(finding.remedy(remedy))
}

/// A route in a few words.
pub(crate) fn describe(route: &Route) -> String {
    let mut words = format!("dev {}", route.interface.as_deref().unwrap_or("unknown"));
    if let Some(gateway) = route.gateway {
        words.push_str(&format!(" via {gateway}"));
    }
    if let Some(source) = route.source {
        words.push_str(&format!(" src {source}"));
    }
    if let Some(mtu) = route.mtu {
        words.push_str(&format!(" mtu {mtu}"));
    }
    words
}
