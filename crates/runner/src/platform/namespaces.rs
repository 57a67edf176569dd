//! Network namespaces of a run on this machine: one for each agent, and one with a bridge for each interface, so that a
//! mesh of agents is a mesh of hosts. The namespaces of the machine itself are not changed.
//!
//! Their names begin with `linerate-` and an id of the run. The run holds a lock on a file of that id; namespaces whose
//! lock nobody holds are those of a killed run, and the next run removes them.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linerate_experiment::engines::EngineName;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::IpVersion;
use rustix::fs::{FlockOperation, MemfdFlags, flock, memfd_create};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{PlatformError, random_hex};
use crate::session::{Dial, Dialling, NoConnection, Stream};

/// Where `ip netns` keeps the names of namespaces.
const NAMES: &str = "/run/netns";
/// Files that runs lock.
const LOCKS: &str = "/run/linerate-netns";
/// Beginning of the names of all namespaces of runs.
const PREFIX: &str = "linerate-";
/// Most interfaces of an agent.
pub(super) const MOST_INTERFACES: usize = 64;
/// Addresses of an agent's place in a network: 250 of each block of 256.
const PLACES: usize = 250;
/// Longest time of a batch of commands.
const LONGEST_COMMAND: Duration = Duration::from_secs(60);
/// Time between looks whether it has ended.
const LOOK: Duration = Duration::from_millis(1);
/// Time limit for a connection to an agent.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// The namespaces of a run. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Namespaces {
    id: String,
    agents: usize,
    interfaces: Vec<String>,
    version: IpVersion,
    /// Held lock.
    _lock: File,
}

