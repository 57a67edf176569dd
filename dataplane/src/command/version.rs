//! `--version`: versions of Linerate and DPDK, and the drivers that EAL will find.

use std::fmt::Write;

use linerate_logging::terminal::escaped_path;

use crate::dpdk::drivers::{Drivers, installed};

/// The lines that follow the version.
pub(super) fn drivers() -> String {
    describe(installed().as_ref())
}

fn describe(drivers: Option<&Drivers>) -> String {
    let Some(drivers) = drivers else {
        return "network drivers: those linked into the program\n".to_owned();
    };
    let folder = escaped_path(&drivers.folder);
    if drivers.network.is_empty() {
        return format!(
            "network drivers in {folder}: none; DPDK's packages have one each, such as librte-net-memif23\n"
        );
    }
    let loaded: Vec<&str> = drivers
        .network
        .iter()
        .filter(|driver| driver.fault.is_none())
        .map(|driver| driver.name.as_str())
        .collect();
    let mut text = format!("network drivers in {folder}: {}\n", loaded.join(" "));
    for driver in &drivers.network {
        if let Some(fault) = &driver.fault {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} does not load: {fault}", driver.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::dpdk::drivers::Driver;

    #[test]
    fn drivers_that_do_not_load_are_named_with_the_reason() {
        let driver =
            |name: &str, fault: Option<&str>| Driver { name: name.into(), fault: fault.map(Into::into) };
        let drivers = |network| Drivers { folder: PathBuf::from("/lib/dpdk/pmds-23.0"), network };
        let fault = "libmlx5.so.1: cannot open shared object file";
        let found = drivers(vec![
            driver("net_memif", None),
            driver("net_mlx5", Some(fault)),
            driver("net_ring", None),
        ]);
        let cases = [
            (
                Some(&found),
                "network drivers in /lib/dpdk/pmds-23.0: net_memif net_ring\n\
                 net_mlx5 does not load: libmlx5.so.1: cannot open shared object file\n",
            ),
            (
                Some(&drivers(Vec::new())),
                "network drivers in /lib/dpdk/pmds-23.0: none; DPDK's packages have one each, such as librte-net-memif23\n",
            ),
            (None, "network drivers: those linked into the program\n"),
        ];
        for (drivers, expected) in cases {
            assert_eq!(describe(drivers), expected);
        }
    }
}
