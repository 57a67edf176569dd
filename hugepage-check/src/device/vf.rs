//! Check: the physical function of a required virtual function is up, and its settings for the VF.

use linerate_hardware::PciAddress;

use super::function::{Interface, read_interface};
use super::{DEVICES, interfaces};
use crate::check::{Check, Evidence, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};
use crate::scene::Scene;

/// `IFF_UP` of `linux/if.h`.
const IFF_UP: u64 = 1;

const TOPIC: Topic = Topic {
    id: "device.vf",
    title: "VF and its PF",
    why: "While the PF's interface is down its VFs show a link and a random MAC address, but pass no packet. \
          The PF also decides which source addresses a VF may send from.",
};

/// A result for each required device that is a VF with a visible PF.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let judge = |facts: &super::DeviceFacts| {
        let address = facts.address();
        let outcome = judge(scene.root, address).transpose();
        outcome.map(|outcome| TOPIC.judge(true, outcome).about(address.to_string()))
    };
    scene.devices.iter().filter_map(judge).collect()
}

/// Facts about a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    pf: String,
    /// Number of the VF at its PF.
    number: Option<u32>,
    /// The PF's interfaces and whether each is administratively up.
    interfaces: Vec<(Interface, bool)>,
    /// Settings from sysfs, such as `spoofcheck OFF`.
    settings: Vec<String>,
}

fn judge(root: &Root, address: &PciAddress) -> Result<Option<(Verdict, Vec<Evidence>)>, ReadError> {
    let dir = format!("{DEVICES}/{address}");
    let Some(pf) = root.link_name(&format!("{dir}/physfn"))? else { return Ok(None) };
    let pf_dir = format!("{DEVICES}/{pf}");
    let mut evidence = vec![Evidence::new(root, &format!("{dir}/physfn"), format!("→ {pf}"))];
    let number = number(root, &pf_dir, &address.to_string());
    let mut known = Vec::new();
    for name in interfaces(root, &pf_dir) {
        let path = format!("{pf_dir}/net/{name}/flags");
        let flags = root.read(&path)?;
        let bits = flags.trim().strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let bits = bits.ok_or_else(|| root.malformed(&path, "expected a hexadecimal number"))?;
        evidence.push(Evidence::new(root, &path, flags.trim()));
        known.push((read_interface(root, name), bits & IFF_UP != 0));
    }
    let settings =
        number.map(|number| settings(root, &format!("{pf_dir}/sriov/{number}"))).unwrap_or_default();
    for (path, setting) in &settings {
        evidence.push(Evidence::new(root, path, setting.clone()));
    }
    let settings = settings.into_iter().map(|(_, setting)| setting).collect();
    let facts = Facts { pf, number, interfaces: known, settings };
    Ok(Some((decide(&facts), evidence)))
}

/// The number N of the PF's link `virtfnN` to this VF.
fn number(root: &Root, pf_dir: &str, address: &str) -> Option<u32> {
    let names = root.names(pf_dir).ok()?;
    let links = names.iter().filter_map(|name| Some((name, name.strip_prefix("virtfn")?.parse().ok()?)));
    let is_ours = |name: &str| {
        root.link_name(&format!("{pf_dir}/{name}")).ok().flatten().is_some_and(|target| target == address)
    };
    links.into_iter().find(|(name, _)| is_ours(name)).map(|(_, number)| number)
}

/// Mellanox drivers expose a VF's settings as files; other drivers only over netlink.
fn settings(root: &Root, dir: &str) -> Vec<(String, String)> {
    let setting = |name: &str| {
        let path = format!("{dir}/{name}");
        let text = root.read(&path).ok()?;
        let line = text.lines().next().unwrap_or_default().trim();
        Some((path, format!("{name} {}", line.chars().take(40).collect::<String>())))
    };
    ["mac", "spoofcheck", "trust"].into_iter().filter_map(setting).collect()
}

fn decide(facts: &Facts) -> Verdict {
    let Facts { pf, number, interfaces, settings } = facts;
    let what = match number {
        Some(number) => format!("VF {number} of {pf}"),
        None => format!("VF of {pf}"),
    };
    if interfaces.is_empty() {
        return Verdict::pass(format!("{what}, which has no interface here"));
    }
    let names: Vec<_> = interfaces.iter().map(|(interface, _)| interface.name.as_str()).collect();
    let what = format!("{what} ({})", names.join(", "));
    if interfaces.iter().all(|(_, is_up)| !is_up) {
        let commands: Vec<_> = names.iter().map(|name| format!("ip link set {name} up")).collect();
        return Verdict::fail(
            format!("{what}, which is switched off: no packet will pass"),
            Remedy::type_in(commands),
        );
    }
    let has_link = interfaces.iter().any(|(interface, _)| interface.state.as_deref() == Some("up"));
    if !has_link {
        return Verdict::warn(
            format!("{what}, which has no link: packets reach at most other VFs of it"),
            Remedy::type_in([format!("ethtool {}", names[0])]).note("Is the cable in, and the other end up?"),
        );
    }
    let settings = match settings.as_slice() {
        [] => format!("spoof check and trust are not in sysfs: ip -d link show {}", names[0]),
        settings => settings.join(", "),
    };
    Verdict::pass(format!("{what}, which is up; {settings}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn a_pf_that_is_off_takes_its_vfs_along() {
        let interface = |state: &str, is_up| {
            let state = Some(state.to_owned());
            vec![(Interface { name: "ens1f0".to_owned(), mac: None, state, speed: None }, is_up)]
        };
        for (interfaces, status, words) in [
            (vec![], Status::Pass, "no interface here"),
            (interface("down", false), Status::Fail, "switched off"),
            (interface("down", true), Status::Warn, "no link"),
            (interface("up", true), Status::Pass, "ip -d link show ens1f0"),
        ] {
            let facts =
                Facts { pf: "0000:03:00.0".to_owned(), number: Some(1), interfaces, settings: Vec::new() };
            let verdict = decide(&facts);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
