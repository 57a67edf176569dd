//! EAL options that depend on the agent's placement: the CPUs it may use and the devices assigned to it.

use hugepage_check::environment::Environment;
use rustix::thread::{CpuSet, sched_getaffinity};

use super::args::Command;
use super::output::Failure;
use crate::eal_args::EalPlan;
use crate::lcore_layout::lcores;

/// The user's EAL options, and those found for an agent on request.
pub(super) fn complete(eal: &[String], command: &Command) -> Result<Vec<String>, Failure> {
    let mut options = eal.to_vec();
    let Command::Agent(agent) = command else { return Ok(options) };
    if let Some(workers) = agent.workers {
        if EalPlan::new("", eal).lcores().is_some() {
            return Err(Failure::usage(
                "--workers and EAL's -l or --lcores exclude each other; give one of them",
            ));
        }
        let allowed = allowed_cpus()?;
        let granted = agent.granted_cpus.map_or(allowed.len(), usize::from);
        options.extend(["--lcores".to_owned(), lcores(&allowed, usize::from(workers), granted)]);
    }
    if agent.assigned_devices {
        let devices = assigned_devices(&Environment::of_this_process())?;
        options.extend(devices.into_iter().flat_map(|address| ["-a".to_owned(), address]));
    }
    Ok(options)
}

fn allowed_cpus() -> Result<Vec<usize>, Failure> {
    let set = sched_getaffinity(None)
        .map_err(|error| Failure::failed(format!("the CPUs this process may use are not known: {error}")))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

fn assigned_devices(environment: &Environment) -> Result<Vec<String>, Failure> {
    for assignment in environment.assignments() {
        if let Err(problem) = &assignment.devices {
            let variable = &assignment.variable;
            return Err(Failure::failed(format!("{variable}={}: {problem}", assignment.text)));
        }
    }
    let devices: Vec<_> = environment.devices().iter().map(ToString::to_string).collect();
    if devices.is_empty() {
        return Err(Failure::failed(
            "no device was assigned: there is no variable PCIDEVICE_*\n  remedy: ask for the device plugin's resource in the pod's limits, \
             or give the device with EAL's -a",
        ));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn devices_are_taken_from_lists_and_descriptions_once() {
        let both = environment(&[
            ("PCIDEVICE_INTEL_COM_DPDK", "0000:03:02.1,0000:03:02.0"),
            ("PCIDEVICE_INTEL_COM_DPDK_INFO", r#"{"0000:03:02.0":{"vfio":{"dev-mount":"/dev/vfio/6"}}}"#),
        ]);
        assert_eq!(assigned_devices(&both).unwrap(), ["0000:03:02.0", "0000:03:02.1"]);
        for (variables, part) in
            [(&[][..], "no device was assigned"), (&[("PCIDEVICE_X", "eth0")], "PCIDEVICE_X=eth0")]
        {
            let message = format!("{:?}", assigned_devices(&environment(variables)).unwrap_err());
            assert!(message.contains(part), "{message}");
        }
    }
}
