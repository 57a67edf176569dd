//! Properties of an agent's port, and the frames that it carries.

use std::fmt;

use serde::{Deserialize, Serialize};

use linerate_traffic::mac::MacAddr;

/// Bytes of a frame beyond its payload: Ethernet header 14, check sequence 4. A port with MTU 1500 carries
/// frames of 1518 bytes.
pub const FRAME_OVER_MTU_BYTES: u32 = 18;
/// Largest payload of a standard frame, in bytes.
pub const DEFAULT_MTU: u16 = 1500;

/// A port, as ethdev, sysfs and the kernel describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInfo {
    /// Port number in ethdev.
    pub port: u16,
    /// Device name: a PCI address or a virtual device's name.
    pub device: String,
    /// Poll mode driver.
    pub driver: String,
    /// Ethernet address.
    pub mac: MacAddr,
    /// NUMA node; absent for devices without one.
    pub numa_node: Option<u32>,
    /// Link speed in bit/s; absent when the port reports none.
    pub link_bps: Option<u64>,
    /// True when the link is up.
    pub link_up: bool,
    /// Largest number of receive queues.
    pub max_rx_queues: u16,
    /// Largest number of transmit queues.
    pub max_tx_queues: u16,
    /// Maximum transmission unit in force, in bytes: a frame without Ethernet header and check sequence. The
    /// smaller of the port's configured MTU and that of the kernel's interface.
    pub mtu: u16,
    /// Descriptors per receive queue: smallest and largest allowed.
    pub rx_descriptors: (u16, u16),
    /// Descriptors per transmit queue: smallest and largest allowed.
    pub tx_descriptors: (u16, u16),
    /// Kernel driver that the PCI device is bound to; absent for virtual devices.
    pub kernel_driver: Option<String>,
    /// Firmware version of the device; absent when the driver reports none.
    #[serde(default)]
    pub firmware: Option<String>,
    /// Largest MTU that the driver accepts, in bytes; absent when the driver states no limit.
    #[serde(default)]
    pub max_mtu: Option<u16>,
    /// The kernel's interface that the driver sends and receives through (af_packet, af_xdp, tap, pcap,
    /// mlx5); absent for other drivers.
    #[serde(default)]
    pub interface: Option<KernelInterface>,
}

/// A network interface of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInterface {
    /// Interface name, such as `eth0`.
    pub name: String,
    /// MTU of the interface, in bytes.
    pub mtu: u32,
}

/// Error: a frame exceeds the port's largest frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FrameTooLarge {
    /// Requested size in bytes, check sequence included.
    pub asked: u32,
    /// The port and its limits.
    pub port: Box<PortInfo>,
}

impl PortInfo {
    /// Largest frame that the port carries at present, in bytes, check sequence included.
    pub fn largest_frame_bytes(&self) -> u32 {
        u32::from(self.mtu) + FRAME_OVER_MTU_BYTES
    }

    /// Checks that a frame of `frame_bytes`, check sequence included, fits.
    ///
    /// # Errors
    /// States both sizes, the MTU, its origin (port or interface), and the remedy.
    pub fn carries(&self, frame_bytes: u32) -> Result<(), FrameTooLarge> {
        if frame_bytes <= self.largest_frame_bytes() {
            Ok(())
        } else {
            Err(FrameTooLarge { asked: frame_bytes, port: Box::new(self.clone()) })
        }
    }
}

impl fmt::Display for FrameTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, port } = self;
        let PortInfo { port: number, device, driver, mtu, max_mtu, interface, .. } = &**port;
        let largest = port.largest_frame_bytes();
        let wanted = asked.saturating_sub(FRAME_OVER_MTU_BYTES);
        write!(f, "frames of {asked} bytes, check sequence included, do not fit ")?;
        // An interface whose MTU exceeds the port's is not the limit.
        let narrow = interface.as_ref().filter(|interface| interface.mtu < wanted);
        match narrow.filter(|interface| interface.mtu <= u32::from(*mtu)) {
            Some(interface) => write!(f, "interface {} (port {number}, {device})", interface.name),
            None => write!(f, "port {number} ({device})"),
        }?;
        write!(f, ": its MTU of {mtu} bytes carries frames of at most {largest} bytes\n  remedy: ")?;
        if let Some(most) = max_mtu.filter(|most| u32::from(*most) < wanted) {
            return write!(
                f,
                "send frames of at most {largest} bytes; {driver} can be set up for frames of at most {} bytes (MTU {most}), not for more",
                u32::from(most) + FRAME_OVER_MTU_BYTES
            );
        }
        let mut raise = Vec::new();
        if let Some(interface) = narrow {
            raise.push(format!("ip link set dev {} mtu {wanted}", interface.name));
        }
        if narrow.is_none() || wanted > u32::from(DEFAULT_MTU.max(*mtu)) {
            raise.push(format!("--mtu {wanted} (spec.agents.mtu: {wanted})"));
        }
        write!(f, "raise the MTU ({}), or send frames of at most {largest} bytes", raise.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(mtu: u16, max_mtu: Option<u16>, interface_mtu: Option<u32>) -> PortInfo {
        PortInfo {
            port: 0,
            device: "net_x0".into(),
            driver: "net_x".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            numa_node: None,
            link_bps: None,
            link_up: true,
            max_rx_queues: 1,
            max_tx_queues: 1,
            mtu,
            rx_descriptors: (0, 0),
            tx_descriptors: (0, 0),
            kernel_driver: None,
            firmware: None,
            max_mtu,
            interface: interface_mtu.map(|mtu| KernelInterface { name: "eth0".into(), mtu }),
        }
    }

    #[test]
    fn a_frame_fits_or_is_refused_with_both_sizes() {
        // (MTU in force, driver's largest, interface's; frame; text that the refusal contains, text that it
        // does not)
        let cases: &[(PortInfo, u32, &[&str], &str)] = &[
            (port(1500, None, None), 1518, &[], ""),
            (port(1450, Some(1500), Some(1450)), 1468, &[], ""),
            (
                port(1450, Some(1500), Some(1450)),
                1518,
                &[
                    "frames of 1518 bytes",
                    "interface eth0 (port 0, net_x0)",
                    "MTU of 1450 bytes",
                    "at most 1468 bytes",
                    "ip link set dev eth0 mtu 1500)",
                ],
                "--mtu",
            ),
            (
                port(1500, Some(9000), Some(1500)),
                4018,
                &["interface eth0", "ip link set dev eth0 mtu 4000 and --mtu 4000 (spec.agents.mtu: 4000)"],
                "not for more",
            ),
            (port(1500, None, Some(9000)), 4018, &["fit port 0 (net_x0)", "--mtu 4000"], "ip link"),
            (port(1500, None, None), 9000, &["fit port 0 (net_x0)", "(--mtu 8982"], "ip link"),
            (
                port(1500, Some(1500), None),
                1519,
                &["at most 1518 bytes", "net_x can be set up", "MTU 1500"],
                "--mtu",
            ),
        ];
        for (port, frame, said, unsaid) in cases {
            let message = port.carries(*frame).err().map(|error| error.to_string());
            assert_eq!(message.is_some(), !said.is_empty(), "{frame} on {port:?}");
            let Some(message) = message else { continue };
            assert!(said.iter().all(|part| message.contains(part)), "{message}");
            assert!(!message.contains(unsaid), "{message}");
        }
    }
}
