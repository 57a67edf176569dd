#!/usr/bin/env bash
# Sets up what is missing and prints the packet rates of every engine as ratios to trafgen and testpmd, all in turns on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_engines.sh [--seconds N] [--rounds N] [--size BYTES] [--devices TX,RX | --vm]

Runs one experiment document over five engines as fast as they can, then trafgen and testpmd on the same paths, in turns:
  devices    two VFs or other devices; without any, virtio in user space: the port of a virtual machine (virtio-user) and its host's (vhost-user)
  memif      shared memory between two processes
  af_xdp, af_packet, sockets  two network namespaces, joined by veth and a bridge
Prints the packets per second sent and received by each, as the median of several rounds, with ratios to trafgen and testpmd of the same rounds;
and the packets of all rounds, as each program and an independent counter have them. testpmd runs over the devices, memif and af_packet; af_xdp
and sockets are compared with its af_packet. trafgen has no receiver: interfaces count what arrives. Needs root; the machine should do nothing
else.

  --seconds N   how long each run sends (default: 3)
  --rounds N    rounds, an odd number (default: 5)
  --size BYTES  bytes of a frame, check sequence included: 64 to 1518 (default: 64)
  --devices TX,RX  two devices that a link joins, such as the PCI addresses of VFs on vfio-pci
  --vm          all this in a virtual machine, with two VFs of its emulated NIC as devices; its CPUs are emulated, too: ratios count, no rate does

Environment: LINERATE_BIN  directory of linerate, linerate-dataplane and linerate-hostplane (default: target/release, built before)

Examples:
  scripts/bench_engines.sh --rounds 3 --size 512
  scripts/bench_engines.sh --devices 0000:3b:02.0,0000:3b:02.1
  scripts/bench_engines.sh --vm --rounds 3
END
}
usage_error() { printf '%s\n' "error: $*; see scripts/bench_engines.sh --help" >&2 && exit 2; }
seconds=3 rounds=5 size=64 devices='' vm=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds | --rounds | --size | --devices) [ $# -ge 2 ] || usage_error "$1 needs a value" ;;&
        --seconds) seconds=$2 && shift 2 ;;
        --rounds) rounds=$2 && shift 2 ;;
        --size) size=$2 && shift 2 ;;
        --devices) devices=$2 && shift 2 ;;
        --vm) vm=true && shift ;;
        *) usage_error "there is no option '$1'" ;;
    esac
done
for number in "$seconds" "$rounds" "$size"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || usage_error "'$number' is not a number above 0"
done
if [ "$size" -lt 64 ] || [ "$size" -gt 1518 ]; then usage_error "--size $size is outside 64 to 1518"; fi
[ -z "$devices" ] || [[ $devices == ?*,?* ]] || usage_error "--devices $devices is not TX,RX"
[ -z "$devices" ] || [ -z "$vm" ] || usage_error "--vm has devices of its own"
[ "$(id -u)" -eq 0 ] || die "network namespaces need root; run as root"

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}" netsniff-ng iproute2 jq
if [ -z "${LINERATE_BIN:-}" ]; then
    need_rust
    cargo build --release --quiet -p linerate -p linerate-dataplane -p linerate-hostplane --bins
fi
bin=$(realpath -e "${LINERATE_BIN:-${CARGO_TARGET_DIR:-target}/release}")
if [ -n "$vm" ]; then
    scripts/vm.sh prepare
    # Starts of programs take most of it: an emulated CPU needs seconds for each.
    limit=$((300 + rounds * (240 + 12 * seconds)))
    LINERATE_BIN=$bin exec scripts/vm.sh run --time-limit "$limit" --memory 2G --hugepages 256 -- scripts/vm/engines.sh \
        --seconds "$seconds" --rounds "$rounds" --size "$size"
fi

