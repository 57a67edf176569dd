//! Agents of streams and HTTP as processes of this machine: each in a network namespace of its own, or all on the loopback
//! interface.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use linerate_experiment::Experiment;
use linerate_experiment::document::LocalNetwork;
use linerate_experiment::engines::NAMESPACE_INTERFACE;
use linerate_experiment::host_settings::HostSetting;
use linerate_experiment::http::{HttpProfile, HttpTarget};
use linerate_hardware::CpuSet;
use linerate_results::host_setting::HostSettingValue;
use linerate_traffic::profile::IpVersion;
use linerate_wire::trial::Role;

use super::balancer::{Balanced, Balancers, HTTP_PORT, LocalBalancer};
use super::cpus::{allowed, place};
use super::launch::AgentLaunch;
use super::local::node_name;
use super::namespaces::{MOST_INTERFACES, Namespaces, address, check_engine, remove_leftovers};
use super::process::AgentProcess;
use super::start::Starter;
use super::tuners::{Target, Tuners};
use super::{AgentEndpoint, Platform, PlatformError};

/// An agent without a controller exits after this time.
const EXIT_WHEN_ORPHANED: &str = "10s";
/// Port at which streams arrive in a namespace.
const STREAMS_PORT: u16 = 22_023;
/// Agents that are started at the same time.
const STARTING_AT_ONCE: usize = 16;

/// What a run of streams or HTTP starts. A dry run shows it.
#[derive(Debug, Clone)]
pub struct LocalKernelPlan {
    /// How to start each agent.
    pub agents: Vec<AgentLaunch>,
    /// Notes for the user on the plan.
    pub notes: Vec<String>,
    /// Interfaces of every agent's namespace; `None`: agents are on the loopback interface.
    interfaces: Option<Vec<String>>,
    /// True when a balancer needs a namespace, too.
    has_balancer: bool,
    /// IP version of the namespaces' addresses.
    version: IpVersion,
    /// True when settings of hosts are changed.
    changes_hosts: bool,
}

impl LocalKernelPlan {
    /// The plan of an experiment of HTTP.
    ///
    /// # Errors
    /// When the document asks for a network that this user cannot have, or for targets that are in different networks.
    pub fn of_http(experiment: &Experiment) -> Result<Self, PlatformError> {
        let refused = |problem: &str| Err(PlatformError::Network(problem.to_owned()));
        let is_root = rustix::process::geteuid().is_root();
        let any = |of: fn(&HttpTarget) -> bool| experiment.http.iter().any(|profile| of(&profile.target));
        let has_url = any(|target| !target.has_backends());
        let needs_namespaces = any(HttpTarget::needs_namespaces);
        let namespaces = match experiment.local().network {
            LocalNetwork::Auto => needs_namespaces || (is_root && !has_url),
            LocalNetwork::Loopback => false,
            LocalNetwork::Namespaces => true,
        };
        if needs_namespaces && !namespaces {
            return refused(
                "spec.http.targets: nftables and IPVS need network namespaces; set spec.local.network to namespaces, or remove the target",
            );
        }
        if namespaces && !is_root {
            return refused(
                "spec.http.targets: network namespaces, which nftables and IPVS need, can be created by root alone; run as root, or give other targets",
            );
        }
        if namespaces && has_url {
            return refused(
                "spec.http.targets: a URL is reached from this machine's network, and the other targets are in namespaces of their own; give the URL \
                 an experiment of its own, or set spec.local.network to loopback",
            );
        }
        let door = match namespaces {
            true => format!("0.0.0.0:{HTTP_PORT}"),
            false => "127.0.0.1:0".to_owned(),
        };
        let interfaces = namespaces.then(|| vec![NAMESPACE_INTERFACE.to_owned()]);
        let agents = experiment.http_agents().into_iter().map(|agent| {
            let mut launch = launch(experiment, agent.name.clone(), interfaces.is_some());
            if agent.role == Role::Rx {
                let options = ["--http", door.as_str(), "--http-name", agent.name.as_str()];
                launch.arguments.extend(options.map(str::to_owned));
            }
            launch
        });
        let agents: Vec<AgentLaunch> = agents.collect();
        let notes = vec![network_note(agents.len(), interfaces.as_deref())];
        Ok(Self {
            agents,
            notes,
            interfaces,
            has_balancer: any(HttpTarget::is_balancer),
            version: IpVersion::V4,
            changes_hosts: experiment.changes_hosts(),
        })
    }

