#!/usr/bin/env bash
# Sets up what is missing and prints the packet rates of every engine as ratios to trafgen and testpmd, all in turns on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_engines.sh [--seconds N] [--rounds N] [--size BYTES] [--devices TX,RX]

Prints, each as the median of several rounds: packets per second that Linerate's engines send and receive as fast as they can (memif, af_xdp,
af_packet, sockets), and the ratio to trafgen and testpmd on the same path in the same rounds: two network namespaces, joined by veth and a
bridge, and memif between two processes. testpmd runs over memif and af_packet; af_xdp and sockets are compared with its af_packet. trafgen has no
receiver: its packets are counted by the interfaces, and its rate includes its start and end. Needs root; the machine should do nothing else.

  --seconds N   how long each run sends (default: 3)
  --rounds N    rounds, an odd number (default: 5)
  --size BYTES  bytes of a frame, check sequence included: 64 to 1518 (default: 64)
  --devices TX,RX  two devices that a link joins, such as the PCI addresses of VFs on vfio-pci: a fifth engine, of Linerate alone
END
}
seconds=3 rounds=5 size=64 devices=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds) seconds=${2:-} && shift 2 ;;
        --rounds) rounds=${2:-} && shift 2 ;;
        --size) size=${2:-} && shift 2 ;;
        --devices) devices=${2:-} && shift 2 ;;
        *) printf '%s\n' "error: there is no option '$1'; see scripts/bench_engines.sh --help" >&2 && exit 2 ;;
    esac
done
for number in "$seconds" "$rounds" "$size"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || { printf '%s\n' "error: '$number' is not a number above 0; see scripts/bench_engines.sh --help" >&2 && exit 2; }
done
if [ "$size" -lt 64 ] || [ "$size" -gt 1518 ]; then
    printf '%s\n' "error: --size $size is outside 64 to 1518" >&2 && exit 2
fi
engines=(memif af_xdp af_packet sockets) of_devices=()
if [ -n "$devices" ]; then
    [[ $devices == ?*,?* ]] || { printf '%s\n' "error: --devices $devices is not TX,RX; see scripts/bench_engines.sh --help" >&2 && exit 2; }
    engines=(devices "${engines[@]}")
    of_devices=(--set 'spec.engines=[devices, memif, af_xdp, af_packet, sockets]' --set "spec.local.devices=[{tx: '${devices%%,*}', rx: '${devices#*,}'}]")
fi
[ "$(id -u)" -eq 0 ] || die "network namespaces need root; run as root"

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}" netsniff-ng iproute2 jq
need_rust
cargo build --release --quiet -p linerate -p linerate-dataplane -p linerate-hostplane --bins
work=$(mktemp -d)
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
trap 'exit 130' INT TERM

# The path of Linerate's own namespaces: veth, bridge, veth.
mac_a=02:00:00:00:00:0a mac_b=02:00:00:00:00:0b
for name in a b lan; do ip netns add "$nets-$name"; done
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

# ours: a row for each engine; one that cannot start, for instance because the kernel has no AF_XDP, has none.
ours() {
    target/release/linerate run examples/engines.yaml --quiet --json --results "$work/results" --duration "${seconds}s" --set "spec.traffic.frameSizes=[$size]" \
        --set 'spec.traffic.flows=[1]' --set 'spec.traffic.rates=[max]' "${of_devices[@]}" >"$work/out" 2>"$work/err" || say "$(tail -n 1 "$work/err")"
    [ -s "$work/out" ] || { cat "$work/err" >&2 && die "no result of this program"; }
    tail -n 1 "$work/out" | jq -r '(.trials[] | [.engine.engine, .offered_pps, .received_pps]),
        (.streams[] | [.engine.engine, .sent_datagrams / .duration_s, .received_datagrams / .duration_s]) | @tsv' >"$work/rows"
    local engine sent received
    while read -r engine sent received; do printf '%s\t%s\n' "$sent" "$received" >>"$work/row.ours-$engine"; done <"$work/rows"
}

# trafgen: what the interfaces counted.
cat >"$work/frames.cfg" <<END
{ eth(da=$mac_b, sa=$mac_a), ipv4(saddr=10.0.0.1, daddr=10.0.0.2, ttl=64), udp(sport=1024, dport=1024), fill(0x5a, $((size - 46))) }
END
trafgen_row() {
    local sent received began ended
    sent=$(moved a tx) received=$(moved b rx) began=$(date +%s%N)
    ip netns exec "$nets-a" timeout --signal INT --kill-after 5 "$seconds" trafgen --dev net0 --conf "$work/frames.cfg" --cpus 1 >"$work/trafgen.log" 2>&1 || true
    ended=$(date +%s%N)
    awk -v s="$(($(moved a tx) - sent))" -v r="$(($(moved b rx) - received))" -v ns="$((ended - began))" 'BEGIN { print s * 1e9 / ns "\t" r * 1e9 / ns }' >>"$work/row.trafgen"
}

