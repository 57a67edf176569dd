//! Addresses of this host's network interfaces (`getifaddrs`).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use libc::{AF_INET, AF_INET6, ifaddrs, sockaddr_in, sockaddr_in6};

/// The list that the kernel's answer is kept in, freed when dropped.
struct List(*mut ifaddrs);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `getifaddrs` and is freed once; nothing that was read from the list
        // refers to it.
        unsafe { libc::freeifaddrs(self.0) };
    }
}

/// The addresses of each interface, by its name; interfaces without addresses are among them.
pub(crate) fn addresses() -> io::Result<BTreeMap<String, Vec<IpAddr>>> {
    let mut first = ptr::null_mut();
    // SAFETY: the pointer is that of a local variable; on success it points to a list, which `List` frees.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let list = List(first);
    let mut interfaces: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut next = list.0;
    // SAFETY: `next` is null or points to an element of the list, which lives until `list` is dropped and which
    // nobody changes.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: the name of an element is a string that ends with zero and lives as long as the list.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let addresses = interfaces.entry(name).or_default();
        // SAFETY: the address is null or points to a `sockaddr` of the family that it names, which lives as long
        // as the list; the structure of a family is as long as the kernel's address of it.
        let address = unsafe {
            entry.ifa_addr.as_ref().and_then(|address| match i32::from(address.sa_family) {
                AF_INET => {
                    let v4 = ptr::from_ref(address).cast::<sockaddr_in>().read_unaligned();
                    Some(IpAddr::from(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
                }
                AF_INET6 => {
                    let v6 = ptr::from_ref(address).cast::<sockaddr_in6>().read_unaligned();
                    Some(IpAddr::from(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
                }
                _ => None,
            })
        };
        addresses.extend(address);
    }
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let interfaces = addresses().unwrap();
        let home = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert!(interfaces.get("lo").is_some_and(|addresses| addresses.contains(&home)), "{interfaces:?}");
    }
}
