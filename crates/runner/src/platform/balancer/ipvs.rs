//! The kernel's IP Virtual Server, as kube-proxy's mode of that name uses it. Each new connection is given to a backend,
//! with addresses translated both ways.

use std::fmt::Write;
use std::net::SocketAddr;

use linerate_experiment::http::IpvsScheduler;

use super::{PlatformError, nftables, run, version};

/// Replaces the services of the balancer's namespace by one at `address`; returns the program and its version.
pub(super) async fn set_up(
    namespace: &str,
    scheduler: IpvsScheduler,
    address: SocketAddr,
    backends: &[SocketAddr],
) -> Result<String, PlatformError> {
    let program = version("ipvsadm", "--version").await?;
    nftables::masquerade(namespace).await?;
    clear(namespace).await?;
    run(namespace, &["ipvsadm", "--restore"], &services(scheduler, address, backends)).await?;
    // Without it, IPVS' packets pass by conntrack, which masquerades.
    run(namespace, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/vs/conntrack"], "").await?;
    Ok(program)
}

/// Removes all services of the balancer's namespace.
pub(super) async fn clear(namespace: &str) -> Result<(), PlatformError> {
    run(namespace, &["ipvsadm", "--clear"], "").await.map_err(|error| {
        PlatformError::Network(format!(
            "{error}\n  remedy: load the kernel's module (modprobe ip_vs), or remove the ipvs targets from spec.http.targets"
        ))
    })
}

/// The service in ipvsadm's form.
fn services(scheduler: IpvsScheduler, address: SocketAddr, backends: &[SocketAddr]) -> String {
    let mut text = format!("-A -t {address} -s {}\n", scheduler.name());
    for (number, backend) in backends.iter().enumerate() {
        let _ = writeln!(text, "-a -t {address} -r {backend} -m -w {}", scheduler.weight(number));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_every_backend_with_its_weight() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let backends = ["10.64.0.2:8080", "10.64.0.3:8080"].map(address);
        assert_eq!(
            services(IpvsScheduler::WeightedRoundRobin, address("10.64.0.9:8080"), &backends),
            "-A -t 10.64.0.9:8080 -s wrr\n\
             -a -t 10.64.0.9:8080 -r 10.64.0.2:8080 -m -w 1\n\
             -a -t 10.64.0.9:8080 -r 10.64.0.3:8080 -m -w 2\n"
        );
    }
}
