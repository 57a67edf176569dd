//! Start of EAL, and explanations of its refusals.

use std::fs;

use super::output::Failure;
use crate::dpdk::eal::{self, Eal};
use crate::dpdk::id::{LcoreId, PortId};
use crate::dpdk::port::describe;
use crate::eal_args::{Device, EalPlan};
use crate::eal_refusal::{Evidence, explain, explain_lack_of_files, explain_missing_device};
use crate::host;
use hugepage_check::device;
use hugepage_check::requirements::Requirements;
use hugepage_check::root::Root;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Starts EAL and checks that every requested device is present: EAL may skip one silently.
pub(super) fn start(plan: &EalPlan) -> Result<Eal, Failure> {
    lcores_have_cpus(plan)?;
    let eal = Eal::start(&plan.arguments).map_err(|refused| {
        let log = eal::early_log();
        let errno = refused.errno.to_string();
        let allowed_cpus = allowed_cpus();
        let evidence = Evidence {
            log: &log,
            first_error: &refused.first_error,
            errno: &errno,
            allowed_cpus: &allowed_cpus,
            open_files: host::open_files_limit(),
        };
        Failure::failed(explain(plan, &evidence))
    })?;
    let present: Vec<String> = eal
        .ports()
        .into_iter()
        .filter_map(|port| describe(&eal, port).ok())
        .map(|info| info.device)
        .collect();
    for wanted in &plan.devices {
        if !present.iter().any(|name| name == wanted.name()) {
            return Err(Failure::failed(missing(wanted)));
        }
    }
    Ok(eal)
}

/// CPUs and devices that these EAL options require. The memory is already allocated when a preflight asks.
pub(super) fn requirements(plan: &EalPlan) -> Requirements {
    let lcores = plan.lcores().map(|list| format!("lcores={list}"));
    let devices = plan.devices.iter().filter_map(|device| match device {
        Device::Pci(address) => Some(format!("device={address}")),
        Device::Virtual(_) => None,
    });
    let mut wanted = Requirements::default();
    for requirement in lcores.into_iter().chain(devices).filter_map(|text| text.parse().ok()) {
        // EAL itself refuses a second list of lcores.
        let _ = wanted.add(requirement);
    }
    wanted
}

/// Checks that every lcore's CPU lies within the cpuset; otherwise EAL would end the process. The kernel
/// decides: a process can widen its affinity mask, but not its cpuset.
fn lcores_have_cpus(plan: &EalPlan) -> Result<(), Failure> {
    // EAL explains an unreadable list.
    let Some(cpus) = requirements(plan).lcores else { return Ok(()) };
    let Ok(before) = sched_getaffinity(None) else { return Ok(()) };
    let forbidden = cpus.iter().find(|cpu| {
        let mut one = CpuSet::new();
        let cpu = *cpu as usize;
        cpu < CpuSet::MAX_CPU && {
            one.set(cpu);
            sched_setaffinity(None, &one).is_err()
        }
    });
    let _ = sched_setaffinity(None, &before);
    match forbidden {
        None => Ok(()),
        Some(cpu) => Err(Failure::failed(format!(
            "an lcore is to run on CPU {cpu}, which this process may not use (allowed are {})\n  remedy: choose lcores among the allowed \
             CPUs, or map them with --lcores, as in --lcores 0@0,1@0; in a pod, ask for more CPUs",
            allowed_cpus()
        ))),
    }
}

/// Explanation for a requested device that EAL did not bring up: EAL continues without it, often silently.
fn missing(device: &Device) -> String {
    let name = device.name();
    let log = eal::early_log();
    let lack = || explain_lack_of_files(&log, host::open_files_limit());
    if let Some(refusal) = explain_missing_device(&log).or_else(lack) {
        return format!("device {name}: {refusal}");
    }
    match device {
        Device::Pci(address) => device::explain(&Root::host(), address).to_string(),
        Device::Virtual(_) => {
            format!("device {name}: EAL made no port of it\n  remedy: see EAL's messages above")
        }
    }
}

/// CPUs that this process may use, as the kernel writes them.
fn allowed_cpus() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map_or_else(|| "unknown".to_owned(), |list| list.trim().to_owned())
}

/// The worker lcores.
pub(super) fn workers(eal: &Eal) -> Result<Vec<LcoreId>, Failure> {
    let workers = eal.workers();
    if workers.is_empty() {
        return Err(Failure::failed(format!(
            "EAL has only its main lcore ({}), and packets need at least one worker\n  remedy: give two lcores, as in -l 0-1; they may share \
             a CPU: --lcores 0@0,1@0",
            eal.main_lcore()
        )));
    }
    Ok(workers)
}

/// The port with this number, if it exists.
pub(super) fn port(eal: &Eal, port: u16) -> Result<PortId, Failure> {
    let ports = eal.ports();
    if ports.contains(&PortId(port)) {
        return Ok(PortId(port));
    }
    let have = match ports.len() {
        0 => "EAL found no port at all".to_owned(),
        n => format!("there are {n}, numbered from 0"),
    };
    Err(Failure::failed(format!(
        "there is no port {port}: {have}\n  remedy: name a device with -a 0000:03:02.0 (bound to vfio-pci) or --vdev net_…; `-- ports` \
         lists what EAL sees, hugepage-check says what is missing"
    )))
}
