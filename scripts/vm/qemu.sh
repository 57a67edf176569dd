# Sourced by vm.sh: starts the guest, waits for its end, and leaves nothing behind.
# shellcheck shell=bash

# From vm.sh:
: "${called_from:?}"
GUEST_CPUS=2
# From the time limit to a kill that cannot be refused.
GRACE_S=5
# An emulated machine of several CPUs may hang while it boots, which takes 8 s, or a minute where all CPUs are busy.
BOOT_S=100
# Exit code of a QEMU that one of its own assertions ended: with several emulated CPUs, rarely, while the guest sets up its IOMMU.
ABORTED=134
scratch='' guest_pid=''

usage_error() {
    printf '%s\n' "error: $*; see: scripts/vm.sh --help" >&2
    exit 2
}

# run [OPTIONS] -- SCRIPT [ARGUMENTS]: sets the variables below from the options, then boots.
run() {
    local wire=loopback capture='' results='' time_limit=300 memory=1G hugepages=128 driver=vfio-pci without=() iommu=true counted=false script
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        case $1 in
            --no-iommu)
                iommu=false
                shift
                continue
                ;;
            --counted-clock)
                counted=true
                shift
                continue
                ;;
            --wire | --capture | --results | --time-limit | --memory | --hugepages | --driver | --without) ;;
            *) usage_error "there is no option '$1' (the script stands behind --)" ;;
        esac
        case ${2:---} in --) usage_error "$1 needs a value" ;; esac
        case $1 in
            --wire) wire=$2 ;;
            --capture) capture=$(from_caller "$2") ;;
            --results) results=$(from_caller "$2") ;;
            --time-limit) time_limit=$2 ;;
            --memory) memory=$2 ;;
            --hugepages) hugepages=$2 ;;
            --driver) driver=$2 ;;
            --without) without+=("$2") ;;
        esac
        shift 2
    done
    [ $# -ge 2 ] || usage_error "no script to run"
    script=$(from_caller "$2")
    shift 2
    case $wire in loopback | hub) ;; *) usage_error "--wire $wire: loopback or hub" ;; esac
    case $driver in vfio-pci | igbvf | none) ;; *) usage_error "--driver $driver: vfio-pci, igbvf or none" ;; esac
    [[ $time_limit =~ ^[1-9][0-9]*$ ]] || usage_error "--time-limit $time_limit: seconds, a whole number"
    [[ $hugepages =~ ^[0-9]+$ ]] || usage_error "--hugepages $hugepages: a number of pages"
    [[ $memory =~ ^[1-9][0-9]*[MG]$ ]] || usage_error "--memory $memory: a size such as 1G or 768M"
    [ -z "$capture" ] || [ "$wire" = hub ] || usage_error "--capture needs --wire hub: inside a NIC there is no wire to listen on"
    [ -f "$script" ] || die "$script: no such file"
    is_prepared || die "the virtual machine is not prepared: run scripts/vm.sh prepare"
    # Without an IOMMU vfio-pci takes no device.
    $iommu || [ "$driver" != vfio-pci ] || driver=none

    scratch=$(mktemp -d)
    trap 'end_guest' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -p "$scratch/share/results"
    write_settings "$script" "$@" >"$scratch/share/settings"
    boot
}