    /// The plan of an experiment of streams.
    ///
    /// # Errors
    /// When the document asks for a network that this user cannot have.
    pub fn new(experiment: &Experiment) -> Result<Self, PlatformError> {
        check_engine(experiment.engine())?;
        let topology = experiment.streams_topology();
        let interfaces: Vec<String> =
            topology.interfaces().iter().map(|name| name.as_str().to_owned()).collect();
        let is_root = rustix::process::geteuid().is_root();
        let refused = |problem: String| Err(PlatformError::Network(problem));
        let namespaces = match experiment.local().network {
            LocalNetwork::Auto => is_root,
            LocalNetwork::Loopback => false,
            LocalNetwork::Namespaces => true,
        };
        if !namespaces && !interfaces.is_empty() {
            return refused(format!(
                "spec.topology.interfaces: {} need network namespaces, which only root can create; run as root, or remove them",
                interfaces.join(", ")
            ));
        }
        if namespaces && !is_root {
            return refused(
                "spec.local.network: namespaces need root; run as root, or set it to loopback".to_owned(),
            );
        }
        if interfaces.len() > MOST_INTERFACES || interfaces.iter().any(|name| name == "lo") {
            return refused(format!(
                "spec.topology.interfaces: platform local has at most {MOST_INTERFACES}, and none of the name lo; change the list"
            ));
        }
        let interfaces = namespaces.then(|| match interfaces.is_empty() {
            true => vec![NAMESPACE_INTERFACE.to_owned()],
            false => interfaces,
        });
        let names = topology.agents().into_iter().map(|agent| agent.name);
        let mut agents: Vec<AgentLaunch> =
            names.map(|name| launch(experiment, name, interfaces.is_some())).collect();
        if experiment.engine().is_some() {
            let workers = &experiment.agents().workers;
            let (tx, rx) = (workers.tx.get_u32() as usize, workers.rx.get_u32() as usize);
            // The CPUs that the lcores of other engines have.
            let pairs = place(&allowed()?, experiment.pairs(), tx, rx).pairs;
            for (agent, cpus) in agents.iter_mut().zip(pairs.iter().flat_map(|pair| [&pair.tx, &pair.rx])) {
                let cpus: CpuSet = cpus.workers.iter().map(|cpu| *cpu as u32).collect();
                agent.arguments.extend(["--cpus".to_owned(), cpus.to_string()]);
            }
        }
        let notes = vec![network_note(agents.len(), interfaces.as_deref())];
        let version = experiment.part.map_or(IpVersion::V4, |part| part.version);
        let changes_hosts = experiment.changes_hosts();
        Ok(Self { agents, notes, interfaces, has_balancer: false, version, changes_hosts })
    }

    /// Namespaces of the run: one for each agent, and one for a balancer.
    fn places(&self) -> usize {
        self.agents.len() + usize::from(self.has_balancer)
    }
}

/// How to start an agent, in a namespace of its own or on the loopback interface.
fn launch(experiment: &Experiment, name: String, in_namespace: bool) -> AgentLaunch {
    let streams = match in_namespace {
        true => match experiment.part.map(|part| part.version) {
            Some(IpVersion::V6) => format!("[::]:{STREAMS_PORT}"),
            _ => format!("0.0.0.0:{STREAMS_PORT}"),
        },
        false => "127.0.0.1:0".to_owned(),
    };
    let mut arguments: Vec<String> = ["agent", "--listen", "127.0.0.1:0", "--streams", &streams]
        .into_iter()
        .chain(["--exit-when-orphaned", EXIT_WHEN_ORPHANED])
        .map(str::to_owned)
        .collect();
    // The agent gets the safety settings of the environment as options.
    arguments.extend(experiment.safety().options());
    AgentLaunch { name, arguments }
}

fn network_note(agents: usize, interfaces: Option<&[String]>) -> String {
    match interfaces {
        Some(names) => format!(
            "each of {agents} agents has a network namespace of its own with {}, joined by bridges",
            names.join(", ")
        ),
        None => "all agents are on the loopback interface".to_owned(),
    }
}

/// Agents of streams or HTTP as processes of this machine, each in a group of its own. Dropping it kills them.
#[derive(Debug)]
pub struct LocalKernel {
    plan: LocalKernelPlan,
    program: PathBuf,
    log_directory: PathBuf,
    node: String,
    /// Recorded as soon as they listen, so that `stop` ends them even if the start fails later.
    processes: RefCell<Vec<(String, AgentProcess)>>,
    balancer: LocalBalancer,
    tuners: Tuners,
    /// Dropped after the processes.
    namespaces: Option<Namespaces>,
}

