//! Whether the kernel sends the packets of paths through the interface that the topology says.
//!
//! The end that connects binds its sockets to the interface, so its packets leave through it; without an entry in its tables,
//! the kernel then takes any destination to be on the link, and seldom anybody answers: that is refused. The answers of the end
//! that accepts follow rules and tables, whose rules on protocols, ports, marks and virtual routers are not known here, and they may
//! arrive through another interface, too: that is noted.

use std::net::IpAddr;

use linerate_wire::streams::{PathSide, PathWork};

use crate::routing::{Packets, Routing};

/// Refuses paths whose packets would find no route through the interface of this end, which connects. Returns remarks on paths, by
/// their numbers, whose answers would leave through another interface than that of this end, which accepts. Of paths without an
/// interface, and of kernels that do not tell, nothing is said.
///
/// # Errors
/// The first path, the interface that it should use, the kernel's, and the remedy.
pub(super) fn check(paths: &[PathWork]) -> Result<Vec<(u32, String)>, String> {
    let asked: Vec<(u32, Asked<'_>)> =
        paths.iter().filter_map(|path| Some((path.path, Asked::of(&path.side)?))).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let mut routing = match Routing::open() {
        Ok(routing) => routing,
        Err(error) => {
            tracing::debug!(%error, "the kernel's routes are not known");
            return Ok(Vec::new());
        }
    };
    let (mut refused, mut notes) = (Vec::new(), Vec::new());
    for (path, asked) in &asked {
        match asked.is_bound {
            true => refused.extend(asked.missing(&mut routing).map(|problem| (*path, problem))),
            false => notes.extend(asked.diverted(&mut routing).map(|note| (*path, note))),
        }
    }
    match refused.split_first() {
        None => Ok(notes),
        Some(((path, problem), more)) => {
            let more = match more.len() {
                0 => String::new(),
                more => format!("\n  likewise {more} more of this agent's paths"),
            };
            Err(format!("path {path}: {problem}{more}"))
        }
    }
}

/// What a path asks of the kernel's tables.
struct Asked<'a> {
    interface: &'a str,
    to: IpAddr,
    from: Option<IpAddr>,
    /// True for sockets that are bound to the interface.
    is_bound: bool,
}

impl<'a> Asked<'a> {
    fn of(side: &'a PathSide) -> Option<Self> {
        match side {
            PathSide::Connect { to, from, interface } => {
                let interface = interface.as_deref()?;
                Some(Self { interface, to: to.ip(), from: *from, is_bound: true })
            }
            PathSide::Accept { at, from, interface } => {
                let interface = interface.as_deref()?;
                Some(Self { interface, to: (*from)?, from: Some(at.ip()), is_bound: false })
            }
        }
    }

    /// The interface that the kernel takes for packets of sockets that are not bound; `None` when it does not tell.
    fn taken(&self, routing: &mut Routing) -> Option<String> {
        let free = Packets { to: self.to, from: self.from, through: None };
        routing.route(&free).ok()?.interface
    }

    /// ` from ADDRESS`, where the source is known.
    fn source(&self) -> String {
        self.from.map_or_else(String::new, |from| format!(" from {from}"))
    }

    /// That no route leads through the interface, and the remedy; `None` also when the kernel does not tell.
    fn missing(&self, routing: &mut Routing) -> Option<String> {
        let Self { interface, to, from, .. } = *self;
        if routing.has_entry(&Packets { to, from, through: Some(interface) }).ok()? {
            return None;
        }
        let other = self.taken(routing);
        let other = other
            .map_or_else(|| "it has no other either".to_owned(), |other| format!("it would take {other}"));
        let source = self.source();
        Some(format!(
            "the topology says {interface}, and the kernel has no route to {to}{source} through it; {other}\n  remedy: ip route add {to} \
             dev {interface} (or `via` its router), or leave this interface out of spec.topology for these agents"
        ))
    }

