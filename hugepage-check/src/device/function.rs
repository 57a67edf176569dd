//! Every network function on the PCI bus: its kind, driver and location.
//!
//! Source: `/sys/bus/pci/devices/<address>` (kernel `Documentation/ABI/testing/sysfs-bus-pci`) and
//! `/sys/class/net/<interface>` (`sysfs-class-net`).

use linerate_hardware::PciAddress;

use super::{DEVICES, interfaces};
use crate::check::{Check, Evidence, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};

/// Class of network controllers in the PCI code table; its subclasses include Ethernet and InfiniBand.
const NETWORK_CLASS: &str = "0x02";

const TOPIC: Topic = Topic {
    id: "device.function",
    title: "Network device",
    why: "DPDK takes whole PCI functions; this one has these properties, whoever has it now.",
};

/// A PCI function of the network class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// PCI address.
    pub address: PciAddress,
    /// Driver bound to it.
    pub driver: Option<String>,
    /// Its kernel interfaces.
    pub interfaces: Vec<Interface>,
    /// Its SR-IOV kind.
    pub kind: Kind,
    /// Its NUMA node; `None` when the firmware reports none.
    pub node: Option<u32>,
}

/// SR-IOV kind of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Without SR-IOV; includes a VF passed through to a virtual machine.
    Plain,
    /// A physical function that supports virtual functions.
    Physical {
        /// Number of virtual functions.
        enabled: u64,
        /// Largest number of virtual functions.
        possible: u64,
    },
    /// A virtual function.
    Virtual {
        /// Address of its physical function.
        of: String,
    },
}

/// A kernel network interface, with the properties that concern the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: Option<String>,
    /// `up`, `down` and the like.
    pub state: Option<String>,
    /// Speed in Mb/s, if the link reports one.
    pub speed: Option<u64>,
}

/// All network functions, by address.
///
/// # Errors
/// When the bus cannot be listed; an unreadable function is a separate error in the list.
pub fn read_all(root: &Root) -> Result<Vec<Result<Function, ReadError>>, ReadError> {
    let mut found = Vec::new();
    for name in root.names(DEVICES)? {
        // Hyper-V and others add other entries here; a name that is not an address cannot be required
        // either.
        let Ok(address) = name.parse::<PciAddress>() else { continue };
        match root.read(&format!("{DEVICES}/{name}/class")) {
            Ok(class) if class.starts_with(NETWORK_CLASS) => found.push(read(root, address)),
            Ok(_) => {}
            Err(error) => found.push(Err(error)),
        }
    }
    Ok(found)
}

fn read(root: &Root, address: PciAddress) -> Result<Function, ReadError> {
    let dir = format!("{DEVICES}/{address}");
    let kind = match (root.link_name(&format!("{dir}/physfn"))?, root.contains(&dir, "sriov_totalvfs")?) {
        (Some(of), _) => Kind::Virtual { of },
        (None, true) => Kind::Physical {
            enabled: root.read_number(&format!("{dir}/sriov_numvfs"))?,
            possible: root.read_number(&format!("{dir}/sriov_totalvfs"))?,
        },
        (None, false) => Kind::Plain,
    };
    Ok(Function {
        address,
        driver: root.link_name(&format!("{dir}/driver"))?,
        interfaces: interfaces(root, &dir).into_iter().map(|name| read_interface(root, name)).collect(),
        kind,
        node: root.read_if_there(&format!("{dir}/numa_node"))?.and_then(|node| node.trim().parse().ok()),
    })
}

/// Properties that are absent, or unreadable because the link is down, are left out.
pub(super) fn read_interface(root: &Root, name: String) -> Interface {
    let text = |file: &str| {
        let text = root.read(&format!("/sys/class/net/{name}/{file}")).ok()?;
        Some(text.trim().chars().take(40).collect::<String>())
    };
    let (mac, state, speed) = (text("address"), text("operstate"), text("speed"));
    // A device without a fixed speed, such as a virtual one, reports -1.
    Interface { mac, state, speed: speed.and_then(|speed| speed.parse().ok()), name }
}

