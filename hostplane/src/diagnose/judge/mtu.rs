//! The path's MTU: longest packets that pass, and whether somebody told of it.

use hugepage_check::check::{Remedy, shell_word};

use super::{Diagnosis, Finding, Severity, ends};
use crate::diagnose::ladder::Way;
use crate::spec::Direction;

/// Bytes that tunnels add over IPv4.
const TUNNELS: [(u32, &str); 5] = [
    (20, "IP in IP"),
    (50, "VXLAN or Geneve"),
    (60, "WireGuard"),
    (70, "VXLAN over IPv6"),
    (80, "WireGuard over IPv6"),
];

pub(super) fn judge(diagnosis: &Diagnosis) -> Vec<Finding> {
    let Some(ladder) = &diagnosis.ladder else {
        return diagnosis
            .ladder_note
            .iter()
            .map(|note| {
                let words = "The path's MTU is not known: it could not be searched for.";
                Finding::new("mtu-unknown", Severity::Warning, words).fact(note.clone())
            })
            .collect();
    };
    let back = diagnosis.server.as_ref().and_then(|both| both.last().route.as_ref()?.mtu);
    [(Direction::Forward, &ladder.forward, ladder.learnt_mtu), (Direction::Reverse, &ladder.reverse, back)]
        .into_iter()
        .filter_map(|(direction, way, learnt)| narrow(diagnosis, direction, way, learnt))
        .collect()
}

fn narrow(diagnosis: &Diagnosis, direction: Direction, way: &Way, learnt: Option<u32>) -> Option<Finding> {
    if !way.is_narrow() {
        return None;
    }
    let (sender, _) = ends(direction);
    let mtu = way.tried.first().map(|(packet, _)| *packet)?;
    let Some(passes) = way.passes else {
        let words = format!("No datagram got through {direction}, not even a short one.");
        return Some(Finding::new("mtu-unknown", Severity::Warning, words));
    };
    let missing = mtu.saturating_sub(passes);
    let tunnel = TUNNELS.iter().find(|(bytes, _)| *bytes == missing);
    let guess = tunnel.map_or_else(String::new, |(_, name)| format!(", which is the overhead of {name}"));
    let told = learnt.is_some_and(|learnt| learnt <= passes);
    let view = match direction {
        Direction::Forward => Some(diagnosis.client.last()),
        Direction::Reverse => diagnosis.server.as_ref().map(crate::diagnose::Both::last),
    };
    let interface = view.and_then(|view| view.link.as_ref()).map_or("INTERFACE", |link| link.name.as_str());
    let (name, severity, end) = if told {
        ("path-mtu", Severity::Note, "The network says so (ICMP), and TCP adapts.")
    } else {
        (
            "mtu-black-hole",
            Severity::Fault,
            "Nobody tells the sender: long packets vanish, so TCP stalls although ping passes.",
        )
    };
    let words = format!(
        "Packets {direction} pass up to {passes} bytes, and the {sender}'s interface sends {mtu}: {missing} less{guess}. {end}"
    );
    let remedy = Remedy::type_in([format!("ip link set dev {} mtu {passes}", shell_word(interface))]).note(format!(
        "on the {sender} (in Kubernetes: the CNI's MTU); or let routers send ICMP 'fragmentation needed', or clamp the MSS"
    ));
    let tried: Vec<String> = way
        .tried
        .iter()
        .map(|(packet, passed)| format!("{packet} {}", if *passed { "passed" } else { "lost" }))
        .collect();
    Some(Finding::new(name, severity, words).fact(format!("tried: {}", tried.join(", "))).remedy(remedy))
}
