//! All checks, in the order of the report.

use crate::scene::CheckFn;
use crate::{cpu, device, hugepages, iommu, leftover, mounts, network, socket_mem, vfio};

/// Checks of hugepages, IOMMU, VFIO, devices, CPUs and the Linux network stack.
pub(crate) const ALL: &[CheckFn] = &[
    hugepages::free::check,
    |scene| vec![leftover::check(scene.root, &scene.mounts)],
    |scene| vec![mounts::check(scene.root, &scene.mounts, &scene.survey)],
    hugepages::limit::check,
    socket_mem::check,
    |scene| vec![iommu::check(scene.root, scene.needs_iommu())],
    |scene| vfio::checks(scene.root, scene.needs_vfio(), scene.needs_iommu()).to_vec(),
    vfio::no_iommu::check,
    vfio::memlock::check,
    vfio::busy::check,
    |scene| device::function::check(scene.root, &scene.functions),
    |scene| scene.devices.iter().map(|facts| device::binding::check(facts, true)).collect(),
    |scene| scene.assigned.iter().map(|facts| device::binding::check(facts, false)).collect(),
    device::vf::check,
    device::rdma::check,
    device::pcie::check,
    device::plugin::check,
    cpu::allowed::check,
    cpu::exclusive::check,
    cpu::quota::check,
    cpu::isolation::check,
    cpu::siblings::check,
    cpu::locality::check,
    cpu::frequency::check,
    cpu::steal::check,
    network::link::check,
    network::steering::check,
    network::buffers::check,
    network::conntrack::check,
];
