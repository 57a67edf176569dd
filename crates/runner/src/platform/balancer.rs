//! What stands before the backends of HTTP. Balancers of this machine: DNAT of nftables or IPVS in a network namespace of their own, or a process of haproxy.

mod haproxy;
mod ipvs;
mod nftables;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use linerate_experiment::http::{HttpProfile, HttpTarget, Url};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::PlatformError;
use haproxy::Haproxy;

/// Port at which balancers accept connections, and backends in namespaces likewise.
pub(super) const HTTP_PORT: u16 = 8080;

/// Puts what an experiment of HTTP measures in front of its backends.
pub trait Balancers {
    /// Sets up a profile's target for these backends, in place of the one before.
    ///
    /// # Errors
    /// When it cannot be set up: target, reason, remedy.
    fn set_up(
        &mut self,
        profile: &HttpProfile,
        backends: &[SocketAddr],
    ) -> impl Future<Output = Result<Balanced, PlatformError>>;

    /// CPU seconds of the balancer's process so far; `None` for a balancer in the kernel, and without one.
    fn cpu_s(&self) -> Option<f64>;
}

/// A target that is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced {
    /// Addresses to which clients connect.
    pub addresses: Vec<SocketAddr>,
    /// Value of the header `Host`.
    pub host: String,
    /// The balancer that was started, with its version; `None` without one.
    pub program: Option<String>,
}

impl Balanced {
    /// A balancer at this address.
    pub fn at(address: SocketAddr, program: Option<String>) -> Self {
        Self { addresses: vec![address], host: address.to_string(), program }
    }

    /// The backends themselves.
    pub fn direct(backends: &[SocketAddr]) -> Self {
        let host = backends.first().map(SocketAddr::to_string).unwrap_or_default();
        Self { addresses: backends.to_vec(), host, program: None }
    }
}

/// The address of a URL's host, as this machine sees it.
///
/// # Errors
/// When it has none.
pub async fn resolve(url: &Url) -> Result<Balanced, PlatformError> {
    let unknown = |why: String| {
        PlatformError::Network(format!("spec.http.targets: {url} has no address: {why}; give another URL"))
    };
    let found = tokio::net::lookup_host((url.host(), url.port())).await;
    let address = found.map_err(|error| unknown(error.to_string()))?.next();
    let address = address.ok_or_else(|| unknown("its name has none".to_owned()))?;
    Ok(Balanced { addresses: vec![address], host: url.authority(), program: None })
}

/// The balancer of a run.
#[derive(Debug, Default)]
pub(super) struct LocalBalancer {
    haproxy: Option<Haproxy>,
    /// True when the kernel of the balancer's namespace has services of IPVS.
    has_ipvs: bool,
}

impl LocalBalancer {
    /// Sets up a target; `place` is the balancer's namespace and its address there, `directory` is for its files.
    pub(super) async fn set_up(
        &mut self,
        profile: &HttpProfile,
        backends: &[SocketAddr],
        place: Option<(String, SocketAddr)>,
        directory: &Path,
    ) -> Result<Balanced, PlatformError> {
        self.haproxy = None;
        if let Some((namespace, _)) = place.as_ref().filter(|_| self.has_ipvs) {
            ipvs::clear(namespace).await?;
            self.has_ipvs = false;
        }
        let target = &profile.target;
        match target {
            HttpTarget::Direct => Ok(Balanced::direct(backends)),
            HttpTarget::Url(url) => resolve(url).await,
            HttpTarget::ClusterIp | HttpTarget::NodePort => Err(PlatformError::Network(format!(
                "spec.http.targets: {target} is a Service of a cluster; set spec.platform to kubernetes"
            ))),
            HttpTarget::NftablesRandom | HttpTarget::NftablesInc | HttpTarget::Ipvs(_) => {
                let Some((namespace, address)) = place else {
                    return Err(PlatformError::Network(format!(
                        "spec.http.targets: {target} needs network namespaces; run as root, or remove it"
                    )));
                };
                let program = match target {
                    HttpTarget::Ipvs(scheduler) => {
                        self.has_ipvs = true;
                        ipvs::set_up(&namespace, *scheduler, address, backends).await?
                    }
                    _ => nftables::set_up(&namespace, target, backends).await?,
                };
                Ok(Balanced::at(address, Some(program)))
            }
            HttpTarget::Haproxy => {
                let (haproxy, address) = Haproxy::start(place, backends, profile, directory).await?;
                let program = haproxy.program().to_owned();
                self.haproxy = Some(haproxy);
                Ok(Balanced::at(address, Some(program)))
            }
        }
    }

    pub(super) fn cpu_s(&self) -> Option<f64> {
        self.haproxy.as_ref().and_then(Haproxy::cpu_s)
    }

    /// Ends the balancer's process.
    pub(super) fn take_down(&mut self) {
        self.haproxy = None;
    }
}

/// The first line that a program prints about its version.
async fn version(program: &str, option: &str) -> Result<String, PlatformError> {
    let output = Command::new(program).arg(option).output().await;
    let output = output.map_err(|error| {
        PlatformError::Network(format!(
            "spec.http.targets: cannot run {program} ({error}); install it, or remove the target"
        ))
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or(program).trim().to_owned())
}

/// Runs a command in a namespace, with this input.
async fn run(namespace: &str, command: &[&str], input: &str) -> Result<(), PlatformError> {
    let failed =
        |why: String| PlatformError::Network(format!("balancer in {namespace}: {}: {why}", command[0]));
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
