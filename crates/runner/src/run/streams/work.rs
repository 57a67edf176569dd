//! The agents' work in a trial of streams: who connects to which address. Pure.

use std::net::{IpAddr, SocketAddr};

use linerate_experiment::streams::{Connection, InterfaceName};
use linerate_traffic::profile::IpVersion;
use linerate_wire::streams::{
    Interface, PathSide, PathWork, StreamKey, StreamsEngine, StreamsSpec, StreamsWork,
};

/// Addresses of both ends of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct Route {
    /// Address at which the receiver accepts.
    pub(in crate::run) to: SocketAddr,
    /// Local address of the sender; `None`: the kernel's choice.
    pub(in crate::run) from: Option<IpAddr>,
    /// Interface of the sender; `None`: the kernel's choice.
    pub(in crate::run) interface: Option<String>,
}

impl Route {
    /// The route of a connection between two engines; `names` are their agents. Where the kernel chooses the interface, `known` is the
    /// receiver's address as its platform has it, and `version` the IP version; `None`: that of `known`, or of the first address.
    ///
    /// # Errors
    /// When an interface, or an address on it, is missing: agent, reason and remedy.
    pub(in crate::run) fn find(
        connection: &Connection,
        names: (&str, &str),
        from: &StreamsEngine,
        to: &StreamsEngine,
        version: Option<IpVersion>,
        known: Option<IpAddr>,
    ) -> Result<Self, String> {
        let Some(name) = &connection.interface else {
            return Ok(Self { to: usual_address(names.1, to, version, known)?, from: None, interface: None });
        };
        let here = interface(names.0, from, name)?;
        let there = interface(names.1, to, name)?;
        let pair = first_pair(here, there).ok_or_else(|| {
            format!(
                "{}: the interfaces {} of {} and {} have no addresses of one IP version; give both an address",
                connection.name,
                name.as_str(),
                names.0,
                names.1
            )
        })?;
        let to = listening(to, pair.1).ok_or_else(|| {
            let all = if pair.1.is_ipv4() { "0.0.0.0" } else { "[::]" };
            format!("{} does not accept streams at {}; give it --streams {all}:22023", names.1, pair.1)
        })?;
        Ok(Self { to, from: Some(pair.0), interface: Some(name.as_str().to_owned()) })
    }
}

/// The interface of an agent.
fn interface<'e>(
    agent: &str,
    engine: &'e StreamsEngine,
    name: &InterfaceName,
) -> Result<&'e Interface, String> {
    let found = engine.interfaces.iter().find(|interface| interface.name == name.as_str());
    let found = found.ok_or_else(|| {
        let there: Vec<&str> = engine.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        format!(
            "{agent} has no interface {}; it has {}; change spec.topology.interfaces",
            name.as_str(),
            there.join(", ")
        )
    })?;
    if found.up {
        Ok(found)
    } else {
        Err(format!("{agent}: the interface {} is down; set it up", name.as_str()))
    }
}

