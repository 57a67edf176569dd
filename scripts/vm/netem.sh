#!/usr/bin/env bash
# Two af_packet ports at the ends of a veth pair, and the kernel's netem in between: it loses, duplicates, delays and reorders as
# told, and its own counters say to the packet what the report has to say. The reports stay in the results: netem-NAME.json.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"

MEMORY_MB=64
# qdisc_bypass=0: or the packets would pass netem by. framecnt of the receiver: it may be kept from its CPU for 400 ms. Of the sender: netem
# holds the frames of its ring, and DPDK 22.11's driver writes over frames that the kernel still holds when it comes round.
EAL=(--no-pci --lcores "0@0,1@0,2@1" -m "$MEMORY_MB" --vdev "net_af_packet0,iface=near,qdisc_bypass=0,framecnt=4096"
    --vdev "net_af_packet1,iface=far,framecnt=4096")
# More than what a delay of 10 ms holds at these rates: netem must lose what it is told to, and no more.
QUEUE=10000
# The receiver remembers so many sequence numbers of a flow; what is later than that it cannot tell from a duplicate.
WINDOW=64

modprobe -a veth sch_netem
# What netem releases at once must find room on its way to the far end.
echo "$QUEUE" >/proc/sys/net/core/netdev_max_backlog
# DPDK names an interface's group of sockets by process and interface, both numbers xored: two processes with numbers that are near each other must
# not come to the same name.
ip link add near index 4096 type veth peer name far index 8192
ip link set near up
ip link set far up

counter() { cat "/sys/class/net/far/statistics/rx_packets"; }
# dropped_by_netem: the qdisc's own count.
dropped_by_netem() { tc -s -j qdisc show dev near | jq '[.[] | select(.kind == "netem").drops] | add // 0'; }

