#!/usr/bin/env bash
# An experiment from its document: the controller starts an agent on each VF, runs the trials, and files the results.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

read -r tx_vf rx_vf <<<"$VM_VFS"
read -r tx_mac rx_mac <<<"$VM_MACS"
work=$(mktemp -d)
# The lengths are none of `pair`, which may have been on the same wire before.
cat >"$work/experiment.yaml" <<EOF
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: two-vfs}
spec:
  traffic: {frameSizes: [128, 1280], flows: [1, 100], rates: [5kpps], flowMode: sd}
  trial: {packets: 5000, warmUp: {timeout: 30s}, drain: {settle: 1s}}
  agents: {memoryMb: 64, txd: 4096, rxd: 4096}
  local:
    devices: [{tx: "$tx_vf", rx: "$rx_vf"}]
    hugepages: always
EOF
start=$(uptime_s)
status=0
linerate run "$work/experiment.yaml" --results "$work/results" --json --quiet >"$work/summary.json" 2>"$work/run.err" || status=$?
note "the experiment took $(since "$start") s"
equal "the experiment ends well" 0 "$status"
[ "$status" -eq 0 ] || sed 's/^/     /' "$work/run.err" "$work"/results/*/*.log
summary=$work/summary.json
jsons "$summary" "two VFs" \
    "every trial has a result" '.status == "complete" and (.trials | length) == 4 and .failures == []' \
    "sent = received + lost in each" 'all(.trials[]; .sent_packets == .received_packets + .lost_packets)' \
    "all are sent and none is lost" 'all(.trials[]; .sent_packets == 5000 and .lost_packets == 0)' \
    "the senders' VF counted as many" 'all(.trials[]; .tx_port.tx_packets == .sent_packets)' \
    "the receivers' VF counted as many" 'all(.trials[]; .rx_port.rx_packets == .received_packets)' \
    "no counter disagrees" 'all(.trials[]; .disagreements == [])'
jq -r '.trials[] | "     \(.profile): sent \(.sent_packets) received \(.received_packets) lost \(.lost_packets), \(.verdict.kind): \(.verdict.evidence)"' \
    < <(tail -n 1 "$summary")
# The warm-up's frames are those of the first trial. An attempt before the link is up never reaches the wire.
warm_up=$(value "$summary" '.warm_up[0] | .sent_packets * .attempts')
echo "experiment 124 10000-$((10000 + warm_up)) $tx_mac $rx_mac" >>"$VM_RESULTS/wire"
echo "experiment 1276 10000 $tx_mac $rx_mac" >>"$VM_RESULTS/wire"
nothing_held "afterwards"

# Every way of a packet in one document: shared memory, VFs, AF_XDP, packet sockets, UDP sockets.
modprobe -a veth bridge
cat >"$work/engines.yaml" <<EOF
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: five-engines}
spec:
  engines: [memif, devices, af_xdp, af_packet, sockets]
  traffic: {frameSizes: [256, 1024], flows: [2], rates: [2kpps]}
  trial: {duration: 1s, warmUp: {timeout: 30s}, drain: {settle: 1s}}
  agents: {memoryMb: 64}
  local:
    devices: [{tx: "$tx_vf", rx: "$rx_vf"}]
EOF
start=$(uptime_s)
status=0
linerate run "$work/engines.yaml" --results "$work/engines" --json --quiet >"$work/engines.json" 2>"$work/engines.err" || status=$?
note "five engines took $(since "$start") s"
equal "five engines end well" 0 "$status"
[ "$status" -eq 0 ] || sed 's/^/     /' "$work/engines.err" "$work"/engines/*/*.log
engines=$work/engines.json
jsons "$engines" "five engines" \
    "every engine has its rows" \
    '[(.trials[], .streams[]).engine.engine] | group_by(.) | map([.[0], length]) == [["af_packet", 2], ["af_xdp", 2], ["devices", 2], ["memif", 2], ["sockets", 2]]' \
    "sent = received + lost in each row" \
    'all(.trials[]; .sent_packets > 0 and .sent_packets == .received_packets + .lost_packets) and all(.streams[]; .sent_datagrams > 0 and .sent_datagrams == .received_datagrams + .lost_datagrams)' \
    "every lost packet has a place" \
    'all(.trials[]; .lost_packets == ([.engine.losses[]?.packets] | add // 0)) and all(.streams[]; .lost_datagrams == ([.engine.losses[]?.packets] | add // 0))' \
    "the VFs counted as many" \
    'all(.trials[] | select(.engine.engine == "devices"); .tx_port.tx_packets == .sent_packets and .rx_port.rx_packets == .received_packets)'
# The kernel's counters of the sender's interface, in the trials' files: they begin before the first packet.
for file in "$work"/engines/*/tx*-rx*/*_af_packet/trial.json; do
    jq -c '{sent: .result.sent_packets, counted: ([.tx.host.namespace.interfaces[] | select(.interface == "net0").tx_packets] | add)}' "$file" >"$work/counted.json"
    # The kernel sends frames of its own now and then, such as reports of its multicast groups.
    json "the sender's interface counted what af_packet sent" "$work/counted.json" '.counted >= .sent and .counted <= .sent + 10'
done
jq -r '(.trials[] | "     \(.profile): sent \(.sent_packets) received \(.received_packets) lost \(.lost_packets), \(.verdict.kind)"),
    (.streams[] | "     \(.profile): sent \(.sent_datagrams) received \(.received_datagrams) lost \(.lost_datagrams), \(.verdict.kind)")' \
    < <(tail -n 1 "$engines")
status=0
linerate results validate --samples 1 --results "$work/engines" >"$work/validate.txt" 2>&1 || status=$?
equal "the results are valid" 0 "$status"
[ "$status" -eq 0 ] || sed 's/^/     /' "$work/validate.txt"
linerate results report "$(value "$engines" .experiment.id)" --results "$work/engines" --format md --to "$work/report" >/dev/null || true
first=$(awk '/^## / { section++; next } section == 1 && NF { print; exit }' "$work"/report/*.md)
note "$first"
case $first in
    *" received "*"-byte frames where "*) pass "the report begins with what the kernel's path costs" ;;
    *) fail "the report begins with what the kernel's path costs" "$first" ;;
esac
# The warm-up has the smaller size.
on_wire=$(value "$engines" '[.trials[] | select(.engine.engine == "devices" and .frame_size == 1024).sent_packets] | add')
echo "experiment 1020 $on_wire $tx_mac $rx_mac" >>"$VM_RESULTS/wire"
nothing_held "after five engines"
end_scenario
