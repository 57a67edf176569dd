#!/usr/bin/env bash
# shellcheck disable=SC2317 # the faults' functions are called by their names in a table
# One fault after the other on a guest that is otherwise ready: hugepage-check must name it beforehand, and linerate-dataplane
# when it is started all the same.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"
# shellcheck source=scripts/vm/preflight.sh
. "$VM_SCRIPTS/preflight.sh"

# fault; check that must fail; pattern of its summary; pattern of linerate-dataplane's error.
FAULTS='
no_hugepages;   hugepages.socket-mem; 0 MB free;               no free hugepages
on_igbvf;       device.binding;       kernel driver igbvf;     kernel driver igbvf
no_driver;      device.binding;       bound to no driver;      bound to no driver
no_vfio;        vfio.driver;          not there;               vfio-pci is not loaded
no_type1;       vfio.iommu-type1;     not there;               vfio_iommu_type1
no_permission;  device.binding;       may not open /dev/vfio/; no permission
low_memlock;    vfio.memlock;        lock|pin;                locked-memory limit
cpuset;         cpu.allowed;         CPU 1|lcore 1;           CPU 1|lcore 1
cgroup_hugetlb; hugepages.cgroup;    20 MB;                   limit|control group
in_use;         vfio.group;          held|in use;             in use
'
PAGES=/proc/sys/vm/nr_hugepages
pages=$(cat "$PAGES")
group=/dev/vfio/$(group_of "$vf")
cgroups=/sys/fs/cgroup

# One function per fault: makes it, runs a command in it, repairs it.
fault_no_hugepages() {
    echo 0 >"$PAGES"
    attempt "$@"
    echo "$pages" >"$PAGES"
}
fault_on_igbvf() { with_driver igbvf "$@"; }
fault_no_driver() { with_driver none "$@"; }
fault_no_vfio() {
    remove_vfio
    attempt "$@"
    bind_all vfio-pci
}
fault_no_type1() {
    remove_vfio
    echo "install vfio_iommu_type1 /bin/false" >/etc/modprobe.d/no-type1.conf
    bind_all vfio-pci 2>/dev/null
    attempt "$@"
    rm /etc/modprobe.d/no-type1.conf
    modprobe vfio_iommu_type1
}
fault_no_permission() { attempt as_nobody "$@"; }
fault_low_memlock() {
    chown nobody "$group"
    # Root may lock as much as it likes.
    attempt as_nobody prlimit --memlock=65536:65536 "$@"
    chown root "$group"
}
fault_cpuset() { in_cgroup cpuset.cpus 0 "$@"; }
fault_cgroup_hugetlb() { in_cgroup hugetlb.2MB.max 20M "$@"; }
fault_in_use() {
    exec {held}<>"$group"
    attempt "$@" {held}>&-
    exec {held}>&-
}

with_driver() {
    bind_vf "$vf" "$1"
    shift
    attempt "$@"
    bind_vf "$vf" vfio-pci
}
bind_all() { for each in $VM_VFS; do bind_vf "$each" "$1"; done; }
remove_vfio() {
    bind_all none
    modprobe -r vfio_pci vfio_iommu_type1
}
# in_cgroup FILE LIMIT COMMAND…
in_cgroup() {
    local dir="$cgroups/limited"
    echo "+cpuset +hugetlb" >"$cgroups/cgroup.subtree_control"
    mkdir "$dir"
    echo "$2" >"$dir/$1"
    shift 2
    # shellcheck disable=SC2016 # for the inner shell
    attempt sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$dir" "$@"
    rmdir "$dir"
}

trim() { sed 's/^ *//; s/ *$//' <<<"$1"; }

all_is_well prepared
while IFS=';' read -r fault check summary error; do
    [ -n "$fault" ] || continue
    begun=$(uptime_s)
    "fault_$fault" "${CHECK[@]}" >"$VM_RESULTS/$fault.json"
    names "$fault" "$(trim "$check")" "$(trim "$summary")"
    "fault_$fault" "${START[@]}" >"$VM_RESULTS/$fault.start" 2>"$VM_RESULTS/$fault.err"
    refuses "$fault" "$(trim "$error")"
    note "$fault: $(since "$begun") s"
done <<<"$FAULTS"
# No fault: only a cpuset keeps EAL from a CPU, an affinity mask it overrides.
attempt taskset -c 0 "${START[@]}" >"$VM_RESULTS/affinity.start" 2>/dev/null
json "affinity to CPU 0: linerate-dataplane starts" "$VM_RESULTS/affinity.start" "$status == 0"
attempt taskset -c 0 "${CHECK[@]}" >"$VM_RESULTS/affinity.json"
json "affinity to CPU 0: hugepage-check finds nothing that fails" "$VM_RESULTS/affinity.json" "$status == 0"
# EAL opens a file for every hugepage, and says that memory is lacking when it may open no more: at its start, or when a pool is made.
attempt prlimit --nofile=24:24 "${START[@]}" >"$VM_RESULTS/few_files.start" 2>"$VM_RESULTS/few_files.err"
refuses few_files "file descriptors"
attempt prlimit --nofile=24:24 linerate-dataplane --lcores "$LCORES" -m 2 -a "$vf" -- rx --rxd 4096 --duration 1s --quiet --json \
    >"$VM_RESULTS/few_files_later.start" 2>"$VM_RESULTS/few_files_later.err"
json "few_files: so does a pool that is made later" "$VM_RESULTS/few_files_later.start" \
    '.error.message | test("too few file descriptors") and test("ulimit -n")'
note "few_files: $(value "$VM_RESULTS/few_files_later.start" '.error.message')"
all_is_well repaired
nothing_held afterwards
end_scenario
