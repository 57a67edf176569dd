//! Whether the kernel sends the packets of paths through the interface that the topology says.
//!
//! The end that connects binds its sockets to the interface, so its packets leave through it; without an entry in its tables,
//! the kernel then takes any destination to be on the link, and nobody answers. The answers of the end that accepts follow the
//! tables alone: policy rules and default routes may send them elsewhere.

use std::net::IpAddr;

use linerate_wire::streams::{PathSide, PathWork};

use crate::routing::{Packets, Routing};

/// Refuses paths whose packets would leave through another interface. Paths without an interface, and kernels that do not tell,
/// are not refused.
///
/// # Errors
/// The first path, the interface that it should use, the kernel's, and the remedy.
pub(super) fn check(paths: &[PathWork]) -> Result<(), String> {
    let mut asked = paths.iter().filter_map(|path| Some((path.path, Asked::of(&path.side)?))).peekable();
    if asked.peek().is_none() {
        return Ok(());
    }
    let routing = match Routing::open() {
        Ok(routing) => routing,
        Err(error) => {
            tracing::debug!(%error, "the kernel's routes are not known");
            return Ok(());
        }
    };
    let mut wrong = asked.filter_map(|(path, asked)| Some((path, asked.problem(&routing)?)));
    match wrong.next() {
        None => Ok(()),
        Some((path, problem)) => {
            let more = match wrong.count() {
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

    /// What is wrong, and the remedy; `None` also when the kernel does not tell.
    fn problem(&self, routing: &Routing) -> Option<String> {
        let Self { interface, to, from, is_bound } = *self;
        let free = Packets { to, from, through: None };
        let taken = || routing.route(&free).ok().and_then(|route| route.interface);
        let source = from.map_or_else(String::new, |from| format!(" from {from}"));
        if is_bound {
            let bound = Packets { through: Some(interface), ..free };
            if routing.has_entry(&bound).ok()? {
                return None;
            }
            let other = taken().map_or_else(
                || "it has no other either".to_owned(),
                |other| format!("it would take {other}"),
            );
            return Some(format!(
                "the topology says {interface}, and the kernel has no route to {to}{source} through it; {other}\n  remedy: ip route add \
                 {to} dev {interface} (or `via` its router), or leave this interface out of spec.topology for these agents"
            ));
        }
        let other = taken().filter(|other| other != interface)?;
        Some(format!(
            "the topology says {interface}, and the kernel sends what answers {to}{source} through {other}\n  remedy: see `ip rule` and `ip \
             route get {to}{source}`; a table for this address keeps its packets on its interface: ip route add {to} dev {interface} table \
             100; ip rule add{source} lookup 100"
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
    fn what_a_policy_rule_diverts_and_what_no_route_leads_to_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!(
                "NOT RUN what_a_policy_rule_diverts_and_what_no_route_leads_to_is_refused: only root may make network namespaces"
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
                assert!(ip(&format!("link set net{number} up")) && ip(&format!("link set far{number} up")));
            }
            let first = sides("net0", "10.64.0.1", "10.64.0.2");
            let second = sides("net1", "10.65.0.1", "10.65.0.2");
            assert_eq!(check(&[first.clone(), second.clone()].concat()), Ok(()));
            assert!(ip("route add default dev net0 table 100") && ip("rule add from 10.65.0.1 lookup 100"));
            assert_eq!(check(&first), Ok(()));
            // Bound sockets are diverted less easily: table 100 has nothing for net1, and the next one is asked.
            assert_eq!(check(&second[..1]), Ok(()));
            let problem = check(&second).unwrap_err();
            assert!(problem.starts_with("path 5: the topology says net1"), "{problem}");
            assert!(problem.contains("answers 10.65.0.2 from 10.65.0.1 through net0"), "{problem}");
            assert!(ip("rule del from 10.65.0.1 lookup 100") && ip("route del 10.65.0.0/16 dev net1"));
            assert!(ip("route add default dev net0"));
            let problem = check(&second).unwrap_err();
            assert!(problem.starts_with("path 4: the topology says net1"), "{problem}");
            assert!(problem.contains("no route to 10.65.0.2 from 10.65.0.1 through it"), "{problem}");
            assert!(
                problem.contains("it would take net0") && problem.contains("likewise 1 more"),
                "{problem}"
            );
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
        assert_eq!(check(&free), Ok(()));
    }
}
