//! Finding about a PCI device as text: the cause and the commands.

use std::fmt;

use linerate_hardware::AddressError;
use serde::Serialize;

use crate::check::Remedy;
use crate::iommu;
use crate::root::ReadError;
use crate::vfio::{self, VFIO_PCI};

/// A device of an IOMMU group and its driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupMember {
    /// The device's name on its bus; a PCI address for PCI devices.
    pub address: String,
    /// The driver.
    pub driver: String,
}

impl fmt::Display for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.driver)
    }
}

/// State of a device from DPDK's point of view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceState {
    /// DPDK can take it from this driver.
    Ready {
        /// vfio-pci, or a driver that shares the device with DPDK.
        driver: String,
    },
    /// DPDK can take it, as root and without memory protection; most VFs cannot be taken this way.
    Uio {
        /// A UIO driver.
        driver: String,
    },
    /// The text is not a PCI address.
    Invalid(AddressError),
    /// No device has this address.
    Absent,
    /// The device is in no IOMMU group, so vfio-pci cannot take it.
    NoIommuGroup {
        /// The present driver.
        driver: Option<String>,
    },
    /// vfio-pci is not loaded.
    NoVfioDriver {
        /// The present driver of the device.
        driver: Option<String>,
    },
    /// No driver is bound to the device.
    NoDriver,
    /// A kernel driver is bound to the device.
    KernelDriver {
        /// The driver.
        name: String,
        /// Network interfaces of the device.
        interfaces: Vec<String>,
    },
    /// The driver shares the device with DPDK, but its RDMA part is not loaded.
    NoVerbs {
        /// The driver.
        driver: String,
    },
    /// The module that maps memory for VFIO is not loaded.
    NoIommuType1,
    /// The group also holds devices of kernel drivers.
    GroupNotViable {
        /// Those devices.
        foreign: Vec<GroupMember>,
    },
    /// A device file of VFIO does not exist.
    NoDeviceFile {
        /// Its path.
        path: String,
    },
    /// This user may not open a device file of VFIO.
    NoPermission {
        /// Its path.
        path: String,
        /// The effective user id.
        user: u32,
    },
    /// A decisive file could not be read.
    Unknown(ReadError),
}

/// A device and its state. `Display` prints cause and remedy in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceFinding {
    /// The address, in full if it is valid.
    pub address: String,
    /// The state.
    #[serde(flatten)]
    pub state: DeviceState,
}

impl DeviceFinding {
    /// True when DPDK can take the device in its present state.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, DeviceState::Ready { .. } | DeviceState::Uio { .. })
    }

    /// The state in one sentence, without the address.
    pub fn cause(&self) -> String {
        let now = |driver: &Option<String>| match driver {
            Some(driver) => format!("now on {driver}"),
            None => "now without a driver".to_owned(),
        };
        match &self.state {
            DeviceState::Ready { driver } if driver == VFIO_PCI => "ready on vfio-pci".to_owned(),
            DeviceState::Ready { driver } => format!("ready on {driver}, which shares the device with DPDK"),
            DeviceState::Uio { driver } => {
                format!("on {driver}: works for root only, and the device may write to any memory")
            }
            DeviceState::Invalid(error) => error.to_string(),
            DeviceState::Absent => "no PCI device has this address".to_owned(),
            DeviceState::NoIommuGroup { driver } => {
                format!("in no IOMMU group, so vfio-pci cannot take it ({})", now(driver))
            }
            DeviceState::NoVfioDriver { driver } => {
                format!("the driver vfio-pci is not loaded (device {})", now(driver))
            }
            DeviceState::NoDriver => "bound to no driver; DPDK takes it from vfio-pci".to_owned(),
            DeviceState::KernelDriver { name, interfaces } if interfaces.is_empty() => {
                format!("bound to the kernel driver {name}; DPDK takes it from vfio-pci")
            }
            DeviceState::KernelDriver { name, interfaces } => {
                format!(
                    "bound to the kernel driver {name} (interface {}); DPDK takes it from vfio-pci",
                    interfaces.join(", ")
                )
            }
            DeviceState::NoVerbs { driver } => {
                format!("on {driver}, but without the RDMA module through which DPDK shares the device")
            }
            DeviceState::NoIommuType1 => {
                "on vfio-pci, but the module vfio_iommu_type1 is not loaded".to_owned()
            }
            DeviceState::GroupNotViable { foreign } => {
                let foreign: Vec<_> = foreign.iter().map(ToString::to_string).collect();
                format!("its IOMMU group also holds devices of kernel drivers: {}", foreign.join(", "))
            }
            DeviceState::NoDeviceFile { path } => format!("on vfio-pci, but {path} is not there"),
            DeviceState::NoPermission { path, user } => {
                format!("on vfio-pci, but user {user} may not open {path}")
            }
            DeviceState::Unknown(error) => format!("unknown: {error}"),
        }
    }

    /// Remedy; `None` when none is needed.
    pub fn remedy(&self) -> Option<Remedy> {
        let address = &self.address;
        Some(match &self.state {
            DeviceState::Ready { .. } => return None,
            DeviceState::Uio { .. } => {
                bind(address, true).note("Needs an IOMMU. The last line must name vfio-pci.")
            }
            DeviceState::Invalid(_) | DeviceState::Absent => Remedy::type_in(["lspci -Dnn -d ::0200"]).note(
                "Lists the Ethernet devices. A VF is there only after a number was written to its \
                 PF's sriov_numvfs.",
            ),
            DeviceState::NoIommuGroup { .. } => iommu::turn_on(),
            DeviceState::NoVfioDriver { .. } => vfio::load(VFIO_PCI)
                .note("Then bind the device to it. Without such a module the kernel has no VFIO."),
            DeviceState::NoDriver => bind(address, false).note(VERIFY),
            DeviceState::KernelDriver { interfaces, .. } if interfaces.is_empty() => {
                bind(address, true).note(VERIFY)
            }
            DeviceState::KernelDriver { interfaces, .. } => bind(address, true).note(format!(
                "The kernel loses {}: not the one you are logged in over? {VERIFY}",
                interfaces.join(", ")
            )),
            DeviceState::NoVerbs { driver } => {
                let module = driver.trim_end_matches("_core");
                Remedy::type_in([format!("modprobe -a ib_uverbs {module}_ib")])
            }
            DeviceState::NoIommuType1 => vfio::load("vfio_iommu_type1"),
            DeviceState::GroupNotViable { foreign } => {
                let commands = foreign.iter().take(4).flat_map(|member| bind(&member.address, true).commands);
                Remedy::type_in(commands).note(
                    "All devices of a group go to DPDK together; commands for at most four are shown. If the \
                     others are needed, put the card into another slot, or turn on ACS in the firmware so that \
                     groups become smaller.",
                )
            }
            DeviceState::NoDeviceFile { path } => Remedy::type_in([format!("ls -l {path}")]).note(
                "On the host vfio-pci creates it. In a container it has to be passed in: --device, or a \
                 device plugin's resource.",
            ),
            DeviceState::NoPermission { path, user } => {
                Remedy::type_in([format!("chown {user} {path}")]).note("Or start the data plane as root.")
            }
            DeviceState::Unknown(error) => Remedy::from(error),
        })
    }
}

