//! What an end can see of its own host: limits, connection tracking, the way to the other end, CPUs.
//!
//! All of it is read without any privilege, from procfs, sysfs and the kernel's routing socket. What a kernel or
//! a container does not show is null.

mod cpus;
mod read;

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use self::cpus::{CpuView, Relation, Softnet, relation};
pub(crate) use self::read::{Conntrack, Limits, Link};
use crate::routing::{Packets, Routing};
pub(crate) use crate::routing::{Queue, Route};
use crate::streams::pool::allowed_cpus;

/// What an end sees of its host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct HostView {
    /// Name of the host; in a pod, the pod's name.
    pub(crate) host: Option<String>,
    /// Release of the kernel.
    pub(crate) kernel: Option<String>,
    pub(crate) limits: Limits,
    /// Connection tracking of this network namespace; null where the kernel does not track here.
    pub(crate) conntrack: Option<Conntrack>,
    /// Route to the other end; null where the kernel does not tell.
    pub(crate) route: Option<Route>,
    /// The interface of that route.
    pub(crate) link: Option<Link>,
    /// The interface's queueing disciplines.
    pub(crate) queues: Vec<Queue>,
    /// CPUs of the host that are online.
    pub(crate) cpus: Vec<CpuView>,
    /// Those that this process may use.
    pub(crate) allowed: Vec<u32>,
    /// Packets that waited for the kernel's attention; null where it does not tell.
    pub(crate) softnet: Option<Softnet>,
}

impl HostView {
    /// What this end sees now; `peer` is the other one.
    pub(crate) fn take(peer: IpAddr) -> Self {
        let mut routing = Routing::open().ok();
        let packets = Packets { to: peer, from: None, through: None };
        let route = routing.as_mut().and_then(|routing| routing.route(&packets).ok());
        let interface = route.as_ref().and_then(|route| route.interface.as_deref());
        let queues = routing.as_mut().zip(interface).and_then(|(routing, name)| routing.queues(name).ok());
        Self {
            host: read::line("/proc/sys/kernel/hostname"),
            kernel: read::line("/proc/sys/kernel/osrelease"),
            limits: Limits::read(),
            conntrack: Conntrack::read(),
            link: interface.and_then(Link::read),
            queues: queues.unwrap_or_default(),
            route,
            cpus: cpus::read(Path::new("/sys/devices/system/cpu")),
            allowed: allowed_cpus(),
            softnet: read::text("/proc/net/softnet_stat").and_then(|text| Softnet::parse(&text)),
        }
    }

    /// The CPU that received most packets since an earlier view, and its share of them, 0…1. `None` when no
    /// packet came.
    pub(crate) fn busiest_receiver(&self, before: &Self) -> Option<(u32, f64)> {
        let more = |cpu: &CpuView| {
            let earlier = before.cpus.iter().find(|other| other.cpu == cpu.cpu)?;
            cpu.receive_softirqs.zip(earlier.receive_softirqs).map(|(now, then)| now.saturating_sub(then))
        };
        let counts: Vec<(u32, u64)> =
            self.cpus.iter().filter_map(|cpu| Some((cpu.cpu, more(cpu)?))).collect();
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let (cpu, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (total > 0).then(|| (cpu, most as f64 / total as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_sees_its_loopback_interface() {
        let view = HostView::take([127, 0, 0, 1].into());
        let route = view.route.expect("a route");
        assert_eq!((route.interface.as_deref(), route.gateway), (Some("lo"), None));
        assert_eq!(view.link.as_ref().map(|link| (link.name.as_str(), link.physical)), Some(("lo", false)));
        assert!(view.cpus.len() >= view.allowed.len() && !view.allowed.is_empty());
        assert!(view.limits.receive_max.is_some() && view.limits.tcp_receive.is_some());
    }

    #[test]
    fn the_cpu_that_receives_is_the_one_whose_count_grew_most() {
        let view = |counts: [u64; 2]| HostView {
            cpus: (0..)
                .zip(counts)
                .map(|(cpu, count)| CpuView { cpu, receive_softirqs: Some(count), ..CpuView::default() })
                .collect(),
            ..HostView::default()
        };
        let before = view([1000, 5]);
        assert_eq!(view([1010, 35]).busiest_receiver(&before), Some((1, 0.75)));
        assert_eq!(before.busiest_receiver(&before), None);
    }
}
