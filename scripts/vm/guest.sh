#!/usr/bin/env bash
# Runs in the guest, as root, below init: prepares it as the settings say, runs the command, leaves its exit status in the share.
set -euo pipefail
# shellcheck disable=SC1091
. /run/share/settings
# Set by the settings:
: "${SETTINGS_SCRIPTS:?}" "${SETTINGS_BIN?}" "${SETTINGS_KERNEL:?}" "${SETTINGS_HUGEPAGES:?}" "${SETTINGS_DRIVER:?}" "${SETTINGS_WIRE:?}" "${SETTINGS_DIR:?}"
stty -F /dev/ttyS1 raw -echo
# A pipe, because programs behave differently on a terminal.
exec </dev/null > >(exec cat >/dev/ttyS1) 2>&1
output=$!
export PATH="/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root LC_ALL=C.UTF-8
export VM_SCRIPTS=$SETTINGS_SCRIPTS VM_WIRE=$SETTINGS_WIRE VM_RESULTS=/run/share/results
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

phase() { echo "$*" >/run/share/phase; }

system() {
    local release module
    release=$(uname -r)
    # Users other than root may not be let through the directories above it.
    mkdir /run/bin
    [ -z "$SETTINGS_BIN" ] || mount --bind "$SETTINGS_BIN" /run/bin
    mkdir -p /dev/pts /dev/shm /dev/hugepages /lib/modules /etc/modprobe.d
    mount -t devpts pts /dev/pts
    mount -t tmpfs shm /dev/shm
    mount -t hugetlbfs -o pagesize=2M huge /dev/hugepages
    mount -t cgroup2 cgroup /sys/fs/cgroup
    # The machine's own /lib/modules may be for another kernel.
    ln -sfn "$SETTINGS_KERNEL/lib/modules/$release" "/lib/modules/$release"
    for module in "${SETTINGS_WITHOUT[@]}"; do
        echo "install $module /bin/false" >>/etc/modprobe.d/linerate-vm.conf
    done
    # What the kernel itself sends would stand among the frames that are counted.
    echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
    echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
    ip link set lo up
    echo "$SETTINGS_HUGEPAGES" >/proc/sys/vm/nr_hugepages
    [ "$(cat /proc/sys/vm/nr_hugepages)" -eq "$SETTINGS_HUGEPAGES" ] \
        || echo "only $(cat /proc/sys/vm/nr_hugepages) of $SETTINGS_HUGEPAGES hugepages: give the guest more memory (--memory)" >&2
}

# few_drivers: EAL opens every driver that is installed, over a hundred. Those of the devices of guests suffice.
few_drivers() {
    local installed
    for installed in /usr/lib/*/dpdk/pmds-*; do
        [ -d "$installed" ] || continue
        mkdir /run/drivers
        cp -P "$installed"/librte_{bus_pci,bus_vdev,mempool_ring,net_af_packet,net_af_xdp,net_e1000,net_memif}.so* /run/drivers/
        mount --bind /run/drivers "$installed"
    done
}

status=0
phase "its preparation"
system
few_drivers
if make_vfs "$SETTINGS_DRIVER"; then
    phase "${SETTINGS_COMMAND[0]}"
    cd "$SETTINGS_DIR" 2>/dev/null || cd /
    bash "${SETTINGS_COMMAND[@]}" || status=$?
else
    status=125
fi
# What is still on its way is waited for, but not for a process that the command left behind.
exec >/dev/null 2>&1
timeout 5 tail --pid="$output" -s 0.05 -f /dev/null || true
echo "$status" >/run/share/status
