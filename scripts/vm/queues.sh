#!/usr/bin/env bash
# AF_XDP on a NIC that spreads frames over two receive queues: the port takes both. On an interface with queues that it cannot take, it does not count.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

PACKETS=3000
work=$(mktemp -d)

# receiver NAME INTERFACE: in the background, with one lcore.
receiver() {
    linerate-dataplane --lcores "0@0,1@1" --no-pci -m 96 --vdev "net_af_xdp0,iface=$2" -- rx --json >"$work/$1.json" 2>"$work/$1.err" &
    child=$!
}
# shellcheck disable=SC2317 # called by until_true
receiving() { grep -q '^rx ' "$work/rx.err"; }
# The driver takes the link down to attach the program.
# shellcheck disable=SC2317 # called by until_true
linked() { [ "$(cat /sys/class/net/eth0/carrier)$(cat /sys/class/net/eth1/carrier)" = 11 ]; }

# Only without VFs does the emulated NIC spread what its PF receives.
for interface in eth0 eth1; do echo 0 >"/sys/class/net/$interface/device/sriov_numvfs"; done
ip link set eth0 up
ip link set eth1 up
ethtool -X eth1 equal 2
mac=$(cat /sys/class/net/eth1/address)
receiver rx eth1
until_true "the receiver receives" receiving || true
until_true "the link is up" linked || true
sleep 1
linerate-dataplane --lcores "0@1,1@0" --no-pci -m 64 --vdev net_af_packet0,iface=eth0 -- tx --peer-mac "$mac" --flows 16 --flow-mode sp \
    --rate 2kpps --packets "$PACKETS" --json >"$work/tx.json" 2>"$work/tx.err" || sed 's/^/     /' "$work/tx.err"
sleep 0.5
kill -INT "$child"
status=0
wait "$child" || status=$?
equal "the receiver ends well" 0 "$status"
note "per queue: $(value "$work/rx.json" '.frames_per_queue | join(", ")')"
equal "all are sent" "$PACKETS" "$(value "$work/tx.json" .sent_packets)"
jsons "$work/rx.json" "two queues, one lcore" \
    "all packets are received" ".received_packets == $PACKETS and .lost_packets == 0" \
    "on both queues" '(.frames_per_queue | length) == 2 and all(.frames_per_queue[]; . > 0)'

# DPDK takes one queue of a veth.
modprobe veth
ip link add wide numrxqueues 3 numtxqueues 3 type veth peer name other numrxqueues 3 numtxqueues 3
ip link set wide up
ip link set other up
receiver wide wide
status=0
wait "$child" || status=$?
equal "queues that it cannot take: the receiver refuses" 1 "$status"
case $(cat "$work/wide.err") in
    *"interface wide has 3 receive queues, and AF_XDP takes frames from 1 of them"*) pass "queues that it cannot take: they are named" ;;
    *) fail "queues that it cannot take: they are named" "$(tail -n 3 "$work/wide.err")" ;;
esac
ip link del wide
end_scenario
