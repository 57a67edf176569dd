//! haproxy as a process of this machine: one thread, which gives each request to the next backend.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use linerate_experiment::http::{HttpProfile, HttpProtocol};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::{PlatformError, version};

/// Time in which a wrong configuration makes it end.
const SETTLING_TIME: Duration = Duration::from_millis(300);
/// Connections of clients that it may have when file descriptors admit them and a trial does not need more.
const USUAL_CONNECTIONS: u64 = 20_000;
/// Connections beyond those of a trial: earlier ones that have not ended.
const SPARE_CONNECTIONS: u64 = 100;
/// File descriptors that haproxy needs besides those of connections, of which each has two.
const OTHER_DESCRIPTORS: u64 = 200;

/// A running haproxy. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Haproxy {
    program: String,
    child: Child,
    /// Removed with the process.
    _configuration: NamedTempFile,
}

impl Haproxy {
    /// Starts it in a namespace at an address, or without one at a free port of the loopback interface. Its configuration is in
    /// `directory`.
    pub(super) async fn start(
        place: Option<(String, SocketAddr)>,
        backends: &[SocketAddr],
        profile: &HttpProfile,
        directory: &Path,
    ) -> Result<(Self, SocketAddr), PlatformError> {
        let failed = |why: String| {
            PlatformError::Network(format!(
                "spec.http.targets: haproxy: {why}; remove the target, or correct it"
            ))
        };
        let program = version("haproxy", "-v").await?;
        let program = program.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        let (namespace, address) = match place {
            Some((namespace, address)) => (Some(namespace), address),
            None => {
                // The port is free now; haproxy says so if it is taken in between.
                let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|one| one.local_addr());
                (None, free.map_err(|error| failed(error.to_string()))?)
            }
        };
        let most = most_connections(profile.connections, descriptors()).map_err(failed)?;
        let mut configuration =
            NamedTempFile::new_in(directory).map_err(|error| failed(error.to_string()))?;
        let text = text(address, backends, most, profile.protocol);
        configuration.write_all(text.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let mut words: Vec<String> = Vec::new();
        if let Some(namespace) = namespace {
            words.extend(["ip", "netns", "exec"].map(str::to_owned));
            words.push(namespace);
        }
        // It ends with this program, however that ends.
        let setpriv = in_path("setpriv").ok_or_else(|| {
            failed(
                "without setpriv it would outlive this program when that is killed; install util-linux"
                    .to_owned(),
            )
        })?;
        words.push(setpriv.display().to_string());
        words.extend(["--pdeathsig", "KILL", "haproxy", "-db", "-f"].map(str::to_owned));
        words.push(configuration.path().display().to_string());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        sleep(SETTLING_TIME).await;
        if child.try_wait().map_err(|error| failed(error.to_string()))?.is_some() {
            let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
            let told = String::from_utf8_lossy(&output.stderr);
            let alert = told.lines().find(|line| line.contains("ALERT")).unwrap_or("it ended at once");
            return Err(failed(alert.to_owned()));
        }
        Ok((Self { program, child, _configuration: configuration }, address))
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// CPU seconds of its threads so far; `None` when the kernel does not report them.
    pub(super) fn cpu_s(&self) -> Option<f64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()?)).ok()?;
        let of = |task: std::io::Result<fs::DirEntry>| -> Option<u64> {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        let nanoseconds: Option<u64> = tasks.map(of).sum();
        nanoseconds.map(|ns| ns as f64 / 1e9)
    }
}

/// The program of this name.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// File descriptors that a process of this program may have: it inherits the limit, which is raised as far as it may be.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, highest).is_ok() { limit.maximum } else { limit.current };
    allowed.unwrap_or(u64::MAX)
}

/// Connections of clients that it may have at once. It does not start when they could need more descriptors than there are.
fn most_connections(connections: u32, descriptors: u64) -> Result<u64, String> {
    let most = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    let needed = u64::from(connections);
    if most < needed {
        return Err(format!(
            "{needed} connections need {} open files, and this user may have {descriptors}: lower spec.http.connections, or raise the \
             limit (ulimit -n)",
            needed * 2 + OTHER_DESCRIPTORS
        ));
    }
    Ok(most.min(USUAL_CONNECTIONS.max(needed + SPARE_CONNECTIONS)))
}

/// The configuration. What is not HTTP/1.1 without TLS passes through: then each connection is given to the next backend.
fn text(address: SocketAddr, backends: &[SocketAddr], most: u64, protocol: HttpProtocol) -> String {
    let mode = if protocol == HttpProtocol::Http { "http" } else { "tcp" };
    let servers: String = backends
        .iter()
        .enumerate()
        .map(|(number, backend)| format!("  server b{number} {backend}\n"))
        .collect();
    format!(
        "global\n  nbthread 1\n  maxconn {most}\n\
         defaults\n  mode {mode}\n  maxconn {most}\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         frontend clients\n  bind {address}\n  default_backend backends\n\
         backend backends\n  balance roundrobin\n{servers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_passes_through() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for (protocol, mode) in [
            (HttpProtocol::Http, "http"),
            (HttpProtocol::Https, "tcp"),
            (HttpProtocol::H2, "tcp"),
            (HttpProtocol::H2c, "tcp"),
        ] {
            let text = text(address, &[address], 10, protocol);
            assert!(text.contains(&format!("  mode {mode}\n")), "{protocol}: {text}");
        }
    }

    #[test]
    fn connections_follow_from_descriptors_or_are_refused() {
        assert_eq!(most_connections(64, 1024), Ok(412));
        assert_eq!(most_connections(64, 1 << 20), Ok(20_000));
        assert_eq!(most_connections(50_000, 1 << 20), Ok(50_100));
        let problem = most_connections(800, 1024).unwrap_err();
        assert!(
            problem.contains("800 connections need 1800 open files") && problem.contains("ulimit"),
            "{problem}"
        );
    }
}
