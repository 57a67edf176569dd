//! Limits, connection tracking and interfaces, from procfs and sysfs.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file of the kernel; `None` when it cannot be read.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A file of one line; `None` when it is empty, too.
pub(super) fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = text(path)?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

fn number(path: impl AsRef<Path>) -> Option<u64> {
    line(path)?.parse().ok()
}

/// Limits of windows and ports, of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Largest receive buffer that a program may ask for, in bytes (`net.core.rmem_max`).
    pub(crate) receive_max: Option<u64>,
    /// Largest send buffer that a program may ask for, in bytes (`net.core.wmem_max`).
    pub(crate) send_max: Option<u64>,
    /// Smallest, first and largest receive buffer of TCP that the kernel chooses itself (`net.ipv4.tcp_rmem`).
    pub(crate) tcp_receive: Option<[u64; 3]>,
    /// The same of the send buffer (`net.ipv4.tcp_wmem`).
    pub(crate) tcp_send: Option<[u64; 3]>,
    /// False when TCP windows are limited to 64 KiB (`net.ipv4.tcp_window_scaling`).
    pub(crate) window_scaling: Option<bool>,
    /// Congestion control of new connections.
    pub(crate) congestion: Option<String>,
    /// First and last local port that the kernel chooses (`net.ipv4.ip_local_port_range`).
    pub(crate) ports: Option<(u16, u16)>,
}

impl Limits {
    pub(super) fn read() -> Self {
        let three = |name: &str| numbers(&line(format!("/proc/sys/net/ipv4/{name}"))?).first_chunk().copied();
        let ports = || {
            let [first, last] = *numbers(&line("/proc/sys/net/ipv4/ip_local_port_range")?).first_chunk()?;
            Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?))
        };
        Self {
            receive_max: number("/proc/sys/net/core/rmem_max"),
            send_max: number("/proc/sys/net/core/wmem_max"),
            tcp_receive: three("tcp_rmem"),
            tcp_send: three("tcp_wmem"),
            window_scaling: number("/proc/sys/net/ipv4/tcp_window_scaling").map(|value| value != 0),
            congestion: line("/proc/sys/net/ipv4/tcp_congestion_control"),
            ports: ports(),
        }
    }
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// The kernel's table of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Conntrack {
    /// Entries of this network namespace.
    pub(crate) entries: u64,
    /// Most entries.
    pub(crate) most: u64,
    /// Packets dropped: the table was full, another packet made the same entry (`insert_failures`), or one did not fit the
    /// state of its connection; null where the kernel does not count.
    pub(crate) drops: Option<u64>,
    /// Entries given up before their time to make room.
    pub(crate) early_drops: Option<u64>,
    /// Entries that could not be inserted, mostly because two packets made the same one.
    pub(crate) insert_failures: Option<u64>,
}

impl Conntrack {
    pub(super) fn read() -> Option<Self> {
        let value = |name: &str| number(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
        let counted = text("/proc/net/stat/nf_conntrack").unwrap_or_default();
        Some(Self {
            entries: value("count")?,
            most: value("max")?,
            drops: column(&counted, "drop"),
            early_drops: column(&counted, "early_drop"),
            insert_failures: column(&counted, "insert_failed"),
        })
    }

    /// Share of the table in use, 0…1.
    pub(crate) fn share(&self) -> f64 {
        self.entries as f64 / self.most.max(1) as f64
    }
}

/// Sum of a column of `/proc/net/stat/nf_conntrack`: a line of names, then a line of hexadecimal numbers per CPU.
fn column(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let at = lines.next()?.split_whitespace().position(|column| column == name)?;
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(at)?, 16).ok()).sum()
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// True when a device stands behind it; the speed that virtual interfaces tell means nothing.
    pub(crate) physical: bool,
    /// Largest packet in bytes.
    pub(crate) mtu: Option<u32>,
    /// Mbit/s; null for virtual interfaces and where the driver does not tell.
    pub(crate) speed_mbps: Option<u64>,
    /// `full` or `half`; null likewise.
    pub(crate) duplex: Option<String>,
    /// Times that the link went up or down.
    pub(crate) carrier_changes: Option<u64>,
    /// The kernel counts frames here, too, whose protocol nobody speaks.
    pub(crate) received_dropped: Option<u64>,
    /// Packets for which the device had no room.
    #[serde(default)]
    pub(crate) received_missed: Option<u64>,
    pub(crate) received_errors: Option<u64>,
    pub(crate) sent_dropped: Option<u64>,
    pub(crate) sent_errors: Option<u64>,
}

impl Link {
    pub(super) fn read(name: &str) -> Option<Self> {
        Self::at(&Path::new("/sys/class/net").join(name), name)
    }

    fn at(dir: &Path, name: &str) -> Option<Self> {
        // A name is a word of the kernel's; a file of this name could not be one of its interfaces.
        if name.contains('/') || !dir.is_dir() {
            return None;
        }
        let physical = dir.join("device").exists();
        let count = |file: &str| number(dir.join("statistics").join(file));
        Some(Self {
            name: name.to_owned(),
            physical,
            mtu: number(dir.join("mtu")).and_then(|mtu| u32::try_from(mtu).ok()),
            // The driver of a link that is down answers -1 or not at all.
            speed_mbps: number(dir.join("speed")).filter(|speed| physical && *speed > 0 && *speed < 1 << 31),
            duplex: line(dir.join("duplex")).filter(|duplex| physical && duplex != "unknown"),
            carrier_changes: number(dir.join("carrier_changes")),
            received_dropped: count("rx_dropped"),
            received_missed: count("rx_missed_errors"),
            received_errors: count("rx_errors"),
            sent_dropped: count("tx_dropped"),
            sent_errors: count("tx_errors"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_connection_tracking_are_found_by_name() {
        let text = "entries  clashres found insert insert_failed drop early_drop\n\
                    00000004  00000000 00000000 00000000 00000002 0000000a 00000000\n\
                    00000004  00000000 00000000 00000000 00000001 00000010 00000000\n";
        assert_eq!(column(text, "drop"), Some(26));
        assert_eq!(column(text, "insert_failed"), Some(3));
        assert_eq!(column(text, "no such"), None);
        assert_eq!(column("drop\nxyz\n", "drop"), None, "not a number: unknown, not 0");
        assert_eq!(column("", "drop"), None);
    }

    #[test]
    fn a_virtual_interface_has_no_speed() {
        let lo = Link::read("lo").unwrap();
        assert!(!lo.physical && lo.speed_mbps.is_none() && lo.duplex.is_none(), "{lo:?}");
        assert_eq!(Link::read("../../class"), None);
        assert_eq!(Link::read("no-such"), None);
    }
}
