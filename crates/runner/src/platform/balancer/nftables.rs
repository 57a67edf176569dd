//! DNAT of nftables: the rules that kube-proxy's backends follow as well. Each new connection is given to a backend, and
//! conntrack keeps it there.

use std::fmt::Write;
use std::net::SocketAddr;

use linerate_experiment::http::HttpTarget;

use super::{HTTP_PORT, PlatformError, run, version};

/// Clients are masked, so that backends answer to the balancer.
const MASQUERADE: &str = "chain out { type nat hook postrouting priority 100; masquerade; }";

/// Replaces the rules of the balancer's namespace; returns the program and its version.
pub(super) async fn set_up(
    namespace: &str,
    target: &HttpTarget,
    backends: &[SocketAddr],
) -> Result<String, PlatformError> {
    let program = version("nft", "--version").await?;
    forward(namespace).await?;
    run(namespace, &["nft", "-f", "-"], &rules(target, backends)).await?;
    Ok(program)
}

/// Replaces the rules by those that a balancer in front of DNAT of its own needs: answers return through it.
pub(super) async fn masquerade(namespace: &str) -> Result<(), PlatformError> {
    forward(namespace).await?;
    let rules = format!("flush ruleset\ntable ip linerate {{\n{MASQUERADE}\n}}\n");
    run(namespace, &["nft", "-f", "-"], &rules).await
}

/// The namespace is a router with one interface: it must forward, and not tell clients of the shorter way.
async fn forward(namespace: &str) -> Result<(), PlatformError> {
    let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; \
                   for file in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $file; done";
    run(namespace, &["sh", "-c", forward], "").await
}

/// The rules. Answers return through the balancer, because it is their destination.
fn rules(target: &HttpTarget, backends: &[SocketAddr]) -> String {
    let to = match backends {
        [only] => only.ip().to_string(),
        several => {
            let how = if *target == HttpTarget::NftablesInc { "inc" } else { "random" };
            let mut map = String::new();
            for (number, backend) in several.iter().enumerate() {
                let comma = if number == 0 { "" } else { ", " };
                let _ = write!(map, "{comma}{number} : {}", backend.ip());
            }
            format!("numgen {how} mod {} map {{ {map} }}", several.len())
        }
    };
    format!(
        "flush ruleset\n\
         table ip linerate {{\n\
         chain in {{ type nat hook prerouting priority -100; tcp dport {HTTP_PORT} dnat to {to}; }}\n\
         {MASQUERADE}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_every_backend_once() {
        let backends: Vec<SocketAddr> =
            ["10.64.0.2:8080", "10.64.0.3:8080"].iter().map(|text| text.parse().unwrap()).collect();
        let inc = rules(&HttpTarget::NftablesInc, &backends);
        assert!(inc.contains("dnat to numgen inc mod 2 map { 0 : 10.64.0.2, 1 : 10.64.0.3 };"), "{inc}");
        assert!(rules(&HttpTarget::NftablesRandom, &backends).contains("numgen random mod 2"));
        assert!(rules(&HttpTarget::NftablesInc, &backends[..1]).contains("dport 8080 dnat to 10.64.0.2;"));
    }
}