impl LocalKernel {
    /// A platform that runs `program` as planned, with logs in `log_directory`.
    pub fn new(plan: LocalKernelPlan, program: PathBuf, log_directory: PathBuf) -> Self {
        let tuners = Tuners::new(plan.changes_hosts.then(|| program.clone()), &log_directory);
        Self {
            plan,
            program,
            log_directory,
            node: node_name(),
            processes: RefCell::default(),
            balancer: LocalBalancer::default(),
            tuners,
            namespaces: None,
        }
    }

    async fn start_agent(&self, place: usize) -> Result<AgentEndpoint, PlatformError> {
        let starter = Starter {
            program: &self.program,
            log_directory: &self.log_directory,
            runtime_directory: &self.log_directory,
            node: &self.node,
        };
        let namespace = self.namespaces.as_ref().map(|namespaces| namespaces.of_agent(place));
        let (process, endpoint) = starter.start(&self.plan.agents[place], namespace).await?;
        self.processes.borrow_mut().push((endpoint.name.clone(), process));
        Ok(endpoint)
    }
}

impl Platform for LocalKernel {
    async fn start(&mut self, say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        if let Some(interfaces) = &self.plan.interfaces {
            say(&format!("creating {} network namespaces", self.plan.places()));
            self.namespaces = Some(Namespaces::create(self.plan.places(), interfaces, self.plan.version)?);
        } else if rustix::process::geteuid().is_root() {
            // A run without any would leave those of a killed one where they are.
            remove_leftovers();
        }
        let starting = (0..self.plan.agents.len()).map(|place| self.start_agent(place));
        let started: Vec<_> = stream::iter(starting).buffered(STARTING_AT_ONCE).collect().await;
        started.into_iter().map(|endpoint| endpoint.map(|endpoint| vec![endpoint])).collect()
    }

    async fn restart(
        &mut self,
        number: usize,
        _say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, PlatformError> {
        let name = self.plan.agents[number].name.clone();
        let (ended, others) =
            self.processes.take().into_iter().partition::<Vec<_>, _>(|(other, _)| *other == name);
        self.processes.replace(others);
        for (_, mut process) in ended {
            process.stop(false).await;
        }
        Ok(vec![self.start_agent(number).await?])
    }

    async fn tune(
        &mut self,
        setting: Option<&HostSetting>,
    ) -> Result<Option<Vec<HostSettingValue>>, PlatformError> {
        let Self { plan, namespaces, tuners, .. } = self;
        let targets = || {
            let Some(namespaces) = namespaces else { return Some(Vec::new()) };
            let agents = plan.agents.iter().map(|agent| agent.name.as_str());
            let names = agents.chain(plan.has_balancer.then_some("balancer"));
            let of = |(place, agent): (usize, &str)| {
                let namespace = namespaces.of_agent(place);
                let target = move |interface: &String, agent: &str| Target {
                    agent: Some(agent.to_owned()),
                    namespace: Some(namespace.clone()),
                    interface: interface.clone(),
                };
                let interfaces = plan.interfaces.iter().flatten();
                interfaces.map(|interface| target(interface, agent)).collect::<Vec<_>>()
            };
            Some(names.enumerate().flat_map(of).collect())
        };
        tuners.put(setting, targets).await
    }

    fn still_tuned(&mut self) -> Result<(), PlatformError> {
        self.tuners.still_held()
    }

    async fn stop(&mut self, asked: bool) {
        // Interfaces of the machine stay after the namespaces.
        if let Err(error) = self.tuners.release().await {
            tracing::error!(%error, "settings of hosts");
        }
        let mut processes = self.processes.take();
        join_all(processes.iter_mut().map(|(_, process)| process.stop(asked))).await;
        drop(processes);
        self.balancer.take_down();
        self.namespaces = None;
    }
}

impl Balancers for LocalKernel {
    async fn set_up(
        &mut self,
        profile: &HttpProfile,
        backends: &[SocketAddr],
    ) -> Result<Balanced, PlatformError> {
        let place = self.plan.agents.len();
        let namespaces = self.namespaces.as_ref().filter(|_| self.plan.has_balancer);
        let address = SocketAddr::new(address(0, place).into(), HTTP_PORT);
        let place = namespaces.map(|namespaces| (namespaces.of_agent(place), address));
        self.balancer.set_up(profile, backends, place, &self.log_directory).await
    }

    fn cpu_s(&self) -> Option<f64> {
        self.balancer.cpu_s()
    }
}