# trial NAME RATE PACKETS [NETEM SETTINGS]: sets `report`, `sent`, `dropped` and `arrived` (frames that reached the far end); fails
# when there is no report.
trial() {
    local name=$1 rate=$2 packets=$3 before status=0 start
    shift 3
    report="$VM_RESULTS/netem-$name.json"
    tc qdisc del dev near root 2>/dev/null || true
    [ $# -eq 0 ] || tc qdisc add dev near root netem limit "$QUEUE" "$@"
    before=$(counter)
    start=$(uptime_s)
    # The kernel's own work for the packets comes first, and what lcores do not need is left to others.
    nice -n 19 linerate-dataplane "${EAL[@]}" -- pair --rx-port 1 --rate "$rate" --packets "$packets" --idle sleep --json \
        >"$report" 2>"$VM_RESULTS/netem-$name.err" || status=$?
    arrived=$(($(counter) - before))
    dropped=$(dropped_by_netem)
    equal "$name: ends well" 0 "$status"
    if [ "$status" -ne 0 ]; then
        sed 's/^/     /' "$VM_RESULTS/netem-$name.err"
        return 1
    fi
    # That it is so is checked now.
    sent=$packets
    note "$name: netem ${*:-none}, $rate: $(since "$start") s; netem dropped $dropped, $arrived frames reached the far end"
    note "$name: $(tail -n 1 "$report")"
    jsons "$report" "$name" \
        "all are sent" ".tx.sent_packets == $packets" \
        "sent = received + lost" ".tx.sent_packets == .rx.received_packets + .lost_packets" \
        "lost is what netem dropped" ".lost_packets == $dropped" \
        "duplicates are what netem added" ".rx.duplicate_packets == $arrived + $dropped - $sent"
}

# experiment NAME DELAY_MS [NETEM SETTINGS]: the controller with an agent at each end, and trials that are shorter than the path. The
# delay is there from the beginning, one way; what else netem does begins after the warm-up, so that what it drops is of the trials.
experiment() {
    local name=$1 delay_ms=$2 status=0 start dropped
    shift 2
    tc qdisc del dev near root 2>/dev/null || true
    tc qdisc add dev near root netem limit "$QUEUE" delay "${delay_ms}ms"
    local work=$VM_RESULTS/experiment-$name
    mkdir -p "$work"
    summary=$work/summary.json
    cat >"$work/experiment.yaml" <<EOF
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: netem-$name}
spec:
  traffic: {frameSizes: [128], flows: [8], flowMode: sd, rates: [200pps, 2kpps]}
  trial: {duration: 300ms, warmUp: {timeout: 30s}}
  agents: {memoryMb: 64}
  local:
    hugepages: never
    devices: [{tx: "net_af_packet0,iface=near,qdisc_bypass=0,framecnt=4096", rx: "net_af_packet0,iface=far,framecnt=4096"}]
EOF
    start=$(uptime_s)
    if [ $# -gt 0 ]; then
        (
            until jq -e '.warm_up | length > 0' "$work"/results/*/summary.json; do sleep 0.05; done
            tc qdisc change dev near root netem limit "$QUEUE" delay "${delay_ms}ms" "$@"
        ) >/dev/null 2>&1 &
    fi
    nice -n 19 linerate run "$work/experiment.yaml" --results "$work/results" --json --quiet >"$summary" 2>"$work/run.err" || status=$?
    dropped=$(dropped_by_netem)
    note "experiment $name: netem delay ${delay_ms}ms $*: $(since "$start") s; netem dropped $dropped"
    equal "experiment $name: ends well" 0 "$status"
    if [ "$status" -ne 0 ]; then
        sed 's/^/     /' "$work/run.err"
        return 1
    fi
    note "experiment $name: $(value "$summary" '[.warm_up[] | {to, received_packets, sent_packets, attempts, delay_ns, delay_basis}],
        [.trials[] | {sent_packets, received_packets, lost_packets, min: .latency_ns.min, overhead_s}] | tostring' | tr '\n' ' ')"
    local least_ns=$((delay_ms * 1000000))
    jsons "$summary" "experiment $name" \
        "every trial has a result" '(.trials | length) == 2 and .failures == []' \
        "sent = received + lost" 'all(.trials[]; .sent_packets == .received_packets + .lost_packets)' \
        "lost is what netem dropped" "([.trials[].lost_packets] | add) == $dropped" \
        "no packet arrives after its trial" 'all(.trials[]; .stale_packets == 0)' \
        "the delay is right" "[.trials[].latency_ns.min] | min >= $least_ns and min < $least_ns + 20000000" \
        "the warm-up has learnt that the path is long" ".warm_up[0].delay_ns >= $least_ns"
}

# ratio NAME COUNT PERCENT: netem draws at random; five standard deviations are missed once in a million.
ratio() {
    if awk -v n="$sent" -v k="$2" -v p="$3" 'BEGIN { p /= 100; d = k - n * p; exit !(d * d <= 25 * n * p * (1 - p)) }'; then
        pass "$1: $3 % within chance"
    else
        fail "$1: $3 % within chance" "$2 of $sent"
    fi
}
in_order() { json "$1: in order" "$report" ".rx.out_of_order_packets == 0 and .rx.beyond_window_packets == 0"; }

! trial none 10kpps 5000 || in_order none
if trial loss 10kpps 10000 loss 1%; then
    in_order loss
    ratio loss "$dropped" 1
fi
! trial duplicate 10kpps 10000 duplicate 1% || ratio duplicate "$((arrived - sent))" 1
if trial delay 10kpps 5000 delay 5ms; then
    in_order delay
    # Only the fastest: in an emulated machine the others wait for more than netem.
    json "delay: the fastest takes 5 ms" "$report" ".rx.latency_ns.min | . >= 5000000 and . < 25000000"
fi
# 10 ms at 2 kpps are 20 packets: within the window.
if trial reorder 2kpps 4000 delay 10ms reorder 25%; then
    json "reorder: no packet is later than the window of $WINDOW" "$report" ".rx.beyond_window_packets == 0"
    # A quarter goes at once, and overtakes nearly all others: 1 - 0.75^20. Where the sender pauses, nothing is overtaken.
    json "reorder: three quarters are overtaken, or not many fewer" "$report" ".rx.out_of_order_packets / .rx.received_packets | . > 0.5 and . < 0.8"
fi
# Longer than the receiver's settling time of 200 ms, and than the whole sending.
for ms in 150 600; do
    if trial "delay-$ms" 10kpps 3000 delay "${ms}ms"; then
        json "delay-$ms: nothing is lost" "$report" ".lost_packets == 0"
        json "delay-$ms: the fastest takes $ms ms" "$report" ".rx.latency_ns.min | . >= ${ms}000000 and . < $((ms + 20))000000"
    fi
    ! trial "delay-$ms-loss" 5kpps 3000 delay "${ms}ms" loss 2% || in_order "delay-$ms-loss"
    # Slow, and the last packets are among the lost ones: the gaps between packets are no end.
    ! trial "delay-$ms-slow" 20pps 20 delay "${ms}ms" loss 20% || true
    ! experiment "delay-$ms" "$ms" || true
    ! experiment "delay-$ms-loss" "$ms" loss 2% || true
done
# The last packet's duplicate comes after it.
if trial all-twice 1kpps 200 duplicate 100%; then
    json "all-twice: every packet has its duplicate" "$report" ".rx.duplicate_packets == 200"
fi
end_scenario
