//! Addressing of frames from one agent of a pair to the other: IP addresses, and the Ethernet address of the
//! next hop.
//!
//! If both ports have IP addresses, profiles without addresses are sent between those, and the next hop is
//! resolved by the kernel or by the port. If they have none, frames go to the peer port's Ethernet address,
//! as on a cable.

use std::collections::BTreeSet;
use std::net::IpAddr;

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Addressed, IpVersion, Profile, ProfileError};
use linerate_wire::network::{NextHop, PortNetwork};

use super::agent::Agent;
use crate::session::Session;

/// Addressing from an agent to its peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Addressing {
    hops: Vec<Hop>,
    /// Why the next hop is unknown; `None` when it is known.
    problem: Option<String>,
}

/// The next hop for one IP version.
#[derive(Debug, Clone)]
struct Hop {
    version: IpVersion,
    source: IpAddr,
    destination: IpAddr,
    /// All addresses of the peer.
    peer: PortNetwork,
    next: NextHop,
    /// True when frames reach the peer's port through a router.
    is_routed: bool,
}

impl Addressing {
    /// Resolves the addressing from one agent to the other for these profiles.
    ///
    /// # Errors
    /// When the next hop is not found, or a profile cannot be sent between the ports' addresses. The text
    /// names the agents.
    pub(super) async fn find(from: &Agent, to: &Agent, profiles: &[Profile]) -> Result<Self, String> {
        let mut hops = Vec::new();
        let (here, there) = (&from.engine().network, &to.engine().network);
        if let (Some(here), Some(there)) = (here, there) {
            for version in [IpVersion::V4, IpVersion::V6] {
                let mut of_version =
                    profiles.iter().filter(|profile| profile.shape().version == version).peekable();
                if of_version.peek().is_none() {
                    continue;
                }
                let all_written = of_version.all(|profile| profile.raw().destination.written_ip().is_some());
                let (Some(source), Some(destination)) = (here.address(version), there.address(version))
                else {
                    if !all_written && let Some(problem) = missing(version, (from, here), (to, there)) {
                        return Err(problem);
                    }
                    continue;
                };
                match next_hop(&from.session, destination).await {
                    Ok(next) => {
                        let is_routed = next.gateway.is_some() || next.mac.is_some_and(|mac| mac != to.mac());
                        let peer = there.clone();
                        hops.push(Hop { version, source, destination, peer, next, is_routed });
                    }
                    // Frames to addresses that the user wrote may still reach the peer's port.
                    Err(problem) if all_written => {
                        tracing::warn!("{problem}; frames go to the Ethernet address of {}", to.name());
                    }
                    Err(problem) => return Err(problem),
                }
            }
        }
        let addressing = Self { hops, problem: None };
        let mut notes = BTreeSet::new();
        for profile in profiles {
            let addressed = addressing.profile(profile).map_err(|error| {
                format!("{} to {}: profile {}: {error}", from.name(), to.name(), profile.name())
            })?;
            let routing = addressing.hop(profile).and_then(|hop| hop.routing_note(profile));
            // Each note is reported once, even if many profiles share it.
            notes.extend(addressed.notes.into_iter().map(|note| (routing.as_ref() == Some(&note), note)));
        }
        for (is_routing, note) in notes {
            if is_routing {
                tracing::warn!("{} to {}: {note}", from.name(), to.name());
            } else {
                tracing::info!("{} to {}: {note}", from.name(), to.name());
            }
        }
        Ok(addressing)
    }

    /// Addressing that could not be resolved, with the reason.
    pub(super) fn unknown(problem: String) -> Self {
        Self { hops: Vec::new(), problem: Some(problem) }
    }

    /// Why nothing can be sent; `None` when the next hop is known.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn hop(&self, profile: &Profile) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.version == profile.shape().version)
    }

    /// The profile with the addresses that it is sent with.
    ///
    /// # Errors
    /// When it cannot be sent between the ports' addresses.
    pub(super) fn profile(&self, profile: &Profile) -> Result<Addressed, ProfileError> {
        let Some(hop) = self.hop(profile) else {
            return Ok(Addressed { profile: profile.clone(), notes: Vec::new() });
        };
        let mut addressed = profile.between_ports((Some(hop.source), Some(hop.destination)))?;
        addressed.notes.extend(hop.routing_note(profile));
        Ok(addressed)
    }

    /// Destination Ethernet address of the profile's frames, if it is not that of the peer's port.
    pub(super) fn mac(&self, profile: &Profile) -> Option<MacAddr> {
        self.hop(profile).and_then(|hop| hop.next.mac)
    }

    /// The next hops that were resolved.
    pub(super) fn next_hops(&self) -> impl Iterator<Item = NextHop> {
        self.hops.iter().map(|hop| hop.next)
    }

    /// Descriptions of the addressing, one for each IP version.
    pub(super) fn describe(&self, from: &str, to: &str) -> Vec<String> {
        let one = |hop: &Hop| {
            let Hop { source, destination, next, .. } = hop;
            let mac = next.mac.map_or_else(|| "the peer's port".to_owned(), |mac| mac.to_string());
            let by = next.gateway.map_or_else(String::new, |gateway| format!(" by the router {gateway}"));
            format!("{from} ({source}) reaches {to} ({destination}){by} at {mac}")
        };
        self.hops.iter().map(one).collect()
    }
}

impl Hop {
    /// Why frames with the profile's own addresses may be lost.
    fn routing_note(&self, profile: &Profile) -> Option<String> {
        let to = profile.raw().destination.written_ip().filter(|to| self.is_routed && !self.peer.has(*to))?;
        let router = self
            .next
            .gateway
            .map_or_else(|| "what answers for it".to_owned(), |gateway| format!("the router {gateway}"));
        Some(format!(
            "the profile's destination {to} is not an address of the receiver, which has {}: the way there leads by {router}, and frames arrive only if \
             the network routes {to} to the receiver",
            self.destination
        ))
    }
}

async fn next_hop(session: &Session, to: IpAddr) -> Result<NextHop, String> {
    session.next_hop(to).await.map_err(|error| error.to_string())
}

/// Addresses that are missing for profiles without addresses, if both ports have some.
fn missing(
    version: IpVersion,
    (from, here): (&Agent, &PortNetwork),
    (to, there): (&Agent, &PortNetwork),
) -> Option<String> {
    let other = if version == IpVersion::V4 { IpVersion::V6 } else { IpVersion::V4 };
    // Without addresses of either version there is nothing to send between.
    if here.address(other).is_none() || there.address(other).is_none() {
        return None;
    }
    let (agent, network) = if here.address(version).is_none() { (from, here) } else { (to, there) };
    let have: Vec<String> = network.addresses.iter().map(ToString::to_string).collect();
    let (wanted, remedy) = match version {
        IpVersion::V4 => (
            "IPv4",
            "for IPv6, write source: {ip: \"::\"} into the profile, with frames of at least 82 bytes",
        ),
        IpVersion::V6 => ("IPv6", "for IPv4, leave source.ip and destination.ip out of the profile"),
    };
    Some(format!(
        "{} has no {wanted} address (its port has {}), and profiles without addresses of their own are {wanted}; {remedy}",
        agent.name(),
        have.join(", ")
    ))
}
