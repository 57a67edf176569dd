#!/usr/bin/env bash
# A machine without an IOMMU, whose kernel was told to use one: vfio-pci takes no VF, hugepage-check and linerate-dataplane say why.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"
# shellcheck source=scripts/vm/preflight.sh
. "$VM_SCRIPTS/preflight.sh"

equal "no_iommu: the kernel's command line says otherwise" 1 "$(grep -c 'intel_iommu=on' /proc/cmdline)"
if bind_vf "$vf" vfio-pci 2>"$VM_RESULTS/bind.err"; then fail "no_iommu: vfio-pci refuses the VF" "it took it"; else pass "no_iommu: vfio-pci refuses the VF"; fi
attempt "${CHECK[@]}" >"$VM_RESULTS/no_iommu.json"
names no_iommu iommu.groups "no IOMMU group"
names no_iommu device.binding "no IOMMU group"
attempt "${START[@]}" >"$VM_RESULTS/no_iommu.start" 2>"$VM_RESULTS/no_iommu.err"
refuses no_iommu "no IOMMU group"
end_scenario
