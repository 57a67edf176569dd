//! Agents as processes of this machine: each pair is connected by a memif, or uses devices that a cable, a
//! switch or a bridge connects.

use std::cell::RefCell;
use std::path::PathBuf;

use futures_util::future::join_all;
use hugepage_check::cpu_limit::CpuLimit;
use hugepage_check::root::Root;
use linerate_traffic::profile::IpVersion;
use linerate_wire::trial::Role;

use super::buffers;
use super::cpus::{self, place};
use super::launch::{AgentLaunch, PairLaunch, RunNames, launches};
use super::memory::{decide, free_hugepages};
use super::namespaces::{Namespaces, check_engine};
use super::process::AgentProcess;
use super::start::Starter;
use super::tuners::{Target, Tuners};
use super::{AgentEndpoint, Platform, PlatformError, random_bytes, random_hex};
use linerate_experiment::Experiment;
use linerate_experiment::engines::{EngineName, NAMESPACE_INTERFACE};
use linerate_experiment::host_settings::HostSetting;
use linerate_experiment::strategy::Strategy;
use linerate_results::host_setting::HostSettingValue;
use linerate_results::store::UNFINISHED;

/// Largest frame of DPDK's memif, check sequence included; ethdev refuses larger ones.
const LARGEST_FRAME_BYTES: u32 = 1518;

/// What a run starts. A dry run shows it.
#[derive(Debug, Clone)]
pub struct LocalPlan {
    /// How to start each pair.
    pub pairs: Vec<PairLaunch>,
    /// Notes for the user on the plan.
    pub notes: Vec<String>,
    /// IP version of the agents' addresses in network namespaces of their own; `None`: they have none.
    in_namespaces: Option<IpVersion>,
    /// True for a part of an experiment of engines.
    is_part: bool,
}

impl LocalPlan {
    /// Decides on CPUs, memory and names, by the resources of this machine.
    ///
    /// # Errors
    /// When a frame is too large for memif, when hugepages are demanded and missing, or when the resources
    /// cannot be read.
    pub fn new(experiment: &Experiment, strategy: &dyn Strategy) -> Result<Self, PlatformError> {
        check_engine(experiment.engine())?;
        let profiles = strategy.profiles();
        let largest =
            profiles.iter().map(|profile| profile.frame_sizes().largest().bytes()).max().unwrap_or(0);
        let local = experiment.local();
        if largest > LARGEST_FRAME_BYTES
            && (local.devices.is_none() || experiment.engine().is_some_and(EngineName::needs_namespaces))
        {
            return Err(PlatformError::FrameTooLarge { size: largest, most: LARGEST_FRAME_BYTES });
        }
        buffers::fit(experiment)?;
        let workers = &experiment.agents().workers;
        let allowed = cpus::allowed()?;
        let lcores = |end| {
            let (tx, rx) = (workers.tx.get_u32(), workers.rx.get_u32());
            experiment.direction().workers(end, tx, rx) as usize
        };
        let (tx, rx) = (lcores(Role::Tx), lcores(Role::Rx));
        let placement = place(&allowed, experiment.pairs(), tx, rx);
        let agents = 2 * experiment.pairs() as u64;
        let memory = decide(local.hugepages, agents, experiment.agents().memory_mb.get(), free_hugepages())?;
        let mac = random_bytes(2)?;
        let names = RunNames { nonce: random_hex(16)?, mac: [mac[0], mac[1]] };
        let mut notes = Vec::new();
        if placement.workers_share {
            notes.push(format!(
                "{} workers share {} CPUs and slow each other down",
                experiment.pairs() * (tx + rx),
                allowed.len()
            ));
        }
        if !memory.hugepages {
            notes.push("packet memory is not in hugepages".to_owned());
        }
        // A quota that cannot be read counts as unknown.
        let quota = CpuLimit::find(&Root::host()).ok().flatten().and_then(|limit| limit.quota_cpus);
        if let Some(quota) = quota.filter(|_| placement.idle(quota) == Some("sleep")) {
            notes.push(format!("a CPU quota of {quota} CPUs holds for all workers: they sleep while there is nothing to do, and delays are longer by up to 0.2 ms"));
        }
        let part = experiment.part.filter(|part| part.engine.needs_namespaces());
        let in_namespaces = part.map(|part| part.version);
        let pairs = launches(experiment, &placement, memory, placement.idle(quota), &names);
        Ok(Self { pairs, notes, in_namespaces, is_part: experiment.part.is_some() })
    }
}