/// A result for each function that is not a VF: VFs count at their PF, and are checked when required.
pub(crate) fn check(
    root: &Root,
    functions: &Result<Vec<Result<Function, ReadError>>, ReadError>,
) -> Vec<Check> {
    let functions = match functions {
        Ok(functions) => functions,
        Err(error) => return vec![TOPIC.judge(false, Err(error.clone()))],
    };
    let shown: Vec<_> = functions
        .iter()
        .filter(|found| !matches!(found, Ok(Function { kind: Kind::Virtual { .. }, .. })))
        .map(|found| check_one(root, found))
        .collect();
    if shown.is_empty() {
        let seen = Evidence::new(root, DEVICES, "no device of class 0x02");
        let none = Verdict::pass("none on the PCI bus: there are only software ports");
        return vec![none.on(&TOPIC, false, vec![seen])];
    }
    shown
}

fn check_one(root: &Root, found: &Result<Function, ReadError>) -> Check {
    let function = match found {
        Ok(function) => function,
        Err(error) => return TOPIC.judge(false, Err(error.clone())),
    };
    let dir = format!("{DEVICES}/{}", function.address);
    let mut evidence = vec![Evidence::new(
        root,
        &format!("{dir}/driver"),
        function.driver.as_ref().map_or("not there".to_owned(), |driver| format!("→ {driver}")),
    )];
    if let Kind::Physical { enabled, possible } = &function.kind {
        evidence.push(Evidence::new(root, &format!("{dir}/sriov_numvfs"), enabled.to_string()));
        evidence.push(Evidence::new(root, &format!("{dir}/sriov_totalvfs"), possible.to_string()));
    }
    for Interface { name, mac, state, speed } in &function.interfaces {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let speed = speed.map_or("unknown".to_owned(), |speed| format!("{speed} Mb/s"));
        let seen = format!("address {}, operstate {}, speed {speed}", or_unknown(mac), or_unknown(state));
        evidence.push(Evidence::new(root, &format!("/sys/class/net/{name}"), seen));
    }
    decide(function).on(&TOPIC, false, evidence).about(function.address.to_string())
}

fn decide(function: &Function) -> Verdict {
    let mut parts = vec![match &function.driver {
        Some(driver) => driver.clone(),
        None => "no driver".to_owned(),
    }];
    parts.extend(match &function.kind {
        Kind::Plain => None,
        Kind::Physical { enabled, possible } => Some(format!("PF with {enabled} of {possible} VFs")),
        Kind::Virtual { of } => Some(format!("VF of {of}")),
    });
    parts.extend(function.node.map(|node| format!("node {node}")));
    for Interface { name, mac, state, speed } in &function.interfaces {
        let speed = speed.map(|speed| format!("{speed} Mb/s"));
        let known: Vec<_> = [mac.clone(), state.clone(), speed].into_iter().flatten().collect();
        parts.push(format!("{name} ({})", known.join(", ")));
    }
    let summary = parts.join("; ");
    match (&function.driver, &function.kind) {
        (None, Kind::Plain | Kind::Physical { .. }) => Verdict::warn(
            summary,
            Remedy::type_in([format!("lspci -nnks {}", function.address)])
                .note("The last line names the kernel's own module for it; DPDK takes it from vfio-pci."),
        ),
        _ => Verdict::pass(summary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn the_summary_holds_what_is_known() {
        let interface = Interface {
            name: "ens1f0".to_owned(),
            mac: Some("02:00:00:00:00:01".to_owned()),
            state: Some("up".to_owned()),
            speed: Some(25_000),
        };
        let function = Function {
            address: "03:00.0".parse().unwrap(),
            driver: Some("ice".to_owned()),
            interfaces: vec![interface],
            kind: Kind::Physical { enabled: 4, possible: 64 },
            node: Some(1),
        };
        let verdict = decide(&function);
        assert_eq!(verdict.status, Status::Pass);
        assert_eq!(
            verdict.summary,
            "ice; PF with 4 of 64 VFs; node 1; ens1f0 (02:00:00:00:00:01, up, 25000 Mb/s)"
        );
        let orphan = Function { driver: None, interfaces: Vec::new(), kind: Kind::Plain, ..function };
        assert_eq!(decide(&orphan).status, Status::Warn);
    }
}