impl fmt::Display for DeviceFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            DeviceState::Invalid(_) => f.write_str(&self.cause())?,
            _ => write!(f, "{}: {}", self.address, self.cause())?,
        }
        match self.remedy() {
            Some(remedy) => write!(f, "; remedy: {remedy}"),
            None => Ok(()),
        }
    }
}

/// A write to `drivers_probe` succeeds even when no driver took the device.
const VERIFY: &str = "The last line must name vfio-pci: the writes succeed even when the binding does not.";

fn bind(address: &str, is_bound: bool) -> Remedy {
    let dir = format!("/sys/bus/pci/devices/{address}");
    let mut commands = vec![format!("echo vfio-pci > {dir}/driver_override")];
    if is_bound {
        commands.push(format!("echo {address} > {dir}/driver/unbind"));
    }
    commands.push(format!("echo {address} > /sys/bus/pci/drivers_probe"));
    commands.push(format!("readlink {dir}/driver"));
    Remedy::type_in(commands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Reason;

    fn finding(state: DeviceState) -> DeviceFinding {
        DeviceFinding { address: "0000:03:02.0".to_owned(), state }
    }

    #[test]
    fn display_names_cause_and_remedy() {
        let foreign = vec![GroupMember { address: "0000:03:00.0".to_owned(), driver: "igb".to_owned() }];
        let path = || "/dev/vfio/6".to_owned();
        let on_eth7 =
            DeviceState::KernelDriver { name: "igbvf".to_owned(), interfaces: vec!["eth7".to_owned()] };
        for (state, words) in [
            (DeviceState::Absent, ["no PCI device has this address", "lspci"]),
            (DeviceState::NoDriver, ["bound to no driver", "driver_override"]),
            (on_eth7.clone(), ["kernel driver igbvf", "driver/unbind"]),
            (on_eth7, ["interface eth7", "loses eth7"]),
            (DeviceState::NoIommuGroup { driver: None }, ["no IOMMU group", "iommu=pt"]),
            (DeviceState::NoVfioDriver { driver: None }, ["not loaded", "modprobe vfio-pci"]),
            (
                DeviceState::NoVerbs { driver: "mlx5_core".to_owned() },
                ["RDMA", "modprobe -a ib_uverbs mlx5_ib"],
            ),
            (DeviceState::NoIommuType1, ["vfio_iommu_type1", "modprobe vfio_iommu_type1"]),
            (
                DeviceState::GroupNotViable { foreign },
                ["0000:03:00.0 (igb)", "devices/0000:03:00.0/driver/unbind"],
            ),
            (DeviceState::NoDeviceFile { path: path() }, ["/dev/vfio/6 is not there", "--device"]),
            (DeviceState::NoPermission { path: path(), user: 1000 }, ["user 1000", "chown 1000 /dev/vfio/6"]),
            (
                DeviceState::Unknown(ReadError { path: "/sys/x".into(), reason: Reason::NotUtf8 }),
                ["/sys/x: not UTF-8", "ls -ld /sys/x"],
            ),
        ] {
            let text = finding(state).to_string();
            assert!(text.starts_with("0000:03:02.0: "), "{text}");
            let (cause, remedy) = text.split_once("; remedy: ").unwrap();
            assert!(cause.contains(words[0]) && remedy.contains(words[1]), "{text}");
            assert!(!text.contains('\n'));
        }
    }

    #[test]
    fn a_ready_device_has_no_remedy() {
        let ready = finding(DeviceState::Ready { driver: VFIO_PCI.to_owned() });
        assert!(ready.is_ready());
        assert_eq!(ready.to_string(), "0000:03:02.0: ready on vfio-pci");
    }

    #[test]
    fn json_is_flat() {
        let json = serde_json::to_value(finding(DeviceState::NoDriver)).unwrap();
        assert_eq!(json, serde_json::json!({ "address": "0000:03:02.0", "state": "no_driver" }));
    }
}