/// Agents as processes of this machine. Dropping it kills them.
#[derive(Debug)]
pub struct LocalPlatform {
    plan: LocalPlan,
    program: PathBuf,
    log_directory: PathBuf,
    runtime_directory: PathBuf,
    node: String,
    /// Recorded as soon as they listen, so that `stop` ends them even if the start fails later.
    processes: RefCell<Vec<(String, AgentProcess)>>,
    tuners: Tuners,
    /// Dropped after the processes.
    namespaces: Option<Namespaces>,
}

impl LocalPlatform {
    /// A platform that runs `program` as planned, with logs in `log_directory`. Settings of hosts are changed by `hostplane`.
    pub fn new(
        plan: LocalPlan,
        program: PathBuf,
        hostplane: Option<PathBuf>,
        log_directory: PathBuf,
    ) -> Self {
        let tuners = Tuners::new(hostplane, &log_directory);
        let runtime_directory = log_directory.join(format!("{UNFINISHED}runtime"));
        Self {
            plan,
            program,
            log_directory,
            runtime_directory,
            node: node_name(),
            processes: RefCell::default(),
            tuners,
            namespaces: None,
        }
    }

    fn remove_runtime_directory(&self) {
        match std::fs::remove_dir_all(&self.runtime_directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.runtime_directory.display(), %error, "left behind");
            }
            _ => {}
        }
    }

    async fn start_agent(
        &self,
        launch: &AgentLaunch,
        namespace: Option<String>,
    ) -> Result<AgentEndpoint, PlatformError> {
        let starter = Starter {
            program: &self.program,
            log_directory: &self.log_directory,
            runtime_directory: &self.runtime_directory,
            node: &self.node,
        };
        let (process, endpoint) = starter.start(launch, namespace).await?;
        self.processes.borrow_mut().push((endpoint.name.clone(), process));
        Ok(endpoint)
    }

    /// Starts the receiver first, because it is the memif server.
    async fn start_pair(&self, number: usize) -> Result<Vec<AgentEndpoint>, PlatformError> {
        let pair = &self.plan.pairs[number];
        let namespace = |end: usize| Some(self.namespaces.as_ref()?.of_agent(2 * number + end));
        let rx = self.start_agent(&pair.rx, namespace(1)).await?;
        let tx = self.start_agent(&pair.tx, namespace(0)).await?;
        Ok(vec![tx, rx])
    }
}

impl Platform for LocalPlatform {
    async fn start(&mut self, say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        if let Some(version) = self.plan.in_namespaces {
            let agents = 2 * self.plan.pairs.len();
            say(&format!("creating {agents} network namespaces"));
            self.namespaces = Some(Namespaces::create(agents, &[NAMESPACE_INTERFACE.to_owned()], version)?);
        }
        std::fs::create_dir(&self.runtime_directory)
            .map_err(|reason| PlatformError::Log { path: self.runtime_directory.clone(), reason })?;
        let started = join_all((0..self.plan.pairs.len()).map(|number| self.start_pair(number))).await;
        let mut pairs = Vec::new();
        let mut failure = None;
        for pair in started {
            match pair {
                Ok(endpoints) => pairs.push(endpoints),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(pairs), Err)
    }

    async fn restart(
        &mut self,
        number: usize,
        _say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, PlatformError> {
        let pair = &self.plan.pairs[number];
        let (ended, others) = self
            .processes
            .take()
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| [&pair.tx.name, &pair.rx.name].contains(&name));
        self.processes.replace(others);
        for (_, mut process) in ended {
            process.stop(false).await;
        }
        self.start_pair(number).await
    }

    async fn tune(
        &mut self,
        setting: Option<&HostSetting>,
    ) -> Result<Option<Vec<HostSettingValue>>, PlatformError> {
        let Self { plan, namespaces, tuners, .. } = self;
        let targets = || {
            // Among the engines of a document, those without the kernel have nothing to set.
            let Some(namespaces) = namespaces else { return (!plan.is_part).then(Vec::new) };
            let agents = plan.pairs.iter().flat_map(|pair| [&pair.tx, &pair.rx]).enumerate();
            let target = |(place, agent): (usize, &AgentLaunch)| Target {
                agent: Some(agent.name.clone()),
                namespace: Some(namespaces.of_agent(place)),
                interface: NAMESPACE_INTERFACE.to_owned(),
            };
            Some(agents.map(target).collect())
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
        self.namespaces = None;
        self.remove_runtime_directory();
    }
}

impl Drop for LocalPlatform {
    fn drop(&mut self) {
        self.remove_runtime_directory();
    }
}

/// This machine's name.
pub fn node_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