# testpmd_row NAME DEVICE-OF-SENDER DEVICE-OF-RECEIVER PREFIX…: its own rates; PREFIX has the namespaces' commands, with END for the end.
testpmd_row() {
    local name=$1 tx=$2 rx=$3
    shift 3
    one() {
        local end=$1 lcore=$2 device=$3 mode=$4
        shift 4
        # The background's shell becomes testpmd.
        exec "${@//END/$end}" dpdk-testpmd --no-huge -m 256 --no-pci --lcores "0@$lcore,1@$lcore" --file-prefix "$nets-$end" --vdev "$device" -- --forward-mode="$mode" \
            --eth-peer=0,$mac_b --txpkts=$((size - 4)) --total-num-mbufs=16384 --auto-start --stats-period=1
    }
    one b "$(($(nproc) > 1))" "$rx" rxonly "$@" >"$work/rx.log" 2>&1 &
    children+=($!)
    sleep 2
    one a 0 "$tx" txonly "$@" >"$work/tx.log" 2>&1 &
    children+=($!)
    local tries
    for tries in $(seq 100); do
        grep -q 'Tx-pps: *[1-9]' "$work/tx.log" 2>/dev/null && break
        [ "$tries" -lt 100 ] || say "testpmd does not send within 10 s"
        sleep 0.1
    done
    sleep "$seconds"
    # Each prints its rates once a second, and those of the last second when it ends.
    kill -INT "${children[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    children=()
    printf '%s\t%s\n' "$(rate Tx "$work/tx.log")" "$(rate Rx "$work/rx.log")" >>"$work/row.$name"
}
# rate Tx|Rx LOG: the median of testpmd's rates while it forwards.
rate() {
    grep -o "$1-pps: *[0-9]*" "$2" | awk '$2 > 0 { print $2 }' | sort -n | awk '{ value[NR] = $1 } END { print (NR > 0 ? value[int((NR + 1) / 2)] : 0) }'
}

# median COLUMN FILE
median() { cut -f"$1" "$2" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

for _ in $(seq "$rounds"); do
    ours
    trafgen_row || say "trafgen: no result"
    testpmd_row testpmd-af_packet net_af_packet0,iface=net0,framecnt=1024 net_af_packet0,iface=net0,framecnt=1024 ip netns exec "$nets-END" || say "testpmd on af_packet: no result"
    testpmd_row testpmd-memif "net_memif0,role=client,id=0,socket=$nets,rsize=10" "net_memif0,role=server,id=0,socket=$nets,rsize=10" env || say "testpmd on memif: no result"
done

echo "$size-byte frames as fast as possible, one lcore at each end, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's, received (trafgen: sent)"
printf '%-20s %12s %14s %10s %10s\n' '' 'sent Mpps' 'received Mpps' trafgen testpmd
for engine in "${engines[@]}"; do
    [ -s "$work/row.ours-$engine" ] || { printf '%-20s %12s\n' "$engine" 'no result' && continue; }
    sent=$(median 1 "$work/row.ours-$engine") received=$(median 2 "$work/row.ours-$engine")
    trafgen=- testpmd=-
    if [ "$engine" != memif ] && [ "$engine" != devices ] && [ -s "$work/row.trafgen" ]; then
        trafgen=$(awk -v a="$sent" -v b="$(median 1 "$work/row.trafgen")" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }')
    fi
    of="testpmd-$engine"
    # Without a kernel in its way, memif is compared with memif alone.
    [ -s "$work/row.$of" ] || [ "$engine" = memif ] || [ "$engine" = devices ] || of="testpmd-af_packet"
    if [ -s "$work/row.$of" ]; then
        testpmd=$(awk -v a="$received" -v b="$(median 2 "$work/row.$of")" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }')
    fi
    awk -v name="$engine" -v s="$sent" -v r="$received" -v t="$trafgen" -v p="$testpmd" 'BEGIN { printf "%-20s %12.3f %14.3f %10s %10s\n", name, s / 1e6, r / 1e6, t, p }'
done
for peer in trafgen testpmd-af_packet testpmd-memif; do
    [ -s "$work/row.$peer" ] || continue
    awk -v name="$peer" -v s="$(median 1 "$work/row.$peer")" -v r="$(median 2 "$work/row.$peer")" 'BEGIN { printf "%-20s %12.3f %14.3f\n", name, s / 1e6, r / 1e6 }'
done