impl Namespaces {
    /// Creates the namespaces of so many agents with these interfaces and addresses of that IP version, after those of killed runs are removed.
    ///
    /// # Errors
    /// When they cannot be created; what was created is removed again.
    pub(super) fn create(
        agents: usize,
        interfaces: &[String],
        version: IpVersion,
    ) -> Result<Self, PlatformError> {
        remove_leftovers();
        let id = random_hex(4)?;
        fs::create_dir_all(LOCKS).map_err(|error| failed(&format!("cannot create {LOCKS}: {error}")))?;
        let place = lock_of(&id);
        let lock = File::create(&place).and_then(|file| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            Ok(file)
        });
        let lock = lock.map_err(|error| failed(&format!("cannot lock {}: {error}", place.display())))?;
        let created = Self { id, agents, interfaces: interfaces.to_vec(), version, _lock: lock };
        created.build()?;
        Ok(created)
    }

    /// Name of an agent's namespace.
    pub(super) fn of_agent(&self, agent: usize) -> String {
        format!("{PREFIX}{}-{agent}", self.id)
    }

    fn bridges(&self) -> String {
        format!("{PREFIX}{}-lan", self.id)
    }

    fn build(&self) -> Result<(), PlatformError> {
        let lan = self.bridges();
        let names = (0..self.agents).map(|agent| self.of_agent(agent)).chain([lan.clone()]);
        ip(&[], &names.map(|name| format!("netns add {name}\n")).collect::<String>())?;
        let mut lines = String::new();
        for number in 0..self.interfaces.len() {
            lines.push_str(&format!("link add br{number} type bridge\nlink set br{number} up\n"));
        }
        ip(&["-n", &lan], &lines)?;
        let mut ports = String::new();
        for agent in 0..self.agents {
            let mut lines = String::from("link set lo up\n");
            for (number, interface) in self.interfaces.iter().enumerate() {
                let port = format!("p{number}a{agent}");
                lines.push_str(&format!(
                    "link add {interface} address {} type veth peer name {port} netns {lan}\naddr add {} dev {interface}{}\nlink set {interface} up\n",
                    mac(number, agent),
                    self.network(number, agent),
                    // Nobody else can have the address, and agents use it at once.
                    if self.version == IpVersion::V6 { " nodad" } else { "" }
                ));
                for other in (0..self.agents).filter(|other| *other != agent) {
                    lines.push_str(&format!(
                        "neigh add {} lladdr {} nud permanent dev {interface}\n",
                        self.address(number, other),
                        mac(number, other)
                    ));
                }
                ports.push_str(&format!("link set {port} master br{number}\nlink set {port} up\n"));
            }
            ip(&["-n", &self.of_agent(agent)], &lines)?;
        }
        ip(&["-n", &lan], &ports)
    }

    fn address(&self, interface: usize, agent: usize) -> IpAddr {
        let v4 = address(interface, agent);
        match self.version {
            IpVersion::V4 => v4.into(),
            IpVersion::V6 => {
                let [_, network, block, place] = v4.octets().map(u16::from);
                Ipv6Addr::new(0xfd4c, 0x5240, 0, network, 0, 0, block, place).into()
            }
        }
    }

    fn network(&self, interface: usize, agent: usize) -> String {
        let bits = if self.version == IpVersion::V6 { 64 } else { 16 };
        format!("{}/{bits}", self.address(interface, agent))
    }

    fn remove(&self) {
        let names = (0..self.agents).map(|agent| self.of_agent(agent)).chain([self.bridges()]);
        remove(names.filter(|name| Path::new(NAMES).join(name).exists()));
        let _ = fs::remove_file(lock_of(&self.id));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Refuses an engine whose agents need namespaces, which this user cannot create.
///
/// # Errors
/// Names the engine and the remedy.
pub(super) fn check_engine(engine: Option<EngineName>) -> Result<(), PlatformError> {
    match engine.filter(|engine| engine.needs_namespaces()) {
        Some(engine) if !rustix::process::geteuid().is_root() => Err(PlatformError::Network(format!(
            "spec.engines: {engine} is compared in network namespaces, which root alone can create; run as root, or remove it"
        ))),
        _ => Ok(()),
    }
}

/// Address of an agent on an interface.
pub(super) fn address(interface: usize, agent: usize) -> Ipv4Addr {
    let (block, place) = (agent / PLACES, agent % PLACES + 1);
    Ipv4Addr::new(10, (64 + interface) as u8, block as u8, place as u8)
}

/// Ethernet address of an agent on an interface: locally administered, unicast.
///
/// Agents know those of each other: the kernel's table of neighbours is one for all namespaces, and its usual limit of
/// 1024 entries that are not permanent is less than a mesh of 33 agents needs.
fn mac(interface: usize, agent: usize) -> MacAddr {
    let [high, low] = (agent as u16).to_be_bytes();
    MacAddr([0x02, 0x4c, 0x52, interface as u8, high, low])
}

fn lock_of(id: &str) -> PathBuf {
    Path::new(LOCKS).join(format!("{id}.lock"))
}

fn failed(reason: &str) -> PlatformError {
    PlatformError::Network(format!(
        "network namespaces: {reason}; run as root, or set spec.local.network to loopback"
    ))
}

/// Runs `ip` with these options on lines of commands.
fn ip(options: &[&str], lines: &str) -> Result<(), PlatformError> {
    let mut command = Command::new("ip");
    command.args(options).args(["-batch", "-"]);
    run(command, lines, LONGEST_COMMAND)
}

/// Runs a program that reads these lines. It is killed after `limit`: the kernel lets namespaces be made and removed one
/// after the other, and those of others may take their time.
fn run(mut command: Command, lines: &str, limit: Duration) -> Result<(), PlatformError> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let called = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
    let mut start = || -> std::io::Result<(Child, File)> {
        // Files, which nobody has to wait for; in memory, for a full disk must not keep namespaces from being removed.
        let file = |name| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
        let (mut input, told) = (file("input")?, file("told")?);
        input.write_all(lines.as_bytes())?;
        input.rewind()?;
        command.stdin(input).stdout(Stdio::null()).stderr(told.try_clone()?);
        Ok((command.spawn()?, told))
    };
    let unable = |error: std::io::Error| {
        let remedy = if error.kind() == ErrorKind::NotFound { "; install iproute2" } else { "" };
        failed(&format!("cannot run {called} ({error}){remedy}"))
    };
    let (mut child, mut told) = start().map_err(unable)?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(unable)? {
            Some(status) => break status,
            None if begun.elapsed() < limit => std::thread::sleep(LOOK),
            None => {
                let _ = child.kill();
                // It may end late, in the kernel, and is nobody's zombie then.
                std::thread::spawn(move || child.wait());
                let first = lines.lines().next().unwrap_or_default();
                let limit_s = limit.as_secs_f64();
                return Err(failed(&format!(
                    "{called}: not at its end after {limit_s} s; it began with `{first}`"
                )));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let _ = told.rewind().and_then(|()| told.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    Err(failed(&format!("{called}: {}", text.lines().next().unwrap_or("it failed"))))
}

fn remove(names: impl Iterator<Item = String>) {
    let lines: String = names.map(|name| format!("netns del {name}\n")).collect();
    if !lines.is_empty()
        && let Err(error) = ip(&["-force"], &lines)
    {
        tracing::warn!(%error, "namespaces are left behind; `ip netns del` removes them");
    }
}

/// Removes the namespaces of runs that were killed.
pub(super) fn remove_leftovers() {
    let entries = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut ids: Vec<&str> = names.iter().filter_map(|name| id_of(name)).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        if is_held(id) {
            continue;
        }
        tracing::info!(id, "removing the namespaces of a run that was killed");
        remove(names.iter().filter(|name| id_of(name) == Some(id)).cloned());
        let _ = fs::remove_file(lock_of(id));
    }
}

/// Id of the run that a namespace is of; `None` for namespaces of others.
fn id_of(name: &str) -> Option<&str> {
    let (id, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_ours = id.len() == 8
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (rest == "lan" || rest.parse::<usize>().is_ok());
    is_ours.then_some(id)
}

fn is_held(id: &str) -> bool {
    let Ok(file) = File::open(lock_of(id)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Opens connections to an agent that listens on the loopback interface of a namespace.
#[derive(Debug)]
pub(super) struct NamespaceDialer {
    namespace: String,
    address: SocketAddr,
}

impl NamespaceDialer {
    pub(super) fn new(namespace: String, address: SocketAddr) -> Self {
        Self { namespace, address }
    }
}

impl fmt::Display for NamespaceDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in namespace {}", self.address, self.namespace)
    }
}

impl Dial for NamespaceDialer {
    fn time_limit(&self) -> Duration {
        Duration::ZERO
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            let failed = |error: std::io::Error| NoConnection::Failed(error.to_string());
            let (done, connected) = oneshot::channel();
            let (path, address) = (Path::new(NAMES).join(&self.namespace), self.address);
            // A thread of its own: a socket belongs to the namespace of the thread that opens it, and a thread that
            // entered another namespace must not be used for anything else.
            let connect = move || {
                let _ = done.send(connect_in(&path, address));
            };
            std::thread::Builder::new().name("dial".to_owned()).spawn(connect).map_err(failed)?;
            let ended = || NoConnection::Failed("the dialling thread ended".to_owned());
            let stream = connected.await.map_err(|_| ended())?.map_err(failed)?;
            let stream = TcpStream::from_std(stream).map_err(failed)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

fn connect_in(namespace: &Path, address: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    let namespace = File::open(namespace)?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
    let stream = std::net::TcpStream::connect_timeout(&address, CONNECT_TIME)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_runs_are_recognised() {
        for (name, id) in [
            ("linerate-0a1b2c3d-12", Some("0a1b2c3d")),
            ("linerate-0a1b2c3d-lan", Some("0a1b2c3d")),
            ("linerate-0a1b2c3d-x", None),
            ("linerate-test-1", None),
            ("linerate-0a1b2c3d", None),
            ("other", None),
        ] {
            assert_eq!(id_of(name), id, "{name}");
        }
    }

    #[test]
    fn a_command_that_does_not_end_is_ended() {
        let told = |script: &str, limit_ms| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command, "netns add x\nmore\n", Duration::from_millis(limit_ms))
                .map_err(|error| error.to_string())
        };
        // It reads what it is given, and may write more than a pipe holds.
        assert_eq!(told("read -r line && [ \"$line\" = 'netns add x' ]", 60_000), Ok(()));
        let error = told("seq 100000 >&2; exit 1", 60_000).unwrap_err();
        assert!(error.contains(": 1; "), "{error}");
        let error = told("exec sleep 100", 20).unwrap_err();
        assert!(
            error.contains("sleep 100: not at its end after 0.02 s; it began with `netns add x`"),
            "{error}"
        );
    }

    #[test]
    fn every_agent_has_an_address_of_its_own() {
        let all: std::collections::BTreeSet<_> =
            (0..1000).flat_map(|agent| [address(0, agent), address(63, agent)]).collect();
        assert_eq!(all.len(), 2000);
        assert_eq!(address(1, 0), Ipv4Addr::new(10, 65, 0, 1));
        assert_eq!(address(0, 250), Ipv4Addr::new(10, 64, 1, 1));
    }
}