/// Addresses of one IP version, IPv4 first. Link-local ones need a scope and are left out.
fn first_pair(here: &Interface, there: &Interface) -> Option<(IpAddr, IpAddr)> {
    let first = |interface: &Interface, ipv6: bool| {
        interface.addresses.iter().copied().find(|one| one.is_ipv6() == ipv6 && !is_link_local(*one))
    };
    [false, true].into_iter().find_map(|ipv6| Some((first(here, ipv6)?, first(there, ipv6)?)))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Where an engine accepts streams that are sent to `address`.
fn listening(engine: &StreamsEngine, address: IpAddr) -> Option<SocketAddr> {
    let exact = engine.listen.iter().find(|listen| listen.ip() == address);
    let any = || {
        engine
            .listen
            .iter()
            .find(|listen| listen.ip().is_unspecified() && (listen.is_ipv6() || address.is_ipv4()))
    };
    exact.or_else(any).map(|listen| SocketAddr::new(address, listen.port()))
}

/// Where an engine accepts streams when no interface is given.
fn usual_address(
    agent: &str,
    engine: &StreamsEngine,
    version: Option<IpVersion>,
    known: Option<IpAddr>,
) -> Result<SocketAddr, String> {
    let first =
        engine.listen.first().ok_or_else(|| format!("{agent} accepts no streams; give it --streams"))?;
    address_of(agent, engine, *first, version, known)
}

/// Where others reach what an engine listens at with `first`: that address, unless it stands for all of them. Of all, it is the one that
/// its platform knows, or another one of the same interface: a pod with several networks has others, too, and any of them may be the first.
/// Without a `known` one it is the first of the host. IPv4 comes before IPv6, unless a `version` is given.
pub(in crate::run) fn address_of(
    agent: &str,
    engine: &StreamsEngine,
    first: SocketAddr,
    version: Option<IpVersion>,
    known: Option<IpAddr>,
) -> Result<SocketAddr, String> {
    if !first.ip().is_unspecified() {
        return Ok(first);
    }
    let is_wanted = |one: IpAddr| version.is_none_or(|version| IpVersion::of(one) == version);
    let is_usable = |one: IpAddr| !is_link_local(one) && (one.is_ipv4() || first.is_ipv6()) && is_wanted(one);
    if let Some(known) = known.filter(|known| is_usable(*known)) {
        return Ok(SocketAddr::new(known, first.port()));
    }
    let up = engine.interfaces.iter().filter(|interface| interface.up);
    let asked = up.filter(|one| known.is_none_or(|known| one.addresses.contains(&known)));
    let usable: Vec<IpAddr> =
        asked.flat_map(|one| &one.addresses).copied().filter(|one| is_usable(*one)).collect();
    let outside = || usable.iter().filter(|one| !one.is_loopback());
    // The loopback address of another host or pod leads to oneself.
    let inside = || usable.iter().find(|_| known.is_none());
    let address = outside().find(|one| one.is_ipv4()).or_else(|| outside().next()).or_else(inside);
    let address = address.ok_or_else(|| match (version, known) {
        (Some(IpVersion::V6), _) if first.is_ipv4() => {
            format!("{agent} listens at IPv4 addresses alone; start it with [::]:{} in place of {first}", first.port())
        }
        (Some(IpVersion::V6), None) => {
            format!("{agent} has no IPv6 address but link-local ones; give its interface one")
        }
        (Some(IpVersion::V4), None) => format!("{agent} has no IPv4 address; give its interface one"),
        (None, None) => format!("{agent} has no address; set an interface up"),
        (version, Some(known)) if version.is_some_and(|version| IpVersion::of(known) != version) => {
            let version = if known.is_ipv4() { "IPv6" } else { "IPv4" };
            format!("{agent} is at {known} and has no {version} address that others reach beside it; give its interface one")
        }
        (_, Some(known)) => {
            let port = first.port();
            format!("{agent} is at {known} and listens at IPv4 addresses alone, of which that interface has none; start it with [::]:{port} in place of {first}")
        }
    })?;
    Ok(SocketAddr::new(*address, first.port()))
}

/// What all work of a trial has in common.
#[derive(Debug, Clone)]
pub(super) struct TrialWork<'a> {
    pub(super) key: StreamKey,
    pub(super) tag: u16,
    pub(super) spec: &'a StreamsSpec,
    pub(super) connections: &'a [Connection],
    pub(super) routes: &'a [Route],
}