    /// That answers leave through another interface; `None` also when the kernel does not tell.
    fn diverted(&self, routing: &mut Routing) -> Option<String> {
        let Self { interface, to, .. } = *self;
        let other = self.taken(routing).filter(|other| other != interface)?;
        let source = self.source();
        Some(format!(
            "the topology says {interface}, and by the kernel's tables what answers {to}{source} leaves through {other}: see `ip rule` and \
             `ip route get {to}{source}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::process::Command;

    use linerate_wire::streams::StreamsSpec;
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    use super::*;

    fn path(number: u32, side: PathSide) -> PathWork {
        let spec =
            r#"{"protocol":"tcp","streams":1,"load":"max","duration_ms":1,"bytes":null,"block_bytes":9}"#;
        let streams: StreamsSpec = serde_json::from_str(spec).unwrap();
        PathWork { path: number, side, sends: true, streams, peer_ahead_ns: 0 }
    }

    fn sides(interface: &str, own: &str, other: &str) -> [PathWork; 2] {
        let (own, other): (IpAddr, IpAddr) = (own.parse().unwrap(), other.parse().unwrap());
        let interface = || Some(interface.to_owned());
        [
            path(4, PathSide::Connect { to: (other, 9).into(), from: Some(own), interface: interface() }),
            path(5, PathSide::Accept { at: (own, 9).into(), from: Some(other), interface: interface() }),
        ]
    }

    fn ip(arguments: &str) -> bool {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        status.is_ok_and(|status| status.success())
    }

    /// A namespace that is removed in any case.
    struct Namespace(String);

    impl Drop for Namespace {
        fn drop(&mut self) {
            ip(&format!("netns del {}", self.0));
        }
    }

    #[test]
    fn what_no_route_leads_to_is_refused_and_what_a_policy_rule_diverts_is_noted() {
        if !rustix::process::geteuid().is_root() {
            eprintln!(
                "NOT RUN what_no_route_leads_to_is_refused_and_what_a_policy_rule_diverts_is_noted: only root may make network namespaces"
            );
            return;
        }
        let namespace = Namespace(format!("lr-routes-{}", std::process::id()));
        assert!(ip(&format!("netns add {}", namespace.0)));
        // A thread of its own, which alone enters the namespace; its children are there, too.
        let place = format!("/run/netns/{}", namespace.0);
        let tried = std::thread::spawn(move || {
            let file = File::open(place).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            for number in 0..2 {
                assert!(ip(&format!("link add net{number} type veth peer name far{number}")));
                assert!(ip(&format!("addr add 10.{}.0.1/16 dev net{number}", 64 + number)));
                assert!(ip(&format!("-6 addr add fd00:{number}::1/64 dev net{number} nodad")));
                assert!(ip(&format!("link set net{number} up")) && ip(&format!("link set far{number} up")));
            }
            let first = sides("net0", "10.64.0.1", "10.64.0.2");
            let second = sides("net1", "10.65.0.1", "10.65.0.2");
            let [first_6, second_6] = [0, 1]
                .map(|net| sides(&format!("net{net}"), &format!("fd00:{net}::1"), &format!("fd00:{net}::2")));
            let all = [first.clone(), second.clone(), first_6, second_6.clone()].concat();
            assert_eq!(check(&all), Ok(Vec::new()));
            assert!(ip("route add default dev net0 table 100") && ip("rule add from 10.65.0.1 lookup 100"));
            assert_eq!(check(&first), Ok(Vec::new()));
            // Bound sockets are diverted less easily: table 100 has nothing for net1, and the next one is asked.
            let notes = check(&second).unwrap();
            let [(5, note)] = &notes[..] else { panic!("{notes:?}") };
            assert!(note.starts_with("the topology says net1"), "{note}");
            assert!(note.contains("answers 10.65.0.2 from 10.65.0.1 leaves through net0"), "{note}");
            assert!(ip("rule del from 10.65.0.1 lookup 100") && ip("route del 10.65.0.0/16 dev net1"));
            assert!(ip("route add default dev net0"));
            let problem = check(&second).unwrap_err();
            assert!(problem.starts_with("path 4: the topology says net1"), "{problem}");
            assert!(problem.contains("no route to 10.65.0.2 from 10.65.0.1 through it"), "{problem}");
            assert!(problem.contains("it would take net0") && !problem.contains("likewise"), "{problem}");
            assert!(check(&[second[0].clone(), second[0].clone()]).unwrap_err().contains("likewise 1 more"));
            // IPv6: the kernel is asked with a source, and must not answer with an entry of another interface.
            assert!(ip("-6 route add default dev net0") && ip("-6 route del fd00:1::/64 dev net1"));
            let problem = check(&second_6).unwrap_err();
            assert!(problem.contains("no route to fd00:1::2 from fd00:1::1 through it"), "{problem}");
            assert!(problem.contains("it would take net0"), "{problem}");
            // Behind the default route of another interface, one of its own is found; so is one for its address alone.
            assert!(ip("-6 route add default dev net1 metric 9999"));
            assert_eq!(check(&second_6[..1]), Ok(Vec::new()));
            assert!(ip("-6 route del default dev net1") && ip("-6 route add default dev net1 table 100"));
            assert!(check(&second_6).is_err());
            assert!(ip("-6 rule add from fd00:1::1 lookup 100"));
            assert_eq!(check(&second_6), Ok(Vec::new()));
        });
        tried.join().unwrap();
    }

    #[test]
    fn paths_without_an_interface_are_where_the_kernel_likes() {
        let to = "192.0.2.1:9".parse().unwrap();
        let free = [
            path(0, PathSide::Connect { to, from: None, interface: None }),
            path(1, PathSide::Accept { at: to, from: None, interface: None }),
        ];
        assert_eq!(check(&free), Ok(Vec::new()));
    }
}
