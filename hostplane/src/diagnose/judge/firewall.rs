//! Reachability, connection tracking, address translation, and the BGP port.

use hugepage_check::check::Remedy;

use super::{Diagnosis, Finding, Severity, percent};
use crate::diagnose::Both;
use crate::diagnose::port::{PortProbe, PortState};
use crate::diagnose::view::Conntrack;

/// Shares of the table of connections from which it counts as full, and as filling up.
const FULL: f64 = 0.98;
const FILLING: f64 = 0.8;

pub(super) fn judge(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (end, both) in [("client", Some(&diagnosis.client)), ("server", diagnosis.server.as_ref())] {
        findings.extend(both.and_then(|both| conntrack(end, both)));
        findings.extend(both.and_then(|both| insert_failures(end, both)));
    }
    findings.extend(diagnosis.unreachable.as_ref().map(|reason| {
        Finding::new("unreachable", Severity::Fault, "The server was not reached; nothing could be measured.")
            .fact(reason.clone())
    }));
    findings.extend(translation(diagnosis));
    findings.extend(diagnosis.ports.iter().filter_map(bgp));
    findings
}

fn conntrack(end: &str, both: &Both) -> Option<Finding> {
    let (before, now) = (both.before.conntrack, both.last().conntrack?);
    let since = |field: fn(&Conntrack) -> Option<u64>| {
        let before = before.and_then(|before| field(&before))?;
        field(&now).map(|now| now.saturating_sub(before))
    };
    let (drops, early) = (since(|table| table.drops), since(|table| table.early_drops));
    // What lost against another packet of its connection counts as dropped, too, and has a finding of its own.
    let others = drops.unwrap_or(0).saturating_sub(since(|table| table.insert_failures).unwrap_or(0));
    let fullest = before.map_or(now.share(), |before| before.share().max(now.share()));
    let is_full = early.unwrap_or(0) > 0 || fullest >= FULL || others > 0 && fullest >= FILLING;
    let (name, severity, words) = if is_full {
        let words = format!(
            "The {end}'s table of connections (conntrack) is full: its kernel drops packets of new connections, or connections that \
             are not answered yet."
        );
        ("conntrack-full", Severity::Fault, words)
    } else if others > 0 {
        return Some(tracking_drops(end, others, &now));
    } else if fullest >= FILLING {
        let words = format!(
            "The {end}'s table of connections (conntrack) is {} full; when it is full, its kernel drops packets of new connections.",
            percent(fullest)
        );
        ("conntrack-filling", Severity::Warning, words)
    } else {
        return None;
    };
    let told = |count: Option<u64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let facts = [
        format!("{} of {} entries", now.entries, now.most),
        format!("dropped during the diagnosis: {}, given up to make room: {}", told(drops), told(early)),
    ];
    let remedy = Remedy::type_in([
        format!("sysctl -w net.netfilter.nf_conntrack_max={}", now.most.saturating_mul(4)),
        "conntrack -L | awk '{print $1, $4}' | sort | uniq -c | sort -rn | head".to_owned(),
    ])
    .note(format!(
        "on the {end}'s node; or keep connections out of the table (nft: notrack), or let idle ones end sooner \
         (nf_conntrack_tcp_timeout_established)"
    ));
    Some(Finding::new(name, severity, words).facts(facts).remedy(remedy))
}

/// Drops while the table had room whenever it was looked at.
fn tracking_drops(end: &str, drops: u64, now: &Conntrack) -> Finding {
    let words = format!(
        "The {end}'s connection tracking dropped {drops} packets, although its table has room: they did not fit the state of their \
         connection, or the table was full for a moment."
    );
    let remedy = Remedy::type_in(["dmesg | grep nf_conntrack", "conntrack -S"])
        .note(format!("on the {end}'s node: the kernel's log says when the table was full"));
    Finding::new("conntrack-drops", Severity::Warning, words)
        .fact(format!("{} of {} entries", now.entries, now.most))
        .remedy(remedy)
}

fn insert_failures(end: &str, both: &Both) -> Option<Finding> {
    let count = |view: &crate::diagnose::view::HostView| view.conntrack?.insert_failures;
    let failed = count(both.after.as_ref()?)?.saturating_sub(count(&both.before)?);
    if failed == 0 {
        return None;
    }
    let words = format!(
        "The {end}'s connection tracking dropped {failed} packets because another packet of the same connection was entered at \
         the same time (insert_failed)."
    );
    let remedy = Remedy::type_in(["cat /proc/net/stat/nf_conntrack"])
        .note("known of UDP that several threads send from one socket through SNAT or DNAT");
    Some(Finding::new("conntrack-insert-failed", Severity::Warning, words).remedy(remedy))
}

fn translation(diagnosis: &Diagnosis) -> Vec<Finding> {
    let Some(addresses) = diagnosis.addresses else { return Vec::new() };
    let mut findings = Vec::new();
    if addresses.client != addresses.client_at_server {
        let words = format!(
            "The client's address is translated on the path (SNAT): the server sees {}, the client is {}. Each connection takes a \
             port and an entry of connection tracking where that happens.",
            addresses.client_at_server, addresses.client
        );
        let remedy = Remedy::type_in([
            "nft list ruleset | grep -n masquerade",
            "iptables -t nat -nvL POSTROUTING",
        ])
        .note("on the client's node: exempt the server's network (ip-masq-agent, the CNI's natOutgoing)");
        findings.push(Finding::new("snat", Severity::Note, words).remedy(remedy));
    }
    if addresses.server != addresses.server_at_server {
        let words = format!(
            "The server's address is translated on the path (DNAT): the client calls {}, the server is {}.",
            addresses.server, addresses.server_at_server
        );
        let remedy = Remedy::default()
            .note("a Service or load balancer stands between; measure its pods directly, too");
        findings.push(Finding::new("dnat", Severity::Note, words).remedy(remedy));
    }
    findings
}

fn bgp(probe: &PortProbe) -> Option<Finding> {
    let PortProbe { address, state, reason, asked_for: true } = probe else { return None };
    let (severity, words, remedy) = match state {
        PortState::Open => return None,
        PortState::Filtered => (
            Severity::Fault,
            format!("The BGP port of {} does not answer: a firewall drops it, or the node is down.", address.ip()),
            Remedy::type_in([format!(
                "{} -I INPUT -p tcp --dport 179 -j ACCEPT",
                if address.is_ipv6() { "ip6tables" } else { "iptables" }
            )])
                .note("on that node, and on this one for the answers; then look at Calico's nodes (calicoctl node status)"),
        ),
        PortState::Refused => (
            Severity::Warning,
            format!("No program listens on the BGP port of {}: right for VXLAN, wrong for Calico's BGP.", address.ip()),
            Remedy::type_in(["kubectl get pods -A -l k8s-app=calico-node -o wide"])
                .note("the pod of that node must be ready"),
        ),
        PortState::Unknown => (
            Severity::Warning,
            format!("The BGP port of {} could not be asked.", address.ip()),
            Remedy::default(),
        ),
    };
    let finding = Finding::new("bgp-port", severity, words).facts(reason.clone());
    Some(finding.fact(format!("TCP port {}: {state:?}", address.port()).to_lowercase()).remedy(remedy))
}
