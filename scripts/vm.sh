#!/usr/bin/env bash
# A virtual machine with an IOMMU and SR-IOV NICs, both emulated, that runs the programs of this machine's own file system.
# Needs neither KVM nor, once prepared, root. Nothing on this machine is changed by a guest.
set -euo pipefail
called_from=$PWD
# Other users than root do not have modprobe and depmod in their PATH.
PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/vm/prepare.sh
. scripts/vm/prepare.sh
# shellcheck source=scripts/vm/qemu.sh
. scripts/vm/qemu.sh
# shellcheck source=scripts/vm/suite.sh
. scripts/vm/suite.sh
# shellcheck source=scripts/vm/machine.sh
. scripts/vm/machine.sh

usage() {
    cat <<'END'
Usage: scripts/vm.sh prepare
       scripts/vm.sh run [OPTIONS] -- SCRIPT [ARGUMENTS]
       scripts/vm.sh test [SCENARIO…|counting|others]

prepare   installs QEMU and what else is missing (root), unpacks a Debian kernel below ~/.cache/linerate/vm
run       boots, makes VFs, runs SCRIPT with bash as the guest's root, and ends as SCRIPT ended
test      runs the scenarios (default: all of them) and prints PASS, FAIL or NOT RUN for every check. `counting`: those that count packets and
          need the CPUs; `others`: those that may run beside anything

The guest sees this machine's files; what it writes to them is lost when it ends. What it leaves in /run/share/results is kept.

Options of run:
  --wire loopback|hub   loopback: one NIC, two VFs, joined inside the NIC (default); hub: two NICs, one VF each, joined by a hub
  --capture FILE        pcap of what passes the hub
  --results DIR         where /run/share/results goes, with the kernel's log (default: nowhere)
  --time-limit SECONDS  the guest is ended after that (default: 300)
  --memory SIZE         the guest's memory (default: 1G)
  --hugepages N         2 MB pages to reserve (default: 128)
  --driver NAME         what the VFs are left on: vfio-pci (default), igbvf or none
  --without MODULE      a kernel module that the guest must not have, such as vfio_iommu_type1 (repeatable)
  --no-iommu            no IOMMU; the VFs are then left without a driver
  --counted-clock       the guest's clock counts its instructions: whatever else this machine does, nothing in the guest becomes slower or faster

Environment: LINERATE_BIN  directory of linerate-dataplane and hugepage-check (default: target/debug)
             DEBIAN_MIRROR (default: http://deb.debian.org/debian)

Exit codes: SCRIPT's own; 124 the time limit; 125 the guest ended without a result; 130 interrupted. test: 1 when a check failed.
END
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
    prepare) prepare ;;
    run) run "$@" ;;
    test) run_suite "$@" ;;
    -h | --help | help) usage ;;
    '') usage >&2 && exit 2 ;;
    *) usage_error "there is no command '$command'" ;;
esac