# from_caller PATH: the path as the caller meant it, absolute; this script works in the source tree.
from_caller() {
    case $1 in
        /*) echo "$1" ;;
        *) echo "$called_from/$1" ;;
    esac
}

# programs: the directory of the programs under test.
programs() {
    if [ -n "${LINERATE_BIN:-}" ]; then from_caller "$LINERATE_BIN"; else echo "${CARGO_TARGET_DIR:-target}/debug"; fi
}

# write_settings SCRIPT [ARGUMENTS]: what guest.sh needs to know, for bash to read.
write_settings() {
    local bin
    # A script of the user's may need none.
    bin=$(realpath -e "$(programs)" 2>/dev/null) || bin=''
    printf '%s=%q\n' SETTINGS_SCRIPTS "$PWD/scripts/vm" SETTINGS_BIN "$bin" SETTINGS_KERNEL "$VM_CACHE/kernel" \
        SETTINGS_HUGEPAGES "$hugepages" SETTINGS_DRIVER "$driver" SETTINGS_WIRE "$wire" SETTINGS_DIR "$called_from"
    printf 'SETTINGS_WITHOUT=(%s)\n' "${without[*]@Q}"
    local words=("$@")
    printf 'SETTINGS_COMMAND=(%s)\n' "${words[*]@Q}"
}

boot() {
    local share="$scratch/share" status=0
    # no_timer_check: on a busy machine the kernel would take its timer for broken. mitigations=off: nothing here is to be kept from anybody.
    local kernel="console=ttyS0 quiet tsc=reliable panic=-1 no_timer_check mitigations=off intel_iommu=on iommu=pt"
    # An Intel model's counter runs at one rate, and the kernel keeps its time by it: so delays between processes of the guest are valid.
    # Without erms and fsrm: QEMU emulates instructions that move bytes one by one, and a kernel that takes them for fast copies and clears all memory so.
    local machine=(-nodefaults -no-user-config -display none -no-reboot -M q35 -cpu "max,-erms,-fsrm,vendor=GenuineIntel,family=6,model=85,stepping=4" -smp "$GUEST_CPUS" -m "$memory")
    # An instruction takes 8 ns, whatever else this machine does, and nothing happens while all CPUs sleep. QEMU needs one thread for that.
    if $counted; then machine+=(-accel "tcg,thread=single" -icount "shift=3,sleep=off"); else machine+=(-accel "tcg,thread=multi"); fi
    # The IOMMU has to stand before the devices that it serves.
    ! $iommu || machine+=(-device "intel-iommu,intremap=on")
    machine+=(-kernel "$(kernel_image)" -initrd "$VM_CACHE/initramfs"
        -append "$kernel linerate.guest=$PWD/scripts/vm/guest.sh"
        -serial "file:$scratch/kernel.log" -chardev "stdio,id=out,signal=off" -serial chardev:out
        -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
        -virtfs "local,path=$share,mount_tag=share,security_model=none")
    nics
    start_guest "${machine[@]}"
    if ! boots; then
        echo "the guest did not boot within $BOOT_S s; it is started once more" >&2
        { kill -KILL "$guest_pid" && wait "$guest_pid"; } 2>/dev/null || true
        start_guest "${machine[@]}"
    fi
    wait "$guest_pid" || status=$?
    if [ "$status" -eq "$ABORTED" ] && [ ! -e "$share/phase" ]; then
        echo "QEMU broke off while the guest booted; it is started once more: $(tail -n 1 "$scratch/qemu.log")" >&2
        status=0
        start_guest "${machine[@]}"
        wait "$guest_pid" || status=$?
    fi
    guest_pid=''
    keep_results
    if [ -f "$share/status" ]; then
        exit "$(cat "$share/status")"
    fi
    tail -n 20 "$scratch/qemu.log" "$scratch/kernel.log" >&2 || true
    case $status in
        124 | 137)
            printf '%s\n' "error: the guest did not end within $time_limit s, it was in: $(phase); see the log above, or allow more: --time-limit" >&2
            exit 124
            ;;
        *)
            printf '%s\n' "error: the guest ended without a result (QEMU: $status), it was in: $(phase); see the log above" >&2
            exit 125
            ;;
    esac
}

# start_guest OPTIONS of QEMU: the guest must not outlive this script, even if that is killed.
start_guest() {
    setpriv --pdeathsig TERM timeout -k "$GRACE_S" "$time_limit" setpriv --pdeathsig KILL "$QEMU" "$@" </dev/null 2>"$scratch/qemu.log" &
    guest_pid=$!
}

# boots: true when the guest has said what it does, or has ended.
boots() {
    local begun=$SECONDS
    until [ -e "$scratch/share/phase" ] || ! kill -0 "$guest_pid" 2>/dev/null; do
        [ $((SECONDS - begun)) -lt "$BOOT_S" ] || return 1
        sleep 0.2
    done
}

# phase: the last thing the guest said it was doing.
phase() { cat "$scratch/share/phase" 2>/dev/null || echo "the boot"; }

nics() {
    local nic count=1
    [ "$wire" = loopback ] || count=2
    for nic in $(seq 0 $((count - 1))); do
        machine+=(-device "pcie-root-port,id=port$nic,slot=$nic,chassis=$nic")
        machine+=(-netdev "hubport,id=wire$nic,hubid=0" -device "igb,bus=port$nic,mac=52:54:00:00:00:0$nic,romfile=,netdev=wire$nic")
    done
    [ -z "$capture" ] || machine+=(-object "filter-dump,id=capture,netdev=wire0,file=$capture")
}

keep_results() {
    [ -n "$results" ] || return 0
    mkdir -p "$results"
    cp -R "$scratch/share/results/." "$results/"
    cp "$scratch/kernel.log" "$results/kernel.log"
}

# end_guest: on every way out.
end_guest() {
    if [ -n "$guest_pid" ]; then
        kill -TERM "$guest_pid" 2>/dev/null || true
        wait "$guest_pid" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