work=$(mktemp -d)
engines=(devices memif af_xdp af_packet sockets)
if [ -n "$devices" ]; then
    tx_device=${devices%%,*} rx_device=${devices#*,}
else
    tx_device="net_virtio_user0,path=$work/virtio,server=1" rx_device="net_vhost0,iface=$work/virtio,client=1"
fi
nets="bench-$$"
children=()
clean_up() {
    [ ${#children[@]} -eq 0 ] || kill "${children[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    local name
    for name in a b lan; do ip netns del "$nets-$name" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The path of Linerate's own namespaces: veth, bridge, veth.
mac_a=02:00:00:00:00:0a mac_b=02:00:00:00:00:0b
for name in a b lan; do
    ip netns add "$nets-$name"
    # What the kernel itself sends would be counted, too.
    ip netns exec "$nets-$name" tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6 <<<1 >/dev/null 2>&1 || true
done
ip -n "$nets-lan" link add hub type bridge
ip -n "$nets-lan" link set hub up
for end in a b; do
    ip -n "$nets-$end" link add net0 address "02:00:00:00:00:0$end" type veth peer name "port-$end" netns "$nets-lan"
    ip -n "$nets-$end" link set net0 up
    ip -n "$nets-lan" link set "port-$end" master hub up
done
ip -n "$nets-a" addr add 10.0.0.1/24 dev net0
ip -n "$nets-b" addr add 10.0.0.2/24 dev net0

# moved END FIELD: a counter of the interface at an end.
moved() { ip -n "$nets-$1" -s -j link show net0 | jq ".[0].stats64.$2.packets"; }

is_pci() { [[ $1 == *:*:*.* ]]; }
# address_of DEVICE: of its port.
address_of() { "$bin/linerate-dataplane" --lcores 0@0 -m 64 -a "$1" -- ports --json 2>"$work/ports.err" | jq -er '.[0].mac'; }

# A row of a program is a line per round: packets per second sent and received, packets sent, received and lost as the program has them, and
# packets sent and received as interfaces of the kernel or devices counted them, - where nobody else counts.
row() {
    local name=$1 IFS=$'\t'
    shift
    printf '%s\n' "$*" >>"$work/row.$name"
}

# ours: a row for each engine; one that cannot start, for instance because the kernel has no AF_XDP, has none.
ours() {
    local summary="$work/summary.json" engine trial figures sent received lost
    rm -rf "$work/results"
    "$bin/linerate" run examples/engines.yaml --quiet --json --results "$work/results" --duration "${seconds}s" \
        --set 'spec.engines=[devices, memif, af_xdp, af_packet, sockets]' --set "spec.local.devices=[{tx: '$tx_device', rx: '$rx_device'}]" \
        --set "spec.traffic.frameSizes=[$size]" --set 'spec.traffic.flows=[1]' --set 'spec.traffic.rates=[max]' >"$work/out" 2>"$work/err" \
        || say "$(tail -n 1 "$work/err")"
    [ -s "$work/out" ] || { cat "$work/err" >&2 && die "no result of this program"; }
    tail -n 1 "$work/out" >"$summary"
    # What the ports of devices and the interfaces of the other engines' namespaces counted, of which the trials' files have the agents' readings.
    while IFS=$'\t' read -r engine trial figures; do
        read -r _ _ sent received lost <<<"$figures"
        [ "$sent" -eq "$((received + lost))" ] || die "$engine: sent $sent, received $received and lost $lost do not add up"
        row "ours-$engine" "$figures" "$(counted "$engine" "$trial")"
    done < <(jq -r '(.trials[] | [.engine.engine, .trial, .offered_pps, .received_pps, .sent_packets, .received_packets, .lost_packets]),
        (.streams[] | [.engine.engine, .trial, .sent_datagrams / .duration_s, .received_datagrams / .duration_s, .sent_datagrams, .received_datagrams,
            .lost_datagrams]) | @tsv' "$summary")
}
# report: its first sentence, what the kernel's path costs.
report() {
    "$bin/linerate" results report "$(jq -r .experiment.id "$work/summary.json")" --results "$work/results" --format md --to "$work/report" >/dev/null \
        || return 0
    awk '/^## / { section++; next } section == 1 && NF { gsub(/\\/, ""); print; exit }' "$work"/report/*.md
}
# counted ENGINE TRIAL-FILE: what the kernel's interfaces or a NIC counted; of a NIC and of Linerate's own namespaces the trial's file has it.
counted() {
    local of
    case $1 in
        # Shared memory has no counter but its driver's.
        memif) of='null, null' ;;
        devices) if is_pci "$tx_device"; then of='.result.tx_port.tx_packets, .result.rx_port.rx_packets'; else of='null, null'; fi ;;
        *) of='[.. | .namespace?.interfaces[]? | select(.interface == "net0")] | (map(.tx_packets) | max), (map(.rx_packets) | max)' ;;
    esac
    jq -r "[$of] | map(. // \"-\") | @tsv" "$work"/results/*/"$2"
}

# trafgen: its own count and time of what it sends; what arrives is what the interface counted.
cat >"$work/frames.cfg" <<END
{ eth(da=$mac_b, sa=$mac_a), ipv4(saddr=10.0.0.1, daddr=10.0.0.2, ttl=64), udp(sport=1024, dport=1024), fill(0x5a, $((size - 46))) }
END
trafgen_row() {
    local before_a before_b sent_a received_b
    before_a=$(moved a tx) before_b=$(moved b rx)
    ip netns exec "$nets-a" timeout --signal INT --kill-after 5 "$seconds" trafgen --dev net0 --conf "$work/frames.cfg" --cpus 1 >"$work/trafgen.log" 2>&1 || true
    sent_a=$(($(moved a tx) - before_a)) received_b=$(($(moved b rx) - before_b))
    # 12345 packets outgoing … 3 sec, 4567 usec on CPU0 (12345 packets)
    awk -v tx="$sent_a" -v rx="$received_b" 'BEGIN { OFS = "\t" } / packets outgoing/ { sent = $1 } / usec on CPU/ { s = $1 + $3 / 1e6 }
        END { if (sent == 0 || s == 0) exit 1; print sent / s, rx / s, sent, "-", "-", tx, rx }' < <(tr -d '\r' <"$work/trafgen.log") >>"$work/row.trafgen"
}

# testpmd_row NAME DEVICE-OF-SENDER DEVICE-OF-RECEIVER MAC-OF-RECEIVER PREFIX…: its own rates and counts; PREFIX has the namespaces' commands, with
# END for the end.
testpmd_row() {
    local name=$1 tx=$2 rx=$3 mac=$4 before_a before_b counted=$'-\t-' sent received end
    shift 4
    before_a=$(moved a tx) before_b=$(moved b rx)
    start_testpmd b "$(($(nproc) > 1))" "$rx" rxonly "${@//END/b}"
    start_testpmd a 0 "$tx" txonly "${@//END/a}"
    until_true arrives || say "testpmd receives nothing from testpmd: $(tail -n 1 "$work/a.log")"
    for end in a b; do ask "$end" 'show port stats 0'; done
    sleep "$seconds"
    # Rates since they were shown before.
    for end in a b; do ask "$end" 'show port stats 0'; done
    # The receiver after all has arrived, and both before any port is gone: a receiver of memif does not survive the end of its peer.
    ask a stop && until_true grep -q 'Done\.' "$work/a.log" && sleep 1
    ask b stop && until_true grep -q 'Done\.' "$work/b.log"
    [[ $name != *af_packet ]] || counted="$(($(moved a tx) - before_a))"$'\t'"$(($(moved b rx) - before_b))"
    for end in a b; do ask "$end" quit; done
    for _ in $(seq 100); do
        kill -0 "${children[@]}" 2>/dev/null || break
        sleep 0.2
    done
    kill -KILL "${children[@]}" 2>/dev/null || true
    wait "${children[@]}" || true
    children=()
    # What one that failed has not read must not reach the next.
    while read -r -t 0.01 -u "$in_a" _ || read -r -t 0.01 -u "$in_b" _; do :; done
    sent=$(total TX "$work/a.log") received=$(total RX "$work/b.log")
    [ -n "$sent" ] && [ -n "$received" ] || return 1
    row "$name" "$(rate Tx "$work/a.log")" "$(rate Rx "$work/b.log")" "$sent" "$received" $((sent - received)) "$counted"
}
# start_testpmd END LCORE DEVICE MODE PREFIX…: forwards from its start, takes commands from a pipe.
start_testpmd() {
    local end=$1 lcore=$2 device=$3 mode=$4 of_device=(--no-pci --vdev "$3")
    shift 4
    ! is_pci "$device" || of_device=(--allow "$device")
    # Unbuffered, or what it prints into a file would not be seen before its end. It must not outlive this script.
    : >"$work/$end.log"
    setpriv --pdeathsig KILL "$@" stdbuf -o0 dpdk-testpmd --no-huge -m 256 "${of_device[@]}" --lcores "0@$lcore,1@$lcore" --file-prefix "$nets-$end" -- \
        --interactive --auto-start --forward-mode="$mode" --eth-peer="0,$mac" --txpkts=$((size - 4)) --total-num-mbufs=16384 \
        <"$work/$end.in" >"$work/$end.log" 2>&1 &
    children+=($!)
    until_true grep -q 'testpmd>' "$work/$end.log" || say "testpmd does not start: $(tail -n 1 "$work/$end.log")"
}
# Both ends of the pipes are open, so that neither opening nor writing waits for a testpmd.
mkfifo "$work/a.in" "$work/b.in"
exec {in_a}<>"$work/a.in" {in_b}<>"$work/b.in"
# ask END COMMAND
ask() { if [ "$1" = a ]; then echo "$2" >&"$in_a"; else echo "$2" >&"$in_b"; fi; }
arrives() { ask b 'show port stats 0' && grep -q 'RX-packets: *[1-9]' "$work/b.log"; }
# until_true COMMAND…: as long as the testpmd that was started last lives, at most 60 s: an emulated CPU takes its time.
until_true() {
    for _ in $(seq 300); do
        ! "$@" || return 0
        kill -0 "${children[-1]}" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}
# rate Tx|Rx LOG: what testpmd showed last.
rate() { grep -o "$1-pps: *[0-9]*" "$2" | awk '{ rate = $2 } END { print rate + 0 }'; }
# total TX|RX LOG: the count that testpmd's forwarding ends with.
total() { sed -n '/Forward statistics for port/,$p' "$2" | grep -o "$1-packets: *[0-9]*" | awk '{ print $2; exit }'; }

# Shared memory delivers to any address.
device_mac=$mac_b
if is_pci "$rx_device"; then
    device_mac=$(address_of "$rx_device") || die "linerate-dataplane does not know the address of $rx_device: $(tail -n 1 "$work/ports.err")"
fi
for _ in $(seq "$rounds"); do
    ours
    trafgen_row || say "trafgen: no result"
    testpmd_row testpmd-af_packet net_af_packet0,iface=net0,framecnt=1024 net_af_packet0,iface=net0,framecnt=1024 "$mac_b" ip netns exec "$nets-END" \
        || say "testpmd on af_packet: no result"
    testpmd_row testpmd-memif "net_memif0,role=client,id=0,socket=$nets,rsize=10" "net_memif0,role=server,id=0,socket=$nets,rsize=10" "$mac_b" env \
        || say "testpmd on memif: no result"
    testpmd_row testpmd-devices "$tx_device" "$rx_device" "$device_mac" env || say "testpmd on the devices: no result"
done

# median COLUMN ROW
median() { cut -f"$1" "$work/row.$2" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }
# rounds_of ROW: those with a result.
rounds_of() { wc -l 2>/dev/null <"$work/row.$1" || echo 0; }
# ratio COLUMN ROW OF-COLUMN OF-ROW: - unless both have a result of every round.
ratio() {
    [ "$(rounds_of "$2") $(rounds_of "$4")" = "$rounds $rounds" ] || { echo - && return; }
    awk -v a="$(median "$1" "$2")" -v b="$(median "$3" "$4")" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'
}
rows=("${engines[@]/#/ours-}" trafgen testpmd-devices testpmd-memif testpmd-af_packet)
echo "$size-byte frames as fast as possible, one lcore at each end, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's, received (trafgen: sent)"
printf '%-20s %12s %14s %10s %10s\n' '' 'sent kpps' 'received kpps' trafgen testpmd
for each in "${rows[@]}"; do
    [ -s "$work/row.$each" ] || { printf '%-20s %12s\n' "${each#ours-}" 'no result' && continue; }
    trafgen='' testpmd=''
    case $each in
        # Without the kernel's path, each is compared with the same ports alone.
        ours-memif | ours-devices) trafgen=- testpmd=$(ratio 2 "$each" 2 "testpmd-${each#ours-}") ;;
        ours-*) trafgen=$(ratio 1 "$each" 1 trafgen) testpmd=$(ratio 2 "$each" 2 testpmd-af_packet) ;;
    esac
    awk -v name="${each#ours-}" -v s="$(median 1 "$each")" -v r="$(median 2 "$each")" -v t="$trafgen" -v p="$testpmd" \
        -v missing="$((rounds - $(rounds_of "$each")))" \
        'BEGIN { printf "%-20s %12.1f %14.1f %10s %10s%s\n", name, s / 1e3, r / 1e3, t, p, (missing ? "   without a result in " missing " rounds" : "") }'
done
echo "Packets of all rounds, as each program counted them, and as the kernel's interfaces or the devices did"
printf '%-20s %12s %12s %12s %14s %14s\n' '' sent received lost 'counted sent' 'and received'
for each in "${rows[@]}"; do
    [ ! -s "$work/row.$each" ] || awk -F'\t' -v name="${each#ours-}" '{ for (i = 3; i <= 7; i++) { if ($i == "-") unknown[i] = 1; sum[i] += $i } }
        END { for (i in unknown) sum[i] = "-"
              printf "%-20s %12s %12s %12s %14s %14s\n", name, sum[3], sum[4], sum[5], sum[6], sum[7] }' "$work/row.$each"
done
echo "The report of the last round begins: $(report)"
