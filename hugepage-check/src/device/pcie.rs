//! Check: a card runs at its full PCIe speed and width.
//!
//! Source: `{current,max}_link_{speed,width}` of the device (kernel
//! `Documentation/ABI/testing/sysfs-bus-pci`). Virtual functions have no such files; they share their PF's
//! link.

use std::fmt;

use linerate_hardware::PciAddress;

use super::DEVICES;
use super::function::{Function, Kind};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Reason, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "device.pcie",
    title: "PCIe link",
    why: "All packets cross this link. A card in a slot with fewer lanes, or one that came up at a lower speed, \
          cannot reach its line rate whatever the software does.",
};

/// A result for each function with its own link.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let functions = scene.functions.as_ref().map_or([].as_slice(), Vec::as_slice);
    let own = |function: &&Function| !matches!(function.kind, Kind::Virtual { .. });
    let judge = |function: &Function| {
        let address = function.address;
        judge(scene.root, &address)
            .transpose()
            .map(|outcome| TOPIC.judge(false, outcome).about(address.to_string()))
    };
    functions.iter().flatten().filter(own).filter_map(judge).collect()
}

/// Speed in tenths of a GT/s, and lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    speed: u64,
    width: u64,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} GT/s x{}", self.speed / 10, self.speed % 10, self.width)
    }
}

fn judge(root: &Root, address: &PciAddress) -> Result<Option<(Verdict, Vec<Evidence>)>, ReadError> {
    let dir = format!("{DEVICES}/{address}");
    let (Some(now), Some(most)) = (read(root, &dir, "current")?, read(root, &dir, "max")?) else {
        return Ok(None);
    };
    let seen =
        |which: &str, link: Link| Evidence::new(root, &format!("{dir}/{which}_link_*"), link.to_string());
    let outcome: Outcome = Ok((decide(address, now, most), vec![seen("current", now), seen("max", most)]));
    outcome.map(Some)
}

/// `None` when there is no such link, as on a virtual device.
fn read(root: &Root, dir: &str, which: &str) -> Result<Option<Link>, ReadError> {
    let file = |name: &str| match root.read_if_there(&format!("{dir}/{which}_link_{name}")) {
        // The kernel does not read the registers of a device that has none or that is suspended.
        Err(ReadError { reason: Reason::Io(_), .. }) => Ok(None),
        other => other,
    };
    let (Some(speed), Some(width)) = (file("speed")?, file("width")?) else { return Ok(None) };
    if speed.starts_with("Unknown") {
        return Ok(None);
    }
    let speed = parse_speed(&speed).ok_or_else(|| {
        root.malformed(&format!("{dir}/{which}_link_speed"), "expected a speed like 8.0 GT/s PCIe")
    })?;
    let width = width
        .trim()
        .parse()
        .map_err(|_| root.malformed(&format!("{dir}/{which}_link_width"), "expected a number of lanes"))?;
    // 0 and 255 mean "no link".
    Ok(Some(Link { speed, width }).filter(|link| (1..255).contains(&link.width)))
}

/// Parses `8.0 GT/s PCIe`, and `8 GT/s` of older kernels, into tenths.
fn parse_speed(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let one_digit = tenth.len() == 1;
    let tenths = whole.parse::<u64>().ok()?.checked_mul(10)?.checked_add(tenth.parse().ok()?)?;
    (unit.starts_with("GT/s") && one_digit).then_some(tenths)
}

fn decide(address: &PciAddress, now: Link, most: Link) -> Verdict {
    if now.speed >= most.speed && now.width >= most.width {
        return Verdict::pass(now.to_string());
    }
    Verdict::warn(
        format!("{now}, but the card can do {most}"),
        Remedy::type_in([format!("lspci -vvs {address} | grep Lnk")]).note(
            "Put the card into a slot with as many lanes, and seat it firmly. In a virtual machine the link shown \
             may be made up.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn speeds_are_tenths() {
        for (text, tenths) in [
            ("8.0 GT/s PCIe\n", Some(80)),
            ("2.5 GT/s PCIe", Some(25)),
            ("16 GT/s", Some(160)),
            ("Unknown", None),
            ("8.0 Gb/s", None),
            ("", None),
        ] {
            assert_eq!(parse_speed(text), tenths, "{text:?}");
        }
    }

    #[test]
    fn slower_or_narrower_is_a_warning() {
        let most = Link { speed: 80, width: 8 };
        let address = "03:00.0".parse().unwrap();
        for (speed, width, status) in
            [(80, 8, Status::Pass), (160, 16, Status::Pass), (80, 4, Status::Warn), (50, 8, Status::Warn)]
        {
            assert_eq!(decide(&address, Link { speed, width }, most).status, status, "{speed} {width}");
        }
    }
}
