//! Environment variables in which Kubernetes device plugins list assigned PCI devices.
//!
//! A plugin sets `PCIDEVICE_<RESOURCE>` to a list of PCI addresses. The SR-IOV network device plugin also
//! sets `PCIDEVICE_<RESOURCE>_INFO` to a JSON object: address → kind → name → text, where some texts are
//! device files (`{"0000:03:02.0":{"vfio":{"dev-mount":"/dev/vfio/6"}}}`).

use std::collections::{BTreeMap, BTreeSet};

use linerate_hardware::PciAddress;
use serde_json::Value;

use crate::root::excerpt;

const PREFIX: &str = "PCIDEVICE_";
const INFO: &str = "_INFO";

/// The `PCIDEVICE_*` variables, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Content of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable's name.
    pub variable: String,
    /// Its text, shortened.
    pub text: String,
    /// The addresses with their device files, or the error in the text.
    pub devices: Result<BTreeMap<PciAddress, BTreeSet<String>>, String>,
}

impl Environment {
    /// The environment of this process; variables that are not UTF-8 are skipped.
    pub fn of_this_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// Every variable of a device plugin, by name.
    pub fn assignments(&self) -> Vec<Assignment> {
        let assign = |(name, text): (&String, &String)| Assignment {
            variable: name.clone(),
            text: text.chars().take(200).collect(),
            // A resource's own name may end in _INFO, so the form of the text decides.
            devices: if name.ends_with(INFO) && text.trim_start().starts_with('{') {
                parse_info(text)
            } else {
                parse_list(text)
            },
        };
        self.variables.iter().map(assign).collect()
    }

    /// The addresses of all variables that could be parsed.
    pub fn devices(&self) -> BTreeSet<PciAddress> {
        let understood = self.assignments().into_iter().filter_map(|assignment| assignment.devices.ok());
        understood.flat_map(BTreeMap::into_keys).collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    /// Selects the variables of device plugins.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let variables = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        Self { variables }
    }
}

type Devices = BTreeMap<PciAddress, BTreeSet<String>>;

fn parse_list(text: &str) -> Result<Devices, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Ok((item.parse().map_err(not_an_address)?, BTreeSet::new()))).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn not_an_address(error: linerate_hardware::AddressError) -> String {
    error.to_string()
}

fn parse_info(text: &str) -> Result<Devices, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(devices) = value else {
        return Err(format!("expected a JSON object, found {}", excerpt(text)));
    };
    devices
        .iter()
        .map(|(address, info)| {
            let mut files = BTreeSet::new();
            collect_files(info, &mut files);
            Ok((address.parse().map_err(not_an_address)?, files))
        })
        .collect()
}

/// Texts that name a device file, at any depth.
fn collect_files(value: &Value, files: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with("/dev/") => {
            files.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| collect_files(value, files)),
        Value::Object(values) => values.values().for_each(|value| collect_files(value, files)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn addresses(environment: &Environment) -> Vec<String> {
        environment.devices().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_and_infos_are_understood_and_other_variables_are_not_kept() {
        let found = environment(&[
            ("PCIDEVICE_INTEL_COM_DPDK", "0000:03:02.0,0000:03:02.1"),
            (
                "PCIDEVICE_INTEL_COM_DPDK_INFO",
                r#"{"0000:03:02.0":{"generic":{"deviceID":"0000:03:02.0"},
                    "vfio":{"dev-mount":"/dev/vfio/6","mount":"/dev/vfio/vfio"}}}"#,
            ),
            ("PASSWORD", "secret"),
        ]);
        assert_eq!(addresses(&found), ["0000:03:02.0", "0000:03:02.1"]);
        let info = found.assignments().pop().unwrap().devices.unwrap();
        let files = info.into_values().next().unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["/dev/vfio/6", "/dev/vfio/vfio"]);
        assert_eq!(found.assignments().len(), 2);
    }

    #[test]
    fn a_resource_may_be_called_info() {
        assert_eq!(addresses(&environment(&[("PCIDEVICE_MY_INFO", "03:02.0")])), ["0000:03:02.0"]);
        assert_eq!(addresses(&environment(&[("PCIDEVICE_EMPTY", "")])), [""; 0]);
    }

    #[test]
    fn unparsed_variables_are_reported() {
        for (name, text, word) in [
            ("PCIDEVICE_A", "eth0", "eth0"),
            ("PCIDEVICE_A_INFO", "{", "not JSON"),
            ("PCIDEVICE_A_INFO", r#"{"eth0":{}}"#, "eth0"),
        ] {
            let problem = environment(&[(name, text)]).assignments()[0].devices.clone().unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
