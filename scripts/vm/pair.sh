#!/usr/bin/env bash
# Two processes, each with a VF on vfio-pci: one sends, the other receives. Every packet is accounted for by both and by the NICs.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

read -r tx_vf rx_vf <<<"$VM_VFS"
read -r tx_mac rx_mac <<<"$VM_MACS"
PACKETS=10000
RATE=10kpps
MEMORY_MB=64
# Two CPUs: each process polls on its own; the other's main lcore sleeps there.
TX_EAL=(--lcores "0@1,1@0" -m "$MEMORY_MB" -a "$tx_vf")
RX_EAL=(--lcores "0@0,1@1" -m "$MEMORY_MB" -a "$rx_vf")
# The receiver may be kept from its CPU for so long: 4096 packets are 400 ms.
DESCRIPTORS=4096
work=$(mktemp -d)

show_logs() { for log in "$work"/*.err; do sed "s|^|     $(basename "$log"): |" "$log"; done; }

# shellcheck disable=SC2317 # called by until_true
receiving() { grep -q '^rx ' "$work/rx.err"; }

# trial SIZE FLOWS
trial() {
    local name="$1-byte frames, $2 flows" receiver start status=0 rx_status=0 sent
    local tx="$VM_RESULTS/tx-$1.json" rx="$VM_RESULTS/rx-$1.json"
    start=$(uptime_s)
    linerate-dataplane "${RX_EAL[@]}" -- rx --rxd "$DESCRIPTORS" --interval 100ms --json >"$rx" 2>"$work/rx.err" &
    receiver=$!
    until_true "the receiver receives" receiving || status=1
    note "$name: receiver ready after $(since "$start") s"
    start=$(uptime_s)
    linerate-dataplane "${TX_EAL[@]}" -- tx --peer-mac "$rx_mac" --size "$1" --flows "$2" --flow-mode sd --rate "$RATE" \
        --packets "$PACKETS" --json >"$tx" 2>"$work/tx.err" || status=$?
    note "$name: sender ended after $(since "$start") s"
    sleep 0.5
    kill -INT "$receiver"
    wait "$receiver" || rx_status=$?
    equal "$name: sender and receiver end well" "0 0" "$status $rx_status"
    [ "$status$rx_status" = 00 ] || show_logs
    [ -s "$tx" ] && [ -s "$rx" ] || return 0
    examine "$name" "$tx" "$rx"
    # For whoever holds the capture of the wire.
    echo "pair $(($1 - 4)) $sent $tx_mac $rx_mac" >>"$VM_RESULTS/wire"
}

# examine NAME TX-REPORT RX-REPORT: sets `sent`.
examine() {
    local offered received lost delay
    read -r sent offered < <(value "$2" '"\(.sent_packets) \(.offered_pps | round)"')
    read -r received lost delay < <(value "$3" '"\(.received_packets) \(.lost_packets) \(.latency_ns | "p50 \(.p50), p99 \(.p99)")"')
    note "$1: sent $sent, received $received, lost $lost, offered $offered pps, delay $delay ns"
    equal "$1: all are sent" "$PACKETS" "$sent"
    equal "$1: sent = received + lost" "$sent" "$((received + lost))"
    equal "$1: none is lost at $RATE" 0 "$lost"
    jsons "$2" "$1" \
        "the sender's VF counted as many" ".port.tx_packets == $sent" \
        "the sender's extended statistics are of this trial" ".xstats.tx_good_packets == $sent" \
        "no counter disagrees" '.disagreements == []'
    jsons "$3" "$1" \
        "the receiver's VF counted as many" ".port.rx_packets == $received" \
        "the receiver's extended statistics are of this trial" ".xstats.rx_good_packets == $received" \
        "nothing foreign, late or twice" \
        '[.disagreements, .foreign_packets, .stale_packets, .duplicate_packets, .out_of_order_packets] == [[], 0, 0, 0, 0]'
}

linerate-dataplane "${TX_EAL[@]}" -a "$rx_vf" -- ports --json >"$VM_RESULTS/ports.json" 2>"$work/ports.err" || show_logs
json "the ports have the VFs' MACs" "$VM_RESULTS/ports.json" \
    "map({(.device): .mac}) | add == {\"$tx_vf\": \"$tx_mac\", \"$rx_vf\": \"$rx_mac\"}"
json "the ports are VFs on vfio-pci" "$VM_RESULTS/ports.json" 'all(.driver == "net_e1000_igb_vf" and .kernel_driver == "vfio-pci")'
hugepage-check --device "$tx_vf" --device "$rx_vf" --json >"$VM_RESULTS/devices.json"
for vf in "$tx_vf" "$rx_vf"; do
    json "hugepage-check and ports agree on $vf" "$VM_RESULTS/devices.json" \
        ".satisfied and any(.checks[]; .id == \"device.binding\" and .subject == \"$vf\" and .summary == \"ready on vfio-pci\")"
done
trial 64 1
trial 1518 100
nothing_held "afterwards"
equal "no access was refused by the IOMMU" 0 "$(dmesg | grep -c 'DMAR: \[DMA' || true)"
end_scenario