impl TrialWork<'_> {
    /// The work of the agent at this place; `ahead_ns` tells how far the clock of another agent is ahead of its
    /// clock. Paths are in the order of the connections.
    pub(super) fn of(&self, agent: usize, ahead_ns: impl Fn(usize) -> i64) -> StreamsWork {
        let path = |(connection, route): (&Connection, &Route)| {
            let sends = connection.from == agent;
            let side = match sends {
                true => {
                    PathSide::Connect { to: route.to, from: route.from, interface: route.interface.clone() }
                }
                false => {
                    PathSide::Accept { at: route.to, from: route.from, interface: route.interface.clone() }
                }
            };
            let peer = if sends { connection.to } else { connection.from };
            PathWork {
                path: connection.number,
                side,
                sends,
                streams: self.spec.clone(),
                peer_ahead_ns: ahead_ns(peer),
            }
        };
        let own = self.connections.iter().zip(self.routes);
        let own = own.filter(|(connection, _)| connection.from == agent || connection.to == agent);
        StreamsWork { key: self.key, tag: self.tag, paths: own.map(path).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(listen: &str, interfaces: &[(&str, &[&str])]) -> StreamsEngine {
        let interface = |(name, addresses): &(&str, &[&str])| Interface {
            name: (*name).to_owned(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            mtu: Some(1500),
            up: true,
            speed_mbps: None,
        };
        StreamsEngine {
            listen: vec![listen.parse().unwrap()],
            workers: 1,
            cpus: vec![0],
            congestion: None,
            interfaces: interfaces.iter().map(interface).collect(),
            descriptors: None,
            http: None,
        }
    }

    fn connection(interface: Option<&str>) -> Connection {
        let interface = interface.map(|name| InterfaceName::try_from(name.to_owned()).unwrap());
        Connection { number: 4, name: "a0-a1".into(), from: 0, to: 1, interface }
    }

    #[test]
    fn a_route_uses_the_addresses_of_the_interface() {
        let from = engine("0.0.0.0:9", &[("lo", &["127.0.0.1"]), ("net1", &["fe80::1", "10.0.1.1"])]);
        let to = engine("0.0.0.0:7", &[("net1", &["10.0.1.2", "fd00::2"])]);
        let route = |interface| Route::find(&connection(interface), ("a0", "a1"), &from, &to, None, None);
        let found = route(Some("net1")).unwrap();
        assert_eq!(found.to, "10.0.1.2:7".parse().unwrap());
        assert_eq!(
            (found.from, found.interface.as_deref()),
            (Some("10.0.1.1".parse().unwrap()), Some("net1"))
        );
        assert_eq!(
            route(None).unwrap(),
            Route { to: "10.0.1.2:7".parse().unwrap(), from: None, interface: None }
        );
        let missing = route(Some("net9")).unwrap_err();
        assert!(missing.contains("a0 has no interface net9; it has lo, net1"), "{missing}");
        let elsewhere = engine("10.9.9.9:7", &[("net1", &["10.0.1.2"])]);
        let refused =
            Route::find(&connection(Some("net1")), ("a0", "a1"), &from, &elsewhere, None, None).unwrap_err();
        assert!(refused.contains("a1 does not accept streams at 10.0.1.2"), "{refused}");
    }

    #[test]
    fn the_ip_version_of_a_host_with_both_is_that_of_the_traffic() {
        let both: &[&str] = &["10.0.1.2", "fe80::2", "fd00::2"];
        let to = engine("[::]:7", &[("lo", &["127.0.0.1", "::1"]), ("eth0", both)]);
        let way = |version| usual_address("a1", &to, version, None).map(|found| found.to_string());
        assert_eq!(way(None).unwrap(), "10.0.1.2:7");
        assert_eq!(way(Some(IpVersion::V6)).unwrap(), "[fd00::2]:7");
        assert_eq!(way(Some(IpVersion::V4)).unwrap(), "10.0.1.2:7");
        let to = engine("[::]:7", &[("br0", &["fd00::9"]), ("eth0", both)]);
        assert_eq!(usual_address("a1", &to, None, None).unwrap().to_string(), "10.0.1.2:7");
        let to = engine("[::]:7", &[("lo", &["127.0.0.1"]), ("eth0", &["fe80::2", "fd00::2"])]);
        assert_eq!(usual_address("a1", &to, None, None).unwrap().to_string(), "[fd00::2]:7");
        let to = engine("[::]:7", &[("eth0", &["10.0.1.2", "fe80::2"])]);
        let missing = usual_address("a1", &to, Some(IpVersion::V6), None).unwrap_err();
        assert!(missing.starts_with("a1 has no IPv6 address but link-local ones"), "{missing}");
    }

    /// `data0` comes first by its name, and is another network; so is a bridge in the network of a node.
    #[test]
    fn an_agent_is_reached_at_the_address_that_its_platform_has_for_it() {
        let net = |eth0: &'static [&'static str]| {
            [("data0", &["198.18.0.2", "fd01::2"] as &[&str]), ("eth0", eth0), ("lo", &["127.0.0.1", "::1"])]
        };
        let both = net(&["10.0.1.2", "fe80::2", "fd00::2"]);
        let (ipv4, ipv6) = (net(&["10.0.1.2"]), net(&["fe80::2", "fd00::2"]));
        let (v4, v6) = (Some(IpVersion::V4), Some(IpVersion::V6));
        for (listen, interfaces, known, version, expected) in [
            ("[::]:7", &both, "10.0.1.2", None, "10.0.1.2:7"),
            ("0.0.0.0:7", &both, "10.0.1.2", None, "10.0.1.2:7"),
            // A network that the agent does not see as an interface's, such as that of a translated address.
            ("[::]:7", &both, "192.0.2.9", None, "192.0.2.9:7"),
            ("[::]:7", &both, "fd00::2", None, "[fd00::2]:7"),
            ("[::]:7", &both, "10.0.1.2", v6, "[fd00::2]:7"),
            ("[::]:7", &both, "fd00::2", v4, "10.0.1.2:7"),
            ("[::]:7", &ipv6, "fd00::2", None, "[fd00::2]:7"),
            // Pods of an earlier version listen on IPv4 alone.
            ("0.0.0.0:7", &both, "fd00::2", None, "10.0.1.2:7"),
            ("10.0.1.2:7", &both, "192.0.2.9", None, "10.0.1.2:7"),
            ("0.0.0.0:7", &ipv6, "fd00::2", None, "a1 is at fd00::2 and listens at IPv4 addresses alone"),
            ("[::]:7", &ipv4, "10.0.1.2", v6, "a1 is at 10.0.1.2 and has no IPv6 address"),
            ("0.0.0.0:7", &both, "10.0.1.2", v6, "a1 listens at IPv4 addresses alone; start it with [::]:7"),
            ("0.0.0.0:7", &ipv6, "fd00::2", v6, "a1 listens at IPv4 addresses alone; start it with [::]:7"),
        ] {
            let known = Some(known.parse().unwrap());
            let found = usual_address("a1", &engine(listen, interfaces), version, known);
            let found = found.map_or_else(|error| error, |found| found.to_string());
            assert!(found.starts_with(expected), "{listen} {known:?} {version:?}: {found}");
            let found = Route::find(
                &connection(Some("data0")),
                ("a0", "a1"),
                &engine("[::]:9", &both),
                &engine("[::]:7", interfaces),
                None,
                known,
            );
            assert_eq!(found.unwrap().to.to_string(), "198.18.0.2:7", "an interface that is given is taken");
        }
    }

    #[test]
    fn senders_connect_and_receivers_accept() {
        let ends = [engine("127.0.0.1:5", &[]), engine("127.0.0.1:6", &[])];
        let connections = [
            Connection { number: 0, ..connection(None) },
            Connection { number: 1, from: 1, to: 0, ..connection(None) },
        ];
        let routes: Vec<Route> = connections
            .iter()
            .map(|one| Route::find(one, ("x", "y"), &ends[one.from], &ends[one.to], None, None).unwrap())
            .collect();
        let spec: StreamsSpec = serde_json::from_str(
            r#"{"protocol":"tcp","streams":1,"load":"max","duration_ms":1,"bytes":null,"block_bytes":9}"#,
        )
        .unwrap();
        let key = "00112233445566778899aabbccddeeff".parse().unwrap();
        let work = TrialWork { key, tag: 3, spec: &spec, connections: &connections, routes: &routes };
        let paths = work.of(1, |other| other as i64 + 7).paths;
        let at = "127.0.0.1:6".parse().unwrap();
        assert_eq!(paths[0].side, PathSide::Accept { at, from: None, interface: None });
        assert_eq!((paths[0].sends, paths[0].peer_ahead_ns, paths[1].path), (false, 7, 1));
        let to = "127.0.0.1:5".parse().unwrap();
        assert_eq!(paths[1].side, PathSide::Connect { to, from: None, interface: None });
        assert!(work.of(2, |_| 0).paths.is_empty());
    }
}
