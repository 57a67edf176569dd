//! How frames get from one agent of a pair to the other: which addresses they carry, and which Ethernet address they go to.
//!
//! Where both ports have addresses of their own, profiles that name none are sent between those, and the next hop is asked for: of the kernel, or on
//! the port itself. Where they have none, frames go to the peer's port, as on a cable.

use std::collections::BTreeSet;
use std::net::IpAddr;

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Addressed, IpVersion, Profile, ProfileError};
use linerate_wire::network::{NextHop, PortNetwork};

use super::agent::Agent;
use crate::session::Session;

/// The way from an agent to its peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Addressing {
    hops: Vec<Hop>,
    /// Why the way is not known; `None` when it is.
    problem: Option<String>,
}

/// The way for one version of IP.
#[derive(Debug, Clone)]
struct Hop {
    version: IpVersion,
    source: IpAddr,
    destination: IpAddr,
    /// The peer's addresses, all of them.
    peer: PortNetwork,
    next: NextHop,
    /// Frames do not reach the peer's port by its Ethernet address.
    is_routed: bool,
}

impl Addressing {
    /// Finds the way from one agent to the other, for these profiles.
    ///
    /// # Errors
    /// When the next hop is not found, or a profile cannot be sent between the ports' addresses. In words that name the agents.
    pub(super) async fn find(from: &Agent, to: &Agent, profiles: &[Profile]) -> Result<Self, String> {
        let mut hops = Vec::new();
        let (here, there) = (&from.session.welcome().network, &to.session.welcome().network);
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
                    // Frames to addresses of the user's own may still reach the peer's port.
                    Err(problem) if all_written => {
                        tracing::warn!("{problem}; frames go to the Ethernet address of {}", to.name());
                    }
                    Err(problem) => return Err(problem),
                }
            }
        }
        let addressing = Self { hops, problem: None };
        let mut told = BTreeSet::new();
        for profile in profiles {
            let addressed = addressing.profile(profile).map_err(|error| {
                format!("{} to {}: profile {}: {error}", from.name(), to.name(), profile.name())
            })?;
            let doubts = addressing.hop(profile).and_then(|hop| hop.doubts(profile));
            // What many profiles have in common is told once.
            told.extend(addressed.notes.into_iter().map(|note| (doubts.as_ref() == Some(&note), note)));
        }
        for (is_doubt, note) in told {
            if is_doubt {
                tracing::warn!("{} to {}: {note}", from.name(), to.name());
            } else {
                tracing::info!("{} to {}: {note}", from.name(), to.name());
            }
        }
        Ok(addressing)
    }

    /// A way that was not found, and why.
    pub(super) fn unknown(problem: String) -> Self {
        Self { hops: Vec::new(), problem: Some(problem) }
    }

    /// Why nothing can be sent this way, where the way was not found.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn hop(&self, profile: &Profile) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.version == profile.shape().version)
    }

    /// The profile as it is sent.
    ///
    /// # Errors
    /// When it cannot be sent between the ports' addresses.
    pub(super) fn profile(&self, profile: &Profile) -> Result<Addressed, ProfileError> {
        let Some(hop) = self.hop(profile) else {
            return Ok(Addressed { profile: profile.clone(), notes: Vec::new() });
        };
        let mut addressed = profile.between_ports((Some(hop.source), Some(hop.destination)))?;
        addressed.notes.extend(hop.doubts(profile));
        Ok(addressed)
    }

    /// Where the profile's frames go, when not to the peer's port itself.
    pub(super) fn mac(&self, profile: &Profile) -> Option<MacAddr> {
        self.hop(profile).and_then(|hop| hop.next.mac)
    }

    /// The next hops that were found.
    pub(super) fn next_hops(&self) -> impl Iterator<Item = NextHop> {
        self.hops.iter().map(|hop| hop.next)
    }

    /// The ways in words, one for each version of IP.
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
    /// Why frames with the profile's own addresses may not arrive.
    fn doubts(&self, profile: &Profile) -> Option<String> {
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

/// What is missing for profiles without addresses, where both ports have some.
fn missing(
    version: IpVersion,
    (from, here): (&Agent, &PortNetwork),
    (to, there): (&Agent, &PortNetwork),
) -> Option<String> {
    let other = if version == IpVersion::V4 { IpVersion::V6 } else { IpVersion::V4 };
    // Ports that have addresses of neither version have nothing to be sent between.
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
