//! Check: the link is up, with its speed and full duplex.

use super::{INTERFACES, chosen};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Reason, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "network.link",
    title: "Interface",
    why: "A trial over the Linux stack cannot be faster than the link. Half duplex and a small MTU cost more \
          than any tuning wins back.",
};

/// A result for each interface.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let required = !scene.wanted.interfaces.is_empty();
    let names = match chosen(scene) {
        Ok(names) => names,
        Err(error) => return vec![TOPIC.judge(required, Err(error))],
    };
    let one = |name: String| TOPIC.judge(required, judge(scene.root, &name, required)).about(name);
    names.into_iter().map(one).collect()
}

/// The kernel's report; `None` for missing values, such as the speed of a virtual interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Link {
    state: Option<String>,
    speed: Option<u64>,
    duplex: Option<String>,
    mtu: Option<u64>,
}

fn judge(root: &Root, name: &str, required: bool) -> Outcome {
    let dir = format!("{INTERFACES}/{name}");
    if !root.contains(INTERFACES, name)? {
        return Ok((absent(required), vec![Evidence::new(root, &dir, "not there")]));
    }
    let mut evidence = Vec::new();
    let mut file = |file: &str| {
        let path = format!("{dir}/{file}");
        match root.read_if_there(&path) {
            Ok(text) => {
                let text = text.map(|text| text.trim().chars().take(40).collect::<String>());
                evidence.push(Evidence::new(root, &path, text.as_deref().unwrap_or("not there")));
                Ok(text)
            }
            // The kernel reports no speed for an interface that is down or has none.
            Err(error @ ReadError { reason: Reason::Io(_), .. }) => {
                evidence.push(Evidence::from(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    let link = Link {
        state: file("operstate")?,
        speed: file("speed")?.and_then(|speed| speed.parse().ok()),
        duplex: file("duplex")?,
        mtu: file("mtu")?.and_then(|mtu| mtu.parse().ok()),
    };
    Ok((decide(name, &link, required), evidence))
}

fn absent(required: bool) -> Verdict {
    Verdict::fault(required, "no interface has this name here", Remedy::type_in(["ip -br link"]))
}

fn decide(name: &str, link: &Link, required: bool) -> Verdict {
    let state = link.state.as_deref().unwrap_or("unknown");
    let speed = link.speed.map_or("speed unknown".to_owned(), |speed| format!("{speed} Mb/s"));
    let duplex = link.duplex.as_deref().filter(|duplex| *duplex != "unknown");
    let duplex = duplex.map(|duplex| format!(" {duplex} duplex")).unwrap_or_default();
    let mtu = link.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
    let summary = format!("{state}, {speed}{duplex}{mtu}");
    // Tunnels and the loopback have no carrier, and report "unknown".
    if !matches!(state, "up" | "unknown") {
        let up = Remedy::type_in([format!("ip link set {name} up"), format!("ip -br link show {name}")]);
        return Verdict::fault(
            required,
            summary,
            up.note("When it stays down: cable, switch port, the other end."),
        );
    }
    if link.duplex.as_deref() == Some("half") {
        return Verdict::warn(
            summary,
            Remedy::type_in([format!("ethtool -s {name} autoneg on")])
                .note("Half duplex mostly means that only one end negotiates: set both the same."),
        );
    }
    Verdict::pass(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn only_a_required_interface_fails() {
        let link = |state: &str, duplex: &str| Link {
            state: Some(state.to_owned()),
            speed: Some(1000),
            duplex: Some(duplex.to_owned()),
            mtu: Some(1500),
        };
        for (link, required, status, summary) in [
            (link("up", "full"), true, Status::Pass, "up, 1000 Mb/s full duplex, MTU 1500"),
            (link("up", "half"), true, Status::Warn, "up, 1000 Mb/s half duplex, MTU 1500"),
            (link("down", "unknown"), true, Status::Fail, "down, 1000 Mb/s, MTU 1500"),
            (link("down", "full"), false, Status::Warn, "down, 1000 Mb/s full duplex, MTU 1500"),
            (Link::default(), true, Status::Pass, "unknown, speed unknown"),
        ] {
            let verdict = decide("eth0", &link, required);
            assert_eq!((verdict.status, verdict.summary.as_str()), (status, summary));
        }
    }
}
