# Sourced in the guest: makes VFs and moves them between drivers.
# shellcheck shell=bash

DEVICES=/sys/bus/pci/devices
# VFs per NIC: two where they talk inside the NIC, else one on either end of the wire.
vfs_per_nic() { if [ "$VM_WIRE" = hub ]; then echo 1; else echo 2; fi; }

# make_vfs DRIVER: VFs on DRIVER (vfio-pci, igbvf or none); their addresses go to VM_VFS, their MACs to VM_MACS.
make_vfs() {
    local driver=$1 nic number=0 count=0 vf mac
    VM_VFS='' VM_MACS=''
    count=$(vfs_per_nic)
    modprobe igb
    for nic in "$DEVICES"/../drivers/igb/0000:*; do
        nic=$(basename "$nic")
        raise_pf "$nic"
        # Or igbvf would take the VFs before they have a MAC of ours.
        echo 0 >"$DEVICES/$nic/sriov_drivers_autoprobe"
        echo "$count" >"$DEVICES/$nic/sriov_numvfs"
        for vf in $(seq 0 $((count - 1))); do
            mac=02:00:00:00:0a:0$number
            ip link set "$(interface "$nic")" vf "$vf" mac "$mac"
            VM_VFS+=" $(basename "$(readlink -f "$DEVICES/$nic/virtfn$vf")")" VM_MACS+=" $mac"
            number=$((number + 1))
        done
    done
    export VM_VFS=${VM_VFS# } VM_MACS=${VM_MACS# }
    for vf in $VM_VFS; do bind_vf "$vf" "$driver" || return; done
}

interface() { ls "$DEVICES/$1/net"; }

# raise_pf PCI-ADDRESS: up, with a link. VFs of a PF that is down say "link up" and lose every packet.
raise_pf() {
    local name
    name=$(interface "$1")
    ip link set "$name" up
    until_true "link of the PF $name" is_up "$name"
}

is_up() { [ "$(cat "/sys/class/net/$1/operstate")" = up ]; }

# bind_vf PCI-ADDRESS DRIVER: fails unless the VF ends up on DRIVER. `none` leaves it without one.
bind_vf() {
    local vf=$1 driver=$2 override=$2 now
    [ "$driver" != none ] || override=''
    case $driver in
        vfio-pci) modprobe vfio-pci ;;
        igbvf) modprobe igbvf ;;
    esac
    [ ! -e "$DEVICES/$vf/driver" ] || echo "$vf" >"$DEVICES/$vf/driver/unbind"
    echo "$override" >"$DEVICES/$vf/driver_override"
    # The write succeeds whether or not a driver takes the device, or fails for a reason that the link below tells better.
    [ "$driver" = none ] || echo "$vf" >/sys/bus/pci/drivers_probe || true
    now=$(driver_of "$vf")
    [ "$now" = "$driver" ] && return
    echo "error: $vf is on $now, not on $driver; the kernel says: $(dmesg | grep -F "$vf" | tail -1)" >&2
    return 1
}

driver_of() { if [ -e "$DEVICES/$1/driver" ]; then basename "$(readlink "$DEVICES/$1/driver")"; else echo none; fi; }

# group_of PCI-ADDRESS: the number of its IOMMU group, which names its file below /dev/vfio.
group_of() { basename "$(readlink "$DEVICES/$1/iommu_group")"; }

# until_true WHAT COMMAND…: waits at most 20 s.
until_true() {
    local what=$1 attempt
    shift
    for attempt in $(seq 200); do
        "$@" && return
        sleep 0.1
    done
    echo "error: in vain for 20 s ($attempt times): $what" >&2
    return 1
}
