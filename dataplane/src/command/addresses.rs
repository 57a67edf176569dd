//! Addresses on the command line.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address with the length of its network's prefix, as in 10.0.0.1/24.
pub(super) fn with_prefix(text: &str) -> Result<IpNet, String> {
    let usual = |ip: IpAddr| if ip.is_ipv4() { 24 } else { 64 };
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(format!("'{text}' has no prefix length, as in {ip}/{}", usual(ip)));
    }
    text.parse().map_err(|_| match text.split_once('/').map(|(ip, length)| (ip.parse::<IpAddr>(), length)) {
        Some((Ok(ip), length)) => {
            let (version, most) = if ip.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
            format!("'{length}' is no prefix length of {version}, 0 to {most}, as in {ip}/{}", usual(ip))
        }
        _ => format!("'{text}' is not an address with a prefix length, as in 10.0.0.1/24 or fd00::1/64"),
    })
}

/// The address of a router, as in 10.0.0.1.
pub(super) fn router(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.split_once('/').map(|(ip, _)| ip.parse::<IpAddr>()) {
        Some(Ok(ip)) => format!("'{text}' has a prefix length, and a router has none, as in {ip}"),
        _ => format!("'{text}' is not an IP address, as in 10.0.0.1 or fd00::1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        for (text, part) in [
            ("10.0.0.1", "'10.0.0.1' has no prefix length, as in 10.0.0.1/24"),
            ("fd00::1", "'fd00::1' has no prefix length, as in fd00::1/64"),
            ("10.0.0.1/33", "'33' is no prefix length of IPv4, 0 to 32, as in 10.0.0.1/24"),
            ("fd00::1/", "'' is no prefix length of IPv6, 0 to 128, as in fd00::1/64"),
            ("eth0", "'eth0' is not an address with a prefix length"),
            ("eth0/24", "'eth0/24' is not an address with a prefix length"),
        ] {
            assert!(with_prefix(text).unwrap_err().contains(part), "{text}: {:?}", with_prefix(text));
        }
        assert_eq!(with_prefix("10.0.0.1/24").unwrap().to_string(), "10.0.0.1/24");
        for (text, part) in [
            ("10.0.0.1/24", "'10.0.0.1/24' has a prefix length, and a router has none, as in 10.0.0.1"),
            ("gw", "'gw' is not an IP address"),
        ] {
            assert!(router(text).unwrap_err().contains(part), "{text}: {:?}", router(text));
        }
        assert_eq!(router("fd00::1").unwrap().to_string(), "fd00::1");
    }
}
