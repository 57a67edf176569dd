//! The poll mode drivers that EAL will find: plugins in DPDK's own folder, beside its libraries. The lookup
//! does not start EAL, which would need memory and lcores.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One network driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Its name without the prefix `librte_`, such as `net_memif`.
    pub name: String,
    /// The dynamic linker's reason why the driver does not load; EAL would continue without it.
    pub fault: Option<String>,
}

/// The drivers and their folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drivers {
    /// Folder from which EAL loads plugins by default.
    pub folder: PathBuf,
    /// Network drivers, by name.
    pub network: Vec<Driver>,
}

/// The drivers of the DPDK that this process is linked to. `None` when it has no plugin folder: the drivers
/// are then part of the program.
pub fn installed() -> Option<Drivers> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let folder = plugin_folder(&maps)?;
    let mut network: Vec<Driver> = fs::read_dir(&folder)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = network_driver(entry.file_name().to_str()?, &folder)?;
            Some(Driver { name, fault: load(&entry.path()).err() })
        })
        .collect();
    network.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Drivers { folder, network })
}

/// EAL's plugin folder, from the memory map of a process linked to EAL: for `librte_eal.so.23.0` it is
/// `dpdk/pmds-23.0` beside it, in every build of DPDK that does not set another.
fn plugin_folder(maps: &str) -> Option<PathBuf> {
    const LIBRARY: &str = "librte_eal.so.";
    let path = maps.lines().find_map(|line| {
        let path = Path::new(line.get(line.find('/')?..)?);
        path.file_name()?.to_str()?.starts_with(LIBRARY).then_some(path)
    })?;
    let abi = path.file_name()?.to_str()?.strip_prefix(LIBRARY)?;
    Some(path.parent()?.join("dpdk").join(format!("pmds-{abi}")))
}

/// `net_memif` from `librte_net_memif.so.23.0`. Like EAL, it selects plugins by the whole ABI version, which
/// the folder's name contains too.
fn network_driver(file: &str, folder: &Path) -> Option<String> {
    let abi = folder.file_name()?.to_str()?.strip_prefix("pmds-")?;
    let name = file.strip_suffix(abi)?.strip_suffix(".so.")?.strip_prefix("librte_")?;
    name.starts_with("net_").then(|| name.to_owned())
}

/// Loads a plugin as EAL does. It stays loaded.
fn load(path: &Path) -> Result<(), String> {
    let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its name has a NUL".to_owned())?;
    // SAFETY: the path is NUL-terminated. A driver's constructors only register it; it belongs to the DPDK
    // that this process is linked to, and is not unloaded.
    if !unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW) }.is_null() {
        return Ok(());
    }
    // SAFETY: dlerror returns null or a NUL-terminated string that is valid until this thread's next call of
    // the dynamic linker.
    let error = unsafe { libc::dlerror() };
    if error.is_null() {
        return Err("the dynamic linker gave no reason".to_owned());
    }
    // SAFETY: not null, see above.
    Err(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_lies_beside_the_library_and_has_its_abi_version() {
        let maps = "5581-5582 r--p 00000000 fe:00 12   /usr/local/bin/linerate-dataplane\n\
                    7f41-7f42 r--p 00000000 fe:00 34   /usr/lib/aarch64-linux-gnu/librte_eal.so.23.0\n\
                    7ffd-7ffe rw-p 00000000 00:00 0    [stack]\n";
        assert_eq!(plugin_folder(maps).unwrap(), Path::new("/usr/lib/aarch64-linux-gnu/dpdk/pmds-23.0"));
        assert_eq!(
            plugin_folder("5581-5582 r--p 00000000 fe:00 12   /usr/local/bin/linerate-dataplane\n"),
            None
        );
    }

    #[test]
    fn drivers_are_named_without_prefix_and_version() {
        let folder = Path::new("/usr/lib/aarch64-linux-gnu/dpdk/pmds-23.0");
        let cases = [
            ("librte_net_memif.so.23.0", Some("net_memif")),
            ("librte_net_af_packet.so.23.0", Some("net_af_packet")),
            ("librte_net_memif.so.23", None),
            ("librte_net_memif.so.24.0", None),
            ("librte_net_memif.so", None),
            ("librte_bus_pci.so.23.0", None),
            ("README", None),
        ];
        for (file, expected) in cases {
            assert_eq!(network_driver(file, folder).as_deref(), expected, "{file}");
        }
    }
}
